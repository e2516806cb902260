"""Who one is, what one used, and what anybody may ask."""

from __future__ import annotations

from typing import Final

from knouds_harness.judging.checks import authentication, capabilities, schemas, usage, validation
from knouds_harness.judging.claim import Check
from knouds_harness.suite.outcomes.outcome import MAY_READ, ProvokedOutcome
from knouds_harness.suite.support.call import Call
from knouds_harness.targets.needs.keys import ADMIN_KEY, ANY_KEY
from knouds_harness.targets.needs.need import Need
from knouds_harness.targets.needs.rate_limits import LIMITED_KEY
from knouds_harness.targets.personas import Persona


def _read(
    operation: str,
    outcome: str,
    says: str,
    key: Need[Persona] | None,
    *checks: Check[...],
    query: tuple[tuple[str, str], ...] = (),
    statuses: tuple[int, ...] = (200,),
) -> ProvokedOutcome:
    return ProvokedOutcome(
        operation=operation,
        outcome=outcome,
        says=says,
        statuses=statuses,
        needs=(MAY_READ, key) if key else (MAY_READ,),
        provoke=lambda resources: resources.send(operation, key, Call(query=query)),
        checks=checks,
    )


_PUBLIC: Final = authentication.public_operation
_WHOAMI: Final = (authentication.key_is_accepted, capabilities.admitted)
_ROWS: Final = (usage.no_canvas_rows, usage.no_provider_ids)

OUTCOMES: Final = (
    _read("getHealth", "up", "Anybody asks whether the service is up.", None, _PUBLIC, schemas.public_health),
    _read("getPublicPricing", "tiers", "Anybody asks for the prices.", None, _PUBLIC, schemas.public_pricing),
    _read("getWhoami", "user", "A key asks whose it is.", ANY_KEY, *_WHOAMI, validation.bodiless),
    _read("getWhoami", "admin", "An administrator's key asks whose it is.", ADMIN_KEY, *_WHOAMI),
    _read("getWhoami", "pro", "A key of a pro account asks whose it is.", LIMITED_KEY, *_WHOAMI),
    _read("listUsage", "rows", "An account reads its usage.", ANY_KEY, capabilities.admitted, *_ROWS),
    _read(
        "listUsage",
        "page",
        "An account reads two rows of its usage, the first left out.",
        ANY_KEY,
        usage.limit,
        *_ROWS,
        query=(("limit", "2"), ("offset", "1")),
    ),
    _read(
        "listUsage",
        "failed-rows",
        "An account reads its failed runs.",
        ANY_KEY,
        *_ROWS,
        query=(("status", "failed"),),
    ),
    _read(
        "listUsage",
        "beyond-the-end",
        "An account reads its usage from behind the last row on.",
        ANY_KEY,
        query=(("offset", "100000"),),
    ),
    _read(
        "listUsage",
        "garbled-limit",
        "The limit is no number.",
        ANY_KEY,
        validation.garbled_usage_query,
        query=(("limit", "many"),),
        statuses=(200, 400, 422),
    ),
    _read(
        "listUsageModels",
        "models",
        "An account asks which models it used.",
        ANY_KEY,
        capabilities.admitted,
        usage.no_provider_ids,
    ),
)
