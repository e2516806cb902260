"""The pytest plugin: options, fixtures, and the step from tests to a run record."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import pytest
from hypothesis.stateful import RuleBasedStateMachine

from knouds_harness.conformance.bodies import call_body
from knouds_harness.conformance.examples import drive_machine_with, seed_properties
from knouds_harness.conformance.needs import CONTROL, REACHABLE_RECEIVER
from knouds_harness.conformance.probe import UNTESTED, Probe
from knouds_harness.conformance.selection import Selection, checks_of, operation_of, operations_for
from knouds_harness.conformance.session import ConformanceRun, Options, open_run
from knouds_harness.conformance.side_by_side import SideBySide
from knouds_harness.conformance.subjects import Subjects
from knouds_harness.contract.document import Document
from knouds_harness.errors import (
    ExitCode,
    GuardStop,
    HarnessError,
    RunRecordError,
    TargetUnreachable,
    UsageError,
)
from knouds_harness.target.personas import Persona
from knouds_harness.target.profile import Target

_LARGEST_SEED = 2**31
_EXAMPLES: Final = 20
_QUICK_EXAMPLES: Final = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what ``knouds-harness check`` takes."""
    group = parser.getgroup("knouds-harness", "conformance to the Knouds REST API")
    group.addoption("--target", default="sandbox", metavar="NAME", help="profile to check (default: sandbox)")
    group.addoption(
        "--family", action="append", default=[], metavar="NAME", help="only this family of checks"
    )
    group.addoption("--operation", action="append", default=[], metavar="ID", help="only this operationId")
    group.addoption(
        "--fact", action="append", default=[], metavar="ID", help="only checks that claim this fact"
    )
    group.addoption("--seed", type=int, metavar="N", help="repeat the run that printed this seed")
    group.addoption(
        "--examples",
        type=int,
        metavar="N",
        help=f"inputs per property (default: {_EXAMPLES}, with --quick {_QUICK_EXAMPLES})",
    )
    group.addoption("--quick", action="store_true", help="every fact, with fewer inputs and samples")
    group.addoption(
        "--credits", type=float, metavar="N", help="spend at most this (default: the profile's limit)"
    )
    group.addoption(
        "--strict-assumptions", action="store_true", help="assumptions that do not hold fail the run"
    )
    group.addoption(
        "--fault", action="append", default=[], metavar="ID", help="break a promise of the sandbox"
    )
    group.addoption("--variant", metavar="ID", help="have the sandbox answer open points otherwise")
    group.addoption("--yes-production", action="store_true", help="agree to a production target")
    group.addoption(
        "--runs-folder", type=Path, default=Path("reports/runs"), metavar="DIR", help="for the record"
    )


@dataclass
class _Opened:
    """The run that this pytest session opened, if a test needed one."""

    context: AbstractContextManager[ConformanceRun]
    run: ConformanceRun


_OPENED = pytest.StashKey[_Opened]()
_SEED = pytest.StashKey[int]()
_SIDE_BY_SIDE = pytest.StashKey[SideBySide]()


