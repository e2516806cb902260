"""KnoudsUser compared with FastHttpUser: the same calls, the same events."""

from __future__ import annotations

import gc
import re
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import gevent
import pytest
from example_targets import free_port
from gevent.event import Event
from gevent.pool import Group
from locust import FastHttpUser, User, constant, task
from locust.env import Environment
from locust.exception import CatchResponseError, LocustError, ResponseError, StopTest
from locust.user.task import LOCUST_STATE_WAITING
from raw_server import RawServer, serving

from knouds_harness.errors import GuardStop
from knouds_harness.load.client.http_answer import ConnectionLost, NotConnected
from knouds_harness.load.client.response import BadStatus
from knouds_harness.load.users import KnoudsUser


class Ours(KnoudsUser):
    def context(self) -> dict[str, str]:
        return {"user": "x"}


class Fast(FastHttpUser):
    def context(self) -> dict[str, str]:
        return {"user": "x"}


def echo(server: RawServer, connection: socket.socket) -> None:
    while request := server.read_request(connection):
        head, _, body = request.partition(b"\r\n\r\n")
        target = head.split(b" ")[1]
        status = next((part for part in target.split(b"/") if part.isdigit()), b"200")
        location = b"Location: /elsewhere\r\n" if status == b"302" else b""
        connection.sendall(
            b"HTTP/1.1 %b Because\r\n%bContent-Length: %d\r\n\r\n%b" % (status, location, len(body), body)
        )


class Heard:
    def __init__(self, user_class: type[User], host: str | None) -> None:
        self.environment = Environment(host=host)
        self.events: list[dict[str, Any]] = []
        self.environment.events.request.add_listener(lambda **event: self.events.append(event))
        user: Any = type(user_class.__name__, (user_class,), {"host": host})(self.environment)
        self.client = user.client
        self.user = user

    def close(self) -> None:
        (self.client if isinstance(self.user, KnoudsUser) else self.client.client.clientpool).close()


@pytest.fixture
def hear() -> Iterator[Callable[..., Heard]]:
    with ExitStack() as stack:
        yield lambda user_class, host: stack.enter_context(closing(Heard(user_class, host)))


@pytest.fixture
def server():
    with serving(echo) as server:
        yield server


@pytest.fixture
def ours(server, hear):
    return hear(Ours, server.base_url)


def caught(act: Callable[[Any], object], **options: Any) -> Callable[[Any], object]:
    def call(client: Any) -> None:
        with client.post("/500/x", json={"a": 1}, catch_response=True, **options) as response:
            act(response)

    return call


def decide(decision: str, *reasons: object) -> Callable[[Any], object]:
    return lambda response: getattr(response, decision)(*reasons)


def fail(error: Exception) -> Callable[[Any], object]:
    def act(_: Any) -> None:
        raise error

    return act


def decide_and_fail(response: Any) -> None:
    response.success()
    raise KeyError("a mistake of the locustfile")


def renamed(client: Any) -> None:
    with client.rename_request("everything"):
        client.get("/a")
        client.get("/b", name="but me")


def rest(client: Any) -> None:
    with client.user.rest("POST", "/200/x", json={"a": 1}, name="rest") as response:
        assert response.js == {"a": 1}


def rest_that_fails(client: Any) -> None:
    with client.user.rest("POST", "/200/x", data="<html>", name="rest") as response:
        assert response.js, "no js"


CALLS: dict[str, Callable[[Any], object]] = {
    "get": lambda client: client.get("/a?b=c"),
    "named": lambda client: client.get("/a/b", name="getThing"),
    "json": lambda client: client.post("/a", json={"ä": [1, None]}, name="x"),
    "empty json": lambda client: client.post("/a", json={}),
    "text": lambda client: client.post("/a", "text"),
    "bytes": lambda client: client.post("/a", data=b"\0\1"),
    "form": lambda client: client.post("/a", data={"b": "c d", "e": "ä"}),
    "put": lambda client: client.put("/a", json={"a": 1}),
    "patch": lambda client: client.patch("/a", json={"a": 1}),
    "delete": lambda client: client.delete("/a", name="x"),
    "head": lambda client: client.head("/a"),
    "options": lambda client: client.options("/a"),
    "other method": lambda client: client.request("REPORT", "/a"),
    "context": lambda client: client.get("/a", context={"persona": "full"}),
    "basic": lambda client: client.get("/a", auth=("ada", "secret")),
    "own headers": lambda client: client.post(
        "/a", json={}, headers={"content-type": "x/y", "X-Api-Key": "k"}
    ),
    "400": lambda client: client.get("/400"),
    "404": lambda client: client.get("/404"),
    "500": lambda client: client.post("/500", json={"code": "EXECUTION_FAILED"}),
    "redirect": lambda client: client.get("/302", allow_redirects=False),
    "success": caught(decide("success")),
    "failure": caught(decide("failure", "not as expected")),
    "failure by exception": caught(decide("failure", ResponseError("oh"))),
    "nothing decided": caught(lambda _: None),
    "response error": caught(fail(ResponseError("oh"))),
    "mistake": caught(fail(KeyError("a mistake of the locustfile"))),
    "mistake after success": caught(decide_and_fail),
    "renamed": renamed,
    "rest": rest,
    "rest that fails": rest_that_fails,
}


