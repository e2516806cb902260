"""The tester: one judgement for all responses, retries if throttled, an end if the target is gone."""

from dataclasses import replace
from datetime import date

import httpx
import pytest
from example_targets import make_target
from run_records import start

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Action
from knouds_harness.errors import GuardStop, TargetUnreachable
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Call
from knouds_harness.exchange.pricing import Pricing
from knouds_harness.exchange.profile_check import check_profile
from knouds_harness.judging.checks import all_checks, envelopes, workflows
from knouds_harness.runs.findings import Verdict
from knouds_harness.runs.run_file import run_setup
from knouds_harness.suite.recorder import FindingRecorder
from knouds_harness.suite.support.usage_rows import read_page
from knouds_harness.suite.tester import Tester
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.resources import Waiver, Workflow

TODAY = date(2026, 11, 25)
WHOAMI = {
    "user": {"id": "usr_ada", "email": "ada@example.com", "role": "user", "tier": "pro", "approved": True}
}


@pytest.fixture
def make_tester(tmp_path):
    """Make a tester whose target answers like this; afterwards its run folder is complete."""
    opened = []

    def make(answer, *, waivers=(), waited=None, is_checked=False, **limits):
        target = make_target(**limits)
        setup = run_setup(target, seed=0, checks=[each.recorded for each in all_checks().values()])
        writer = start(tmp_path, target=target, setup=setup)
        client = Client(target=target, on_exchange=writer.add_exchange, transport=httpx.MockTransport(answer))
        recorder = FindingRecorder(document=shipped_document(), writer=writer, waivers=waivers, today=TODAY)
        opened.append(writer)
        return Tester(
            client=client,
            document=shipped_document(),
            recorder=recorder,
            wait=[].append if waited is None else waited.append,
            checked=check_profile(client, most_at_once=1) if is_checked else None,
        )

    yield make
    for writer in opened:
        writer.__exit__(None, None, None)


def full(tester):
    return tester.target.personas["full"]


def test_nothing_is_claimed_by_comparing_with_a_gateways_page(make_tester):
    page = httpx.Response(503, text="upstream connect error", headers={"server": "envoy"})
    refusal = httpx.Response(404, json={"error": "No.", "code": "NOT_FOUND"})
    answers = iter([page, refusal, page])
    tester = make_tester(lambda _: next(answers))

    earlier, later = (
        tester.send("getWorkflow", full(tester), Call(path_values={"slug": slug})) for slug in ("one", "two")
    )

    assert tester.judge(envelopes.constant_code, later, earlier=earlier) == []
    with pytest.raises(Untested, match="a page of usage: it was answered 503"):
        read_page(tester, full(tester))


@pytest.mark.parametrize("is_kept_back", [True, False])
def test_nothing_is_claimed_after_a_gateway_kept_a_step_back(make_tester, is_kept_back):
    """What it was to show or to change is not known, so a later answer need not show it."""
    busy, shown = httpx.Response(503, text="no healthy upstream"), httpx.Response(200, json={"name": "a"})
    answers = iter([busy if is_kept_back else shown, shown])
    tester = make_tester(lambda _: next(answers))

    _, shown = (tester.send("getWorkflow", full(tester), Call(path_values={"slug": "own"})) for _ in range(2))

    assert (tester.judge(workflows.updated, shown, expected={"name": "b"}) == []) == is_kept_back


@pytest.mark.parametrize(
    "send",
    [
        lambda tester: tester.send("getWhoami", full(tester)),
        lambda tester: tester.send_together("getWhoami", full(tester), Call(), times=2),
    ],
    ids=["one", "several"],
)
def test_test_that_ctrl_c_ends_sends_nothing_more(make_tester, send):
    """Its workflow may be deleted, though it has not seen the answer: deleting it again is no breach."""
    asked: list[httpx.Request] = []
    tester = make_tester(asked.append)

    def test():
        try:
            raise KeyboardInterrupt
        finally:
            send(tester)

    with pytest.raises(KeyboardInterrupt):
        test()
    assert asked == []


