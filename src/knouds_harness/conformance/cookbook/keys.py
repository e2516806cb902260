"""Keys that are refused: none, none that works, and keys that may not do what they ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from knouds_harness.conformance.checks import authentication, capabilities
from knouds_harness.conformance.claims import Check
from knouds_harness.conformance.needs import (
    FULL_KEY,
    LEGACY_KEY,
    OWN_WORKFLOW,
    POLLED_MODEL,
    PUBLIC_WORKFLOW,
    REVOKED_KEY,
    UNAPPROVED_KEY,
    USABLE_MODEL,
    Need,
    may,
    once,
)
from knouds_harness.conformance.probe import Call
from knouds_harness.conformance.recipes import MAY_READ, Recipe, nothing
from knouds_harness.conformance.stage import Stage
from knouds_harness.conformance.subjects import harmless_call
from knouds_harness.contract.document import Document
from knouds_harness.contract.operations import Action, Operation
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.target.personas import Persona
from knouds_harness.target.profile import Target

_NOBODYS_KEY: Final = "knouds_live_a_key_that_nobody_holds_00000000000000000"
_WITH_LEGACY_KEY: Final = (
    "getWhoami",
    "listWorkflows",
    "runWorkflow",
    "runModel",
    "getExecution",
    "listUsage",
)


def recipes(document: Document) -> Iterator[Recipe]:
    """Refusals of keys, for each operation that needs one."""
    for operation in document.operations:
        if not operation.is_public:
            yield _without_key(operation)
            if operation.id in _WITH_LEGACY_KEY:
                yield _with_key(operation, LEGACY_KEY, "legacy", "A key made before May 2026 is sent.")
            if operation.alternatives:
                yield _denied(operation)
    whoami = document.operation_by_id["getWhoami"]
    yield _with_key(whoami, REVOKED_KEY, "revoked", "A revoked key is sent.")
    yield _with_key(whoami, UNAPPROVED_KEY, "unapproved", "The key is of an account not yet approved.")
    yield _with_raw_key(
        "unknown-key", "A key is sent that nobody holds.", _NOBODYS_KEY, authentication.unknown_key
    )
    yield _with_raw_key("empty-key", "The key is empty.", "", authentication.empty_key)
    yield _with_raw_key("malformed-key", "What is sent is no key.", "null", authentication.malformed_key)
    yield _elsewhere("bearer", "The key is sent as a bearer token.", authentication.bearer)
    yield _elsewhere("key-in-query", "The key is sent in the query.", authentication.key_in_query)


_CHECK_BY_OUTCOME: Final = {
    "legacy": authentication.legacy_key,
    "revoked": authentication.revoked_key,
    "unapproved": authentication.unapproved_account,
}


def _without_key(operation: Operation) -> Recipe:
    return Recipe(
        operation=operation.id,
        outcome="no-key",
        says="No key is sent.",
        statuses=(401,),
        code="UNAUTHORIZED",
        needs=(may(operation.action),),
        provoke=lambda stage: stage.send(operation.id, None, harmless_call(operation)),
        checks=(authentication.missing_key,),
    )


def _with_key(operation: Operation, key: Need[Persona], outcome: str, says: str) -> Recipe:
    return Recipe(
        operation=operation.id,
        outcome=outcome,
        says=says,
        statuses=(401,),
        code="LEGACY_KEY_RETIRED" if outcome == "legacy" else "UNAUTHORIZED",
        needs=(may(operation.action), key),
        provoke=lambda stage: stage.send(operation.id, key, harmless_call(operation)),
        checks=(_CHECK_BY_OUTCOME[outcome],),
    )


def _with_raw_key(outcome: str, says: str, key: str, check: Check[[]]) -> Recipe:
    return Recipe(
        operation="getWhoami",
        outcome=outcome,
        says=says,
        statuses=(401,),
        code="UNAUTHORIZED",
        provoke=lambda stage: stage.send("getWhoami", None, raw_key=key),
        checks=(check,),
    )


def _elsewhere(outcome: str, says: str, check: Check[[]]) -> Recipe:
    """A good key in another place than its header."""

    def provoke(stage: Stage) -> Exchange:
        key = stage.owner.secret.reveal()
        call = Call(headers=(("authorization", f"Bearer {key}"),))
        if outcome == "key-in-query":
            call = Call(query=(("api_key", key),))
        return stage.send("getWhoami", None, call)

    return Recipe(
        operation="getWhoami",
        outcome=outcome,
        says=says,
        statuses=(401,),
        code="UNAUTHORIZED",
        needs=(MAY_READ, FULL_KEY),
        provoke=provoke,
        checks=(check,),
    )


def _denied(operation: Operation) -> Recipe:
    key = lacking_key(operation)

    def provoke(stage: Stage) -> Exchange:
        return stage.send(operation.id, key, stage.call(operation.id))

    is_about_execution = operation.path_parameters == ("id",)
    subject: tuple[Need[object], ...] = ()
    if operation.path_parameters == ("internalName",):
        subject = (USABLE_MODEL,)
    elif is_about_execution:
        subject = (POLLED_MODEL, may(Action.RUN))
    elif operation.path_parameters == ("slug",) and operation.action is not Action.WRITE:
        subject = (OWN_WORKFLOW,) if not operation.is_public else (PUBLIC_WORKFLOW,)
    return Recipe(
        operation=operation.id,
        outcome="lacks-capability",
        says=f"A key is sent that holds nothing which {operation.id} asks for.",
        statuses=(403,),
        code="CAPABILITY_DENIED",
        needs=(may(operation.action), FULL_KEY, key, *subject),
        provoke=provoke,
        checks=(capabilities.denied,),
        spends=once(POLLED_MODEL) if is_about_execution else nothing,
        story="completed-run" if is_about_execution else None,
    )


def lacking_key(operation: Operation) -> Need[Persona]:
    """A key of the full key's account that holds nothing an operation asks for, in no form."""
    words = {alternative.partition(":")[0] for alternative in operation.alternatives}

    def find(target: Target) -> Persona | None:
        full = FULL_KEY.find(target)
        return next(
            (
                key
                for key in target.personas.values()
                if full
                and key.state == "active"
                and key.user == full.user
                and not any(held == "*" or held.partition(":")[0] in words for held in key.capabilities)
            ),
            None,
        )

    return Need(
        says=f"a key of the full key's account without any {' or '.join(sorted(words))} capability", find=find
    )
