"""The baseline of one run, against which its reports show changes.

It is stored in the folder of the run, for load with the run's own figures: so the reports can be made again
anywhere, and quickly, as the times of each second are read only once.
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
from knouds_harness.reporting.comparison.load_comparison import LoadComparison, compare_loads
from knouds_harness.reporting.comparison.load_figures import LoadFigures, load_figures
from knouds_harness.reporting.comparison.sides import Side, not_of_one_kind, read_side
from knouds_harness.reporting.comparison.texts import Comparison, headline
from knouds_harness.reporting.comparison.tolerances import Tolerances, read_tolerances
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
from knouds_harness.runs.load_plan import LoadPlan
from knouds_harness.runs.load_results import LOAD_KIND
from knouds_harness.runs.record import RunRecord, read_run

BASELINE_FILE: Final = "baseline.json"
_FORMAT: Final = "knouds-harness baseline of a run"
_MOST: Final[dict[Medium, int]] = {"terminal": 5, "markdown": 20}


@dataclass(frozen=True, kw_only=True)
class _StoredBaseline:
    """The contents of ``baseline.json``."""

    format: Literal["knouds-harness baseline of a run"] = _FORMAT
    format_version: Literal[1] = 1
    baseline: Side
    run: LoadFigures | None
    tolerances: tuple[tuple[str, str, float], ...] = ()

    def compared(self, record: RunRecord) -> Comparison:
        if self.run is None:
            return compare_checks(self.baseline.checks[0], check_figures(record))
        given = {(operation, measure): share for operation, measure, share in self.tolerances}
        return compare_loads(
            self.baseline.loads, [self.run], tolerances=Tolerances(given=given), objectives=None
        )


@dataclass(frozen=True, kw_only=True)
class RunChange:
    """A run compared with its baseline."""

    baseline: str
    comparison: Comparison

    @property
    def is_worse(self) -> bool:
        return self.comparison.exit_code is ExitCode.BREACH


def find_baseline(
    name: str | None, *, target: str, scenario: str, is_open: bool, baselines: Path, mix: str | None = None
) -> Side | None:
    """Find the baseline of a load run, before anything is sent.

    ``name`` is a run folder, a kept summary or its name. Without it, the summary that was kept as
    ``TARGET-SCENARIO`` is taken, if there is one and it is comparable. ``mix`` is that of the plan, if it is
    the user's own.

    Raises:
        RunRecordError: The baseline is missing, cut short, or something else.
        UsageError: It is not comparable.
    """
    side = _named_side(name, f"{target}-{scenario}", baselines)
    if side is None:
        return None
    model = "open" if is_open else "closed"
    others = [
        each
        for each in side.loads
        if (each.plan.scenario, each.plan.model) != (scenario, model)
        or (mix is not None and not _is_of_mix(each.plan, mix))
    ]
    if side.loads and not others:
        return side
    if name is None:
        return None
    what = f"{others[0].plan.workload} in the {others[0].plan.model} model" if others else "conformance"
    wanted = scenario if mix is None else f"{scenario} ({mix})"
    raise UsageError(
        f"--baseline {name}: is of {what}, and does not compare with {wanted} in the {model} one\n"
        "  Name a run of that scenario and model."
    )


def _is_of_mix(plan: LoadPlan, mix: str) -> bool:
    """Whether a plan has this mix of the user's own; older records have it at the start of ``inputs``."""
    return (plan.mix or plan.inputs) == mix or (not plan.mix and plan.inputs.startswith(f"{mix} ("))


def find_check_baseline(name: str | None, *, target: str, baselines: Path) -> Side | None:
    """Find the baseline of a check, as ``find_baseline`` does; by default ``TARGET-check``.

    Raises:
        RunRecordError: The baseline is missing, cut short, or something else.
        UsageError: It is of load, or of a run that was not completed.
    """
    side = _named_side(name, f"{target}-check", baselines)
    if side is None:
        return None
    if not side.checks:
        raise UsageError(
            f"--baseline {side.name}: is of load\n  Name a run of check: its folder ends in -check-TARGET."
        )
    if side.checks[0].doubt:
        raise UsageError(f"--baseline {side.name}: {side.checks[0].doubt}\n  Keep another run in its place.")
    return side


