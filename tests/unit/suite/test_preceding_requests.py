"""The requests that led to a response: those of a sequence, or those about one execution."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from run_records import exchange

from knouds_harness.suite.preceding_requests import PrecedingRequests, exchanges_in, is_comparing

EXECUTION = "11111111-2222-4333-8444-555555555555"
TEST, SEQUENCE = "a test begins", "a sequence begins"


def submitted(number, execution_id=EXECUTION):
    return exchange(
        number, "runModel", status=202, body={"executionId": execution_id, "status": "processing"}
    )


def poll(number, execution_id=EXECUTION, status="processing", *, operation_id="getExecution"):
    shown = exchange(number, operation_id, body={"executionId": execution_id, "status": status})
    return replace(shown, request=replace(shown.request, path_values={"id": execution_id}))


def cancel(number, execution_id=EXECUTION, status="cancel_requested"):
    return poll(number, execution_id, status, operation_id="cancelExecution")


def created(number, slug):
    return exchange(number, "createWorkflow", status=201, body={"slug": slug})


def on(number, operation_id, slug="fresh", **options):
    shown = exchange(number, operation_id, **options)
    url = shown.url.replace("portrait", slug)
    return replace(shown, url=url, request=replace(shown.request, path_values={"slug": slug}))


def control(number, sent, body):
    shown = exchange(number, "createWorkflow", status=201, sent=sent, body=body, persona=None)
    request = replace(shown.request, operation_id=None)
    return replace(shown, request=request, sent_headers=(("x-sandbox-token", "{{control-token}}"),))


def usage(number, *rows):
    return exchange(number, "listUsage", body={"rows": list(rows)})


def noted(*sent):
    """Return the steps after all this was sent, and the exchanges by number."""
    steps = PrecedingRequests()
    exchange_by_number = {}
    for each in sent:
        if each is TEST:
            steps.begin_test()
        elif each is SEQUENCE:
            steps.begin_sequence()
        else:
            steps.note(each)
            exchange_by_number[int(each.id.removeprefix("x"))] = each
    return steps, exchange_by_number


def numbers(exchanges):
    return [int(each.id.removeprefix("x")) for each in exchanges]


POLLS = [
    replace(exchange(number, "getExecution", body={"status": "processing"}), url=f"/{number % 2}")
    for number in (*range(1, 11), *range(12, 22))
]


@pytest.mark.parametrize(
    ("sent", "led"),
    [
        pytest.param(
            [created(1, "a"), SEQUENCE, created(2, "b"), created(3, "c")],
            [2, 3],
            id="in a sequence, the requests before it",
        ),
        pytest.param(
            [SEQUENCE, created(1, "a"), TEST, created(2, "b")], [2], id="after a sequence, only itself"
        ),
        pytest.param(
            [submitted(1), exchange(2, "getWhoami"), poll(3, "another"), poll(4)],
            [1, 4],
            id="of a poll, its submit",
        ),
        pytest.param(  # from any test; reads and refused writes changed nothing
            [
                created(1, "fresh"),
                on(2, "updateWorkflow"),
                on(3, "getWorkflow"),
                on(4, "moveWorkflow", status=403),
                TEST,
                on(5, "getWorkflow"),
            ],
            [1, 2, 5],
            id="of a read, the create and changes",
        ),
        pytest.param(
            [
                control(1, {"tier": "free"}, {"account": "account-1"}),
                control(2, {"account": "account-1"}, {"name": "minted-1", "secret": "{{key:minted-1}}"}),
                control(3, {"account": "another"}, {"name": "minted-2"}),
                TEST,
                exchange(4, "getWhoami", persona="minted-1"),
            ],
            [1, 2, 4],
            id="of a minted key, its minting",
        ),
        pytest.param(
            [
                SEQUENCE,
                created(1, "a"),
                on(2, "getWorkflowSchema", "a"),
                on(3, "getWorkflow", "a"),
                on(4, "updateWorkflow", "a", sent={}),
                on(5, "getWorkflow", "a"),
            ],
            [1, 3, 4, 5],
            id="no other reads",
        ),
        pytest.param(  # a cancel in between may change any of them
            [
                SEQUENCE,
                *POLLS[:10],
                exchange(11, "cancelExecution"),
                *POLLS[10:],
                exchange(22, "getExecution", body={"status": "cancelled"}),
            ],
            [1, 2, 9, 10, 11, 12, 13, 20, 21, 22],
            id="of repeated polls, the first and last of each execution",
        ),
    ],
)
def test_last_response_has_what_led_to_it(sent, led):
    steps, exchange_by_number = noted(*sent)

    assert numbers(steps.of(exchange_by_number[led[-1]])) == led


@pytest.mark.parametrize("begins", [TEST, SEQUENCE])
@pytest.mark.parametrize(
    ("asked", "led"), [(poll(2), [1, 2]), (cancel(2), [1, 2, 3])], ids=["poll", "cancel"]
)
def test_only_a_cancel_has_what_was_sent_after_it(begins, asked, led):
    """The polls after it show its effect."""
    steps, _ = noted(begins, submitted(1), asked, poll(3))

    assert numbers(steps.of(asked)) == led


ROWS = [{"id": 2, "creditsCost": 8}, {"id": 1, "creditsCost": 3}]
THREE = [{"id": number} for number in range(3)]
CHANGING = ["processing", "completed", "completed", "processing", "completed", "completed"]


@pytest.mark.parametrize(
    ("sent", "of", "given", "parts", "led"),
    [
        pytest.param(
            [
                exchange(1, "runModel"),
                usage(2),
                created(3, "a"),
                exchange(4, "getWorkflow"),
                exchange(5, "runModel"),
                exchange(6, "getWhoami"),
            ],
            5,
            {"single": exchange(1, "runModel")},
            [(1, "")],
            [1, 3, 5],
            id="a response, and what acted",
        ),
        pytest.param(  # with its place in the page; the page before does not show it
            [usage(1, ROWS[1]), exchange(2, "runModel", body={"cost": 17}), usage(3, *ROWS), usage(4)],
            2,
            {"row": dict(ROWS[0])},
            [(3, "/rows/0")],
            [2, 3],
            id="a row, and the page that shows it",
        ),
        pytest.param(
            [usage(1, *THREE, {"id": 4}), usage(2, *THREE), usage(3, *THREE[:2]), usage(4, *THREE)],
            3,
            {"before": THREE, "after": THREE, "offset": 1, "limit": 2},
            [(4, "/rows")],
            [3, 4],
            id="a list, and one page that shows it whole",
        ),
        pytest.param(  # not the polls that show nothing that was compared, nor what is about other executions
            [
                submitted(1),
                submitted(2, "another"),
                poll(3),
                poll(4, status="completed"),
                poll(5, status="completed"),
                cancel(6, "another"),
                cancel(7),
                poll(8, status="cancelled"),
            ],
            8,
            {"ending": "completed"},
            [(4, "/status")],
            [1, 4, 7, 8],
            id="the end, and its submit and the cancel",
        ),
        pytest.param(  # in their order, as a status may come back; the submit shows the first one
            [submitted(1), *(poll(number, status=status) for number, status in enumerate(CHANGING, 2))],
            7,
            {"statuses": CHANGING},
            [(1, "/status"), (3, "/status"), (5, "/status"), (6, "/status")],
            [1, 3, 5, 6, 7],
            id="statuses, and one response for each change",
        ),
        pytest.param(
            [submitted(1), poll(2), cancel(3), poll(4), poll(5, status="completed")],
            3,
            {"after": ["processing", "completed"]},
            [(4, "/status"), (5, "/status")],
            [1, 3, 4, 5],
            id="a status after a cancel, and a later poll",
        ),
    ],
)
def test_compared_response_has_what_it_was_compared_with(sent, of, given, parts, led):
    steps, exchange_by_number = noted(*sent)
    judged = exchange_by_number[of]

    sources = steps.sources(judged, given)

    assert [(*numbers([each]), place) for each, place in sources.parts] == parts
    assert sources.is_complete
    assert numbers(steps.of(judged, sources=sources)) == led


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"earlier": exchange(1, "getWhoami"), "charged_credits": [8.0]}, ""),
        ({"earlier": exchange(1, "getWhoami"), "statuses": ["failed"]}, ""),
        ({"earlier": exchange(1, "getWhoami")}, "header X-RateLimit-Remaining"),
    ],
    ids=["a value that no response holds", "a status that none shows", "a header"],
)
def test_what_rests_on_more_than_was_found_has_all_requests_of_the_test(given, where):
    """Before and after it, and the one that it was compared with, even if another test sent that.

    What a header tells, such as what is left of a window, may be changed by reads.
    """
    earlier = [exchange(1, "getWhoami"), exchange(2, "getWhoami")]
    steps, exchange_by_number = noted(*earlier, TEST, usage(3), usage(4, {}), usage(5))
    judged = exchange_by_number[4]

    sources = steps.sources(judged, given, where=where)

    assert not sources.is_complete
    assert numbers(steps.of(judged, sources=sources)) == [1, 3, 4, 5]
    assert numbers(steps.of(judged)) == [4]


def test_arguments_of_a_check_show_whether_it_compares():
    one, other = exchange(1, "getWhoami"), exchange(2, "getWhoami")

    assert not is_comparing("capabilities", {"operation": object(), "held": ()})
    assert is_comparing("usage", {"limit": 1})
    assert is_comparing("runs", {"rows": [{"id": 1}]})
    assert exchanges_in({"earlier": one, "between": [other], "tier": "pro"}) == [one, other]


def test_requests_of_other_threads_are_left_out():
    steps, _ = noted(SEQUENCE, exchange(1, "getWhoami"))
    last = exchange(2, "getWhoami")

    def elsewhere():
        steps.note(last)
        return numbers(steps.of(last))

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(elsewhere).result() == [2]