def told(heard: Heard, call: Callable[[Any], object]) -> tuple[list[dict[str, Any]], str]:
    raised = ""
    try:
        call(heard.client)
    except (CatchResponseError, KeyError, LocustError) as error:
        raised = type(error).__name__
    events = []
    for event in heard.events:
        assert isinstance(event["response_time"], float)
        assert abs(event["start_time"] - time.time()) < 60
        response, exception = event["response"], event["exception"]
        is_decided = isinstance(exception, CatchResponseError)
        events.append(
            event
            | {
                "response_time": None,
                "start_time": None,
                "response": (response.status_code, response.content or b"", response.ok, response.url),
                "exception": str(exception).partition("\n")[0] if is_decided else exception is not None,
            }
        )
    return events, raised


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_events_are_those_of_fast_http_user(server, call, hear):
    """The same keyword arguments and values, as often, and the same exceptions for the caller."""
    ours, fast = (told(hear(user_class, server.base_url), call) for user_class in (Ours, Fast))

    assert ours == fast


@pytest.mark.parametrize("call", ["json", "empty json", "text", "bytes", "form", "basic", "own headers"])
def test_requests_are_those_of_fast_http_user(server, call, hear):
    """The same request line, body and headers, except those that name the client."""
    told(hear(Ours, server.base_url), CALLS[call])
    told(hear(Fast, server.base_url), CALLS[call])

    ours, fast = (parsed(request) for request in server.requests)
    assert ours == fast


