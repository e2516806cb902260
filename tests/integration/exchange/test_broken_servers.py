"""Whatever a server or a network does, the answer is an exchange with a reason, or one clear error."""

import gzip
import socket
import ssl
import threading

import brotli
import pytest
import trustme
from example_targets import SECRETS, make_target
from raw_server import RawServer, serving

from knouds_harness.body_bounds import KEPT_BYTES
from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode, TargetUnreachable
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Request
from knouds_harness.exchange.first_contact import first_contact
from knouds_harness.targets.personas import Secret

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOAMI = Request(method="GET", path="/api/whoami", persona="full", action=Action.READ)


def exchange_with(*parts: bytes, timeout_s: float = 5.0):
    """Ask a server that answers with these bytes and closes."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        for part in parts:
            connection.sendall(part)

    with serving(script) as server:
        target = make_target(server.base_url, timeout_s=timeout_s)
        with Client(target=target) as client:
            return client.send(WHOAMI)


@pytest.mark.parametrize(
    ("parts", "failure"),
    [
        ([], "the connection was closed before there was an answer"),
        ([b"HTTP/1.1 200 OK\r\nContent-"], "the connection was closed before there was an answer"),
        ([b"SSH-2.0-OpenSSH_9.6\r\n\r\n"], "the answer is not valid HTTP"),
        ([HEAD, b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"], "the answer is not valid HTTP"),
        ([HEAD, b"Content-Length: 10\r\n\r\n{}"], "the answer ended early: sending complete message body"),
        ([HEAD, b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}"], "the answer ended early"),
        ([HEAD, b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}"], "the answer is not valid HTTP"),
        ([HEAD, b"Content-Encoding: gzip\r\n\r\n{}"], "the body does not fit its Content-Encoding"),
        ([HEAD, b"X-Long: " + b"a" * 200_000], "the answer is not valid HTTP"),
    ],
    ids=[
        "nothing",
        "half a head",
        "another protocol",
        "two lengths",
        "cut body",
        "cut chunk",
        "bad chunk",
        "bad gzip",
        "endless head",
    ],
)
def test_broken_answer_is_a_failure_with_a_reason(parts: list[bytes], failure: str):
    exchange = exchange_with(*parts)

    assert exchange.status is None
    assert exchange.failure is not None
    assert exchange.failure.startswith(failure)


def test_cut_answer_keeps_what_came():
    exchange = exchange_with(HEAD, b'Content-Length: 10\r\n\r\n{"a"')

    assert exchange.body == b'{"a"'
    assert exchange.header("content-type") == "application/json"
    assert str(exchange.failure).endswith("(HTTP 200)")


@pytest.mark.parametrize("chunked", [True, False])
def test_overlong_body_is_cut_off(*, chunked: bool):
    part = b"x" * 1_000_000
    if chunked:
        parts = [HEAD, b"Transfer-Encoding: chunked\r\n\r\n", *[b"f4240\r\n" + part + b"\r\n"] * 8]
    else:
        parts = [HEAD, b"Content-Length: 8000000\r\n\r\n", *[part] * 8]

    exchange = exchange_with(*parts)

    assert str(exchange.failure).startswith("the body is over 4 MB")
    assert len(exchange.body) == KEPT_BYTES


@pytest.mark.parametrize(
    "body", [b"[" * 3_000_000, b"{}" + b" " * 3_000_000 + b"x", b"[%s0]" % (b"0," * 300_000)]
)
def test_long_body_that_is_no_json_is_kept_in_part(body):
    """It is none in part either, and says how long it was: a run keeps hundreds of bodies."""
    exchange = exchange_with(HEAD, b"Content-Length: %d\r\n\r\n" % len(body), body)

    assert exchange.status == 200
    assert exchange.failure is None
    assert exchange.json_or_none() is None
    assert len(exchange.body) < KEPT_BYTES + 200
    assert f"{len(body):,} bytes".encode() in exchange.body


@pytest.mark.parametrize(("encoding", "encode"), [("gzip", gzip.compress), ("br", brotli.compress)])
def test_bomb_is_cut_off(encoding, encode):
    bomb = encode(b"\0" * 50_000_000)
    head = f"Content-Encoding: {encoding}\r\nContent-Length: {len(bomb)}\r\n\r\n"

    exchange = exchange_with(HEAD, head.encode(), bomb)

    assert str(exchange.failure).startswith("the body is over 4 MB")
    assert exchange.body == b""


@pytest.mark.parametrize("body", [b'{"a": NaN}', b'{"a": "\xff"}', b"<html></html>", b""])
def test_body_that_is_no_json_is_kept_for_judging(body: bytes):
    exchange = exchange_with(HEAD, b"Content-Length: %d\r\n\r\n" % len(body), body)

    assert exchange.status == 200
    assert exchange.failure is None
    assert exchange.body == body
    assert exchange.json_or_none() is None


def test_repeated_headers_are_all_kept():
    exchange = exchange_with(HEAD, b"X-A: 1\r\nx-a: 2\r\nContent-Length: 2\r\n\r\n{}")

    assert [pair for pair in exchange.headers if pair[0].lower() == "x-a"] == [("X-A", "1"), ("x-a", "2")]
    assert exchange.header("x-a") == "1, 2"


def test_silent_server_times_out():
    released = threading.Event()

    with serving(lambda *_: released.wait(5)) as server:
        with Client(target=make_target(server.base_url, timeout_s=0.2)) as client:
            exchange = client.send(WHOAMI)
        released.set()

    assert exchange.failure == "no answer within 0.2 s"


@pytest.mark.parametrize(
    ("begin", "drop", "failure"),
    [
        (HEAD + b"Content-Length: 10000\r\n\r\n", b" ", "the answer was not complete within 0.3 s"),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
            b"1\r\n \r\n",
            "the answer was not complete within 0.3 s",
        ),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a", "no answer within 0.3 s"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", "no answer within 0.3 s"),
    ],
    ids=["body", "chunks", "head", "never more than 1xx"],
)
def test_trickling_answer_times_out(begin: bytes, drop: bytes, failure: str):
    """Byte after byte does not keep the client waiting for ever, wherever in the answer they stand."""
    stopped = threading.Event()

    def trickle(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(begin)
        while not stopped.wait(0.01):
            connection.sendall(drop)

    with serving(trickle) as server:
        with Client(target=make_target(server.base_url, timeout_s=0.3)) as client:
            exchange = client.send(WHOAMI)
        stopped.set()

    assert str(exchange.failure).startswith(failure)


def test_closed_port_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with (
        Client(target=make_target(f"http://127.0.0.1:{port}")) as client,
        pytest.raises(TargetUnreachable, match=f"nothing listens at 127.0.0.1:{port}") as caught,
    ):
        first_contact(client)

    assert caught.value.exit_code == ExitCode.UNREACHABLE
    assert "Check that the server runs" in str(caught.value)


def test_address_of_version_six_is_shown_in_brackets():
    with (
        Client(target=make_target("http://[::1]:9")) as client,
        pytest.raises(TargetUnreachable, match=r"(listens at|connection to) \[::1\]:9"),
    ):
        first_contact(client)


def test_unknown_name_is_unreachable(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    with (
        Client(target=make_target("https://nowhere.invalid")) as client,
        pytest.raises(TargetUnreachable, match=r"the name nowhere\.invalid cannot be resolved"),
    ):
        first_contact(client)


def test_untrusted_certificate_is_unreachable():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    with (
        serving(lambda *_: None, context) as server,
        Client(target=make_target(server.base_url)) as client,
        pytest.raises(TargetUnreachable, match=r"TLS: the certificate of 127.+ is not trusted") as caught,
    ):
        first_contact(client)

    assert "Set SSL_CERT_FILE" in str(caught.value)


def test_own_authority_can_be_trusted(monkeypatch, tmp_path):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

    with serving(script, context) as server, Client(target=make_target(server.base_url)) as client:
        assert first_contact(client).status == 200


def test_server_without_tls_is_unreachable():
    def script(_: RawServer, connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with (
        serving(script) as server,
        Client(target=make_target(server.base_url.replace("http:", "https:"))) as client,
        pytest.raises(TargetUnreachable, match="TLS: no handshake with"),
    ):
        first_contact(client)


def test_failure_never_shows_the_key():
    with serving(lambda *_: None) as server, Client(target=make_target(server.base_url)) as client:
        exchange = client.send(WHOAMI, key=Secret(SECRETS["full"] + "\r\nx: y", "key:sent"))

    assert exchange.failure == "the request is not valid HTTP and was not sent"
    assert server.requests == []
    assert dict(exchange.sent_headers)["x-api-key"] == "{{key:altered}}"
