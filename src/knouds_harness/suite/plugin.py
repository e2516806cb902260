"""The pytest plugin: its options, and how tests become a run record."""

import sys
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from typing import Literal, NoReturn

import pytest

from knouds_harness.errors import (
    ExitCode,
    GuardStop,
    HarnessError,
    RunRecordError,
    TargetUnreachable,
    UsageError,
)
from knouds_harness.exchange.redaction import shown
from knouds_harness.judging.user_checks import UserChecks, load_checks
from knouds_harness.option_declarations import add_runner_options, options_from
from knouds_harness.runs.run_file import UntestedFact
from knouds_harness.suite.generation.driving import seed_properties
from knouds_harness.suite.options import RunOptions
from knouds_harness.suite.schedule import SuiteSchedule
from knouds_harness.suite.selection import (
    MARKERS,
    Selection,
    Spending,
    checks_of,
    facts_of,
    facts_of_others,
    needs_of,
    operation_of,
    operations_for,
)
from knouds_harness.suite.session import ConformanceRun, open_run
from knouds_harness.suite.test_invocation import (
    is_user_test,
    mark_user_tests,
    record_failure,
    record_kept,
    user_body,
)
from knouds_harness.suite.untested import Untested, more_credits, untested_for
from knouds_harness.targets.needs import Need
from knouds_harness.targets.needs.webhooks import RECEIVING

