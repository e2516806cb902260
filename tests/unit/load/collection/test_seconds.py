"""Counts by operation, status and second: the same from one process as from several."""

import itertools
import json
import math
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest
from clocks import Clock
from hypothesis import given
from hypothesis import strategies as st
from load_records import histogram_of

from knouds_harness.load.client.http_answer import Answer, Opening, TimedOut
from knouds_harness.load.client.response import Response, error_code
from knouds_harness.load.collection.metrics import operations_of
from knouds_harness.load.collection.rows import RequestRecorder, Rows, restored
from knouds_harness.load.collection.seconds import Error, Measure, Second, SecondsCounter, SeriesKey, Traffic
from knouds_harness.measures.histograms import Histogram
from knouds_harness.runs.operation_load import COUNT, TIME, RequestStatus
from knouds_harness.targets.secrets import Secret

FAILURE = ValueError("not as expected")


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Counted(RequestRecorder):
    """Notes requests, and counts them as the leading process does; the clock is Unix time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.counter = SecondsCounter()
        self.now = clock

    def seconds(self, *, with_current: bool = False) -> list[Second]:
        """Hand over through Locust's own messages, packed as Locust packs them."""
        message = msgpack.dumps(self.take())
        self.counter.count(Rows(*msgpack.loads(message, strict_map_key=False)), 0.0)
        return self.counter.take(before_unix_s=math.inf if with_current else int(self.now()))


@pytest.fixture
def recorder(clock) -> Counted:
    return Counted(clock)


def answer(status_code: int, elapsed_ms: float, body: bytes = b"") -> Response:
    response = Response()
    response.fill(status_code, b"HTTP/1.1 200 OK\r\n\r\n", 0, body)
    response.elapsed_ms = elapsed_ms
    if status_code:
        first_s, body_s = elapsed_ms / 2e3, elapsed_ms // 1000 / 1e3
        response.wire = (0.0, first_s, first_s + body_s, 100, 20 + len(body))
        response.opening = Opening(0.1, 0.2, elapsed_ms / 4) if elapsed_ms > 1000 else None
    return response


def tell(recorder: Counted, response_time_ms: float = 1.0, **event: Any) -> None:
    defaults: dict[str, Any] = {
        "request_type": "GET",
        "name": "getWhoami",
        "response_time": response_time_ms,
        "response_length": 2,
        "response": answer(200, response_time_ms),
        "context": {},
        "exception": None,
        "start_time": 0.0,
        "url": "",
    }
    event = {**defaults, **event}
    if isinstance(event["response"], Response):
        event["response"].arrived_at = recorder.now()
    recorder.on_request(**event)


def counted(*durations_ms: float) -> Histogram:
    return histogram_of(durations_ms)


def test_requests_are_counted_by_second_operation_and_status(recorder, clock):
    tell(recorder, 1.5)
    tell(recorder, 2.5)
    tell(recorder, 3.5, name="listUsage", exception=ValueError(), response=answer(200, 3.5))
    assert recorder.seconds() == []
    clock.now_s += 1
    tell(recorder, 4.5)

    [second] = recorder.seconds()

    assert second.unix_s == 1_780_000_000
    assert second.histograms == {
        SeriesKey("getWhoami", RequestStatus.OK, Measure.RESPONSE): counted(1.5, 2.5),
        SeriesKey("getWhoami", RequestStatus.OK, Measure.FIRST_BYTE): counted(0.75, 1.25),
        SeriesKey("listUsage", RequestStatus.WRONG, Measure.RESPONSE): counted(3.5),
    }
    assert recorder.seconds() == []
    [rest] = recorder.seconds(with_current=True)
    assert rest.ok() == counted(4.5)


@pytest.mark.parametrize("waited_ms", [0.0, 5.0], ids=["closed", "open"])
def test_connections_and_bytes_of_all_requests_are_counted(recorder, waited_ms):
    """Response phases count for kept requests alone; connections count even if the request failed."""
    tell(recorder, 2000.0 + waited_ms, response=answer(200, 2000.0, b"{}"))
    tell(recorder, 3.0 + waited_ms, response=answer(200, 3.0))
    tell(recorder, 4000.0 + waited_ms, response=answer(503, 4000.0), exception=ValueError())
    tell(recorder, 7.0, response=answer(0, 7.0), exception=TimedOut("no answer"))

    [second] = recorder.seconds(with_current=True)

    assert second.traffic == {"getWhoami": Traffic(sent_bytes=300, received_bytes=62, requests=3)}
    times = {each.measure: times for each, times in second.histograms.items() if each.status == "ok"}
    assert times["first_byte"] == counted(1000.0, 1.5)
    assert times["body"] == counted(2.0)
    assert times["dns"] == counted(0.1, 0.1)
    assert times["tls"] == counted(500.0, 1000.0)


