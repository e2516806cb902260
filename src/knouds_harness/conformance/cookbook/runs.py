"""Runs of workflows and models that are waited for, and what refuses them."""

from __future__ import annotations

from typing import Any, Final

from knouds_harness.conformance.checks import (
    capabilities,
    rate_limits,
    refusals,
    runs,
    schemas,
    validation,
    workflows,
)
from knouds_harness.conformance.claims import Check
from knouds_harness.conformance.needs import (
    BROKE_KEY,
    BROKE_WORKFLOW,
    BUSINESS_KEY,
    DISABLED_MODEL,
    ENTERPRISE_MODEL,
    EXHAUSTED_KEY,
    EXHAUSTED_WORKFLOW,
    FAILING_POLLED_MODEL,
    FAILING_WORKFLOW,
    FULL_KEY,
    GRANTED_KEY,
    GRANTED_WORKFLOW,
    LIMITED_KEY,
    LIMITED_WORKFLOW,
    MAY_RUN,
    OWN_PRIVATE_WORKFLOW,
    OWN_WORKFLOW,
    PRO_MODEL_KEY,
    STRANGER_KEY,
    UNPOLLED_MODEL,
    USABLE_MODEL,
    WITHOUT_GENERATOR_WORKFLOW,
    Need,
    once,
)
from knouds_harness.conformance.probe import Call
from knouds_harness.conformance.recipes import Recipe, nothing
from knouds_harness.conformance.stage import Stage
from knouds_harness.conformance.subjects import NO_SUCH_MODEL, NO_SUCH_WORKFLOW
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.target.resources import Model, Workflow

_PARAMETER: Final = {"runWorkflow": "slug", "runModel": "internalName"}


def _run(
    operation: str,
    outcome: str,
    says: str,
    resource: Need[Any],
    *checks: Check[...],
    key: Need[Any] = FULL_KEY,
    status: int = 200,
    code: str | None = None,
    is_async: bool = False,
) -> Recipe:
    """A run with the profile's inputs; it is paid where it succeeds or the provider fails."""

    def provoke(stage: Stage) -> Exchange:
        found: Workflow | Model = stage.probe.need(resource)
        return stage.subjects.run(found, stage.probe.need(key), is_async=is_async)

    is_paid = status in (200, 500) and key is not GRANTED_KEY
    return Recipe(
        operation=operation,
        outcome=outcome,
        says=says,
        statuses=(status,),
        code=code,
        needs=(MAY_RUN, key, resource),
        provoke=provoke,
        checks=checks,
        spends=once(resource) if is_paid else nothing,
    )


def _refused(
    operation: str,
    outcome: str,
    says: str,
    check: Check[[]],
    *,
    code: str,
    name: str | None = None,
    **body: Any,  # noqa: ANN401 - json or raw of a call
) -> Recipe:
    """A run that is refused before it costs anything."""
    resource: Need[Any] = OWN_WORKFLOW if operation == "runWorkflow" else USABLE_MODEL

    def provoke(stage: Stage) -> Exchange:
        found = stage.probe.need(resource)
        known = found.slug if isinstance(found, Workflow) else found.name
        return stage.send(
            operation, FULL_KEY, Call(path_values={_PARAMETER[operation]: name or known}, **body)
        )

    return Recipe(
        operation=operation,
        outcome=outcome,
        says=says,
        statuses=(404,) if outcome == "unknown" else (400,),
        code=code,
        needs=(MAY_RUN, FULL_KEY, resource),
        provoke=provoke,
        checks=(check,),
    )


def _foreign(stage: Stage) -> Exchange:
    slug = stage.probe.need(OWN_PRIVATE_WORKFLOW).slug
    return stage.send("runWorkflow", STRANGER_KEY, Call(path_values={"slug": slug}, json={"inputs": {}}))


def _of_both(outcome: str, says: str, check: Check[[]], code: str, **body: Any) -> tuple[Recipe, ...]:  # noqa: ANN401
    return tuple(_refused(operation, outcome, says, check, code=code, **body) for operation in _PARAMETER)