pytest_plugins = ["knouds_harness.suite.fixtures", "knouds_harness.suite.printed_reports"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("knouds-harness", "conformance to the Knouds REST API")
    add_runner_options(RunOptions, group.addoption)


_RUN = pytest.StashKey[ConformanceRun]()
UNTESTED = pytest.StashKey[Untested]()
"""Why a test was skipped; kept on its item, as pytest's report does not have the exception."""
_OPTIONS = pytest.StashKey[RunOptions]()
_SELECTION = pytest.StashKey[Selection]()
_SHOWN_BY_ALL = pytest.StashKey[frozenset[str]]()
_SCHEDULE = pytest.StashKey[SuiteSchedule]()
ONE_BY_ONE = pytest.StashKey[bool]()
"""Set to run tests one after the other, with only the inputs that they name, so that all runs are alike."""


def pytest_configure(config: pytest.Config) -> None:
    for marker, says in MARKERS.items():
        config.addinivalue_line("markers", f"{marker}: {says}")
    config.stash[_OPTIONS] = options_from(RunOptions, config.option)


def pytest_report_header(config: pytest.Config) -> list[str]:
    options = options_of(config)
    return [f"knouds-harness: target {options.target}, --seed {options.seed}"]


def options_of(config: pytest.Config) -> RunOptions:
    return config.stash[_OPTIONS]


def opened_run(config: pytest.Config) -> ConformanceRun:
    """Return the session's run, opened on first use; a user error ends the session with its exit code."""
    if _RUN not in config.stash:
        resources = ExitStack()
        config.add_cleanup(resources.close)
        try:
            config.stash[_RUN] = resources.enter_context(open_run(options_of(config)))
        except HarnessError as error:
            _exit(error)
    return config.stash[_RUN]


def finished_run(config: pytest.Config) -> ConformanceRun | None:
    return config.stash.get(_RUN, None)


def _exit(error: HarnessError) -> NoReturn:
    sys.stderr.write(f"error: {shown(str(error))}\n")
    pytest.exit(str(error), returncode=error.exit_code)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("operations")
    if marker and "operation" in metafunc.fixturenames:
        operations = operations_for(**marker.kwargs)
        metafunc.parametrize("operation", operations, ids=[each.id for each in operations])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    options = options_of(config)
    of_tests = mark_user_tests(items)
    try:
        of_file = load_checks(options.checks) if options.checks else UserChecks()
        selection = Selection(options=options, of_tests=of_tests, of_file=of_file)
    except HarnessError as error:
        _exit(error)
    config.stash[_SELECTION] = selection
    config.stash[_SHOWN_BY_ALL] = frozenset(fact for item in items for fact in facts_of(item))
    deselected = [item for item in items if not selection.keeps(item)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if selection.keeps(item)]
    if deselected and not items:
        _exit(UsageError(f"no test fits {selection.asked}"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Reach the target and start the record before the first conformance test."""
    items = [item for item in session.items if checks_of(item)]
    if session.config.option.collectonly or session.testsfailed or not items:
        return
    stash, run = session.config.stash, opened_run(session.config)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    run.add_user_checks(stash[_SELECTION].of_tests, stash[_SELECTION].of_file)
    try:
        run.selected = _selected_facts(session.config, items)
        if any(RECEIVING in needs_of(item) for item in items):
            _ = run.receiver  # report a taken port before anything is sent
        run.begin()
    except HarnessError as error:
        run.stop("stopped", error)
        if run.is_begun and reporter is None and not stash.get(ONE_BY_ONE, False):  # the report will say it
            pytest.exit(str(error), returncode=error.exit_code)
        _exit(error)
    if reporter is not None:
        _print_contradictions(reporter, run)
    possible = [item for item in session.items if missing_for(item) is None]
    spending = run.spending = Spending.of(
        possible,
        run.target,
        run.tester.pricing.worst_case,
        limit_credits=run.client.guard.budget.left_credits,
        nights=run.nights,
    )
    possible = [item for item in possible if item.nodeid not in spending.unpaid]
    options = options_of(session.config)
    is_one_by_one = stash.get(ONE_BY_ONE, False)
    schedule = stash[_SCHEDULE] = SuiteSchedule(
        run, possible, is_quick=options.quick, is_one_by_one=is_one_by_one, pays_last=bool(spending.unpaid)
    )
    session.items.sort(key=schedule.place)
    seed_properties(
        [item for item in items if not is_user_test(item)],
        seed=options.seed,
        examples=0 if is_one_by_one else options.examples_per_property,
        spared=filter(schedule.spares_runs, items),
    )


def _selected_facts(config: pytest.Config, items: list[pytest.Item]) -> frozenset[str] | None:
    """Return the facts that the selected tests are about; None if no test was left out."""
    asked = options_of(config).facts
    if asked:
        return frozenset(asked)
    shown = frozenset(fact for item in items for fact in facts_of(item))
    are_all = config.stash[_SHOWN_BY_ALL] <= shown and not all(map(is_user_test, items))
    shown -= facts_of_others(options_of(config).operations)
    return None if are_all else shown.union(config.stash[_SELECTION].of_file.facts)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Skip what the profile makes impossible, and say what it lacks, also of facts that need more."""
    if not checks_of(item):
        return (yield)
    with opened_run(item.config).lock.held():
        missing = missing_for(item)
        if missing is not None:
            raise missing
        for fact, needs in facts_of(item).items():
            if (untested := _first_unmet(opened_run(item.config), needs)) is not None:
                _record_untested(item, (fact,), untested)
        if is_user_test(item):  # what its fixtures send counts as its own
            opened_run(item.config).recorder.begin_test()
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Tear down fixtures with the lock held, so that no other test computes meanwhile."""
    if not checks_of(item):
        return (yield)
    with opened_run(item.config).lock.held():
        return (yield)


def _record_untested(item: pytest.Item, facts: Iterable[str], untested: Untested) -> None:
    check, operation = checks_of(item)[0], operation_of(item)
    for fact in facts:
        opened_run(item.config).recorder.writer.add_untested(
            UntestedFact(
                check=check.id,
                fact=fact,
                operation=operation.id if operation else None,
                missing=untested.missing,
                cause=untested.cause,
            )
        )


def missing_for(item: pytest.Item) -> Untested | None:
    run = opened_run(item.config)
    if item.nodeid in run.spending.unpaid:
        return Untested(more_credits(run.profile), "profile")
    return _first_unmet(run, needs_of(item)) if checks_of(item) else None


def _first_unmet(run: ConformanceRun, needs: Iterable[Need[object]]) -> Untested | None:
    unmet = (need for need in needs if need.missing(run.target) is not None)
    return next(
        (untested_for(need, profile=run.profile, contradictions=run.contradictions) for need in unmet), None
    )


def fills_early(config: pytest.Config) -> bool:
    return config.stash[_SCHEDULE].fills_early if _SCHEDULE in config.stash else False


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not checks_of(pyfuncitem) or is_user_test(pyfuncitem):
        return None
    pyfuncitem.config.stash[_SCHEDULE].call(pyfuncitem)
    return True


@pytest.hookimpl(wrapper=True, specname="pytest_pyfunc_call")
def pytest_call_user_test(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Let pytest, or another plugin, call the body of a user's test."""
    if not is_user_test(pyfuncitem):
        return (yield)
    run = opened_run(pyfuncitem.config)
    with run.lock.held(), user_body(pyfuncitem, run.recorder):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outermost, to see how other plugins change a failure (xfail)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Record the test and what is untested, and end the run if a guard or the network stopped it."""
    checks = checks_of(item)
    if not checks:
        return (yield)
    run = opened_run(item.config)
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, Untested):
        item.stash[UNTESTED] = error
        call.excinfo = None  # else pytest parses the source of each frame for a traceback that is not shown
    # Pytest parses source to show an error, and in CPython 3.11 two threads must not parse at once.
    with run.lock.held():
        report = yield
        if error is None:
            if call.when == "call":
                _record_test(item, run, "passed")
                if is_user_test(item):
                    record_kept(item, run.recorder)
            return report
        if isinstance(error, Untested):
            _settle_untested(item, run, error)
            _skip(item, report, f"untested: needs {error}")
        elif (reason := _reason_to_stop(error)) is not None:
            run.stop("stopped", reason)
            item.session.shouldstop = str(reason)
            report.longrepr = f"stopped: {reason}"
        elif is_user_test(item):
            _settle_user_test(item, run, report, error)
        else:
            _record_test(item, run, "failed")
            if not isinstance(error, pytest.fail.Exception):
                run.harness_errors.append(item.nodeid)
    return report


def _settle_untested(item: pytest.Item, run: ConformanceRun, untested: Untested) -> None:
    if untested.is_unpaid and item.nodeid in run.spending.paid:
        run.cut.append(item.nodeid)
    is_answers = untested.cause == "answers"  # otherwise nothing was sent, and more may be missing
    facts = facts_of(item).items()
    lacking = [fact for fact, needs in facts if not (is_answers and _first_unmet(run, needs))]
    _record_untested(item, lacking, untested)
    _record_test(item, run, "skipped")


def _settle_user_test(
    item: pytest.Item, run: ConformanceRun, report: pytest.TestReport, error: BaseException
) -> None:
    """Turn a failed assert into a finding; skip a waived one, as pytest knows no waivers."""
    is_skipped = report.skipped
    settled = "" if is_skipped else record_failure(item, run.recorder, error)
    if settled == "error":
        run.user_errors.append(item.nodeid)
    elif settled == "waived":
        _skip(item, report, "waived by the profile")
        is_skipped = True
    _record_test(item, run, "skipped" if is_skipped else "failed")


def _skip(item: pytest.Item, report: pytest.TestReport, reason: str) -> None:
    path, line, _ = item.reportinfo()
    report.outcome = "skipped"
    report.longrepr = (str(path), (line or 0) + 1, reason)


def _record_test(
    item: pytest.Item, run: ConformanceRun, outcome: Literal["passed", "failed", "skipped"]
) -> None:
    operation = operation_of(item)
    run.ended.add(item.nodeid)
    run.recorder.writer.add_test(
        check=checks_of(item)[0].id,
        operation=operation.id if operation else None,
        outcome=outcome,
        duration_s=run.recorder.duration_s_by_test.get(item.nodeid, 0.0),
    )


def _reason_to_stop(error: BaseException) -> HarnessError | None:
    """Return the error that ends the run, also from the group that Hypothesis raises; None if none does."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for each in error.exceptions if (found := _reason_to_stop(each))), None)
    return error if isinstance(error, GuardStop | TargetUnreachable | RunRecordError) else None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Clean up on the target, finish the record and set the exit code by the run's outcome."""
    run = finished_run(session.config)
    if _SCHEDULE in session.config.stash:
        session.config.stash[_SCHEDULE].stop()
    if run is not None and run.is_begun:
        if exitstatus == pytest.ExitCode.INTERNAL_ERROR and run.outcome is None:  # 3 is "unreachable" for us
            run.stop("failed", HarnessError("An error of the harness itself ended the run early."))
        code = run.conclude(was_interrupted=exitstatus == pytest.ExitCode.INTERRUPTED)
        if code != ExitCode.KEPT or exitstatus == pytest.ExitCode.OK:
            session.exitstatus = code


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    run = finished_run(config)
    if run is not None and run.is_begun:
        folder = run.recorder.writer.folder
        terminalreporter.section("knouds-harness")
        _print_contradictions(terminalreporter, run)
        terminalreporter.line(f"{run.outcome}: {folder} (render it: knouds-harness report {folder})")


def _print_contradictions(reporter: pytest.TerminalReporter, run: ConformanceRun) -> None:
    for contradiction in run.contradictions:
        reporter.line(f"target contradicts the profile: {contradiction.says}")
