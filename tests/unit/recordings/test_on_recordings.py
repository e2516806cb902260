"""What client, budget, retries, polling and verifier make of answers as servers really give them."""

from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
from recorded import document, make_target, recording, recordings, request_of, serving

from knouds_harness.errors import GuardStop
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Call
from knouds_harness.exchange.execution_status import statuses_in
from knouds_harness.exchange.pricing import Pricing
from knouds_harness.exchange.profile_check import check_profile
from knouds_harness.exchange.recordings.recording import TEST_SECRET
from knouds_harness.exchange.signature import HEADER, SignatureRefused, verify
from knouds_harness.judging.checks import all_checks
from knouds_harness.runs.header import run_setup
from knouds_harness.runs.writer import RunWriter
from knouds_harness.suite.recorder import FindingRecorder
from knouds_harness.suite.support.execution_traces import Executions, ExecutionTrace
from knouds_harness.suite.support.subjects import Subjects
from knouds_harness.suite.tester import Tester
from knouds_harness.targets.needs.keys import ANY_KEY
from knouds_harness.targets.resources import Model, Workflow

DELIVERIES = [name for name, each in recordings().items() if each.kind == "delivery"]


@pytest.fixture
def make_tester(tmp_path):
    """A tester that sends with a client; what it waits for is kept instead."""
    writers = []

    def make(client, waits) -> Tester:
        setup = run_setup(client.target, seed=0, checks=all_checks().values())
        writer = RunWriter.start(
            tmp_path, kind="check", target=client.target, setup=setup, now=lambda: datetime.now(UTC)
        )
        writers.append(writer)
        client._on_exchange = writer.add_exchange  # noqa: SLF001 - as a run has it
        recorder = FindingRecorder(
            document=document(), writer=writer, waivers=(), today=datetime.now(UTC).date()
        )
        return Tester(client=client, document=document(), recorder=recorder, wait=waits.append)

    yield make
    for writer in writers:
        writer.__exit__(None, None, None)


# --- polling


@pytest.mark.parametrize(
    ("submit", "polls", "ending"),
    [
        ("runModel-202-accepted", ["processing", "completed"], "completed"),
        ("runModel-202-accepted-to-fail", ["failed"], "failed"),
        ("runModel-202-accepted-to-cancel", ["cancelled"], "cancelled"),
        ("runWorkflow-202-accepted", ["workflow-completed"], "completed"),
    ],
)
def test_execution_is_polled_from_submit_to_end(make_tester, submit, polls, ending):
    """Each recorded poll is asked for once, and none after the end."""
    submitted = recording(submit)
    waits: list[float] = []

    with serving(submitted, *[recording(f"getExecution-200-{each}") for each in polls]) as client:
        tester = make_tester(client, waits)
        request, _ = request_of(submitted)
        reader = client.persona("full")
        model = Model(name="any", deadline_s=10)
        trace = ExecutionTrace(reader=reader, resource=model, exchanges=(client.send(request),))
        trace = Executions(tester, Subjects(tester)).to_end(trace)

    assert trace.ending == ending
    assert len(waits) == len(polls) - 1
    assert tester.recorder.findings == {}


def test_polling_ends_with_a_refusal(make_tester):
    """An execution that is not there is in no state to wait for."""
    unknown = recording("getExecution-404-unknown")
    submitted = recording("runModel-202-accepted").exchange
    lost = replace(
        submitted,
        body=submitted.body.replace(
            submitted.json()["executionId"].encode(), unknown.exchange.request.path_values["id"].encode()
        ),
    )

    with serving(unknown) as client:
        tester = make_tester(client, [])
        trace = Executions(tester, Subjects(tester)).to_end(
            ExecutionTrace(reader=client.persona("full"), resource=Model(name="any"), exchanges=(lost,))
        )

    assert trace.ending is None
    assert statuses_in(trace.exchanges) == ["processing"]


# --- retry


def test_throttled_run_is_sent_again_when_the_refusal_says(make_tester):
    """In the next window it is admitted; nothing is sent in between."""
    refused = recording("runWorkflow-429-over-limit")
    admitted = recording("runWorkflow-200-next-window")
    request = refused.exchange.request
    waits: list[float] = []

    with serving(refused, admitted) as client:
        tester = make_tester(client, waits)
        persona = client.target.personas[request.persona or ""]
        call = Call(path_values=request.path_values, raw=request.body, headers=request.headers)
        answer = tester.send("runWorkflow", persona, call)

    assert answer.status == 200
    assert waits == [refused.exchange.json()["retryAfter"]]


@pytest.mark.parametrize("name", ["runModel-500-provider-failed", "runWorkflow-500-provider-failed"])
def test_failed_run_is_not_sent_again(name):
    """It may have been charged: the recording answers once, and once is enough."""
    with serving(recording(name)) as client:
        request, _ = request_of(recording(name))

        assert client.send(request).code == "EXECUTION_FAILED"


