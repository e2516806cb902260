"""What never ends, was refused with a 429, or got no response."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from knouds_harness.contract.operations import IN_FLIGHT
from knouds_harness.errors import TargetUnreachable
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Exchange, Request, status_in
from knouds_harness.exchange.pricing import resource_named
from knouds_harness.exchange.profile_check import HEALTH
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.profile import Target

DEADLINE_S: Final = 60.0
"""How long an execution is awaited if the profile has no deadline."""
ENDS_IN_TIME: Final = "execution.ends-in-time"
_OWN_ENDS: Final = ("completed", "failed")
"""A cancelled execution does not count: it might never have ended."""
_MOST_WAITED_S = 200  # three windows: others may use the account too
_MOST_FAILURES_IN_A_ROW = 5
_MOST_FAILURES_OF_ONE = 10


def never_ending(executions: Iterable[Sequence[Exchange]], target: Target) -> tuple[str, ...]:
    """Return the keys with an overdue execution, if no execution of their account was seen to end.

    Of each execution, ``executions`` has the submit, and what was sent about it afterwards.
    """
    account_by_key: dict[str, str] = {}
    ended: set[str] = set()
    for submit, *later in executions:
        name = submit.request.persona or ""
        resource = resource_named(submit.request.path, target)
        account = target.personas[name].user if name in target.personas else name
        deadline_s = (resource.deadline_s if resource else None) or DEADLINE_S
        due_at = submit.started_at + timedelta(seconds=deadline_s)
        for poll in (each for each in later if each.request.operation_id == "getExecution"):
            if status_in(poll) in _OWN_ENDS:
                ended.add(account)
            elif status_in(poll) in IN_FLIGHT and poll.started_at >= due_at:
                account_by_key[name] = account
    return tuple(key for key, account in account_by_key.items() if account not in ended)


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
        if self._client.send(HEALTH).status is None:
            raise TargetUnreachable(
                f"{self._client.target.base_url}: {exchange.failure}\n"
                f"  {self._in_a_row} requests in a row got no response; findings so far are kept."
            )
        self._in_a_row = 0


def place_of(request: Request) -> str:
    """Return what a request is called in messages: its operation, or method and path."""
    return request.operation_id or f"{request.method} {request.path}"
