"""Faults: what keys may do with their capabilities."""

from collections.abc import Callable
from dataclasses import replace

from knouds_sandbox.access.keys import CapabilityRequest, Credentials, meets
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point, fault, note_met
from knouds_sandbox.faults.editing import at, on_refusal, refused, with_value, without
from knouds_sandbox.handlers import workflows

_DENIED = "CAPABILITY_DENIED"


def _admits(is_meant: Callable[[CapabilityRequest], bool]) -> Edit:
    return at(Point.CAPABILITY, "", lambda asked, is_admitted: is_admitted or is_meant(asked))


def _refuses(is_meant: Callable[[CapabilityRequest], bool]) -> Edit:
    return at(Point.CAPABILITY, "", lambda asked, is_admitted: is_admitted and not is_meant(asked))


def _implies(held: str, required: str) -> Edit:
    return _admits(lambda asked: asked.required == required and asked.held >= set(held.split()))


def _bound_names(asked: CapabilityRequest) -> list[str]:
    parts = (name.split(":") for name in asked.held)
    return [each[1] for each in parts if len(each) == 3 and each[0] == asked.resource]


@fault("capability.missing-is-403-denied", at(Point.CAPABILITY, "runWorkflow", lambda *_: True))
def capability_workflow_run_unchecked() -> None:
    """Running a workflow needs no capability."""


@fault("capability.missing-is-403-denied", on_refusal(refused(404, "NOT_FOUND"), code=_DENIED))
def capability_denied_is_404() -> None:
    """A key without the required capability gets a 404."""


@fault("capability.denied-names-required", on_refusal(without("required"), code=_DENIED))
def capability_denied_names_nothing() -> None:
    """The denial has no `required`."""


@fault("capability.denied-names-required")
def capability_denied_names_another() -> Edit:
    """The denial always requires webhook:receive."""
    return on_refusal(with_value("required", ["webhook:receive"]), code=_DENIED)


@fault("capability.exact-is-admitted", Point.REQUIREMENT, is_subtle=True)
def capability_async_needs_receive(asked: CapabilityRequest) -> CapabilityRequest:
    """workflow:run alone does not allow asynchronous runs."""
    receive = "webhook:receive"
    is_alone = asked.is_async and asked.required in asked.held and not meets(asked.held, receive)
    return replace(asked, required=receive) if is_alone else asked


@fault("capability.orthogonal", _implies("workflow:write", "workflow:read"))
def capability_write_implies_read() -> None:
    """workflow:write implies workflow:read."""


@fault("capability.orthogonal", _implies("workflow:read workflow:run", "workflow:write"), is_subtle=True)
def capability_read_and_run_imply_write() -> None:
    """workflow:read and workflow:run together imply workflow:write."""


@fault("capability.resource-wildcard-is-admitted", _refuses, is_subtle=True)
def capability_wildcard_lacks_writing(asked: CapabilityRequest) -> bool:
    """workflow:* does not allow writing."""
    is_by_wildcard = "workflow:*" in asked.held and not {"*", "workflow:write"} & asked.held
    return is_by_wildcard and asked.required == "workflow:write"


@fault("capability.wildcard-stays-in-resource")
def capability_wildcard_crosses_resources() -> Edit:
    """A wildcard of one resource allows every resource."""
    return _admits(lambda asked: any(name.endswith(":*") for name in asked.held))


@fault("capability.star-is-admitted", is_subtle=True)
def capability_star_lacks_executions() -> Edit:
    """* does not allow reading or cancelling executions."""
    return _refuses(lambda asked: "*" in asked.held and asked.resource == "execution")


@fault("capability.bound-form-is-admitted", _refuses, is_subtle=True)
def capability_bound_form_not_asynchronously(asked: CapabilityRequest) -> bool:
    """A bound key may not run asynchronously."""
    return asked.is_async and bool(_bound_names(asked)) and not meets(asked.held, str(asked.required))


@fault("capability.bound-form-is-exact", is_subtle=True)
def capability_bound_form_matches_longer() -> Edit:
    """A bound key runs names that begin with its own."""
    return _admits(lambda asked: any((asked.bound_to or "").startswith(name) for name in _bound_names(asked)))


@fault("capability.bound-form-only-runs", Point.CREDENTIALS, "getWorkflow getWorkflowSchema", is_subtle=True)
def capability_bound_form_reads_its_own(given: Credentials) -> None:
    """A key bound to a workflow may read that workflow."""
    if (key := given.key) and f"workflow:{given.request.path_params['slug']}:run" in key.capabilities:
        given.accepted = replace(key, capabilities=key.capabilities | {"workflow:read"})


@fault("capability.any-valid-key-suffices", Point.REQUIREMENT, "getWhoami")
def capability_whoami_needs_read(asked: CapabilityRequest) -> CapabilityRequest:
    """whoami needs workflow:read."""
    return asked if meets(asked.held, "workflow:read") else replace(asked, required="workflow:read")


@fault("capability.denial-has-no-effect", Point.DENIED, "createWorkflow", is_subtle=True)
async def capability_denied_create_happens(call: HandlerCall) -> None:
    """A denied create leaves a workflow behind."""
    note_met()
    await workflows.create_workflow(call)
