"""What a key may do: the rule that matches the capabilities it holds with the one that is required.

Source: docs, authentication; the form bound to one workflow or model is from the overview.
"""

from __future__ import annotations

from collections.abc import Collection

from knouds_harness.sandbox.envelopes import Refusal


def meets(held: Collection[str], required: str) -> bool:
    """Whether the key holds everything, exactly this, or the wildcard of its resource."""
    return "*" in held or required in held or f"{required.partition(':')[0]}:*" in held


def require(
    held: frozenset[str],
    *,
    required: str,
    operation: str,
    bound_to: str | None,
    faults: Collection[str],
    is_async: bool = False,
) -> None:
    """Refuse a key that does not hold what the operation requires.

    Args:
        held: The key's capabilities.
        required: Such as ``workflow:run``.
        operation: The operation's name, which only faults look at.
        bound_to: On a run endpoint the slug or internal name in the path, which a bound capability may name.
        faults: Promises to break.
        is_async: Whether an asynchronous run is asked for, which only faults look at.

    Raises:
        Refusal: 403 ``CAPABILITY_DENIED`` with ``required``, a list of what would have passed.
    """
    resource, _, verb = required.partition(":")
    bound = f"{resource}:{bound_to}:{verb}" if bound_to is not None else None
    if faults:
        decided = _decided_by_fault(
            held, required, operation=operation, bound_to=bound_to, faults=faults, is_async=is_async
        )
        if decided is not None:
            if decided:
                return
            raise _denied(required, bound, faults)
    if meets(held, required) or (bound is not None and bound in held):
        return
    raise _denied(required, bound, faults)


def _denied(required: str, bound: str | None, faults: Collection[str]) -> Refusal:
    alternatives = [required, bound] if bound else [required]
    error = f"This needs a key with {' or '.join(alternatives)}."
    if "capability-denied-is-404" in faults:
        return Refusal(404, "NOT_FOUND", error)
    if "capability-denied-is-401" in faults:
        return Refusal(401, "CAPABILITY_DENIED", error, required=alternatives)
    if "capability-denied-has-retired-code" in faults:
        return Refusal(403, "SCOPE_DENIED", error, required=alternatives)
    if "capability-denied-names-nothing" in faults:
        return Refusal(403, "CAPABILITY_DENIED", error)
    if "capability-denied-names-another" in faults:
        return Refusal(403, "CAPABILITY_DENIED", error, required=["webhook:receive"])
    if "capability-denied-names-old-scope" in faults:
        return Refusal(403, "CAPABILITY_DENIED", error, required="deployment")
    return Refusal(403, "CAPABILITY_DENIED", error, required=alternatives)


def _decided_by_fault(
    held: frozenset[str],
    required: str,
    *,
    operation: str,
    bound_to: str | None,
    faults: Collection[str],
    is_async: bool,
) -> bool | None:
    """Whether a fault admits (True) or refuses (False) the key; None leaves it to the rule."""
    if _is_unchecked(operation, faults) or _is_implied(held, required, faults):
        return True
    if held == {"execution:cancel"} and "capability-cancel-alone-refused" in faults:
        return False
    if (
        operation == "getWorkflowSchema"
        and held == {"workflow:read"}
        and "capability-schema-needs-run" in faults
    ):
        return False
    if (
        operation == "moveWorkflow"
        and held == {"workflow:write"}
        and "capability-write-alone-cannot-move" in faults
    ):
        return False
    by_wildcard = _decided_by_wildcard_fault(held, required, faults)
    if by_wildcard is not None:
        return by_wildcard
    return _decided_by_bound_fault(held, required, bound_to, faults, is_async=is_async)


def _is_unchecked(operation: str, faults: Collection[str]) -> bool:
    return (
        (operation == "runWorkflow" and "capability-workflow-run-unchecked" in faults)
        or (operation == "runModel" and "capability-model-run-unchecked" in faults)
        or (operation == "listWorkflows" and "capability-list-unchecked" in faults)
        or (operation == "getWorkflowSchema" and "capability-schema-unchecked" in faults)
        or (operation == "moveWorkflow" and "capability-move-unchecked" in faults)
        or (operation == "cancelExecution" and "capability-cancel-unchecked" in faults)
    )


def _is_implied(held: frozenset[str], required: str, faults: Collection[str]) -> bool:
    if required == "workflow:read":
        return ("workflow:write" in held and "capability-write-implies-read" in faults) or (
            "workflow:run" in held and "capability-run-implies-read" in faults
        )
    if required == "execution:read":
        return (
            ("workflow:read" in held and "capability-read-implies-execution-read" in faults)
            or ("execution:cancel" in held and "capability-cancel-implies-execution-read" in faults)
            or ("webhook:receive" in held and "capability-receive-implies-execution-read" in faults)
        )
    if required == "workflow:write":
        return {"workflow:read", "workflow:run"} <= held and "capability-read-and-run-imply-write" in faults
    if required == "execution:cancel":
        return "execution:read" in held and "capability-read-implies-cancel" in faults
    return required == "model:run" and "workflow:run" in held and "capability-run-implies-model-run" in faults


def _decided_by_wildcard_fault(held: frozenset[str], required: str, faults: Collection[str]) -> bool | None:
    resource, _, verb = required.partition(":")
    holds_it_otherwise = "*" in held or required in held
    if f"{resource}:*" in held and "capability-wildcard-ignored" in faults:
        return holds_it_otherwise
    if "execution:*" in held and verb == "cancel" and "capability-wildcard-lacks-cancel" in faults:
        return holds_it_otherwise
    if "workflow:*" in held and verb == "write" and "capability-wildcard-lacks-writing" in faults:
        return holds_it_otherwise
    if any(name.endswith(":*") for name in held) and "capability-wildcard-crosses-resources" in faults:
        return True
    if (
        "model:*" in held
        and required == "workflow:read"
        and "capability-model-wildcard-reads-workflows" in faults
    ):
        return True
    if "*" in held and resource == "execution" and "capability-star-lacks-executions" in faults:
        return False
    if "*" in held and verb == "write" and "capability-star-lacks-writing" in faults:
        return False
    return None


def _decided_by_bound_fault(
    held: frozenset[str], required: str, bound_to: str | None, faults: Collection[str], *, is_async: bool
) -> bool | None:
    resource, _, verb = required.partition(":")
    bound_names = [parts[1] for name in held if len(parts := name.split(":")) == 3 and parts[0] == resource]
    if not bound_names:
        return None
    if resource == "workflow" and verb == "read" and "capability-bound-form-reads" in faults:
        return True
    if resource == "workflow" and verb == "write" and "capability-bound-form-writes" in faults:
        return True
    if bound_to is None:
        return None
    if resource == "workflow" and "capability-bound-workflow-ignored" in faults:
        return meets(held, required)
    if resource == "model" and "capability-bound-model-ignored" in faults:
        return meets(held, required)
    if is_async and "capability-bound-form-not-asynchronously" in faults:
        return meets(held, required)
    if "capability-bound-form-runs-any" in faults:
        return True
    if is_async and "capability-bound-form-runs-any-asynchronously" in faults:
        return True
    if (
        any(bound_to.startswith(name) for name in bound_names)
        and "capability-bound-form-matches-longer" in faults
    ):
        return True
    if (
        any(name.startswith(bound_to) for name in bound_names)
        and "capability-bound-form-matches-shorter" in faults
    ):
        return True
    if any(bound_to.endswith(name) for name in bound_names) and "capability-bound-form-matches-end" in faults:
        return True
    return None
