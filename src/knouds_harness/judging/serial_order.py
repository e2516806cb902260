"""A linearizability checker: whether some serial order explains the responses to overlapping requests.

Each request takes effect at one moment between its start and its end. A history is consistent if its requests
can be ordered so that a model, which handles one request at a time, gives the same responses. Why this is our
own, and how it searches: docs/decisions/serial-orders.md.
"""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeVar

from knouds_harness.exchange.evidence import Exchange

T = TypeVar("T")

MOST_STEPS: Final = 300_000
"""Calls of the model after which a history is undecided; a time limit would depend on the machine."""
_CLOCK_S: Final = 0.001  # assumed precision of the times of exchanges
_MOST_ROWS: Final = 12
_BAR: Final = 24


@dataclass(frozen=True, kw_only=True)
class TimedRequest(Generic[T]):
    """One request of a history.

    Attributes:
        began_s: The earliest time at which it can have taken effect, in seconds on the history's clock.
        ended_s: The latest such time; infinite if it may take effect at any later time, or never.
        what: The request and its response, as the model understands them.
    """

    began_s: float
    ended_s: float
    what: T


@dataclass(frozen=True, kw_only=True)
class SerialModel(Generic[T]):
    """Which responses are possible, one request at a time.

    Attributes:
        initial: Returns the possible initial states of a partition, by its name.
        step: Returns the states that may follow from a state and a part of a request; none if the response is
            impossible in that state, several if the effect is uncertain.
        partition: Splits a request into parts, each with the name of what it is about, such as one member of
            one workflow. Parts of different names are judged apart.
        is_read: Whether a part never changes the state.
        describe: Describes in a few words what a request and its response say about a name.
    """

    initial: Callable[[str], Collection[Hashable]]
    step: Callable[[Any, Any], Collection[Hashable]]
    partition: Callable[[T], Iterable[tuple[str, object]]] = lambda what: [("", what)]
    is_read: Callable[[Any], bool] = lambda _: False
    describe: Callable[[T, str], str] = lambda what, _: str(what)


class Access(NamedTuple):
    is_write: bool
    value: Hashable


def register(
    initial: Callable[[str], Collection[Hashable]],
    partition: Callable[[T], Iterable[tuple[str, Access]]],
    describe: Callable[[T, str], str],
) -> SerialModel[T]:
    """Return the model of registers: each read shows the last written value."""
    return SerialModel(
        initial=initial,
        step=lambda state, access: (access.value,) if access.is_write or access.value == state else (),
        partition=partition,
        is_read=lambda access: not access.is_write,
        describe=describe,
    )


@dataclass(frozen=True, kw_only=True)
class HistoryContradiction(Generic[T]):
    """The shortest part of a history that no order explains.

    Attributes:
        before: The states that were possible before these requests.
        requests: Ordered by start.
        last: The request whose response is impossible, given the others.
    """

    name: str
    before: Collection[Hashable]
    requests: Sequence[TimedRequest[T]]
    last: TimedRequest[T]
    describe: Callable[[T, str], str]

    def __str__(self) -> str:
        *others, last = [
            self.describe(each.what, self.name)
            for each in sorted(self.requests, key=lambda each: each is self.last)
        ]
        return f"no order explains {last}" + (f", after {'; '.join(others)}" if others else "")

    def picture(self) -> str:
        """Draw a line per request: start, bar on a common time axis, description. Of many, draw the last."""
        start_s = self.requests[0].began_s
        span_s = max(self.last.ended_s - start_s, 1e-6)
        lines = []
        for each in self.requests[-_MOST_ROWS:]:
            ended_s = min(each.ended_s, self.last.ended_s)
            first, last = (int((at_s - start_s) / span_s * (_BAR - 1)) for at_s in (each.began_s, ended_s))
            bar = " " * first + "=" * (last - first + 1)
            if each.ended_s > self.last.ended_s:
                bar = bar[:-1] + ">"
            mark = "  <- fits no order" if each is self.last else ""
            began_ms = (each.began_s - start_s) * 1e3
            lines.append(f"{began_ms:8.1f} ms |{bar:<{_BAR}}| {self.describe(each.what, self.name)}{mark}")
        if len(self.requests) > _MOST_ROWS:
            lines.insert(0, f"… after {len(self.requests) - _MOST_ROWS} earlier requests")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class HistoryVerdict(Generic[T]):
    """Whether some order explains a history, None if undecided; then the states that may follow it."""

    is_consistent: bool | None
    contradiction: HistoryContradiction[T] | None = None
    states: Mapping[str, Collection[Hashable]] = field(default_factory=dict)


def judge_history(
    model: SerialModel[T], history: Iterable[TimedRequest[T]], *, most_steps: int = MOST_STEPS
) -> HistoryVerdict[T]:
    """Find out whether some order explains a history, with at most ``most_steps`` model calls per partition.

    Returns:
        A contradiction if any partition has one, even if another partition is undecided.
    """
    parts_by_name: dict[str, list[_Part[T]]] = defaultdict(list)
    for request in history:
        for name, part in model.partition(request.what):
            parts_by_name[name].append(_Part(part, model.is_read(part), request))
    states: dict[str, Collection[Hashable]] = {}
    is_undecided = False
    for name, parts in parts_by_name.items():
        search = _Search(model, most_steps)
        try:
            found = search.contradiction(name, parts)
        except _TooManySteps:
            is_undecided = True
            continue
        if found is not None:
            return HistoryVerdict(is_consistent=False, contradiction=found)
        states[name] = search.states
    return HistoryVerdict(is_consistent=None if is_undecided else True, states=states)


