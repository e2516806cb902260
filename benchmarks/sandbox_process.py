"""A sandbox in a process of its own, for what measures it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def sandbox_process(
    *options: str, core: int | None = None
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Start a sandbox on a free port, and end it.

    Args:
        options: Of its command.
        core: The only processor core that it may use; None for any.

    Yields:
        The process, and what it announces: ``base_url`` and ``keys``.
    """
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    command = [*pinned, sys.executable, "-m", "knouds_sandbox", "--announce", "--port", "0", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, json.loads(next(process.stdout or iter([])))
        finally:
            process.kill()
