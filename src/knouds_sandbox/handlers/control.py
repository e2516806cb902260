"""The control plane under ``/__sandbox__/`` for tests: accounts, keys, rate-limit clock, state.

Without a token at start it is off, and its paths answer 404. It never reveals the right answer to a test.
"""

import hmac
import secrets
import sqlite3
import uuid
from collections.abc import Awaitable, Callable, Mapping
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
_COUNTED = {
    **{name: name for name in ("accounts", "keys", "workflows", "runs", "deliveries")},
    "runsInFlight": "runs WHERE ended_unix_s IS NULL",
    "deliveriesWaiting": "deliveries WHERE next_unix_s IS NOT NULL",
}


async def mint_key(body: dict[str, Any], services: Services) -> Response:
    """POST /__sandbox__/keys: mint a key for an account.

    Body: ``{account, capabilities, state?, webhook?: {url, secret?}}``; response: ``{name, secret}``, and
    ``webhookSecret`` if there is a webhook.
    """
    webhook_url, webhook_secret = await _webhook(body, services.receivers)
    minted = {"name": f"minted-{uuid.uuid4().hex[:12]}", "secret": KEY_PREFIX + secrets.token_urlsafe(32)}
    add_key(
        services.store,
        account_id=_account_id(body, services),
        capabilities=_member(body, "capabilities"),
        state=_member(body, "state", "active"),
        webhook_url=webhook_url,
        webhook_secret=webhook_secret,
        **minted,
    )
    return answer(minted | ({"webhookSecret": webhook_secret} if webhook_url else {}), status=201)


async def open_account(body: dict[str, Any], services: Services) -> Response:
    """POST /__sandbox__/accounts: open an account.

    Body: ``{tier, name?, role?, approved?, credits?, grant?}``, the last two in credits; response:
    ``{account, id}``, where ``account`` is the name for minting keys.
    """
    account_id = f"usr_{uuid.uuid4().hex[:24]}"
    name = _member(body, "name", f"account-{uuid.uuid4().hex[:12]}")
    try:
        add_account(
            services.store,
            id=account_id,
            name=name,
            tier=_member(body, "tier"),
            role=_member(body, "role", "user"),
            is_approved=_member(body, "approved", default=True),
            credits=_member(body, "credits", 1_000_000),
            grant_credits=_member(body, "grant"),
        )
    except sqlite3.IntegrityError:
        raise invalid_body(f"There is an account {name} already.") from None
    return answer({"account": name, "id": account_id}, status=201)


async def advance_clock(body: dict[str, Any], services: Services) -> Response:
    """POST /__sandbox__/clock ``{advance_s, account?}``: move the clock of the rate-limit windows forward."""
    seconds = _member(body, "advance_s")
    account_id = _account_id(body, services) if "account" in body else ""
    services.limiter.advance(seconds, account_id=account_id)
    return answer({"advanced_s": seconds})


async def reset_state(body: dict[str, Any], services: Services) -> Response:
    """POST /__sandbox__/reset ``{seed?}``: reset to a new sandbox with this seed, or the current one.

    Response: ``{seed, keys}``, with every seeded key by name. Executions in flight are dropped.
    """
    seed = _member(body, "seed", services.seed)
    services.engine.forget()
    services.limiter.forget()
    services.noted.clear()
    with services.store.transaction():
        services.store.clear()
        seed_store(services.store, seed, webhook_url=services.receivers.given_url)
    services.seed = seed
    return answer({"seed": seed, "keys": seeded_keys(services.store)})


async def count_state(_: dict[str, Any], services: Services) -> Response:
    """GET /__sandbox__/state: count rows; response: a number for each table, and which faults were met."""
    counts = {
        name: services.store.row(f"SELECT count(*) FROM {selection}")[0]  # noqa: S608 - constant texts
        for name, selection in _COUNTED.items()
    }
    counts["rateLimitWindows"] = services.limiter.count()
    return answer(counts | {"faultsMet": services.edits.is_met_by_fault})


HANDLERS: Mapping[tuple[str, str], Callable[[dict[str, Any], Services], Awaitable[Response]]] = {
    ("POST", "keys"): mint_key,
    ("POST", "accounts"): open_account,
    ("POST", "clock"): advance_clock,
    ("POST", "reset"): reset_state,
    ("GET", "state"): count_state,
}
"""By method and path."""


async def answer_control(route: tuple[str, str], services: Services, request: Request) -> Response:
    if services.control_token is None:
        raise not_found("route")
    token = request.headers.get(TOKEN_HEADER, "")
    if not hmac.compare_digest(token.encode(), services.control_token.encode()):
        raise unauthorized(f"Unauthorized: {TOKEN_HEADER} is missing or wrong.")
    body = await read_json(request) if request.method == "POST" else {}
    if not isinstance(body, dict):
        raise invalid_body("The body is not a JSON object.")
    return await HANDLERS[route](body, services)


async def _webhook(body: dict[str, Any], receivers: ReceiverRules) -> tuple[str | None, str | None]:
    """Return URL and signing secret; generate a secret if none is given."""
    webhook = body.get("webhook")
    if webhook is None:
        return None, None
    if not isinstance(webhook, dict):
        raise invalid_body("webhook is not an object.")
    url = _member(webhook, "url")
    try:
        await receivers.addresses(url)
    except ReceiverRefused as refused:
        raise invalid_body(f"The webhook's url is refused: {refused}.") from None
    except OSError:
        pass  # the name may exist later; each attempt resolves it again
    return url, _member(webhook, "secret", f"whsec_{secrets.token_urlsafe(24)}")


def _account_id(body: dict[str, Any], services: Services) -> str:
    account_id = find_account_id(services.store, _member(body, "account"))
    if account_id is None:
        raise not_found("account")
    return account_id


def _member(body: dict[str, Any], name: str, default: Any = None) -> Any:
    """Return a member of a body, or its default; refuse what is not as expected."""
    value = body.get(name, default)
    is_valid, expected = _MEMBERS[name]
    if not is_valid(value):
        raise invalid_body(f"{name} is not {expected}.")
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value)


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and each.split() == [each] for each in value)


def _within(low: int, high: int, *kinds: type) -> Callable[[Any], bool]:
    return lambda value: type(value) in kinds and low <= value <= high


_is_amount = _within(0, 10**12, int)

_MEMBERS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "account": (_is_text, "a text"),
    "name": (_is_text, "a text"),
    "tier": (_is_text, "a text"),
    "role": (("user", "admin").__contains__, "user or admin"),
    "approved": (lambda value: isinstance(value, bool), "a boolean"),
    "credits": (_is_amount, "a whole number of credits"),
    "grant": (lambda value: value is None or _is_amount(value), "a whole number of credits"),
    "capabilities": (_are_words, "a list of texts without blanks"),
    "state": (("active", "revoked", "legacy").__contains__, "active, revoked or legacy"),
    "url": (is_receivable, "an http or https URL with a host"),
    "secret": (lambda value: isinstance(value, str) and 16 <= len(value) <= 256, "16 to 256 characters"),
    "advance_s": (_within(0, 10**9, int, float), "a number from 0 to 10^9"),
    "seed": (_within(1 - 2**63, 2**63 - 1, int), "a whole number of 64 bits"),
}
