"""What a load run is asked for: options that Locust's command line gets from us, and the plan they make."""

from __future__ import annotations

import random
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from locust.util.timespan import parse_timespan

from knouds_harness.errors import UsageError
from knouds_harness.load.arrivals import SPACINGS, Schedule
from knouds_harness.load.shapes import KINDS, Shape

CLIENTS: Final = ("knouds", "fast")
FINISHES: Final = ("poll", "webhook")
_LARGEST_SEED: Final = 2**31
_DEFAULT_DURATION_S: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """A load run, as asked for.

    Attributes:
        target: Profile; None for a bare ``--host`` with a key in the environment.
        rate: Arrivals per second at the highest level: the open model. None for the closed one.
        users: Of the closed model at its highest level; in the open model the most in flight.
        course: The level over time.
        spacing: Of arrivals.
        warm_up_s: Left out of the figures.
        seed: Of everything random.
        record: The folder for the record, which exists; None to keep none.
        objectives: Where objectives are; None for none.
        abort_on: Objectives whose miss over ten seconds ends the run, as ``measure=bound``.
        credits: No more than this is spent; None for the profile's limit.
        verified_share: The share of answers that is checked against the contract.
        plan_only: Say what the run is going to be, and send nothing.
        client: ``knouds`` or ``fast``.
        finish: How users learn that an asynchronous run has ended: ``poll`` or ``webhook``.
        yes: Load may go to another machine.
        yes_production: It may even be production.
        progress_file: Where to tell, each second, how the run stands; None for nowhere.
        started_by: The command whose process leads this one, and with which it ends; or empty.
    """

    target: str | None
    rate: float | None
    users: int
    course: Shape
    spacing: str
    warm_up_s: float
    seed: int
    record: Path | None
    objectives: Path | None
    abort_on: tuple[str, ...]
    credits: float | None
    verified_share: float
    plan_only: bool
    client: str
    yes: bool
    yes_production: bool
    finish: str = "poll"
    progress_file: Path | None = None
    started_by: str = ""

    @property
    def course_peak(self) -> float:
        """The highest level: arrivals per second, or users."""
        return max(max(stage.start, stage.end) for stage in self.course.stages)

    @property
    def schedule(self) -> Schedule | None:
        """The arrivals of the open model."""
        if self.rate is None:
            return None
        return Schedule(shape=self.course, spacing=self.spacing, seed=self.seed)


def add_options(parser: ArgumentParser) -> None:
    """Add ours to Locust's."""
    group = parser.add_argument_group("knouds-harness")
    group.add_argument("--target", metavar="NAME", help="Profile in targets/: keys, resources, limits.")
    group.add_argument(
        "--duration", type=parse_timespan, metavar="TIME", help="Of the load: 30s, 10m, 1h; or Locust's -t."
    )
    group.add_argument(
        "--rate",
        type=_positive,
        metavar="N",
        help="Open model: arrivals per second.",
    )
    group.add_argument("--spacing", choices=SPACINGS, default="constant", help="Of arrivals.")
    group.add_argument("--shape", choices=KINDS, default="constant", help="Course of rate or users.")
    group.add_argument("--base", type=float, metavar="N", help="Where a ramp begins, or a spike.")
    group.add_argument("--steps", type=int, default=5, metavar="N", help="How many, for --shape steps.")
    group.add_argument(
        "--warm-up", type=float, default=0.0, metavar="S", help="Seconds to leave out of the figures."
    )
    group.add_argument("--seed", type=int, metavar="N", help="Of arrivals, tasks and inputs.")
    group.add_argument("--record", metavar="DIR", help="Keep a run record in this folder of runs.")
    group.add_argument("--objectives", metavar="FILE", help="What the figures have to be.")
    group.add_argument(
        "--abort-on",
        action="append",
        default=[],
        metavar="MEASURE=BOUND",
        help="End early where it is missed over ten seconds: error_rate=0.2, p99_ms=5000.",
    )
    group.add_argument("--credits", type=float, metavar="N", help="Spend no more than this.")
    group.add_argument(
        "--verify",
        type=_share,
        nargs="?",
        const=1.0,
        default=0.0,
        metavar="RATIO",
        help="Check this share of the answers against the contract, all without a number.",
    )
    group.add_argument(
        "--plan-only", action="store_true", help="Say who sends how much and what it costs; send nothing."
    )
    group.add_argument("--yes", action="store_true", help="Load may go to another machine than this.")
    group.add_argument("--yes-production", action="store_true", help="Agree to production = true.")
    group.add_argument(
        "--finish", choices=FINISHES, default="poll", help="How the end of an asynchronous run is learnt."
    )
    group.add_argument("--progress-file", metavar="FILE", help=SUPPRESS)
    group.add_argument("--started-by", default="", metavar="COMMAND", help=SUPPRESS)
    group.add_argument("--client", choices=CLIENTS, default="knouds", help="fast: Locust's FastHttpUser's.")


def read_options(parsed: Namespace) -> Options:
    """The options, out of Locust's parsed ones.

    What is left to chance, or said in Locust's own words, is written down in ours, which alone reach workers.

    Raises:
        UsageError: They contradict each other.
    """
    parsed.duration = parsed.duration or parsed.run_time or _DEFAULT_DURATION_S
    if parsed.seed is None:
        parsed.seed = random.SystemRandom().randrange(_LARGEST_SEED)
    duration_s = float(parsed.duration)
    parsed.users_in_all = (
        getattr(parsed, "users_in_all", None) or parsed.num_users or (1000 if parsed.rate else 10)
    )
    users = int(parsed.users_in_all)
    level = float(parsed.rate or users)
    if parsed.warm_up >= duration_s:
        raise UsageError(
            f"--warm-up {parsed.warm_up:g} leaves nothing of {duration_s:g} s\n  Ask for a longer --duration."
        )
    if parsed.rate and parsed.client == "fast":
        raise UsageError(
            "--rate needs our own client: FastHttpUser does not know when a request was due\n"
            "  Leave --client fast out, or use --users."
        )
    try:
        course = Shape.of(parsed.shape, level, duration_s, base=parsed.base, steps=parsed.steps)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"--shape {parsed.shape}: {error}") from error
    return Options(
        target=parsed.target,
        rate=parsed.rate,
        users=users,
        course=course,
        spacing=parsed.spacing,
        warm_up_s=parsed.warm_up,
        seed=parsed.seed,
        record=Path(parsed.record) if parsed.record else None,
        objectives=Path(parsed.objectives) if parsed.objectives else None,
        abort_on=tuple(parsed.abort_on),
        credits=parsed.credits,
        verified_share=parsed.verify,
        plan_only=parsed.plan_only,
        client=parsed.client,
        yes=parsed.yes,
        yes_production=parsed.yes_production,
        finish=parsed.finish,
        progress_file=Path(parsed.progress_file) if parsed.progress_file else None,
        started_by=parsed.started_by,
    )


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise ArgumentTypeError(f"{text} is not more than 0")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise ArgumentTypeError(f"{text} is not between 0 and 1")
    return number
