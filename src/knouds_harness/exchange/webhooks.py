"""Webhook deliveries: receive and keep them; make, read and verify their signatures.

Source: docs, webhooks. ``X-Knouds-Signature: t=<unix seconds>,v1=<hex>`` with v1 = HMAC-SHA256(secret,
``<t>.<raw body>``); refuse a delivery signed more than 300 s from now; compare in constant time.
"""

import hashlib
import hmac
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self

from knouds_harness.errors import UsageError
from knouds_harness.exchange.evidence import JSON, Exchange, Pairs, Request, members_of, parsed_json
from knouds_harness.exchange.redaction import Redactor

HEADER: Final = "X-Knouds-Signature"
WINDOW_S: Final = 300

# Further parts may be appended, which is additive; t and v1 come first, as documented.
_FORM = re.compile(r"t=(0|[1-9][0-9]{0,18}),v1=([0-9a-fA-F]{64})(?:,\w+=[^,\s]*)*", re.ASCII)


class SignatureRefused(ValueError):
    """A delivery must not be trusted; the message says why, without a secret."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The parts of the signature header."""

    at_unix_s: int
    digest: str

    @classmethod
    def read(cls, header: str) -> Self | None:
        """Read a header; return None if it does not have the documented form."""
        found = _FORM.fullmatch(header)
        return cls(at_unix_s=int(found[1]), digest=found[2].lower()) if found else None

    def covers(self, body: bytes, *, secret: str) -> bool:
        """Return whether it is the signature of these bytes with this secret; compares in constant time."""
        return hmac.compare_digest(self.digest, _digest(body, secret=secret, at_unix_s=self.at_unix_s))

    def is_fresh(self, now_unix_s: float) -> bool:
        """Return whether it was signed at most 300 s before or after now."""
        return abs(now_unix_s - self.at_unix_s) <= WINDOW_S


def sign(body: bytes, *, secret: str, at_unix_s: int) -> str:
    """Return the header's value for a raw body signed at ``at_unix_s``."""
    return f"t={at_unix_s},v1={_digest(body, secret=secret, at_unix_s=at_unix_s)}"


def verify(body: bytes, header: str, *, secret: str, now_unix_s: float) -> None:
    """Verify the signature of a delivery.

    Raises:
        SignatureRefused: The header is malformed, too old or too new, or does not match the body.
    """
    signature = Signature.read(header)
    if signature is None:
        raise SignatureRefused(f"{HEADER} is not t=<unix seconds>,v1=<hex>")
    if not signature.is_fresh(now_unix_s):
        raise SignatureRefused(f"{HEADER} is more than {WINDOW_S} s away from now")
    if not signature.covers(body, secret=secret):
        raise SignatureRefused(f"{HEADER} does not match the body and the secret")


def _digest(body: bytes, *, secret: str, at_unix_s: int) -> str:
    return hmac.new(secret.encode(), f"{at_unix_s}.".encode() + body, hashlib.sha256).hexdigest()


