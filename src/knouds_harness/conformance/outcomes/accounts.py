"""Who one is, what one used, and what anybody may ask."""

from __future__ import annotations

from typing import Final

from knouds_harness.conformance.checks import authentication, capabilities, schemas, usage, validation
from knouds_harness.conformance.needs.keys import ADMIN_KEY, ANY_KEY
from knouds_harness.conformance.needs.rate_limits import LIMITED_KEY
from knouds_harness.conformance.outcomes.outcome import MAY_READ, ProvokedOutcome
from knouds_harness.conformance.suite.call import Call

OUTCOMES: Final = (
    ProvokedOutcome(
        operation="getHealth",
        outcome="up",
        says="Anybody asks whether the service is up.",
        statuses=(200,),
        provoke=lambda resources: resources.send("getHealth", None),
        checks=(authentication.public_operation, schemas.public_health),
    ),
    ProvokedOutcome(
        operation="getPublicPricing",
        outcome="tiers",
        says="Anybody asks for the prices.",
        statuses=(200,),
        provoke=lambda resources: resources.send("getPublicPricing", None),
        checks=(authentication.public_operation, schemas.public_pricing),
    ),
    ProvokedOutcome(
        operation="getWhoami",
        outcome="user",
        says="A key asks whose it is.",
        statuses=(200,),
        needs=(MAY_READ, ANY_KEY),
        provoke=lambda resources: resources.send("getWhoami", ANY_KEY),
        checks=(authentication.key_is_accepted, capabilities.admitted, validation.bodiless),
    ),
    ProvokedOutcome(
        operation="getWhoami",
        outcome="admin",
        says="An administrator's key asks whose it is.",
        statuses=(200,),
        needs=(MAY_READ, ADMIN_KEY),
        provoke=lambda resources: resources.send("getWhoami", ADMIN_KEY),
        checks=(authentication.key_is_accepted, capabilities.admitted),
    ),
    ProvokedOutcome(
        operation="getWhoami",
        outcome="pro",
        says="A key of a pro account asks whose it is.",
        statuses=(200,),
        needs=(MAY_READ, LIMITED_KEY),
        provoke=lambda resources: resources.send("getWhoami", LIMITED_KEY),
        checks=(authentication.key_is_accepted, capabilities.admitted),
    ),
    ProvokedOutcome(
        operation="listUsage",
        outcome="rows",
        says="An account reads its usage.",
        statuses=(200,),
        needs=(MAY_READ, ANY_KEY),
        provoke=lambda resources: resources.send("listUsage", ANY_KEY),
        checks=(capabilities.admitted, usage.no_canvas_rows, usage.no_provider_ids),
    ),
    ProvokedOutcome(
        operation="listUsage",
        outcome="page",
        says="An account reads two rows of its usage, the first left out.",
        statuses=(200,),
        needs=(MAY_READ, ANY_KEY),
        provoke=lambda resources: resources.send(
            "listUsage", ANY_KEY, Call(query=(("limit", "2"), ("offset", "1")))
        ),
        checks=(usage.limit, usage.no_canvas_rows, usage.no_provider_ids),
    ),
    ProvokedOutcome(
        operation="listUsage",
        outcome="failed-rows",
        says="An account reads its failed runs.",
        statuses=(200,),
        needs=(MAY_READ, ANY_KEY),
        provoke=lambda resources: resources.send("listUsage", ANY_KEY, Call(query=(("status", "failed"),))),
        checks=(usage.no_canvas_rows, usage.no_provider_ids),
    ),
    ProvokedOutcome(
        operation="listUsage",
        outcome="beyond-the-end",
        says="An account reads its usage from behind the last row on.",
        statuses=(200,),
        needs=(MAY_READ, ANY_KEY),
        provoke=lambda resources: resources.send("listUsage", ANY_KEY, Call(query=(("offset", "100000"),))),
    ),
    ProvokedOutcome(
        operation="listUsage",
        outcome="garbled-limit",
        says="The limit is no number.",
        statuses=(200, 400, 422),
        needs=(MAY_READ, ANY_KEY),
        provoke=lambda resources: resources.send("listUsage", ANY_KEY, Call(query=(("limit", "many"),))),
        checks=(validation.garbled_usage_query,),
    ),
    ProvokedOutcome(
        operation="listUsageModels",
        outcome="models",
        says="An account asks which models it used.",
        statuses=(200,),
        needs=(MAY_READ, ANY_KEY),
        provoke=lambda resources: resources.send("listUsageModels", ANY_KEY),
        checks=(capabilities.admitted, usage.no_provider_ids),
    ),
)
