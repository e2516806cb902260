"""What the plugin sets up for a locustfile, in a worker's process."""

import signal
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from locust.argument_parser import LocustArgumentParser
from locust.event import Events

from knouds_harness.contract.document import shipped_document
from knouds_harness.errors import ExitCode
from knouds_harness.load import plugin


@pytest.fixture
def begun(monkeypatch) -> list[Any]:
    """The environments whose part has begun, and each prepared start of users."""
    begun: list[Any] = []

    def begin(environment: Any) -> Any:
        begun.append(environment.runner)
        environment.load_run = SimpleNamespace(on_test_start=lambda: begun.append("prepared"))
        return environment.load_run

    monkeypatch.setattr(plugin, "_begin", begin)
    return begun


def test_worker_started_too_early_waits_for_its_setup(begun):
    """Otherwise its users would know no arrivals, and send as fast as they can."""
    events = Events()
    plugin.install(events)
    environment: Any = SimpleNamespace(runner=None, parsed_options=SimpleNamespace(worker=True))
    starting = gevent.spawn(events.test_start.fire, environment=environment)
    gevent.sleep(0)
    assert (starting.ready(), begun) == (False, [])

    environment.runner = "a worker"

    starting.get(timeout=5)
    assert begun == ["a worker", "prepared"]


@pytest.mark.parametrize(("is_worker", "parts"), [(True, ["a runner", "prepared"]), (False, [])])
def test_worker_begins_its_part_once_and_a_master_has_none(begun, is_worker, parts):
    events = Events()
    plugin.install(events)
    environment: Any = SimpleNamespace(runner="a runner", parsed_options=SimpleNamespace(worker=is_worker))

    events.test_start.fire(environment=environment)
    events.test_start.fire(environment=environment)

    assert begun == parts


@pytest.fixture
def leader(monkeypatch):
    """Handlers of signals are put back; return a leader's environment, headless."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    options = SimpleNamespace(started_by="", command_pid=None, headless=True, processes=1)
    yield SimpleNamespace(parsed_options=options, runner=None, events=Events())
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_a_run_is_set_up_ends_it_with_130(leader, monkeypatch, number):
    """By an exception, so that the record of what has not begun is removed."""
    monkeypatch.setattr(plugin, "_begin", lambda _: signal.raise_signal(number))

    with pytest.raises(SystemExit) as ended:
        plugin._on_init(leader)  # noqa: SLF001 - as Locust tells it

    assert ended.value.code == ExitCode.INTERRUPTED


def test_document_is_read_before_workers_are_forked():
    """Otherwise each worker reads it while the master waits for its heartbeat."""
    events = Events()
    plugin.install(events)
    shipped_document.cache_clear()

    events.init_command_line_parser.fire(parser=LocustArgumentParser())

    assert shipped_document.cache_info().currsize == 1
