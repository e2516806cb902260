"""JSON bodies: read those of requests, and make those of responses and refusals."""

import json
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
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


MAX_SIZE_BYTES = 1024 * 1024
MAX_DEPTH = 64


async def read_json(request: Request, most_levels: int = MAX_DEPTH) -> Any:
    """Return the body: JSON without NaN or infinities, at most ``most_levels`` deep.

    Raises:
        Refusal: 413 if it is over ``MAX_SIZE_BYTES``, otherwise 400 ``INVALID_BODY``.
    """
    content = request.scope.get("content")
    if content is None:
        content = request.scope["content"] = await _read(request)
    if not content:
        raise invalid_body("The body is empty; send a JSON object.")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise invalid_body("Send the body as Content-Type: application/json.")
    try:
        value = _DECODER.decode(content.decode("utf-8"))
        is_too_deep = (
            content.count(b"[") + content.count(b"{") >= most_levels and _levels(value) > most_levels
        )
    except RecursionError:
        is_too_deep = True
    except ValueError:
        raise invalid_body("The body is no JSON.") from None
    if is_too_deep:
        raise invalid_body("The body is nested too deeply.")
    return value


async def _read(request: Request) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:18]) > MAX_SIZE_BYTES:
        raise _too_large()
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > MAX_SIZE_BYTES:
                raise _too_large()
    except ClientDisconnect:
        raise invalid_body("The body ended before its end.") from None
    return bytes(content)


def _too_large() -> Refusal:
    return Refusal(413, "BODY_TOO_LARGE", f"The body is larger than {MAX_SIZE_BYTES} bytes.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def _levels(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_levels, parts), default=0)


def mapped(value: Any, change: Callable[[Any], Any], *, but_for: Collection[str] = ()) -> Any:
    """Change each value in a value, the parts before the whole; members with some names stay as they are."""
    if isinstance(value, dict):
        value = {
            name: member if name in but_for else mapped(member, change, but_for=but_for)
            for name, member in value.items()
        }
    elif isinstance(value, list):
        value = [mapped(item, change, but_for=but_for) for item in value]
    return change(value)


def as_unicode(body: Any) -> bytes | None:
    """Encode a body as JSON in UTF-8; None if it holds half of a surrogate pair, which has to be escaped."""
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None
