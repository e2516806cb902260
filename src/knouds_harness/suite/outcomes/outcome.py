"""What an outcome is: its name, what it takes to provoke it, and what judges it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from knouds_harness.contract.operations import Action
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.claim import Check
from knouds_harness.suite.outcomes.resources import OutcomeResources
from knouds_harness.suite.support.webhook_executions import Received
from knouds_harness.targets.needs.need import Need, may, missing_in
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Workflow

Spends = Callable[[Target], Sequence[Workflow | Model]]
MAY_READ: Final = may(Action.READ)


def nothing(_: Target) -> Sequence[Workflow | Model]:
    """What an outcome spends that runs nothing which is paid."""
    return ()


@dataclass(frozen=True, kw_only=True)
class ProvokedOutcome:
    """One outcome, and how to provoke it.

    Attributes:
        operation: The operationId; of a delivery that of the webhook.
        outcome: Its name among the outcomes of the operation.
        says: What is done, in one sentence.
        statuses: One of these shows that it was provoked.
        code: What the refusal's ``code`` is, where a source says so; a code that is only assumed may differ.
        needs: What the profile must offer.
        provoke: Sends, and returns the answer that is meant, or the delivery.
        checks: Those that judge this outcome, by its exchange and what ``recording_judgement`` knows besides.
        spends: What is run for it, to foretell the cost.
        story: Outcomes of one story share what they act on and what that spends, and are recorded together.
    """

    operation: str
    outcome: str
    says: str
    statuses: tuple[int, ...]
    code: str | None = None
    needs: tuple[Need[object], ...] = (MAY_READ,)
    provoke: Callable[[OutcomeResources], Exchange | Received] = field(repr=False)
    checks: tuple[Check[...], ...] = ()
    spends: Spends = field(default=nothing, repr=False)
    story: str | None = None

    @property
    def name(self) -> tuple[str, str]:
        """Operation and outcome, which no other outcome has."""
        return self.operation, self.outcome

    def missing(self, target: Target) -> list[str]:
        """What the profile lacks for it, in words."""
        return missing_in(target, self.needs)
