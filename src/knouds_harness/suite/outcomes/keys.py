"""Keys that are refused: none, none that works, and keys that may not do what they ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from knouds_harness.contract.document import Document
from knouds_harness.contract.operations import Operation
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.checks import authentication, capabilities
from knouds_harness.judging.claim import Check
from knouds_harness.suite.outcomes.outcome import MAY_READ, ProvokedOutcome, nothing
from knouds_harness.suite.outcomes.resources import OutcomeResources
from knouds_harness.suite.support.call import Call
from knouds_harness.suite.support.subjects import effectless_call
from knouds_harness.targets.needs.keys import ANY_KEY, LEGACY_KEY, REVOKED_KEY, UNAPPROVED_KEY, usable_keys
from knouds_harness.targets.needs.need import Need, may
from knouds_harness.targets.needs.runs import ASYNC_MODEL_RUN, once
from knouds_harness.targets.needs.workflows import subject_account
from knouds_harness.targets.personas import Persona, Secret
from knouds_harness.targets.profile import Target

_NOBODYS_KEY: Final = "knouds_live_a_key_that_nobody_holds_00000000000000000"
_WITH_LEGACY_KEY: Final = (
    "getWhoami",
    "listWorkflows",
    "runWorkflow",
    "runModel",
    "getExecution",
    "listUsage",
)


def outcomes(document: Document) -> Iterator[ProvokedOutcome]:
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


def _without_key(operation: Operation) -> ProvokedOutcome:
    return ProvokedOutcome(
        operation=operation.id,
        outcome="no-key",
        says="No key is sent.",
        statuses=(401,),
        code="UNAUTHORIZED",
        needs=(may(operation.action),),
        provoke=lambda resources: resources.send(operation.id, None, effectless_call(operation)),
        checks=(authentication.missing_key,),
    )


def _with_key(operation: Operation, key: Need[Persona], outcome: str, says: str) -> ProvokedOutcome:
    return ProvokedOutcome(
        operation=operation.id,
        outcome=outcome,
        says=says,
        statuses=(401,),
        code="LEGACY_KEY_RETIRED" if outcome == "legacy" else "UNAUTHORIZED",
        needs=(may(operation.action), key),
        provoke=lambda resources: resources.send(operation.id, key, effectless_call(operation)),
        checks=(_CHECK_BY_OUTCOME[outcome],),
    )


def _with_raw_key(outcome: str, says: str, key: str, check: Check[[]]) -> ProvokedOutcome:
    return ProvokedOutcome(
        operation="getWhoami",
        outcome=outcome,
        says=says,
        statuses=(401,),
        code="UNAUTHORIZED",
        provoke=lambda resources: resources.send("getWhoami", None, raw_key=Secret(key, "key:unknown")),
        checks=(check,),
    )


def _elsewhere(outcome: str, says: str, check: Check[[]]) -> ProvokedOutcome:
    """A good key in another place than its header."""

    def provoke(resources: OutcomeResources) -> Exchange:
        key = resources.tester.need(ANY_KEY).secret.reveal()
        call = Call(headers=(("authorization", f"Bearer {key}"),))
        if outcome == "key-in-query":
            call = Call(query=(("api_key", key),))
        return resources.send("getWhoami", None, call)

    return ProvokedOutcome(
        operation="getWhoami",
        outcome=outcome,
        says=says,
        statuses=(401,),
        code="UNAUTHORIZED",
        needs=(MAY_READ, ANY_KEY),
        provoke=provoke,
        checks=(check,),
    )


def _denied(operation: Operation) -> ProvokedOutcome:
    key = lacking_key(operation)
    is_about_execution = operation.path_parameters == ("id",)
    return ProvokedOutcome(
        operation=operation.id,
        outcome="lacks-capability",
        says=f"A key is sent that holds nothing which {operation.id} asks for.",
        statuses=(403,),
        code="CAPABILITY_DENIED",
        needs=(may(operation.action), key),
        provoke=lambda resources: resources.send(operation.id, key, resources.call(operation.id)),
        checks=(capabilities.denied,),
        spends=once(ASYNC_MODEL_RUN) if is_about_execution else nothing,
        story="completed-run" if is_about_execution else None,
    )


def lacking_key(operation: Operation) -> Need[Persona]:
    """A key that holds nothing an operation asks for, in no form, of an account that has what it acts on."""
    words = {alternative.partition(":")[0] for alternative in operation.alternatives}
    account = subject_account(operation)

    def fitting(target: Target) -> Iterator[Persona]:
        for user in account.fitting(target):
            for key in reversed(usable_keys(target)):  # what holds little shows most
                held = {each.partition(":")[0] for each in key.capabilities}
                if key.user == user and held.isdisjoint(words | {"*"}):
                    yield key

    return Need(
        says=f"a key of that account without any {' or '.join(sorted(words))} capability",
        fitting=fitting,
        besides=(account,),
    )
