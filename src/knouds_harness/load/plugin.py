"""The Locust plugin: ``install(events)`` adds options, arrivals, guards and run records to a locustfile."""

import atexit
import logging
import os
import signal
import socket
import sys
from argparse import Namespace
from contextlib import ExitStack, suppress
from functools import cache, partial
from typing import Any, Final

import gevent
from gevent.monkey import get_original
from locust import argument_parser, between
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.event import Events
from locust.runners import MasterRunner, WorkerRunner

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import RUN_OPERATIONS
from knouds_harness.errors import ExitCode, HarnessError, UsageError
from knouds_harness.exchange.user_state import alone_on
from knouds_harness.files import LEAST_OPEN_FILES, require_open_files
from knouds_harness.load import tasks
from knouds_harness.load.arrivals.arrival_user import ArrivalUser, SpreadingDispatcher, run_of
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.collection.locust_statistics import use_exact_buckets
from knouds_harness.load.generator.generating_run import GeneratingRun, core_of
from knouds_harness.load.leader.leading_run import LeadingRun
from knouds_harness.load.leader.results import objectives_of, scenario_name
from knouds_harness.load.messages import STOP, secure
from knouds_harness.load.options import LoadOptions, add_options, read_options
from knouds_harness.load.workload.input_lines import InputFile, read_input_file, refuse_idle_lines
from knouds_harness.load.workload.plan import Plan
from knouds_harness.load.workload.preflight import (
    LoadSetup,
    Preflight,
    check_plan,
    run_preflight,
    running_only,
    sandbox_prices,
)
from knouds_harness.load.workload.workload import Workload, may_take, rates_of, scenarios_in
from knouds_harness.locations import SANDBOX
from knouds_harness.measures.objectives import (
    parse_objectives,
    refuse_stages,
    refuse_unknown_operations,
    refuse_unknown_stages,
)
from knouds_harness.printable import printable
from knouds_harness.runs.load_progress import ProgressMessage, tell
from knouds_harness.runs.operation_load import ALL_OPERATIONS, labelled
from knouds_harness.targets.builtin import target_environment
from knouds_harness.targets.guards import check_production
from knouds_harness.targets.needs import MAY_RUN
from knouds_harness.targets.profile import Target, load_target

_ENDING: Final = (signal.SIGINT, signal.SIGTERM)
_LOOK_EVERY_S: Final = 0.5
_LOCUSTS_PORT: Final = 5557
_SANDBOX_URL: Final = "KNOUDS_SANDBOX_URL"


def install(events: Events) -> None:
    """Add our options, arrivals, exact percentiles, guards and run records to Locust.

    Call it in the locustfile, with ``locust.events``; again, in a file that the first imports, it does
    nothing. The run is set up once Locust has read its command line.
    """
    if _on_init in events.init._handlers:  # noqa: SLF001 - Locust does not tell what listens
        return
    use_exact_buckets()
    # At its start a worker calls this for each option: uncached, that takes seconds without a heartbeat.
    vars(argument_parser)["default_args_dict"] = cache(argument_parser.default_args_dict)
    events.init_command_line_parser.add_listener(_on_command_line)
    events.init.add_listener(_on_init)
    events.test_start.add_listener(_on_test_start)


def _on_command_line(parser: LocustArgumentParser, **_: object) -> None:
    add_options(parser)
    with suppress(HarnessError):  # reported once a run begins
        shipped_document()  # before workers fork or connect, so that none stalls while reading it
    parse = parser.parse_args

    def parse_args(*args: Any, **more: Any) -> Any:  # noqa: ANN401 - as Locust's own
        """Have Locust start one process that sends, where the user asked for none."""
        parsed = parse(*args, **more)
        shows_only = parsed.list_commands or parsed.show_task_ratio or parsed.show_task_ratio_json
        if not (parsed.master or parsed.worker or parsed.processes or parsed.plan_only or shows_only):
            parsed.processes = 1
        try:
            secure(parsed)
            if parsed.target == SANDBOX and _SANDBOX_URL not in os.environ and not shows_only:
                _serve_sandbox(parsed)  # one for all processes
            if parsed.processes and not parsed.worker:
                _fork_workers(parsed)
        except HarnessError as error:
            parser.error(str(error))
        return parsed

    parser.parse_args = parse_args


