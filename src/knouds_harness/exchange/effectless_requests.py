"""Requests that have no effect and no cost, with any key (docs/decisions/requests-without-effect.md)."""

import uuid
from typing import Final

from knouds_harness.contract.operations import Operation
from knouds_harness.exchange.evidence import JSON, NO_BODY, Call

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


def effectless_call(operation: Operation, resource: str | None = None) -> Call:
    """Return a well-formed call without effect or cost for any key: its resource does not exist.

    ``resource`` names an existing workflow or model instead, for reads and runs only. The inputs of such a
    run are not an object, so it cannot start.
    """
    values = {name: resource or _UNKNOWN[name] for name in operation.path_parameters}
    body = _BODIES.get(operation.id, NO_BODY)
    return Call(path_values=values, json=body if resource is None or body is NO_BODY else {"inputs": []})
