"""Deliveries are kept byte for byte, whatever else arrives; what was signed verifies, and nothing else."""

import hashlib
import hmac
import socket
import struct
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.errors import UsageError
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.exchange.webhooks import Receiver, Signature, SignatureRefused, sign, verify
from knouds_harness.targets.secrets import Secret

TIMEOUT_S = 5


@pytest.fixture
def receiver():
    with Receiver() as listening:
        yield listening


def post(url, **options):
    with httpx.Client(trust_env=False, timeout=TIMEOUT_S) as client:
        return client.post(url, **options)


def send_raw(url, data):
    """Send raw bytes, and wait until the receiver answers or closes the connection."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(1024)


def test_chunked_body_is_put_together(receiver):
    post(receiver.url("/a"), content=iter([b'{"a"', b": 1}"]))

    assert [each.body for each in receiver.deliveries] == [b'{"a": 1}']


def test_first_delivery_of_each_execution_is_refused(receiver):
    """Later attempts are accepted, all that is not selected, and everything once refusing is ended."""
    receiver.refuse_first(lambda delivery: delivery.path == "/a")

    statuses = [
        post(receiver.url(path), content=f'{{"executionId": "{execution}"}}'.encode()).status_code
        for path, execution in [("/a", "x"), ("/b", "x"), ("/a", "y"), ("/a", "x"), ("/a", "y")]
    ]

    assert statuses == [503, 204, 503, 204, 204]
    assert [each.is_taken for each in receiver.deliveries] == [False, True, False, True, True]
    receiver.take_all()
    assert post(receiver.url("/a"), content=b'{"executionId": "z"}').status_code == 204


def test_taken_port_and_address_of_another_machine_are_errors_that_name_them(receiver):
    host, port = receiver.address

    with pytest.raises(UsageError, match=f"{host} port {port}: Address already in use"):
        Receiver(host, port)
    with pytest.raises(UsageError, match=r"192\.0\.2\.1"):
        Receiver("192.0.2.1", 9000)


def test_wait_ends_with_the_delivery_or_the_deadline(receiver):
    post(receiver.url("/a"), content=b"")

    assert receiver.wait_until(lambda came: len(came) == 1, timeout_s=TIMEOUT_S)
    assert not receiver.wait_until(lambda came: len(came) == 2, timeout_s=0.01)


@pytest.mark.parametrize(
    "data",
    [
        b"POST /a HTTP/1.1\r\ncontent-length: 9\r\n\r\n{",
        b"POST /a HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01 no HTTP at all\r\n\r\n",
    ],
)
def test_other_traffic_does_no_harm(receiver, data):
    send_raw(receiver.url("/a"), data)

    assert post(receiver.url("/b"), content=b"").status_code == 204


def test_evidence_shows_no_secret(receiver):
    """Only the signature is checked with the raw bytes."""
    secret = Secret("whsec_0123456789abcdef", "webhook")
    post(receiver.url("/a"), content=f'{{"secret": "{secret.reveal()}"}}'.encode())
    (came,) = receiver.deliveries

    evidence = came.as_exchange(receiver.url("/a"), Redactor([secret]))

    assert evidence.request.body == b'{"secret": "{{webhook}}"}'
    assert secret.reveal().encode() in came.body


def test_flood_is_bounded_and_drops_the_largest_first(receiver):
    """Anyone who finds the port can send; real deliveries are small."""
    post(receiver.url("/a"), content=b'{"executionId": "e-1"}')
    for _ in range(50):
        post(receiver.url("/a"), content=b"x" * 2_000_000)

    kept = receiver.deliveries
    assert kept[0].execution_id == "e-1"
    assert sum(len(each.body) for each in kept) < 32_000_000
    assert receiver.dropped == 51 - len(kept)
    assert len({each.number for each in kept}) == len(kept)


@pytest.mark.parametrize(
    "data", [b"POST / HTTP/1.1\r\ncontent-length: 99\r\n\r\nx", b"POST /", b"\x16\x03\x01"]
)
def test_connection_that_is_reset_prints_nothing(receiver, capsys, data):
    with socket.create_connection(receiver.address, timeout=TIMEOUT_S) as connection:
        connection.sendall(data)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert post(receiver.url("/a"), content=b"{}").status_code == 204
    assert "Traceback" not in capsys.readouterr().err


SECRET = "whsec_0123456789abcdef"
DIGEST = "0" * 64


def secrets():
    return st.text(st.characters(exclude_categories=["Cs"]), min_size=16, max_size=256)


def instants():
    return st.integers(0, 2**40)


@given(secret=secrets(), body=st.binary(), sent=instants(), drift=st.integers(-300, 300))
@example(secret="s" * 16, body=b"", sent=300, drift=300)  # the window includes its edge
@example(secret="s" * 16, body=b"", sent=300, drift=-300)
def test_fresh_delivery_is_accepted(secret, body, sent, drift):
    header = sign(body, secret=secret, at_unix_s=sent)

    verify(body, header, secret=secret, now_unix_s=sent + drift)


@given(body=st.binary(), sent=instants(), drift=st.integers(301, 10**9), is_early=st.booleans())
@example(body=b"", sent=0, drift=301, is_early=False)
def test_stale_delivery_is_refused(body, sent, drift, is_early):
    header = sign(body, secret=SECRET, at_unix_s=sent)

    with pytest.raises(SignatureRefused, match="away from now"):
        verify(body, header, secret=SECRET, now_unix_s=sent - drift if is_early else sent + drift)


@given(body=st.binary(min_size=1), sent=st.integers(1, 10**9), flip=st.integers(1, 255), other=secrets())
def test_other_body_secret_or_time_is_refused(body, sent, flip, other):
    header = sign(body, secret=SECRET, at_unix_s=sent)
    earlier = header.replace(f"t={sent}", f"t={sent - 1}")
    altered = bytes([body[0] ^ flip]) + body[1:]

    for sent_body, sent_header, secret in (
        (altered, header, SECRET),
        (body, header, other + SECRET),
        (body, earlier, SECRET),
    ):
        with pytest.raises(SignatureRefused, match="does not match"):
            verify(sent_body, sent_header, secret=secret, now_unix_s=sent)


def test_signature_follows_the_documented_formula():
    digest = hmac.digest(SECRET.encode(), b'1795000000.{"event":"webhook.test"}', hashlib.sha256).hex()

    assert sign(b'{"event":"webhook.test"}', secret=SECRET, at_unix_s=1795000000) == (
        f"t=1795000000,v1={digest}"
    )


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"v1={DIGEST}",
        f"v1={DIGEST},t=1",
        "t=1",
        f"t=,v1={DIGEST}",
        f"t=1.5,v1={DIGEST}",
        f"t=-1,v1={DIGEST}",
        f"t=01,v1={DIGEST}",
        f"t=\u0661,v1={DIGEST}",
        f"t=1, v1={DIGEST}",
        f"t=1;v1={DIGEST}",
        f"t=1,v1={DIGEST[:-1]}",
        f"t=1,v1={DIGEST}0",
        f"t=1,v1={'g' * 64}",
        f"t=1,v1={DIGEST}\n",
        f"T=1,V1={DIGEST}",
    ],
)
def test_undocumented_forms_are_refused(header):
    with pytest.raises(SignatureRefused, match="is not t="):
        verify(b"", header, secret=SECRET, now_unix_s=1)


@pytest.mark.parametrize("header", [f"t=1,v1={DIGEST}", f"t=1,v1={'F' * 64}", f"t=1,v1={DIGEST},v2=abc"])
def test_documented_forms_are_read(header):
    """Hexadecimal in either case; further parts may be new."""
    assert Signature.read(header) is not None
