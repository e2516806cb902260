"""The baseline of a check, against which its reports show changes.

It is stored in the folder of the run, so the reports can be made again anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from knouds_harness.errors import ExitCode, RunRecordError, UsageError
from knouds_harness.files import file_content, replace_file
from knouds_harness.reporting.comparison.check_comparison import (
    CheckComparison,
    check_figures,
    compare_checks,
)
from knouds_harness.reporting.comparison.sides import Side, read_side
from knouds_harness.reporting.comparison.texts import headline
from knouds_harness.reporting.report import (
    EVERYWHERE,
    HTML,
    ON_PAGES,
    Block,
    Code,
    Items,
    Medium,
    Section,
    Text,
    Words,
    badge,
)
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.load_results import LOAD_KIND
from knouds_harness.runs.record import RunRecord, read_run

BASELINE_FILE: Final = "baseline.json"
_FORMAT: Final = "knouds-harness baseline of a run"
_MOST: Final[dict[Medium, int]] = {"terminal": 5, "markdown": 20}


@dataclass(frozen=True, kw_only=True)
class _StoredBaseline:
    format: Literal["knouds-harness baseline of a run"] = _FORMAT
    format_version: Literal[1] = 1
    baseline: Side


@dataclass(frozen=True, kw_only=True)
class RunChange:
    baseline: str
    comparison: CheckComparison

    @property
    def is_worse(self) -> bool:
        return self.comparison.exit_code is ExitCode.BREACH


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


def set_baseline(folder: Path, baseline: Side) -> RunChange:
    """Store the baseline of a check, so that its reports show what changed; they are not rendered yet.

    Raises:
        RunRecordError: The run cannot be read, or its folder cannot be written to.
        UsageError: The baseline is the run itself.
    """
    record = read_run(folder)
    if any(each.run == record.folder.resolve().name for each in baseline.runs):
        raise UsageError(f"--baseline {baseline.name}: contains this run itself\n  Name another.")
    content = _format().dump_json(_StoredBaseline(baseline=baseline), indent=1)
    try:
        replace_file(folder, BASELINE_FILE, content + b"\n")
    except OSError as error:
        raise RunRecordError(f"{folder / BASELINE_FILE}: cannot be written: {error.strerror}") from error
    return _compared(record, baseline)


def read_change(record: RunRecord, gaps: list[str]) -> RunChange | None:
    """Compare a check with its baseline; None if none was set. Append unreadable parts to ``gaps``."""
    if record.kind == LOAD_KIND:  # version 0.2 stored some
        return None
    try:
        stored = _format().validate_json(file_content(record.folder / BASELINE_FILE))
        return _compared(record, stored.baseline)
    except FileNotFoundError:
        return None
    except OSError as error:
        gaps.append(f"{BASELINE_FILE} cannot be read ({error.strerror}): no changes are shown.")
    except (ValidationError, IndexError):
        gaps.append(f"{BASELINE_FILE} is damaged or of another version: no changes are shown.")
    return None


def _compared(record: RunRecord, baseline: Side) -> RunChange:
    comparison = compare_checks(baseline.checks[0], check_figures(record))
    return RunChange(baseline=baseline.name, comparison=comparison)


@cache
def _format() -> TypeAdapter[_StoredBaseline]:
    return TypeAdapter(_StoredBaseline)


def change_section(change: RunChange) -> Section:
    """What is lost, new and gone; a terminal has the new findings above, at length."""
    comparison = change.comparison
    verdict = headline(comparison)
    new = (*comparison.regressions, *comparison.new)
    return Section(
        "change",
        "Change against the baseline",
        name="Change",
        blocks=[
            Text(
                (
                    "Against ",
                    Code(change.baseline),
                    ": ",
                    badge(verdict.title.lower(), verdict.tone),
                    f". {verdict.detail}",
                )
            ),
            *(
                Text(note, is_quiet=True, shown=HTML)
                for note in comparison.notes
                if note not in verdict.detail
            ),
            *_listed(
                "not tested any more", "Verified before, and not tested now:", comparison.lost_with_reasons
            ),
            *_listed("new", "New:", [_about(each) for each in new], shown=ON_PAGES),
            *_listed("gone", "Gone, tested again:", [_about(each) for each in comparison.gone]),
        ],
    )


def _listed(
    label: str, title: str, lines: Sequence[Words], *, shown: frozenset[Medium] = EVERYWHERE
) -> list[Block]:
    items = Items(label=label, lines=lines, most=_MOST, shown=shown)
    return [Text(title, shown=ON_PAGES), items] if lines else []


def _about(finding: Finding) -> Words:
    return Code(finding.fact), f" {finding.who}: {finding.verdict} ", Code(finding.fingerprint)