# --- budget


@pytest.mark.parametrize(
    ("name", "is_whole"),
    [
        ("runWorkflow-200-result", False),
        ("runModel-200-result", False),
        ("runWorkflow-200-free", True),  # 0 is what a trial grant alone pays
        ("runModel-402-no-credits", True),
        ("runModel-403-above-tier", True),
        ("runWorkflow-429-over-limit", True),
        ("runModel-500-provider-failed", True),
        ("runModel-202-accepted", True),
    ],
)
def test_run_is_settled_by_what_its_answer_says(name, is_whole):
    """What it says it cost; all that was set aside where it does not say, or was not to be refused."""
    said, spent = settled(name, cost_credits=1000.0)

    assert spent == (1000.0 if is_whole else said)


@pytest.mark.parametrize("name", ["runModel-402-no-credits", "runModel-403-above-tier"])
def test_refusal_that_was_asked_for_costs_nothing(name):
    """The sender expects it, and so sets nothing aside."""
    _, spent = settled(name, cost_credits=0.0)

    assert spent == 0


def settled(name, *, cost_credits):
    """What a recorded answer says that a run cost, and what the budget counts."""
    recorded = recording(name)
    request = replace(request_of(recorded)[0], cost_credits=cost_credits)
    with serving(recorded, credits=1000.0) as client:
        exchange = client.send(request)
        return exchange.json().get("cost", 0), client.guard.budget.spent_credits


def test_run_that_may_cost_more_than_is_left_is_not_sent():
    """The first one spends what the second would need."""
    recorded = recording("runWorkflow-200-result")
    cost = recorded.exchange.json()["cost"]
    request = replace(request_of(recorded)[0], cost_credits=cost)

    with serving(recorded, credits=1.5 * cost) as client:
        client.send(request)
        with pytest.raises(GuardStop, match=f"may cost {cost} credits"):
            client.send(request)


def test_price_of_a_workflow_is_what_its_schema_estimates():
    """Asked for once."""
    schema = recording("getWorkflowSchema-200-fields")
    slug = schema.exchange.request.path_values["slug"]
    owner = schema.exchange.request.persona or ""

    with serving(schema) as client:
        pricing = Pricing(client.send, client.target)
        prices = {pricing.worst_case(Workflow(slug=slug, owner=owner)) for _ in range(2)}

    assert prices == {schema.exchange.json()["estimatedCreditCost"]}


# --- keys


def test_served_target_meets_the_needs_of_tests():
    """The key that recordings call full is the usual one."""
    found = ANY_KEY.find(make_target(recording("getWhoami-200-user"), recording("getWhoami-200-pro")))

    assert found is not None
    assert found.name == "full"


@pytest.mark.parametrize(
    ("name", "state", "contradicted"),
    [
        ("getWhoami-200-user", "active", []),
        ("getWhoami-200-user", "revoked", ["keys.full.state"]),
        ("getWhoami-401-revoked", "revoked", []),
        ("getWhoami-401-legacy", "legacy", []),
        ("getWhoami-401-unapproved", "active", ["keys.unapproved"]),
    ],
)
def test_key_is_held_against_what_whoami_answers(name, state, contradicted):
    """A state that the answer does not bear out contradicts the profile."""
    recorded = recording(name)
    target = make_target(recorded)
    (persona,) = target.personas.values()
    keys = {persona.name: replace(persona, state=state, capabilities=frozenset())}
    answer = httpx.Response(recorded.exchange.status or 0, content=recorded.exchange.body)

    with Client(
        target=replace(target, personas=keys), transport=httpx.MockTransport(lambda _: answer)
    ) as client:
        checked = check_profile(client)

    assert [each.where for each in checked.contradictions] == contradicted


# --- deliveries


def signature_of(recording):
    return dict(recording.exchange.sent_headers)[HEADER]


@pytest.mark.parametrize("name", DELIVERIES)
def test_recorded_delivery_is_believed(name):
    """On the day on which it came."""
    recorded = recording(name)
    body, at = recorded.exchange.request.body or b"", recorded.exchange.started_at.timestamp()

    verify(body, signature_of(recorded), secret=TEST_SECRET, now_unix_s=at)


@pytest.mark.parametrize("name", DELIVERIES)
def test_recorded_delivery_is_refused_later_or_altered_or_with_another_secret(name):
    """A replay attack, a forged body, a guessed secret."""
    recorded = recording(name)
    body, at = recorded.exchange.request.body or b"", recorded.exchange.started_at.timestamp()

    for given, secret, now_unix_s in (
        (body, TEST_SECRET, at + 302),
        (body.replace(b"execution", b"execution ", 1), TEST_SECRET, at),
        (body, "whsec_another_secret", at),
    ):
        with pytest.raises(SignatureRefused):
            verify(given, signature_of(recorded), secret=secret, now_unix_s=now_unix_s)
