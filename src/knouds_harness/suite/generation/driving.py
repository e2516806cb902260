"""How Hypothesis tries properties and state machines, and how a broken sequence is shortened."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, is_hypothesis_test
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from knouds_harness.suite.generation.workflow_sequences import SequenceSetup, SequenceStep, SeveralKeys

MOST_S: Final = 15.0
MOST_REQUESTS: Final = 500
T = TypeVar("T")


def _settings(examples: int) -> hypothesis.settings:
    """Return settings for this many examples (0: only those that a test names); nothing is stored."""
    generating = (Phase.generate, Phase.shrink) if examples else ()
    return hypothesis.settings(
        max_examples=max(1, examples),
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,  # all findings are recorded; one error tells that there are some
        phases=(Phase.explicit, *generating),
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much),
    )


def seed_properties(
    items: Iterable[pytest.Item], *, seed: int, examples: int, spared: Iterable[pytest.Item] = ()
) -> None:
    functions = {item.function for item in spared if isinstance(item, pytest.Function)}
    for function in {item.function for item in items if isinstance(item, pytest.Function)}:
        if is_hypothesis_test(function):
            hypothesis.seed(seed)(function)
            _settings(-(-examples // 2) if function in functions else examples)(function)


def drive_machine(
    make_machine: Callable[[], RuleBasedStateMachine], *, seed: int, examples: int, most_steps: int
) -> None:
    """Run a state machine with the run's seed and at most this many steps.

    A failure is not shrunk, as that would send thousands of requests.
    """
    hypothesis.seed(seed)(make_machine)
    run_state_machine_as_test(
        make_machine,  # type: ignore[arg-type]  # any factory will do, as its docstring says
        settings=hypothesis.settings(
            _settings(max(1, examples)),
            stateful_step_count=most_steps,
            phases=(Phase.explicit, Phase.generate),
        ),
    )


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
            machine.number = step.number
            if step.arguments.get("slug") in (None, *machine.slug_by_step):
                getattr(machine, step.rule)(**step.arguments)
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
