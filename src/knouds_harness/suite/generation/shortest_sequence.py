"""Shorten a random sequence that broke something, within bounds, as long as it still does."""

import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from knouds_harness.suite.generation.workflow_sequences import SequenceSetup, SequenceStep, SeveralKeys

MOST_S: Final = 15.0
MOST_REQUESTS: Final = 500
T = TypeVar("T")


def shorten_broken(setup: SequenceSetup) -> None:
    """Repeat the broken sequence with fewer and fewer steps, within bounds; the record keeps the shortest."""
    if setup.broken_check is None:
        return
    sought, until_s = setup.broken_check, time.monotonic() + MOST_S
    most_sent = setup.tester.sent + MOST_REQUESTS
    shortest = shorten(
        setup.broken,
        breaks=lambda steps: _breaks(steps, setup, sought),
        is_enough=lambda: time.monotonic() >= until_s or setup.tester.sent >= most_sent,
    )
    _breaks(shortest, setup, sought)  # once with only the reads that the check needs


def _breaks(steps: Sequence[SequenceStep], setup: SequenceSetup, sought: str) -> bool:
    """Whether these steps break the check; steps on workflows that were not created are skipped."""
    machine = SeveralKeys(setup, sought=sought)
    setup.broken_check = None
    try:
        machine.begin()
        for step in steps:
            slugs = {number: slug for slug, number in machine.created_in.items()}
            arguments = dict(step.arguments)
            if "slug" in arguments:
                if arguments["slug"] not in slugs:
                    continue
                arguments["slug"] = slugs[arguments["slug"]]
            machine.number = step.number
            getattr(machine, step.rule)(**arguments)
    except AssertionError:
        pass
    finally:
        machine.teardown()
    return setup.broken_check == sought


def shorten(
    calls: Sequence[T], *, breaks: Callable[[Sequence[T]], bool], is_enough: Callable[[], bool]
) -> Sequence[T]:
    """Leave out calls as long as the rest still breaks; the last call stays.

    Hypothesis would shrink its choices and send thousands of requests; this tries a sequence of ten calls
    some thirty times. ``is_enough`` is asked before each try.
    """
    shortest = list(calls)
    is_shorter = True
    while is_shorter:
        is_shorter = False
        for place in reversed(range(len(shortest) - 1)):
            if is_enough():
                return shortest
            candidate = shortest[:place] + shortest[place + 1 :]
            if breaks(candidate):
                shortest, is_shorter = candidate, True
    return shortest
