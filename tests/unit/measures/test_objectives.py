"""Objectives are read, refused and judged."""

import re
from dataclasses import replace

import pytest
from load_records import operation

from knouds_harness.errors import UsageError
from knouds_harness.measures.objectives import (
    STATED,
    Objective,
    describe,
    judge_objectives,
    load_objectives,
    parse_objectives,
    refuse_stages,
    refuse_unknown_operations,
    refuse_unknown_stages,
    with_stated,
)
from knouds_harness.runs.load_plan import PlannedStage
from knouds_harness.runs.load_results import StageLoad
from knouds_harness.runs.operation_load import (
    ALL_OPERATIONS,
    TIME_MEASURES,
    CustomMetric,
    OperationLoad,
    Times,
)

RATES = ["error_rate", "throttled_rate", "requests_per_s", "throughput_per_s", "count", "per_s"]


def times(p99_ms: float, *, count: int = 100) -> Times:
    percentiles = {"50": 1.0, "75": 1.8, "90": 2.0, "95": 3.0, "99": p99_ms, "99.9": 9.0, "99.99": 9.5}
    return Times(count=count, mean_ms=1.5, min_ms=0.5, max_ms=10.0, percentiles=percentiles)


def measured(name: str = "getWhoami", *, failed: int = 0, p99_ms: float = 5.0) -> OperationLoad:
    made = operation(name, failed=failed, response=times(p99_ms))
    return replace(made, service=times(p99_ms - 1))


@pytest.mark.parametrize(
    ("measure", "bound", "is_met"),
    [
        ("p99_ms", 5.0, True),
        ("p99_ms", 4.9, False),
        ("service_p99_ms", 4.0, True),
        ("p75_ms", 1.8, True),
        ("p95_ms", 2.9, False),
        ("p99.9_ms", 8.9, False),
        ("service_mean_ms", 1.4, False),
        ("mean_ms", 1.5, True),
        ("max_ms", 9.9, False),
        ("error_rate", 0.02, True),
        ("error_rate", 0.01, False),
        ("throttled_rate", 0.0, True),
        ("requests_per_s", 10.0, True),
        ("requests_per_s", 10.1, False),
        ("throughput_per_s", 8.0, True),
        ("throughput_per_s", 8.1, False),
    ],
)
def test_measure_is_compared_with_its_bound(measure, bound, is_met):
    objective = Objective(operation="getWhoami", measure=measure, bound=bound)

    (judged,) = judge_objectives([objective], [replace(measured(failed=2), throughput_per_s=8.0)])

    assert judged.is_met is is_met


OLDER = replace(measured(), response=replace(times(5.0), percentiles={"50": 1.0}))
TOTAL = replace(measured(failed=1), operation=ALL_OPERATIONS)
OF_ALL = f"Readers: {ALL_OPERATIONS}"
CUSTOM = [
    CustomMetric(name="cache hits", count=120, per_s=12.0),
    CustomMetric(name="render", count=100, per_s=10.0, times=times(7.0)),
]


STAGES = [
    StageLoad(
        number=number,
        to_s=10.0 * number,
        plan=PlannedStage(duration_s=10.0, start=0.0, end=50.0, name=name),
        operations=(measured(p99_ms=9.0),),
        overall=times(8.0),
        custom_metrics=(CustomMetric(name="hits", count=7, per_s=0.7),),
    )
    for number, name in ((2, ""), (3, "hold"))
]


