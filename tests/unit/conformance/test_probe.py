"""The probe: one judgement for all answers, patience with throttling, an end when the target is gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import httpx
import pytest
from example_targets import make_target

from knouds_harness.conformance.checks import all_checks, authentication
from knouds_harness.conformance.common_checks import COMMON_CHECKS
from knouds_harness.conformance.probe import Call, Probe
from knouds_harness.conformance.recorder import Recorder
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Action
from knouds_harness.errors import GuardStop, TargetUnreachable
from knouds_harness.exchange.client import Client
from knouds_harness.runs.record import RunHeader, RunWriter, read_run
from knouds_harness.runs.verdicts import Verdict
from knouds_harness.target.waivers import Waiver

TODAY = date(2026, 11, 25)
WHOAMI = {
    "user": {"id": "usr_ada", "email": "ada@example.com", "role": "user", "tier": "pro", "approved": True}
}


@pytest.fixture
def make_probe(tmp_path):
    """Make a probe whose target answers as told; afterwards its run folder is complete."""
    opened = []

    def make(answer, *, waivers=(), waited=None, **limits):
        target = make_target(**limits)
        header = RunHeader(
            tool_version="0",
            python_version="3",
            command=("check",),
            seed=0,
            target=target,
            document=shipped_document(),
            checks=all_checks(),
        )
        writer = RunWriter.start(
            tmp_path, kind="check", target_name="t", header=header, now=lambda: datetime.now(UTC)
        )
        client = Client(target=target, on_exchange=writer.add_exchange, transport=httpx.MockTransport(answer))
        recorder = Recorder(document=shipped_document(), writer=writer, waivers=waivers, today=TODAY)
        opened.append(writer)
        return Probe(
            client=client,
            document=shipped_document(),
            recorder=recorder,
            wait=[].append if waited is None else waited.append,
        )

    yield make
    for writer in opened:
        writer.__exit__(None, None, None)


def full(probe):
    """The persona that sends."""
    return probe.target.personas["full"]


def test_healthy_answer_has_no_finding(make_probe):
    """An answer as documented leaves nothing behind but claims that held."""
    probe = make_probe(lambda _: httpx.Response(200, json=WHOAMI))

    probe.send("getWhoami", full(probe))

    assert probe.recorder.findings == {}


@pytest.mark.parametrize(
    ("response", "facts"),
    [
        (httpx.Response(200, json={"user": {**WHOAMI["user"], "role": "owner"}}), {"whoami.role-closed"}),
        (
            httpx.Response(200, json={"user": {**WHOAMI["user"], "approved": "yes"}}),
            {"whoami.approved-is-true"},
        ),
        (
            httpx.Response(200, text="<html>", headers={"content-type": "text/html"}),
            {"ground.json-content-type", "ground.responses-are-json-objects"},
        ),
        (httpx.Response(503, json={"error": "x", "code": "DOWN"}), {"ground.no-undocumented-server-error"}),
        (httpx.Response(404, json={"code": "NOT_FOUND"}), {"envelope.error-has-text"}),
        (httpx.Response(203, json=WHOAMI), {"ground.status-is-documented"}),
    ],
)
def test_every_answer_is_judged(make_probe, response, facts):
    """What holds for all answers is judged on each, whoever asked for it."""
    probe = make_probe(lambda _: response)

    exchange = probe.send("getWhoami", full(probe))

    assert {finding.fact for finding in probe.findings_about(exchange)} == facts


def test_finding_is_recorded_once_with_a_count(make_probe, tmp_path):
    """The same fault seen thrice is one finding, seen three times."""
    probe = make_probe(lambda _: httpx.Response(404, json={"code": "NOT_FOUND"}))

    for _ in range(3):
        probe.send("getWhoami", full(probe))
    probe.recorder.writer.finish("broken", 1)

    (finding,) = read_run(next(tmp_path.iterdir())).findings
    assert finding.count == 3


def test_assumption_fails_a_strict_run_only(make_probe):
    """Another code than the assumed one is noted, and fails nothing unless asked to."""
    probe = make_probe(lambda _: httpx.Response(401, json={"error": "x", "code": "NO_KEY"}))
    exchange = probe.send("getWhoami", None)

    lenient = probe.judge(authentication.missing_key, exchange)
    probe.recorder.strict = True
    strict = probe.judge(authentication.missing_key, exchange)

    assert [finding.verdict for finding in probe.recorder.findings.values()] == [Verdict.ASSUMPTION]
    assert lenient == []
    assert [finding.fact for finding in strict] == ["auth.plain-401-code"]


@pytest.mark.parametrize(("expires", "is_broken"), [(TODAY, False), (date(2026, 11, 24), True)])
def test_conflict_can_be_waived_until_it_expires(make_probe, expires, is_broken):
    """A plain 401 without a code is a conflict: it fails the run, unless waived for a while."""
    waiver = Waiver(fact="envelope.plain-401-has-code", reason="follows the errors page", expires=expires)
    probe = make_probe(lambda _: httpx.Response(401, json={"error": "Unauthorized"}), waivers=(waiver,))

    probe.send("getWhoami", None)

    assert [finding.verdict for finding in probe.recorder.findings.values()] == [Verdict.CONFLICT]
    assert probe.recorder.is_broken == is_broken


def test_expired_waiver_fails_a_run_even_unused(make_probe):
    """A waiver past its last day is a debt that somebody has to look at."""
    waiver = Waiver(fact="envelope.plain-401-has-code", reason="until the release", expires=date(2026, 1, 1))
    probe = make_probe(lambda _: httpx.Response(200, json=WHOAMI), waivers=(waiver,))

    probe.send("getWhoami", full(probe))

    assert probe.recorder.findings == {}
    assert probe.recorder.is_broken


def test_throttled_request_is_sent_again_in_the_next_window(make_probe):
    """A 429 outside the rate-limit checks is waited out as the target says."""
    body = {"error": "x", "code": "RATE_LIMIT_EXCEEDED", "tier": "pro", "limit": 100, "retryAfter": 7}
    headers = {
        "retry-after": "7",
        "x-ratelimit-limit": "100",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": "1795000000",
    }
    answers = iter([httpx.Response(429, json=body, headers=headers), httpx.Response(200, json=WHOAMI)])
    waited: list[float] = []
    probe = make_probe(lambda _: next(answers), waited=waited)

    exchange = probe.send("getWhoami", full(probe))

    assert exchange.status == 200
    assert waited == [7]


def test_target_that_throttles_for_ever_leaves_a_test_untested(make_probe):
    """After three windows nothing is known of the request, and nothing is claimed."""
    waited: list[float] = []
    probe = make_probe(lambda _: httpx.Response(429, headers={"retry-after": "60"}), waited=waited)

    with pytest.raises(pytest.skip.Exception, match="again and again"):
        probe.send("getWhoami", full(probe))

    assert sum(waited) == 240


def test_requests_at_once_are_answered_in_the_order_of_asking(make_probe):
    """Each is sent and judged; a 429 among them is an answer."""
    probe = make_probe(
        lambda request: httpx.Response(429 if "usage" in str(request.url) else 200, json=WHOAMI)
    )
    asked = ["getWhoami", "listUsage", "getWhoami"]

    exchanges = probe.send_at_once([(operation_id, full(probe), Call()) for operation_id in asked])

    assert [each.request.operation_id for each in exchanges] == asked
    assert [each.status for each in exchanges] == [200, 429, 200]
    assert {each.fact for each in probe.recorder.findings.values()} >= {"rate.refusal-headers"}


def test_target_that_has_gone_away_ends_the_run(make_probe):
    """After a few requests without any answer in a row the run ends, and nothing more is sent."""
    sent = []

    def refuse(request):
        sent.append(request)
        raise httpx.ConnectError("refused", request=request)

    probe = make_probe(refuse)

    for _ in range(4):
        probe.send("getWhoami", full(probe))
    for _ in range(3):
        with pytest.raises(TargetUnreachable, match="in a row"):
            probe.send("getWhoami", full(probe))

    assert [request.url.path for request in sent] == ["/api/whoami"] * 5 + ["/api/health"]


def test_broken_operation_is_left_alone_and_the_run_goes_on(make_probe):
    """After some requests without a whole answer it counts as untested; the others are asked as before."""

    def answer(request):
        if request.url.path == "/api/whoami":
            raise httpx.RemoteProtocolError("peer closed connection", request=request)
        return httpx.Response(200, json={"status": "ok"})

    probe = make_probe(answer)

    for _ in range(10):
        assert probe.send("getWhoami", full(probe)).status is None
    with pytest.raises(pytest.skip.Exception, match="a whole answer from getWhoami"):
        probe.send("getWhoami", full(probe))

    assert probe.send("getHealth", None).status == 200


@pytest.mark.parametrize("operation", ["getWhoami", "createWorkflow"])
def test_lost_connection_is_no_finding(make_probe, monkeypatch, operation):
    """Reads are asked anew, as another exchange; anything else is not sent twice, and untested."""
    probe = make_probe(lambda _: httpx.Response(200, json=WHOAMI))
    send, sent = probe.client.send, []

    def lose_first(request, **options):
        exchange = send(request, **options)
        sent.append(exchange)
        lost = {"status": None, "failure": "the connection broke", "is_lost": True}
        return replace(exchange, **lost) if len(sent) == 1 else exchange

    monkeypatch.setattr(probe.client, "send", lose_first)

    if operation == "getWhoami":
        assert probe.send(operation, full(probe)).status == 200
    else:
        with pytest.raises(pytest.skip.Exception, match="an answer to createWorkflow"):
            probe.send(operation, full(probe), Call(json={"name": "x"}))

    assert len(sent) == (2 if operation == "getWhoami" else 1)
    assert probe.recorder.findings == {}


def test_what_the_profile_forbids_counts_as_untested(make_probe):
    """An operation whose kind of action is not allowed is skipped, with the reason."""
    probe = make_probe(lambda _: httpx.Response(200, json={}), allow=frozenset({Action.READ}))

    with pytest.raises(pytest.skip.Exception, match=r'the profile lacks "run" in limits\.allow'):
        probe.send("runModel", full(probe), Call(path_values={"internalName": "m"}, json={"inputs": {}}))


def test_guard_stops_a_run_over_budget(make_probe):
    """A run that may cost more than is left is not sent."""
    probe = make_probe(lambda _: pytest.fail("sent"), credits=5)
    call = Call(path_values={"internalName": "m"}, json={"inputs": {}}, cost_credits=6)

    with pytest.raises(GuardStop):
        probe.send("runModel", full(probe), call)


def test_common_checks_are_known():
    """What the probe judges on every exchange are checks that reports and waivers know."""
    assert [check.id for check in COMMON_CHECKS if all_checks().get(check.id) is not check] == []


def test_finding_in_a_sequence_carries_what_led_to_it(make_probe):
    """Within a sequence all requests until then, outside of it one."""
    probe = make_probe(lambda _: httpx.Response(401, json={"error": "No"}))
    probe.recorder.steps.begin_sequence()
    probe.send("createWorkflow", full(probe), Call(json={"name": "A"}))
    exchange = probe.send("getWhoami", full(probe))

    (finding,) = probe.judge(authentication.key_is_accepted, exchange)

    assert finding.steps == ("x00001", "x00002")
    assert finding.script.startswith("sh -eu <<'END'")


@pytest.mark.parametrize(("concurrency", "at_once"), [(1, 1), (8, 8), (1_000_000, 64)])
def test_a_check_takes_no_thousand_threads(make_probe, concurrency, at_once):
    """Where a profile allows load thousands of requests in flight, a check still sends a few."""
    assert make_probe(lambda _: httpx.Response(200), concurrency=concurrency).most_at_once == at_once
