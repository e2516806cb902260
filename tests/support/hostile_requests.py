"""Requests that a server has to bear: every path of the sandbox, with whatever may stand where."""

import json
import socket
from urllib.parse import urlsplit

from hypothesis import strategies as st

from knouds_sandbox.seeding import key_secret

KEY = key_secret(0, "full").encode()
PATHS = (
    "/api/whoami",
    "/api/workflows",
    "/api/workflows/{}",
    "/api/workflows/{}/move",
    "/api/workflows/{}/schema",
    "/api/workflows/{}/public-schema",
    "/api/workflows/{}/run",
    "/api/models/{}/run",
    "/api/executions/{}",
    "/api/executions/{}/cancel",
    "/api/usage",
    "/api/usage/models",
    "/api/pricing/public",
    "/api/health",
    "/api/credits/{}",
    "/__sandbox__/keys",
    "/__sandbox__/accounts",
    "/__sandbox__/clock",
    "/__sandbox__/state",
    "/activity.json",
    "/{}",
)
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
URL_BYTES = st.sampled_from([*b"abz09-_.~!$&'()*+,;=:@/%", *b"?=&%"])
SEGMENTS = st.one_of(
    st.sampled_from(
        [b"portrait", b"no-generator", b"seedream-v5", b"suno-v5", b"%00", b"%ff", b"%", b"%2f", b".."]
    ),
    st.lists(URL_BYTES, max_size=12).map(bytes),
)
QUERIES = st.one_of(
    st.sampled_from(
        [b"", b"async=true", b"limit=-1&offset=99999999999999999999", b"status=%ff", b"limit=%00"]
    ),
    st.lists(URL_BYTES, max_size=20).map(bytes),
)
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**30), 2**63])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = (
    "inputs",
    "name",
    "description",
    "tags",
    "nodes",
    "edges",
    "viewport",
    "publicPlayground",
    "folderId",
    "slug",
    "createdBy",
    "account",
    "capabilities",
    "state",
    "webhook",
    "tier",
    "role",
    "approved",
    "credits",
    "grant",
    "advance_s",
)
DOCUMENTS = st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=5)
RUNS = st.dictionaries(
    st.sampled_from(["prompt", "count", "seconds", "duration", "numImages"]) | st.text(max_size=4), VALUES
).map(lambda inputs: {"inputs": inputs})
BODIES = st.one_of(
    st.binary(max_size=40), (VALUES | DOCUMENTS | RUNS).map(lambda value: json.dumps(value).encode())
)
PREFERENCES = st.sampled_from(
    [
        b"",
        b"",
        b"",
        b"code=500",
        b"execution=cancelled",
        b"execution=processing",
        b'example="legacy',
        b"\xff;=,",
    ]
)
TYPES = st.sampled_from(
    [b"application/json", b"application/json; charset=utf-16", b"text/plain", b"", b"\xff/\xfe"]
)


def exchange(base_url: str, data: bytes) -> bytes:
    """Send bytes, close that direction, and return what comes back."""
    address = urlsplit(base_url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def request(method: bytes, target: bytes, body: bytes = b"", *headers: bytes) -> bytes:
    lines = [b"%s %s HTTP/1.1" % (method, target), b"Host: localhost", b"Connection: close"]
    lines += [*headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def keyed_request(
    *,
    path: str,
    segment: bytes,
    query: bytes = b"",
    method: str = "POST",
    content_type: bytes = b"application/json",
    body: bytes = b"",
    preference: bytes = b"",
    key: bytes = KEY,
) -> bytes:
    """A request with a key, and with the token of the control plane."""
    headers = [b"x-api-key: " + key, b"Content-Type: " + content_type, b"x-sandbox-token: test-token"]
    headers += [b"Prefer: " + preference] if preference else []
    return request(method.encode(), path.encode().replace(b"{}", segment) + b"?" + query, body, *headers)


REQUESTS = st.builds(
    keyed_request,
    path=st.sampled_from(PATHS),
    segment=SEGMENTS,
    query=QUERIES,
    method=st.sampled_from(METHODS),
    content_type=TYPES,
    body=BODIES,
    preference=PREFERENCES,
)


def _sound(
    method: str,
    path: str,
    body: object = None,
    *,
    query: bytes = b"",
    preference: bytes = b"",
    persona: str = "full",
) -> bytes:
    return keyed_request(
        path=path,
        segment=b"",
        query=query,
        method=method,
        body=b"" if body is None else json.dumps(body).encode(),
        preference=preference,
        key=key_secret(0, persona).encode(),
    )


_RUN = {"inputs": {"prompt": "a lighthouse", "count": 2}}
_HOOK = {"url": "http://127.0.0.1:9/hook", "secret": "a-secret-of-some-length"}
SOUND = (
    *(_sound("GET", path.replace("{}", "portrait")) for path in PATHS),
    _sound("POST", "/api/workflows", {"name": "Sound", "nodes": [], "edges": [], "tags": ["a"]}),
    _sound("PUT", "/api/workflows/sound", {"description": "changed"}),
    _sound("PUT", "/api/workflows/sound/move", {"folderId": "folder-2026"}),
    _sound("DELETE", "/api/workflows/sound"),
    _sound("POST", "/api/workflows/portrait/run", _RUN),
    _sound("POST", "/api/workflows/always-fails/run", _RUN),
    _sound("POST", "/api/workflows/ines-portrait/run", _RUN, persona="ines"),
    _sound("POST", "/api/models/seedream-v5/run", _RUN, persona="business"),
    _sound("POST", "/api/models/suno-v5/run", _RUN, query=b"async=true"),
    *(
        _sound("POST", "/api/workflows/sunset-clip/run", _RUN, query=b"async=true", preference=preference)
        for preference in (b"", b"execution=failed", b"execution=cancelled", b"execution=processing")
    ),
    _sound("GET", "/api/usage", query=b"status=completed&limit=3&offset=1"),
    _sound("POST", "/__sandbox__/accounts", {"tier": "pro", "credits": 5, "grant": 3}),
    _sound("POST", "/__sandbox__/keys", {"account": "ada", "capabilities": ["a:b"], "webhook": _HOOK}),
    _sound("POST", "/__sandbox__/clock", {"advance_s": 1}),
)
"""Requests that a sandbox accepts, most of them."""
