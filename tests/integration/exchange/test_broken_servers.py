"""Whatever a server or network does, the result is an exchange with a reason, or one clear error."""

import re
import socket
import ssl
from datetime import UTC, datetime

import pytest
import trustme
from example_targets import SECRETS, free_port, make_target, why_unreachable
from hostile_traffic import BROKEN_HTTP, NO_ANSWER, raw, whole
from raw_server import Attack, RawServer, always, serving

from knouds_harness.body_bounds import KEPT_BYTES
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Request
from knouds_harness.exchange.profile_check import first_contact
from knouds_harness.targets.secrets import Secret

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOAMI = Request(method="GET", path="/api/whoami", persona="full")


REASONS = {
    "the connection was closed before there was an answer": (
        *("early close", "half-closed before the status line", "HTTP/0.9", "random bytes"),
    ),
    "the connection broke: connection reset by peer": (
        *("a reset before the status line", "a reset in the body"),
    ),
    "no answer within ": ("silence", "too late", "slow head", "endless 1xx"),
    "the answer was not complete within ": ("slow drip",),
    "the answer ended early": ("cut body", "half-closed in the body", "a chunk of 2^64"),
    "the body is over 4 MB": (
        *("100 MB", "endless chunks", "an endless body without a length"),
        *("Brotli bomb", "gzip bomb", "gzip in gzip"),
    ),
    "the body does not fit its Content-Encoding": ("broken gzip",),
}
"""Reasons of broken responses; that of all others is that they are not valid HTTP."""
REASON_BY_NAME = {name: reason for reason, names in REASONS.items() for name in names}
UNANSWERED = {**BROKEN_HTTP, **NO_ANSWER}
# Whether that many small chunks take too long or are too large depends on the machine.
del UNANSWERED["endless chunks of two bytes"]


def exchange_with(attack: Attack, *, timeout_s: float = 5.0):
    """Send a request to a server that answers like this, and closes."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        attack(connection, b'{"ok": true}')

    with serving(script) as server:
        target = make_target(server.base_url, timeout_s=timeout_s)
        with Client(target=target) as client:
            return client.send(WHOAMI)


@pytest.mark.parametrize("name", UNANSWERED)
def test_broken_response_is_a_failure_with_a_reason(name):
    """A slow stream of bytes does not extend the timeout, and is kept in part."""
    reason = REASON_BY_NAME.get(name, "the answer is not valid HTTP")
    for timeout_s in (0.3, 2.5) if name in NO_ANSWER else (30.0,):  # a machine may stall before the attack
        exchange = exchange_with(UNANSWERED[name], timeout_s=timeout_s)
        if str(exchange.failure).startswith(reason):
            break

    assert exchange.status is None
    assert str(exchange.failure).startswith(reason)
    assert len(exchange.body) <= KEPT_BYTES


def test_truncated_response_is_kept():
    exchange = exchange_with(raw(lambda _: HEAD + b'Content-Length: 10\r\n\r\n{"a"'))

    assert exchange.body == b'{"a"'
    assert exchange.header("content-type") == "application/json"
    assert str(exchange.failure).endswith("(HTTP 200)")


@pytest.mark.parametrize(
    "body",
    [b"[" * 3_000_000, b"{}" + b" " * 3_000_000 + b"x", b"[%s0]" % (b"0," * 300_000)],
    ids=["levels", "blanks", "values"],
)
def test_long_body_that_is_not_json_is_kept_in_part(body):
    """With its length; a run keeps hundreds of bodies. The part is not JSON either."""
    exchange = exchange_with(whole(lambda _: body))

    assert exchange.status == 200
    assert exchange.failure is None
    assert exchange.json_or_none() is None
    assert len(exchange.body) < KEPT_BYTES + 200
    assert f"{len(body):,} bytes".encode() in exchange.body


@pytest.mark.parametrize("body", [b'{"a": NaN}', b'{"a": "\xff"}', b"<html></html>", b""])
def test_body_that_is_not_json_is_kept(body: bytes):
    exchange = exchange_with(whole(lambda _: body))

    assert exchange.status == 200
    assert exchange.failure is None
    assert exchange.body == body
    assert exchange.json_or_none() is None


def test_repeated_headers_are_all_kept():
    exchange = exchange_with(whole(bytes, head=HEAD + b"X-A: 1\r\nx-a: 2\r\n"))

    assert [pair for pair in exchange.headers if pair[0].lower() == "x-a"] == [("X-A", "1"), ("x-a", "2")]
    assert exchange.header("x-a") == "1, 2"


def test_closed_port_is_unreachable():
    port = free_port()

    said = why_unreachable(make_target(f"http://127.0.0.1:{port}"))

    assert f"nothing listens at 127.0.0.1:{port}" in said
    assert "Check that the server runs" in said


def test_ipv6_address_is_shown_in_brackets():
    assert re.search(r"(listens at|connection to) \[::1\]:9", why_unreachable(make_target("http://[::1]:9")))


def test_unknown_host_name_is_unreachable(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    said = why_unreachable(make_target("https://nowhere.invalid"))

    assert "the name nowhere.invalid cannot be resolved" in said


@pytest.fixture
def trusted(monkeypatch, tmp_path):
    """An authority that is trusted by the environment."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


def answering_with(certificate):
    """Serve with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return serving(always(b"{}"), context)


@pytest.mark.parametrize(
    ("flaw", "remedy"),
    [
        ("of nobody known", "Set SSL_CERT_FILE"),
        ("of another host", "Check the certificate of the server"),
        ("expired", "Check the certificate of the server"),
    ],
)
def test_untrusted_certificate_is_unreachable(trusted, flaw, remedy):
    """No key is sent."""
    host = "elsewhere.example" if flaw == "of another host" else "127.0.0.1"
    not_after = datetime(2020, 1, 1, tzinfo=UTC) if flaw == "expired" else None
    authority = trustme.CA() if flaw == "of nobody known" else trusted
    with answering_with(authority.issue_cert(host, not_after=not_after)) as server:
        said = why_unreachable(make_target(server.base_url))

    assert re.search(r"TLS: the certificate of 127.+ is not trusted", said)
    assert remedy in said
    assert server.requests == []


def test_custom_authority_can_be_trusted(trusted):
    with (
        answering_with(trusted.issue_cert("127.0.0.1")) as server,
        Client(target=make_target(server.base_url)) as client,
    ):
        assert first_contact(client).status == 200


def test_server_without_tls_is_unreachable():
    def script(_: RawServer, connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(script) as server:
        said = why_unreachable(make_target(server.base_url.replace("http:", "https:")))

    assert "TLS: no handshake with" in said


def test_failure_never_shows_the_key():
    with serving(lambda *_: None) as server, Client(target=make_target(server.base_url)) as client:
        exchange = client.send(WHOAMI, key=Secret(SECRETS["full"] + "\r\nx: y", "key:sent"))

    assert exchange.failure == "the request is not valid HTTP and was not sent"
    assert server.requests == []
    assert dict(exchange.sent_headers)["x-api-key"] == "{{key:altered}}"
