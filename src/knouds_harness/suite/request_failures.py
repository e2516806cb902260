"""How tests go on after a 429, and when they stop sending to a target that no longer responds."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from knouds_harness.errors import TargetUnreachable
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Exchange, Request
from knouds_harness.exchange.profile_check import health_request
from knouds_harness.suite.untested import Untested

_MOST_WAITED_S = 200  # three windows: others may use the account too
_MOST_FAILURES_IN_A_ROW = 5
_MOST_FAILURES_OF_ONE = 10


@dataclass(kw_only=True)
class RateLimitRetry:
    """Sends a request again after a 429."""

    pass_time: Callable[[float], None]
    """Lets that many seconds pass on the clock of the target's rate-limit windows."""
    _refused: set[str | None] = field(default_factory=set)
    _waited_in_vain_s: float = 0.0

    def retry(self, exchange: Exchange, send_again: Callable[[], Exchange]) -> Exchange:
        """Send a refused request again, each time when the 429 says, for at most three windows.

        An operation that was refused for longer is not waited for again until it is admitted. If nothing was
        admitted for that long, nothing is waited for.
        """
        operation = exchange.request.operation_id
        while (
            exchange.status == 429
            and operation not in self._refused
            and self._waited_in_vain_s < _MOST_WAITED_S
        ):
            wait_s = exchange.retry_after_s
            self.pass_time(wait_s)
            self._waited_in_vain_s += wait_s
            exchange = send_again()
        if exchange.status == 429:
            self._refused.add(operation)
        else:
            self._refused.discard(operation)
            self._waited_in_vain_s = 0.0
        return exchange


class FailureLimit:
    """Counts requests that got no complete response."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._in_a_row = 0
        self._by_place: Counter[str] = Counter()

    def check(self, request: Request) -> None:
        """Leave the test untested if too many such requests got no response."""
        place = place_of(request)
        if self._by_place[place] >= _MOST_FAILURES_OF_ONE:
            raise Untested(f"a complete response from {place}: {_MOST_FAILURES_OF_ONE} requests got none")

    def count(self, exchange: Exchange) -> None:
        """End the run if the target is gone; go on if it still responds to other requests.

        Raises:
            TargetUnreachable: Several requests in a row got no response, and this one is among them.
        """
        if exchange.status is not None:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        self._by_place[place_of(exchange.request)] += 1
        if self._in_a_row < _MOST_FAILURES_IN_A_ROW:
            return
        if self._client.send(health_request()).status is None:
            raise TargetUnreachable(
                f"{self._client.target.base_url}: {exchange.failure}\n"
                f"  {self._in_a_row} requests in a row got no response; findings so far are kept."
            )
        self._in_a_row = 0


def place_of(request: Request) -> str:
    """Return what a request is called in messages: its operation, or method and path."""
    return request.operation_id or f"{request.method} {request.path}"
