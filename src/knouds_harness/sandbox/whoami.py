"""Handler of ``/api/whoami``. Source: docs, whoami."""

from __future__ import annotations

from starlette.responses import Response

from knouds_harness.sandbox.accounts import as_user
from knouds_harness.sandbox.calls import HandlerCall
from knouds_harness.sandbox.envelopes import answer


async def get_whoami(call: HandlerCall) -> Response:
    """GET /api/whoami."""
    return answer({"user": as_user(call.account)})
