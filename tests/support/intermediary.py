"""A proxy as real deployments have them in front of an API: it refuses, alters or delays what passes it."""

import json
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from raw_server import Answered, Relayed, proxying

_ODD = (b"<b>", b"<script", b"<!--", b"../", b"' or ", b"{{")


@dataclass(frozen=True, kw_only=True)
class Intermediary:
    """What a proxy does.

    Attributes:
        most_at_once: Above so many requests in flight it answers 503, as a balancer does.
        refuses_odd_texts: It answers 403 in HTML if a body has a mark of an attack, as a firewall does.
        most_bytes: It answers 413 to a longer body.
        tidies_texts: It trims texts, composes their characters and turns their line ends.
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


@contextmanager
def in_front_of(base_url: str, does: Intermediary) -> Iterator[str]:
    """Serve at a free port of loopback what the server at ``base_url`` answers; return the address."""
    in_flight = threading.Semaphore(does.most_at_once)

    def answer(relayed: Relayed, asked: Callable[[], Answered]) -> bytes:
        if not in_flight.acquire(blocking=False):
            return _own(relayed, 503, "text/plain", b"no healthy upstream")
        try:
            time.sleep(does.delay_s)
            if len(relayed.body) > does.most_bytes:
                return _own(relayed, 413, "text/html", b"<html>413 Request Entity Too Large</html>")
            if does.refuses_odd_texts and any(each in relayed.body.lower() for each in _ODD):
                return _own(relayed, 403, "text/html", b"<!doctype html><html>Attention required</html>")
            answered = asked()
            return (_tidied(answered) if does.tidies_texts else answered).in_bytes()
        finally:
            in_flight.release()

    with proxying(base_url, answer) as server:
        yield server.base_url


def _own(relayed: Relayed, status: int, kind: str, content: bytes) -> bytes:
    headers = [("content-type", kind), ("server", "middlebox")]
    answer = Answered(status=status, reason="", headers=headers, content=content).in_bytes()
    return answer.removesuffix(content) if relayed.method == "HEAD" else answer


def _tidied(answered: Answered) -> Answered:
    try:
        tidy = json.dumps(_tidy(json.loads(answered.content)), allow_nan=False)  # of 1e999
    except (ValueError, RecursionError):
        return answered
    return replace(answered, content=tidy.encode())


def _tidy(value: Any) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value.replace("\r\n", "\n").replace("\r", "\n")).strip()
    if isinstance(value, dict):
        return {name: _tidy(member) for name, member in value.items()}
    return [_tidy(item) for item in value] if isinstance(value, list) else value
