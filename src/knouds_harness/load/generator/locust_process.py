"""The Locust process of ``load``: reports an error in a Locust file or an option in one sentence."""

import os
import signal
import sys
import traceback
from typing import Final, NoReturn

import locust.main
from gevent.monkey import get_original
from locust.argument_parser import LocustArgumentParser
from locust.util.load_locustfile import load_locustfile

from knouds_harness.errors import ExitCode
from knouds_harness.exchange.redaction import shown

_OF_THE_PLUGIN: Final = "--progress-descriptor"
"""Only the plugin adds this option, and the command always passes it: without plugin, Locust refuses it."""
_LOOK_EVERY_S: Final = 0.5


def main() -> None:
    """Run Locust with the arguments of this process; the first two are ``-f FILE``."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the plugin has its own handlers
    file = sys.argv[2]
    leader = os.getpid()
    os.register_at_fork(after_in_child=lambda: _end_with(leader))

    def load_or_say_why_not(path: str) -> object:
        try:
            return load_locustfile(path)
        except Exception as error:  # noqa: BLE001 - a Locust file may raise anything
            _end(f"{file}{_line_of(error, path)}: {type(error).__name__}: {_words_of(error)}")

    def refuse(_: LocustArgumentParser, message: str) -> NoReturn:
        if _OF_THE_PLUGIN in message:
            _end(
                f"{file}: does not install the plugin, so this command cannot run it\n"
                "  Add `from knouds_harness.load.plugin import install` and `install(locust.events)`."
            )
        _end(message)

    write = sys.stderr.write
    sys.stderr.write = lambda text: write(shown(text))  # type: ignore[method-assign]
    sys.argv[0] = "knouds-harness load"  # Locust's help names it
    vars(locust.main)["load_locustfile"] = load_or_say_why_not  # Locust has no hook for either
    LocustArgumentParser.error = refuse  # type: ignore[method-assign]
    locust.main.main()


def _end_with(leader: int) -> None:
    """End this worker when its master is gone, even while it connects, when Locust fires no event."""
    sleep = get_original("time", "sleep")

    def look() -> None:
        while os.getppid() == leader:
            sleep(_LOOK_EVERY_S)
        os._exit(ExitCode.INTERRUPTED)

    get_original("_thread", "start_new_thread")(look, ())


def _line_of(error: Exception, path: str) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    if isinstance(error, SyntaxError) and error.filename == path:
        lines.append(error.lineno)
    return f", line {lines[-1]}" if lines else ""


def _words_of(error: Exception) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error)


def _end(message: str) -> NoReturn:
    sys.stderr.write(f"error: {message}\n")
    sys.exit(ExitCode.USAGE)


if __name__ == "__main__":
    main()
