"""What each response must hold, written by hand from the sources and independent of ``spec/``.

A mutant's label is worth something because it is a second reading of the same pages: checks are not judged by
the schemas that they use.
"""

from dataclasses import dataclass
from typing import Literal

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
        closed: Its only values, if the sources close the set.
        is_open: Whether a new value is additive.
        form: The form of its text.
    """

    place: str
    facts: tuple[str, ...]
    kinds: tuple[Kind, ...] = ()
    is_optional: bool = False
    closed: tuple[object, ...] = ()
    is_open: bool = False
    form: Form = ""


def _members(*facts: str, prefix: str = "", **kinds: tuple[Kind, ...]) -> tuple[Member, ...]:
    return tuple(
        Member(place=f"{prefix}/{name}", facts=facts, kinds=allowed) for name, allowed in kinds.items()
    )


_TEXT: tuple[Kind, ...] = ("string",)
_NUMBER: tuple[Kind, ...] = ("number",)
_FLAG: tuple[Kind, ...] = ("boolean",)
_LIST: tuple[Kind, ...] = ("array",)
_OBJECT: tuple[Kind, ...] = ("object",)

WHOAMI = (
    Member(place="/user", facts=("whoami.user-object",), kinds=_OBJECT),
    Member(place="/user/id", facts=("whoami.user-object",)),
    Member(place="/user/email", facts=("whoami.user-object",), kinds=_TEXT),
    Member(
        place="/user/role",
        facts=("whoami.role-closed", "whoami.user-object"),
        kinds=_TEXT,
        closed=("user", "admin"),
    ),
    Member(
        place="/user/tier", facts=("whoami.tier-is-string", "whoami.user-object"), kinds=_TEXT, is_open=True
    ),
    Member(place="/user/approved", facts=("whoami.approved-is-true", "whoami.user-object"), kinds=_FLAG),
)

SUMMARIES = (
    *_members(
        *("workflows.summary-fields", "workflows.slug-charset"),
        prefix="/*",
        name=_TEXT,
        tags=_LIST,
        isTemplate=_FLAG,
        hidden=_FLAG,
        archived=_FLAG,
        createdBy=(),
        folderId=("string", "null"),
    ),
    Member(
        place="/*/slug",
        facts=("workflows.summary-fields", "workflows.slug-charset"),
        kinds=_TEXT,
        form="slug",
    ),
    Member(
        place="/*/description",
        facts=("workflows.summary-fields",),
        kinds=("string", "null"),
        is_optional=True,
    ),
    Member(
        place="/*/estimatedCreditCost",
        facts=("workflows.summary-cost-is-number-or-null", "workflows.summary-fields"),
        kinds=("number", "null"),
    ),
    Member(
        place="/*/updatedAt",
        facts=("workflows.updated-at-is-iso", "workflows.summary-fields"),
        kinds=_TEXT,
        form="instant",
    ),
)

DOCUMENT = (
    *_members(
        "workflows.document-shape",
        name=_TEXT,
        nodes=_LIST,
        edges=_LIST,
        createdBy=(),
        folderId=("string", "null"),
    ),
    Member(place="/viewport", facts=("workflows.viewport-shape", "workflows.document-shape"), kinds=_OBJECT),
    Member(
        place="/slug", facts=("workflows.document-shape", "workflows.slug-charset"), kinds=_TEXT, form="slug"
    ),
    Member(
        place="/updatedAt",
        facts=("workflows.updated-at-is-iso", "workflows.document-shape"),
        kinds=_TEXT,
        form="instant",
    ),
    Member(place="/tags", facts=("workflows.document-shape",), kinds=_LIST, is_optional=True),
    Member(place="/publicPlayground", facts=("workflows.document-shape",), kinds=_FLAG, is_optional=True),
    *_members(
        "workflows.node-shape",
        "workflows.document-shape",
        prefix="/nodes/*",
        id=_TEXT,
        type=_TEXT,
        position=_OBJECT,
        data=_OBJECT,
    ),
    *_members(
        "workflows.edge-shape",
        "workflows.document-shape",
        prefix="/edges/*",
        id=_TEXT,
        source=_TEXT,
        target=_TEXT,
        sourceHandle=(),
        targetHandle=(),
    ),
    *_members(
        "workflows.viewport-shape",
        "workflows.document-shape",
        prefix="/viewport",
        x=_NUMBER,
        y=_NUMBER,
        zoom=_NUMBER,
    ),
)

_SCHEMA = ("schema.shape", "schema.public-shape-without-cost")
_FIELD = ("schema.fields-have-name-and-type", *_SCHEMA)
PUBLIC_SCHEMA = (
    *_members(*_SCHEMA, fields=_LIST, values=_OBJECT, name=_TEXT),
    Member(place="/description", facts=_SCHEMA, kinds=("string", "null"), is_optional=True),
    Member(place="/fields/*/name", facts=_FIELD, kinds=_TEXT),
    Member(place="/fields/*/type", facts=_FIELD, kinds=_TEXT),
)
SCHEMA = (*PUBLIC_SCHEMA, Member(place="/estimatedCreditCost", facts=_SCHEMA))

_RUN = ("run.success-shape",)
RUN = (
    Member(place="/success", facts=("run.success-is-true", *_RUN), kinds=_FLAG, closed=(True,)),
    Member(place="/result", facts=("run.result-present", *_RUN)),
    Member(place="/cost", facts=("run.cost-is-credits", *_RUN), kinds=_NUMBER),
)
WORKFLOW_RUN = (*RUN, Member(place="/ms", facts=("run.ms-is-number", *_RUN), kinds=_NUMBER))
MODEL_RUN = (*RUN, Member(place="/ms", facts=(), is_optional=True))
IMAGES = (
    Member(place="/result/images", facts=("run.result-present",), kinds=_LIST, is_optional=True),
    Member(
        place="/result/images/*", facts=("run.result-present",), kinds=_TEXT, is_optional=True, form="url"
    ),
)

_SUBMIT = ("async.submit-shape",)
SUBMIT = (
    Member(place="/_async", facts=_SUBMIT, kinds=_FLAG, closed=(True,)),
    Member(place="/executionId", facts=("async.execution-id-is-uuid", *_SUBMIT), kinds=_TEXT, form="uuid"),
    Member(place="/requestId", facts=_SUBMIT, kinds=_TEXT),
    Member(
        place="/status", facts=("async.submit-is-processing", *_SUBMIT), kinds=_TEXT, closed=("processing",)
    ),
    Member(place="/webhookDelivery", facts=("async.webhook-delivery-shape", *_SUBMIT), kinds=_OBJECT),
    Member(
        place="/webhookDelivery/configured", facts=("async.webhook-delivery-shape", *_SUBMIT), kinds=_FLAG
    ),
    Member(place="/pollUrl", facts=("async.poll-url-leads-to-execution", *_SUBMIT), kinds=_TEXT),
)
WORKFLOW_SUBMIT = (
    *SUBMIT,
    Member(place="/workflowSlug", facts=("async.workflow-submit-names-slug",), kinds=_TEXT),
)

POLL = (
    Member(
        place="/executionId",
        facts=("async.execution-id-is-uuid", "execution.poll-shape", "async.poll-url-leads-to-execution"),
        kinds=_TEXT,
        form="uuid",
    ),
    Member(
        place="/status",
        facts=("execution.status-closed", "execution.poll-shape"),
        kinds=_TEXT,
        closed=("processing", "cancel_requested", "completed", "failed", "cancelled"),
    ),
)
COMPLETED = (*POLL, Member(place="/result", facts=("execution.completed-has-result",)))
FAILED = (
    *POLL,
    *(
        Member(place=place, facts=("execution.failed-has-error",), kinds=kinds)
        for place, kinds in (("/error", _OBJECT), ("/error/code", _TEXT), ("/error/message", _TEXT))
    ),
)

_ROW = ("usage.row-shape",)
USAGE = (
    *_members("usage.page-shape", rows=_LIST, page=_NUMBER, pageSize=_NUMBER, total=_NUMBER),
    *_members(
        *_ROW,
        prefix="/rows/*",
        id=("integer",),
        userId=(),
        cost=_NUMBER,
        userCost=_NUMBER,
        creditsCost=("integer",),
        errorCode=("string", "null"),
        requestId=_TEXT,
    ),
    Member(
        place="/rows/*/workflowSlug", facts=("usage.slim-has-no-workflow", *_ROW), kinds=("string", "null")
    ),
    Member(place="/rows/*/modelIds", facts=("usage.no-provider-ids", *_ROW), kinds=_LIST),
    Member(
        place="/rows/*/status",
        facts=("usage.row-status-closed", *_ROW),
        kinds=_TEXT,
        closed=("processing", "completed", "failed", "cancelled"),
    ),
    Member(
        place="/rows/*/source",
        facts=("usage.source-closed", *_ROW),
        kinds=_TEXT,
        closed=("api-slim", "api-workflow"),
    ),
    Member(place="/rows/*/durationMs", facts=_ROW, kinds=("number", "null")),
    Member(place="/rows/*/createdAt", facts=_ROW, kinds=_TEXT, form="instant"),
)

DELIVERY = (
    *_members(
        "webhook.payload-shape",
        "webhook.agrees-with-poll",
        requestId=_TEXT,
        userId=(),
        workflowSlug=("string", "null"),
        modelIds=_LIST,
    ),
    Member(place="/event", facts=("webhook.event-fits-ending", "webhook.payload-shape"), kinds=_TEXT),
    Member(
        place="/executionId",
        facts=("webhook.payload-shape", "webhook.agrees-with-poll", "async.execution-id-is-uuid"),
        kinds=_TEXT,
        form="uuid",
    ),
    Member(
        place="/status",
        facts=("webhook.payload-shape", "webhook.agrees-with-poll", "webhook.event-fits-ending"),
        kinds=_TEXT,
    ),
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
