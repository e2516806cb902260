"""Declare each command option once, as a field of a dataclass.

The options of click, of the pytest plugin and of Locust's parser are made from that field, and all three are
parsed into the dataclass. The program behind a command, pytest or Locust, is its *runner*.
"""

import math
import random
import re
from argparse import SUPPRESS, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

import click

_KEY: Final = "option"
_LARGEST_SEED: Final = 2**31
_Options = TypeVar("_Options")
_Command = TypeVar("_Command", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A finite number between bounds: neither ``nan`` nor ``inf``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - as click has it
        """Refuse ``nan`` and ``inf`` as well."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return float(number)


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option.

    Attributes:
        flag: Such as ``--warm-up``; derived from the name if not given.
        runner_flag: The option of pytest or Locust; the same as ``flag`` if not given.
        type: Checks and converts a value; derived from the field's type if not given.
        default_text: The default as text, for a default that depends on more than this option.
        bare_value: The value if the option is given without one; None if it needs one.
        in_click: Whether our commands have it.
        in_runner: Whether it is added to pytest's or Locust's options; False if they already have it.
        is_hidden: Whether only our own processes pass it.
    """

    help: str
    name: str = ""
    default: object = None
    flag: str = ""
    runner_flag: str = ""
    type: click.ParamType[Any] | None = None
    metavar: str | None = None
    default_text: str = ""
    bare_value: float | None = None
    is_flag: bool = False
    is_repeatable: bool = False
    in_click: bool = True
    in_runner: bool = True
    is_hidden: bool = False

    @property
    def text(self) -> str:
        return f"{self.help} [default: {self.default_text}]" if self.default_text else self.help

    @property
    def destination(self) -> str:
        """The attribute that holds the value in the namespace that pytest or Locust parsed."""
        return self.runner_flag.lstrip("-").replace("-", "_")

    def as_click(self) -> Callable[[_Command], _Command]:
        """Make the click option; its value is None, False or an empty tuple if it is not given."""
        if self.is_flag:
            return click.option(self.flag, self.name, is_flag=True, help=self.text)
        more: dict[str, Any] = {"multiple": True} if self.is_repeatable else {}
        if self.bare_value is not None:
            more = {"is_flag": False, "flag_value": str(self.bare_value)}
        metavar = self.metavar if self.bare_value is None else f"[{self.metavar}]"
        return click.option(self.flag, self.name, type=self.type, metavar=metavar, help=self.text, **more)

    def for_argparse(self) -> dict[str, Any]:
        text = SUPPRESS if self.is_hidden else self.text.replace("%", "%%")
        if self.is_flag:
            return {"action": "store_true", "help": text}
        keywords: dict[str, Any] = {"type": self._converted, "metavar": self.metavar, "help": text}
        if self.default_text == str(self.default):
            keywords |= {"default": self.default}
        if isinstance(self.type, click.Choice):
            keywords |= {"choices": list(self.type.choices)}
        if self.is_repeatable:
            keywords |= {"action": "append"}
        if self.bare_value is not None:
            keywords |= {"nargs": "?", "const": self.bare_value}
        return keywords

    def kept(self, value: object) -> object:
        """Convert a parsed value to the type of the dataclass field."""
        if isinstance(self.type, click.Path):
            return self.type.convert(str(value), None, None)
        return tuple(value) if isinstance(value, list) else value

    def _converted(self, text: str) -> Any:  # noqa: ANN401 - what the type makes of it
        """Check a value as click does; a path stays text, because Locust sends parsed options to workers."""
        if self.type is None or isinstance(self.type, click.Path):
            return text
        try:
            return self.type.convert(text, None, None)
        except click.BadParameter as problem:
            raise ArgumentTypeError(problem.message) from None


def option(
    help: str,  # noqa: A002 - as click has it
    *,
    default: object = None,
    default_factory: Callable[[], object] | None = None,
    **more: Any,  # noqa: ANN401 - attributes of Option
) -> Any:  # noqa: ANN401 - as dataclasses.field
    """Declare a field that is an option; ``more`` are attributes of ``Option``."""
    metadata = {_KEY: Option(help=help, **more)}
    if default_factory is not None:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def draw_seed() -> int:
    return random.SystemRandom().randrange(_LARGEST_SEED)


def options_of(declared: type) -> Mapping[str, Option]:
    """Return the options that a dataclass declares, by field name, with all attributes filled in."""
    hints = get_type_hints(declared)
    found = {}
    for each in fields(declared):
        if _KEY in each.metadata:
            given: Option = each.metadata[_KEY]
            flag = given.flag or f"--{each.name.replace('_', '-')}"
            kind = next(
                (part for part in get_args(hints[each.name]) if part is not Ellipsis), hints[each.name]
            )
            default = None if each.default is MISSING else each.default
            is_shown = default is not False and default not in (None, "", ())
            found[each.name] = replace(
                given,
                name=each.name,
                default=default,
                flag=flag,
                runner_flag=given.runner_flag or flag,
                type=given.type or _click_type(kind),
                default_text=given.default_text or (str(default) if is_shown else ""),
                is_flag=kind is bool,
                is_repeatable=get_origin(hints[each.name]) is tuple,
            )
    return found


def click_options(declared: type, *names: str) -> Callable[[_Command], _Command]:
    """Give a command the options of a dataclass; ``names`` selects fields, the default is all."""
    options = options_of(declared)

    def decorate(command: _Command) -> _Command:
        for each in reversed([options[name] for name in names or options]):
            if each.in_click:
                command = each.as_click()(command)
        return command

    return decorate


def add_runner_options(declared: type, add: Callable[..., object]) -> None:
    """Add the options of a dataclass to pytest's or Locust's parser with its function ``add``."""
    for each in options_of(declared).values():
        if each.in_runner:
            add(each.runner_flag, **each.for_argparse())


def runner_arguments(declared: type, asked: Mapping[str, object]) -> list[str]:
    """Turn options that click parsed into command-line arguments of pytest or Locust."""
    arguments: list[str] = []
    options = options_of(declared)
    for name, value in asked.items():
        flag = options[name].runner_flag
        if isinstance(value, tuple):
            arguments += [part for each in value for part in (flag, str(each))]
        elif value is True:
            arguments.append(flag)
        elif value is not None and value is not False:  # 0 is a value
            arguments += [flag, str(value)]
    return arguments


def options_from(declared: type[_Options], asked: Mapping[str, object] | Namespace) -> _Options:
    """Make the dataclass from options that click, pytest or Locust parsed."""
    options = options_of(declared)
    if isinstance(asked, Namespace):
        asked = {name: getattr(asked, each.destination, None) for name, each in options.items()}
    given = {name: options[name].kept(value) for name, value in asked.items() if value is not None}
    make: Callable[..., _Options] = declared
    return make(**given)


def _click_type(kind: object) -> click.ParamType[Any]:
    return click.Path(path_type=Path) if kind is Path else click.types.convert_type(kind)


_TIMESPAN: Final = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s?)?")
_LONGEST_S: Final = 366 * 24 * 3600


class Timespan(click.ParamType[int]):
    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return seconds; refuse zero and anything that is not a duration."""
        found = _TIMESPAN.fullmatch(str(value))
        hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
        whole_s = 3600 * hours + 60 * minutes + seconds
        if whole_s > _LONGEST_S:
            self.fail(f"{str(value)[:20]!r} is too long: a year at most", param, ctx)
        if not whole_s:
            self.fail(f"{value!r} is not a time; write 90, 30s, 10m or 1h30m", param, ctx)
        return whole_s


_folder_option: Final = partial(
    click.option, type=click.Path(path_type=Path), show_default=True, metavar="DIR"
)
runs_folder_option: Final = _folder_option(
    "--runs-folder", default=Path("reports/runs"), help="Folder for run records"
)
baselines_folder_option: Final = _folder_option(
    "--baselines-folder", default=Path("reports/baselines"), help="Folder for kept summaries"
)
format_option: Final = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Output format",
)
