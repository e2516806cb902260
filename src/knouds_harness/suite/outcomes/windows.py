"""One window of a rate limit, from its first run to the first of the next; last of all, as it throttles."""

from __future__ import annotations

from typing import Final

from knouds_harness.judging.checks import rate_limits, schemas
from knouds_harness.judging.checks.envelopes import refusals
from knouds_harness.judging.claim import Check
from knouds_harness.suite.outcomes.outcome import ProvokedOutcome
from knouds_harness.suite.support.call import Call
from knouds_harness.suite.support.subjects import NO_SUCH_MODEL
from knouds_harness.targets.needs.keys import PRO_MODEL_KEY
from knouds_harness.targets.needs.need import CONTROL
from knouds_harness.targets.needs.rate_limits import FILLABLE_WINDOW, limited_runs

STORY: Final = "window"
_RUNS: Final = 102


def _run(place: int, outcome: str, says: str, status: int, *checks: Check[...]) -> ProvokedOutcome:
    return ProvokedOutcome(
        operation="runWorkflow",
        outcome=outcome,
        says=says,
        statuses=(status,),
        code="RATE_LIMIT_EXCEEDED" if status == 429 else None,
        needs=(FILLABLE_WINDOW,),
        provoke=lambda resources: resources.window[place],
        checks=checks,
        spends=limited_runs(_RUNS),
        story=STORY,
    )


_ADMITTED: Final = (schemas.limited_run_headers, rate_limits.told_limit)

OUTCOMES: Final = (
    _run(0, "first-of-window", "The first run of a window.", 200, *_ADMITTED),
    _run(
        1,
        "second-of-window",
        "The second run of a window.",
        200,
        *_ADMITTED,
        rate_limits.remaining_falls,
        rate_limits.window_stands,
    ),
    _run(2, "last-of-window", "The last run that a window admits.", 200, *_ADMITTED),
    _run(
        3, "over-limit", "One run more than a window admits.", 429, refusals.OVER_LIMIT, rate_limits.told_wait
    ),
    _run(4, "next-window", "The first run of the next window.", 200, *_ADMITTED, rate_limits.window_turned),
    ProvokedOutcome(
        operation="runModel",
        outcome="over-limit",
        says="Runs of a model that would be refused anyway, one more than a window admits.",
        statuses=(429,),
        code="RATE_LIMIT_EXCEEDED",
        needs=(PRO_MODEL_KEY, CONTROL),
        provoke=lambda resources: resources.over_limit_of_models(
            PRO_MODEL_KEY, Call(path_values={"internalName": NO_SUCH_MODEL}, json={"inputs": {}})
        ),
        checks=(refusals.OVER_LIMIT, rate_limits.told_wait),
    ),
)
