"""Of a sequence, what led to an answer; what goes out alone, at once or again and again."""

from dataclasses import replace
from datetime import timedelta

from run_records import exchange

from knouds_harness.exchange.reproduction.sequence import essential_steps, parts_of


def on(number, operation_id, slug, **options):
    shown = exchange(number, operation_id, **options)
    return replace(shown, url=shown.url.replace("portrait", slug))


def test_other_reads_are_left_out():
    steps = [
        exchange(1, "createWorkflow", status=201, body={"slug": "a"}),
        on(2, "getWorkflowSchema", "a"),
        on(3, "getWorkflow", "a", body={"slug": "a"}),
        on(4, "updateWorkflow", "a", sent={}),
        on(5, "getWorkflow", "a", body={"slug": "a"}),
    ]

    told = essential_steps(steps, shown_by=steps[-1])

    assert [step.id for step in told] == ["x00001", "x00003", "x00004", "x00005"]


def test_polls_that_say_the_same_are_left_out():
    polls = [exchange(number, "getExecution", body={"status": "processing"}) for number in range(2, 7)]
    end = exchange(7, "getExecution", body={"status": "completed"})

    steps = essential_steps([exchange(1, "runModel", status=202), *polls, end], shown_by=end)

    assert [step.id for step in steps] == ["x00001", "x00002", "x00006", "x00007"]


def test_polls_of_several_executions_in_turn_are_left_out_alike():
    """Each execution's first and last stay; a cancel in between may change any of them."""
    polls = [
        replace(exchange(number, "getExecution", body={"status": "processing"}), url=f"/{number % 2}")
        for number in range(1, 21)
    ]
    cancel, end = exchange(30, "cancelExecution"), exchange(31, "getExecution", body={"status": "cancelled"})

    steps = essential_steps([*polls[:10], cancel, *polls[10:], end], shown_by=end)

    numbers = [int(step.id.removeprefix("x")) for step in steps]
    assert numbers == [1, 2, 9, 10, 30, 11, 12, 19, 20, 31]


def test_all_reads_stay_where_answers_are_compared():
    steps = [exchange(1, "getWhoami", body={"user": {}}), exchange(2, "listUsage", body={"rows": []})]

    assert essential_steps(steps, shown_by=steps[-1], is_compared=True) == tuple(steps)


def test_what_overlaps_went_out_at_once():
    """One after the other is one by one, and more than a shell sends at once is a loop."""
    runs = [exchange(number, "runWorkflow") for number in range(1, 31)]
    slow = [replace(each, elapsed_ms=60_000.0) for each in runs]
    apart = [
        replace(each, started_at=each.started_at + timedelta(seconds=n)) for n, each in enumerate(runs[:3])
    ]

    assert [(len(part.steps), part.is_at_once) for part in parts_of(slow[:8])] == [(8, True)]
    assert [(len(part.steps), part.is_at_once) for part in parts_of(slow)] == [(30, False)]
    assert [len(part.steps) for part in parts_of(apart)] == [1, 1, 1]
