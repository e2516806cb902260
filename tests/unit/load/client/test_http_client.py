"""The load client against servers that keep the rules of HTTP, and servers that break them."""

import socket
import ssl
import struct
import threading
import time
from contextlib import closing, suppress
from typing import Any

import gevent
import pytest
import trustme
from clocks import wait_until
from example_targets import free_port
from raw_server import RawServer, serving

from knouds_harness.errors import UsageError
from knouds_harness.load.client.http_answer import (
    Answer,
    BadAnswer,
    ConnectionLost,
    NotConnected,
    TimedOut,
    TransportFailure,
)
from knouds_harness.load.client.http_client import (
    HttpClient,
    Origin,
    complete,
    encode_head,
    origin_of,
    tls_context,
)
from knouds_harness.load.client.http_connection import MAX_HEAD_BYTES, Connection


def encode(method: str, target: str, authority: str, body: bytes | None = None) -> bytes:
    return complete(encode_head(method, target, authority, ()), method, body)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
GET = encode("GET", "/", "x")
POST = encode("POST", "/", "x", body=b"{}")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED_BODY = b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


def answering(*answers: bytes, byte_by_byte: bool = False):
    """Make a script that answers each request of a connection in turn, and then hangs up."""

    def script(server: RawServer, connection: socket.socket) -> None:
        for answer in answers:
            if not server.read_request(connection):
                return
            for part in [answer[i : i + 1] for i in range(len(answer))] if byte_by_byte else [answer]:
                connection.sendall(part)

    return script


def always(answer: bytes):
    def script(server: RawServer, connection: socket.socket) -> None:
        while server.read_request(connection):
            connection.sendall(answer)

    return script


class Client(HttpClient):
    def exchange(self, request: bytes, **options: Any) -> Answer:
        answer = Answer()
        self.send(request, answer, **options)
        return answer


def client_of(server: RawServer, **options: float) -> closing[Client]:
    return closing(Client(origin_of(server.base_url), **options))


def test_requests_at_once_have_a_connection_each():
    """Greenlets share a client: no response goes to the wrong one, and connections are kept for reuse."""

    def script(server: RawServer, connection: socket.socket) -> None:
        while request := server.read_request(connection):
            body = request.split(b" ")[1]
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def ask(client: Client, path: str) -> bool:
        return client.exchange(encode("GET", path, "x")).text == path

    with serving(script) as server, client_of(server) as client:
        for _ in range(3):
            greenlets = [gevent.spawn(ask, client, f"/{number}") for number in range(20)]
            gevent.joinall(greenlets, timeout=10)
            assert all(greenlet.value for greenlet in greenlets)

    assert server.connections <= 20
    assert len(server.requests) == 60


