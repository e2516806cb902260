"""Clean what pytest prints of a run: no arguments, locals or secrets, and nothing that a terminal obeys."""

import logging
import re
from collections.abc import Generator
from typing import Any, Final

import pytest

from knouds_harness.exchange.redaction import shown
from knouds_harness.suite.selection import checks_of

_OF_PYTEST: Final = re.compile(r"(\x1b\[[\d;]*m|^\r)")
"""Colors, and a carriage return at the start."""
_VALUES_OF_FRAMES: Final = ("reprfuncargs", "reprlocals")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Redact everything that goes to the terminal, also what is in no report."""
    config.option.showlocals = False
    config.option.fulltrace = False  # would print the arguments of all frames after Ctrl-C
    logging.getLogger("httpcore").propagate = False  # logs response headers unredacted
    trace = config.trace.root
    if (write_trace := trace._writer) is not None:  # noqa: SLF001 - of --debug, which prints hook arguments
        trace.setwriter(lambda text: write_trace(shown(text)))
    if config.pluginmanager.has_plugin("terminalreporter"):
        writer = config.get_terminal_writer()
        write = writer.write

        def write_shown(msg: str, **options: bool) -> None:
            parts = enumerate(_OF_PYTEST.split(msg))
            write("".join(part if at % 2 else shown(part) for at, part in parts), **options)

        writer.write = write_shown  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Redact each report before anything prints or writes it."""
    report = yield
    if checks_of(item) and (report.longrepr or report.sections):
        hook = item.config.hook
        data = hook.pytest_report_to_serializable(config=item.config, report=report)
        data |= {name: _shown(data[name]) for name in ("longrepr", "sections")}
        clean = hook.pytest_report_from_serializable(config=item.config, data=data)
        report.longrepr, report.sections = clean.longrepr, clean.sections
    return report


def _shown(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return {name: None if name in _VALUES_OF_FRAMES else _shown(each) for name, each in value.items()}
    return type(value)(map(_shown, value)) if isinstance(value, list | tuple) else value