def pytest_configure(config: pytest.Config) -> None:
    """Register markers and choose the seed."""
    config.addinivalue_line(
        "markers", "proves(*checks): the checks that a conformance test drives, its own first"
    )
    config.addinivalue_line(
        "markers", "spends(runs): what a test runs and pays for, of a target: runs(target)"
    )
    config.addinivalue_line(
        "markers", "thorough: more of what another test shows as well; --quick leaves it out"
    )
    config.addinivalue_line(
        "markers", "last: runs after all other tests, as it has the target throttle an account"
    )
    config.addinivalue_line(
        "markers",
        "independent: neither changes nor sees what another test does, and so may run beside its like",
    )
    config.addinivalue_line(
        "markers", "sequence: a finding of the test is shown by all that it had sent until then"
    )
    config.addinivalue_line(
        "markers", "operations(secured=None, ids=None): parametrize `operation` over the document"
    )
    seed = config.getoption("--seed")
    config.stash[_SEED] = random.SystemRandom().randrange(_LARGEST_SEED) if seed is None else seed


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Print the seed."""
    return [f"knouds-harness: target {config.getoption('--target')}, --seed {config.stash[_SEED]}"]


def examples_of(config: pytest.Config) -> int:
    """How many inputs a property is tried with."""
    asked: int | None = config.getoption("--examples")
    if asked is not None:
        return asked
    return _QUICK_EXAMPLES if config.getoption("--quick") else _EXAMPLES


def opened_run(config: pytest.Config) -> ConformanceRun:
    """The session's run, opened when first asked for; a user's error ends the session with its exit code."""
    if _OPENED not in config.stash:
        options = Options(
            target=config.getoption("--target"),
            seed=config.stash[_SEED],
            examples=examples_of(config),
            credits=config.getoption("--credits"),
            strict=config.getoption("--strict-assumptions"),
            yes_production=config.getoption("--yes-production"),
            faults=tuple(config.getoption("--fault")),
            variant=config.getoption("--variant"),
            runs_folder=config.getoption("--runs-folder"),
        )
        context = open_run(options)
        try:
            config.stash[_OPENED] = _Opened(context, context.__enter__())
        except HarnessError as error:
            _exit(error)
    return config.stash[_OPENED].run


def finished_run(config: pytest.Config) -> ConformanceRun | None:
    """The run that the session opened, if it did."""
    opened = config.stash.get(_OPENED, None)
    return opened.run if opened else None


def _exit(error: HarnessError) -> NoReturn:
    sys.stderr.write(f"error: {error}\n")
    pytest.exit(str(error), returncode=error.exit_code)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize ``operation`` over the document."""
    marker = metafunc.definition.get_closest_marker("operations")
    if marker and "operation" in metafunc.fixturenames:
        chosen = operations_for(**marker.kwargs)
        metafunc.parametrize("operation", chosen, ids=[each.id for each in chosen])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of the families, operations and facts asked for; with --quick, fewer of them."""
    items.sort(key=_place_in_order)
    try:
        selection = Selection.of(
            families=config.getoption("--family"),
            operations=config.getoption("--operation"),
            facts=config.getoption("--fact"),
            is_quick=config.getoption("--quick"),
        )
    except HarnessError as error:
        _exit(error)
    deselected = [item for item in items if not selection.keeps(item)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if selection.keeps(item)]
    if deselected and not items:
        _exit(UsageError("no test is about all that --family, --operation and --fact ask for together"))


def _place_in_order(item: pytest.Item) -> int:
    if item.get_closest_marker("last"):
        return 2
    return 0 if item.get_closest_marker("independent") else 1


def pytest_runtestloop(session: pytest.Session) -> None:
    """Reach the target and start the record before the first conformance test."""
    items = [item for item in session.items if checks_of(item)]
    if session.config.option.collectonly or session.testsfailed or not items:
        return
    seed_properties(items, seed=session.config.stash[_SEED], examples=examples_of(session.config))
    try:
        if any(REACHABLE_RECEIVER in each.needs for item in items for each in checks_of(item)[:1]):
            _ = opened_run(session.config).receiver  # a port that is taken is said before anything is sent
        opened_run(session.config).begin()
    except HarnessError as error:
        opened_run(session.config).stop("stopped", error)
        _exit(error)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the profile makes impossible, saying what it lacks."""
    missing = missing_for(item)
    if missing is not None:
        pytest.skip(f"{UNTESTED}{missing}")


def missing_for(item: pytest.Item) -> str | None:
    """What the target's profile lacks for a conformance test; None where it can run."""
    for check in checks_of(item)[:1]:
        target = opened_run(item.config).target
        for need in check.needs:
            if need.find(target) is None:
                return need.says
    return None


