"""What looks at answers and at deliveries, opened before load begins where the run is led."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from knouds_harness.errors import UsageError
from knouds_harness.load.generator.process_load import NO_TARGET
from knouds_harness.load.invariants.verification import LoadVerification, open_verification
from knouds_harness.load.invariants.webhook_waiter import WebhookWaiter, open_webhook_waiter
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.workload.workload import Scenario, Workload, may_run
from knouds_harness.targets.profile import Target

_NO_PLACE: Final = "a run in several processes has no one place for deliveries"


@dataclass(frozen=True, kw_only=True)
class Observers:
    """Of one run.

    Attributes:
        verification: Looks at answers; None where nothing is looked at.
        webhook_waiter: Gets deliveries; None where ends of runs are polled for.
        notes: What readers of the figures have to know of both.
    """

    verification: LoadVerification | None = None
    webhook_waiter: WebhookWaiter | None = None
    notes: tuple[str, ...] = ()


def open_observers(
    options: LoadOptions,
    target: Target | None,
    workload: Workload | None,
    scenarios: Sequence[type[Scenario]],
    *,
    is_distributed: bool,
) -> Observers:
    """Look at the accounts, and listen for deliveries, where that is asked for.

    Args:
        options: What is asked for.
        target: The profile, if one was named.
        workload: Who sends; None without a target.
        scenarios: Of the Locust file.
        is_distributed: Whether the run has several processes.

    Raises:
        HarnessError: No target was named, it does not answer, or a port cannot be bound; or deliveries are
            asked for, and nothing is run.
    """
    if options.finish == "webhook" and scenarios and not any(map(may_run, scenarios)):
        raise UsageError(
            "--finish webhook has no effect: no task of this scenario runs anything\n  Leave it out."
        )
    accounts = workload.accounts_of(scenarios) if workload else []
    verification = open_verification(options, target, scenarios, accounts=accounts, process=0)
    if options.finish != "webhook":
        return Observers(verification=verification)
    if target is None:
        raise UsageError(NO_TARGET)
    waiter, reason = None, _NO_PLACE
    if not is_distributed:
        waiter, reason = open_webhook_waiter(
            target,
            accounts,
            receiver=verification.receiver if verification else None,
            yes_production=options.yes_production,
        )
    if waiter is None:
        note = f"Ends were polled for instead of delivered: {reason}."
        return Observers(verification=verification, notes=(note,))
    if verification and verification.share and verification.receiver is None:
        verification.count_deliveries(waiter.receiver, waiter.webhook)
    return Observers(verification=verification, webhook_waiter=waiter)
