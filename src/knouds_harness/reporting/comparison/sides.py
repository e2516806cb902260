"""The sides of a comparison: run folders, or summaries that were kept of them, also as a check's baseline.

The baseline of a check is stored in the folder of the run, so its reports can be made again anywhere.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from knouds_harness.errors import RunRecordError, UsageError
from knouds_harness.files import file_content
from knouds_harness.reporting.comparison.check_comparison import (
    CheckComparison,
    CheckFigures,
    check_figures,
    compare_checks,
)
from knouds_harness.reporting.comparison.load_figures import LoadFigures, load_figures
from knouds_harness.runs.load_results import LOAD_KIND
from knouds_harness.runs.record import RunRecord, read_run, read_stored, write_stored

BASELINE_FILE: Final = "baseline.json"
FORMAT: Final = "knouds-harness baseline"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Side:
    """Runs of one thing, all of load or one of conformance; also the contents of a kept summary."""

    format: Literal["knouds-harness baseline"] = FORMAT
    format_version: Literal[1] = 1
    name: str
    tool_version: str
    loads: tuple[LoadFigures, ...] = ()
    checks: tuple[CheckFigures, ...] = ()

    @property
    def runs(self) -> tuple[LoadFigures | CheckFigures, ...]:
        return (*self.loads, *self.checks)


@cache
def side_format() -> TypeAdapter[Side]:
    return TypeAdapter(Side)


def read_side(places: Sequence[Path], *, baselines: Path) -> Side:
    """Read one side.

    Raises:
        RunRecordError: One of the places is missing, empty, cut short, or something else.
        UsageError: Load and conformance runs are mixed, or there are several of conformance.
    """
    parts = [_read(place, baselines) for place in places]
    more = f" and {len(parts) - 1} more" if parts[1:] else ""
    side = Side(
        name=f"{parts[0].name}{more}",
        tool_version=version("knouds-harness"),
        loads=tuple(run for part in parts for run in part.loads),
        checks=tuple(run for part in parts for run in part.checks),
    )
    if not side.runs:
        raise RunRecordError(f"{places[0]}: holds no run\n  Keep it anew from its runs.")
    if side.loads and side.checks:
        raise not_of_one_kind(load=side.loads[0].run, check=side.checks[0].run)
    if len(side.checks) > 1:
        raise UsageError(
            "several conformance runs on one side: their findings do not add up\n  Name one of them."
        )
    return side


def not_of_one_kind(*, load: str, check: str) -> UsageError:
    return UsageError(
        f"{load} is a run of load and {check} one of conformance: they do not compare\n"
        "  Name runs of one kind: each folder's name says which."
    )


def refuse_unfit(places: Sequence[Path], *, allow_short: bool) -> None:
    """Refuse runs that tested less than they were to: nothing that they lack would be missed later.

    Raises:
        UsageError: A check has no verdict, or was cut short and is not allowed to be.
    """
    for record in map(read_run, filter(Path.is_dir, places)):
        place = record.folder
        if record.kind == "check" and not record.outcome.is_complete:
            raise UsageError(
                f"{place}: the check has no verdict ({record.outcome}), so it cannot be a baseline\n"
                "  Run it again."
            )
        if record.is_cut_short and not allow_short:
            raise UsageError(
                f"{place}: the check was cut short, so it cannot be a baseline\n"
                "  Run it again with more credits, or pass --allow-short."
            )


def keep(name: str, side: Side, *, baselines: Path) -> Path:
    """Keep a summary of runs, in place of an earlier one of that name.

    Raises:
        UsageError: The name cannot be that of a file.
        RunRecordError: It cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f'--keep "{name}": is not a name for a file\n'
            "  Use letters, digits, dots, dashes and underscores, such as spring-reads."
        )
    path = baselines / f"{name}.json"
    write_stored(path, side_format().dump_json(replace(side, name=name), indent=1) + b"\n")
    return path