@pytest.mark.parametrize(
    ("texts", "of", "found"),
    [
        pytest.param(["runModel p99 < 1s"], [measured()], [("runModel", None)], id="never sent"),
        pytest.param(["* p95 < 1s"], [OLDER], [("getWhoami", None)], id="an older record"),
        pytest.param(
            ["* async p99 < 1s"], [measured("a"), measured("a async")], [("a async", 5)], id="a star"
        ),
        pytest.param(["* async p99 < 1s"], [measured("a")], [], id="a star that nothing matches"),
        pytest.param(["* p99 < 1s"], [measured(), *CUSTOM], [("getWhoami", 5)], id="no metric of one's own"),
        pytest.param(
            ["Readers: * p99 < 1s", f"{OF_ALL} p99 < 1s"],
            [measured("Readers: getWhoami"), measured(OF_ALL)],
            [("Readers: getWhoami", 5), (OF_ALL, 5)],
            id="totals only by name",
        ),
        pytest.param(
            ["error_rate < 2%", "* error_rate < 2%"],
            [measured(failed=3), TOTAL],
            [(ALL_OPERATIONS, 0.01), ("getWhoami", 0.03)],
            id="all together, and each",
        ),
        pytest.param(
            ["stage 2: getWhoami p99 < 6ms", "stage 2: p99 < 6ms", "* p99 < 6ms"],
            [measured()],
            [("stage 2: getWhoami", 9), (f"stage 2: {ALL_OPERATIONS}", 8), ("getWhoami", 5)],
            id="a stage",
        ),
        pytest.param(
            ["hold: * p99 < 6ms", "stage 3: * p99 < 6ms", "hold: hits count > 8", "ramp: a p99 < 6ms"],
            [measured()],
            [("hold: getWhoami", 9), ("hold: getWhoami", 9), ("hold: hits", 7), ("ramp: a", None)],
            id="a stage with a name",
        ),
    ],
)
def test_objective_is_judged_by_what_it_names(texts, of, found):
    """What was not measured misses its objective, unless it is only one that a star could have meant."""
    judged = judge_objectives(parse_objectives(texts), of, stages=STAGES)

    assert [(each.operation, each.observed) for each in judged] == found
    assert not any(each.is_met for each in judged if each.observed is None)


@pytest.mark.parametrize(
    ("text", "observed", "is_met"),
    [
        ("cache hits count > 100", 120, True),
        ("cache hits count > 121", 120, False),
        ("cache hits count < 100", 120, False),
        ("cache hits per_s <= 12/s", 12, True),
        ("render p99 < 6ms", 7, False),
        ("render count > 100", 100, True),
        ("getWhoami count < 99", 100, False),
        ("getWhoami per_s > 9", 10, True),
        ("cache hits p99 < 6ms", None, False),
        ("render error_rate < 1%", None, False),
        ("retries count < 10", None, False),
    ],
)
def test_objective_is_judged_by_a_metric_of_ones_own(text, observed, is_met):
    """The count, and the rate of what is counted, are bounded either way."""
    (judged,) = judge_objectives(parse_objectives([text]), [measured(), *CUSTOM])

    assert (judged.observed, judged.is_met) == (observed, is_met)
    assert ("at least" in describe(judged)) is (">" in text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cache hits count > 1", "(did you mean Readers: cache hits or Writers: cache hits?)"),
        ("Reader: cache hits count > 1", "(did you mean Readers: cache hits?)"),
        ("getWhoam p99 < 1s", "(did you mean getWhoami?)"),
        ("something else count > 1", "not measured, at least 1"),
    ],
)
def test_objective_of_what_was_not_measured_names_the_nearest(text, says):
    """A counter of several scenarios is one of each, under the name of the scenario."""
    counters = [CustomMetric(name=f"{each}: cache hits", count=5, per_s=1) for each in ("Readers", "Writers")]

    (judged,) = judge_objectives(parse_objectives([text]), [measured(), *counters])

    assert not judged.is_met
    assert describe(judged).endswith(says)


def test_bound_in_a_file_may_be_written_as_on_the_command_line(tmp_path):
    path = tmp_path / "objectives.toml"
    path.write_text('[reads]\n"cache hits" = { count = "> 1000", per_s = 5 }\n"*" = { p99_ms = "< 1s" }\n')
    written = ["cache hits count > 1000", "cache hits per_s <= 5", "* p99 < 1s"]

    assert load_objectives(path, "reads") == parse_objectives(written)


def test_objectives_that_the_contract_states_hold_everywhere():
    """Any bound of the user's for the same measure takes their place."""
    other = parse_objectives(["runWorkflow p95 < 300ms"])
    slower = parse_objectives(["* async service_max < 2s"])

    assert with_stated(()) == STATED
    assert with_stated(other) == (*other, *STATED)
    assert with_stated(slower) == slower


def test_all_problems_of_a_file_are_listed_at_once(tmp_path):
    path = tmp_path / "objectives.toml"
    path.write_text('reads = 3\n[mixed."*"]\np98_ms = 1\np99_ms = "fast"\nerror_rate = -1\nmax_ms = "> 3"\n')

    with pytest.raises(UsageError) as caught:
        load_objectives(path, "mixed")

    assert [
        line.partition(": ")[2] for line in str(caught.value).splitlines() if not line.startswith(" ")
    ] == [
        "reads: not a scenario with operations",
        'mixed."*".p98_ms: "* p98_ms < 1": p98_ms is not a metric',
        'mixed."*".p99_ms: "* p99_ms < fast" is not an objective',
        'mixed."*".error_rate: "* error_rate < -1": -1 is not a bound',
        'mixed."*".max_ms: "* max_ms > 3": max_ms is bounded with <',
    ]