def _fork_workers(parsed: Namespace) -> None:
    """Prepare for the workers that Locust forks: a port of their own, and an end with this process."""
    if parsed.master_bind_port == _LOCUSTS_PORT:  # two runs at once must not share workers
        parsed.master_bind_port = parsed.master_port = _free_port()
    leader = os.getpid()
    os.register_at_fork(after_in_child=lambda: _end_with(leader))
    if parsed.headless:  # its figures are not shown, and it would open files while load runs
        WorkerRunner.monitor_cpu_and_memory = lambda _: None  # type: ignore[method-assign,assignment,return-value]


def _serve_sandbox(parsed: Namespace) -> None:
    """Start the built-in sandbox for plain Locust; end it with this process."""
    if not parsed.processes and (parsed.master or parsed.worker):
        raise UsageError(
            "target sandbox: processes of several commands need one sandbox that already runs\n"
            "  Use knouds-harness load NAME --processes N, which starts one for all of them."
        )
    leader, resources = os.getpid(), ExitStack()
    environ = resources.enter_context(target_environment(SANDBOX))
    os.environ.update(environ())
    atexit.register(lambda: resources.close() if os.getpid() == leader else None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with(leader: int) -> None:
    """End this worker when its master is gone, even while it connects, when Locust fires no event."""
    sleep = get_original("time", "sleep")

    def look() -> None:
        while os.getppid() == leader:
            sleep(_LOOK_EVERY_S)
        os._exit(ExitCode.INTERRUPTED)

    get_original("_thread", "start_new_thread")(look, ())


def _on_init(environment: Environment, **_: object) -> None:
    if environment.parsed_options is None:
        return
    if environment.parsed_options.started_by:
        logging.getLogger("locust.stats_logger").disabled = True  # the command shows its own tables
    if isinstance(environment.runner, WorkerRunner):
        gevent.signal_handler(signal.SIGINT, os.kill, os.getpid(), signal.SIGTERM)  # Locust ends it in order
        return  # the options come with the master's first message
    if environment.parsed_options.command_pid:
        gevent.spawn(_end_without_command, environment, environment.parsed_options.command_pid)
        gevent.sleep(0)
    is_headless = environment.parsed_options.headless  # Locust sets its own handlers only after such a run
    if is_headless:
        for number in _ENDING:
            signal.signal(number, lambda *_: sys.exit(ExitCode.INTERRUPTED))  # there is no run to end yet
    run = _begin(environment)
    assert isinstance(run, LeadingRun)  # noqa: S101 - not a worker
    assert isinstance(environment.runner, MasterRunner)  # noqa: S101 - which it has
    if is_headless:
        for number in _ENDING:
            gevent.signal_handler(number, _end_in_order, run)
        environment.events.quit.add_listener(_ignore_signals)
    processes = environment.parsed_options.processes or 0
    run.workers.await_processes(processes)
    environment.parsed_options.run_time = None  # the shape ends the run
    environment.shape_class = run.shape
    environment.shape_class.runner = environment.runner
    environment.process_exit_code = ExitCode.KEPT
    run.checkpoint()
    if processes:
        gevent.spawn(run.workers.watch_processes, processes)


def _end_in_order(run: LeadingRun) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends plain Locust at once
    run.end_in_order()


def _ignore_signals(**_: object) -> None:
    """Once all is said: Locust, which awaits its processes then, would show a traceback."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


def _end_without_command(environment: Environment, command_pid: int) -> None:
    """End the run when the command that started this process is gone; it may be gone already."""
    while os.getppid() == command_pid:
        gevent.sleep(_LOOK_EVERY_S)
    run: LeadingRun | None = run_of(environment)
    if run is None:
        os._exit(ExitCode.INTERRUPTED)
    run.stop("The command that led the run was killed.", ExitCode.INTERRUPTED)


def _on_test_start(environment: Environment, **_: object) -> None:
    """Set up a worker at its first test start, before Locust starts its users."""
    if environment.parsed_options is None or not environment.parsed_options.worker:
        return
    while environment.runner is None:  # on a busy machine the master's message may come before the runner
        gevent.sleep(0.01)
    if run_of(environment) is None:
        _begin(environment).on_test_start()


def _begin(environment: Environment) -> LeadingRun | GeneratingRun:
    assert environment.parsed_options is not None  # noqa: S101 - it comes from a command line
    leads = not isinstance(environment.runner, WorkerRunner)  # a worker gets the master's options
    try:
        if leads:
            _take_rates(environment, environment.parsed_options)
        options = read_options(environment.parsed_options)
        _refuse_users_without_arrivals(environment, options)
        if options.target is None and scenarios_in(environment.user_classes):
            raise UsageError(
                "no target is named, so there are no keys to send with\n"
                "  Say --target sandbox, or the name of another profile in targets/."
            )
        if leads:
            _check_objectives(environment, options)
            _check_machine(options, max(1, environment.parsed_options.processes or 1))
        if options.think_s is not None:
            for user_class in environment.user_classes:
                user_class.wait_time = between(*options.think_s)
        setup, notes, warnings = _set_up(environment, options)
        if not leads:
            return GeneratingRun(environment, setup)
        run = LeadingRun(environment, setup)
        sys.stderr.writelines(f"warning: {each}\n" for each in (*notes, *warnings))
        run.results.notes += notes
    except HarnessError as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        if isinstance(environment.runner, WorkerRunner):
            reason = f"Worker {environment.runner.client_id}: {error}"
            environment.runner.send_message(STOP, {"reason": reason, "exit_code": int(error.exit_code)})
        else:
            _tell_verdict(environment.parsed_options.progress_descriptor, error.exit_code)
        sys.exit(error.exit_code)
    return run


def _check_machine(options: LoadOptions, processes: int) -> None:
    """Refuse a load for which this machine has too few open files or cores."""
    require_open_files(LEAST_OPEN_FILES + options.users // processes)  # a connection each
    if options.pin and core_of(Share(workers=processes)) is None:
        raise UsageError(
            f"--pin: {processes} processes that send need a core each, and the others need one, too\n"
            "  Leave it out: this machine has too few, or cannot do it."
        )


def _set_up(environment: Environment, options: LoadOptions) -> tuple[LoadSetup, list[str], list[str]]:
    """Check the target against the options; return the setup, what its record notes, and other warnings."""
    parsed, user_classes = vars(environment.parsed_options), environment.user_classes
    is_worker = isinstance(environment.runner, WorkerRunner)
    if not options.target:
        return LoadSetup(options=options), [], []
    target = running_only(
        load_target(options.target).spending(options.credits), options.workflow, options.model
    )
    check_plan(target, options, host=environment.host)
    scenarios = scenarios_in(user_classes)
    if options.mix:
        mixed = tasks.tasks_of(options.mix)
        for each in scenarios:
            each.tasks = mixed
    inputs = _read_inputs(environment, options, target)

    workload_at = partial(
        Workload,
        target,
        lines=inputs.lines if inputs else None,
        runs_each=bool(options.workflow or options.model),
    )
    is_asked = options.plan_only and target.base_url == os.environ.get(_SANDBOX_URL)
    asked = sandbox_prices(target) if is_asked else {}
    rehearsal = workload_at(prices={**dict.fromkeys(target.workflows, 0.0), **asked})
    if inputs:
        refuse_idle_lines(inputs, rehearsal.run_requests(scenarios))
    if options.plan_only:
        plan = Plan(rehearsal, options, user_classes, is_asked=is_asked, inputs=inputs)
        warnings = (f"warning: {each}" for each in (*plan.left_out(), *plan.expected()))
        sys.stdout.writelines(f"{each}\n" for each in (*plan.lines(), *warnings))
        _tell_verdict(options.progress_descriptor, ExitCode.KEPT)
        sys.exit(ExitCode.KEPT)
    if is_worker:
        check_production(target, yes_production=options.yes_production)
        ahead = Preflight(**parsed["ahead"])  # the master asked
    else:
        _await_others(environment, target)
        ahead = run_preflight(
            target, rehearsal, user_classes, yes_production=options.yes_production, runs_folder=options.record
        )
        parsed["ahead"] = {"prices": dict(ahead.prices), "marks": dict(ahead.marks)}  # for workers
    environment.host = target.base_url
    workload = workload_at(prices=ahead.prices)
    plan = Plan(workload, options, user_classes, is_asked=True, inputs=inputs)
    setup = LoadSetup(options=options, target=target, workload=workload, inputs=inputs, ahead=ahead)
    return setup, [*plan.left_out()], [*plan.expected()]


def _take_rates(environment: Environment, parsed: Namespace) -> None:
    """Ask for the sum of the rates that scenarios of the Locust file have of their own."""
    rates = rates_of(environment.user_classes)
    if not rates:
        return
    others = [each.__name__ for each in environment.user_classes if each.__name__ not in rates]
    if others:
        raise UsageError(
            f"{' and '.join(rates)} have rates of their own, and {' and '.join(others)} none\n"
            "  Set rate in each user class, or in none."
        )
    if parsed.rate or parsed.stages:
        flag = "--rate" if parsed.rate else "--stages"
        raise UsageError(
            f"{flag} has no effect: {' and '.join(rates)} have rates of their own\n"
            "  Leave it out, or take rate out of the classes."
        )
    parsed.rate = sum(rates.values())
    environment.dispatcher_class = SpreadingDispatcher


def _refuse_users_without_arrivals(environment: Environment, options: LoadOptions) -> None:
    """Refuse a rate for users that would send as fast as they can, whatever it is."""
    others = [each.__name__ for each in environment.user_classes if not issubclass(each, ArrivalUser)]
    if options.rate is not None and others:
        raise UsageError(
            f"a rate has no effect on {' and '.join(others)}: only a ScenarioUser waits for arrivals\n"
            "  Derive the class from ScenarioUser, or say how many --users there are, and no rate."
        )


def _await_others(environment: Environment, target: Target) -> None:
    """Wait for other runs of this machine on the target's accounts; keep others waiting until Locust ends."""
    resources = ExitStack()
    resources.enter_context(alone_on(target, lambda line: sys.stderr.write(f"{printable(line)}\n")))
    environment.events.quit.add_listener(lambda **_: resources.close())


def _check_objectives(environment: Environment, options: LoadOptions) -> None:
    """Refuse objectives that cannot be read, or that name an unknown operation.

    Names are not checked if the Locust file has tasks of its own: these may send under any name.
    """
    objectives = objectives_of(options, scenario_name(environment))
    bounds = parse_objectives(options.abort_on)
    rates = rates_of(environment.user_classes)
    stages = [each.name for each in options.load_shape.stages]
    if clash := sorted({*rates} & {*stages}):
        raise UsageError(f"{clash[0]} is the name of a stage and of a scenario\n  Call the stage otherwise.")
    refuse_unknown_stages(objectives, stages)
    refuse_stages(bounds, stages)
    if all(task.__module__ == tasks.__name__ for user in environment.user_classes for task in user.tasks):
        operations = shipped_document().operation_by_id
        known = [*operations, *(f"{each} async" for each in operations if each in RUN_OPERATIONS)]
        if rates:
            known = [labelled(scenario, each) for scenario in rates for each in (*known, ALL_OPERATIONS)]
        refuse_unknown_operations([*objectives, *bounds], known, stages=stages)


def _read_inputs(environment: Environment, options: LoadOptions, target: Target) -> InputFile | None:
    """Read the file of ``--inputs``; refuse it in a worker if it differs from the master's."""
    if options.inputs is None:
        return None
    if not may_take(MAY_RUN, scenarios_in(environment.user_classes)):
        raise UsageError("--inputs has no effect: no task of this scenario runs anything\n  Leave it out.")
    read = read_input_file(options.inputs, target)
    parsed = vars(environment.parsed_options)
    if not isinstance(environment.runner, WorkerRunner):
        parsed["inputs_digest"] = read.digest  # Locust sends it to workers
    elif parsed["inputs_digest"] != read.digest:
        raise UsageError(f"{options.inputs}: differs from the master's file\n  Copy that to each worker.")
    return read


def _tell_verdict(progress_descriptor: int | None, exit_code: ExitCode) -> None:
    if progress_descriptor is not None:
        tell(progress_descriptor, ProgressMessage(exit_code=exit_code))
