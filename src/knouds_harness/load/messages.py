"""Messages between the processes of a load run besides Locust's: names, final reports, a proof in each."""

import hmac
import os
import secrets
import time
from argparse import Namespace
from collections.abc import Mapping
from typing import Any, Final

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.exception import RPCReceiveError
from locust.rpc.protocol import Message
from locust.runners import MasterRunner, WorkerRunner

from knouds_harness.errors import UsageError
from knouds_harness.targets.profile import Target

SHARE: Final = "knouds-share"
"""Master to worker: its ``share`` of the load, as a ``Share`` has it, and ``start_unix_s``."""

ASK_CREDITS: Final = "knouds-ask-credits"
"""Worker to master: the credits ``needed`` at least (0 for any number), and ``what`` for, in words."""

CREDITS: Final = "knouds-credits"
"""Master to worker, in reply: the credits ``granted``, which may be 0."""

STOP: Final = "knouds-stop"
"""Worker to master: end the run early, for a ``reason``, with an ``exit_code``."""

ASK_FINAL_REPORT: Final = "knouds-ask-final-report"
"""Master to worker: finish what is in flight, and report once more."""

IS_FINAL: Final = "knouds_is_final"
"""In a worker's report: true if it is the last."""

SILENCE_S: Final = 10.0
"""A worker stops if it hears nothing from its master for this long. Locust's master takes a silent worker for
lost after some four seconds."""


_LEAST_STOP_TIMEOUT_S: Final = 10.0


def set_stop_timeout(environment: Environment, target: Target | None) -> None:
    """Have requests in flight at the end answered or timed out, unless ``--stop-timeout`` says otherwise."""
    longest_s = target.limits.timeout_s + 1.0 if target else 0.0
    environment.stop_timeout = environment.stop_timeout or max(_LEAST_STOP_TIMEOUT_S, longest_s)


_WITHIN_S: Final = 30.0
"""Time for a final report, beyond Locust's stop timeout: a worker's machine may be busy."""


class FinalReporter:
    """In a worker: finishes requests in flight and reports, when the master asks or the worker is ended."""

    def __init__(self, runner: WorkerRunner) -> None:
        self._runner = runner
        self._reported: Event | None = None
        runner.register_message(ASK_FINAL_REPORT, lambda **_: self.report(), concurrent=True)
        runner.environment.events.test_start.add_listener(self._on_test_start)
        runner.environment.events.quitting.add_listener(lambda **_: self.report())

    def report(self) -> None:
        """Report once for each test; a second call waits for the first."""
        if self._reported is not None:
            self._reported.wait(_WITHIN_S)
            return
        self._reported = Event()
        self._runner.stop()  # gives users the stop timeout to finish
        data: dict[str, Any] = {IS_FINAL: True}
        events = self._runner.environment.events
        events.report_to_master.fire(client_id=self._runner.client_id, data=data)
        self._runner.send_message("stats", data)
        self._reported.set()

    def _on_test_start(self, **_: object) -> None:
        self._reported = None


class FinalReports:
    """In the master: asks every worker that takes part for its final report, and waits for them."""

    def __init__(self, runner: MasterRunner) -> None:
        self.received: set[str] = set()
        self.missing: frozenset[str] = frozenset()
        self._runner = runner
        self._reporting: set[str] = set()
        self._awaited: Event | None = Event()  # there is nothing to wait for before the first test
        self._awaited.set()
        events = runner.environment.events
        events.worker_report.add_listener(self._on_report)
        events.test_start.add_listener(self._on_test_start)
        events.test_stopping.add_listener(lambda **_: self.await_all())
        runner.quit = self._quit  # type: ignore[method-assign]

    def _quit(self) -> None:
        """Do as Locust's own, which is called four times, without its pauses for reports that have come."""
        runner = self._runner
        runner.stop(send_stop_to_client=False)
        for client in runner.clients.all:
            runner.send_message("quit", None, client.id)
        runner.greenlet.kill(block=True)

    def await_all(self) -> None:
        """Ask and wait, once for each test; a second call waits for the first."""
        if self._awaited is not None:
            self._awaited.wait()
            return
        self._awaited = Event()
        try:
            asked = self._taking_part() - self.received
            for worker in asked:
                self._runner.send_message(ASK_FINAL_REPORT, None, worker)
            deadline_s = time.monotonic() + (self._runner.environment.stop_timeout or 0.0) + _WITHIN_S
            while (missing := asked & self._taking_part() - self.received) and time.monotonic() < deadline_s:
                gevent.sleep(0.02)
            self.missing = frozenset(missing)
        finally:
            self._awaited.set()

    def _taking_part(self) -> set[str]:
        """Return the workers that run part of the test; one that joined late may not know of it."""
        clients = self._runner.clients
        ready = {each.id for each in clients.ready} & self._reporting
        return ready.union(each.id for each in (*clients.spawning, *clients.running))

    def _on_report(self, client_id: str, data: Mapping[str, Any], **_: object) -> None:
        self._reporting.add(client_id)
        if data.get(IS_FINAL):
            self.received.add(client_id)

    def _on_test_start(self, **_: object) -> None:
        self.received.clear()
        self._awaited = None


# The proof in each message that it comes from a process of the run

TOKEN_VARIABLE: Final = "KNOUDS_HARNESS_WORKERS_TOKEN"  # noqa: S105 - a name
_ANY_ADDRESS: Final = "*"
_LOOPBACK: Final = "127.0.0.1"
_LENGTH: Final = 32


def require_proof(token: str) -> None:
    """Have Locust prove the token in each message that this process sends, and refuse others."""
    key, serialize, unserialize = token.encode(), Message.serialize, Message.unserialize

    def with_proof(message: Message) -> bytes:
        data: bytes = serialize(message)
        return hmac.digest(key, data, "sha256") + data

    def checked(data: bytes) -> Message:
        proof, rest = data[:_LENGTH], data[_LENGTH:]
        if not hmac.compare_digest(proof, hmac.digest(key, rest, "sha256")):
            raise RPCReceiveError("a message without the token of this run")
        message: Message = unserialize(rest)
        return message

    Message.serialize = with_proof  # type: ignore[method-assign]
    Message.unserialize = staticmethod(checked)  # type: ignore[method-assign]


def secure(parsed: Namespace) -> None:
    """Let only those take part whom the user has meant: of this machine, or with the token."""
    token = os.environ.get(TOKEN_VARIABLE, "")
    if parsed.processes and not parsed.worker:
        parsed.master_bind_host = parsed.master_host = _LOOPBACK
        token = token or secrets.token_hex()
    elif not (parsed.master or parsed.worker):
        return
    elif parsed.master and parsed.master_bind_host == _ANY_ADDRESS:
        raise UsageError(
            "--master would listen to everybody\n"
            "  Add --master-bind-host ADDRESS, the address of this machine that workers connect to."
        )
    if not token:
        raise UsageError(
            f"{TOKEN_VARIABLE} is not set: anybody who can connect could lead the load, or end it\n"
            "  Set it to the same secret where the master and where each worker runs."
        )
    require_proof(token)
