"""``report.md`` of a load run, for a pull request's comment or a job's summary page."""

from __future__ import annotations

from knouds_harness.reporting.comparison.baseline import RunChange
from knouds_harness.reporting.comparison.change import ChangeVerdict
from knouds_harness.reporting.comparison.markdown import changes_table
from knouds_harness.reporting.comparison.texts import headline as headline_of_change
from knouds_harness.reporting.comparison.texts import telling_gates_of
from knouds_harness.reporting.load.columns import (
    ERROR_HEADINGS,
    error_rows,
    point_times,
    rows_of,
    text_columns,
)
from knouds_harness.reporting.load.headline import count_states, describe, describe_broken, load_headline
from knouds_harness.reporting.load.rate_limits import tracks_of
from knouds_harness.reporting.load.steadiness import describe_steadiness
from knouds_harness.reporting.markdown_text import code_span, escaped
from knouds_harness.runs.load_results import ALL_OPERATIONS, LoadResults
from knouds_harness.runs.record import RunRecord

_SIGN_BY_TONE = {"good": "✅", "bad": "❌", "warn": "⚠️"}
_MOST_ERRORS = 20
_MOST_LIMITS = 10
_MOST_CHANGES = 10


def load_markdown(record: RunRecord, load: LoadResults, change: RunChange | None = None) -> str:
    """Write a load run up in GitHub's Markdown, with what changed against its baseline, if it has one."""
    verdict = load_headline(record, load)
    sign = _SIGN_BY_TONE[verdict.tone]
    plan = load.plan
    times = f"{plan.duration_s:g} s, the first {plan.warm_up_s:g} s of them left out"
    if load.capacity:
        times = f"{len(plan.stages)} points of {plan.stages[0].duration_s:g} s, {plan.warm_up_s:g} s left out"
    footer = (
        f"{plan.model} model, {times}; "
        f"seed {plan.seed}; at most {load.cost_credits:g} credits; knouds-harness {record.setup.tool_version}"
    )
    blocks = [
        f"## {sign} {verdict.title}: `{plan.scenario}` on `{record.setup.target.name}`",
        escaped(verdict.detail),
        *(f"- {escaped(reason)}" for reason in load.validity.reasons[1:]),
        *([escaped(load.note)] if load.note else []),
        *_objectives(load),
        *_promises(load),
        *_points(load),
        *(_change(change) if change else ()),
        _operations(load),
        *_errors(load),
        *_limits(load),
        *([describe_steadiness(load)] if load.is_steady is not None and not load.capacity else []),
        footer,
    ]
    return "\n\n".join(blocks) + "\n"


def _promises(load: LoadResults) -> list[str]:
    if not load.invariants:
        return []
    lines = [f"Promises verified under load: {count_states(load)}."]
    lines += [f"- ❌ {escaped(describe_broken(each))}" for each in load.invariants if each.broken]
    lines += [
        f"- untested: {each.says} (`{each.fact}`) It takes {each.missing}."
        for each in load.invariants
        if each.state == "untested"
    ]
    return ["\n".join(lines)]


def _change(change: RunChange) -> list[str]:
    verdict = headline_of_change(change.comparison)
    says = f"Against {code_span(change.baseline)}: **{verdict.title}**. {escaped(verdict.detail)}"
    gates = [row for row in telling_gates_of(change.comparison.rows) if row.verdict is not ChangeVerdict.SAME]
    return [says, *([changes_table(gates[:_MOST_CHANGES])] if gates else [])]


def _points(load: LoadResults) -> list[str]:
    if load.capacity is None:
        return []
    rows = [
        [
            f"{each.asked_per_s:,.5g}/s",
            "kept" if each.is_kept else "generator" if each.is_generator_limit else "missed",
            *point_times(each).values(),
            f"{each.error_rate:.2%}",
            each.reason,
        ]
        for each in load.capacity.points
    ]
    headings = dict.fromkeys(heading for each in load.capacity.points for heading in point_times(each))
    rate = "rate that was found" if load.capacity.highest_per_s is not None else "last rate"
    return [
        _table(["asked", "verdict", *map(str.lower, headings), "errors", "why"], rows),
        f"The last point at the {rate}:",
    ]


def _objectives(load: LoadResults) -> list[str]:
    if not load.objectives:
        return []
    return ["\n".join(f"- {'✅' if each.is_met else '❌'} {describe(each)}" for each in load.objectives)]


def _operations(load: LoadResults) -> str:
    columns = text_columns(load, with_units=True)
    names = [each.operation for each in rows_of(load)]
    names = [name if name == ALL_OPERATIONS else _in_cell(name) for name in names]
    return _table(
        ["operation", *(column.heading for column in columns)],
        [[name, *(column.cells[row] for column in columns)] for row, name in enumerate(names)],
    )


def _errors(load: LoadResults) -> list[str]:
    rows = error_rows(load)
    cells = [
        [_in_cell(operation), outcome, status, _in_cell(code) if code else "", count, example]
        for operation, outcome, status, code, count, example in rows[:_MOST_ERRORS]
    ]
    return [_table([*ERROR_HEADINGS], cells)] if rows else []


def _limits(load: LoadResults) -> list[str]:
    tracks = tracks_of(load)
    lines = [f"- rate limit, {track.name}: {track.says}" for track in tracks[:_MOST_LIMITS]]
    if len(tracks) > _MOST_LIMITS:
        lines.append(f"- and {len(tracks) - _MOST_LIMITS} more in the report")
    return ["\n".join(lines)] if lines else []


def _in_cell(text: str) -> str:
    return code_span(text).replace("|", "\\|")


def _table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [titles, ["---" for _ in titles], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