@pytest.mark.parametrize(("more", "is_kept"), [("", True), ("x" * 100_000, False)])
def test_long_response_from_the_profile_check_is_not_kept(make_tester, more, is_kept):
    """A test that needs it asks again; for many keys they would take hundreds of megabytes."""
    asked = []

    def answer(request):
        asked.append(request.url.path)
        return httpx.Response(200, json=WHOAMI | {"more": more})

    tester = make_tester(answer, is_checked=True)
    was_judged, before = bool(tester.recorder.checks_by_exchange), len(asked)
    tester.whoami(full(tester))

    assert (was_judged, asked[before:]) == ((False, []) if is_kept else (True, ["/api/whoami"]))


@pytest.mark.parametrize(
    ("status", "expires", "is_broken"),
    [(401, TODAY, False), (401, date(2026, 11, 24), True), (200, date(2026, 11, 24), True)],
)
def test_conflict_can_be_waived_until_it_expires(make_tester, status, expires, is_broken):
    """A waiver that has expired fails a run even unused."""
    waiver = Waiver(fact="envelope.plain-401-has-code", reason="follows the errors page", expires=expires)
    body = {"error": "Unauthorized"} if status == 401 else WHOAMI
    tester = make_tester(lambda _: httpx.Response(status, json=body), waivers=(waiver,))

    tester.send("getWhoami", full(tester) if status == 200 else None)

    excuse = None if is_broken else f"follows the errors page, until {expires}"
    conflicts = [(Verdict.CONFLICT, excuse)] if status == 401 else []
    assert [(each.verdict, each.waived_by) for each in tester.recorder.findings.values()] == conflicts
    assert tester.recorder.is_broken == is_broken


def test_endless_throttling_leaves_a_test_untested(make_tester):
    waited: list[float] = []
    tester = make_tester(lambda _: httpx.Response(429, headers={"retry-after": "60"}), waited=waited)

    with pytest.raises(Untested, match="again and again"):
        tester.send("getWhoami", full(tester))

    assert sum(waited) == 240


def test_concurrent_responses_keep_the_order_of_their_requests(make_tester):
    """Each is sent and judged; a 429 among them is a response like any other."""
    tester = make_tester(
        lambda request: httpx.Response(429 if "usage" in str(request.url) else 200, json=WHOAMI)
    )
    asked = ["getWhoami", "listUsage", "getWhoami"]

    exchanges = tester.send_at_once([(operation_id, full(tester), Call()) for operation_id in asked])

    assert [each.request.operation_id for each in exchanges] == asked
    assert [each.status for each in exchanges] == [200, 429, 200]
    assert {each.fact for each in tester.recorder.findings.values()} >= {"rate.refusal-headers"}


def test_unreachable_target_ends_the_run(make_tester):
    sent = []

    def refuse(request):
        sent.append(request)
        raise httpx.ConnectError("refused", request=request)

    tester = make_tester(refuse)

    for _ in range(4):
        tester.send("getWhoami", full(tester))
    for _ in range(3):
        with pytest.raises(TargetUnreachable, match="in a row"):
            tester.send("getWhoami", full(tester))

    assert [request.url.path for request in sent] == ["/api/whoami"] * 5 + ["/api/health"]


def test_operation_without_complete_responses_becomes_untested(make_tester):
    """After some attempts; other operations are still sent."""

    def answer(request):
        if request.url.path == "/api/whoami":
            raise httpx.RemoteProtocolError("peer closed connection", request=request)
        return httpx.Response(200, json={"status": "ok"})

    tester = make_tester(answer)

    for _ in range(10):
        assert tester.send("getWhoami", full(tester)).status is None
    with pytest.raises(Untested, match="a complete response from getWhoami"):
        tester.send("getWhoami", full(tester))

    assert tester.send("getHealth", None).status == 200


