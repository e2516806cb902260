"""What led to an answer: a sequence's requests, or those about one execution."""

from __future__ import annotations

from dataclasses import replace

from run_records import exchange

from knouds_harness.conformance.steps import Steps

EXECUTION = "11111111-2222-4333-8444-555555555555"


def submitted(number):
    return exchange(number, "runModel", status=202, body={"executionId": EXECUTION, "status": "processing"})


def about(number, operation_id, execution_id=EXECUTION, status="processing"):
    shown = exchange(number, operation_id, body={"executionId": execution_id, "status": status})
    return replace(shown, request=replace(shown.request, path_values={"id": execution_id}))


def noted(steps, *exchanges):
    for each in exchanges:
        steps.note(each)
    return exchanges


def ids(exchanges):
    return [each.id for each in exchanges]


def test_single_request_stands_for_itself():
    """Outside of a sequence nothing is thought to depend on what was sent before."""
    steps = Steps()
    _, second = noted(steps, exchange(1, "getWhoami"), exchange(2, "getWhoami"))

    assert steps.of(second) == (second,)


def test_sequence_leads_to_each_of_its_answers():
    """All that was sent since it began, and nothing after."""
    steps = Steps()
    noted(steps, exchange(1, "createWorkflow"))
    steps.begin_sequence()
    _, third, _ = noted(steps, *(exchange(number, "createWorkflow") for number in (2, 3, 4)))

    assert ids(steps.of(third)) == ["x00002", "x00003"]


def test_ended_sequence_leads_nowhere():
    """What comes after it stands for itself."""
    steps = Steps()
    steps.begin_sequence()
    noted(steps, exchange(1, "createWorkflow"))
    steps.end_sequence()
    (second,) = noted(steps, exchange(2, "createWorkflow"))

    assert steps.of(second) == (second,)


def test_poll_goes_back_to_its_submit():
    """Whatever else was sent in between, about other executions too."""
    steps = Steps()
    sent = noted(
        steps,
        submitted(1),
        exchange(2, "getWhoami"),
        about(3, "getExecution", "another"),
        about(4, "getExecution"),
        about(5, "getExecution"),
    )

    assert ids(steps.of(sent[3])) == ["x00001", "x00004"]


def test_cancel_shows_in_the_polls_after_it():
    """What cancelling is about is what comes of it."""
    steps = Steps()
    sent = noted(steps, submitted(1), about(2, "cancelExecution"), about(3, "getExecution"))

    assert ids(steps.of(sent[1])) == ["x00001", "x00002", "x00003"]


def test_submit_stands_for_itself():
    """Nothing leads to it."""
    steps = Steps()
    first, _ = noted(steps, submitted(1), about(2, "getExecution"))

    assert steps.of(first) == (first,)