def test_service_time_is_counted_if_it_differs(recorder):
    tell(recorder, 50.0, response=answer(200, 2.0))
    tell(recorder, 60.0, response=answer(503, 3.0), exception=ValueError())

    [second] = recorder.seconds(with_current=True)

    assert second.histograms == {
        SeriesKey("getWhoami", RequestStatus.OK, Measure.RESPONSE): counted(50.0),
        SeriesKey("getWhoami", RequestStatus.OK, Measure.SERVICE): counted(2.0),
        SeriesKey("getWhoami", RequestStatus.OK, Measure.FIRST_BYTE): counted(1.0),
        SeriesKey("getWhoami", RequestStatus.FAILED, Measure.RESPONSE): counted(60.0),
        SeriesKey("getWhoami", RequestStatus.FAILED, Measure.SERVICE): counted(3.0),
    }


def test_errors_are_counted_by_status_and_code(recorder):
    limited = answer(429, 1.0, json.dumps({"code": "RATE_LIMIT_EXCEEDED"}).encode())
    for _ in range(2):
        tell(recorder, response=limited, exception=ValueError())
    tell(recorder, response=answer(402, 1.0), exception=ValueError())
    tell(recorder, response=answer(0, 1.0), exception=TimedOut("no answer in time"))
    tell(recorder, response=answer(404, 1.0))  # the caller expected it

    [second] = recorder.seconds(with_current=True)

    assert second.errors == {
        Error("getWhoami", RequestStatus.THROTTLED, 429, "RATE_LIMIT_EXCEEDED"): 2,
        Error("getWhoami", RequestStatus.REFUSED, 402, ""): 1,
        Error("getWhoami", RequestStatus.FAILED, 0, "TimedOut"): 1,
    }
    assert SeriesKey("getWhoami", RequestStatus.OK) in second.histograms


@pytest.mark.parametrize(
    ("response", "exception", "status"),
    [
        (None, None, RequestStatus.OK),
        (None, ValueError(), RequestStatus.FAILED),
        (SimpleNamespace(status_code=200), None, RequestStatus.OK),
        (SimpleNamespace(status_code=None), None, RequestStatus.OK),
        (SimpleNamespace(status_code=500), ValueError(), RequestStatus.FAILED),
    ],
)
def test_requests_of_other_user_classes_are_counted(recorder, response, exception, status):
    """FastHttpUser, HttpUser, and users that do not speak HTTP."""
    tell(recorder, 1.0, response=response, exception=exception)

    [second] = recorder.seconds(with_current=True)

    assert second.histograms == {SeriesKey("getWhoami", status): counted(1.0)}


def test_event_without_a_time_and_exception_in_a_task_count_only_as_errors(recorder):
    tell(recorder, response_time=None, exception=ValueError(), response=None)
    recorder.count_error("task look", "KeyError")

    [second] = recorder.seconds(with_current=True)

    failures = (("getWhoami", "ValueError"), ("task look", "KeyError"))
    assert second.histograms == {}
    assert second.errors == {Error(name, RequestStatus.FAILED, 0, code): 1 for name, code in failures}


def test_counters_and_times_of_ones_own_are_counted(recorder, clock):
    """Also by Locust's event; one that failed counts as a request."""
    recorder.counter.measured_from_unix_s = clock.now_s - 1
    for amount in (1, 2.5):
        recorder.add("hits", COUNT, amount)
    recorder.add("render", TIME, 1500)
    tell(recorder, 12.5, request_type="TIME", name="render", response=None)
    tell(recorder, 12.5, request_type="TIME", name="render", response=None, exception=FAILURE)

    before, measured = sorted(recorder.seconds(with_current=True), key=lambda each: each.is_measured)

    assert before.histograms == {SeriesKey("render", RequestStatus.OK, TIME): counted(1500)}
    assert measured.counters == {"hits": 3.5}
    assert measured.histograms == {
        SeriesKey("render", RequestStatus.OK, TIME): counted(12.5),
        SeriesKey("render", RequestStatus.FAILED): counted(12.5),
    }


@pytest.mark.parametrize("amount", [-1, math.nan, math.inf])
def test_amount_that_cannot_be_added_up_is_refused(recorder, amount):
    with pytest.raises(ValueError, match=r"hits: -?(1|nan|inf) is not from 0 to 1e\+15"):
        recorder.add("hits", COUNT, amount)


