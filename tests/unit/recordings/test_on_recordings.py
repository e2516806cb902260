"""Polling and retries with real responses."""

from datetime import date

import pytest
from recorded import document, recording, request_of, serving
from run_records import start

from knouds_harness.exchange.evidence import Call
from knouds_harness.judging.checks import all_checks
from knouds_harness.runs.header import run_setup
from knouds_harness.suite.recorder import FindingRecorder
from knouds_harness.suite.support.execution_traces import Executions, ExecutionTrace
from knouds_harness.suite.support.test_data import TestData
from knouds_harness.suite.tester import Tester
from knouds_harness.targets.resources import Model


@pytest.fixture
def make_tester(tmp_path):
    """Make a tester that sends with a client, and keeps its waits instead of waiting."""
    writers = []

    def make(client, waits) -> Tester:
        setup = run_setup(client.target, seed=0, checks=all_checks().values())
        writer = start(tmp_path, target=client.target, setup=setup)
        writers.append(writer)
        client._on_exchange = writer.add_exchange  # noqa: SLF001 - as a run has it
        recorder = FindingRecorder(document=document(), writer=writer, waivers=(), today=date(2026, 11, 25))
        return Tester(client=client, document=document(), recorder=recorder, wait=waits.append)

    yield make
    for writer in writers:
        writer.__exit__(None, None, None)


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
    """Each recorded poll is sent once, and none after the end."""
    submitted = recording(submit)
    waits: list[float] = []

    with serving(submitted, *[recording(f"getExecution-200-{each}") for each in polls]) as client:
        tester = make_tester(client, waits)
        request, _ = request_of(submitted)
        reader = client.persona("full")
        model = Model(name="any", deadline_s=10)
        trace = ExecutionTrace(reader=reader, resource=model, exchanges=(client.send(request),))
        trace = Executions(tester, TestData(tester)).to_end(trace)

    assert trace.ending == ending
    assert len(waits) == len(polls) - 1
    assert tester.recorder.findings == {}


def test_throttled_run_is_sent_again_after_retry_after(make_tester):
    """The next window admits it; nothing is sent in between."""
    refused = recording("runWorkflow-429-over-limit")
    admitted = recording("runWorkflow-200-next-window")
    request = refused.exchange.request
    waits: list[float] = []

    with serving(refused, admitted) as client:
        tester = make_tester(client, waits)
        persona = client.target.personas[request.persona or ""]
        call = Call(
            path_values=request.path_values, raw=request.body, headers=request.headers, is_deliberate=True
        )
        answer = tester.send("runWorkflow", persona, call)

    assert answer.status == 200
    assert waits == [refused.exchange.json()["retryAfter"]]
