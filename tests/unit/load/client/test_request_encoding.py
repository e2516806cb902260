"""Encoding requests as bytes."""

import json

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from locust.event import EventHook

from knouds_harness.load.client.http_client import complete, encode_head
from knouds_harness.load.client.session import Session


def encode(method, target, authority, headers=(), body=None):
    return complete(encode_head(method, target, authority, headers), method, body)


class Parsed:
    def __init__(self, request: bytes) -> None:
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.is_whole = False
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(request)
        self.method = parser.get_method().decode()

    def on_url(self, url: bytes) -> None:
        self.target = url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_whole = True


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    target=st.text().map("/{}".format),
    value=st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f\xa0")),
    body=st.binary(),
)
@example(method="POST", target="/a b?c=ä#d", value="ä", body=b"")
def test_parser_reads_what_was_encoded(method, target, value, body):
    request = Parsed(encode(method, target, "host:1", [("X-Value", value)], body))

    assert (request.method, request.body, request.is_whole) == (method, body, True)
    assert request.headers[:2] == [("Host", "host:1"), ("X-Value", value)]
    assert request.target.isascii()


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("/a/b?c=d&e=%20", "/a/b?c=d&e=%20"),
        ("/a b", "/a%20b"),
        ("/ä", "/%C3%A4"),
        ("/a#b", "/a"),
        ("/a\r\nX: y", "/a%0D%0AX:%20y"),
        ("a", "/a"),
        ("", "/"),
    ],
)
def test_target_is_encoded_only_if_it_cannot_be_sent(target, sent):
    assert Parsed(encode("GET", target, "x")).target == sent


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET /", []),
        ("GET", [("X: y\r\nZ", "")]),
        ("GET", [("X", "secret\r\nY: z")]),
        ("GET", [("", "x")]),
        ("POST", [("Content-Length", "3")]),
        ("POST", [("transfer-encoding", "chunked")]),
    ],
)
def test_request_injection_is_refused(method, headers):
    """No name or value can add a line, and the message repeats no value."""
    with pytest.raises(ValueError, match=r".") as caught:
        encode(method, "/", "x", headers, b"{}")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("method", "says_length"), [("GET", False), ("DELETE", True), ("POST", True)])
def test_methods_with_a_body_send_a_length_of_0(method, says_length):
    assert (("Content-Length", "0") in Parsed(encode(method, "/", "x")).headers) is says_length


def test_given_host_header_replaces_the_default():
    request = Parsed(encode("GET", "/", "x", [("host", "y")]))

    assert request.headers == [("host", "y")]


@pytest.mark.parametrize("body", [{"inputs": {"prompt": "Grüße", "count": 1.5}}, {"name": "\ud800"}])
def test_body_of_a_scenario_is_what_it_says(body):
    """Even if it is not Unicode, as the inputs of a run may be."""
    session = Session("http://127.0.0.1:9", EventHook())

    sent = session.exchange(session.head_of("POST", "/a", ()), "POST", "/a", body, name="a").sent

    assert json.loads(sent.partition(b"\r\n\r\n")[2]) == body
