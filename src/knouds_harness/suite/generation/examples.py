"""How often Hypothesis tries properties and state machines, and with which seed."""

from collections.abc import Callable, Iterable

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, is_hypothesis_test
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


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
