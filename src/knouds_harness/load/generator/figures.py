"""The figures of a run: what was counted, whether the generator kept up, whether objectives are met."""

from __future__ import annotations

import inspect
import os
import platform
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Final

from locust.env import Environment
from locust.runners import MasterRunner

from knouds_harness.exchange.redaction import Redactor
from knouds_harness.load.collection.cycles import cycles
from knouds_harness.load.collection.evidence_samples import SampleWriter
from knouds_harness.load.collection.seconds import Second
from knouds_harness.load.collection.summary import Summary, times
from knouds_harness.load.generator.health import Health, together
from knouds_harness.load.generator.validity import judge_generator
from knouds_harness.load.invariants.verification import LoadVerification
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.steady_clock import now_unix_s
from knouds_harness.load.workload.input_lines import InputFile
from knouds_harness.measures.objectives import Objective, judge_objectives
from knouds_harness.runs.load_results import (
    Fingerprint,
    JudgedObjective,
    LoadPlan,
    LoadResults,
    PlannedStage,
    SecondRow,
    Validity,
)

_NOTHING_ENDED: Final = "No request ended after the warm-up, so nothing was measured."
_VERSIONS: Final = ("knouds-harness", "locust", "gevent", "httptools")


class RunFigures:
    """Adds seconds up, and says what they come to.

    Attributes:
        start_unix_s: When load began; None before.
        measured_from_unix_s: When the warm-up is over.
    """

    def __init__(
        self,
        environment: Environment,
        options: LoadOptions,
        *,
        objectives: Sequence[Objective],
        samples: SampleWriter,
        verification: LoadVerification | None,
        own_health: Callable[[], Health],
        timer: Callable[[], str],
        redactor: Redactor,
        inputs: InputFile | None = None,
    ) -> None:
        """Count from ``begin`` on.

        Args:
            environment: Locust's, with its runner.
            options: What is asked for.
            objectives: What the figures have to be.
            samples: Has the ids of exchanges that show errors.
            verification: Of all processes; None where nothing is looked at.
            own_health: How this process does; not asked of a master, which sends nothing.
            timer: What drives the arrivals.
            redactor: Makes safe what servers and exceptions said.
            inputs: The file that says what runs are run with.
        """
        self._environment = environment
        self._options = options
        self._objectives = objectives
        self._samples = samples
        self._verification = verification
        self._own_health = own_health
        self._timer = timer
        self._redactor = redactor
        self._inputs = inputs.described(options.inputs_order) if inputs else ""
        self._health_by_worker: dict[str, Health] = {}
        # What users send as they start, before load begins, is counted from now; ``begin`` leaves it out.
        self._summary = Summary(start_unix_s=now_unix_s(), warm_up_s=options.warm_up_s)
        self.start_unix_s: float | None = None

    def begin(self, start_unix_s: float) -> None:
        """Load begins at this instant."""
        self.start_unix_s = start_unix_s
        self._summary.begin(start_unix_s)

    @property
    def measured_from_unix_s(self) -> float:
        """When the warm-up is over."""
        return self._summary.measured_from_unix_s

    @property
    def elapsed_s(self) -> float:
        """Since load began."""
        return 0.0 if self.start_unix_s is None else max(0.0, now_unix_s() - self.start_unix_s)

    def add(self, second: Second) -> list[SecondRow]:
        """Count a second; its figures by operation."""
        return list(self._summary.add(second))

    def take_health(self, worker: str, health: Health) -> None:
        """A worker said how it does."""
        self._health_by_worker[worker] = health

    def health(self) -> Health:
        """How all processes do, together."""
        if isinstance(self._environment.runner, MasterRunner):
            return together(self._health_by_worker.values())
        return self._own_health()

    def results(
        self, *, aborted_for: Sequence[JudgedObjective], doubts: Sequence[str], notes: Sequence[str]
    ) -> LoadResults:
        """The figures so far.

        Args:
            aborted_for: Objectives whose miss ended the run.
            doubts: Why the figures are not the target's alone.
            notes: What readers have to know.
        """
        options, verification = self._options, self._verification
        operations = self._samples.named_in(self._summary.operations(self._measured_s()))
        is_steady, steady_from_s = (
            self._summary.steady_from_s() if options.course.ends_level else (None, None)
        )
        invariants = verification.invariants() if verification else ()  # before the windows, which it adds up
        results = LoadResults(
            plan=_plan(
                self._environment,
                options,
                inputs=self._inputs,
                workers=max(1, len(self._health_by_worker)),
                verified_share=verification.share if verification else 0.0,
            ),
            fingerprint=_fingerprint(self._timer()),
            validity=self._validity(doubts),
            operations=operations,
            objectives=(),
            cycles=cycles(self._summary.histograms),
            overall=self._summary.overall(),
            is_steady=is_steady,
            steady_from_s=steady_from_s,
            invariants=invariants,
            windows=verification.windows() if verification else (),
            begun_unix_s=self.start_unix_s,
            cost_credits=self.health().spent_credits,
            note="\n".join(notes),
        )
        judged = judge_objectives(self._objectives, [*operations, results.total])
        return self._redactor.safe(replace(results, objectives=(*aborted_for, *judged)))

    def _measured_s(self) -> float:
        if self.start_unix_s is None:
            return 0.0
        until_unix_s = min(now_unix_s(), self.start_unix_s + self._options.course.duration_s)
        return max(0.0, until_unix_s - max(self.start_unix_s, self.measured_from_unix_s))

    def _validity(self, doubts: Sequence[str]) -> Validity:
        health = self.health()
        measured_s = self._measured_s()
        schedule, warm_up_s = self._options.schedule, self._options.warm_up_s
        asked_per_s = None
        ended = achieved = self._summary.requests()
        if schedule and measured_s:
            asked_per_s = schedule.shape.area(warm_up_s, measured_s + warm_up_s) / measured_s
            achieved = health.handed
        return judge_generator(
            asked_per_s=asked_per_s,
            achieved_per_s=achieved / measured_s if measured_s else 0.0,
            arrivals=health.handed + health.dropped,
            dropped=health.dropped,
            lateness=times(health.lateness),
            loop_lag=times(health.loop_lag),
            cpu_share=health.cpu_share,
            doubts=doubts if ended or not achieved else (*doubts, _NOTHING_ENDED),
        )


def scenario_name(environment: Environment) -> str:
    """What a scenario is called: as its Locust file, without ``.py``."""
    return str(environment.locustfile or "").removesuffix(".py").rpartition("/")[2]


def _plan(
    environment: Environment, options: LoadOptions, *, inputs: str, workers: int, verified_share: float
) -> LoadPlan:
    classes = environment.user_classes
    module = inspect.getmodule(classes[0]) if classes else None
    return LoadPlan(
        scenario=scenario_name(environment),
        question=(inspect.getdoc(module) or "").partition("\n")[0],
        model="closed" if options.rate is None else "open",
        spacing=options.spacing,
        stages=tuple(
            PlannedStage(duration_s=each.duration_s, start=each.start, end=each.end)
            for each in options.course.stages
        ),
        duration_s=options.course.duration_s,
        warm_up_s=options.warm_up_s,
        users=options.users,
        workers=workers,
        seed=options.seed,
        client=options.client,
        verified_share=verified_share,
        inputs=inputs,
    )


def _fingerprint(timer: str) -> Fingerprint:
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
