"""The contract under load in one process: a share is judged by all checks, each success by its form."""

import json

import pytest
from load_workload import Said, options, persona, ran, throttled

from knouds_harness.load.client.response import Response
from knouds_harness.load.collection.rows import RequestRow
from knouds_harness.load.invariants.observations import Audit
from knouds_harness.load.invariants.tallies import HAS_A_ROW, OF_HISTORIES
from knouds_harness.load.invariants.verification import LoadVerification
from knouds_harness.load.invariants.workflow_histories import BEGUN, ENDED
from knouds_harness.runs.operation_load import RequestStatus
from knouds_harness.targets.profile import Target

ADA = persona("full", user="ada", tier="enterprise")
PIA = persona("pro", user="pia", tier="pro")
WHOAMI = {
    "user": {"id": "usr_1", "email": "ada@example.com", "role": "user", "tier": "pro", "approved": True}
}
TARGET = Target(name="here", base_url="http://127.0.0.1:1", personas={"full": ADA, "pro": PIA})


class Auditor(Audit):
    def __init__(self):
        super().__init__(TARGET, [ADA], yes_production=False)
        self.looked_for = 0

    def after(self, observations, tallies):
        self.looked_for = observations.runs.total()
        tallies.see(*HAS_A_ROW, self.looked_for)
        yield from ()


def verification(*, share=1.0, audit=None):
    return LoadVerification(options("--seed", "1"), TARGET, share=share, is_alone=False, audit=audit)


def look(one, name, said, sender=ADA):
    """Have a copied answer looked at; return the row that is counted."""
    head = "\r\n".join(["HTTP/1.1 200 OK", *(f"{each}: {value}" for each, value in said.headers.items())])
    answer = Response()
    answer.sender, answer.method, answer.url, answer.elapsed_ms = sender.name, said.method, said.url, 1.0
    answer.fill(said.status_code, f"{head}\r\n\r\n".encode(), 0, said.content)
    is_ok = said.status_code < 400
    row = RequestRow(
        name=name,
        method=said.method,
        status=RequestStatus.OK if is_ok else RequestStatus.THROTTLED,
        response_ms=1.0,
        service_ms=1.0,
        ended_s=0.0,
        wire=(0.0, 0.0, 0.0, 1, 1),
        opening=None,
        length=0,
        failure=None if is_ok else (said.status_code, "", ""),
        answer=answer,
    )
    return one.look(row, epoch_s=1_764_063_000.0)


def looked_at(one, body, *, count=1, headers=None):
    """Return the fact that the last of so many answers broke; None if it broke none."""
    for _ in range(count):
        row = look(one, "getWhoami", Said(body, path="/api/whoami", headers=headers))
    return row.failure and row.failure[1]


@pytest.mark.parametrize(("share", "least", "most"), [(0.1, 800, 1200), (1.0, 10_000, 10_000)])
def test_share_limits_judged_responses_and_not_observations(share, least, most):
    auditor = Auditor()
    one = verification(share=share, audit=auditor)
    for _ in range(10_000):
        look(one, "runWorkflow", ran())

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
    gzipped = looked_at(one, body if isinstance(body, bytes) else b"{}", headers={"content-encoding": "gzip"})

    assert rights == [None] * 3
    assert None not in (at_first, *later, gzipped)
    assert max(each.broken for each in one.invariants()) >= 51


def test_rate_limit_windows_are_kept_without_verify():
    """Their history is not judged."""
    one = verification(share=0.0)
    for sender in (ADA, PIA):
        look(one, "runWorkflow", ran(99), sender)
        look(one, "runWorkflow", throttled(3600), sender)

    assert not {(each.fact, each.says) for each in one.invariants()} & OF_HISTORIES
    (window,) = one.limits.windows()
    assert (window.user, window.admitted, window.throttled, window.longest_wait_s) == ("pia", 1, 1, 3600)


def test_success_that_breaks_the_contract_counts_as_wrong():
    row = look(
        verification(), "runWorkflow", Said({"success": "yes", "result": {"text": "x"}, "cost": 1, "ms": 1})
    )

    assert (row.status, row.failure[:2]) == (RequestStatus.WRONG, (200, "run.success-is-true"))


def test_page_of_a_gateway_is_named_in_place_of_an_error_code():
    """Also of those that were not copied; an answer of the API has a code."""
    one = verification(share=0.0)
    page = {"content-type": "text/html", "server": "nginx"}

    copied = look(one, "getHealth", Said(b"<html>", path="/api/health", status=502, headers=page))
    not_copied = one.look(copied._replace(answer=None, failure=(502, "", "502")), epoch_s=0.0)
    ours = one.look(copied._replace(answer=None, failure=(502, "X", "502")), epoch_s=0.0)

    assert [each.failure[1] for each in (copied, not_copied, ours)] == [
        *["in front of the API: text/html from nginx"] * 2,
        "X",
    ]


def test_answers_that_were_not_copied_count_as_not_verified():
    one = verification(share=0.0)
    looked_at(one, WHOAMI)
    copied = look(one, "getWhoami", Said(WHOAMI, path="/api/whoami"))

    one.look(copied._replace(answer=None), epoch_s=0.0)

    assert (one.tallies.verified, one.tallies.answers) == (2, 3)


def test_interrupted_run_does_not_wait_for_usage():
    auditor = Auditor()
    one = verification(audit=auditor)
    look(one, "runWorkflow", ran())

    (note,) = one.conclude(at_once=True)

    assert "cut short" in note
    assert auditor.looked_for == 0
    assert {each.fact: each.state for each in one.invariants()}["usage.run-has-a-row"] == "untested"


def test_create_with_a_foreign_slug_is_broken_without_verify():
    def told(slug, *, is_own):
        begun = [BEGUN, 0, 1.0, "createWorkflow", "/api/workflows", "{}"]
        one.follow("a", [begun, [ENDED, 0, 2.0, 201, b"{}", slug, is_own]], 0.0)

    one = verification(share=0.0)
    told("harness-0123456789ab-draft", is_own=True)
    assert [each.state for each in one.invariants()] == ["kept"]

    told("portrait", is_own=False)

    (found,) = (each for each in one.invariants() if each.broken)
    assert (found.fact, found.seen, found.broken) == ("workflows.create-makes-slug-from-name", 2, 1)
    assert "'portrait'" in found.example


def test_requests_to_workflows_are_followed_for_each_process():
    """A read that does not show what was written breaks a promise; times are those of each process."""
    one = verification()
    created = {"slug": "w1", "name": "n", "description": "old"}
    entries = [
        [BEGUN, 0, 1.0, "createWorkflow", "/api/workflows", json.dumps(created)],
        [ENDED, 0, 2.0, 201, json.dumps(created).encode(), "w1", True],
        [BEGUN, 1, 3.0, "updateWorkflow", "/api/workflows/w1", '{"description": "new"}'],
        [ENDED, 1, 4.0, 200, b"{}", None, True],
        [BEGUN, 2, 5.0, "getWorkflow", "/api/workflows/w1", "null"],
        [ENDED, 2, 6.0, 200, json.dumps(created).encode(), None, True],
    ]

    one.follow("a", entries[:3], 0.0)
    one.follow("b", entries[4:], 0.0)  # another process knows nothing of this workflow
    one.follow("a", entries[3:], 0.0)

    (broken,) = (each for each in one.invariants() if each.broken)
    assert (broken.fact, broken.broken) == ("workflows.update-takes-subset", 1)
