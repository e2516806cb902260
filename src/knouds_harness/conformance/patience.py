"""Patience with a target that throttles: a request that is refused for its rate is sent again, later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from knouds_harness.contract.tiers import WINDOW_S
from knouds_harness.exchange.evidence import Exchange, Request

_LONGEST_WAIT_S = 65
_MOST_S = 200  # three windows: others may use the account too


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Sends again what got a 429.

    Attributes:
        pass_time: Lets so many seconds pass, on the clock of the target's windows.
    """

    pass_time: Callable[[float], None]

    def outlast(self, exchange: Exchange, send_again: Callable[[], Exchange]) -> Exchange:
        """Send a refused request again until it is admitted, each time when the refusal says.

        Returns:
            The answer; a 429 only where the target refuses it for longer than three windows.
        """
        waited_s = 0.0
        while exchange.status == 429 and waited_s < _MOST_S:
            wait_s = told_wait_s(exchange)
            self.pass_time(wait_s)
            waited_s += wait_s
            exchange = send_again()
        return exchange


def told_wait_s(exchange: Exchange) -> int:
    """How long a 429 asks to wait: at least a second, and little more than a window, whatever it says."""
    told = exchange.header("retry-after") or ""
    return min(max(int(told), 1), _LONGEST_WAIT_S) if told.isascii() and told.isdigit() else WINDOW_S


@dataclass(frozen=True, kw_only=True)
class PatientSender:
    """Sends requests that belong to no test, such as questions for prices, with patience.

    Attributes:
        send_once: Sends one request, once.
        patience: With 429s.
    """

    send_once: Callable[[Request], Exchange]
    patience: Patience

    def send(self, request: Request) -> Exchange:
        """Send until there is an answer other than a 429."""
        return self.patience.outlast(self.send_once(request), lambda: self.send_once(request))