REQUESTS = st.tuples(
    st.integers(0, 3),  # in which second
    st.sampled_from(["getWhoami", "runWorkflow", "ä, b"]),
    st.sampled_from([200, 402, 429, 500, 0]),
    st.floats(0.001, 600_000),
)


@given(shares=st.lists(st.lists(REQUESTS, max_size=20), min_size=4, max_size=4))
def test_four_workers_and_one_process_count_the_same(shares):
    """Through Locust's own messages, packed as Locust packs them."""

    def count(recorder: Counted, clock: Clock, requests: list[tuple[int, str, int, float]]) -> None:
        for second, name, status_code, response_time_ms in sorted(requests, key=lambda request: request[0]):
            clock.now_s = 1_780_000_000 + second
            tell(
                recorder,
                response_time_ms,
                name=name,
                response=answer(status_code, response_time_ms),
                exception=None if status_code == 200 else ValueError(),
            )

    clock = Clock()
    alone = Counted(clock)
    count(alone, clock, list(itertools.chain(*shares)))

    leader = Counted(Clock())
    for share in shares:
        clock = Clock()
        worker = Counted(clock)
        count(worker, clock, share)
        message = msgpack.dumps(worker.take())  # as Locust packs it
        leader.counter.count(Rows(*msgpack.loads(message, strict_map_key=False)), 0.0)

    assert leader.seconds(with_current=True) == alone.seconds(with_current=True)


def test_request_counts_in_the_warm_up_or_the_stage_in_which_it_was_due(recorder, clock):
    """However late it ended: an answer that a spike delayed belongs to the spike."""
    recorder.counter.measured_from_unix_s = clock.now_s - 1
    recorder.counter.stages_from_unix_s = [clock.now_s - 10, clock.now_s - 1]
    for response_time_ms in (999.0, 1000.0, 1001.0, 5000.0):
        tell(recorder, response_time_ms)

    parts = {(each.is_measured, each.stage): each.ok() for each in recorder.seconds(with_current=True)}

    assert parts == {(True, 2): counted(999.0, 1000.0), (False, 1): counted(1001.0, 5000.0)}


def test_request_is_answered_in_the_time_in_which_it_ended(recorder, clock):
    """Whenever it was due: a rate of answers is that of the same time, and ends with the load."""
    recorder.counter.measured_from_unix_s = clock.now_s - 1
    recorder.counter.stages_from_unix_s = [clock.now_s - 10, clock.now_s - 1]
    recorder.counter.ended_unix_s = clock.now_s + 1
    for after_s, response_time_ms in ((0, 10.0), (0, 5000.0), (1, 10.0)):
        clock.now_s += after_s
        tell(recorder, response_time_ms)

    found = [(each.is_measured, each.stage, each.answered) for each in recorder.seconds(with_current=True)]

    assert found == [(False, 1, {}), (True, 2, {"getWhoami": 2}), (True, 2, {})]


def test_request_that_was_due_after_the_load_is_told_apart(recorder, clock):
    """Such as polls of what the load began: a rate of requests is that of the load."""
    recorder.counter.ended_unix_s = clock.now_s
    clock.now_s += 1
    for response_time_ms in (500.0, 5000.0):
        tell(recorder, response_time_ms)

    [second] = recorder.seconds(with_current=True)

    assert (second.requests(), second.sent_late) == (2, {"getWhoami": 1})
    assert [each.per_s for each in operations_of(second, 1.0)] == [1.0]


def test_requests_that_were_due_while_most_users_were_idle_are_remembered(recorder, clock):
    """Also those that fail; they show how quick the target is before it has much to do."""
    recorder.counter.busy_from_unix_s = clock.now_s - 2
    tell(recorder, 5000.0)
    tell(recorder, 4000.0, exception=ValueError())
    tell(recorder, 1000.0)

    [second] = recorder.seconds(with_current=True)

    assert second.at_first == counted(5000.0, 4000.0)


def test_requests_in_flight_for_long_are_counted_by_name_and_time(recorder, clock):
    """To a tenth of a second, and never as longer than they are."""
    for sent_s, name in ((3.07, "a"), (3.03, "a"), (3.0, "b"), (1.25, "a"), (0.9, "a")):
        recorder.in_flight[Response()] = name, clock.now_s - sent_s

    assert recorder.waiting() == [("a", 3.0, 2), ("b", 3.0, 1), ("a", 1.2, 1)]


def copied(recorder: Counted) -> list[int]:
    """Return which of the requests since the last call were copied."""
    return [number for number, answer in enumerate(answers_noted(recorder)) if answer is not None]


def answers_noted(recorder: Counted) -> list[Response | None]:
    return [row[-1] and restored(row[-1]) for row in recorder.take().requests]


