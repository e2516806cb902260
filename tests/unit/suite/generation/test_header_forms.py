"""Requests with other headers."""

import httpx
import pytest
from example_targets import SECRETS, make_target

from knouds_harness.exchange.client import Client
from knouds_harness.exchange.curl import ShellNames, curl
from knouds_harness.exchange.evidence import Request
from knouds_harness.suite.generation.header_forms import DIMENSIONS, header_form, in_form

WRITE = Request(
    method="POST",
    path="/api/workflows",
    persona="full",
    headers=(("content-type", "application/json"),),
    body=b"{}",
)


def sent_as(request):
    """Send a request; returns its headers as a server gets them, and the exchange."""
    got: list[tuple[bytes, bytes]] = []

    def serve(asked):
        got[:] = asked.headers.raw
        return httpx.Response(200, json={})

    with Client(target=make_target(), transport=httpx.MockTransport(serve)) as client:
        exchange = client.send(request)
        return (
            [(name.decode(), value.decode()) for name, value in got],
            exchange,
            ShellNames.of(client.target),
        )


@pytest.mark.parametrize(
    ("dimension", "variation"), [(each, name) for each, known in DIMENSIONS.items() for name in known]
)
def test_consecutive_numbers_have_every_variation(dimension, variation):
    assert variation in {header_form(number).get(dimension) for number in range(15)}


def test_key_is_sent_in_its_place_under_another_spelling():
    got, _, _ = sent_as(in_form(WRITE, {"order": "reversed", "header names": "in capitals"}))

    assert got[1:3] == [("X-API-KEY", SECRETS["full"]), ("CONTENT-TYPE", "application/json")]


def test_accept_is_sent_twice():
    got, _, _ = sent_as(in_form(WRITE, {"Accept": "twice"}))

    accepted = [value for name, value in got if name.lower() == "accept"]
    assert accepted == ["application/json", "text/plain;q=0.5"]


def test_evidence_and_curl_line_have_the_headers_as_sent():
    got, exchange, names = sent_as(
        in_form(WRITE, {"User-Agent": "curl/8.5.0", "order": "rotated", "header names": "in capitals"})
    )

    line = curl(exchange, names)
    assert [name for name, _ in exchange.sent_headers if name.isupper()] == [
        name for name, _ in got if name.isupper()
    ]
    assert "-H 'ACCEPT: application/json' -H 'ACCEPT-ENCODING: identity' -H 'CONTENT-TYPE:" in line
    assert line.index("X-API-KEY") < line.index("USER-AGENT: curl/8.5.0")


def test_request_without_a_key_gets_none():
    got, _, _ = sent_as(in_form(Request(method="GET", path="/api/health"), {}))

    assert "x-api-key" not in {name.lower() for name, _ in got}
