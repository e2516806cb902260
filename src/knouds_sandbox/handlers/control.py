"""The control plane under ``/__sandbox__/`` for tests: accounts, keys, rate-limit clock, state.

Without a token at start it is off, and its paths answer 404. It never reveals the right answer to a test.
"""

import hmac
import secrets
import sqlite3
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from knouds_sandbox.access.keys import KEY_PREFIX
from knouds_sandbox.access.network import ReceiverRefused, ReceiverRules, is_receivable
from knouds_sandbox.bodies import answer, invalid_body, not_found, read_json, unauthorized
from knouds_sandbox.calls import Services
from knouds_sandbox.seeding import seed_store, seeded_keys
from knouds_sandbox.state.accounts import add_account, add_key, find_account

TOKEN_HEADER = "x-sandbox-token"  # noqa: S105 - a header's name
_STATES = ("active", "revoked", "legacy")
_COUNTED = {
    **{name: name for name in ("accounts", "keys", "workflows", "runs", "deliveries")},
    "runsInFlight": "runs WHERE ended_unix_s IS NULL",
    "deliveriesWaiting": "deliveries WHERE next_unix_s IS NOT NULL",
}
_DEFAULT_CREDITS = 1_000_000


async def mint_key(request: Request, services: Services) -> Response:
    """POST /__sandbox__/keys: mint a key for an account.

    Body: ``{account, capabilities, state?, webhook?: {url, secret?}}``; response: ``{name, secret}``, and
    ``webhookSecret`` if there is a webhook.
    """
    body = await _authorized_body(request, services)
    account_id = _account_id(body, services)
    capabilities = body.get("capabilities")
    if not isinstance(capabilities, list) or not all(
        isinstance(c, str) and c.split() == [c] for c in capabilities
    ):
        raise invalid_body("capabilities is not a list of texts without blanks.")
    state = body.get("state", "active")
    if state not in _STATES:
        raise invalid_body(f"state is none of {', '.join(_STATES)}.")
    webhook_url, webhook_secret = await _webhook(body, services.receivers)
    name = f"minted-{uuid.uuid4().hex[:12]}"
    secret = KEY_PREFIX + secrets.token_urlsafe(32)
    add_key(
        services.store,
        name=name,
        secret=secret,
        account_id=account_id,
        capabilities=capabilities,
        state=state,
        webhook_url=webhook_url,
        webhook_secret=webhook_secret,
    )
    minted = {"name": name, "secret": secret}
    return answer(minted | ({"webhookSecret": webhook_secret} if webhook_url else {}), status=201)


async def open_account(request: Request, services: Services) -> Response:
    """POST /__sandbox__/accounts: open an account.

    Body: ``{tier, name?, role?, approved?, credits?, grant?}``, the last two in credits; response:
    ``{account, id}``, where ``account`` is the name for minting keys.
    """
    body = await _authorized_body(request, services)
    name = body.get("name", f"account-{uuid.uuid4().hex[:12]}")
    role = body.get("role", "user")
    is_approved = body.get("approved", True)
    amounts = (body.get("credits", _DEFAULT_CREDITS), body.get("grant"))
    if not isinstance(name, str) or role not in {"user", "admin"} or not isinstance(is_approved, bool):
        raise invalid_body("name is not a text, role neither user nor admin, or approved not a boolean.")
    if any(amount is not None and not _is_amount(amount) for amount in amounts) or amounts[0] is None:
        raise invalid_body("credits or grant is not a whole number of credits.")
    account_id = f"usr_{uuid.uuid4().hex[:24]}"
    try:
        add_account(
            services.store,
            account_id=account_id,
            name=name,
            tier=_text(body, "tier"),
            role=role,
            is_approved=is_approved,
            balance_credits=amounts[0],
            grant_credits=amounts[1],
        )
    except sqlite3.IntegrityError:
        raise invalid_body(f"There is an account {name} already.") from None
    return answer({"account": name, "id": account_id}, status=201)


async def advance_clock(request: Request, services: Services) -> Response:
    """POST /__sandbox__/clock ``{advance_s, account?}``: move the clock of the rate-limit windows forward."""
    body = await _authorized_body(request, services)
    seconds = body.get("advance_s")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= 10**9:
        raise invalid_body("advance_s is not a number of seconds from 0 to 10^9.")
    account_id = _account_id(body, services) if "account" in body else ""
    services.limiter.advance(seconds, account_id=account_id)
    return answer({"advanced_s": seconds})


async def reset_state(request: Request, services: Services) -> Response:
    """POST /__sandbox__/reset ``{seed?}``: reset to a new sandbox with this seed, or the current one.

    Response: ``{seed, keys}``, with every seeded key by name. Executions in flight are dropped.
    """
    body = await _authorized_body(request, services)
    seed = body.get("seed", services.seed)
    if not isinstance(seed, int) or isinstance(seed, bool) or abs(seed) >= 2**63:
        raise invalid_body("seed is not a whole number of 64 bits.")
    services.engine.deliverer.forget()
    services.limiter.forget()
    services.noted.clear()
    with services.store.transaction():
        services.store.clear()
        seed_store(services.store, seed, webhook_url=services.receivers.given_url)
    services.seed = seed
    return answer({"seed": seed, "keys": seeded_keys(services.store)})


async def count_state(request: Request, services: Services) -> Response:
    """GET /__sandbox__/state: count rows; response: a number for each table, and which faults were met."""
    _authorize(request, services)
    counts = {
        name: services.store.row(f"SELECT count(*) FROM {selection}")[0]  # noqa: S608 - constant texts
        for name, selection in _COUNTED.items()
    }
    counts["rateLimitWindows"] = services.limiter.count()
    return answer(counts | {"faultsMet": services.edits.is_met_by_fault})


def _authorize(request: Request, services: Services) -> None:
    if services.control_token is None:
        raise not_found("route")
    token = request.headers.get(TOKEN_HEADER, "")
    if not hmac.compare_digest(token.encode(), services.control_token.encode()):
        raise unauthorized(f"Unauthorized: {TOKEN_HEADER} is missing or wrong.")


async def _authorized_body(request: Request, services: Services) -> dict[str, Any]:
    _authorize(request, services)
    body = await read_json(request)
    if not isinstance(body, dict):
        raise invalid_body("The body is not a JSON object.")
    return body


async def _webhook(body: dict[str, Any], receivers: ReceiverRules) -> tuple[str | None, str | None]:
    """Return URL and signing secret; generate a secret if none is given."""
    webhook = body.get("webhook")
    if webhook is None:
        return None, None
    if not isinstance(webhook, dict) or not isinstance(webhook.get("url"), str):
        raise invalid_body("webhook is not an object with a url.")
    if not is_receivable(webhook["url"]):
        raise invalid_body("The webhook's url is none, neither http nor https, or has no host.")
    try:
        await receivers.addresses(webhook["url"])
    except ReceiverRefused as refused:
        raise invalid_body(f"The webhook's url is refused: {refused}.") from None
    except OSError:
        pass  # the name may exist later; each attempt resolves it again
    secret = webhook.get("secret", f"whsec_{secrets.token_urlsafe(24)}")
    if not isinstance(secret, str) or not 16 <= len(secret) <= 256:
        raise invalid_body("The webhook's secret is not a text of 16 to 256 characters.")
    return webhook["url"], secret


def _account_id(body: dict[str, Any], services: Services) -> str:
    account = find_account(services.store, _text(body, "account"))
    if account is None:
        raise not_found("account")
    return account[0]


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise invalid_body(f"{name} is missing, or no text.")
    return value


def _is_amount(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**12
