"""A proxy as real deployments have them in front of an API: it refuses, alters or delays what passes it."""

import json
import threading
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_OWN_HEADERS = ("connection", "content-length", "host", "transfer-encoding", "server", "date")


@dataclass(frozen=True, kw_only=True)
class Intermediary:
    """What a proxy does.

    Attributes:
        most_at_once: Above so many requests in flight it answers 503, as a balancer does.
        refuses_odd_texts: It answers 403 in HTML if a body has a mark of an attack, as a firewall does.
        most_bytes: It answers 413 to a longer body.
        tidies_texts: It trims texts in bodies, composes their characters and turns their line ends.
        delay_s: How long it holds each answer back.
    """

    most_at_once: int = 1_000_000
    refuses_odd_texts: bool = False
    most_bytes: int = 1_000_000_000
    tidies_texts: bool = False
    delay_s: float = 0.0


BALANCER = Intermediary(most_at_once=12)
FIREWALL = Intermediary(refuses_odd_texts=True)
SMALL_BODIES = Intermediary(most_bytes=65_536)
TIDY = Intermediary(tidies_texts=True)
SLOW = Intermediary(delay_s=0.12)
_ODD = (b"<b>", b"<script", b"../", b"' or ", b"{{", b"<!--", b"%00")


def tidied(value: Any) -> Any:
    """Return a value with each of its texts as a tidy server keeps it."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value.replace("\r\n", "\n").replace("\r", "\n")).strip()
    if isinstance(value, dict):
        return {name: tidied(member) for name, member in value.items()}
    return [tidied(item) for item in value] if isinstance(value, list) else value


def _tidied_body(body: bytes) -> bytes:
    try:
        return json.dumps(tidied(json.loads(body)), ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return body


@contextmanager
def in_front_of(base_url: str, does: Intermediary) -> Iterator[str]:  # noqa: C901 - one handler
    """Serve at a free port of loopback what the server at ``base_url`` answers; return the address."""
    behind = urlsplit(base_url)
    count, lock = [0], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        server_version, sys_version = "middlebox", ""

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            with lock:
                count[0] += 1
                is_busy = count[0] > does.most_at_once
            try:
                time.sleep(does.delay_s)
                if is_busy:
                    self.own(503, "text/plain", b"no healthy upstream")
                elif len(body) > does.most_bytes:
                    self.own(413, "text/html", b"<html>413 Request Entity Too Large</html>")
                elif does.refuses_odd_texts and any(each in body.lower() for each in _ODD):
                    self.own(403, "text/html", b"<!doctype html><html>Attention required</html>")
                else:
                    self.forward(_tidied_body(body) if does.tidies_texts and body else body)
            finally:
                with lock:
                    count[0] -= 1

        def forward(self, body: bytes) -> None:
            connection = HTTPConnection(behind.hostname or "", behind.port, timeout=30)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("host", behind.netloc)
            for name, value in self.headers.items():
                if name.lower() not in _OWN_HEADERS:
                    connection.putheader(name, value)
            if body or self.headers.get("content-length") is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            content = answer.read()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                    self.send_header(name, value)
            self.finish_with(content)
            connection.close()

        def own(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.finish_with(content)

        def finish_with(self, content: bytes) -> None:
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
        setattr(Handler, f"do_{method}", Handler.answer)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    with Server(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()
