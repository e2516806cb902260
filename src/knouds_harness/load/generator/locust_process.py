"""The Locust process of ``load``: reports an error in a Locust file or an option in one sentence."""

import signal
import sys
import traceback
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Final, NoReturn

import locust.main
from locust import LoadTestShape, User, argument_parser
from locust.argument_parser import LocustArgumentParser
from locust.util.load_locustfile import is_shape_class, is_user_class

from knouds_harness.errors import ExitCode
from knouds_harness.exchange.redaction import shown
from knouds_harness.locations import scenarios_path

_OF_THE_PLUGIN: Final = "--progress-descriptor"
"""Only the plugin adds this option, and the command always passes it: without plugin, Locust refuses it."""


def main() -> None:
    """Run Locust with the arguments of this process; the first two are ``-f FILE``."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the plugin has its own handlers
    file = sys.argv[2]

    def load_or_say_why_not(path: str) -> object:
        try:
            return load_scenario(path)
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
    read_no_configuration_files()
    vars(locust.main)["load_locustfile"] = load_or_say_why_not  # Locust has no hook for either
    LocustArgumentParser.error = refuse  # type: ignore[method-assign]
    locust.main.main()


def load_scenario(path: str) -> tuple[dict[str, type[User]], list[LoadTestShape]]:
    """Run a Locust file, and return its users and shapes, as Locust does.

    Locust would let modules of the current folder, and of the file's, take the place of any that is imported
    from then on. Here, those of the user's own file come last, and there are none for a scenario of ours.
    """
    if Path(path).resolve().parent != scenarios_path().resolve():
        sys.path += [str(Path(path).resolve().parent), str(Path.cwd())]
    loader = SourceFileLoader("locustfile", path)
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None  # noqa: S101 - it is given a loader
    module = sys.modules[loader.name] = module_from_spec(spec)
    loader.exec_module(module)
    found = vars(module).items()
    users = {name: each for name, each in found if is_user_class(each)}
    return users, [each() for _, each in found if is_shape_class(each)]


def read_no_configuration_files() -> None:
    """Have Locust take its options from us alone, not from files that lie in the current folder or HOME."""
    for function in (argument_parser.get_parser, argument_parser.get_empty_argument_parser):
        defaults = list(function.__defaults__ or ())
        defaults[-1] = ()
        function.__defaults__ = tuple(defaults)


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
