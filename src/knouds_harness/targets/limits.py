"""What a run may do to a target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from knouds_harness.contract.operations import Action
from knouds_harness.targets.profile_format import NOT_IN_FILE, Amount, Duration, Flag, Number, Whole


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The bounds that the guards keep: ``[limits]``.

    Attributes:
        credits: The most that all runs of one session may cost together; 0 forbids any paid run.
        requests_per_s: The most requests started per second, evenly spaced; None for no bound.
        concurrency: The most requests in flight at once; of a load, over all its workers.
        timeout_s: Seconds that one exchange may take, connecting included.
        allow: The kinds of action that may be sent at all.
        fill_rate_windows: Whether windows of rate limits are filled, where that takes a window's time; None
            fills them where the runs cost nothing.
        credits_by: What sets the credits: the key of the profile, or what was asked for in its place.
    """

    credits: Amount = 0.0
    requests_per_s: Annotated[Number, Field(gt=0)] | None = None
    concurrency: Annotated[Whole, Field(ge=1, le=1_000_000)] = 4
    timeout_s: Duration = 30.0
    allow: frozenset[Action] = frozenset({Action.READ})
    fill_rate_windows: Flag | None = None
    credits_by: Annotated[str, NOT_IN_FILE] = "limits.credits"

    def spending(self, asked_credits: float | None, *, by: str) -> Limits:
        """These limits for a run that was asked to cost at most so much; that can only lower the credits."""
        if asked_credits is None or asked_credits >= self.credits:
            return self
        return replace(self, credits=asked_credits, credits_by=by)
