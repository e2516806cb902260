"""``report.md`` of a load run, for a pull request's comment or a job's summary page."""

from __future__ import annotations

from knouds_harness.reporting.comparison.baseline import RunChange
from knouds_harness.reporting.comparison.change import Verdict
from knouds_harness.reporting.comparison.markdown import changes_table
from knouds_harness.reporting.comparison.wording import headline as headline_of_change
from knouds_harness.reporting.comparison.wording import telling_gates_of
from knouds_harness.reporting.load.headline import (
    count_states,
    describe,
    describe_broken,
    load_headline,
    milliseconds,
)
from knouds_harness.reporting.load.limits import tracks_of
from knouds_harness.reporting.load.steadiness import describe_steadiness
from knouds_harness.reporting.markdown_text import code_span, escaped
from knouds_harness.runs.load_results import OUTCOMES, LoadResults
from knouds_harness.runs.record import RunRecord

_SIGN_BY_TONE = {"good": "✅", "bad": "❌", "warn": "⚠️"}
_PERCENTILES = {"p50": "50", "p90": "90", "p99": "99", "p99.9": "99.9"}
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
        f"seed {plan.seed}; {load.cost_credits:g} credits; knouds-harness {record.setup.tool_version}"
    )
    blocks = [
        f"## {sign} {verdict.title}: `{plan.scenario}` on `{record.setup.target.name}`",
        verdict.detail,
        *(f"- {reason}" for reason in load.validity.reasons[1:]),
        *([load.note] if load.note else []),
        *_objectives(load),
        *_promises(load),
        *_points(load),
        *(_change(change) if change else ()),
        _table(["operation", "requests", "per s", *OUTCOMES, *_PERCENTILES, "max"], _operations(load)),
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
    lines += [f"- ❌ {describe_broken(each)}" for each in load.invariants if each.broken]
    lines += [
        f"- untested: {each.says} (`{each.fact}`) It takes {each.missing}."
        for each in load.invariants
        if each.state == "untested"
    ]
    return ["\n".join(lines)]


def _change(change: RunChange) -> list[str]:
    verdict = headline_of_change(change.comparison)
    says = f"Against {code_span(change.baseline)}: **{verdict.title}**. {escaped(verdict.detail)}"
    gates = [row for row in telling_gates_of(change.comparison.rows) if row.verdict is not Verdict.SAME]
    return [says, *([changes_table(gates[:_MOST_CHANGES])] if gates else [])]


def _points(load: LoadResults) -> list[str]:
    if load.capacity is None:
        return []
    rows = [
        [
            f"{each.asked_per_s:,.5g}/s",
            "kept" if each.is_kept else "generator" if each.is_generator_limit else "missed",
            *(milliseconds(time) for time in (each.mean_ms, each.p50_ms, each.p99_ms)),
            f"{each.error_rate:.2%}",
            each.reason,
        ]
        for each in load.capacity.points
    ]
    rate = "rate that was found" if load.capacity.highest_per_s is not None else "last rate"
    return [
        _table(["asked", "verdict", "mean", "p50", "p99", "errors", "why"], rows),
        f"The last point at the {rate}:",
    ]


def _objectives(load: LoadResults) -> list[str]:
    if not load.objectives:
        return []
    return ["\n".join(f"- {'✅' if each.is_met else '❌'} {describe(each)}" for each in load.objectives)]


def _operations(load: LoadResults) -> list[list[str]]:
    return [
        [
            f"`{each.operation}`",
            f"{each.requests:,}",
            f"{each.per_s:,.1f}",
            *(f"{each.outcomes[outcome]:,}" for outcome in OUTCOMES),
            *(milliseconds(each.response.percentiles[percent]) for percent in _PERCENTILES.values()),
            milliseconds(each.response.max_ms),
        ]
        for each in load.operations
    ]


def _errors(load: LoadResults) -> list[str]:
    rows = [
        [
            f"`{each.operation}`",
            error.outcome,
            str(error.status or ""),
            f"`{error.code}`" if error.code else "",
            f"{error.count:,}",
        ]
        for each in load.operations
        for error in each.errors
    ]
    return [_table(["operation", "outcome", "status", "code", "count"], rows[:_MOST_ERRORS])] if rows else []


def _limits(load: LoadResults) -> list[str]:
    tracks = tracks_of(load)
    lines = [f"- rate limit, {track.name}: {track.says}" for track in tracks[:_MOST_LIMITS]]
    if len(tracks) > _MOST_LIMITS:
        lines.append(f"- and {len(tracks) - _MOST_LIMITS} more in the report")
    return ["\n".join(lines)] if lines else []


def _table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [titles, ["---" for _ in titles], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
