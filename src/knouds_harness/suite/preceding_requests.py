"""Steps: what was sent before an answer and may have led to it, by the running test or for what it names."""

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from knouds_harness.contract.operations import Action
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.execution_status import body_of
from knouds_harness.exchange.reproduction.sequence import ended_at

_SAYS_OF_ITSELF: Final = frozenset(
    {
        *("operation", "held", "path_values", "granted", "catalogue", "shapes", "secret", "tier", "limit"),
        *("deadline_s", "advanced_s", "slugs"),
    }
)
"""What checks are told of a request, of its key or of the profile, so that they compare nothing."""
_GIVEN: Final = ("slug", "executionId")
_GIVEN_BY_CONTROL: Final = ("name", "account")
_TEXT: Final = re.compile(rb'"([^"\\]+)"')


def compared_with(family: str, arguments: Mapping[str, object]) -> list[Exchange] | None:
    """Of what a check is told besides an answer, the other answers; None where it compares nothing.

    What usage lists rests on what was run before, whether or not anything is compared.
    """
    if arguments.keys() <= _SAYS_OF_ITSELF and family != "usage":
        return None
    found: list[Exchange] = []
    for value in arguments.values():
        several = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,)
        found += [each for each in several if isinstance(each, Exchange)]
    return found


class _Running(threading.local):
    """What the test that runs in the calling thread has sent, in order."""

    def __init__(self) -> None:
        self.sent: list[Exchange] = []
        self.is_sequence = False


class PrecedingRequests:
    """What belongs together of all that is sent: what a test sent, and all about what a request names."""

    def __init__(self) -> None:
        self._running = _Running()
        self._by_name: dict[str, list[Exchange]] = {}
        self._latest: Exchange | None = None

    def begin_test(self) -> None:
        """From here on, the calling thread runs another test."""
        self._running.sent, self._running.is_sequence = [], False

    def begin_sequence(self) -> None:
        """From here on, each request may be what the next ones depend on."""
        self._running.sent, self._running.is_sequence = [], True

    def end_sequence(self) -> None:
        """From here on, each request stands for itself again."""
        self.begin_test()

    def note(self, exchange: Exchange) -> None:
        """Take an exchange in, in the order of sending."""
        self._running.sent.append(exchange)
        self._latest = self._latest if exchange.is_control else exchange
        for name in _given_by(exchange):
            self._by_name.setdefault(name, []).append(exchange)
        for name in exchange.request.path_values.values():
            about = self._by_name.get(name)
            if about is not None and _may_change(exchange):
                about.append(exchange)

    @property
    def last_of_test(self) -> Exchange | None:
        """The last exchange of the running test; where it has sent nothing, the last one before it."""
        own = (each for each in reversed(self._running.sent) if not each.is_control)
        return next(own, self._latest)

    def of(self, exchange: Exchange, *, compared: Sequence[Exchange] | None = None) -> tuple[Exchange, ...]:
        """What shows an answer again: all that led to it, itself among it.

        That is what made the resources, keys and accounts that are named, and what changed them since. In a
        sequence it is all that the test had sent until it came, too; of an answer that was compared, all that
        the test has sent by now. Of an execution that was cancelled, it is what polls showed after it as
        well, which is what cancelling is about.

        Args:
            exchange: The answer.
            compared: The others that it was compared with, as far as known; None where it stands by itself.
        """
        sent = self._running.sent
        if compared is not None:
            seeds = [*sent, *compared, exchange]
        elif self._running.is_sequence and any(each.id == exchange.id for each in sent):
            seeds = [each for each in sent if each.started_at <= ended_at(exchange)]
        else:
            seeds = [exchange]
        last = max(map(_place, seeds))
        is_cancel = exchange.request.operation_id == "cancelExecution"
        found: dict[str, Exchange] = {}
        while seeds:
            each = seeds.pop()
            if each.id not in found:
                found[each.id] = each
                seeds += [
                    other
                    for name in _named_by(each)
                    for other in self._by_name.get(name, ())
                    if is_cancel or _place(other) <= last
                ]
        return tuple(sorted(found.values(), key=_place))


def _place(exchange: Exchange) -> tuple[int, str]:
    return len(exchange.id), exchange.id


def _given_by(exchange: Exchange) -> Iterator[str]:
    """The names under which an answer made something known."""
    body = body_of(exchange)
    if exchange.request.action is not Action.READ:
        for member in _GIVEN_BY_CONTROL if exchange.is_control else _GIVEN:
            if (
                isinstance(name := body.get(member), str)
                and name not in exchange.request.path_values.values()
            ):
                yield name


def _may_change(exchange: Exchange) -> bool:
    """Whether what a request names may be another since, or shows by itself how far it is."""
    if "id" in exchange.request.path_values:
        return True
    return exchange.request.action is Action.WRITE and exchange.is_success


def _named_by(exchange: Exchange) -> Iterable[str]:
    request = exchange.request
    yield from request.path_values.values()
    yield from request.path.split("/")  # a pollUrl leads to an execution, too
    yield from (value for _, value in request.query)
    if request.persona is not None:
        yield request.persona
    for found in _TEXT.findall(request.body or b""):
        yield found.decode("utf-8", "replace")
