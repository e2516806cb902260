"""What makes a locustfile one of ours: ``install(events)`` in it, and Locust has our options and records."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping

import gevent
from locust.env import Environment
from locust.event import Events
from locust.runners import WorkerRunner

from knouds_harness.errors import ExitCode, HarnessError, UsageError
from knouds_harness.load.course import Course
from knouds_harness.load.forecast import forecast
from knouds_harness.load.lifeline import watch_parent
from knouds_harness.load.load_run import LoadRun
from knouds_harness.load.locust_statistics import use_exact_buckets
from knouds_harness.load.messages import STOP
from knouds_harness.load.options import Options, add_options, read_options
from knouds_harness.load.own_sandbox import serve_sandbox
from knouds_harness.load.preflight import check_plan, look_ahead
from knouds_harness.target.profile import Target, load_target


def install(events: Events) -> None:
    """Give a locustfile arrivals, exact percentiles, guards and records.

    Call it once, with ``locust.events``, in the locustfile. Nothing happens before Locust has read its
    command line.
    """
    use_exact_buckets()
    events.init_command_line_parser.add_listener(lambda parser, **_: add_options(parser))
    events.init.add_listener(_on_init)
    events.test_start.add_listener(_on_first_start())


def _on_init(environment: Environment, **_: object) -> None:
    if environment.parsed_options is None:
        return
    if environment.parsed_options.processes and isinstance(environment.runner, WorkerRunner):
        watch_parent(lambda: os._exit(ExitCode.INTERRUPTED))  # nobody is left to report to
    if isinstance(environment.runner, WorkerRunner):
        return  # what is asked for comes with the master's first message
    run = _begin(environment)
    if run.leader:
        environment.parsed_options.run_time = None  # the course ends the run
        environment.shape_class = run.leader.course = Course(run.options)
        environment.shape_class.runner = environment.runner
        environment.process_exit_code = ExitCode.KEPT
        if environment.parsed_options.headless:
            gevent.signal_handler(signal.SIGTERM, _end_in_order, environment.shape_class)
        run.leader.checkpoint()
        if run.options.started_by:
            watch_parent(lambda: run.stop("The command that led the run was killed.", ExitCode.INTERRUPTED))


def _end_in_order(course: Course) -> None:
    """End the load as Ctrl-C does; Locust has a handler of its own, but only once a headless run is over."""
    if course.runner is None or course.runner.shape_greenlet is None:
        sys.exit(ExitCode.INTERRUPTED)
    course.is_over = True


def _on_first_start() -> Callable[..., None]:
    """Begin a worker's part, before Locust starts its users."""
    begun: list[LoadRun] = []

    def begin(environment: Environment, **_: object) -> None:
        if environment.parsed_options is None or not environment.parsed_options.worker:
            return
        while environment.runner is None:  # a busy machine's Locust hears its master before it has set up
            gevent.sleep(0.01)
        if not begun:
            begun.append(_begin(environment))
            begun[0].on_test_start()

    return begin


def _begin(environment: Environment) -> LoadRun:
    assert environment.parsed_options is not None  # noqa: S101 - it comes from a command line
    try:
        options = read_options(environment.parsed_options)
        if options.target is None and any(hasattr(each, "senders") for each in environment.user_classes):
            raise UsageError(
                "no target is named, so there are no keys to send with\n"
                "  Say --target sandbox, or the name of another profile in targets/."
            )
        serve_sandbox(environment, options.target)
        target = load_target(options.target) if options.target else None
        prices: Mapping[str, float] = {}
        if target:
            check_plan(target, options, host=environment.host)
            if options.plan_only:
                _show_plan(environment, options, target)
            prices = look_ahead(target, yes_production=options.yes_production)
            environment.host = target.base_url
        run = LoadRun(environment, options, target, prices=prices)
        _warn(run)
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n")
        if isinstance(environment.runner, WorkerRunner):
            reason = f"Worker {environment.runner.client_id}: {error}"
            environment.runner.send_message(STOP, {"reason": reason, "exit_code": int(error.exit_code)})
        sys.exit(error.exit_code)
    run.listen()
    return run


def _show_plan(environment: Environment, options: Options, target: Target) -> None:
    """Print what the run is going to be, and end Locust."""
    plan = forecast(
        target, options, environment.user_classes, price=lambda each: each.cost_credits, is_asked=False
    )
    sys.stdout.write("\n".join([*plan.lines, *(f"warning: {each}" for each in plan.warnings)]) + "\n")
    sys.exit(ExitCode.KEPT)


def _warn(run: LoadRun) -> None:
    """Say beforehand what is not going to work out, also in the record."""
    if run.leader is None or run.target is None:
        return
    try:
        plan = forecast(run.target, run.options, run.environment.user_classes, price=run.price, is_asked=True)
    except HarnessError:
        run.leader.discard()
        raise
    for each in plan.warnings:
        sys.stderr.write(f"warning: {each}\n")
        run.leader.note(each)
