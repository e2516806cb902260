"""What every handler is given: the request, who sends it, and the parts of the server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from starlette.requests import Request

from knouds_harness.sandbox.accounts import Account, Key
from knouds_harness.sandbox.engine import Engine
from knouds_harness.sandbox.providers import Latency
from knouds_harness.sandbox.rate_limits import RateLimiter
from knouds_harness.sandbox.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """The parts of one running sandbox.

    ``judges_key_last`` is a variant's order of checks; ``polls_after_end`` counts for a fault.
    """

    store: Store
    engine: Engine
    limiter: RateLimiter
    latency: Latency
    seed: int
    faults: frozenset[str]
    control_token: str | None
    judges_key_last: bool = False
    polls_after_end: Iterator[int] = field(default_factory=itertools.count)


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One authenticated request that may go on."""

    request: Request
    key: Key
    services: Services

    @property
    def account(self) -> Account:
        """The account that the key belongs to."""
        return self.key.account

    @property
    def store(self) -> Store:
        """The database."""
        return self.services.store

    @property
    def faults(self) -> frozenset[str]:
        """Promises to break."""
        return self.services.faults

    def path_value(self, name: str) -> str:
        """A path parameter as sent; only unreserved characters in it are percent-decoded."""
        value: str = self.request.path_params[name]
        return value
