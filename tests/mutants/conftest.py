"""After the tests, print how many mutants there were."""

from collections import Counter

import pytest
from mutants.mutant import Label
from mutants.verdicts import Judged, judged, mutants

VERDICTS = pytest.StashKey[list[Judged]]()


@pytest.fixture(scope="session")
def verdicts(pytestconfig: pytest.Config) -> list[Judged]:
    pytestconfig.stash[VERDICTS] = list(judged(mutants()))
    return pytestconfig.stash[VERDICTS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print one line for each label."""
    count = Counter((each.mutant.label, each.is_right) for each in config.stash.get(VERDICTS, []))
    if not count:
        return
    terminalreporter.section("mutated recordings")
    for label in Label:
        right, wrong = count[label, True], count[label, False]
        called = "found" if label is Label.BREACH else "left alone"
        terminalreporter.write_line(f"{label:10} {right + wrong:6,} mutants, {right:,} {called}")
