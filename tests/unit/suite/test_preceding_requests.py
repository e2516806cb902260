"""The requests that led to a response: those of a sequence, or those about one execution."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from run_records import exchange

from knouds_harness.suite.preceding_requests import PrecedingRequests, exchanges_in, is_comparing

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


def test_response_in_a_sequence_has_the_requests_before_it():
    steps = PrecedingRequests()
    noted(steps, exchange(1, "createWorkflow"))
    steps.begin_sequence()
    _, third, _ = noted(steps, *(exchange(number, "createWorkflow") for number in (2, 3, 4)))

    assert ids(steps.of(third)) == ["x00002", "x00003"]


def test_request_after_a_sequence_has_only_itself():
    steps = PrecedingRequests()
    steps.begin_sequence()
    noted(steps, exchange(1, "createWorkflow"))
    steps.begin_test()
    (second,) = noted(steps, exchange(2, "createWorkflow"))

    assert steps.of(second) == (second,)


def test_poll_has_its_submit():
    steps = PrecedingRequests()
    sent = noted(
        steps,
        submitted(1),
        exchange(2, "getWhoami"),
        about(3, "getExecution", "another"),
        about(4, "getExecution"),
        about(5, "getExecution"),
    )

    assert ids(steps.of(sent[3])) == ["x00001", "x00004"]


def test_cancel_has_its_submit_and_the_polls_after_it():
    steps = PrecedingRequests()
    sent = noted(steps, submitted(1), about(2, "cancelExecution"), about(3, "getExecution"))

    assert ids(steps.of(sent[1])) == ["x00001", "x00002", "x00003"]


def test_read_has_the_create_and_changes_of_its_resource():
    """From any test; reads and refused writes are left out, as they changed nothing."""
    steps = PrecedingRequests()
    created = exchange(1, "createWorkflow", status=201, body={"slug": "fresh"})
    noted(steps, created, on(2, "updateWorkflow", 200), on(3, "getWorkflow", 200), on(4, "moveWorkflow", 403))
    steps.begin_test()
    (last,) = noted(steps, on(5, "getWorkflow", 200))

    assert ids(steps.of(last)) == ["x00001", "x00002", "x00005"]


def on(number, operation_id, status):
    shown = exchange(number, operation_id, status=status)
    return replace(shown, request=replace(shown.request, path_values={"slug": "fresh"}))


def test_request_with_a_minted_key_has_its_minting():
    steps = PrecedingRequests()
    opened = control(1, {"tier": "free"}, {"account": "account-1"})
    minted = control(2, {"account": "account-1"}, {"name": "minted-1", "secret": "{{key:minted-1}}"})
    noted(steps, opened, minted, control(3, {"account": "another"}, {"name": "minted-2"}))
    steps.begin_test()
    (asked,) = noted(steps, exchange(4, "getWhoami", persona="minted-1"))

    assert ids(steps.of(asked)) == ["x00001", "x00002", "x00004"]


def control(number, sent, body):
    shown = exchange(number, "createWorkflow", status=201, sent=sent, body=body, persona=None)
    request = replace(shown.request, operation_id=None)
    return replace(shown, request=request, sent_headers=(("x-sandbox-token", "{{control-token}}"),))


def led_to(steps, exchange, **given):
    sources = steps.sources(exchange, given)
    return sources, ids(steps.of(exchange, sources=sources))


def test_argument_that_no_response_holds_keeps_all_requests_of_the_test():
    """Before and after it, and the one that it was compared with, even if another test sent that."""
    steps = PrecedingRequests()
    (earlier, _) = noted(steps, exchange(1, "getWhoami"), exchange(2, "getWhoami"))
    steps.begin_test()
    _, run, _ = noted(steps, *(exchange(number, "listUsage") for number in (3, 4, 5)))

    sources, sent = led_to(steps, run, earlier=earlier, charged_credits=[8.0])

    assert not sources.is_complete
    assert sent == ["x00001", "x00003", "x00004", "x00005"]
    assert ids(steps.of(run)) == ["x00004"]


def test_compared_response_has_what_it_was_compared_with_and_what_acted():
    steps = PrecedingRequests()
    single, _, created, _, run, _ = noted(
        steps,
        exchange(1, "runModel"),
        exchange(2, "listUsage"),
        exchange(3, "createWorkflow", status=201, body={"slug": "a"}),
        exchange(4, "getWorkflow"),
        exchange(5, "runModel"),
        exchange(6, "getWhoami"),
    )

    assert led_to(steps, run, single=single)[1] == ids([single, created, run])


def test_header_rests_on_all_requests_of_the_test():
    """What it tells, such as what is left of a window, may be changed by reads."""
    steps = PrecedingRequests()
    first, _, last = sent = noted(
        steps, *(at_slug(number, "getWorkflow", str(number)) for number in (1, 2, 3))
    )
    sources = steps.sources(last, {"earlier": first}, where="header X-RateLimit-Remaining")

    assert ids(steps.of(last, sources=sources)) == ids(sent)


def test_row_of_a_run_brings_the_page_that_shows_it():
    """With its place in the page; the page before does not show it."""
    rows = [{"id": 2, "creditsCost": 8}, {"id": 1, "creditsCost": 3}]
    steps = PrecedingRequests()
    _, run, page, _ = noted(
        steps,
        exchange(1, "listUsage", body={"rows": rows[1:]}),
        exchange(2, "runModel", body={"cost": 17}),
        exchange(3, "listUsage", body={"rows": rows}),
        exchange(4, "listUsage", body={"rows": []}),
    )

    sources, sent = led_to(steps, run, row=dict(rows[0]))

    assert sources.parts == [(page, "/rows/0")]
    assert sent == ["x00002", "x00003"]


def test_list_of_usage_brings_one_page_that_shows_it_whole():
    rows = [{"id": number} for number in range(3)]
    steps = PrecedingRequests()
    *_, page, _ = noted(
        steps,
        exchange(1, "listUsage", body={"rows": [*rows, {"id": 4}]}),
        exchange(2, "listUsage", body={"rows": rows}),
        exchange(3, "listUsage", body={"rows": rows[:2]}),
        exchange(4, "listUsage", body={"rows": rows}),
    )

    sources, sent = led_to(steps, page, before=rows, after=rows, offset=1, limit=2)

    assert [(each.id, place) for each, place in sources.parts] == [("x00004", "/rows")]
    assert sent == ["x00003", "x00004"]


def test_poll_after_a_cancel_has_the_submit_the_end_and_the_cancel():
    """Not the polls that show nothing that was compared, nor what is about other executions."""
    another = exchange(2, "runModel", status=202, body={"executionId": "another"})
    steps = PrecedingRequests()
    *_, last = noted(
        steps,
        submitted(1),
        another,
        about(3, "getExecution"),
        about(4, "getExecution", status="completed"),
        about(5, "getExecution", status="completed"),
        about(6, "cancelExecution", "another"),
        about(7, "cancelExecution"),
        about(8, "getExecution", status="cancelled"),
    )

    sources, sent = led_to(steps, last, ending="completed")

    assert [(each.id, place) for each, place in sources.parts] == [("x00004", "/status")]
    assert sent == ["x00001", "x00004", "x00007", "x00008"]


def test_statuses_of_an_execution_bring_one_response_for_each_change():
    """In their order, as a status may come back; the submit shows the first one."""
    statuses = ["processing", "completed", "completed", "processing", "completed", "completed"]
    steps = PrecedingRequests()
    *_, last = noted(
        steps,
        submitted(1),
        *(about(number, "getExecution", status=status) for number, status in enumerate(statuses, 2)),
    )

    assert led_to(steps, last, statuses=statuses)[1] == ["x00001", "x00003", "x00005", "x00006", "x00007"]
    assert not led_to(steps, last, statuses=["failed"])[0].is_complete


def test_status_after_a_cancel_is_that_of_a_later_poll():
    steps = PrecedingRequests()
    *_, cancel, _, _ = noted(
        steps,
        submitted(1),
        about(2, "getExecution"),
        about(3, "cancelExecution", status="cancel_requested"),
        about(4, "getExecution"),
        about(5, "getExecution", status="completed"),
    )

    assert led_to(steps, cancel, after=["processing", "completed"])[1] == [
        "x00001",
        "x00003",
        "x00004",
        "x00005",
    ]


def test_arguments_of_a_check_show_whether_it_compares():
    one, other = exchange(1, "getWhoami"), exchange(2, "getWhoami")

    assert not is_comparing("capabilities", {"operation": object(), "held": ()})
    assert is_comparing("usage", {"limit": 1})
    assert is_comparing("runs", {"rows": [{"id": 1}]})
    assert exchanges_in({"earlier": one, "between": [other], "tier": "pro"}) == [one, other]


def test_requests_of_other_threads_are_left_out():
    steps = PrecedingRequests()
    steps.begin_sequence()
    noted(steps, exchange(1, "getWhoami"))
    last = exchange(2, "getWhoami")

    def elsewhere():
        noted(steps, last)
        return ids(steps.of(last))

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(elsewhere).result() == ["x00002"]


def at_slug(number, operation_id, slug, **options):
    shown = exchange(number, operation_id, **options)
    return replace(shown, url=shown.url.replace("portrait", slug))


def test_other_reads_are_left_out():
    sent = [
        exchange(1, "createWorkflow", status=201, body={"slug": "a"}),
        at_slug(2, "getWorkflowSchema", "a"),
        at_slug(3, "getWorkflow", "a", body={"slug": "a"}),
        at_slug(4, "updateWorkflow", "a", sent={}),
        at_slug(5, "getWorkflow", "a", body={"slug": "a"}),
    ]
    steps = PrecedingRequests()
    steps.begin_sequence()
    noted(steps, *sent)

    assert ids(steps.of(sent[-1])) == ["x00001", "x00003", "x00004", "x00005"]


def test_repeated_polls_of_several_executions_are_left_out():
    """The first and last of each execution are kept; a cancel in between may change any of them."""
    polls = [
        replace(exchange(number, "getExecution", body={"status": "processing"}), url=f"/{number % 2}")
        for number in (*range(1, 11), *range(12, 22))
    ]
    cancel, end = exchange(11, "cancelExecution"), exchange(22, "getExecution", body={"status": "cancelled"})
    steps = PrecedingRequests()
    steps.begin_sequence()
    noted(steps, *polls[:10], cancel, *polls[10:], end)

    numbers = [int(each.removeprefix("x")) for each in ids(steps.of(end))]
    assert numbers == [1, 2, 9, 10, 11, 12, 13, 20, 21, 22]


def test_all_reads_are_kept_if_not_all_sources_are_found():
    sent = [exchange(1, "getWhoami", body={"user": {}}), exchange(2, "listUsage", body={"rows": []})]
    steps = PrecedingRequests()
    noted(steps, *sent)

    assert led_to(steps, sent[-1], total=7)[1] == ids(sent)