HOST: Final = "127.0.0.1"
MOST_BYTES: Final = 1_000_000
"""The most bytes of a body that are read; deliveries of this API have about a thousand."""
_MOST_KEPT_BYTES: Final = 32_000_000
_OVERHEAD_BYTES: Final = 2_000
_MOST_AT_ONCE: Final = 100
_IDLE_S: Final = 10.0
_TAKEN, _REFUSED = 204, 503
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}")


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One POST as received, not redacted; numbers count deliveries in order of arrival, from 1."""

    number: int
    path: str
    headers: Pairs
    body: bytes
    received_at: datetime
    status: int

    @cached_property
    def size_bytes(self) -> int:
        return _OVERHEAD_BYTES + len(self.body) + sum(len(name) + len(value) for name, value in self.headers)

    @cached_property
    def execution_id(self) -> str | None:
        named = members_of(payload_of(self.body)).get("executionId")
        return named if isinstance(named, str) else None

    @cached_property
    def is_test(self) -> bool:
        """Whether it only tests the webhook, and belongs to no execution."""
        return members_of(payload_of(self.body)).get("event") == "webhook.test"

    @property
    def is_taken(self) -> bool:
        return self.status == _TAKEN

    @property
    def signature(self) -> str:
        return next((value for name, value in self.headers if name.lower() == HEADER.lower()), "")

    def as_exchange(self, url: str, redactor: Redactor) -> Exchange:
        request = Request(method="POST", path=self.path, headers=self.headers, body=self.body)
        redacted = redactor.request(request)
        return Exchange(
            id=f"w{self.number:05d}",
            request=redacted,
            url=url,
            sent_headers=redacted.headers,
            status=self.status,
            headers=(),
            body=b"",
            started_at=self.received_at,
            elapsed_ms=0.0,
            is_delivery=True,
        )


def payload_of(body: bytes | None) -> JSON:
    return parsed_json(body or b"")[0]


class Receiver:
    """Receives deliveries in threads until its context ends; to limit memory, the largest are dropped."""

    def __init__(self, host: str = HOST, port: int = 0) -> None:
        """Bind the port, and start to receive."""
        self._arrived = threading.Condition()
        self.dropped = 0
        self._deliveries: list[Delivery] = []
        self._kept_bytes = 0
        self._is_to_refuse: Callable[[Delivery], bool] | None = None
        self._refused: set[tuple[str, str | None]] = set()
        self._came = 0
        self._host = host
        self._server = _bound(host, port, _handler(self._take))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> tuple[str, int]:
        return self._host, self._server.server_address[1]

    def url(self, path: str) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.address[1]}{path}"

    def refuse_first(self, is_meant: Callable[[Delivery], bool]) -> None:
        """Refuse the first delivery of each execution, if ``is_meant`` selects it; accept later attempts."""
        with self._arrived:
            self._is_to_refuse = is_meant
            self._refused.clear()

    def take_all(self) -> None:
        with self._arrived:
            self._is_to_refuse = None

    @property
    def deliveries(self) -> list[Delivery]:
        with self._arrived:
            return list(self._deliveries)

    def wait_until(self, has_come: Callable[[Sequence[Delivery]], bool], *, timeout_s: float) -> bool:
        with self._arrived:
            return self._arrived.wait_for(lambda: has_come(self._deliveries), timeout_s)

    def _take(self, path: str, headers: Pairs, body: bytes) -> int:
        with self._arrived:
            self._came += 1
            delivery = Delivery(
                number=self._came,
                path=path,
                headers=headers,
                body=body,
                received_at=datetime.fromtimestamp(time.time(), UTC),
                status=_TAKEN,
            )
            attempted = (path, delivery.execution_id)
            if self._is_to_refuse and self._is_to_refuse(delivery) and attempted not in self._refused:
                self._refused.add(attempted)
                delivery = replace(delivery, status=_REFUSED)
            self._deliveries.append(delivery)
            self._kept_bytes += delivery.size_bytes
            while self._kept_bytes > _MOST_KEPT_BYTES:
                largest = max(self._deliveries, key=lambda each: each.size_bytes)
                self._deliveries.remove(largest)
                self._kept_bytes -= largest.size_bytes
                self.dropped += 1
            self._arrived.notify_all()
            return delivery.status


def _bound(host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Print nothing: the sender closed the connection."""

    try:
        return Server((host, port), handler)
    except OSError as problem:
        raise UsageError(
            f"deliveries cannot be received at {host} port {port}: {problem.strerror or problem}\n"
            "  webhook.listen has to be an address of this machine, and a port that is free and may be used."
        ) from None


def _handler(take: Callable[[str, Pairs, bytes], int]) -> type[BaseHTTPRequestHandler]:
    reading = threading.BoundedSemaphore(_MOST_AT_ONCE)

    class Handler(BaseHTTPRequestHandler):
        """Passes each POST to ``take``; http.server refuses other methods."""

        protocol_version = "HTTP/1.1"
        timeout = _IDLE_S

        def do_POST(self) -> None:
            with reading:
                is_chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
                body = _chunks(self) if is_chunked else self.rfile.read(self._length())
                status = take(self.path, tuple(self.headers.items()), body)
            if len(body) >= MOST_BYTES:
                self.close_connection = True  # the rest of the body is not a request
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

        def _length(self) -> int:
            text = self.headers.get("content-length", "0")
            return min(int(text), MOST_BYTES) if text.isascii() and text.isdigit() else 0

    return Handler


def _chunks(handler: BaseHTTPRequestHandler) -> bytes:
    body = bytearray()
    while len(body) < MOST_BYTES:
        size_text = handler.rfile.readline(64).partition(b";")[0].strip()
        size = int(size_text, 16) if _CHUNK_SIZE.fullmatch(size_text) else 0
        body += handler.rfile.read(min(size, MOST_BYTES - len(body)))
        handler.rfile.readline(8)
        if size == 0:
            break
    return bytes(body)
