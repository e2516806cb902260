"""A proxy before a sound server that gives everything away it hears, wherever an answer has room for it."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

from raw_server import RawServer, serving

COOKIE: Final = "c00kie5e55ion7d1e9a44b2f0"
TOKEN: Final = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c4n4ry51gn4tur3"
SIGNATURE: Final = "51gnedcanary8c1f00d5e7a9"
EMAIL: Final = "canary.person@private.example"
USER_ID: Final = "usr_canary_0f9e8d7c"
_BROKEN_ON: Final = "/api/usage/models"
FORGED: Final = "{{$KNOUDS_CANARY}} {{key:full}} {{key:canary}} {{header:canary}} ${KNOUDS_CANARY}"
"""What stands for secrets in the harness' own evidence, and for a variable in a shell."""
FORMS: Final[dict[str, Callable[[str], str]]] = {
    "base64 in lines": lambda key: base64.encodebytes(f"user:{key}\n".encode() * 2).decode(),
    "base64 of base64": lambda key: base64.b64encode(base64.b64encode(key.encode())).decode(),
    "base64 in percent signs": lambda key: "".join(
        f"%{code:02x}" for code in base64.b64encode(f"?{key}".encode())
    ),
    "hexadecimal with colons": lambda key: key.encode().hex(":").upper(),
    "hexadecimal in percent signs": lambda key: "".join(f"%{ord(each):02X}" for each in key.encode().hex()),
    "escapes of bytes": lambda key: "".join(f"\\x{ord(each):02X}" for each in key),
    "percent signs twice": lambda key: "".join(f"%25{ord(each):02x}" for each in key),
    "HTML with zeros": lambda key: "".join(f"&#{ord(each):07};" for each in key),
    "HTML without semicolons": lambda key: "".join(f"&#x{ord(each):x}" for each in key),
    "spaces": " ".join,
    "zero-width spaces": "\u200b".join,
    "without prefix": lambda key: f"key {key.removeprefix('knouds_live_')}!",
}
"""Ways to write a key down that anybody can undo."""


@dataclass(frozen=True, kw_only=True)
class Leaks:
    """What the proxy gives away.

    Attributes:
        secrets: Keys and signing secrets, which must show nowhere at all.
        private: What besides must not show in anything that is kept for good.
    """

    secrets: Sequence[str]
    private: Sequence[str] = (COOKIE, TOKEN, SIGNATURE, EMAIL, USER_ID)


@contextmanager
def leaking(base_url: str, webhook_secret: str) -> Iterator[RawServer]:
    """Stand before a server and plant secrets in headers, bodies, URLs, error texts and broken HTTP."""
    upstream = urlsplit(base_url)

    def relay(server: RawServer, connection: socket.socket) -> None:
        while request := server.read_request(connection):
            head, _, body = request.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
            key = next((value for name, value in headers if name.lower() == "x-api-key"), "")
            status, answered, content = _asked(upstream.netloc, method, target, headers, body)
            if target.partition("?")[0] == _BROKEN_ON and key:
                connection.sendall(f"HTTP/1.1 200 OK\r\nX-Odd: a\0{key}\r\n\r\n".encode("latin-1"))
                return
            told = _told(key, webhook_secret)
            content = _escaped(_planted(json.loads(content), told), key) if content else b""
            answered += [
                ("X-Debug-Key", key),
                ("X-Debug-Hook", webhook_secret),
                ("Set-Cookie", f"session={COOKIE}; HttpOnly"),
                ("X-Forwarded-Url", told["url"]),
                ("content-length", str(len(content))),
            ]
            start = "".join(f"{name}: {value}\r\n" for name, value in answered)
            connection.sendall(f"HTTP/1.1 {status} Key {key}\r\n{start}\r\n".encode("latin-1") + content)

    with serving(relay) as server:
        yield server


def _asked(
    authority: str, method: str, target: str, headers: list[tuple[str, str]], body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    to_server = http.client.HTTPConnection(authority, timeout=30)
    try:
        to_server.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            if name.lower() not in ("host", "connection"):
                to_server.putheader(name, value)
        to_server.endheaders(body)
        answer = to_server.getresponse()
        kept = [
            pair for pair in answer.getheaders() if pair[0].lower() not in ("connection", "content-length")
        ]
        return answer.status, kept, answer.read()
    finally:
        to_server.close()


def _told(key: str, webhook_secret: str) -> dict[str, Any]:
    """Everything, in the forms in which servers give it away."""
    return {
        "apiKey": key,
        "shouted": key.upper(),
        "text": f"Traceback (most recent call last): KeyError: '{key}' with whsec {webhook_secret}",
        "authorization": f"Bearer {TOKEN}",
        "secret": webhook_secret,
        "url": f"https://media.example/a.png?X-Amz-Signature={SIGNATURE}&key={quote(key)}",
        "owner": {"userId": USER_ID, "email": EMAIL},
        "forms": {name: form(key) for name, form in FORMS.items() if key},
        "forged": FORGED,
        "list": [key, f"see {EMAIL}", f"token={TOKEN}"],
    }


def _planted(document: Any, told: dict[str, Any]) -> Any:
    if isinstance(document, list):
        return [*document, {"slug": "debug", "debug": told}]
    planted = {**document, "debug": told}
    if "success" in document:
        planted["success"] = told["apiKey"]  # where a check looks, and quotes what it sees
    if isinstance(document.get("user"), dict):
        planted["user"] = {**document["user"], "role": told["apiKey"]}
    if "code" in document:
        planted["code"] = told["apiKey"]
    if isinstance(document.get("error"), str):
        planted["error"] = f"{document['error']} {told['text']}"
    return planted


def _escaped(document: Any, key: str) -> bytes:
    """JSON with every other place of the key spelled with escapes, which are undone when it is read."""
    plain = json.dumps(document)
    if not key:
        return plain.encode()
    spelled = "".join(f"\\u{ord(char):04x}" for char in key)
    first, *rest = plain.split(key)
    return (first + "".join((spelled if at % 2 else key) + part for at, part in enumerate(rest))).encode()


def found_in(content: bytes, value: str) -> bool:
    """Whether a value shows in content: as it is, in other case, escaped, quoted, or inside of base64."""
    lower = _unescaped(content).lower()
    forms = {value, quote(value, safe=""), *(form(value) for form in FORMS.values())}
    spelled = {each for form in forms for each in (form, json.dumps(form)[1:-1])}
    if any(_unescaped(form.encode()).lower() in lower for form in spelled):
        return True
    return any(_in_base64(value, offset).encode() in content for offset in range(3))


def _unescaped(content: bytes) -> bytes:
    return re.sub(rb"\\+u00([0-9a-fA-F]{2})", lambda found: bytes.fromhex(found[1].decode()), content)


def _in_base64(value: str, offset: int) -> str:
    """What stands in base64 for all but the edges of a value that begins at this place of three."""
    encoded = base64.b64encode(b"\0" * offset + value.encode()).decode().rstrip("=")
    return encoded[4 if offset else 0 : -2]
