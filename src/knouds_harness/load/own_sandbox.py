"""A sandbox for plain Locust with ``--target sandbox``; ``knouds-harness load`` brings one of its own."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Final

from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from knouds_harness.errors import UsageError
from knouds_harness.target.builtin import SANDBOX, target_environment

_URL: Final = "KNOUDS_SANDBOX_URL"


def serve_sandbox(environment: Environment, target: str | None) -> None:
    """Start the built-in sandbox, if that is the target and none runs; it ends with Locust.

    Raises:
        HarnessError: It did not start, or the run has more processes than this one.
    """
    if target != SANDBOX or _URL in os.environ:
        return
    if isinstance(environment.runner, MasterRunner | WorkerRunner):
        raise UsageError(
            "target sandbox: the processes of this run need one that runs already\n"
            "  Use knouds-harness load NAME --processes N, which starts one for all of them."
        )
    resources = ExitStack()
    os.environ.update(resources.enter_context(target_environment(target)))
    environment.events.quit.add_listener(lambda **_: resources.close())