class _Part(NamedTuple, Generic[T]):
    """What a request says about one name."""

    what: object
    is_read: bool
    request: TimedRequest[T]


class _Config(NamedTuple):
    """A possible situation: a state, and which open requests have taken effect, as bits."""

    state: Hashable
    done: int


class _TooManySteps(Exception):
    pass


class _Search(Generic[T]):
    """Follows all possible situations from event to event: a request begins or ends."""

    def __init__(self, model: SerialModel[T], most_steps: int) -> None:
        self.states: Collection[Hashable] = ()
        self._model = model
        self._steps_left = most_steps

    def contradiction(self, name: str, parts: Sequence[_Part[T]]) -> HistoryContradiction[T] | None:
        """Return the shortest contradiction in the parts of one name; None if there is none."""
        found = self._first_unexplained(parts, self._model.initial(name))
        if found is None:
            return None
        last, before, window = found
        reads = [each for each in window if each.is_read and each is not last]
        # leaving out reads adds no contradiction: first all of them, then each
        for needless in (reads, *([each] for each in reads if len(reads) <= _MOST_ROWS)):
            kept = [each for each in window if not any(each is one for one in needless)]
            again = self._first_unexplained(kept, before)
            if again is not None and again[0] is last:
                window = kept
        requests = sorted((each.request for each in window), key=lambda each: each.began_s)
        return HistoryContradiction(
            name=name, before=before, requests=requests, last=last.request, describe=self._model.describe
        )

    def _first_unexplained(
        self, parts: Sequence[_Part[T]], initial: Collection[Hashable]
    ) -> tuple[_Part[T], Collection[Hashable], list[_Part[T]]] | None:
        """Return the first impossible response, the states that were possible before, and all parts since.

        "Before" is the last instant without an open request that a write followed.
        """
        began = [(each.request.began_s, False, number) for number, each in enumerate(parts)]
        ended = [(each.request.ended_s, True, number) for number, each in enumerate(parts)]
        configs = {_Config(state, 0) for state in initial}
        opened: dict[int, _Part[T]] = {}
        optional = 0
        window: list[_Part[T]] = []
        quiet = [(initial, 0)]  # the last two such instants: the states then, and how many parts had begun
        is_written = False
        for _, is_end, number in sorted(began + [each for each in ended if each[0] < math.inf]):
            part = parts[number]
            if is_end:
                configs = self._after(configs, number, opened, optional)
                del opened[number]
                if not configs:
                    before, start = quiet[-1] if is_written else quiet[0]
                    return part, before, window[start:]
                continue
            if is_written and not opened:
                quiet = [quiet[-1], ({each.state for each in configs}, len(window))]
                is_written = False
            opened[number] = part
            window.append(part)
            if part.is_read:
                configs = {self._with_reads(config, {number: part}) for config in configs}
            else:
                is_written = True
                optional |= (part.request.ended_s == math.inf) << number
        self.states = frozenset(config.state for config in configs)
        return None

    def _after(
        self, configs: Iterable[_Config], number: int, opened: Mapping[int, _Part[T]], optional: int
    ) -> set[_Config]:
        """Return what is possible once a request has taken effect; other open ones may have done so first.

        Of otherwise equal configs, those stay that have used the fewest optional requests (writes that may
        never take effect).
        """
        bit = 1 << number
        after = set()
        used: dict[tuple[Hashable, int], list[int]] = defaultdict(list)
        reached = deque(sorted(configs, key=lambda each: each.done.bit_count()))
        while reached:
            config = reached.popleft()
            known, taken = used[config.state, config.done & ~optional], config.done & optional
            if any(each & taken == each for each in known):
                continue
            known.append(taken)
            if config.done & bit:
                after.add(_Config(config.state, config.done & ~bit))
                continue
            for other, part in opened.items():
                if config.done >> other & 1 or (part.is_read and other != number):
                    continue  # an open read took effect in the first state that matches it
                for state in self._step(config.state, part.what):
                    reached.append(self._with_reads(_Config(state, config.done | 1 << other), opened))
        return after

    def _with_reads(self, config: _Config, opened: Mapping[int, _Part[T]]) -> _Config:
        """Let all open reads that match the state take effect: doing so early rules nothing out."""
        done = config.done
        for number, part in opened.items():
            if part.is_read and not done >> number & 1:
                done |= bool(self._step(config.state, part.what)) << number
        return _Config(config.state, done)

    def _step(self, state: Hashable, part: object) -> Collection[Hashable]:
        self._steps_left -= 1
        if self._steps_left < 0:
            raise _TooManySteps
        return self._model.step(state, part)


def steps_of(exchanges: Iterable[Exchange]) -> list[TimedRequest[Exchange]]:
    """Turn exchanges into a history. After a 5xx, or no response, one may take effect later or never."""
    steps = []
    for exchange in exchanges:
        is_certain = exchange.status is not None and exchange.status < 500
        began_s = exchange.started_at.timestamp()
        ended_s = began_s + exchange.elapsed_ms / 1000 + _CLOCK_S if is_certain else math.inf
        steps.append(TimedRequest(began_s=began_s, ended_s=ended_s, what=exchange))
    return steps
