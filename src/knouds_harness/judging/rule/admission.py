"""Which fact admits a request, and is broken by a refusal for a reason that does not apply."""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from knouds_harness.contract.operations import Operation
from knouds_harness.judging.rule.asked import AskedRequest, Known


class Admission(NamedTuple):
    """What is broken if a request is refused without a reason: the fact, and the check that finds it."""

    check: str
    fact: str


Admits = Callable[[AskedRequest, Known], Admission]


def _always(check: str, fact: str) -> Admits:
    return lambda _, __: Admission(check, fact)


of_public_schema = _always("schemas.public-schema", "schema.public-only-when-public")
of_create = _always("validation.misshapen-create", "workflows.create-refusal-status")
of_update = _always("workflows.update-accepted", "workflows.update-takes-subset")


def of_key(asked: AskedRequest, _: Known) -> Admission:
    """The key works, or none is needed."""
    if asked.operation is not None and asked.operation.is_public:
        return Admission("authentication.public-operation", "auth.public-operations-need-no-key")
    return Admission("authentication.key-is-accepted", "auth.key-in-x-api-key")


def of_capabilities(asked: AskedRequest, known: Known) -> Admission:
    """The key holds what is required."""
    if asked.operation is None or asked.operation.is_public:
        return of_key(asked, known)
    return Admission(
        "capabilities.admitted", why_admitted(asked.operation, known.held or (), asked.path_values or {})
    )


def of_tier(_: AskedRequest, known: Known) -> Admission:
    """The tier suffices, or an administrator needs none."""
    if known.role == "admin":
        return Admission("runs.administrator", "tier.admin-bypasses-gates")
    return Admission("envelopes.model-above-tier", "model.above-tier-is-403")


def of_owner(asked: AskedRequest, known: Known) -> Admission:
    """What belongs to the sender is found; for what has no owner, its capabilities decide."""
    if "id" in (asked.path_values or {}):
        if asked.operation_id == "cancelExecution":
            return Admission("executions.cancelled-again", "execution.cancel-in-flight")
        ended = known.resource.has_ended
        return Admission(
            "executions.stays-known", "execution.final-is-absorbing" if ended else "execution.poll-shape"
        )
    if asked.operation_id == "runModel":
        return of_capabilities(asked, known)
    if asked.operation_id == "getPublicWorkflowSchema":
        return of_public_schema(asked, known)
    check = "workflows.creator-may-run" if asked.is_run else "workflows.creator-may"
    return Admission(check, "workflows.creator-owns")


def of_type(asked: AskedRequest, _: Known) -> Admission:
    """The body is declared as JSON, or there is none."""
    if asked.body is None:
        return Admission("validation.bodiless", "ground.bodiless-needs-no-content-type")
    return Admission("schemas.status-is-documented", "ground.status-is-documented")


def why_admitted(operation: Operation, held: Collection[str], path_values: Mapping[str, str]) -> str:
    """Return the fact that admits a key, in the documented order of precedence."""
    required = operation.required_capabilities(path_values)
    if not required:
        return "capability.any-valid-key-suffices"
    if "*" in held:
        return "capability.star-is-admitted"
    if required[0] in held:
        return "capability.exact-is-admitted"
    if f"{required[0].partition(':')[0]}:*" in held:
        return "capability.resource-wildcard-is-admitted"
    return "capability.bound-form-is-admitted"


def why_denied(operation: Operation, held: Collection[str], path_values: Mapping[str, str]) -> str:
    """Return the fact that refuses a key: the one about the nearest permission that it holds."""
    required = operation.required_capabilities(path_values)
    resource = required[0].partition(":")[0]
    is_bound = any(
        capability.startswith(f"{resource}:") and capability.count(":") == 2 for capability in held
    )
    if is_bound:
        return "capability.bound-form-is-exact" if len(required) > 1 else "capability.bound-form-only-runs"
    if any(capability.endswith(":*") for capability in held):
        return "capability.wildcard-stays-in-resource"
    return "capability.orthogonal" if held else "capability.missing-is-403-denied"
