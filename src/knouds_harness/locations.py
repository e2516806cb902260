"""Find the document, the suite and the built-in targets, in a checkout or in an installed wheel."""

from pathlib import Path
from typing import Any, Final

import click

_PACKAGE = Path(__file__).parent
_SHIPPED = _PACKAGE / "shipped"
_CHECKOUT = _PACKAGE.parents[1]


def document_path() -> Path:
    return _shipped_or("openapi.yaml", _CHECKOUT / "spec" / "openapi.yaml")


def suite_path() -> Path:
    return _shipped_or("conformance", _CHECKOUT / "tests" / "conformance")


def recordings_path() -> Path:
    return _shipped_or("recordings", _CHECKOUT / "tests" / "recordings")


def scenarios_path() -> Path:
    return _shipped_or("load", _CHECKOUT / "load")


def scenario_names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in scenarios_path().glob("*.py")))


OWN_MIX: Final = "custom"
"""The scenario whose tasks are named on the command line."""


def objectives_path() -> Path:
    """Return the file of objectives that ships with the harness; it covers every scenario."""
    return scenarios_path() / "objectives.toml"


class ObjectivesFile(click.Path):
    """The option type of a file of objectives; ``shipped`` means ``objectives_path()``."""

    def convert(self, value: Any, *_: Any) -> Path:  # noqa: ANN401 - as click has it
        return objectives_path() if value == "shipped" else Path(str(value))


SANDBOX: Final = "sandbox"
"""The built-in target; no profile of the user may have its name."""


def usual_objectives(target: str) -> Path | None:
    """Return the objectives to use if none are given: the shipped ones for the sandbox, no file elsewhere."""
    return objectives_path() if target == SANDBOX else None


def builtin_targets_path() -> Path:
    return _shipped_or("targets", _CHECKOUT / "targets")


def _shipped_or(name: str, checkout: Path) -> Path:
    shipped = _SHIPPED / name
    return shipped if shipped.exists() else checkout