def test_unknown_measure_lists_the_known_ones():
    with pytest.raises(UsageError) as caught:
        parse_objectives(["* p98 < 1"])

    known = re.findall(r"[\w.]+(?=[,;])", str(caught.value).splitlines()[1])
    times = [each.removesuffix("_ms") for each in (*TIME_MEASURES[:-1], "p99.99_ms", "p99.999_ms", "max_ms")]
    assert known == [*times, *RATES]
    assert all(parse_objectives([f"* {each} {'>' if each.endswith('_per_s') else '<'} 1"]) for each in known)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"[", "not TOML"), (b"\xff", "not TOML"), (None, "cannot be read")],
    ids=["no TOML", "no text", "no file"],
)
def test_broken_file_is_explained(tmp_path, content, says):
    path = tmp_path / "objectives.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(UsageError, match=rf"objectives\.toml: {says}"):
        load_objectives(path, "mixed")


@pytest.mark.parametrize(
    ("text", "operation", "measure", "bound"),
    [
        ("runWorkflow p95 < 300ms", "runWorkflow", "p95_ms", 300),
        ("runWorkflow async p99.9<=1.5 s", "runWorkflow async", "p99.9_ms", 1500),
        ("* service_mean_ms < 20", "*", "service_mean_ms", 20),
        ("error_rate < 1%", ALL_OPERATIONS, "error_rate", 0.01),
        ("throttled_rate <= 0.2", ALL_OPERATIONS, "throttled_rate", 0.2),
        ("requests_per_s > 100/s", ALL_OPERATIONS, "requests_per_s", 100),
        (" max < 2s ", ALL_OPERATIONS, "max_ms", 2000),
        ("hold: max < 2s", f"hold: {ALL_OPERATIONS}", "max_ms", 2000),
    ],
)
def test_written_objective_is_read(text, operation, measure, bound):
    (found,) = parse_objectives([text])

    assert found == Objective(operation=operation, measure=measure, bound=bound)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("p95", "is not an objective"),
        ("p95=300", "is not an objective"),
        ("p95 > 300ms", "p95 is bounded with <"),
        ("requests_per_s < 5", "requests_per_s is bounded with >"),
        ("p95 < 5%", "5% is not a bound"),
        ("error_rate < 5ms", "5ms is not a bound"),
        ("p95 < 1e999", "1e999 is not a bound"),
        ("p95 < -1", "-1 is not a bound"),
        ("service_p95 < 3", "service times are kept by operation"),
        ("hits count > 5%", "5% is not a bound\n  Write a number."),
    ],
)
def test_invalid_objective_is_refused(text, says):
    with pytest.raises(UsageError, match=re.escape(says)):
        parse_objectives([text])


def refuse_unknown(wanted, operations, stages):
    refuse_unknown_operations(wanted, operations, stages=stages)
    refuse_unknown_stages(wanted, stages)


def test_stage_is_known_by_its_name_or_its_number():
    wanted = parse_objectives(["hold: getWhoami p99 < 6ms", "stage 2: * p99 < 6ms"])

    refuse_unknown(wanted, ["getWhoami"], ["ramp", "hold", ""])


@pytest.mark.parametrize(
    ("stages", "text", "says"),
    [
        ([""], "stage 4: * p99 < 6ms", "the load has no stages"),
        (["", "hold"], "stage 4: * p99 < 6ms", "the load has 2 stages"),
        (["", "hold"], "holt: getWhoami p99 < 6ms", r'no stage "holt" .* Did you mean "hold"'),
        (["", "hold"], "holt: p99 < 6ms", r'no stage "holt" .* Did you mean "hold"'),
        (["", "hold"], "getWhoam p99 < 1s", "no operation"),
        (["", "hold"], "get*s p99 < 1s", "no operation"),
    ],
)
def test_objective_of_what_a_load_lacks_is_refused(stages, text, says):
    """Otherwise it would be missed because nothing was sent, and look like a miss of the target."""
    with pytest.raises(UsageError, match=says):
        refuse_unknown(parse_objectives([text]), ["getWhoami", "runWorkflow"], stages)


@pytest.mark.parametrize("text", ["hold: p99 < 5s", "hold: * p99 < 5s", "stage 2: * p99 < 5s"])
def test_bound_that_ends_a_run_is_of_no_stage(text):
    with pytest.raises(UsageError, match="the last ten seconds are judged"):
        refuse_stages(parse_objectives([text]), ["", "hold"])
