"""The results of a run so far: what was counted, judged by its objectives, and what it was made from."""

from __future__ import annotations

import inspect
import os
import platform
import sysconfig
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

from locust.env import Environment

from knouds_harness.exchange.redaction import Redactor
from knouds_harness.load.collection.evidence_samples import SampleWriter
from knouds_harness.load.collection.metrics import (
    RunMetrics,
    cycles,
    error_counts,
    ok_times,
    operations_of,
    overall_by_label,
    times,
)
from knouds_harness.load.collection.seconds import Second, now_unix_s
from knouds_harness.load.invariants.verification import LoadVerification
from knouds_harness.load.leader.validity import (
    describe_slowdown,
    judge_generator,
    missed_bound,
    validity_of,
    with_doubts,
)
from knouds_harness.load.leader.workers import Health, Workers
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.workload.preflight import LoadSetup
from knouds_harness.load.workload.workload import rates_of
from knouds_harness.measures.delay import Delay
from knouds_harness.measures.objectives import (
    Objective,
    describe,
    judge_objectives,
    load_objectives,
    observed,
    parse_objectives,
    with_stated,
)
from knouds_harness.runs.load_plan import Fingerprint, LoadPlan, own_mix
from knouds_harness.runs.load_progress import LoadProgress
from knouds_harness.runs.load_results import JudgedObjective, LoadResults
from knouds_harness.runs.operation_load import ALL_OPERATIONS, PERCENTS, RequestStatus, together

_RECENT_S: Final = 5
_MOST_ERRORS: Final = 5
_JUDGED_FROM_S: Final = 3.0
"""Before that everything is late: connections are opened, and code runs for the first time."""
_VERSIONS: Final = ("knouds-harness", "locust", "gevent", "httptools")


def scenario_name(environment: Environment) -> str:
    return str(environment.locustfile or "").removesuffix(".py").rpartition("/")[2]


def objectives_of(options: LoadOptions, scenario: str) -> tuple[Objective, ...]:
    """Return the objectives of command line, file and contract; raise ``UsageError`` if one is unreadable."""
    found = parse_objectives(options.objective)
    return with_stated(found + (load_objectives(options.objectives, scenario) if options.objectives else ()))


