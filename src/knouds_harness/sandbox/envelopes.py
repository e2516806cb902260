"""Answers: JSON bodies, and the one envelope in which every refusal comes."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from starlette.responses import Response

_PLAIN_404 = "NOT_FOUND"


class Refusal(Exception):
    """A request that is refused, with the status, the code and the sentence that say why."""

    def __init__(
        self,
        status: int,
        code: str,
        error: str,
        *,
        about: str = "",
        name: str = "",
        headers: Mapping[str, str] | None = None,
        **context: Any,
    ) -> None:
        """Describe the refusal.

        Args:
            status: HTTP status.
            code: Constant for programs.
            error: Sentence for people.
            about: What was refused, where only a fault needs to know: ``workflow``, ``execution``.
            name: Of that, where only a fault needs to know.
            headers: Sent with the envelope.
            context: Members that the code adds to the envelope.
        """
        super().__init__(error)
        self.status = status
        self.code = code
        self.error = error
        self.about = about
        self.name = name
        self.headers = headers
        self.context = context


def unauthorized(error: str = "Unauthorized: send a valid key in x-api-key.") -> Refusal:
    """The plain 401."""
    return Refusal(401, "UNAUTHORIZED", error)


def workflow_not_found(slug: str) -> Refusal:
    """The plain 404 of a workflow that does not exist, or not for this account."""
    return Refusal(404, _PLAIN_404, "There is no such workflow.", about="workflow", name=slug)


def not_found(about: str) -> Refusal:
    """The plain 404 of anything else."""
    return Refusal(404, _PLAIN_404, f"There is no such {about}.", about=about)


def invalid_body(error: str) -> Refusal:
    """A body that is no JSON, or no usable document."""
    return Refusal(400, "INVALID_BODY", error)


def answer(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON in ASCII, so that any text that was accepted can be sent back."""
    content = json.dumps(body, separators=(",", ":"), allow_nan=False)
    return Response(content, status, headers, "application/json")


def refuse(refusal: Refusal, faults: Collection[str]) -> Response:
    """Put a refusal into its envelope."""
    status = refusal.status
    code: Any = refusal.code
    envelope: Any = {"error": refusal.error, "code": code, **refusal.context}
    if not faults:
        return answer(envelope, status=status, headers=refusal.headers)
    if status == 404 and "envelope-404-without-text" in faults:
        del envelope["error"]
    if code == "CAPABILITY_DENIED" and "envelope-denial-with-empty-text" in faults:
        envelope["error"] = ""
    if code == "INVALID_INPUTS" and "envelope-invalid-inputs-text-is-object" in faults:
        envelope["error"] = {"message": refusal.error}
    if refusal.about == "execution" and "envelope-unknown-execution-without-code" in faults:
        del envelope["code"]
    if refusal.about == "execution" and "envelope-unknown-execution-code-is-number" in faults:
        envelope["code"] = status
    if refusal.about == "execution" and "envelope-unknown-execution-code-is-empty" in faults:
        envelope["code"] = ""
    if code == "UNAUTHORIZED" and "envelope-plain-401-without-code" in faults:
        del envelope["code"]
    if refusal.about == "workflow" and "envelope-unknown-workflow-without-code" in faults:
        del envelope["code"]
    if refusal.about == "workflow" and "envelope-code-names-the-slug" in faults:
        envelope["code"] = f"NO_{refusal.name.upper()}"
    if refusal.about == "execution" and "envelope-unknown-execution-is-array" in faults:
        envelope = [envelope]
    if refusal.about == "execution" and "envelope-unknown-execution-is-string" in faults:
        envelope = refusal.error
    if code == "INVALID_INPUTS" and "envelope-invalid-inputs-is-422" in faults:
        status = 422
    if code == "MODEL_NOT_FOUND" and "envelope-model-not-found-is-400" in faults:
        status = 400
    if code == "INSUFFICIENT_CREDITS" and "envelope-insufficient-credits-is-403" in faults:
        status = 403
    if code == "ASYNC_NOT_SUPPORTED" and "envelope-async-not-supported-is-409" in faults:
        status = 409
    if code == "EXECUTION_FAILED" and "envelope-provider-failure-is-502" in faults:
        status = 502
    response = answer(envelope, status=status, headers=refusal.headers)
    if code == "UNAUTHORIZED" and "envelope-plain-401-as-text" in faults:
        response.headers["content-type"] = "text/plain; charset=utf-8"
    if status == 404 and "envelope-404-as-html" in faults:
        response.headers["content-type"] = "text/html; charset=utf-8"
    if code == "CAPABILITY_DENIED" and "envelope-denial-as-problem-json" in faults:
        response.headers["content-type"] = "application/problem+json"
    return response
