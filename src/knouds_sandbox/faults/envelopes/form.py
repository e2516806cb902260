"""Faults: the form of all responses: status, media type, error body, rate-limit headers."""

from typing import Any

from knouds_sandbox.access.rate_limits import WINDOW_S
from knouds_sandbox.bodies import as_unicode, invalid_body
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point, fault, note_met
from knouds_sandbox.faults.editing import (
    EXECUTION_OPERATIONS,
    LIMIT,
    RESET,
    RUNS,
    WORKFLOW_OPERATIONS,
    defect,
    of_type,
    on_429,
    on_answer,
    on_list,
    on_refusal,
    on_success,
    refused,
    sent_as,
    where,
    with_body,
    with_header,
    with_status,
    without,
)
from knouds_sandbox.state.workflows import MEMBERS


@fault("workflows.list-is-array")
def workflows_list_in_object() -> Edit:
    """The list is inside an object."""
    return on_list(with_body(lambda lines: {"workflows": lines}))


@fault("ground.no-undocumented-server-error")
def run_malformed_body_is_500() -> Edit:
    """A run body that is not JSON gets a 500."""
    return on_refusal(refused(500, "INTERNAL_ERROR"), RUNS, code="INVALID_BODY")


@fault("ground.no-undocumented-server-error", is_subtle=True)
def workflows_unreadable_half_characters() -> Edit:
    """A workflow with a lone surrogate is created, but reading it gets a 500."""
    return on_success("getWorkflow", where(lambda answer: as_unicode(answer.body) is None, defect))


@fault("ground.json-content-type")
def envelope_404_as_html() -> Edit:
    """A 404 declares text/html."""
    return on_refusal(of_type("text/html; charset=utf-8"), status=404)


@fault("ground.json-content-type")
def usage_as_text() -> Edit:
    """Usage declares text/plain."""
    return on_success("listUsage", of_type("text/plain; charset=utf-8"))


@fault("ground.responses-are-json-objects")
def delete_answers_204() -> Edit:
    """A delete is answered with 204 and no body."""
    return on_success("deleteWorkflow", sent_as(b"", None, status=204))


@fault("envelope.error-has-text")
def envelope_404_without_text() -> Edit:
    """A 404 has no `error`."""
    return on_refusal(without("error"), status=404)


@fault("envelope.error-has-text", Point.BODY, "createWorkflow updateWorkflow", is_subtle=True)
def envelope_text_is_what_was_sent(_: HandlerCall, body: Any) -> Any:
    """The `error` about a member of a workflow is the value that was sent."""
    for member, (is_valid, _expected) in MEMBERS.items():
        if isinstance(body, dict) and member in body and not is_valid(body[member]):
            note_met()
            raise invalid_body(body[member])
    return body


@fault("envelope.error-has-code")
def envelope_unknown_execution_without_code() -> Edit:
    """The 404 of an execution has no `code`."""
    return on_refusal(without("code"), EXECUTION_OPERATIONS, status=404)


@fault("envelope.plain-401-has-code")
def envelope_plain_401_without_code() -> Edit:
    """The plain 401 has no `code`."""
    return on_refusal(without("code"), code="UNAUTHORIZED")


@fault("envelope.unknown-workflow-404-has-code")
def envelope_unknown_workflow_without_code() -> Edit:
    """The 404 of a workflow has no `code`."""
    return on_refusal(without("code"), WORKFLOW_OPERATIONS, status=404)


@fault("envelope.error-is-object")
def envelope_unknown_execution_is_array() -> Edit:
    """The 404 of an execution is an array."""
    return on_refusal(with_body(lambda envelope: [envelope]), EXECUTION_OPERATIONS, status=404)


@fault("envelope.code-fits-status")
def envelope_invalid_inputs_is_422() -> Edit:
    """INVALID_INPUTS comes with 422."""
    return on_refusal(with_status(422), code="INVALID_INPUTS")


@fault("envelope.code-fits-status")
def envelope_model_not_found_is_400() -> Edit:
    """MODEL_NOT_FOUND comes with 400."""
    return on_refusal(with_status(400), code="MODEL_NOT_FOUND")


@fault("rate.headers-are-integers", is_subtle=True)
def rate_reset_in_ms() -> Edit:
    """X-RateLimit-Reset is in milliseconds."""
    return on_answer(RUNS, with_header(RESET, lambda reset: f"{reset}000"))


@fault("rate.headers-are-integers")
def rate_limit_with_unit() -> Edit:
    """X-RateLimit-Limit also has the window."""
    return on_answer(RUNS, with_header(LIMIT, lambda limit: f"{limit};w={WINDOW_S}"))


@fault("rate.refusal-fields")
def rate_refusal_lacks_tier() -> Edit:
    """A 429 has no tier."""
    return on_429(without("tier"))


@fault("rate.refusal-headers")
def rate_refusal_lacks_retry_after() -> Edit:
    """A 429 has no Retry-After."""
    return on_429(with_header("retry-after", lambda _: None))


@fault("rate.body-and-headers-agree", is_subtle=True)
def rate_retry_after_is_half() -> Edit:
    """Retry-After is half of retryAfter."""
    return on_429(with_header("retry-after", lambda seconds: str(max(1, int(seconds) // 2))))
