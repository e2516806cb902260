"""Patience with a target that throttles: a request that is refused for its rate is sent again, later."""

from collections.abc import Callable
from dataclasses import dataclass, field

from knouds_harness.exchange.evidence import Exchange, Request

_MOST_S = 200  # three windows: others may use the account too


@dataclass(kw_only=True)
class _WaitsInVain:
    """What was refused again after every wait.

    Attributes:
        operations: By operationId.
        total_s: Seconds waited since anything was admitted.
    """

    operations: set[str | None] = field(default_factory=set)
    total_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RateLimitRetry:
    """Sends again what got a 429.

    Attributes:
        pass_time: Lets so many seconds pass, on the clock of the target's windows.
    """

    pass_time: Callable[[float], None]
    _in_vain: _WaitsInVain = field(default_factory=_WaitsInVain, repr=False)

    def outlast(self, exchange: Exchange, send_again: Callable[[], Exchange]) -> Exchange:
        """Send a refused request again until it is admitted, each time when the refusal says.

        Where an operation was refused for longer than three windows, it is not waited for again until it is
        admitted; where all are refused for so long, for none.

        Returns:
            The answer; a 429 only where the target refuses it for longer than three windows.
        """
        operation, in_vain = exchange.request.operation_id, self._in_vain
        while exchange.status == 429 and operation not in in_vain.operations and in_vain.total_s < _MOST_S:
            wait_s = exchange.told_wait_s
            self.pass_time(wait_s)
            in_vain.total_s += wait_s
            exchange = send_again()
        if exchange.status == 429:
            in_vain.operations.add(operation)
        else:
            in_vain.operations.discard(operation)
            in_vain.total_s = 0.0
        return exchange


@dataclass(frozen=True, kw_only=True)
class RetryingSender:
    """Sends requests that belong to no test, such as questions for prices; waits where they are throttled.

    Attributes:
        send_once: Sends one request, once.
        rate_limit_retry: Waits and sends again after a 429.
    """

    send_once: Callable[[Request], Exchange]
    rate_limit_retry: RateLimitRetry

    def send(self, request: Request) -> Exchange:
        """Send until there is an answer other than a 429."""
        return self.rate_limit_retry.outlast(self.send_once(request), lambda: self.send_once(request))
