"""Handler of ``/api/whoami``. Source: docs, whoami."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from knouds_harness.sandbox.accounts import find_key_by_name
from knouds_harness.sandbox.calls import Call
from knouds_harness.sandbox.envelopes import answer


async def get_whoami(call: Call) -> Response:
    """GET /api/whoami."""
    account = call.account
    if "whoami-describes-another" in call.faults:
        account = find_key_by_name(call.store, "stranger").account
    if call.key.name == "pro-second" and "whoami-second-key-describes-another" in call.faults:
        account = find_key_by_name(call.store, "stranger").account
    user: dict[str, Any] = {
        "id": account.id,
        "email": account.email,
        "role": account.role,
        "tier": account.tier,
        "approved": account.is_approved,
    }
    if not call.faults:
        return answer({"user": user})
    if "whoami-lacks-email" in call.faults:
        del user["email"]
    if not call.key.capabilities and "whoami-lacks-email-without-capabilities" in call.faults:
        del user["email"]
    if account.is_admin and "whoami-admin-is-superuser" in call.faults:
        user["role"] = "superuser"
    if "whoami-role-in-capitals" in call.faults:
        user["role"] = account.role.upper()
    if "whoami-role-is-owner" in call.faults:
        user["role"] = "owner"
    if "whoami-admin-is-user" in call.faults:
        user["role"] = "user"
    if "whoami-tier-as-number" in call.faults:
        user["tier"] = 4
    if "whoami-tier-in-object" in call.faults:
        user["tier"] = {"id": account.tier}
    if "whoami-approved-as-text" in call.faults:
        user["approved"] = "true"
    if "whoami-without-user-object" in call.faults:
        return answer(user)
    if "whoami-is-203" in call.faults:
        return answer({"user": user}, status=203)
    return answer({"user": user})
