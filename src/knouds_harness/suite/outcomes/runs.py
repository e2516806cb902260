"""Runs of workflows and models that are waited for, and what refuses them."""

from __future__ import annotations

from typing import Any, Final

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.checks import capabilities, rate_limits, runs, schemas, validation, workflows
from knouds_harness.judging.checks.envelopes import refusals
from knouds_harness.judging.claim import Check
from knouds_harness.suite.outcomes.outcome import ProvokedOutcome, nothing
from knouds_harness.suite.outcomes.resources import OutcomeResources
from knouds_harness.suite.support.call import Call
from knouds_harness.suite.support.subjects import NO_SUCH_MODEL, NO_SUCH_WORKFLOW
from knouds_harness.targets.needs.keys import MODEL_RUNNER, WORKFLOW_RUNNER
from knouds_harness.targets.needs.need import KeyAndResource, Need
from knouds_harness.targets.needs.runs import (
    BUSINESS_MODEL_RUN,
    DISABLED_MODEL,
    ENTERPRISE_MODEL,
    FREE_WORKFLOW_RUN,
    MODEL_CALL,
    MODEL_RUN,
    PRO_MODEL_RUN,
    UNPOLLED_MODEL,
    WORKFLOW_CALL,
    WORKFLOW_RUN,
    is_paid,
    key_that_runs,
    once,
)
from knouds_harness.targets.needs.workflows import FOREIGN_WORKFLOW_RUN
from knouds_harness.targets.resources import Model, Workflow

_CALL: Final[dict[str, Need[Any]]] = {"runWorkflow": WORKFLOW_CALL, "runModel": MODEL_CALL}
_RUNNER: Final = {"runWorkflow": WORKFLOW_RUNNER, "runModel": MODEL_RUNNER}
_PARAMETER: Final = {"runWorkflow": "slug", "runModel": "internalName"}


def _run(
    operation: str,
    outcome: str,
    says: str,
    need: Need[KeyAndResource[Any]],
    *checks: Check[...],
    status: int = 200,
    code: str | None = None,
    is_async: bool = False,
) -> ProvokedOutcome:
    """A run with the profile's inputs; it is paid where it succeeds or the provider fails."""

    def provoke(resources: OutcomeResources) -> Exchange:
        key, resource = resources.tester.need(need)
        if 400 <= status < 500:
            return resources.subjects.run(resource, key, is_async=is_async, is_refused=True)
        return resources.tester.send(*resources.subjects.running(resource, key, is_async=is_async))

    is_paid = status in (200, 500) and outcome != "granted"
    return ProvokedOutcome(
        operation=operation,
        outcome=outcome,
        says=says,
        statuses=(status,),
        code=code,
        needs=(need,),
        provoke=provoke,
        checks=checks,
        spends=once(need) if is_paid else nothing,
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
) -> ProvokedOutcome:
    """A run that is refused before it costs anything."""
    need: Need[Any] = (_CALL if name is None else _RUNNER)[operation]

    def provoke(resources: OutcomeResources) -> Exchange:
        found = resources.tester.need(need)
        key, known = (found, name) if name else (found.key, found.resource.name)
        return resources.tester.send(operation, key, Call(path_values={_PARAMETER[operation]: known}, **body))

    return ProvokedOutcome(
        operation=operation,
        outcome=outcome,
        says=says,
        statuses=(404,) if outcome == "unknown" else (400,),
        code=code,
        needs=(need,),
        provoke=provoke,
        checks=(check,),
    )


def _of_both(
    outcome: str,
    says: str,
    check: Check[[]],
    code: str,
    **body: Any,  # noqa: ANN401
) -> tuple[ProvokedOutcome, ...]:
    return tuple(_refused(operation, outcome, says, check, code=code, **body) for operation in _PARAMETER)


def _always_fails(resource: Workflow | Model) -> bool:
    return resource.fails


def _paid_by_both(
    outcome: str,
    says: str,
    check: Check[[]],
    code: str,
    *,
    status: int = 402,
    **wanted: Any,  # noqa: ANN401 - of ``key_that_runs``
) -> tuple[ProvokedOutcome, ...]:
    needs = (key_that_runs(Workflow, **wanted), key_that_runs(Model, **wanted))
    return tuple(
        _run(operation, outcome, says, need, check, status=status, code=code)
        for operation, need in zip(_PARAMETER, needs, strict=True)
    )


OUTCOMES: Final = (
    _run(
        "runWorkflow",
        "result",
        "A workflow is run.",
        WORKFLOW_RUN,
        capabilities.admitted,
        workflows.creator_may_run,
    ),
    _run(
        "runWorkflow",
        "free",
        "A workflow is run that generates nothing.",
        FREE_WORKFLOW_RUN,
        runs.nothing_generated,
        workflows.creator_may_run,
    ),
    _run(
        "runWorkflow",
        "granted",
        "A trial grant pays the run.",
        key_that_runs(Workflow, funds="granted"),
        capabilities.admitted,
        runs.granted,
    ),
    _run(
        "runWorkflow",
        "limited",
        "A workflow is run by an account with a rate limit.",
        key_that_runs(Workflow, tier="pro"),
        capabilities.admitted,
        schemas.limited_run_headers,
        rate_limits.told_limit,
    ),
    _run("runModel", "result", "A model is run.", MODEL_RUN, capabilities.admitted),
    _run(
        "runModel",
        "limited",
        "A model is run by a business account.",
        BUSINESS_MODEL_RUN,
        capabilities.admitted,
        schemas.limited_run_headers,
        rate_limits.told_limit,
    ),
    _run(
        "runModel",
        "granted",
        "A trial grant pays the run.",
        key_that_runs(Model, funds="granted"),
        capabilities.admitted,
        runs.granted,
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
    _run(
        "runWorkflow",
        "foreign",
        "Someone else runs a private workflow.",
        FOREIGN_WORKFLOW_RUN,
        refusals.RUN_FOREIGN_WORKFLOW,
        status=404,
        code="NOT_FOUND",
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
        status=403,
        code="MODEL_TIER_REQUIRED",
    ),
    _run(
        "runModel",
        "under-business",
        "A pro account runs a model.",
        PRO_MODEL_RUN,
        refusals.MODEL_RUN_UNDER_BUSINESS,
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
    *_paid_by_both(
        "no-credits",
        "The account has no credits.",
        refusals.TOO_FEW_CREDITS,
        "INSUFFICIENT_CREDITS",
        funds="none",
        fits=is_paid,
    ),
    *_paid_by_both(
        "grant-used-up",
        "The account's trial grant is used up.",
        refusals.EXHAUSTED_GRANT,
        "grant_exhausted",
        funds="exhausted",
        fits=is_paid,
    ),
    *_paid_by_both(
        "provider-failed",
        "The provider fails.",
        refusals.PROVIDER_FAILURE,
        "EXECUTION_FAILED",
        status=500,
        having="with fails = true",
        fits=_always_fails,
    ),
)
