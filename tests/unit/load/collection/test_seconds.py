"""Counts by operation, status and second: the same from one process as from several."""

import itertools
import json
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest
from clocks import Clock
from hypothesis import given
from hypothesis import strategies as st
from locust.env import Environment

from knouds_harness.load.client.http_answer import Answer, Opening, TimedOut
from knouds_harness.load.client.response import Response, error_code
from knouds_harness.load.collection.seconds import (
    FIRST_BYTE,
    RESPONSE,
    SERVICE,
    Error,
    Second,
    SecondsCollector,
    SecondsRecorder,
    SeriesKey,
    Traffic,
    packed,
    unpacked,
)
from knouds_harness.measures.histograms import Histogram
from knouds_harness.runs.operation_load import RequestStatus

FAILURE = ValueError("not as expected")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(clock) -> SecondsRecorder:
    return SecondsRecorder(clock=clock)


def answer(status_code: int, elapsed_ms: float, body: bytes = b"") -> Response:
    response = Response()
    response.fill(status_code, b"HTTP/1.1 200 OK\r\n\r\n", 0, body)
    response.elapsed_ms = elapsed_ms
    if status_code:
        first_s, body_s = elapsed_ms / 2e3, elapsed_ms // 1000 / 1e3
        response.wire = (0.0, first_s, first_s + body_s, 100, 20 + len(body))
        response.opening = Opening(0.1, 0.2, elapsed_ms / 4) if elapsed_ms > 1000 else None
    return response


def tell(recorder: SecondsRecorder, response_time_ms: float = 1.0, **event: Any) -> None:
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
    recorder.on_request(**{**defaults, **event})


def counted(*durations_ms: float) -> Histogram:
    histogram = Histogram()
    for duration_ms in durations_ms:
        histogram.record(duration_ms / 1000)
    return histogram


def test_requests_are_counted_by_second_operation_and_status(recorder, clock):
    tell(recorder, 1.5)
    tell(recorder, 2.5)
    tell(recorder, 3.5, name="listUsage", exception=ValueError(), response=answer(200, 3.5))
    assert recorder.take() == []
    clock.now_s += 1
    tell(recorder, 4.5)

    [second] = recorder.take()

    assert second.unix_s == 1_780_000_000
    assert second.histograms == {
        SeriesKey("getWhoami", RequestStatus.KEPT, RESPONSE): counted(1.5, 2.5),
        SeriesKey("getWhoami", RequestStatus.KEPT, FIRST_BYTE): counted(0.75, 1.25),
        SeriesKey("listUsage", RequestStatus.WRONG, RESPONSE): counted(3.5),
    }
    assert recorder.take() == []
    [rest] = recorder.take(with_current=True)
    assert rest.kept() == counted(4.5)


@pytest.mark.parametrize("waited_ms", [0.0, 5.0], ids=["closed", "open"])
def test_connections_and_bytes_of_all_requests_are_counted(recorder, waited_ms):
    """Response phases count for kept requests alone; connections count even if the request failed."""
    tell(recorder, 2000.0 + waited_ms, response=answer(200, 2000.0, b"{}"))
    tell(recorder, 3.0 + waited_ms, response=answer(200, 3.0))
    tell(recorder, 4000.0 + waited_ms, response=answer(503, 4000.0), exception=ValueError())
    tell(recorder, 7.0, response=answer(0, 7.0), exception=TimedOut("no answer", may_have_arrived=False))

    [second] = recorder.take(with_current=True)

    assert second.traffic == {"getWhoami": Traffic(sent_bytes=300, received_bytes=62, requests=3)}
    times = {each.measure: times for each, times in second.histograms.items() if each.status == "kept"}
    assert times["first_byte"] == counted(1000.0, 1.5)
    assert times["body"] == counted(2.0)
    assert times["dns"] == counted(0.1, 0.1)
    assert times["tls"] == counted(500.0, 1000.0)


def test_seconds_without_requests_are_left_out(recorder, clock):
    tell(recorder)
    clock.now_s += 60
    tell(recorder)
    clock.now_s += 1

    assert [second.unix_s - 1_780_000_000 for second in recorder.take()] == [0, 60]


def test_service_time_is_counted_if_it_differs(recorder):
    """Response time begins at the scheduled instant, service time with sending."""
    tell(recorder, 50.0, response=answer(200, 2.0))
    tell(recorder, 60.0, response=answer(503, 3.0), exception=ValueError())

    [second] = recorder.take(with_current=True)

    assert second.histograms == {
        SeriesKey("getWhoami", RequestStatus.KEPT, RESPONSE): counted(50.0),
        SeriesKey("getWhoami", RequestStatus.KEPT, SERVICE): counted(2.0),
        SeriesKey("getWhoami", RequestStatus.KEPT, FIRST_BYTE): counted(1.0),
        SeriesKey("getWhoami", RequestStatus.FAILED, RESPONSE): counted(60.0),
        SeriesKey("getWhoami", RequestStatus.FAILED, SERVICE): counted(3.0),
    }


