"""The report of a load run: first whether its figures are valid, then the figures."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from knouds_harness.measures.objectives import describe, milliseconds
from knouds_harness.printable import counted
from knouds_harness.reporting.load import tables
from knouds_harness.reporting.load.charts import charts_of
from knouds_harness.reporting.load.headline import (
    broken_by_the_api,
    count_states,
    describe_broken,
    describe_steadiness,
    first_figures,
    load_headline,
)
from knouds_harness.reporting.load.rate_limits import Track, listed, tracks_of, window_table
from knouds_harness.reporting.report import (
    HTML,
    IN_TEXT,
    MARKDOWN,
    ON_PAGES,
    TERMINAL,
    Block,
    Code,
    Figure,
    Folded,
    Heading,
    Headline,
    Items,
    Report,
    Section,
    Table,
    Text,
    Words,
    badge,
    bar,
    numbers,
)
from knouds_harness.reporting.run_section import cost_words, evidence_section, run_section
from knouds_harness.runs.load_results import Capacity, Cycles, Doubt, LoadResults
from knouds_harness.runs.operation_load import ALL_OPERATIONS, RequestStatus, time_ms
from knouds_harness.runs.record import RunRecord

_MOST_EVIDENCE: Final = 300
_EVIDENCE_SAYS: Final = "Exchanges that did not succeed, a few of each kind; secrets are replaced by names."
_ENDED_EARLY_S: Final = 0.1
_MOST_LINES: Final = 5
_MOST_LIMITS: Final = 10
_OF_ONE_POINT: Final = " They are those of one point, from its start on."


def load_report(record: RunRecord, load: LoadResults) -> Report:
    plan, setup = load.plan, record.setup
    verdict = load_headline(record, load)
    words = cost_words(load.cost_credits, record.counts.usage)
    noted = (record.note or load.note).splitlines()
    notes = [*load.validity.reasons, *(line for line in noted if line not in load.validity.reasons)]
    tracks = tracks_of(load)
    evidence = list(record.exchange_by_id.values())[:_MOST_EVIDENCE]
    charts = charts_of(load, record.seconds)
    sections = [
        _shortfalls(load, verdict),
        _validity(load),
        Section("objectives", "Objectives", [tables.objective_table(load)] if load.objectives else []),
        _over_time(load, has_times_of_all=ALL_OPERATIONS in charts["times"]),
        _percentiles(load),
        Section("capacity", "Capacity", _capacity(load.capacity, verdict) if load.capacity else []),
        _operations(load, {each.id for each in evidence}),
        Section("custom", "Custom metrics", [tables.custom_table(load)] if load.custom_metrics else []),
        Section("stages", "Stages", [tables.stage_table(load)] if load.stages else []),
        _phases(load),
        Section("cycles", "Asynchronous cycles", _cycles(load, load.cycles) if load.cycles else []),
        _limits(load, record, tracks),
        _cost(load, setup.target.limits.credits, words),
        Section("invariants", "Contract under load", _contract(load) if load.invariants else []),
        run_section(record, _plan(load), again_on="the same keys"),
        evidence_section(_EVIDENCE_SAYS, evidence, is_marked=True),
    ]
    left_out = f", the first {plan.warm_up_s:g} s left out" if plan.warm_up_s else ""
    lasted_s = plan.duration_s if load.lasted_s is None else load.lasted_s
    lasted = "" if lasted_s > plan.duration_s - _ENDED_EARLY_S else f"{lasted_s:.1f} of "
    times = f"{lasted}{plan.duration_s:g} s{left_out}"
    if load.capacity:
        times = f"{len(plan.stages)} points of {plan.stages[0].duration_s:g} s{left_out}"
    cost = f" · {words}" if words else ""
    return Report(
        headline=verdict,
        file="report.html",
        subject=(Code(plan.scenario), " on ", Code(setup.target.name)),
        about=f"{record.started_at:%Y-%m-%d %H:%M UTC} · {plan.model} model · {times}{cost} · "
        f"seed {plan.seed}",
        notes=[each for each in (*notes, *record.gaps) if each.rstrip(".") not in verdict.detail],
        lead=plan.question,
        tiles=[] if load.capacity else first_figures(load),
        sections=sections,
        origin=f"knouds-harness {setup.tool_version} from {record.folder.resolve().name}",
        charts=charts,
        scripts=("vendor/uPlot.iife.min.js", "load_heat.js", "load.js", "report.js"),
    )


def _shortfalls(load: LoadResults, verdict: Headline) -> Section:
    """What the verdict rests on beside its own words, for media in which sections have no titles."""
    broken = [describe_broken(each) for each in broken_by_the_api(load)]
    missed = [describe(each) for each in load.objectives if not each.is_met]
    missed = [each for each in missed if each not in verdict.detail]
    items = Items([], tone="bad", is_whole=True, most={"terminal": _MOST_LINES})
    blocks = [replace(items, lines=broken, shown=IN_TEXT), replace(items, lines=missed, shown=TERMINAL)]
    return Section("shortfalls", "", [each for each in blocks if each.lines and not load.capacity])


def _validity(load: LoadResults) -> Section:
    validity = load.validity
    is_open = load.plan.model == "open"
    figures = {
        "Asked for": "" if validity.asked_per_s is None else f"{validity.asked_per_s:.1f}/s",
        "Sent": f"{validity.achieved_per_s:.1f}/s",
        "Not sent": f"{validity.not_sent:,} of {validity.arrivals:,}" if is_open else "",
        "Sent late, p99": milliseconds(time_ms(validity.lateness, "p99_ms")) if is_open else "",
        "Event loop late, p99": milliseconds(time_ms(validity.loop_lag, "p99_ms")),
        "Busiest process": f"{100 * validity.cpu_share:.0f} % of a core",
    }
    shown = {heading: figure for heading, figure in figures.items() if figure}
    is_late = not (validity.is_valid or {*validity.doubts} == {Doubt.SLOW_TARGET})
    kept_up = badge("it did not", "bad") if is_late else badge("it did", "good")
    says = Text(("The figures are the target's only if the generator kept up: ", kept_up), shown=HTML)
    table = Table("Generator", numbers(*shown), [list(shown.values())], shown=HTML)
    delayed = [Text(tables.describe_delay(validity))] if validity.delayed else []
    return Section("validity", "Generator", [says, table, *delayed])


def _over_time(load: LoadResults, *, has_times_of_all: bool) -> Section:
    text = describe_steadiness(load)
    return Section(
        "time",
        "Over time",
        [
            *([Text(text)] if text and not load.capacity else []),
            Figure(
                "load_time.html.j2",
                values={
                    "is_open": load.plan.model == "open",
                    "statuses": ", ".join(f"{each} ({each.means})" for each in RequestStatus),
                    "operations": _by_requests(load),
                    "times_of_all": [ALL_OPERATIONS] if has_times_of_all else [],
                },
            ),
        ],
    )


def _by_requests(load: LoadResults) -> list[str]:
    return [each.operation for each in sorted(load.operations, key=lambda each: -each.requests)]


def _percentiles(load: LoadResults) -> Section:
    is_open = load.plan.model == "open"
    says = (
        "Response times count from the instant at which a request was due, service times from when it was "
        "sent: where the two part, requests waited before they could be sent."
        if is_open
        else "In the closed model users wait for responses, so a stalled server gets fewer requests: these "
        "times look better than they are."
    )
    return Section(
        "percentiles",
        "Percentiles",
        [
            Text(says, shown=HTML),
            Figure(
                "load_percentiles.html.j2",
                values={
                    "operations": _by_requests(load),
                    "percentiles_of_all": [ALL_OPERATIONS] if load.overall else [],
                },
            ),
            tables.percentile_table(load),
        ],
    )


def _capacity(capacity: Capacity, verdict: Headline) -> list[Block]:
    rate = "the rate that was found" if capacity.highest_per_s is not None else "the last rate"
    says = f"{verdict.title}. {verdict.detail} Charts over time show all points one after another."
    return [
        Text(says, shown=HTML),
        Figure("load_capacity.html.j2"),
        tables.point_table(capacity.points),
        Text(f"All other figures are of the last point at {rate}.", shown=ON_PAGES),
    ]


def _operations(load: LoadResults, evidence_ids: Collection[str]) -> Section:
    blocks: list[Block] = [tables.operation_table(load)]
    if load.operations:
        blocks.append(tables.operation_text_table(load))
    if load.task_errors or any(each.errors for each in load.operations):
        blocks.append(Heading("What did not succeed, by status and code"))
        blocks.append(tables.error_table(load, evidence_ids))
    return Section("operations", "Operations", blocks)


def _phases(load: LoadResults) -> Section:
    if not any(each.sent_bytes for each in load.operations):  # an older record, or nothing was sent
        return Section("phases", "", [])
    says = (
        "Waited: from when a request was due until it was sent. First byte: from then on. Body: from there "
        "to the last byte. DNS, connect, TLS: of opened connections. Bytes: heads and bodies."
    )
    made = (tables.phase_table(load), tables.traffic_table(load), tables.phase_text_table(load))
    return Section("phases", "Phases and bytes", [Text(says, is_quiet=True, shown=HTML), *made])


def _cycles(load: LoadResults, cycles: Cycles) -> list[Block]:
    endings = ", ".join(f"{count:,} {ending}" for ending, count in cycles.endings.items())
    kinds = {"to final": cycles.to_final, "lost to polling at most": cycles.lost_to_polling}
    medians = [
        f"{what} p50 {milliseconds(median_ms)}"
        for what, times in kinds.items()
        if (median_ms := time_ms(times, "p50_ms")) is not None
    ]
    summary = f"{cycles.submitted:,} asynchronous runs: {endings or 'none ended'}"
    since = " after the warm-up" if load.plan.warm_up_s else ""
    submits = f"{counted(cycles.submitted, 'submit was', 'submits were')} accepted{since}"
    seen = f"Ends seen since then: {endings or 'none'}"
    blocks: list[Block] = [
        Text("; ".join([summary, *medians]), shown=IN_TEXT),
        Text(f"{submits}. {seen}.", shown=HTML),
        tables.cycle_table(cycles),
    ]
    if cycles.polls:
        blocks += [Heading("Polls in a cycle", shown=HTML), tables.poll_table(cycles.polls)]
    return blocks


def _limits(load: LoadResults, record: RunRecord, tracks: Sequence[Track]) -> Section:
    windows = listed(tracks)
    unlisted = sum(len(track.windows) for track in tracks) - len(windows)
    throttled = {each.at_s for each in record.seconds if each.by_status.get(RequestStatus.THROTTLED)}
    blocks: list[Block] = []
    if tracks:
        says = (
            "Windows of accounts that have a limit, warm-up included; `X-RateLimit-Reset` says when they "
            "end, by the target's clock. The filled part is the share of the limit that was admitted; a cap "
            f"marks windows that throttled (429).{_OF_ONE_POINT if load.capacity else ''}"
        )
        lines = [(Code(track.name), f": {track.says}") for track in tracks]
        blocks += [
            Items(lines, most={"markdown": _MOST_LIMITS}, shown=MARKDOWN),
            Text(says, shown=HTML),
            Figure("load_windows.html.j2", values={"tracks": tracks}),
        ]
    if windows:
        blocks.append(window_table(windows))
    if unlisted:
        words = f"{counted(unlisted, 'window is', 'windows are')} drawn and not listed; `load.json` has all."
        blocks.append(Text(words, is_quiet=True, shown=HTML))
    if throttled:
        says = (
            f"The target throttled (429) in {counted(len(throttled), 'second')}, which the charts mark. "
            "Throttled requests are neither errors nor in the times above."
        )
    else:
        more = "" if tracks else " No response to an account with a rate limit showed a window."
        says = f"No request was throttled.{more}"
    blocks.append(Text(says, shown=HTML))
    return Section("limits", "Rate limits", blocks)


def _cost(load: LoadResults, limit: float, words: str) -> Section:
    share = load.cost_credits / limit if limit else 0.0
    part = f", {100 * share:.1f} %" if limit else ""
    return Section(
        "cost",
        "Cost",
        [
            Text(f"{words or 'Nothing'}; {limit:,.10g} credits are allowed{part}.", shown=HTML),
            *([bar(share, "note")] if limit else []),
        ],
    )


def _contract(load: LoadResults) -> list[Block]:
    share = load.plan.verified_share
    judged = f"{load.verified_answers:,} of {load.answers:,} answers"
    if not load.answers:  # an older record
        judged = f"{100 * share:g} % of the answers" if share else "a sample of the answers"
    whole = "; histories are of all answers" if share else ""
    kept = [each for each in load.invariants if each.state == "kept"]
    others = [each for each in load.invariants if each.state != "kept"]
    says = (
        f"All checks judged {judged}, including each success whose JSON members were new{whole}. "
        "Assumptions, and what the profile waives, fail no run."
    )
    blocks: list[Block] = [
        Text(f"Promises under load: {count_states(load)}. Verified: {judged}.", shown=IN_TEXT),
        Text(says, is_quiet=True, shown=HTML),
    ]
    if others:
        table = tables.promise_table(others, "What did not hold, or was not seen")
        blocks.append(replace(table, shown=ON_PAGES))
    if kept:
        blocks.append(Folded(f"{len(kept)} kept", [tables.promise_table(kept, "What held")]))
    return blocks


def _plan(load: LoadResults) -> list[tuple[str, Words]]:
    plan, made_by = load.plan, load.fingerprint
    shape = f"{plan.users} users at most"
    if plan.model == "open":
        shape = f"{plan.spacing} spacing of tasks, at most {plan.users} in flight"
    stages = ", then ".join(
        f"{each.levels} for {each.duration_s:g} s{each.name and f' ({each.name})'}" for each in plan.stages
    )
    generator = f"{made_by.python} ({made_by.build}), {made_by.cores} cores, {made_by.platform}"
    checked = f"{100 * plan.verified_share:g} %" if plan.verified_share else "a sample"
    timer = f", timer: {made_by.timer}" if made_by.timer else ""
    return [
        ("Plan", f"{plan.model} model, {shape}, {counted(plan.workers, 'process', 'processes')}; {stages}"),
        ("Scenarios", ", ".join(f"{name} {rate:g} per second" for name, rate in plan.rates.items())),
        ("Inputs", plan.inputs),
        ("Checked", f"{checked} of the answers against the contract"),
        ("Generator", f"{generator}{timer}"),
        ("Versions", ", ".join(f"{package} {number}" for package, number in made_by.versions.items())),
        ("Times", "every one is in `times.hlog` (HdrHistogram)"),
    ]
