"""How many files and connections this process may have open: too few are said before anything begins."""

import sys
from typing import Final

from knouds_harness.errors import UsageError

LEAST_OPEN_FILES: Final = 128
"""For the files of a record, libraries, and some connections."""


def require_open_files(count: int) -> None:
    """Make sure that so many files can be open at once; raises the soft limit where it is less.

    Raises:
        UsageError: The hard limit is less.
    """
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - only here, as Windows has none

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise UsageError(
            f"a process may have {hard:,} files open here, and this needs {count:,}\n"
            "  Raise the limit (ulimit -n, LimitNOFILE=, nofile in limits.conf), or use fewer --users."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