@pytest.mark.parametrize("operation", ["getWhoami", "createWorkflow"])
def test_closed_idle_connection_is_not_a_finding(make_tester, monkeypatch, operation):
    """Reads are sent again, as another exchange; other requests are not, and the test is untested."""
    tester = make_tester(lambda _: httpx.Response(200, json=WHOAMI))
    tester.client.list_existing()
    send, sent = tester.client.send, []

    def lose_first(request, **options):
        exchange = send(request, **options)
        sent.append(exchange)
        lost = {"status": None, "failure": "the connection broke", "is_lost": True}
        return replace(exchange, **lost) if len(sent) == 1 else exchange

    monkeypatch.setattr(tester.client, "send", lose_first)

    if operation == "getWhoami":
        assert tester.send(operation, full(tester)).status == 200
    else:
        with pytest.raises(Untested, match="a response to createWorkflow"):
            tester.send(operation, full(tester), Call(json={"name": "x"}))

    assert len(sent) == (2 if operation == "getWhoami" else 1)
    assert tester.recorder.findings == {}


def test_forbidden_action_is_untested(make_tester):
    tester = make_tester(lambda _: httpx.Response(200, json={}), allow=frozenset({Action.READ}))

    with pytest.raises(Untested, match=r'^"run" in limits\.allow'):
        tester.send("runModel", full(tester), Call(path_values={"internalName": "m"}, json={"inputs": {}}))


@pytest.fixture
def refused_clip(make_tester):
    """A tester with that many credits whose target answers like this, and the requests; a clip costs 8."""

    def refused_clip(answer, *, credits_left):
        sent = []

        def answered(request):
            sent.append(request.url.path)
            is_schema = request.url.path.endswith("/schema")
            return httpx.Response(200, json={"estimatedCreditCost": 8}) if is_schema else answer

        tester = make_tester(answered, credits=credits_left)
        clip = Workflow(slug="clip", owner="ada")
        tester.client.target = tester.target = replace(tester.target, workflows={"clip": clip})
        tester.pricing = Pricing(tester.client)
        return tester, sent

    return refused_clip


REFUSED = httpx.Response(403, json={"error": "No", "code": "CAPABILITY_DENIED"})
CLIP = Call(path_values={"slug": "clip"}, json={"inputs": {}})


def test_refusal_that_the_credits_do_not_cover_is_untested(refused_clip):
    """A server that does not refuse would spend too much; the run goes on."""
    tester, sent = refused_clip(REFUSED, credits_left=7)

    with pytest.raises(Untested, match=r"more credits than the 7"):
        tester.send("runWorkflow", None, CLIP)
    with pytest.raises(Untested, match=r"limits\.credits"):
        tester.send_together("runWorkflow", full(tester), CLIP, times=2)

    assert sent == ["/api/workflows/clip/schema"]
    assert tester.send("getHealth", None).status == 403


def test_refusals_spend_nothing(refused_clip):
    """However many there are; the price of the run is read once."""
    tester, sent = refused_clip(REFUSED, credits_left=8)

    for _ in range(3):
        assert tester.send("runWorkflow", None, CLIP).request.cost_credits == 8

    assert sent.count("/api/workflows/clip/schema") == 1
    assert tester.client.guard.budget.spent_credits == 0


def test_run_over_the_credits_left_ends_the_run(refused_clip):
    tester, sent = refused_clip(httpx.Response(200, json={"success": True, "cost": 9}), credits_left=8)
    tester.send("runWorkflow", None, CLIP)

    with pytest.raises(GuardStop, match=r"\(x00002\): charged 9 credits, but could cost at most 8"):
        tester.send("runWorkflow", None, CLIP)

    assert sent.count("/api/workflows/clip/run") == 1


@pytest.mark.parametrize(("concurrency", "at_once"), [(1, 1), (8, 8), (1_000_000, 64)])
def test_check_has_few_requests_in_flight(make_tester, concurrency, at_once):
    """Even if the profile allows load thousands of them."""
    assert make_tester(lambda _: httpx.Response(200), concurrency=concurrency).most_at_once == at_once
