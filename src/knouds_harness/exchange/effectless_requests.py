"""Requests without effect or cost, with any key (docs/decisions/requests-without-effect.md)."""

import uuid
from typing import Final

from knouds_harness.contract.operations import Operation
from knouds_harness.exchange.evidence import JSON, NO_BODY, Call, Request

NO_SUCH_WORKFLOW: Final = "harness-no-such-workflow"
NO_SUCH_MODEL: Final = "harness-no-such-model"
NO_SUCH_EXECUTION: Final = str(uuid.UUID(int=0x4A8F_0000_0000_4000_8000_0000_0000_0001))
_UNKNOWN: Final = {"slug": NO_SUCH_WORKFLOW, "internalName": NO_SUCH_MODEL, "id": NO_SUCH_EXECUTION}
_BODIES: Final[dict[str, JSON]] = {
    "createWorkflow": {"name": ""},
    "updateWorkflow": {"description": "sent by the harness"},
    "moveWorkflow": {"folderId": None},
    "runWorkflow": {"inputs": {}},
    "runModel": {"inputs": {}},
}


def unknown_path_values(operation: Operation) -> dict[str, str]:
    return {name: _UNKNOWN[name] for name in operation.path_parameters}


def effectless_body(operation: Operation) -> JSON | None:
    """A well-formed body to send to a resource that does not exist; None for no body."""
    return _BODIES.get(operation.id)


def effectless_request(operation: Operation, persona: str | None, resource: str | None = None) -> Request:
    """A request without effect; where ``persona`` is None, without a key.

    ``resource`` is an existing slug or model name instead of an unknown one. A run of it gets inputs that are
    no object, so that it can't start; only reads and runs may name one.
    """
    values = unknown_path_values(operation)
    body = effectless_body(operation)
    if resource is not None:
        values = dict.fromkeys(operation.path_parameters, resource)
        body = {"inputs": []} if body is not None else None
    call = Call(path_values=values, json=NO_BODY if body is None else body)
    return call.request(operation, persona=persona)
