"""Make responses: JSON bodies, and the envelope of every refusal."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response


class Refusal(Exception):
    """The request is refused, with a status, a code and a sentence that says why."""

    def __init__(
        self, status: int, code: str, error: str, *, headers: Mapping[str, str] | None = None, **context: Any
    ) -> None:
        super().__init__(error)
        self.status = status
        self.code = code
        self.error = error
        self.headers = headers
        self.context = context


def unauthorized(error: str = "Unauthorized: send a valid key in x-api-key.") -> Refusal:
    return Refusal(401, "UNAUTHORIZED", error)


def not_found(what: str) -> Refusal:
    """Make the plain 404: the resource does not exist, or the account may not see it."""
    return Refusal(404, "NOT_FOUND", f"There is no such {what}.")


def invalid_body(error: str) -> Refusal:
    """Make the refusal of a body that is not JSON, or not a usable document."""
    return Refusal(400, "INVALID_BODY", error)


def as_json(body: Any) -> bytes:
    """Encode a body as ASCII JSON, so that any accepted text can be sent back."""
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode("ascii")


def answer(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(as_json(body), status, headers, "application/json")


def refuse(refusal: Refusal) -> Response:
    envelope = {"error": refusal.error, "code": refusal.code, **refusal.context}
    return answer(envelope, status=refusal.status, headers=refusal.headers)
