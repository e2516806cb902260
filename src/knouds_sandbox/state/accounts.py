"""Accounts with their tiers, and keys with their capabilities."""

import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from knouds_sandbox.state.store import Store, digest

UNLIMITED = 0
_LIMIT_OF_OTHER_TIERS = 100

RATE_LIMIT_BY_TIER: Mapping[str, int] = {"pro": 100, "business": 1000, "enterprise": UNLIMITED}
"""Requests per user, per route and per 60 s."""

_RANK_BY_TIER = {"free": 0, "creator": 1, "pro": 2, "business": 3, "enterprise": 4}


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    id: str
    email: str
    role: str
    tier: str
    is_approved: bool

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    def reaches(self, tier: str) -> bool:
        """Return whether the account's tier is at least this one; a custom tier ranks as pro."""
        return _RANK_BY_TIER.get(self.tier, _RANK_BY_TIER["pro"]) >= _RANK_BY_TIER[tier]

    @property
    def rate_limit(self) -> int:
        return UNLIMITED if self.is_admin else RATE_LIMIT_BY_TIER.get(self.tier, _LIMIT_OF_OTHER_TIERS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One API key: ``state`` is ``active``, ``revoked`` or ``legacy``."""

    id: int
    capabilities: frozenset[str]
    state: str
    webhook_url: str | None
    account: Account


_SELECT_KEY = """
SELECT secret, keys.id, capabilities, state, webhook_url, accounts.id, email, role, tier, is_approved
FROM keys JOIN accounts ON accounts.id = keys.account_id
"""


def find_key(store: Store, secret: str) -> Key | None:
    """Return the key with exactly this secret, in any state."""
    row = store.row(f"{_SELECT_KEY} WHERE sha256(secret) = ?", digest(secret))
    return _key(row) if row and hmac.compare_digest(row[0].encode(), secret.encode()) else None


def find_key_by_name(store: Store, name: str) -> Key:
    return _key(store.row(f"{_SELECT_KEY} WHERE keys.name = ?", name))


def find_account_id(store: Store, name: str) -> str | None:
    row: tuple[str] | None = store.row("SELECT id FROM accounts WHERE name = ?", name)
    return row and row[0]


def add_account(store: Store, *, name: str, **columns: Any) -> None:
    """Open an account; ``columns`` are the others of its table."""
    store.insert("accounts", name=name, email=f"{name}@sandbox.example", **columns)


def add_key(store: Store, *, capabilities: Collection[str], **columns: Any) -> None:
    """Mint a key that holds exactly these capabilities; ``columns`` are the others of its table."""
    store.insert("keys", capabilities=" ".join(sorted(capabilities)), **columns)


def _key(row: Any) -> Key:
    _, key_id, capabilities, state, webhook_url, account_id, email, role, tier, is_approved = row
    return Key(
        id=key_id,
        capabilities=frozenset(capabilities.split()),
        state=state,
        webhook_url=webhook_url,
        account=Account(id=account_id, email=email, role=role, tier=tier, is_approved=bool(is_approved)),
    )