def _named_side(name: str | None, usual: str, baselines: Path) -> Side | None:
    path = baselines / f"{usual}.json" if name is None else Path(name)
    return None if name is None and not path.is_file() else read_side([path], baselines=baselines)


def set_baseline(folder: Path, baseline: Side, *, objectives: Path) -> RunChange:
    """Store the baseline of a run, so that its reports show what changed; they are not rendered yet.

    Raises:
        RunRecordError: The run cannot be read, or its folder cannot be written to.
        UsageError: The two are not comparable, or a tolerance is wrong.
    """
    record = read_run(folder)
    name = record.folder.resolve().name
    if baseline.loads and record.kind != LOAD_KIND:
        raise not_of_one_kind(load=baseline.name, check=name)
    if baseline.checks and record.kind == LOAD_KIND:
        raise not_of_one_kind(load=name, check=baseline.name)
    if any(each.run == name for each in baseline.runs):
        raise UsageError(f"--baseline {baseline.name}: contains this run itself\n  Name another.")
    kept = _StoredBaseline(baseline=baseline, run=None)
    if record.kind == LOAD_KIND:
        run = load_figures(record)
        tolerances = read_tolerances(objectives, run.plan.scenario, [])
        given = tuple((*key, share) for key, share in tolerances.given.items())
        kept = _StoredBaseline(baseline=baseline, run=run, tolerances=given)
    change = RunChange(baseline=baseline.name, comparison=kept.compared(record))
    path = folder / BASELINE_FILE
    try:
        replace_file(folder, BASELINE_FILE, _format().dump_json(kept, indent=1) + b"\n")
    except OSError as error:
        raise RunRecordError(f"{path}: cannot be written: {error.strerror}") from error
    return change


def read_change(record: RunRecord, gaps: list[str]) -> RunChange | None:
    """Compare a run with its baseline; None if none was set. Append unreadable parts to ``gaps``."""
    try:
        kept = _format().validate_json(file_content(record.folder / BASELINE_FILE))
        return RunChange(baseline=kept.baseline.name, comparison=kept.compared(record))
    except FileNotFoundError:
        return None
    except OSError as error:
        gaps.append(f"{BASELINE_FILE} cannot be read ({error.strerror}): no changes are shown.")
    except (ValidationError, UsageError):
        gaps.append(f"{BASELINE_FILE} is damaged or of another version: no changes are shown.")
    return None


@cache
def _format() -> TypeAdapter[_StoredBaseline]:
    return TypeAdapter(_StoredBaseline)


def change_section(change: RunChange, blocks: Sequence[Block]) -> Section:
    comparison = change.comparison
    verdict = headline(comparison)
    left_out = comparison.left_out if isinstance(comparison, LoadComparison) else ()
    notes = [each for each in (*comparison.notes, *left_out) if each not in verdict.detail]
    title = badge(verdict.title.lower(), verdict.tone)
    return Section(
        "change",
        "Change against the baseline",
        name="Change",
        blocks=[
            Text(("Against ", Code(change.baseline), ": ", title, f". {verdict.detail}")),
            *(Text(note, is_quiet=True, shown=HTML) for note in notes),
            *blocks,
        ],
    )


def check_change_blocks(comparison: CheckComparison) -> list[Block]:
    """List lost facts, and findings that are new or gone; a terminal has the new ones above, at length."""
    new = (*comparison.regressions, *comparison.new)
    return [
        *_listed("not tested any more", "Verified before, and not tested now:", comparison.lost_with_reasons),
        *_listed("new", "New:", [_about(each) for each in new], shown=ON_PAGES),
        *_listed("gone", "Gone, tested again:", [_about(each) for each in comparison.gone]),
    ]


def _listed(
    label: str, title: str, lines: Sequence[Words], *, shown: frozenset[Medium] = EVERYWHERE
) -> list[Block]:
    items = Items(label=label, lines=lines, most=_MOST, shown=shown)
    return [Text(title, shown=ON_PAGES), items] if lines else []


def _about(finding: Finding) -> Words:
    return Code(finding.fact), f" {finding.who}: {finding.verdict} ", Code(finding.fingerprint)
