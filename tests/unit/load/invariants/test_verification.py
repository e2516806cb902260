"""The contract under load in one process: a share is judged by all checks, each success by its form."""

import json
from typing import Any

import pytest
from load_workload import Said, options, persona, ran, throttled

from knouds_harness.load.client.response import Response
from knouds_harness.load.invariants.audit import Audit
from knouds_harness.load.invariants.invariants import HAS_A_ROW, OF_HISTORIES
from knouds_harness.load.invariants.verification import LoadVerification
from knouds_harness.targets.profile import Target

ADA = persona("full", user="ada", tier="enterprise")
PIA = persona("pro", user="pia", tier="pro")
WHOAMI = {
    "user": {"id": "usr_1", "email": "ada@example.com", "role": "user", "tier": "pro", "approved": True}
}
TARGET = Target(name="here", base_url="http://127.0.0.1:1", personas={"full": ADA})


class Auditor(Audit):
    def __init__(self):
        super().__init__(TARGET, [ADA], yes_production=False)
        self.looked_for = 0

    def after(self, aggregation):
        self.looked_for = aggregation.runs.total()
        aggregation.tallies.see(*HAS_A_ROW, self.looked_for)
        yield from ()


class Caught(Said):
    failed = None

    def failure(self, reason):
        self.failed = reason


def verification(*, share=1.0, audit=None):
    return LoadVerification(
        options("--seed", "1"), TARGET, share=share, process=0, is_alone=False, audit=audit
    )


class CaughtAnswer(Response):
    failed: Any = None

    def failure(self, reason):
        self.failed = reason


def looked_at(one, body, *, count=1, head=b""):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    for _ in range(count):
        answer = CaughtAnswer()
        answer.url = "http://127.0.0.1:8080/api/whoami"
        answer.fill(200, b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%s\r\n" % head, 0, content)
        one.look("getWhoami", answer, ADA, None)
    return getattr(answer.failed, "code", answer.failed)


@pytest.mark.parametrize(("share", "least", "most"), [(0.1, 800, 1200), (1.0, 10_000, 10_000)])
def test_share_limits_judged_responses_and_not_observations(share, least, most):
    auditor = Auditor()
    one = verification(share=share, audit=auditor)
    for _ in range(10_000):
        one.look("runWorkflow", ran(), ADA, ran().body)

    assert list(one.conclude(at_once=False)) == []
    seen = {each.fact: each.seen for each in one.invariants()}
    assert least <= seen["run.success-shape"] <= most
    assert auditor.looked_for == seen["usage.run-has-a-row"] == 10_000


def test_sample_is_judged_without_verify():
    """The first responses of each kind, and some later ones; no histories."""
    one = verification(share=0.0)

    few = looked_at(one, WHOAMI, count=15)
    shown = {each.fact: (each.seen, each.state) for each in one.invariants()}
    assert few is None
    assert shown["whoami.user-object"] == (15, "kept")
    assert {state for _, state in shown.values()} == {"kept"}

    many = looked_at(one, WHOAMI, count=10_000)
    shown = {each.fact: (each.seen, each.state) for each in one.invariants()}
    assert many is None
    assert 50 < shown["whoami.user-object"][0] < 300


@pytest.mark.parametrize(
    "body",
    [
        {},
        b"",
        b"<html><form>",
        b"hello",
        b"null",
        b'{"user": "\xff\xfe"}',
        b'{"user": NaN}',
        '{"user": {}}'.encode("utf-16"),
        [WHOAMI],
    ],
    ids=["{}", "nothing", "HTML", "hello", "null", "no UTF-8", "NaN", "UTF-16", "a list"],
)
def test_success_of_an_unknown_form_is_always_an_error(body):
    one = verification(share=0.0)

    at_first = looked_at(one, body)
    rights = [looked_at(one, WHOAMI, count=20) for _ in range(3)]
    later = [looked_at(one, body) for _ in range(50)]
    gzipped = looked_at(one, body if isinstance(body, bytes) else b"{}", head=b"content-encoding: gzip\r\n")

    assert rights == [None] * 3
    assert None not in (at_first, *later, gzipped)
    assert max(each.broken for each in one.invariants()) >= 51


def test_success_with_new_members_is_judged_and_may_be_correct():
    """Servers may add members."""
    one = verification(share=0.0)

    verdicts = [looked_at(one, {**WHOAMI, f"more-{number}": 1}) for number in range(600)]

    assert set(verdicts) == {None}


def test_rate_limit_windows_are_kept_without_verify():
    """Their history is not judged."""
    one = verification(share=0.0)
    for sender in (ADA, PIA):
        one.look("runWorkflow", ran(99), sender, None)
        one.look("runWorkflow", throttled(3600), sender, None)

    assert not {(each.fact, each.says) for each in one.invariants()} & OF_HISTORIES
    (window,) = one.windows()
    assert (window.user, window.admitted, window.throttled, window.longest_wait_s) == ("pia", 1, 1, 3600)


def test_success_that_breaks_the_contract_is_a_failure():
    answer = Caught({"success": "yes", "result": {"text": "x"}, "cost": 1, "ms": 1})

    verification().look("runWorkflow", answer, ADA, None)

    assert getattr(answer.failed, "code", None) == "run.success-is-true"


def test_interrupted_run_does_not_wait_for_usage():
    auditor = Auditor()
    one = verification(audit=auditor)
    one.look("runWorkflow", ran(), ADA, ran().body)

    (note,) = one.conclude(at_once=True)

    assert "cut short" in note
    assert auditor.looked_for == 0
    assert {each.fact: each.state for each in one.invariants()}["usage.run-has-a-row"] == "untested"


def test_observations_of_a_worker_count_in_the_leading_process():
    worker, controller = verification(), verification(audit=Auditor())
    worker.look("runWorkflow", ran(), ADA, ran().body)

    controller.receive(worker.take().packed())

    assert {each.fact: each.seen for each in controller.invariants()}["run.success-shape"] == 1


def test_create_with_a_foreign_slug_is_broken_without_verify():
    one = verification(share=0.0)
    one.look_at_create("harness-0123456789ab-draft", is_own=True)
    assert [each.state for each in one.invariants()] == ["kept"]

    one.look_at_create("portrait", is_own=False)

    (found,) = (each for each in one.invariants() if each.broken)
    assert (found.fact, found.seen, found.broken) == ("workflows.create-makes-slug-from-name", 2, 1)
    assert "'portrait'" in found.example