def test_answers_are_copied_if_they_are_first_or_new(recorder):
    """Of bodies that are those of the answer before, only some."""
    for number in range(100):
        response = answer(200, 1.0, b"{}" if number != 50 else b"new")
        response.sender = "full"
        tell(recorder, response=response)

    numbers = copied(recorder)

    assert numbers[:20] == list(range(20))
    assert {50, 51} <= set(numbers[20:])
    assert len(numbers) < 30


def test_every_answer_is_copied_if_asked_for(recorder):
    recorder.copies_all = True
    for _ in range(100):
        response = answer(200, 1.0, b"{}")
        response.sender = ""
        tell(recorder, response=response)
    tell(recorder)  # nobody asked for it to be verified

    assert copied(recorder) == list(range(100))


def test_failures_are_copied_as_evidence_and_hide_secrets(recorder):
    recorder.hide([Secret("knouds_live_secret", "key:full")])
    for _ in range(10):
        response = answer(500, 1.0, b"{}")
        response.sent = b"GET / HTTP/1.1\r\nx-api-key: knouds_live_secret\r\n\r\n"
        tell(recorder, response=response, exception=FAILURE)

    found = [each for each in answers_noted(recorder) if each]

    assert [each.sent for each in found] == [b"GET / HTTP/1.1\r\nx-api-key: {{key:full}}\r\n\r\n"] * 3


@pytest.mark.parametrize(
    ("status_code", "exception", "status"),
    [
        (200, None, RequestStatus.OK),
        (204, None, RequestStatus.OK),
        (404, None, RequestStatus.OK),
        (500, None, RequestStatus.OK),
        (429, FAILURE, RequestStatus.THROTTLED),
        (429, None, RequestStatus.THROTTLED),
        (402, FAILURE, RequestStatus.REFUSED),
        (403, FAILURE, RequestStatus.REFUSED),
        (500, FAILURE, RequestStatus.FAILED),
        (503, FAILURE, RequestStatus.FAILED),
        (0, FAILURE, RequestStatus.FAILED),
        (200, FAILURE, RequestStatus.WRONG),
        (302, None, RequestStatus.WRONG),
        (401, FAILURE, RequestStatus.WRONG),
        (404, FAILURE, RequestStatus.WRONG),
    ],
)
def test_status_depends_on_response_and_expected_statuses(status_code, exception, status):
    """A status that the caller expected is kept; only a throttled request stays throttled."""
    assert RequestStatus.of(status_code, exception) is status


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"code": "RATE_LIMIT_EXCEEDED"}, "RATE_LIMIT_EXCEEDED"),
        ({"code": "grant_exhausted"}, "grant_exhausted"),
        ({"error": "no"}, ""),
        ({"code": 17}, ""),
        ({"code": "a sentence, with words"}, ""),
        ({"code": "X" * 65}, ""),
        (["code"], ""),
    ],
)
def test_error_code_must_look_like_a_constant(body, code):
    """Otherwise each response could be its own kind of error."""
    answer = Answer()
    answer.fill(400, b"HTTP/1.1 400 \r\n\r\n", 0, json.dumps(body).encode())

    assert error_code(answer) == code


@pytest.mark.parametrize("response", [None, Answer(), object()])
def test_error_without_a_readable_body_has_no_code(response):
    assert error_code(response) == ""


def test_second_in_which_nothing_ends_is_handed_out_while_load_goes_on():
    """A target that stops answering shows in the last seconds."""
    counter = SecondsCounter()
    counter.begin(100.5, measured_from_unix_s=100.0)
    counter.ended_unix_s = 103.5

    counter.count(Rows([], [("a", "ok", "cycle", 0.0, 101.75)], []), 0.0)

    found = [(each.unix_s, len(each.histograms)) for each in counter.take(before_unix_s=103.0)]
    assert found == [(100, 0), (101, 1)]
    assert [each.unix_s for each in counter.take(before_unix_s=110.0)] == [102]


def test_seconds_begin_with_the_load():
    """So the first and the last are whole, and the warm-up is as long as it was asked to be."""
    counter = SecondsCounter()
    counter.begin(100.5, measured_from_unix_s=103.5)

    for ended_unix_s in (100.5, 101.25, 101.5, 103.25, 103.5):
        counter.count(Rows([], [("a", "ok", "cycle", 0.0, ended_unix_s)], []), 0.0)

    over = [(each.unix_s, each.is_measured) for each in counter.take(before_unix_s=104.25)]
    assert over == [(100, False), (101, False), (102, False)]
    assert [(each.unix_s, each.is_measured) for each in counter.take(before_unix_s=104.5)] == [(103, True)]
