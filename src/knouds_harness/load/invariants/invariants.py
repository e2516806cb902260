"""What has to hold over all of a load run: facts, and what of them many answers can show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

InvariantKey = tuple[str, str]

FRESH_ID: Final = ("async.execution-id-is-fresh", "Each submit gets an executionId of its own.")
EDGES: Final = ("execution.edges", "While an execution is in flight, its status only goes forward.")
FINAL_STANDS: Final = ("execution.final-is-absorbing", "Nothing leaves completed, failed or cancelled.")
HAS_A_ROW: Final = ("usage.run-has-a-row", "Each run has a row in usage.")
IS_CHARGED: Final = ("run.charge-equals-usage", "The cost of each run is the creditsCost of a row.")
ONE_DELIVERY: Final = ("webhook.one-per-ended-execution", "Each ended execution is delivered once.")
REMAINING_FALLS: Final = ("rate.remaining-falls", "No two requests of a window are left the same Remaining.")
NO_MORE: Final = ("rate.over-limit-is-429", "No window admits more requests than the tier's limit.")
NO_FEWER: Final[Mapping[str, InvariantKey]] = {
    "pro": ("tier.rate-limit-pro", "A pro account's window admits all 100 before it refuses."),
    "business": (
        "tier.rate-limit-business",
        "A business account's window admits all 1,000 before it refuses.",
    ),
}
SLUG_OF_NAME: Final = (
    "workflows.create-makes-slug-from-name",
    "A create answers with the slug of its own name, and not of a workflow that was there.",
)
SHOWS_LAST: Final = (
    "workflows.update-takes-subset",
    "A read shows what was last written to its workflow, whatever else came at the same time.",
)
IS_THERE: Final = (
    "workflows.delete-then-404",
    "A workflow is there from its create to its delete, and not after it.",
)
NEVER_THROTTLED: Final = ("tier.rate-limit-enterprise", "An enterprise account is not rate-limited.")
WINDOWS_APART: Final = (
    "rate.window-is-fixed-60-s",
    "A window ends no sooner than 60 s after the one before.",
)
SHORT_WAIT: Final = ("rate.window-is-fixed-60-s", "No request is told to wait longer than a window lasts.")
TRUE_WAIT: Final = (
    "rate.window-is-fixed-60-s",
    "Who waits as long as Retry-After says finds another window.",
)

NEEDS: Final[Mapping[InvariantKey, str]] = {
    FRESH_ID: "a submit of an asynchronous run",
    EDGES: "two polls of an execution in flight",
    FINAL_STANDS: "an execution that was polled to its end",
    HAS_A_ROW: "a run, and usage that can be read",
    IS_CHARGED: "a run whose answer says its cost, and usage that can be read",
    ONE_DELIVERY: "an execution that was polled to its end, of a key with webhook = true that holds "
    "webhook:receive, and [webhook] that leads to this machine; on the sandbox, --finish webhook",
    SHOWS_LAST: "a workflow that this load creates and then reads",
    IS_THERE: "a workflow that this load creates and then reads",
    REMAINING_FALLS: "a run of an account with a rate limit",
    NO_MORE: "a run of an account with a rate limit",
    TRUE_WAIT: "a request that was sent after as long as a 429 before it told to wait",
}
"""What it takes to see these; the others need nothing that a report would have to name."""
OF_HISTORIES: Final = {*NEEDS, *NO_FEWER.values(), NEVER_THROTTLED, WINDOWS_APART, SHORT_WAIT}
"""What only many answers show."""
