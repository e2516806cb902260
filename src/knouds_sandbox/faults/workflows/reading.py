"""Faults: listing and reading workflows."""

from __future__ import annotations

from starlette.responses import Response

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point
from knouds_sandbox.faults.editing import Handler, in_the_name_of_the_last, with_body
from knouds_sandbox.faults.fault import fault
from knouds_sandbox.faults.resource_edits import on_list
from knouds_sandbox.state.workflow_records import delete_workflow, list_summaries


def _listed_where(condition: str, *, for_admins: bool = False) -> Edit:
    """List the workflows that meet a condition."""

    def apply(answer: OutgoingAnswer) -> None:
        if answer.key is not None and (answer.key.account.is_admin or not for_admins):
            answer.body = list_summaries(answer.store, answer.key.account.id, condition=condition)

    return on_list(apply)


@fault("workflows.list-own-and-templates", Point.HANDLER, "deleteWorkflow", is_subtle=True)
async def delete_takes_the_second(call: HandlerCall, handle: Handler) -> Response:
    """Deleting a workflow also deletes the one whose slug has -2 appended."""
    response = await handle(call)
    delete_workflow(call.store, f"{call.path_value('slug')}-2")
    return response


@fault("workflows.list-own-and-templates", is_subtle=True)
def workflows_list_shows_all_to_admins() -> Edit:
    """An administrator's list holds everybody's workflows."""
    return _listed_where("TRUE", for_admins=True)


@fault("workflows.list-own-and-templates", is_subtle=True)
def workflows_at_once_mixed_up() -> Edit:
    """With simultaneous requests, the list may be another account's."""
    return in_the_name_of_the_last("listWorkflows")


@fault("workflows.list-own-and-templates", is_subtle=True)
def workflows_list_repeats_templates() -> Edit:
    """Templates are listed twice."""
    return on_list(with_body(lambda lines: [*lines, *(line for line in lines if line["isTemplate"])]))


@fault("workflows.list-own-and-templates")
def workflows_list_lacks_templates() -> Edit:
    """The list leaves other people's templates out."""
    return _listed_where("owner_id = :id")


@fault("workflows.list-own-and-templates")
def workflows_list_shows_foreign() -> Edit:
    """The list shows everyone's workflows."""
    return _listed_where("TRUE")


@fault("workflows.list-own-and-templates", is_subtle=True)
def workflows_list_shows_foreign_public() -> Edit:
    """The list shows other people's public playgrounds."""
    return _listed_where("owner_id = :id OR is_template OR json_extract(document, '$.publicPlayground')")