class RunResults:
    """Makes the progress and the results of a run.

    Attributes:
        notes: Sentences that readers must know.
        doubts: Those of them for which the measurement is not valid.
    """

    def __init__(
        self,
        environment: Environment,
        setup: LoadSetup,
        *,
        metrics: RunMetrics,
        workers: Workers,
        evidence: SampleWriter,
        redactor: Redactor,
    ) -> None:
        options, inputs, target = setup.options, setup.inputs, setup.target
        self._environment, self._options = environment, options
        self._most_credits = target.limits.credits if target else options.credits
        self._told = Health()
        self._metrics, self._workers, self._evidence = metrics, workers, evidence
        self._redactor = redactor
        self._inputs = inputs.described(options.inputs_order) if inputs else ""
        self._objectives = objectives_of(options, scenario_name(environment))
        self._abort_bounds = parse_objectives(options.abort_on)
        self._aborted_for: JudgedObjective | None = None
        self.verification: LoadVerification | None = None
        self.notes: list[str] = []
        self.doubts: list[str] = []

    def missed_bound(self) -> str | None:
        """Return the first bound of ``--abort-on`` that is missed, in words; None if none is."""
        if self._aborted_for is not None or not self._abort_bounds:
            return None
        shape, waiting = self._options.load_shape, self._workers.health().waiting
        self._aborted_for = missed_bound(self._abort_bounds, self._metrics, shape, waiting=waiting)
        return describe(self._aborted_for) if self._aborted_for else None

    def progress(self, newest: Iterable[Second], *, folder: Path | None) -> LoadProgress:
        """Return what is shown of the load; ``newest`` are seconds that the metrics do not have yet."""
        options, metrics, health = self._options, self._metrics, self._workers.health()
        at_s = -1.0 if metrics.start_unix_s is None else now_unix_s() - metrics.start_unix_s
        is_open = options.rate is not None
        recent, latest = health.since(self._told), metrics.recent(_RECENT_S)
        # What was asked for is not compared: the workers' numbers are some seconds old.
        judged = judge_generator(
            recent,
            asked_per_s=None,
            achieved_per_s=1.0,
            accuracy=options.accuracy,
            ok=ok_times(latest)[-1:],
            overload=describe_slowdown(metrics.at_first, latest, recent),
        )
        self._told = deepcopy(health)
        ended, errors = metrics.ended.copy(), metrics.errors.copy()
        for each in newest:
            ended += each.by_status()
            errors.update(each.errors)
        ok = times(latest.ok())
        percentiles_ms = {each: ok.percentiles[each] for each in PERCENTS} | {"max": ok.max_ms}
        return LoadProgress(
            folder=str(folder) if folder else None,
            at_s=at_s,
            ended_at_s=metrics.ended_at_s,
            duration_s=options.load_shape.duration_s,
            warm_up_s=options.warm_up_s,
            asked_per_s=options.load_shape.level(at_s) if is_open else None,
            recent_per_s=metrics.recent_per_s(_RECENT_S),
            in_flight=health.in_flight if is_open else None,
            users=options.users,
            waiting=sum(each.requests for each in health.waiting),
            longest_wait_s=max((each.waited_s for each in health.waiting), default=0.0),
            requests=ended.total(),
            by_status={status.value: ended[status] for status in RequestStatus},
            errors=error_counts(errors, most=_MOST_ERRORS),
            percentiles_ms=percentiles_ms if ok.count else {},
            spent_credits=health.spent_credits,
            most_credits=self._most_credits,
            cpu_share=health.cpu_share,
            lateness_p99_ms=judged.lateness.percentiles["99"] if is_open else None,
            loop_lag_p99_ms=judged.loop_lag.percentiles["99"],
            dropped=health.dropped,
            limits=judged.reasons if at_s >= _JUDGED_FROM_S else (),
            doubts=tuple(self.doubts),
        )

    def so_far(self) -> LoadResults:
        options, metrics, verification = self._options, self._metrics, self.verification
        health, measured_s = self._workers.health(), metrics.measured_s(options.load_shape.duration_s)
        ok, delay = ok_times(metrics.measured), Delay(health.loop_lag)
        doubts_by_operation = {each.operation: delay.doubts_ms(each) for each in ok}
        operations = tuple(
            replace(each, doubts_ms=doubts_by_operation.get(each.operation, {}))
            for each in self._evidence.named_in(operations_of(metrics.measured, measured_s))
        )
        is_level = options.load_shape.ends_level
        is_steady, steady_from_s = metrics.steadiness.from_s() if is_level else (None, None)
        plan, overall = self._plan(), times(metrics.measured.ok())
        total = together(ALL_OPERATIONS, operations, overall)
        results = LoadResults(
            plan=plan,
            fingerprint=fingerprint(health.timer),
            validity=validity_of(
                options, metrics, health, measured_s, ok=ok, missing=self.doubts, total=total
            ),
            operations=operations,
            task_errors=metrics.task_errors(),
            custom_metrics=metrics.custom_metrics(metrics.measured, measured_s),
            stages=metrics.stages(plan.stages),
            objectives=(),
            cycles=cycles(metrics.measured.histograms),
            overall=overall,
            overall_by_label=overall_by_label(metrics.measured),
            is_steady=is_steady,
            steady_from_s=steady_from_s,
            slow_seconds=metrics.steadiness.slow_seconds() if is_level else (),
            invariants=verification.invariants() if verification else (),
            answers=verification.tallies.answers if verification else 0,
            verified_answers=verification.tallies.verified if verification else 0,
            windows=verification.limits.windows() if verification else (),
            begun_unix_s=metrics.start_unix_s,
            lasted_s=min(metrics.counted_s, options.load_shape.duration_s),
            cost_credits=health.spent_credits,
            note="\n".join(self.notes),
        )
        judged = judge_objectives(self._objectives, results.measured, stages=results.stages)
        ok += metrics.ok_times_by_stage(plan.stages)
        sent_per_s = {each.operation: each.per_s for each in results.measured}
        judged = with_doubts(judged, results.validity, ok=ok, delay=delay, sent_per_s=sent_per_s)
        return self._redactor.safe(replace(results, objectives=(*self._aborted(results), *judged)))

    def _aborted(self, results: LoadResults) -> list[JudgedObjective]:
        missed = self._aborted_for
        return [
            replace(missed, observed_in_all=observed(missed.measure, each))
            for each in results.measured
            if missed and each.operation == missed.operation
        ]

    def _plan(self) -> LoadPlan:
        options, classes = self._options, self._environment.user_classes
        run = (*options.workflow, *options.model)
        module = inspect.getmodule(classes[0]) if classes else None
        return LoadPlan(
            scenario=scenario_name(self._environment),
            question=(inspect.getdoc(module) or "").partition("\n")[0],
            model="closed" if options.rate is None else "open",
            spacing=options.spacing,
            stages=options.load_shape.stages,
            duration_s=options.load_shape.duration_s,
            warm_up_s=options.warm_up_s,
            users=options.users,
            workers=self._workers.count,
            seed=options.seed,
            verified_share=self.verification.share if self.verification else 0.0,
            rates=rates_of(classes),
            mix=own_mix(options.mix, run, options.inputs.name if options.inputs else ""),
            inputs=own_mix(options.mix, run, self._inputs),
        )


@cache
def fingerprint(timer: str) -> Fingerprint:
    build = sysconfig.get_config_var("CONFIG_ARGS") or ""
    optimized = ", PGO" if "--enable-optimizations" in build else ", no PGO"
    return Fingerprint(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        build=platform.python_compiler() + optimized,
        versions={name: version(name) for name in _VERSIONS},
        platform=platform.platform(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        timer=timer,
    )
