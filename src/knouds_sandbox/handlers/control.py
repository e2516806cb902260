"""The control plane under ``/__sandbox__/`` for tests: accounts, keys, rate-limit clock, state.

Without a token at start it is off, and its paths answer 404. It never reveals the right answer to a test.
"""

import hmac
import secrets
import sqlite3
import uuid
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from knouds_sandbox.access.keys import KEY_PREFIX
from knouds_sandbox.access.network import ReceiverRefused, ReceiverRules, is_receivable
from knouds_sandbox.bodies import answer, invalid_body, not_found, read_json, unauthorized
from knouds_sandbox.calls import Services
from knouds_sandbox.seeding import seed_store, seeded_keys
from knouds_sandbox.state.accounts import add_account, add_key, find_account_id

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
    capabilities = _member(body, "capabilities", _are_words, "a list of texts without blanks")
    state = _member(body, "state", _STATES.__contains__, f"one of {', '.join(_STATES)}", "active")
    webhook_url, webhook_secret = await _webhook(body, services.receivers)
    minted = {"name": f"minted-{uuid.uuid4().hex[:12]}", "secret": KEY_PREFIX + secrets.token_urlsafe(32)}
    add_key(
        services.store,
        account_id=account_id,
        capabilities=capabilities,
        state=state,
        webhook_url=webhook_url,
        webhook_secret=webhook_secret,
        **minted,
    )
    return answer(minted | ({"webhookSecret": webhook_secret} if webhook_url else {}), status=201)


async def open_account(request: Request, services: Services) -> Response:
    """POST /__sandbox__/accounts: open an account.

    Body: ``{tier, name?, role?, approved?, credits?, grant?}``, the last two in credits; response:
    ``{account, id}``, where ``account`` is the name for minting keys.
    """
    body = await _authorized_body(request, services)
    account_id = f"usr_{uuid.uuid4().hex[:24]}"
    name = _member(body, "name", _is_text, "a text", f"account-{uuid.uuid4().hex[:12]}")
    try:
        add_account(
            services.store,
            id=account_id,
            name=name,
            tier=_member(body, "tier", _is_text, "a text"),
            role=_member(body, "role", ("user", "admin").__contains__, "user or admin", "user"),
            is_approved=_member(body, "approved", (True, False).__contains__, "a boolean", default=True),
            credits=_member(body, "credits", _is_amount, "a whole number of credits", _DEFAULT_CREDITS),
            grant_credits=_member(body, "grant", _is_grant, "a whole number of credits"),
        )
    except sqlite3.IntegrityError:
        raise invalid_body(f"There is an account {name} already.") from None
    return answer({"account": name, "id": account_id}, status=201)


async def advance_clock(request: Request, services: Services) -> Response:
    """POST /__sandbox__/clock ``{advance_s, account?}``: move the clock of the rate-limit windows forward."""
    body = await _authorized_body(request, services)
    seconds = _member(body, "advance_s", _is_span, "a number of seconds from 0 to 10^9")
    account_id = _account_id(body, services) if "account" in body else ""
    services.limiter.advance(seconds, account_id=account_id)
    return answer({"advanced_s": seconds})


async def reset_state(request: Request, services: Services) -> Response:
    """POST /__sandbox__/reset ``{seed?}``: reset to a new sandbox with this seed, or the current one.

    Response: ``{seed, keys}``, with every seeded key by name. Executions in flight are dropped.
    """
    body = await _authorized_body(request, services)
    seed = _member(body, "seed", _is_seed, "a whole number of 64 bits", services.seed)
    services.engine.forget()
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
    if not isinstance(webhook, dict):
        raise invalid_body("webhook is not an object.")
    url = _member(webhook, "url", is_receivable, "an http or https URL with a host")
    try:
        await receivers.addresses(url)
    except ReceiverRefused as refused:
        raise invalid_body(f"The webhook's url is refused: {refused}.") from None
    except OSError:
        pass  # the name may exist later; each attempt resolves it again
    generated = f"whsec_{secrets.token_urlsafe(24)}"
    return url, _member(webhook, "secret", _is_secret, "a text of 16 to 256 characters", generated)


def _account_id(body: dict[str, Any], services: Services) -> str:
    account_id = find_account_id(services.store, _member(body, "account", _is_text, "a text"))
    if account_id is None:
        raise not_found("account")
    return account_id


def _member(
    body: dict[str, Any], name: str, is_valid: Callable[[Any], bool], expected: str, default: Any = None
) -> Any:
    """Return a member of a body, or its default; refuse what is not as expected."""
    value = body.get(name, default)
    if not is_valid(value):
        raise invalid_body(f"{name} is not {expected}.")
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value)


def _is_secret(value: Any) -> bool:
    return isinstance(value, str) and 16 <= len(value) <= 256


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and each.split() == [each] for each in value)


def _is_amount(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 10**12


def _is_grant(value: Any) -> bool:
    return value is None or _is_amount(value)


def _is_seed(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**63


def _is_span(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 10**9
