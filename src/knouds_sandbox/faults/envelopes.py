"""Faults: what holds for every answer, and the public answers: ground rules, envelopes, pricing, health."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.bodies import BEYOND_DOUBLES, TOO_DEEP, has_nul, holds, is_half_character, is_long_number
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.envelopes import Refusal
from knouds_sandbox.fault_points import Point
from knouds_sandbox.faults.editing import (
    AnswerEdit,
    Edits,
    at,
    changed,
    defect,
    of_type,
    on_answer,
    on_refusal,
    on_success,
    refused,
    sent_as,
    where,
    with_body,
    with_status,
    with_value,
    without,
)
from knouds_sandbox.faults.fault_types import Subtle, Table

FAULTS: Table = {
    "ground.no-undocumented-server-error": {
        "envelope-provider-failure-is-502": "EXECUTION_FAILED comes with 502.",
        "run-inputs-number-is-500": Subtle("Inputs that are a number are a 500."),
        "run-malformed-body-is-500": "A run body that is no JSON is a 500.",
        "usage-garbled-number-is-500": "A garbled limit or offset is a 500.",
        "run-great-number-is-500": Subtle("A number beyond all doubles in a run body is a 500."),
        "run-deep-nesting-is-500": Subtle("A run body that is nested too deeply is a 500."),
        "run-half-character-is-500": Subtle("Half of a surrogate pair in a run body is a 500."),
        "create-nul-is-500": Subtle("A NUL in a new workflow is a 500."),
        "update-long-number-is-500": Subtle("A whole number beyond 64 bits in an update is a 500."),
        "workflows-unreadable-half-characters": Subtle(
            "A workflow with half of a surrogate pair is created, and reading it is a 500."
        ),
    },
    "ground.bodiless-needs-no-content-type": {
        "execution-cancel-needs-content-type": "Cancelling wants a Content-Type.",
    },
    "ground.json-content-type": {
        "envelope-plain-401-as-text": "The plain 401 declares text/plain.",
        "envelope-404-as-html": "A 404 declares text/html.",
        "envelope-denial-as-problem-json": "A denial declares application/problem+json.",
        "usage-as-text": "Usage declares text/plain.",
    },
    "ground.status-is-documented": {
        "whoami-is-203": "whoami answers 203.",
        "run-is-202": Subtle("A run that is waited for answers 202."),
    },
    "ground.responses-are-json-objects": {
        "health-is-json-string": "Health is a JSON string.",
        "delete-answers-204": "A delete is answered with 204 and no body.",
        "move-answers-nothing": "A move is answered with 200 and no body.",
    },
    "envelope.error-has-text": {
        "envelope-404-without-text": "A 404 has no `error`.",
        "envelope-denial-with-empty-text": "The text of a denial is empty.",
        "envelope-invalid-inputs-text-is-object": "The `error` of INVALID_INPUTS is an object.",
        "envelope-text-is-what-was-sent": Subtle(
            "The `error` about a member of a workflow is what was sent as that member."
        ),
    },
    "envelope.error-has-code": {
        "envelope-unknown-execution-without-code": "The 404 of an execution has no `code`.",
        "envelope-unknown-execution-code-is-number": "The `code` of an execution's 404 is a number.",
        "envelope-unknown-execution-code-is-empty": "The `code` of an execution's 404 is empty.",
    },
    "envelope.plain-401-has-code": {
        "envelope-plain-401-without-code": "The plain 401 has no `code`.",
    },
    "envelope.unknown-workflow-404-has-code": {
        "envelope-unknown-workflow-without-code": "The 404 of a workflow has no `code`.",
    },
    "envelope.code-is-constant": {
        "envelope-code-names-the-slug": "The `code` of a workflow's 404 holds the slug.",
    },
    "envelope.error-is-object": {
        "envelope-unknown-execution-is-array": "The 404 of an execution is an array.",
        "envelope-unknown-execution-is-string": "The 404 of an execution is a string.",
    },
    "envelope.code-fits-status": {
        "envelope-invalid-inputs-is-422": "INVALID_INPUTS comes with 422.",
        "envelope-model-not-found-is-400": "MODEL_NOT_FOUND comes with 400.",
        "envelope-insufficient-credits-is-403": "INSUFFICIENT_CREDITS comes with 403.",
        "envelope-async-not-supported-is-409": "ASYNC_NOT_SUPPORTED comes with 409.",
    },
    "pricing.is-public-json": {
        "pricing-is-404": "Public pricing is a 404.",
        "pricing-is-html": "Public pricing is a page.",
    },
    "health.is-public-json": {
        "health-is-text": "Health is a plain text.",
    },
}

_EXECUTIONS = "getExecution cancelExecution"
_RUNS = "runWorkflow runModel"
_WORKFLOWS = (
    "getWorkflow updateWorkflow deleteWorkflow moveWorkflow"
    " getWorkflowSchema getPublicWorkflowSchema runWorkflow"
)


def _is_defect_where(is_odd: Callable[[Any], bool]) -> Callable[[HandlerCall, Any], Any]:
    """Stumble over a body that holds an odd value."""

    def read(_: HandlerCall, body: Any) -> Any:
        if holds(body, is_odd):
            raise Refusal(500, "INTERNAL_ERROR", "Something went wrong.")
        return body

    return read


def _is_defect_with(error: str) -> AnswerEdit:
    """Stumble over what is refused with this text."""
    return where(lambda answer: answer.body["error"] == error, defect)


def _refuse_a_number(_: HandlerCall, body: Any) -> Any:
    if isinstance(body, dict) and isinstance(body.get("inputs"), (int, float)):
        raise Refusal(500, "INTERNAL_ERROR", "inputs is a number.")
    return body


def _name_the_slug(answer: OutgoingAnswer) -> None:
    answer.body["code"] = f"NO_{answer.path_params['slug'].upper()}"


EDITS: Edits = {
    "envelope-provider-failure-is-502": on_refusal(with_status(502), code="EXECUTION_FAILED"),
    "run-inputs-number-is-500": at(Point.BODY, _RUNS, _refuse_a_number),
    "run-malformed-body-is-500": on_refusal(refused(500, "INTERNAL_ERROR"), _RUNS, code="INVALID_BODY"),
    "run-great-number-is-500": on_refusal(_is_defect_with(BEYOND_DOUBLES), _RUNS),
    "run-deep-nesting-is-500": on_refusal(_is_defect_with(TOO_DEEP), _RUNS),
    "run-half-character-is-500": at(Point.BODY, _RUNS, _is_defect_where(is_half_character)),
    "create-nul-is-500": at(Point.BODY, "createWorkflow", _is_defect_where(has_nul)),
    "update-long-number-is-500": at(Point.BODY, "updateWorkflow", _is_defect_where(is_long_number)),
    "workflows-unreadable-half-characters": on_success(
        "getWorkflow", where(lambda answer: holds(answer.body, is_half_character), defect)
    ),
    "envelope-plain-401-as-text": on_refusal(of_type("text/plain; charset=utf-8"), code="UNAUTHORIZED"),
    "envelope-404-as-html": on_refusal(of_type("text/html; charset=utf-8"), status=404),
    "envelope-denial-as-problem-json": on_refusal(
        of_type("application/problem+json"), code="CAPABILITY_DENIED"
    ),
    "usage-as-text": on_success("listUsage", of_type("text/plain; charset=utf-8")),
    "whoami-is-203": on_success("getWhoami", with_status(203)),
    "run-is-202": on_success(_RUNS, with_status(202)),
    "health-is-json-string": on_success("getHealth", with_body(lambda _: "ok")),
    "delete-answers-204": on_success("deleteWorkflow", sent_as(b"", None, status=204)),
    "move-answers-nothing": on_success("moveWorkflow", sent_as(b"", "application/json")),
    "envelope-404-without-text": on_refusal(without("error"), status=404),
    "envelope-denial-with-empty-text": on_refusal(with_value("error", ""), code="CAPABILITY_DENIED"),
    "envelope-invalid-inputs-text-is-object": on_refusal(
        changed("error", lambda error: {"message": error}), code="INVALID_INPUTS"
    ),
    "envelope-unknown-execution-without-code": on_refusal(without("code"), _EXECUTIONS, status=404),
    "envelope-unknown-execution-code-is-number": on_refusal(with_value("code", 404), _EXECUTIONS, status=404),
    "envelope-unknown-execution-code-is-empty": on_refusal(with_value("code", ""), _EXECUTIONS, status=404),
    "envelope-plain-401-without-code": on_refusal(without("code"), code="UNAUTHORIZED"),
    "envelope-unknown-workflow-without-code": on_refusal(without("code"), _WORKFLOWS, status=404),
    "envelope-code-names-the-slug": on_refusal(_name_the_slug, _WORKFLOWS, status=404),
    "envelope-unknown-execution-is-array": on_refusal(
        with_body(lambda envelope: [envelope]), _EXECUTIONS, status=404
    ),
    "envelope-unknown-execution-is-string": on_refusal(
        with_body(lambda envelope: envelope["error"]), _EXECUTIONS, status=404
    ),
    "envelope-invalid-inputs-is-422": on_refusal(with_status(422), code="INVALID_INPUTS"),
    "envelope-model-not-found-is-400": on_refusal(with_status(400), code="MODEL_NOT_FOUND"),
    "envelope-insufficient-credits-is-403": on_refusal(with_status(403), code="INSUFFICIENT_CREDITS"),
    "envelope-async-not-supported-is-409": on_refusal(with_status(409), code="ASYNC_NOT_SUPPORTED"),
    "pricing-is-404": on_answer("getPublicPricing", refused(404, "NOT_FOUND", "There is no such route.")),
    "pricing-is-html": on_answer(
        "getPublicPricing", sent_as(b"<!doctype html><title>Pricing</title>", "text/html; charset=utf-8")
    ),
    "health-is-text": on_answer("getHealth", sent_as(b"ok", "text/plain; charset=utf-8")),
}
