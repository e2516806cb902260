"""How a load run was asked for, and what generated it, as ``load.json`` has it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from knouds_harness.locations import OWN_MIX


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """A straight piece of the planned load: levels are arrivals per second, or users."""

    duration_s: float
    start: float
    end: float
    name: str = ""

    def label(self, number: int) -> str:
        return self.name or f"stage {number}"

    @property
    def levels(self) -> str:
        return f"{self.end:g}" if self.start == self.end else f"{self.start:g} to {self.end:g}"


def own_mix(mix: str | None, run: Iterable[str], file: str) -> str:
    return ", ".join(filter(None, (mix, *run, file)))


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """The options of a load run, as recorded.

    Attributes:
        model: ``open`` (arrivals on a schedule) or ``closed`` (users who wait for responses).
        spacing: Of open arrivals: ``constant`` or ``poisson``.
        users: In the open model the most requests in flight.
        warm_up_s: Seconds at the start that are left out of every figure.
        verified_share: Share of the responses to check against the contract, from 0 to 1; 0 for a sample.
        rates: Tasks per second of each scenario, if they have rates of their own.
        mix: The mix, the workflows and models to run, and the name of the file of inputs; or empty.
        inputs: The same, with the number of lines in the file and their order.
    """

    scenario: str
    question: str
    model: Literal["open", "closed"]
    spacing: str
    stages: tuple[PlannedStage, ...]
    duration_s: float
    warm_up_s: float
    users: int
    workers: int
    seed: int
    verified_share: float = 0.0
    rates: Mapping[str, float] = field(default_factory=dict)
    mix: str = ""
    inputs: str = ""

    @property
    def workload(self) -> str:
        """What comparable runs have in common: the scenario; for the user's own mix also its contents."""
        return f"{self.scenario} ({self.inputs})" if self.scenario == OWN_MIX else self.scenario


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The software and machine that generated the load: two runs compare only as far as these agree."""

    python: str
    build: str
    versions: Mapping[str, str]
    platform: str
    cores: int
    timer: str