def test_errors_are_counted_by_status_and_code(recorder):
    """The code is that of the body, or the name of the failure."""
    limited = answer(429, 1.0, json.dumps({"code": "RATE_LIMIT_EXCEEDED"}).encode())
    for _ in range(2):
        tell(recorder, response=limited, exception=ValueError())
    tell(recorder, response=answer(402, 1.0), exception=ValueError())
    tell(recorder, response=answer(0, 1.0), exception=TimedOut("no answer in time", may_have_arrived=True))
    tell(recorder, response=answer(404, 1.0))  # the caller expected it

    [second] = recorder.take(with_current=True)

    assert second.errors == {
        Error("getWhoami", RequestStatus.THROTTLED, 429, "RATE_LIMIT_EXCEEDED"): 2,
        Error("getWhoami", RequestStatus.REFUSED, 402, ""): 1,
        Error("getWhoami", RequestStatus.FAILED, 0, "TimedOut"): 1,
    }
    assert SeriesKey("getWhoami", RequestStatus.KEPT) in second.histograms


@pytest.mark.parametrize(
    ("response", "exception", "status"),
    [
        (None, None, RequestStatus.KEPT),
        (None, ValueError(), RequestStatus.FAILED),
        (SimpleNamespace(status_code=200), None, RequestStatus.KEPT),
        (SimpleNamespace(status_code=None), None, RequestStatus.KEPT),
        (SimpleNamespace(status_code=500), ValueError(), RequestStatus.FAILED),
    ],
)
def test_requests_of_other_user_classes_are_counted(recorder, response, exception, status):
    """FastHttpUser, HttpUser, and users that do not speak HTTP."""
    tell(recorder, 1.0, response=response, exception=exception)

    [second] = recorder.take(with_current=True)

    assert second.histograms == {SeriesKey("getWhoami", status): counted(1.0)}


def test_event_without_a_time_counts_only_as_an_error(recorder):
    tell(recorder, response_time=None, exception=ValueError(), response=None)

    [second] = recorder.take(with_current=True)

    assert second.histograms == {}
    assert second.errors == {Error("getWhoami", RequestStatus.FAILED, 0, "ValueError"): 1}


REQUESTS = st.tuples(
    st.integers(0, 3),  # in which second
    st.sampled_from(["getWhoami", "runWorkflow", "ä, b"]),
    st.sampled_from([200, 402, 429, 500, 0]),
    st.floats(0.001, 600_000),
)


@given(shares=st.lists(st.lists(REQUESTS, max_size=20), min_size=4, max_size=4))
def test_four_workers_and_one_process_count_the_same(shares):
    """Through Locust's own messages, packed as Locust packs them."""

    def count(recorder: SecondsRecorder, clock: Clock, requests: list[tuple[int, str, int, float]]) -> None:
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
    alone = SecondsRecorder(clock=clock)
    count(alone, clock, list(itertools.chain(*shares)))
    expected = {second.unix_s: second for second in alone.take(with_current=True)}

    gathered: dict[int, Second] = {}
    for share in shares:
        clock = Clock()
        worker = SecondsRecorder(clock=clock)
        count(worker, clock, share)
        message = msgpack.dumps([packed(second) for second in worker.take(with_current=True)])
        for part in msgpack.loads(message, strict_map_key=False):
            second = unpacked(part)
            gathered.setdefault(second.unix_s, Second(unix_s=second.unix_s)).add(second)

    assert gathered == expected


def test_local_run_passes_on_each_second(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("knouds_harness.load.collection.seconds.gevent.spawn", lambda _: None)
    environment = Environment()
    environment.create_local_runner()
    seen: list[Second] = []
    recording = SecondsCollector(environment, on_second=seen.append)
    recording.recorder = SecondsRecorder(clock=clock)
    environment.events.request.add_listener(recording.recorder.on_request)

    for response_time_ms in (1.0, 2.0):
        environment.events.request.fire(
            name="a", response_time=response_time_ms, exception=None, response=answer(200, response_time_ms)
        )
        clock.now_s += 1
        recording.hand_out()

    assert [second.unix_s for second in seen] == [1_780_000_000, 1_780_000_001]


@pytest.mark.parametrize(
    ("status_code", "exception", "status"),
    [
        (200, None, RequestStatus.KEPT),
        (204, None, RequestStatus.KEPT),
        (404, None, RequestStatus.KEPT),
        (500, None, RequestStatus.KEPT),
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
