"""Webhook deliveries of executions that ended under load: taken, counted, and matched with polls."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from gevent.pywsgi import WSGIServer

from knouds_harness.errors import UsageError
from knouds_harness.exchange.signature import HEADER
from knouds_harness.exchange.webhook_receiver import MOST_BYTES, payload_of
from knouds_harness.load.invariants.invariants import ONE_DELIVERY
from knouds_harness.load.invariants.tallies import Tallies

_MOST_AT_ONCE: Final = 100
_MOST_HASHES: Final = 200_000
_SIGNATURE: Final = f"HTTP_{HEADER.upper().replace('-', '_')}"


@dataclass(frozen=True, kw_only=True)
class Post:
    """What came: the raw body, the header with its signature (or nothing), and when."""

    body: bytes
    signature: str
    at_unix_s: float


class DeliveryMatch:
    """Which executions have to be delivered, and how often each was: of all, or of an even share of them.

    An execution is in the share by its hash, so that memory is bounded and each that is in it followed whole.
    """

    def __init__(self, *, most: int = _MOST_HASHES) -> None:
        """Begin with none.

        Args:
            most: How many to remember at once; beyond it, the share is halved.
        """
        self.is_reached = False
        """Whether any delivery came at all."""
        self._most = most
        self._mask = 0
        self._expected: set[int] = set()
        self._came: Counter[int] = Counter()

    def expect(self, hashes: bytes) -> None:
        """These have ended; eight bytes stand for each."""
        self._expected.update(number for number in array("Q", hashes) if not number & self._mask)
        self._bound()

    def take(self, hashed: bytes) -> None:
        """One was delivered."""
        self.is_reached = True
        (number,) = array("Q", hashed)
        if not number & self._mask:
            self._came[number] += 1
            self._bound()

    @property
    def are_all_here(self) -> bool:
        """Whether each that has to be delivered was."""
        return self._expected <= self._came.keys()

    def judge(self, tallies: Tallies) -> None:
        """Count in how each fared."""
        numbers = [self._came[each] for each in self._expected]
        tallies.see(*ONE_DELIVERY, len(numbers))
        for broken, words in (
            (sum(each == 0 for each in numbers), "was not delivered"),
            (sum(each > 1 for each in numbers), "was delivered more than once"),
        ):
            if broken:
                tallies.break_(*ONE_DELIVERY, count=broken, example=f"an execution {words}")

    def _bound(self) -> None:
        while max(len(self._expected), len(self._came)) > self._most:
            self._mask = self._mask * 2 + 1
            self._expected = {each for each in self._expected if not each & self._mask}
            self._came = Counter({each: n for each, n in self._came.items() if not each & self._mask})


class DeliveryServer:
    """Takes every delivery while its context is open.

    Attributes:
        on_post: Gets each POST as it came.
        on_delivery: Told the executionId of each delivery that has one.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        """Bind the port.

        Args:
            address: Host and port of this machine.

        Raises:
            UsageError: The port cannot be bound.
        """
        self.on_post: Callable[[Post], object] | None = None
        self.on_delivery: Callable[[str], object] | None = None
        self._server = WSGIServer(address, self._answer, log=None, error_log=None, spawn=_MOST_AT_ONCE)
        try:
            self._server.start()
        except OSError as problem:
            host, port = address
            raise UsageError(
                f"deliveries cannot be received at {host} port {port}: {problem.strerror or problem}\n"
                "  Stop what listens there, or lead webhook.url to another port and name that in listen."
            ) from None

    def __enter__(self) -> Self:
        return self

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_port or 0)

    def __exit__(self, *_: object) -> None:
        self._server.stop(timeout=0)

    def _answer(
        self, environ: Mapping[str, Any], start: Callable[[str, list[tuple[str, str]]], object]
    ) -> Iterable[bytes]:
        try:
            body = environ["wsgi.input"].read(MOST_BYTES)
        except OSError:  # the sender has hung up, or sends no HTTP
            start("400 Bad Request", [])
            return ()
        if self.on_post:
            self.on_post(Post(body=body, signature=environ.get(_SIGNATURE, ""), at_unix_s=time.time()))
        payload = payload_of(body)
        execution_id = payload.get("executionId") if isinstance(payload, dict) else None
        if self.on_delivery and isinstance(execution_id, str):
            self.on_delivery(execution_id)
        start("204 No Content", [])
        return ()
