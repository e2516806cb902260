"""Whether the process that wrote a ledger still runs, and not another one with its id."""

import os
from pathlib import Path


def process_start(pid: int) -> str | None:
    """Return when a process was started, by the boot and its clock tick; None if it has ended.

    Also None where there is no ``/proc``, as on macOS.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    is_ended = fields[0] in (b"Z", b"X")  # listed until its parent reads its exit status
    return None if is_ended else f"{boot} {fields[19].decode()}"


def is_running(pid: object, start: object) -> bool:
    """Return whether a process still runs; if its start is not known, any process with its id will do."""
    if not isinstance(pid, int) or not 0 < pid < 2**31:
        return False
    if start is not None:
        return process_start(pid) == start
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        return True
    return True