def takes_real_time(item: pytest.Item) -> bool:
    """Whether a test that runs last will wait for the target's clock, which nobody can move."""
    can_wait = CONTROL.find(opened_run(item.config).target) is None and not item.config.getoption("--quick")
    return can_wait and missing_for(item) is None


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Call the body of a conformance test; of an independent one, wait until it has ended."""
    if not checks_of(pyfuncitem):
        return None
    run = opened_run(pyfuncitem.config)
    if run.is_distant and pyfuncitem.get_closest_marker("independent"):
        _side_by_side(pyfuncitem.session).finish(pyfuncitem)
    else:
        call_body(pyfuncitem, pyfuncitem.funcargs, run.recorder)
    return True


def _side_by_side(session: pytest.Session) -> SideBySide:
    """The independent tests of a session, begun when the first of them is asked for."""
    stash = session.config.stash
    if _SIDE_BY_SIDE not in stash:
        run = opened_run(session.config)

        def call(item: pytest.Function) -> None:
            call_body(item, {**run.values_by_fixture, **_parameters_of(item)}, run.recorder)

        stash[_SIDE_BY_SIDE] = SideBySide(
            [
                item
                for item in session.items
                if isinstance(item, pytest.Function)
                and item.get_closest_marker("independent")
                and missing_for(item) is None
            ],
            call=call,
            turn=run.turn,
            most_at_once=run.probe.most_at_once,
        )
    return stash[_SIDE_BY_SIDE]


def _parameters_of(item: pytest.Function) -> dict[str, object]:
    return dict(item.callspec.params) if hasattr(item, "callspec") else {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write down what was untested, and end the run where a guard or the network ended it."""
    checks = checks_of(item)
    if not checks or call.excinfo is None:
        return (yield)
    run = opened_run(item.config)
    # Pytest parses source to show an error, and CPython 3.11 may not while another thread parses as well.
    with run.turn.taken():
        report = yield
        error = call.excinfo.value
        if isinstance(error, pytest.skip.Exception):
            operation = operation_of(item)
            missing = str(error).removeprefix(UNTESTED)
            run.recorder.record_untested(checks[0], operation.id if operation else None, missing)
        elif (reason := _reason_to_stop(error)) is not None:
            run.stop("stopped", reason)
            item.session.shouldstop = str(reason)
            report.longrepr = f"stopped: {reason}"
        elif not isinstance(error, pytest.fail.Exception):
            run.harness_errors.append(item.nodeid)
    return report


def _reason_to_stop(error: BaseException) -> HarnessError | None:
    """What ends the run, alone or among what hypothesis met in several tries."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for each in error.exceptions if (found := _reason_to_stop(each))), None)
    return error if isinstance(error, GuardStop | TargetUnreachable | RunRecordError) else None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Clean up on the target, finish the record and turn its outcome into the exit code."""
    opened = session.config.stash.get(_OPENED, None)
    if opened is None:
        return
    try:
        if _SIDE_BY_SIDE in session.config.stash:
            session.config.stash[_SIDE_BY_SIDE].stop()
        if opened.run.is_begun:
            was_interrupted = exitstatus == pytest.ExitCode.INTERRUPTED
            code = opened.run.conclude(was_interrupted=was_interrupted)
            if code != ExitCode.KEPT or exitstatus == pytest.ExitCode.OK:
                session.exitstatus = code
    finally:
        opened.context.__exit__(None, None, None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where the record is."""
    opened = config.stash.get(_OPENED, None)
    if opened is not None and opened.run.is_begun:
        folder = opened.run.recorder.writer.folder
        terminalreporter.section("knouds-harness")
        terminalreporter.line(f"{opened.run.outcome}: {folder} (render it: knouds-harness report {folder})")


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest) -> ConformanceRun:
    """The running conformance run."""
    return opened_run(request.config)


@pytest.fixture(scope="session")
def probe(run: ConformanceRun) -> Probe:
    """Sends requests and has answers judged."""
    return run.probe


@pytest.fixture(scope="session")
def subjects(run: ConformanceRun) -> Subjects:
    """Resources to act on."""
    return run.subjects


@pytest.fixture(scope="session")
def drive(pytestconfig: pytest.Config) -> Callable[[Callable[[], RuleBasedStateMachine], int], None]:
    """Runs a state machine with the run's seed, of at most so many steps, half as often as a property.

    What breaks is not shrunk: the machine's own tests shorten it.
    """

    def drive_machine(make_machine: Callable[[], RuleBasedStateMachine], most_steps: int) -> None:
        seed, examples = pytestconfig.stash[_SEED], examples_of(pytestconfig) // 2
        drive_machine_with(make_machine, seed=seed, examples=examples, most_steps=most_steps)

    return drive_machine


@pytest.fixture(scope="session")
def target(run: ConformanceRun) -> Target:
    """The target's profile."""
    return run.target


@pytest.fixture(scope="session")
def personas(run: ConformanceRun) -> list[Persona]:
    """The keys that work, of accounts that may use keys."""
    return run.personas


@pytest.fixture(scope="session")
def document(run: ConformanceRun) -> Document:
    """The OpenAPI document."""
    return run.document
