"""What client, budget, patience, polling and verifier make of answers as servers really give them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from recorded import document, make_target, recording, recordings, request_of, serving

from knouds_harness.conformance.checks import all_checks
from knouds_harness.conformance.doctor import diagnose
from knouds_harness.conformance.needs import FULL_KEY
from knouds_harness.conformance.probe import Call, Probe
from knouds_harness.conformance.recorder import Recorder
from knouds_harness.conformance.statuses import statuses_in
from knouds_harness.conformance.subjects import Subjects
from knouds_harness.conformance.trails import Executions, Trail
from knouds_harness.errors import GuardStop
from knouds_harness.exchange.pricing import Pricing
from knouds_harness.exchange.recordings import TEST_SECRET
from knouds_harness.exchange.signature import HEADER, SignatureRefused, verify
from knouds_harness.runs.record import RunHeader, RunWriter
from knouds_harness.target.resources import Model, Workflow

DELIVERIES = [name for name, each in recordings().items() if each.kind == "delivery"]


@pytest.fixture
def make_probe(tmp_path):
    """A probe that sends with a client; what it waits for is kept instead."""
    writers = []

    def make(client, waits) -> Probe:
        header = RunHeader(
            tool_version="0",
            python_version="3",
            command=("check",),
            seed=0,
            target=client.target,
            document=document(),
            checks=all_checks(),
        )
        writer = RunWriter.start(
            tmp_path, kind="check", target_name="t", header=header, now=lambda: datetime.now(UTC)
        )
        writers.append(writer)
        client._on_exchange = writer.add_exchange  # noqa: SLF001 - as a run has it
        recorder = Recorder(document=document(), writer=writer, waivers=(), today=datetime.now(UTC).date())
        return Probe(client=client, document=document(), recorder=recorder, wait=waits.append)

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
def test_execution_is_polled_from_submit_to_end(make_probe, submit, polls, ending):
    """Each recorded poll is asked for once, and none after the end."""
    submitted = recording(submit)
    waits: list[float] = []

    with serving(submitted, *[recording(f"getExecution-200-{each}") for each in polls]) as client:
        probe = make_probe(client, waits)
        request, _ = request_of(submitted)
        trail = Trail(resource=Model(name="any", deadline_s=10), exchanges=(client.send(request),))
        trail = Executions(probe, Subjects(probe)).to_end(trail)

    assert trail.ending == ending
    assert len(waits) == len(polls) - 1
    assert probe.recorder.findings == {}


def test_polling_ends_with_a_refusal(make_probe):
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
        probe = make_probe(client, [])
        trail = Executions(probe, Subjects(probe)).to_end(
            Trail(resource=Model(name="any"), exchanges=(lost,))
        )

    assert trail.ending is None
    assert statuses_in(trail.exchanges) == ["processing"]


# --- retry


def test_throttled_run_is_sent_again_when_the_refusal_says(make_probe):
    """In the next window it is admitted; nothing is sent in between."""
    refused = recording("runWorkflow-429-over-limit")
    admitted = recording("runWorkflow-200-next-window")
    request = refused.exchange.request
    waits: list[float] = []

    with serving(refused, admitted) as client:
        probe = make_probe(client, waits)
        persona = client.target.personas[request.persona or ""]
        call = Call(path_values=request.path_values, raw=request.body, headers=request.headers)
        answer = probe.send("runWorkflow", persona, call)

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
        ("runWorkflow-200-free", False),
        ("runWorkflow-200-granted", False),
        ("runModel-402-no-credits", False),
        ("runWorkflow-402-grant-used-up", False),
        ("runWorkflow-429-over-limit", False),
        ("runModel-403-above-tier", False),
        ("runModel-500-provider-failed", True),
        ("runModel-202-accepted", True),
    ],
)
def test_run_is_settled_by_what_its_answer_says(name, is_whole):
    """What it says it cost; nothing for a refusal; all that was set aside where it does not say."""
    recorded = recording(name)
    request = replace(request_of(recorded)[0], cost_credits=1000.0)

    with serving(recorded, credits=1000.0) as client:
        exchange = client.send(request)
        spent = client.guard.budget.spent_credits

    said = exchange.json().get("cost", 0)
    assert spent == (1000.0 if is_whole else said)


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
        pricing = Pricing(client, client.target)
        prices = {pricing.worst_case(Workflow(slug=slug, owner=owner)) for _ in range(2)}

    assert prices == {schema.exchange.json()["estimatedCreditCost"]}


# --- keys


def test_served_target_meets_the_needs_of_tests():
    """The key that recordings call full is the full key."""
    found = FULL_KEY.find(make_target(recording("getWhoami-200-user"), recording("getWhoami-200-pro")))

    assert found is not None
    assert found.name == "full"


@pytest.mark.parametrize(
    ("name", "state", "problem"),
    [
        ("getWhoami-200-user", "active", ""),
        ("getWhoami-200-user", "revoked", 'state is "revoked", so 401 was expected'),
        ("getWhoami-401-revoked", "revoked", ""),
        ("getWhoami-401-legacy", "legacy", ""),
        ("getWhoami-401-unapproved", "active", "the key does not work"),
    ],
)
def test_key_is_diagnosed_by_what_whoami_answers(name, state, problem):
    """As ``doctor`` prints it."""
    recorded = recording(name)
    (persona,) = make_target(recorded).personas.values()

    diagnosis = diagnose(replace(persona, state=state), recorded.exchange)

    assert "; ".join(diagnosis.problems) == problem


# --- deliveries


def signature_of(recording):
    """The header's value."""
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
