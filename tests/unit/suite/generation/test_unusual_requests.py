"""Unusual headers and JSON values of a request."""

import json

import httpx
import pytest
from example_targets import SECRETS, make_target
from exchanges import exchange, refusal

from knouds_harness.exchange.client import Client
from knouds_harness.exchange.curl import ShellNames, curl
from knouds_harness.exchange.evidence import Request
from knouds_harness.suite.generation.unusual_requests import (
    DIMENSIONS,
    TEXTS,
    VALUES,
    as_document,
    as_inputs,
    each_sent,
    header_form,
    in_form,
)

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


def test_headers_are_sent_in_their_places_and_spellings():
    """The key too; a request without one gets none."""
    got, _, _ = sent_as(
        in_form(WRITE, {"Accept": "twice", "order": "reversed", "header names": "in capitals"})
    )
    public, _, _ = sent_as(in_form(Request(method="GET", path="/api/health"), {}))

    assert got[1:3] == [("X-API-KEY", SECRETS["full"]), ("CONTENT-TYPE", "application/json")]
    accepted = [value for name, value in got if name == "ACCEPT"]
    assert accepted == ["text/plain;q=0.5", "application/json"]
    assert "x-api-key" not in {name.lower() for name, _ in public}


def test_evidence_and_curl_line_have_the_headers_as_sent():
    got, exchange, names = sent_as(
        in_form(WRITE, {"User-Agent": "curl/8.5.0", "order": "rotated", "header names": "in capitals"})
    )

    line = curl(exchange, names)
    assert [name for name, _ in exchange.sent_headers if name.isupper()] == [
        name for name, _ in got if name.isupper()
    ]
    assert "-H 'ACCEPT: application/json'" in line
    assert "-H 'ACCEPT-ENCODING: identity'" in line
    assert line.index("X-API-KEY") < line.index("USER-AGENT: curl/8.5.0")


NODE = {"id": "a", "type": "t", "position": {"x": 0, "y": 0}, "data": {"kept": "no"}}
PARSED = [name for name in VALUES if name != "nested deeply"]


@pytest.mark.parametrize("name", PARSED)
def test_each_value_is_json(name):
    assert json.loads(as_inputs([name])).keys() == {"inputs"}
    assert isinstance(json.loads(as_inputs([name], in_a_list=True))["inputs"], list)
    document = json.loads(as_document([name], name="Odd", node=NODE))

    assert list(document["nodes"][0]["data"]) == ["harness0"]
    assert document["name"].startswith("Odd ")


def test_texts_are_sent_as_tags_of_a_document():
    document = json.loads(as_document(list(PARSED), name="Odd", node=NODE))

    texts = "".join(json.loads(f'"{text}"') for text in TEXTS.values())
    assert document["tags"] == [texts]


@pytest.mark.parametrize(
    ("answer", "is_refused", "sent"),
    [
        (exchange(200, {}), False, [["a", "b"], ["nested deeply"]]),
        (refusal(400, "BAD"), False, [["a", "b"], ["a"], ["b"], ["nested deeply"]]),
        (exchange(None), False, [["a", "b"], ["a"], ["b"], ["nested deeply"]]),
        (refusal(400, "INVALID_INPUTS"), True, [["a", "b"], ["nested deeply"]]),
    ],
)
def test_values_are_sent_together_until_one_is_refused(answer, is_refused, sent):
    """Then each alone; values that most servers refuse are sent alone in any case."""
    requests = []

    def send(names):
        requests.append(names)
        return answer

    assert len(list(each_sent(send, ["a", "nested deeply", "b"], is_refused=is_refused))) == len(sent)
    assert requests == sent
