"""What each response must hold, written by hand from the sources and independent of ``spec/``.

A mutant's label is worth something because it is a second reading of the same pages: checks are not judged by
the schemas that they use.
"""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["string", "number", "integer", "boolean", "array", "object", "null"]
Form = Literal["", "uuid", "instant", "slug", "url"]


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member of a body.

    Attributes:
        place: JSON pointer; ``*`` stands for each item of an array.
        facts: A breach may cite any of them.
        kinds: Its allowed types; empty if no source says.
        is_optional: Whether it may be missing, or no source says.
        statuses: It may be missing too unless ``status`` beside it is one of these; empty if it may not.
        closed: Its only values, if the sources close the set.
        is_open: Whether a new value is additive.
        form: The form of its text.
    """

    place: str
    facts: tuple[str, ...]
    kinds: tuple[Kind, ...] = ()
    is_optional: bool = False
    statuses: tuple[str, ...] = ()
    closed: tuple[object, ...] = ()
    is_open: bool = False
    form: Form = ""


def _member(place: str, kinds: str, *facts: str, **more: Any) -> Member:
    allowed: Any = tuple(kinds.split())
    return Member(place=place, kinds=allowed, facts=facts, **more)


def _members(*facts: str, prefix: str = "", **kinds: str) -> tuple[Member, ...]:
    return tuple(_member(f"{prefix}/{name}", allowed, *facts) for name, allowed in kinds.items())


_USER = "whoami.user-object"
WHOAMI = (
    _member("/user", "object", _USER),
    _member("/user/id", "", _USER),
    _member("/user/email", "string", _USER),
    _member("/user/role", "string", "whoami.role-closed", _USER, closed=("user", "admin")),
    _member("/user/tier", "string", "whoami.tier-is-string", _USER, is_open=True),
    _member("/user/approved", "boolean", "whoami.approved-is-true", _USER),
)

_SUMMARY = "workflows.summary-fields"
SUMMARIES = (
    *_members(
        *(_SUMMARY, "workflows.slug-charset"),
        prefix="/*",
        name="string",
        tags="array",
        isTemplate="boolean",
        hidden="boolean",
        archived="boolean",
        createdBy="",
        folderId="string null",
    ),
    _member("/*/slug", "string", _SUMMARY, "workflows.slug-charset", form="slug"),
    _member("/*/description", "string null", _SUMMARY, is_optional=True),
    _member("/*/estimatedCreditCost", "number null", "workflows.summary-cost-is-number-or-null", _SUMMARY),
    _member("/*/updatedAt", "string", "workflows.updated-at-is-iso", _SUMMARY, form="instant"),
)

_DOCUMENT = "workflows.document-shape"
_NODE = ("workflows.node-shape", _DOCUMENT)
_EDGE = ("workflows.edge-shape", _DOCUMENT)
_VIEWPORT = ("workflows.viewport-shape", _DOCUMENT)
DOCUMENT = (
    *_members(_DOCUMENT, name="string", nodes="array", edges="array", createdBy="", folderId="string null"),
    _member("/viewport", "object", *_VIEWPORT),
    _member("/slug", "string", _DOCUMENT, "workflows.slug-charset", form="slug"),
    _member("/updatedAt", "string", "workflows.updated-at-is-iso", _DOCUMENT, form="instant"),
    _member("/tags", "array", _DOCUMENT, is_optional=True),
    _member("/publicPlayground", "boolean", _DOCUMENT, is_optional=True),
    *_members(*_NODE, prefix="/nodes/*", id="string", type="string", position="object", data="object"),
    *_members(*_EDGE, prefix="/edges/*", id="string", source="string", target="string"),
    *_members(*_EDGE, prefix="/edges/*", sourceHandle="", targetHandle=""),
    *_members(*_VIEWPORT, prefix="/viewport", x="number", y="number", zoom="number"),
)

_SCHEMA = ("schema.shape", "schema.public-shape-without-cost")
_FIELD = ("schema.fields-have-name-and-type", *_SCHEMA)
PUBLIC_SCHEMA = (
    *_members(*_SCHEMA, fields="array", values="object", name="string"),
    _member("/description", "string null", *_SCHEMA, is_optional=True),
    *_members(*_FIELD, prefix="/fields/*", name="string", type="string"),
)
SCHEMA = (*PUBLIC_SCHEMA, _member("/estimatedCreditCost", "", *_SCHEMA))

_RUN = "run.success-shape"
RUN = (
    _member("/success", "boolean", "run.success-is-true", _RUN, closed=(True,)),
    _member("/result", "", "run.result-present", _RUN),
    _member("/cost", "number", "run.cost-is-credits", _RUN),
)
WORKFLOW_RUN = (*RUN, _member("/ms", "number", "run.ms-is-number", _RUN))
MODEL_RUN = (*RUN, _member("/ms", "", is_optional=True))
IMAGES = (
    _member("/result/images", "array", "run.result-present", is_optional=True),
    _member("/result/images/*", "string", "run.result-present", is_optional=True, form="url"),
)

_SUBMIT = "async.submit-shape"
_DELIVERY_SHAPE = ("async.webhook-delivery-shape", _SUBMIT)
SUBMIT = (
    _member("/_async", "boolean", _SUBMIT, closed=(True,)),
    _member("/executionId", "string", "async.execution-id-is-uuid", _SUBMIT, form="uuid"),
    _member("/requestId", "string", _SUBMIT),
    _member("/status", "string", "async.submit-is-processing", _SUBMIT, closed=("processing",)),
    _member("/webhookDelivery", "object", *_DELIVERY_SHAPE),
    _member("/webhookDelivery/configured", "boolean", *_DELIVERY_SHAPE),
    _member("/pollUrl", "string", "async.poll-url-leads-to-execution", _SUBMIT),
)
WORKFLOW_SUBMIT = (*SUBMIT, _member("/workflowSlug", "string", "async.workflow-submit-names-slug"))

_POLLED = ("async.execution-id-is-uuid", "execution.poll-shape", "async.poll-url-leads-to-execution")
_STATUSES = ("processing", "cancel_requested", "completed", "failed", "cancelled")
POLL = (
    _member("/executionId", "string", *_POLLED, form="uuid"),
    _member("/status", "string", "execution.status-closed", "execution.poll-shape", closed=_STATUSES),
)
COMPLETED = (*POLL, _member("/result", "", "execution.completed-has-result"))
FAILED = (
    *POLL,
    _member("/error", "object", "execution.failed-has-error"),
    *_members("execution.failed-has-error", prefix="/error", code="string", message="string"),
)

_ROW = "usage.row-shape"
_ROW_STATUSES = ("processing", "completed", "failed", "cancelled")
_SOURCES = ("api-slim", "api-workflow")
USAGE = (
    *_members("usage.page-shape", rows="array", page="number", pageSize="number", total="number"),
    *_members(
        _ROW,
        prefix="/rows/*",
        id="integer",
        userId="",
        cost="number",
        userCost="number",
        creditsCost="integer",
        errorCode="string null",
        requestId="string",
    ),
    _member("/rows/*/durationMs", "number null", _ROW, statuses=("completed", "failed")),
    _member("/rows/*/workflowSlug", "string null", "usage.slim-has-no-workflow", _ROW),
    _member("/rows/*/modelIds", "array", "usage.no-provider-ids", _ROW),
    _member("/rows/*/status", "string", "usage.row-status-closed", _ROW, closed=_ROW_STATUSES),
    _member("/rows/*/source", "string", "usage.source-closed", _ROW, closed=_SOURCES),
    _member("/rows/*/createdAt", "string", _ROW, form="instant"),
)

_PAYLOAD = ("webhook.payload-shape", "webhook.agrees-with-poll")
DELIVERY = (
    *_members(*_PAYLOAD, requestId="string", userId="", workflowSlug="string null", modelIds="array"),
    _member("/event", "string", "webhook.event-fits-ending", "webhook.payload-shape"),
    _member("/executionId", "string", *_PAYLOAD, "async.execution-id-is-uuid", form="uuid"),
    _member("/status", "string", *_PAYLOAD, "webhook.event-fits-ending"),
)

_OF_AN_OPERATION: dict[str, tuple[Member, ...]] = {
    "getWhoami": WHOAMI,
    "listWorkflows": SUMMARIES,
    "getWorkflow": DOCUMENT,
    "getWorkflowSchema": SCHEMA,
    "getPublicWorkflowSchema": PUBLIC_SCHEMA,
    "listUsage": USAGE,
}


def members_of(operation: str, body: object) -> tuple[Member, ...]:
    """Return the members that a success of an operation must have; its body tells which shape it is."""
    content = body if isinstance(body, dict) else {}
    if operation.startswith("run"):
        is_workflow = operation == "runWorkflow"
        if "_async" in content:
            return WORKFLOW_SUBMIT if is_workflow else SUBMIT
        return (*(WORKFLOW_RUN if is_workflow else MODEL_RUN), *IMAGES)
    if operation == "getExecution":
        return {"completed": COMPLETED, "failed": FAILED}.get(str(content.get("status")), POLL)
    return _OF_AN_OPERATION.get(operation, ())
