"""What became of a request: kept, throttled, refused, failed or wrong are different things."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")


class Outcome(StrEnum):
    """How one request ended.

    Attributes:
        KEPT: The answer that was asked for; also an error status that the caller called a success.
        THROTTLED: 429.
        REFUSED: 402 or 403: no credits, or not allowed.
        FAILED: 5xx, or no answer at all.
        WRONG: An answer that nobody should get: a success that breaks the contract, or any other status.
    """

    __hash__ = str.__hash__  # Enum's own takes longer than the rest of a count

    KEPT = "kept"
    THROTTLED = "throttled"
    REFUSED = "refused"
    FAILED = "failed"
    WRONG = "wrong"


def outcome_of(status_code: int, exception: BaseException | None) -> Outcome:
    """Judge one request by what Locust's ``request`` event says of it.

    Args:
        status_code: 0 where there was no answer.
        exception: As in the event: None where the caller took the answer for a success.
    """
    if status_code == 429:
        return Outcome.THROTTLED
    if exception is None:
        return Outcome.WRONG if 300 <= status_code < 400 else Outcome.KEPT
    if status_code in {402, 403}:
        return Outcome.REFUSED
    if status_code == 0 or status_code >= 500:
        return Outcome.FAILED
    return Outcome.WRONG


def error_code(response: Any) -> str:  # noqa: ANN401 - any client's response: only .json() is asked of it
    """The ``code`` of an error's body; empty where there is none, or where it is no constant for programs."""
    read: Callable[[], object] | None = getattr(response, "json", None)
    try:
        body = read() if read else None
    except Exception:  # noqa: BLE001 - a body that cannot be read has no code, whatever a client raises
        return ""
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""
