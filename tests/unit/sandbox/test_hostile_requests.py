"""Any request gets a JSON response, errors have the envelope, and none is a 500."""

import json
import socket
from urllib.parse import urlsplit

import pytest
from hostile_traffic import REQUESTS, exchange, keyed_request, request
from hypothesis import example, given, settings

from knouds_sandbox.serving import running_sandbox


@pytest.fixture(scope="module")
def fuzzed_sandbox():
    with running_sandbox(control_token="test-token", prefer=True) as sandbox:
        yield sandbox


def assert_answered(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    value = json.loads(body)
    assert b"application/json" in head.lower()
    if status >= 400:
        assert isinstance(value["error"], str)
        assert value["error"]
        assert isinstance(value["code"], str)
        assert status < 500 or value["code"] == "EXECUTION_FAILED"
    return status


RUN = "/api/workflows/{}/run"


@settings(deadline=None)
@given(data=REQUESTS)
@example(data=keyed_request(path=RUN, segment=b"portrait", body=b'{"inputs": {"count": 1e999}}'))
@example(data=keyed_request(path=RUN, segment=b"portrait", body=b'{"inputs": {"a": "\\ud800"}}'))
@example(data=keyed_request(path="/api/workflows", segment=b"", body=b'{"name": "\\ud800\\u0000"}'))
@example(data=keyed_request(path="/api/workflows", segment=b"", body=b'{"name": "a", "folderId": "\\udfff"}'))
def test_any_request_is_answered(fuzzed_sandbox, data):
    assert_answered(exchange(fuzzed_sandbox.base_url, data))


HOSTILE = {
    "no HTTP": (b"nonsense\r\n\r\n", 400),
    "bytes in the path": (request(b"GET", b"/api/\xff\xfe"), 400),
    "an unknown method": (request(b"BREW", b"/api/whoami"), 400),
    "two keys": (request(b"GET", b"/api/whoami", b"", b"x-api-key: a", b"x-api-key: b"), 401),
    "bytes in the key": (request(b"GET", b"/api/whoami", b"", b"x-api-key: \xff\x80"), 401),
    "two lengths": (request(b"POST", b"/api/workflows", b"{}", b"Content-Length: 5"), 400),
    "a parent folder": (request(b"GET", b"/api/../api/whoami"), 404),
    "a broken percent sign": (request(b"GET", b"/api/executions/%zz%"), 401),
    "a full URL": (request(b"GET", b"http://elsewhere/api/health"), 200),
    "a slash too many": (request(b"GET", b"/api/whoami/"), 404),
    "two slashes": (request(b"GET", b"//api/whoami"), 404),
    "a line break": (request(b"GET", b"/api/whoami%0A"), 404),
    "letters encoded": (request(b"GET", b"/api/%68ealth"), 200),
    "a star": (request(b"OPTIONS", b"*"), 404),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_request_is_answered(shared_sandbox, what):
    data, status = HOSTILE[what]

    assert assert_answered(exchange(shared_sandbox.base_url, data)) == status


BROKEN_BODIES = {
    "empty": b"",
    "cut": b'{"inputs": {',
    "NaN": b'{"inputs": {"a": NaN}}',
    "infinite": b'{"inputs": {"a": -Infinity}}',
    "too large a number": b'{"inputs": {"a": 1e999}}',
    "too many digits": b'{"inputs": {"a": ' + b"9" * 5000 + b"}}",
    "deep": b'{"inputs": {"a": ' + b"[" * 100 + b"]" * 100 + b"}}",
    "bottomless": b'{"inputs":' * 100_000,
    "not UTF-8": b'{"inputs": "\xff"}',
    "UTF-16": '{"inputs": {}}'.encode("utf-16"),
    "with a mark": b'\xef\xbb\xbf{"inputs": {}}',
}


JSON = "application/json"
OTHER_TYPES = ("text/plain", "application/x-www-form-urlencoded", "", "json")


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        *(pytest.param(content, JSON, id=what) for what, content in BROKEN_BODIES.items()),
        *((b'{"inputs": {}}', other) for other in OTHER_TYPES),
    ],
)
def test_broken_body_is_refused_as_invalid(ask, assert_refused, content, content_type):
    headers = {"content-type": content_type}

    answer = ask("POST", "/api/workflows/portrait/run", "full", content=content, headers=headers)

    assert_refused(answer, 400, "INVALID_BODY")


def test_type_with_parameters_is_accepted(ask):
    headers = {"content-type": "Application/JSON; charset=utf-8"}

    answer = ask("POST", "/api/workflows/portrait/run", "full", content=b'{"inputs": {}}', headers=headers)

    assert answer.status_code == 200


@pytest.mark.parametrize("is_chunked", [False, True])
def test_oversized_body_is_refused(ask, assert_refused, is_chunked):
    content = b" " * (2 * 1024 * 1024)
    headers = {"content-type": "application/json"}

    answer = ask(
        "POST", "/api/workflows", "full", content=iter([content]) if is_chunked else content, headers=headers
    )

    assert_refused(answer, 413, "BODY_TOO_LARGE")


@pytest.mark.parametrize("begun", [b"POST /api/workflows HTTP/1.1\r\n", b"nonsense\r\n"])
@pytest.mark.parametrize("legal", ["own", "own,http=1.0"])
def test_client_that_still_sends_gets_the_answer_and_no_reset(legal, begun):
    """A connection that closes with data unread is reset, which can destroy the answer (RFC 9112, 9.6)."""
    body = b" " * 2_000_000
    with running_sandbox(legal=legal) as sandbox:
        address = urlsplit(sandbox.base_url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as client:
            client.sendall(begun + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
            answer = b"".join(iter(lambda: client.recv(65536), b""))

            client.sendall(body)

    assert_answered(answer)


def test_unknown_route_and_method_have_the_envelope(ask, assert_refused):
    assert_refused(ask("GET", "/api/unknown", "full"), 404, "NOT_FOUND")
    wrong = ask("PATCH", "/api/workflows/portrait", "full")
    assert_refused(wrong, 405, "METHOD_NOT_ALLOWED")
    assert set(wrong.headers["allow"].split(", ")) == {"DELETE", "GET", "HEAD", "PUT"}