RECIPES: Final = (
    _run(
        "runWorkflow",
        "result",
        "A workflow is run.",
        OWN_WORKFLOW,
        capabilities.admitted,
        workflows.creator_may_run,
    ),
    _run(
        "runWorkflow",
        "free",
        "A workflow is run that generates nothing.",
        WITHOUT_GENERATOR_WORKFLOW,
        runs.nothing_generated,
        workflows.creator_may_run,
    ),
    _run(
        "runWorkflow",
        "granted",
        "A trial grant pays the run.",
        GRANTED_WORKFLOW,
        capabilities.admitted,
        runs.granted,
        key=GRANTED_KEY,
    ),
    _run(
        "runWorkflow",
        "limited",
        "A workflow is run by an account with a rate limit.",
        LIMITED_WORKFLOW,
        capabilities.admitted,
        schemas.limited_run_headers,
        rate_limits.told_limit,
        key=LIMITED_KEY,
    ),
    _run("runModel", "result", "A model is run.", USABLE_MODEL, capabilities.admitted),
    _run(
        "runModel",
        "limited",
        "A model is run by a business account.",
        USABLE_MODEL,
        capabilities.admitted,
        schemas.limited_run_headers,
        rate_limits.told_limit,
        key=BUSINESS_KEY,
    ),
    _run(
        "runModel",
        "granted",
        "A trial grant pays the run.",
        USABLE_MODEL,
        capabilities.admitted,
        runs.granted,
        key=GRANTED_KEY,
    ),
    *_of_both(
        "no-inputs",
        "The body has no inputs.",
        validation.inputs_missing,
        "INVALID_INPUTS",
        json={"prompt": "a lighthouse"},
    ),
    *_of_both(
        "inputs-array",
        "The inputs are an array.",
        validation.inputs_not_object,
        "INVALID_INPUTS",
        json={"inputs": ["a lighthouse"]},
    ),
    *_of_both(
        "not-json", "The body is cut short.", validation.body_not_json, "INVALID_BODY", raw=b'{"inputs": {'
    ),
    *_of_both(
        "bad-name",
        "The name in the path has capitals and a blank.",
        validation.malformed_slug,
        "INVALID_SLUG",
        name="No Such Name",
        json={"inputs": {}},
    ),
    _refused(
        "runWorkflow",
        "unknown",
        "There is no workflow of this slug.",
        refusals.RUN_UNKNOWN_WORKFLOW,
        code="NOT_FOUND",
        name=NO_SUCH_WORKFLOW,
        json={"inputs": {}},
    ),
    _refused(
        "runModel",
        "unknown",
        "There is no model of this name.",
        refusals.UNKNOWN_MODEL,
        code="MODEL_NOT_FOUND",
        name=NO_SUCH_MODEL,
        json={"inputs": {}},
    ),
    Recipe(
        operation="runWorkflow",
        outcome="foreign",
        says="Someone else runs a private workflow.",
        statuses=(404,),
        code="NOT_FOUND",
        needs=(MAY_RUN, STRANGER_KEY, OWN_PRIVATE_WORKFLOW),
        provoke=_foreign,
        checks=(refusals.RUN_FOREIGN_WORKFLOW,),
    ),
    _run(
        "runModel",
        "disabled",
        "A disabled model is run.",
        DISABLED_MODEL,
        refusals.DISABLED_MODEL_REFUSED,
        status=404,
        code="MODEL_NOT_FOUND",
    ),
    _run(
        "runModel",
        "above-tier",
        "A business account runs a model for enterprises.",
        ENTERPRISE_MODEL,
        refusals.MODEL_ABOVE_TIER,
        key=BUSINESS_KEY,
        status=403,
        code="MODEL_TIER_REQUIRED",
    ),
    _run(
        "runModel",
        "under-business",
        "A pro account runs a model.",
        USABLE_MODEL,
        refusals.MODEL_RUN_UNDER_BUSINESS,
        key=PRO_MODEL_KEY,
        status=403,
    ),
    _run(
        "runModel",
        "async-not-supported",
        "A model that is not polled is to run asynchronously.",
        UNPOLLED_MODEL,
        refusals.ASYNC_NOT_SUPPORTED,
        status=400,
        code="ASYNC_NOT_SUPPORTED",
        is_async=True,
    ),
    _run(
        "runWorkflow",
        "no-credits",
        "The account has no credits.",
        BROKE_WORKFLOW,
        refusals.TOO_FEW_CREDITS,
        key=BROKE_KEY,
        status=402,
        code="INSUFFICIENT_CREDITS",
    ),
    _run(
        "runModel",
        "no-credits",
        "The account has no credits.",
        USABLE_MODEL,
        refusals.TOO_FEW_CREDITS,
        key=BROKE_KEY,
        status=402,
        code="INSUFFICIENT_CREDITS",
    ),
    _run(
        "runWorkflow",
        "grant-used-up",
        "The account's trial grant is used up.",
        EXHAUSTED_WORKFLOW,
        refusals.EXHAUSTED_GRANT,
        key=EXHAUSTED_KEY,
        status=402,
        code="grant_exhausted",
    ),
    _run(
        "runModel",
        "grant-used-up",
        "The account's trial grant is used up.",
        USABLE_MODEL,
        refusals.EXHAUSTED_GRANT,
        key=EXHAUSTED_KEY,
        status=402,
        code="grant_exhausted",
    ),
    _run(
        "runWorkflow",
        "provider-failed",
        "The provider fails.",
        FAILING_WORKFLOW,
        refusals.PROVIDER_FAILURE,
        status=500,
        code="EXECUTION_FAILED",
    ),
    _run(
        "runModel",
        "provider-failed",
        "The provider fails.",
        FAILING_POLLED_MODEL,
        refusals.PROVIDER_FAILURE,
        status=500,
        code="EXECUTION_FAILED",
    ),
)
