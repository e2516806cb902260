"""A receiver of webhook deliveries on loopback; it keeps what comes and refuses what it is told to."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

from knouds_harness.contract.operations import Action
from knouds_harness.exchange.evidence import JSON, Exchange, Pairs, Request
from knouds_harness.exchange.redaction import Redactor

HOST: Final = "127.0.0.1"
_MOST_BYTES: Final = 10_000_000
_IDLE_S: Final = 10.0
_TAKEN, _REFUSED = 204, 503
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}")


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One POST as it came, before anything is redacted.

    Attributes:
        number: The first to come is 1.
        path: Where it was sent.
        headers: As sent.
        body: The raw bytes.
        received_at: Aware UTC.
        status: What it was answered with.
    """

    number: int
    path: str
    headers: Pairs
    body: bytes
    received_at: datetime
    status: int

    @property
    def is_taken(self) -> bool:
        """Whether the receiver took it."""
        return self.status == _TAKEN

    def as_exchange(self, url: str, redactor: Redactor) -> Exchange:
        """The delivery as evidence: the target's request, and the receiver's answer."""
        request = Request(
            method="POST", path=self.path, headers=self.headers, body=self.body, action=Action.WRITE
        )
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
        )


def payload_of(body: bytes | None) -> JSON:
    """The body of a delivery as JSON; None where it is none."""
    try:
        return json.loads((body or b"").decode())
    except (ValueError, RecursionError):
        return None


class Receiver:
    """Listens on a free port of loopback while its context is open; each path is a mailbox of its own."""

    def __init__(self) -> None:
        """Listen on nothing yet."""
        self._arrived = threading.Condition()
        self._deliveries: list[Delivery] = []
        self._to_refuse: dict[str, int] = {}
        self._server = ThreadingHTTPServer((HOST, 0), _handler(self._take))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, path: str) -> str:
        """The address of a mailbox."""
        return f"http://{HOST}:{self._server.server_address[1]}{path}"

    def refuse(self, path: str, *, times: int) -> None:
        """Refuse the next deliveries to a mailbox."""
        with self._arrived:
            self._to_refuse[path] = times

    def deliveries(self, path: str) -> list[Delivery]:
        """What has come to a mailbox, refused deliveries too, in order."""
        with self._arrived:
            return [each for each in self._deliveries if each.path == path]

    def wait_until(self, has_come: Callable[[Sequence[Delivery]], bool], *, timeout_s: float) -> bool:
        """Wait until what has come, to all mailboxes, is enough.

        Returns:
            Whether it came in time.
        """
        with self._arrived:
            return self._arrived.wait_for(lambda: has_come(self._deliveries), timeout_s)

    def _take(self, path: str, headers: Pairs, body: bytes) -> int:
        with self._arrived:
            left = self._to_refuse.get(path, 0)
            self._to_refuse[path] = max(0, left - 1)
            delivery = Delivery(
                number=len(self._deliveries) + 1,
                path=path,
                headers=headers,
                body=body,
                received_at=datetime.fromtimestamp(time.time(), UTC),
                status=_REFUSED if left else _TAKEN,
            )
            self._deliveries.append(delivery)
            self._arrived.notify_all()
            return delivery.status


def _handler(take: Callable[[str, Pairs, bytes], int]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Hands each POST over; whatever else comes is none of its business."""

        protocol_version = "HTTP/1.1"
        timeout = _IDLE_S

        def do_POST(self) -> None:
            body = _chunks(self) if self._is_chunked() else self.rfile.read(self._length())
            status = take(self.path, tuple(self.headers.items()), body)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _is_chunked(self) -> bool:
            return self.headers.get("transfer-encoding", "").lower() == "chunked"

        def _length(self) -> int:
            text = self.headers.get("content-length", "0")
            return min(int(text), _MOST_BYTES) if text.isascii() and text.isdigit() else 0

    return Handler


def _chunks(handler: BaseHTTPRequestHandler) -> bytes:
    body = bytearray()
    while len(body) < _MOST_BYTES:
        size_text = handler.rfile.readline(64).partition(b";")[0].strip()
        size = int(size_text, 16) if _CHUNK_SIZE.fullmatch(size_text) else 0
        body += handler.rfile.read(min(size, _MOST_BYTES))
        handler.rfile.readline(8)
        if size == 0:
            break
    return bytes(body)