def _read(place: Path, baselines: Path) -> Side:
    kept = baselines / f"{place.name.removesuffix('.json')}.json"
    if place.is_dir():
        record, name = read_run(place), place.resolve().name
        if record.kind == LOAD_KIND:
            return Side(name=name, tool_version="", loads=(load_figures(record),))
        return Side(name=name, tool_version="", checks=(check_figures(record),))
    if place.is_file():
        return _read_kept(place)
    if place.parent == Path() and kept.is_file():
        return _read_kept(kept)
    known = sorted(path.stem for path in baselines.glob("*.json") if _is_kept(path))
    raise RunRecordError(
        f"{place}: neither a run folder nor the name of a summary\n"
        f"  Give a folder under reports/runs, or one of those kept in {baselines}: "
        f"{', '.join(known) or 'none yet'}."
    )


def _is_kept(path: Path) -> bool:
    """Whether it is a summary: other files, such as that of ``--rotate``, may be beside them."""
    try:
        return bool(_read_kept(path).runs)
    except RunRecordError:
        return False


def _read_kept(path: Path) -> Side:
    other, damaged = "Give a run folder, or keep one.", "Keep it anew from its runs, or name another."
    return read_stored(path, side_format(), FORMAT, if_other=other, if_damaged=damaged)


@dataclass(frozen=True, kw_only=True)
class _StoredBaseline:
    format: Literal["knouds-harness baseline of a run"] = "knouds-harness baseline of a run"
    format_version: Literal[1] = 1
    baseline: Side


def find_baseline(name: str | None, *, target: str, baselines: Path) -> Side | None:
    """Find the baseline of a check, before anything is sent.

    ``name`` is a run folder, a kept summary or its name. Without it, the summary that was kept as
    ``TARGET-check`` is taken, if there is one.

    Raises:
        RunRecordError: The baseline is missing, cut short, or something else.
        UsageError: It is of load, or of a run that was not completed.
    """
    usual = baselines / f"{target}-check.json"
    if name is None and not usual.is_file():
        return None
    side = read_side([Path(name) if name else usual], baselines=baselines)
    if not side.checks:
        raise UsageError(
            f"--baseline {side.name}: is of load\n  Name a run of check: its folder ends in -check-TARGET."
        )
    if side.checks[0].doubt:
        raise UsageError(f"--baseline {side.name}: {side.checks[0].doubt}\n  Keep another run in its place.")
    return side


def set_baseline(folder: Path, baseline: Side) -> CheckComparison:
    """Store the baseline of a check, so that its reports show what changed; they are not rendered yet.

    Raises:
        RunRecordError: The run cannot be read, or its folder cannot be written to.
        UsageError: The baseline is the run itself.
    """
    record = read_run(folder)
    if any(each.run == record.folder.resolve().name for each in baseline.runs):
        raise UsageError(f"--baseline {baseline.name}: contains this run itself\n  Name another.")
    content = _stored_format().dump_json(_StoredBaseline(baseline=baseline), indent=1)
    write_stored(folder / BASELINE_FILE, content + b"\n")
    return _compared(record, baseline)


def read_change(record: RunRecord, gaps: list[str]) -> CheckComparison | None:
    """Compare a check with its baseline; None if none was set. Append unreadable parts to ``gaps``."""
    try:
        stored = _stored_format().validate_json(file_content(record.folder / BASELINE_FILE))
        return _compared(record, stored.baseline)
    except FileNotFoundError:
        return None
    except OSError as error:
        gaps.append(f"{BASELINE_FILE} cannot be read ({error.strerror}): no changes are shown.")
    except (ValidationError, IndexError):
        gaps.append(f"{BASELINE_FILE} is damaged or of another version: no changes are shown.")
    return None


def _compared(record: RunRecord, baseline: Side) -> CheckComparison:
    return compare_checks(baseline.checks[0], check_figures(record), against=baseline.name)


@cache
def _stored_format() -> TypeAdapter[_StoredBaseline]:
    return TypeAdapter(_StoredBaseline)
