"""The requests that led to a response: those of a sequence, or those about one execution."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from run_records import exchange

from knouds_harness.suite.preceding_requests import PrecedingRequests, compared_with, essential_steps

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
    steps.end_sequence()
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


def test_compared_response_has_all_requests_of_the_test():
    """Before and after it, and the one that it was compared with, even if another test sent that."""
    steps = PrecedingRequests()
    (earlier, _) = noted(steps, exchange(1, "getWhoami"), exchange(2, "getWhoami"))
    steps.begin_test()
    _, run, _ = noted(steps, *(exchange(number, "listUsage") for number in (3, 4, 5)))

    assert ids(steps.of(run, compared=[earlier])) == ["x00001", "x00003", "x00004", "x00005"]
    assert ids(steps.of(run)) == ["x00004"]


def test_arguments_of_a_check_show_whether_it_compares():
    one, other = exchange(1, "getWhoami"), exchange(2, "getWhoami")

    assert compared_with("capabilities", {"operation": object(), "held": ()}) is None
    assert compared_with("usage", {"limit": 1}) == []
    assert compared_with("runs", {"rows": [{"id": 1}]}) == []
    assert compared_with("runs", {"earlier": one, "between": [other], "tier": "pro"}) == [one, other]


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
    steps = [
        exchange(1, "createWorkflow", status=201, body={"slug": "a"}),
        at_slug(2, "getWorkflowSchema", "a"),
        at_slug(3, "getWorkflow", "a", body={"slug": "a"}),
        at_slug(4, "updateWorkflow", "a", sent={}),
        at_slug(5, "getWorkflow", "a", body={"slug": "a"}),
    ]

    told = essential_steps(steps, shown_by=steps[-1])

    assert [step.id for step in told] == ["x00001", "x00003", "x00004", "x00005"]


def test_repeated_polls_of_several_executions_are_left_out():
    """The first and last of each execution are kept; a cancel in between may change any of them."""
    polls = [
        replace(exchange(number, "getExecution", body={"status": "processing"}), url=f"/{number % 2}")
        for number in range(1, 21)
    ]
    cancel, end = exchange(30, "cancelExecution"), exchange(31, "getExecution", body={"status": "cancelled"})

    steps = essential_steps([*polls[:10], cancel, *polls[10:], end], shown_by=end)

    numbers = [int(step.id.removeprefix("x")) for step in steps]
    assert numbers == [1, 2, 9, 10, 30, 11, 12, 19, 20, 31]


def test_all_reads_are_kept_if_responses_are_compared():
    steps = [exchange(1, "getWhoami", body={"user": {}}), exchange(2, "listUsage", body={"rows": []})]

    assert essential_steps(steps, shown_by=steps[-1], is_compared=True) == tuple(steps)