@pytest.mark.parametrize("byte_by_byte", [False, True])
@pytest.mark.parametrize(
    ("answer", "body", "stays_open"),
    [
        (OK, b"{}", True),
        (CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", b"{}", True),
        (CHUNKED + b"1;x=y\r\n{\r\n1\r\n}\r\n0\r\nX-Trailer: a\r\n\r\n", b"{}", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"{}", True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK, b"{}", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", b"{}", False),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}", b"{}", True),
    ],
)
def test_answer_is_read_to_its_end(answer, body, stays_open, byte_by_byte):
    """Lengths, chunks, statuses without a body, interim responses, bodies that end with the connection."""
    ends_with_connection = b"\r\n\r\nto the end" in answer
    script = answering(answer, *[answer] * (not ends_with_connection), byte_by_byte=byte_by_byte)

    with serving(script) as server, client_of(server, timeout_s=10) as client:
        answers = [client.exchange(GET) for _ in range(2)]

    assert [answer.content for answer in answers] == [body, body]
    assert {answer.status_code for answer in answers} == {int(answer.rpartition(b"HTTP/1.")[2][2:5])}
    assert server.connections == (1 if stays_open else 2)


@pytest.mark.parametrize("length", [b"", b"Content-Length: 9\r\n"])
def test_head_has_no_body_whatever_its_length(length):
    """The Content-Length of a response to HEAD is that of the body of a GET."""
    with serving(always(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")) as server, client_of(server) as client:
        answers = [client.exchange(encode("HEAD", "/", "x"), head_only=True) for _ in range(2)]

    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"")] * 2


def test_response_sent_before_the_body_was_read_counts():
    """A server that refuses by the head need not read the body; the connection is not used again."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.requests.append(connection.recv(1024))
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\n{}")
        released.wait(timeout=10)

    released = threading.Event()
    with serving(script) as server, client_of(server, timeout_s=10) as client:
        try:
            answers = [client.exchange(encode("POST", "/", "x", body=bytes(20_000_000))) for _ in range(2)]
        finally:
            released.set()

    assert [answer.status_code for answer in answers] == [413, 413]
    assert all(0 < answer.wire[3] < 20_000_000 for answer in answers)
    assert server.connections == 2


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("hang_up", [socket.socket.close, reset])
@pytest.mark.parametrize("request_bytes", [GET, POST])
def test_request_on_a_dropped_connection_is_not_sent_again(hang_up, request_bytes):
    """The server reads the second request on a kept connection, and hangs up without a response."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(OK)
        server.read_request(connection)
        hang_up(connection)

    with serving(script) as server, client_of(server) as client:
        client.exchange(request_bytes)
        with pytest.raises(ConnectionLost) as caught:
            client.exchange(request_bytes)

    assert caught.value.may_have_arrived
    assert len(server.requests) == 2
    assert server.connections == 1


@pytest.mark.parametrize("is_noticed_by", ["the loop", "a look"])
def test_connection_closed_while_idle_is_not_used(is_noticed_by, monkeypatch):
    """The next request arrives once, on a new connection, even if the event loop had no chance to run."""
    look_after_s = {"the loop": 1000.0, "a look": 0.0}[is_noticed_by]
    monkeypatch.setattr("knouds_harness.load.client.http_client._LOOK_AFTER_IDLE_S", look_after_s)
    hung_up = threading.Event()

    def script(server: RawServer, connection: socket.socket) -> None:
        if server.read_request(connection):
            connection.sendall(OK)
            connection.shutdown(socket.SHUT_RDWR)
            hung_up.set()

    with serving(script) as server, client_of(server) as client:
        assert client.exchange(GET).ok
        assert hung_up.wait(timeout=5)
        if is_noticed_by == "the loop":
            gevent.sleep(0.001)
        assert client.exchange(GET).ok

    assert (len(server.requests), server.connections) == (2, 2)


LENGTH_2 = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"


@pytest.mark.parametrize(
    ("answer", "failure", "says"),
    [
        (b"", ConnectionLost, "hung up without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", ConnectionLost, "hung up in the middle"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", ConnectionLost, "hung up in the middle"),
        (CHUNKED + b"9\r\n{}", ConnectionLost, "hung up in the middle"),
        (CHUNKED + b"zz\r\n", BadAnswer, "not HTTP"),
        (b"<html>\r\n\r\n", BadAnswer, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", BadAnswer, "not HTTP"),
        pytest.param(LENGTH_2 + b"X: " + b"x" * 300_000, BadAnswer, "a head of over", id="long head"),
        pytest.param(
            LENGTH_2 + b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n{}",
            BadAnswer,
            "a head of over",
            id="long, whole",
        ),
    ],
)
def test_broken_response_fails_with_a_reason(answer, failure, says):
    """Each has its own kind of failure, and the connection is not used again."""
    with serving(answering(answer)) as server, client_of(server, timeout_s=10) as client:
        with pytest.raises(failure, match=says) as caught:
            client.exchange(GET)
        with pytest.raises(TransportFailure):
            client.exchange(GET)

    assert caught.value.may_have_arrived
    assert server.connections == 2


def test_endless_body_is_cut_off(monkeypatch):
    monkeypatch.setattr("knouds_harness.load.client.http_connection.MAX_BODY_BYTES", 1_000_000)

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(CHUNKED)
        while True:
            connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    with (
        serving(script) as server,
        client_of(server, timeout_s=10) as client,
        pytest.raises(BadAnswer, match="a body of over 1,000,000 bytes"),
    ):
        client.exchange(GET)


def test_extra_bytes_after_a_response_reach_no_other_request():
    """An unrequested response ends the connection, whether it comes at once or later."""
    with (
        serving(always(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")) as server,
        client_of(server) as client,
    ):
        bodies = [client.exchange(GET).content for _ in range(3)]

    assert bodies == [b"{}"] * 3
    assert server.connections == 3


@pytest.mark.parametrize("sent_first", [b"", b"HTTP/1.1 200 OK\r\n", OK[:-1]])
def test_slow_answer_is_cut_off_at_the_deadline(sent_first):
    """The deadline covers the whole response, whatever part of it has come."""
    released = threading.Event()

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(sent_first)
        released.wait(timeout=10)

    with serving(script) as server, client_of(server) as client:
        with pytest.raises(TimedOut, match="in time") as caught:
            client.exchange(GET, timeout_s=0.3)
        with pytest.raises(TimedOut):
            client.exchange(GET, timeout_s=0.3)
        released.set()

    assert caught.value.may_have_arrived
    assert server.connections == 2


def test_deadline_of_an_earlier_request_does_not_end_a_later_one():
    """One timer serves all requests of a connection; only the deadline of the current request counts."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(OK)
        server.read_request(connection)
        time.sleep(1.5 * first_s)  # the first request's deadline is over by then
        connection.sendall(OK)

    for first_s in (0.2, 5.0):  # a machine may stand still for longer than the first
        with serving(script) as server, client_of(server) as client, suppress(TimedOut):
            client.exchange(GET, timeout_s=first_s)
            is_answered = client.exchange(GET, timeout_s=30).ok
            break

    assert is_answered
    assert server.connections == 1


def test_connection_of_a_killed_greenlet_is_closed():
    """The response may still come, and must not reach the next request."""
    arrived, released = threading.Event(), threading.Event()

    def script(server: RawServer, connection: socket.socket) -> None:
        while server.read_request(connection):
            arrived.set()
            if server.connections == 1:
                released.wait(timeout=10)
                connection.sendall(OK.replace(b"{}", b"11"))
            else:
                connection.sendall(OK)

    with serving(script) as server, client_of(server) as client:
        greenlet = gevent.spawn(client.exchange, GET)
        wait_until(arrived.is_set, sleep=gevent.sleep)
        greenlet.kill()
        released.set()
        body = client.exchange(GET).content

    assert body == b"{}"
    assert server.connections == 2


@pytest.mark.parametrize(
    ("host", "says"),
    [("127.0.0.1", "Connection refused"), ("no-such-host.invalid", r"no-such-host\.invalid cannot")],
)
def test_connection_that_is_not_made_fails_before_anything_is_sent(host, says):
    with (
        closing(Client(Origin(host=host, port=free_port(), tls=None))) as client,
        pytest.raises(NotConnected, match=says) as caught,
    ):
        client.exchange(POST)

    assert not caught.value.may_have_arrived


def test_ipv6_address_is_reached():
    """The brackets of the URL are in the Host header, but are not part of the address."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        origin = origin_of(f"http://[::1]:{listener.getsockname()[1]}")

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        with closing(Client(origin, timeout_s=10)) as client:
            assert client.exchange(encode("GET", "/", origin.authority)).ok
        thread.join()

    assert origin.authority.startswith("[::1]:")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_tls(authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def trusting(authority, tmp_path, monkeypatch) -> None:
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("is_encrypted", [False, True])
def test_large_body_in_many_parts_is_whole(server_tls, is_encrypted):
    """Several over one connection, encrypted too, with a certificate of SSL_CERT_FILE."""
    body = bytes(range(256)) * 15_000
    sent = body * 2  # more than the socket's buffer takes
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    tls = server_tls if is_encrypted else None

    with serving(always(answer), tls) as server, client_of(server, timeout_s=60) as client:
        answers = [client.exchange(encode("POST", "/", "x", body=sent)).content for _ in range(2)]

    assert answers == [body] * 2
    assert all(request.endswith(sent) for request in server.requests)
    assert server.connections == 1


@pytest.mark.usefixtures("trusting")
def test_connect_times_belong_to_the_request_that_connected(server_tls):
    """With the TLS handshake, if there is one; bytes count HTTP alone."""
    for context in (None, server_tls):
        with serving(always(OK), context) as server, client_of(server, timeout_s=10) as client:
            first, second = client.exchange(POST), client.exchange(POST)

        assert first.opening is not None
        assert first.opening.dns_ms is None  # an address needs no look-up
        assert first.opening.connect_ms > 0
        assert (first.opening.tls_ms or 0) > 0 if context else first.opening.tls_ms is None
        assert second.opening is None
        assert [each.wire[3:] for each in (first, second)] == [(len(POST), len(OK))] * 2
        written_at, first_at, last_at, *_ = first.wire
        assert written_at < first_at == last_at  # one piece has no body phase


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 2\r\n\r\n{}", CHUNKED_BODY, b"Connection: close\r\n\r\n{}"]
)
def test_phases_are_at_least_what_the_server_took(framing):
    """First byte and body; all bytes of head and framing are counted."""
    answer = b"HTTP/1.1 200 OK\r\n" + framing

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        for part in (answer[:1], answer[1:-1], answer[-1:]):
            threading.Event().wait(0.02)  # the delay to measure
            connection.sendall(part)

    with serving(script) as server, client_of(server) as client:
        answered = client.exchange(GET)

    written_at, first_at, last_at, _, received_bytes = answered.wire
    assert first_at - written_at >= 0.02
    assert last_at - written_at >= 0.06  # the client may come to read a part late
    assert received_bytes == len(answer)


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("is_encrypted", [False, True])
def test_response_that_is_cut_short_is_a_failure_whose_bytes_are_counted(server_tls, is_encrypted):
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"
    answer = Answer()

    with (
        serving(answering(half), server_tls if is_encrypted else None) as server,
        client_of(server, timeout_s=10) as client,
        pytest.raises(ConnectionLost, match="in the middle"),
    ):
        client.send(POST, answer)

    assert answer.wire[3:] == (len(POST), len(half))


def test_unknown_certificate_is_refused_unless_told_otherwise(server_tls):
    with serving(always(OK), server_tls) as server:
        with (
            client_of(server, timeout_s=10) as client,
            pytest.raises(NotConnected, match="TLS: the certificate is not trusted"),
        ):
            client.exchange(POST)
        origin = origin_of(server.base_url, tls=tls_context(verify=False))
        with closing(Client(origin, timeout_s=10)) as client:
            assert client.exchange(POST).ok

    assert server.requests == [POST]


def test_plain_http_server_at_an_https_url_is_an_error():
    with serving(answering(OK)) as server:
        origin = origin_of(server.base_url.replace("http:", "https:"))
        with closing(Client(origin, timeout_s=1)) as client, pytest.raises(NotConnected):
            client.exchange(GET)


def test_tls_handshake_ends_at_the_deadline():
    released = threading.Event()
    with serving(lambda *_: released.wait(timeout=10)) as server:
        url = server.base_url.replace("http:", "https:")
        origin = origin_of(url, tls=tls_context(verify=False))
        with (
            closing(Client(origin, connect_timeout_s=0.05)) as client,
            pytest.raises(NotConnected, match="no connection in time"),
        ):
            client.exchange(GET)
        released.set()


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:80", "http://", "http://x:port", ""])
def test_invalid_url_is_refused(url):
    with pytest.raises(UsageError, match=r"not a URL|begins with http"):
        origin_of(url)


def test_connection_is_closed_in_the_thread_of_its_client(monkeypatch):
    """Locust drops users without closing them; garbage is collected in any thread."""
    closed_in = []
    close = Connection.close

    def note_and_close(connection: Connection) -> None:
        closed_in.append(threading.get_ident())
        close(connection)

    monkeypatch.setattr(Connection, "close", note_and_close)
    with serving(always(OK)) as server:
        clients = [Client(origin_of(server.base_url))]
        clients[0].exchange(GET)
        thread = threading.Thread(target=clients.clear)
        thread.start()
        thread.join()
        wait_until(lambda: closed_in, sleep=gevent.sleep)

    assert set(closed_in) == {threading.get_ident()}


def test_connection_closes_its_socket_after_its_loop_is_gone():
    left, right = socket.socketpair()
    left.setblocking(False)
    made = []

    def connect() -> None:
        made.append(Connection(left, left.fileno()))
        gevent.get_hub().destroy(destroy_loop=True)

    with right:
        thread = threading.Thread(target=connect)
        thread.start()
        thread.join()

        made[0].close()

        assert left.fileno() == -1
