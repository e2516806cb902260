"""The Locust process of ``load``: reports an error in a Locust file or an option in one sentence."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import signal
import sys
import traceback
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from knouds_harness.errors import ExitCode
from knouds_harness.locations import scenarios_path

if TYPE_CHECKING:
    from locust import LoadTestShape, User
    from locust.argument_parser import LocustArgumentParser

_OF_THE_PLUGIN: Final = "--progress-descriptor"
"""Only the plugin adds this option, and the command always passes it: without plugin, Locust refuses it."""


def main() -> None:
    """Run Locust with the arguments of this process; the first two are ``-f FILE``."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the plugin has its own handlers
    leave_out_what_is_not_used()
    import locust.main  # noqa: PLC0415 - without what is left out
    from locust.argument_parser import LocustArgumentParser  # noqa: PLC0415

    import knouds_harness.load.plugin  # noqa: F401, PLC0415 - while the target may still start
    from knouds_harness.exchange.redaction import shown  # noqa: PLC0415

    file = sys.argv[2]

    def load_or_say_why_not(path: str) -> object:
        try:
            return load_scenario(path)
        except Exception as error:  # noqa: BLE001 - a Locust file may raise anything
            says = error.msg if isinstance(error, SyntaxError) else str(error)
            _end(f"{file}{_line_of(error, path)}: {type(error).__name__}: {says}")

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
    variables = sys.stdin.readline()
    if not variables:
        sys.exit(ExitCode.INTERRUPTED)  # the command has ended
    os.environ.update(json.loads(variables))
    locust.main.main()


def load_scenario(path: str) -> tuple[dict[str, type[User]], list[LoadTestShape]]:
    """Run a Locust file, and return its users and shapes, as Locust does.

    Locust would let modules of the current folder, and of the file's, take the place of any that is imported
    from then on. Here, those of the user's own file come last, and there are none for a scenario of ours.
    """
    from locust.util.load_locustfile import is_shape_class, is_user_class  # noqa: PLC0415

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


def leave_out_what_is_not_used() -> None:
    """Keep a third of what Locust imports out: its web page and HTML reports, and the command of httpx.

    The page's modules are imported after all if something asks for more than Locust does at its start.
    """
    sys.modules["httpx._main"] = None  # type: ignore[assignment]  # as if click and rich were not installed
    for name in ("locust.web", "locust.html"):
        sys.modules[name] = _Postponed(name)
    installed = importlib.metadata.entry_points()  # gevent would read those of all packages a dozen times
    importlib.metadata.entry_points = installed.select


class _Postponed(ModuleType):
    """Stands for a module until something of it is called, or asked for that Locust does not ask for."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the module has
        if name.startswith("__"):
            raise AttributeError(name)

        def real() -> Any:  # noqa: ANN401
            if sys.modules[self.__name__] is self:
                del sys.modules[self.__name__]
            return getattr(importlib.import_module(self.__name__), name)

        if name in {"WebUI", "get_html_report", "process_html_filename"}:
            return lambda *arguments, **options: real()(*arguments, **options)  # noqa: PLW0108 - not yet
        return real()


def read_no_configuration_files() -> None:
    """Have Locust take its options from us alone, not from files that lie in the current folder or HOME."""
    from locust import argument_parser  # noqa: PLC0415 - without what is left out

    for function in (argument_parser.get_parser, argument_parser.get_empty_argument_parser):
        defaults = list(function.__defaults__ or ())
        defaults[-1] = ()
        function.__defaults__ = tuple(defaults)


def _line_of(error: Exception, path: str) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    if isinstance(error, SyntaxError) and error.filename == path:
        lines.append(error.lineno)
    return f", line {lines[-1]}" if lines else ""


def _end(message: str) -> NoReturn:
    sys.stderr.write(f"error: {message}\n")
    sys.exit(ExitCode.USAGE)


if __name__ == "__main__":
    main()
