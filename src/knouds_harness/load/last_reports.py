"""The last reports of workers, waited for: Locust's master counts only what comes within half a second."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import gevent
from locust.runners import MasterRunner, WorkerRunner

_ASK: Final = "knouds_last_report"
_IS_LAST: Final = "knouds_is_last_report"
_WITHIN_S: Final = 30.0
"""Beyond Locust's stop timeout, for a worker that the machine has no time for."""


def give_last_report(runner: WorkerRunner) -> None:
    """Have a worker finish what is in flight and report once more, when its master asks."""

    def report(**_: object) -> None:
        runner.stop()  # gives users the stop timeout to finish
        data: dict[str, Any] = {_IS_LAST: True}
        runner.environment.events.report_to_master.fire(client_id=runner.client_id, data=data)
        runner.send_message("stats", data)

    runner.register_message(_ASK, report, concurrent=True)


def await_last_reports(runner: MasterRunner) -> None:
    """Have a master ask for the last reports when a test ends, and wait for all that are to come."""
    heard: set[str] = set()

    def on_report(client_id: str, data: Mapping[str, Any], **_: object) -> None:
        if data.get(_IS_LAST):
            heard.add(client_id)

    def present() -> set[str]:
        clients = runner.clients
        return {each.id for each in (*clients.ready, *clients.spawning, *clients.running)}

    def ask(**_: object) -> None:
        heard.clear()
        awaited = present()
        for worker in awaited:
            runner.send_message(_ASK, None, worker)
        deadline_s = time.monotonic() + (runner.environment.stop_timeout or 0.0) + _WITHIN_S
        while (awaited & present()) - heard and time.monotonic() < deadline_s:
            gevent.sleep(0.02)

    runner.environment.events.worker_report.add_listener(on_report)
    runner.environment.events.test_stopping.add_listener(ask)
