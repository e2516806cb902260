"""What became of a request: kept, throttled, refused, failed or wrong are different things."""

from __future__ import annotations

from enum import StrEnum


class RequestOutcome(StrEnum):
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


def outcome_of(status_code: int, exception: BaseException | None) -> RequestOutcome:
    """Judge one request by what Locust's ``request`` event says of it.

    Args:
        status_code: 0 where there was no answer.
        exception: As in the event: None where the caller took the answer for a success.
    """
    if status_code == 429:
        return RequestOutcome.THROTTLED
    if exception is None:
        return RequestOutcome.WRONG if 300 <= status_code < 400 else RequestOutcome.KEPT
    if status_code in {402, 403}:
        return RequestOutcome.REFUSED
    if status_code == 0 or status_code >= 500:
        return RequestOutcome.FAILED
    return RequestOutcome.WRONG