def parsed(request: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    headers = {name.lower(): value for name, _, value in (field.partition(b": ") for field in fields)}
    for name in (b"user-agent", b"connection"):
        headers.pop(name, None)
    return line, headers, body


def test_params_are_sent_and_not_part_of_the_name(ours, server):
    """Otherwise each value would get its own line in the statistics."""
    ours.client.get("/a", params={"b": "c d"})
    ours.client.get("/a?b=c", params=[("d", 1), ("d", 2)])

    assert [event["name"] for event in ours.events] == ["/a", "/a?b=c"]
    assert [parsed(request)[0] for request in server.requests] == [
        b"GET /a?b=c+d HTTP/1.1",
        b"GET /a?b=c&d=1&d=2 HTTP/1.1",
    ]


def test_status_raised_in_a_with_block_is_a_failure(ours):
    with ours.client.get("/404", catch_response=True) as response:
        response.raise_for_status()

    [event] = ours.events
    assert isinstance(event["exception"], BadStatus)


def test_failed_request_is_one_event_with_its_exception(hear):
    heard = hear(Ours, f"http://127.0.0.1:{free_port()}")

    response = heard.client.get("/")

    [event] = heard.events
    assert isinstance(event["exception"], NotConnected)
    assert event["exception"] is response.error
    assert (event["response_length"], response.status_code, response.content, response.ok) == (
        0,
        0,
        b"",
        False,
    )
    with pytest.raises(NotConnected):
        response.raise_for_status()


def test_failures_of_a_kind_group_in_locusts_table(hear):
    def drop(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)

    names = set()
    for _ in range(2):
        with serving(drop) as server:
            heard = hear(Ours, server.base_url)
            heard.client.get("/")
            names.add(repr(heard.events[0]["exception"]))
            assert isinstance(heard.events[0]["exception"], ConnectionLost)

    assert len(names) == 1


def test_error_statuses_group_by_status_and_code(ours):
    """So that Locust's table of errors distinguishes a rate limit from a lack of credits."""
    ours.client.post("/429/a", json={"code": "RATE_LIMIT_EXCEEDED"})
    ours.client.post("/429/b", json={"code": "RATE_LIMIT_EXCEEDED"})
    ours.client.post("/500/c")

    names = [repr(event["exception"]) for event in ours.events]
    assert names == ["BadStatus(429, RATE_LIMIT_EXCEEDED)"] * 2 + ["BadStatus(500)"]
    assert isinstance(ours.events[0]["exception"], BadStatus)


def test_scheduled_instant_counts_for_one_request(ours):
    ours.client.scheduled_at = time.perf_counter() - 2.0
    first, second = ours.client.get("/a"), ours.client.get("/b")

    waited_ms = [
        event["response_time"] - answer.elapsed_ms
        for event, answer in zip(ours.events, (first, second), strict=True)
    ]
    assert waited_ms[0] >= 2000
    assert waited_ms[1] == 0
    assert first.elapsed.total_seconds() * 1000 == pytest.approx(first.elapsed_ms, abs=0.001)


def test_request_is_in_flight_until_it_is_answered(ours):
    """Or until its user is killed."""
    sent = [gevent.spawn(ours.client.get, "/a", name=each) for each in ("first", "second")]
    gevent.sleep(0)
    assert [name for name, _ in ours.client.in_flight.values()] == ["first", "second"]

    gevent.killall(sent)
    ours.client.get("/a")

    assert ours.client.in_flight == {}


def test_prepared_request_is_sent_like_any_other(ours, server):
    prepared = ours.client.prepare("POST", "/a", name="x", json={"a": 1}, headers={"X-Api-Key": "k"})
    for _ in range(2):
        ours.client.send(prepared, context={"b": 2})
    ours.client.post("/a", name="x", json={"a": 1}, headers={"X-Api-Key": "k"}, context={"b": 2})

    assert server.requests == [server.requests[0]] * 3
    kept = [{key: event[key] for key in ("name", "request_type", "context", "url")} for event in ours.events]
    assert kept == [kept[0]] * 3
    with ours.client.send(prepared, catch_response=True) as response:
        response.failure("no")
    assert isinstance(ours.events[-1]["exception"], CatchResponseError)


def test_each_request_to_the_base_url_has_its_own_trace_id(ours, server):
    """Prepared or not, unless it already has one."""
    ours.client.is_traced = True
    prepared = ours.client.prepare("POST", "/a", name="x", json={"a": 1})
    answers = [ours.client.send(prepared), ours.client.send(prepared), ours.client.post("/a", json={"a": 1})]
    ours.client.get("/a", headers={"Traceparent": "mine"})
    ours.client.get("/a", headers={"traceparent": None})

    sent = [parsed(request)[1].get(b"traceparent") for request in server.requests]
    assert all(re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-00", each or b"") for each in sent[:3])
    assert len(set(sent[:3])) == 3
    assert sent[3:] == [b"mine", None]
    assert [each.sent for each in answers] == server.requests[:3]
    assert len({len(each.sent) for each in answers}) == 1


def test_key_is_sent_until_it_is_replaced(ours, server):
    for name in ("one", "two", "one"):
        ours.client.act_as((("x-api-key", name),))
        ours.client.get("/a", headers={"x-more": "m"})
    ours.client.get("/a", headers={"X-Api-Key": "mine"})
    ours.client.get("/a", headers={"x-api-key": None})
    prepared = ours.client.prepare("GET", "/a", name="a")
    ours.client.act_as(())
    ours.client.send(prepared)
    ours.client.get("/a")

    keys = [parsed(request)[1].get(b"x-api-key") for request in server.requests]
    assert keys == [b"one", b"two", b"one", b"mine", None, b"one", None]
    assert parsed(server.requests[0])[1][b"x-more"] == b"m"


def test_header_is_sent_once_however_it_is_spelled(server, hear):
    """The last one counts: of the request, of the sender, of the user class, or the usual one."""
    named = type("Named", (Ours,), {"default_headers": {"user-agent": "mine", "X-Client": "a"}})
    client = hear(named, server.base_url).client
    client.act_as((("accept-encoding", "identity"), ("x-client", "b")))
    client.get("/a", headers={"X-CLIENT": "c"})

    _, host, *others = server.requests[0].strip().split(b"\r\n")
    assert host.startswith(b"Host: ")
    assert sorted(others) == [b"X-CLIENT: c", b"accept-encoding: identity", b"user-agent: mine"]


def test_key_is_sent_to_no_other_server(ours, server):
    """An absolute URL may name another server, or the base URL's own."""
    ours.client.act_as((("x-api-key", "secret"),))
    with serving(echo) as other:
        ours.client.get(f"{other.base_url}/a")
        ours.client.get(f"{server.base_url}/a")

        assert parsed(other.requests[0])[1].get(b"x-api-key") is None
    assert parsed(server.requests[0])[1][b"x-api-key"] == b"secret"


SENT_BY = {
    "request": lambda client, _: client.request("DELETE", "/a", data="x"),
    "an absolute URL": lambda client, server: client.delete(f"{server.base_url}/a", data="x"),
    "a prepared request": lambda client, _: client.send(client.prepare("DELETE", "/a", name="a", data="x")),
}


@pytest.mark.parametrize("send", SENT_BY.values(), ids=SENT_BY)
def test_request_that_is_not_admitted_is_not_sent(ours, server, send):
    """By any method of the client, as the bytes that would go out; other servers are the user's matter."""
    asked: list[bytes] = []

    def refuse(request: bytes) -> None:
        asked.append(request)
        raise GuardStop("no")

    ours.client.admit = refuse
    with pytest.raises(GuardStop):
        send(ours.client, server)

    assert server.requests == []
    assert asked[0].startswith(b"DELETE /a HTTP/1.1\r\n")
    with serving(echo) as other:
        assert ours.client.get(f"{other.base_url}/b").status_code == 200


def test_cached_request_heads_are_bounded(ours, monkeypatch):
    monkeypatch.setattr("knouds_harness.load.client.session._MOST_HEADS", 3)

    for number in range(10):
        ours.client.get(f"/{number}")

    assert len(ours.client._heads) <= 3  # noqa: SLF001 - memory shows nowhere else


def test_path_of_the_host_is_kept(server, hear):
    heard = hear(Ours, f"{server.base_url}/base/")

    heard.client.get("/a")

    assert parsed(server.requests[0])[0] == b"GET /base/a HTTP/1.1"
    assert heard.events[0]["url"] == f"{server.base_url}/base/a"


@pytest.mark.parametrize("host", [None, "127.0.0.1:80", "http://ada:secret@127.0.0.1:80"])
def test_user_without_a_usable_host_stops_the_test(host, hear):
    with pytest.raises(StopTest, match=r"--host|begins with http|no name and password"):
        hear(Ours, host)


@pytest.mark.parametrize("decision", [("success",), ("failure", "x")], ids=" ".join)
def test_success_or_failure_needs_catch_response(ours, decision):
    """As with Locust's own clients, because the event has already been fired."""
    response = ours.client.get("/a")

    with pytest.raises(LocustError, match="catch_response"):
        decide(*decision)(response)
    with pytest.raises(LocustError, match="catch_response"), response:
        pass


def test_certificates_are_verified_unless_told_otherwise(hear):
    assert KnoudsUser.insecure is False
    contexts = [
        hear(type("User", (Ours,), {"insecure": insecure}), "https://x").client.client.origin.tls
        for insecure in (False, False, True)
    ]
    assert contexts[0] is contexts[1] is not contexts[2]
    assert [bool(context.check_hostname) for context in contexts] == [True, True, False]


def test_response_is_freed_without_garbage_collection(ours):
    """Response and event must not refer to each other: collections would slow down a busy generator."""
    with ours.client.get("/", catch_response=True) as response:
        response.success()
    known = weakref.ref(response)
    ours.events.clear()

    gc.disable()
    try:
        del response

        assert known() is None
    finally:
        gc.enable()


def test_response_time_ends_when_the_response_is_read(hear):
    """Even if a response that was read with it blocks the process afterwards."""
    answered, connected = threading.Semaphore(0), Event()
    read_s, blocked_until_s = [], []

    def answer(server: RawServer, connection: socket.socket) -> None:
        while server.read_request(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            answered.release()

    with serving(answer) as server:
        ours = hear(Ours, server.base_url)

        def ask() -> None:
            ours.client.get("/a")
            connected.wait()
            read_s.append(ours.client.get("/a").arrived_at)
            time.sleep(0.02)  # blocks the whole process
            blocked_until_s.append(time.perf_counter())

        asking = [gevent.spawn(ask) for _ in range(2)]
        while len(ours.events) < 2:
            gevent.sleep(0.001)
        connected.set()
        gevent.sleep(0)  # both are sent
        for _ in range(4):
            assert answered.acquire(timeout=30)
        gevent.joinall(asking, raise_error=True)

    assert max(read_s) < min(blocked_until_s)


def test_user_that_wakes_while_being_stopped_sends_nothing(server):
    """Locust kills waiting users; only the server would count a request sent in that instant."""
    environment = Environment()
    environment.create_local_runner()  # which counts requests

    @task
    def get(user: Ours) -> None:
        user.client.get("/a")

    asking = {"host": server.base_url, "wait_time": constant(0.02), "tasks": [get]}
    user: Any = type("Asking", (Ours,), asking)(environment)
    greenlet = user.start(Group())
    while user._state != LOCUST_STATE_WAITING:  # noqa: SLF001 - Locust shows it nowhere else
        gevent.sleep(0)
    stopping = gevent.spawn_later(0.01, user.stop)
    gevent.sleep(0)
    time.sleep(0.05)  # both timers are due at once, as on a busy machine

    stopping.join()
    greenlet.join()

    assert len(server.requests) == environment.stats.total.num_requests > 0
