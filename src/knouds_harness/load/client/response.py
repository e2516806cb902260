"""The response that Locust users get, with ``success()`` and ``failure()``."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from locust.event import EventHook
from locust.exception import CatchResponseError, LocustError, ResponseError

from knouds_harness.load.client.http_answer import Answer

_CODE = re.compile(r"(?!.*knouds_live_)[a-z][a-z0-9_.:-]{0,63}", re.IGNORECASE | re.ASCII)


class BadStatus(ResponseError):
    """An error status; its ``repr`` names only status and ``code``, so that equal ones group."""

    def __init__(self, response: Response) -> None:
        super().__init__(response)
        self.response = response

    def __repr__(self) -> str:
        code = error_code(self.response)
        return f"BadStatus({self.response.status_code}{code and f', {code}'})"

    __str__ = __repr__


class Response(Answer):
    """The response to a request; with ``catch_response=True``, a with-block decides what it counts as.

    Attributes:
        elapsed_ms: From sending until the response was complete: the service time.
        response_ms: The same, or from when the request was due.
        error: Why there is no response.
        verdict: What the request counts as: True for a success, or its failure; None as its status says.
        sender: Who sent it, if the answer is to be verified: the name of a key, empty without one; else None.
    """

    method = ""
    url = ""
    sent = b""
    start_unix_s = 0.0
    elapsed_ms = 0.0
    response_ms = 0.0
    error: Exception | None = None
    sender: str | None = None
    js: Any = None
    _meta: dict[str, Any] | None = None
    _event: EventHook
    _is_entered = False
    verdict: bool | Exception | None = None

    @property
    def elapsed(self) -> timedelta:
        return timedelta(milliseconds=self.elapsed_ms)

    def raise_for_status(self) -> None:
        """Raise the failure that the request counts as, if it is one."""
        if isinstance(self.verdict, Exception):
            raise self.verdict
        if self.verdict is None and (failure := self.failure_by_status()):
            raise failure

    def failure_by_status(self) -> Exception | None:
        """Return the failure: no response, or a status of 400 or more; a redirect is none."""
        if self.status_code >= 400:
            return BadStatus(self)
        return self.error

    def catch(self, event: EventHook, meta: dict[str, Any]) -> None:
        """Hold the event back until the with-block ends."""
        self._event, self._meta = event, meta

    def __enter__(self) -> Self:
        if self._meta is None:
            raise LocustError("for a with-block, pass catch_response=True")
        self._is_entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._meta is None:
            return False
        meta, self._meta = self._meta, None  # it holds this object: without the cycle, both are freed at once
        if self.verdict is not None:
            meta["exception"] = None if self.verdict is True else self.verdict
        elif isinstance(error, ResponseError):
            meta["exception"] = error
        elif error is not None:
            return False  # an error in the locustfile, or its end: no event, as with Locust's own clients
        self._event.fire(**meta)
        return self.verdict is None or kind is None

    def success(self) -> None:
        """Count the request as a success, despite its status."""
        self._decide(True)

    def failure(self, reason: object) -> None:
        """Count the request as a failure, for an exception or for a reason in words."""
        self._decide(reason if isinstance(reason, Exception) else CatchResponseError(reason))

    def _decide(self, verdict: bool | Exception) -> None:  # noqa: FBT001
        if not self._is_entered:
            raise LocustError(
                "to decide what a request counts as, pass catch_response=True and use a with-block"
            )
        self.verdict = verdict


def error_code(response: Any) -> str:  # noqa: ANN401 - any client's response: only .json() is asked of it
    """Return the ``code`` of an error body; empty if it is missing or does not look like a constant."""
    read: Callable[[], object] | None = getattr(response, "json", None)
    try:
        body = read() if read else None
    except Exception:  # noqa: BLE001 - a body that cannot be read has no code, whatever a client raises
        return ""
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""
