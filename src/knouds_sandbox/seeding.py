"""The contents of a new sandbox: accounts of every kind, their keys, workflows and some history.

Names are fixed; keys and ids are derived from the seed. The keys only work on a sandbox.
"""

import base64
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from knouds_sandbox.access.keys import KEY_PREFIX
from knouds_sandbox.state.accounts import add_account, add_key
from knouds_sandbox.state.run_records import FAILED, StoredRun, accept_run, end_run
from knouds_sandbox.state.store import Store
from knouds_sandbox.state.workflows import REQUEST_INPUT, RESPONSE_OUTPUT, add_workflow, new_members

_PLENTY = 1_000_000_000
_ENOUGH = 1_000_000
_TEMPLATE = "Starter template"
_WEBHOOK_OWNERS = frozenset({"ada", "ines"})

_ACCOUNTS: Mapping[str, dict[str, Any]] = {
    "ada": {"tier": "enterprise", "credits": _PLENTY},
    "bea": {"tier": "business", "credits": _ENOUGH},
    "pia": {"tier": "pro", "credits": _ENOUGH},
    "ines": {"tier": "pro", "credits": _ENOUGH},
    "otto": {"tier": "pro", "credits": _ENOUGH},
    "cleo": {"tier": "creator", "credits": 1_700},
    "finn": {"tier": "free", "credits": 250},
    "root": {"tier": "enterprise", "credits": _PLENTY, "role": "admin"},
    "sam": {"tier": "business", "credits": _ENOUGH},
    "una": {"tier": "business", "credits": _ENOUGH, "is_approved": False},
    "nil": {"tier": "business", "credits": 0},
    "lou": {"tier": "business", "credits": 20},
    "tess": {"tier": "business", "credits": 0, "grant_credits": 0},
    "gus": {"tier": "business", "credits": 0, "grant_credits": _ENOUGH},
}

_ALL = "workflow:run workflow:read workflow:write model:run execution:read execution:cancel webhook:receive"
_PRO = "workflow:run workflow:read workflow:write execution:read execution:cancel webhook:receive"


def _restricted(owner: str, granted: str, *, prefix: str = "") -> dict[str, tuple[str, str]]:
    """Return keys of one account that hold a part of what its tier may grant, or are refused."""
    rights = {"none": ""} | {f"only-{each.replace(':', '-')}": each for each in granted.split()}
    rights |= {
        "wildcard-workflow": "workflow:*",
        "wildcard-execution": "execution:*",
        "read-only": "workflow:read",
        "deploy": "workflow:run workflow:read",
        "full-deploy": "workflow:run workflow:read workflow:write",
        "revoked": granted,
        "legacy": granted,
    }
    return {f"{prefix}{name}": (owner, held) for name, held in rights.items()}


_KEYS: Mapping[str, tuple[str, str]] = {
    "full": ("ada", _ALL),
    **_restricted("ada", _ALL),
    "wildcard-model": ("ada", "model:*"),
    "bound-workflow": ("ada", "workflow:portrait:run"),
    "bound-model": ("ada", "model:seedream-v5:run"),
    "admin": ("root", "*"),
    "stranger": ("sam", _ALL),
    "pro": ("pia", _PRO),
    "pro-second": ("pia", "workflow:run"),
    "pro-model": ("pia", "model:run"),
    "business": ("bea", _ALL),
    "business-second": ("bea", "workflow:run"),
    "free": ("finn", "workflow:read workflow:write execution:read"),
    "creator": ("cleo", "workflow:read"),
    "broke": ("nil", _ALL),
    "few": ("lou", "model:run"),
    "exhausted": ("tess", _ALL),
    "granted": ("gus", _ALL),
    "unapproved": ("una", _ALL),
    "ines": ("ines", _PRO),
    **_restricted("ines", _PRO, prefix="ines-"),
    "ines-bound-workflow": ("ines", "workflow:ines-portrait:run"),
    "otto": ("otto", _PRO),
}
"""Owner and capabilities of each key."""

_PROMPT = {"name": "prompt", "type": "textarea", "label": "Prompt", "default": "a lighthouse in fog"}
_COUNT = {"name": "count", "type": "slider", "label": "Images", "min": 1, "max": 4, "step": 1, "default": 1}
_SECONDS = _COUNT | {"name": "seconds", "label": "Length", "max": 15, "default": 5}
_EVERY_FIELD = (
    {"name": "title", "type": "text", "default": "Untitled"},
    {"name": "prompt", "type": "textarea", "default": "a lighthouse in fog"},
    {"name": "quantity", "type": "number", "default": 3},
    {"name": "strength", "type": "slider", "min": 0, "max": 1, "step": 0.1, "default": 0.5},
    {"name": "style", "type": "pills", "options": ["photo", "drawing", "painting"], "default": "photo"},
    {"name": "upscale", "type": "toggle", "default": False},
    {"name": "photo", "type": "image", "default": "https://media.sandbox.example/samples/photo.png"},
    {"name": "clip", "type": "video", "default": "https://media.sandbox.example/samples/clip.mp4"},
)

_PORTRAIT = {"fields": (_PROMPT, _COUNT), "model": "seedream-v5", "tags": ["people", "photo"]}
_ONE_IMAGE = {"fields": (_PROMPT,), "model": "nano-banana-2"}
_CLIP = {"fields": (_PROMPT, _SECONDS), "model": "seedance-2-0-full-access"}
_WORKFLOWS: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("ada", "Portrait", _PORTRAIT),
    ("ada", "Portrait HD", _PORTRAIT),
    ("ada", "Portrai", _PORTRAIT),
    ("ada", "All fields", {**_ONE_IMAGE, "fields": _EVERY_FIELD, "publicPlayground": True}),
    ("ada", "No generator", {"fields": (_PROMPT,)}),
    ("ada", "No input", {"model": "seedream-v5"}),
    ("ada", "Sunset clip", _CLIP),
    ("ada", "Always fails", {"fields": (_PROMPT,), "model": "failing-model"}),
    ("ada", "In folder", {**_ONE_IMAGE, "folderId": "folder-2026"}),
    ("ada", "Public card", {**_ONE_IMAGE, "publicPlayground": True}),
    ("root", _TEMPLATE, _ONE_IMAGE),
    ("sam", "Stranger private", _PORTRAIT),
    *(
        (owner, f"{owner.title()} portrait", _PORTRAIT)
        for owner in ("pia", "bea", "nil", "tess", "gus", "ines", "otto")
    ),
    ("ines", "Ines clip", _CLIP),
)
"""Owner, name, and what is in the document: its fields, its model, other members."""


def seed_store(store: Store, seed: int, *, webhook_url: str | None = None) -> None:
    """Fill an empty store in one transaction; ``webhook_url`` is the webhook of all keys of ada and ines."""
    with store.transaction():
        _add_accounts_and_keys(store, seed, webhook_url)
        for owner, name, members in _WORKFLOWS:
            add_workflow(
                store,
                new_members(_document(name, **members)),
                slug=name.lower().replace(" ", "-"),
                owner_id=account_id(seed, owner),
                is_template=name == _TEMPLATE,
            )
        _add_history(store, seed)


def _add_accounts_and_keys(store: Store, seed: int, webhook_url: str | None) -> None:
    webhook_secret = f"whsec_{_digest(seed, 'webhook').hex()[:32]}"
    for name, account in _ACCOUNTS.items():
        add_account(store, id=account_id(seed, name), name=name, **account)
    for name, (owner, capabilities) in _KEYS.items():
        has_webhook = webhook_url and owner in _WEBHOOK_OWNERS
        add_key(
            store,
            name=name,
            secret=key_secret(seed, name),
            account_id=account_id(seed, owner),
            capabilities=capabilities.split(),
            state=state if (state := name.rpartition("-")[2]) in {"revoked", "legacy"} else "active",
            webhook_url=webhook_url if has_webhook else None,
            webhook_secret=webhook_secret if has_webhook else None,
        )


def _document(
    name: str, *, fields: Sequence[Mapping[str, Any]] = (), model: str = "", **members: Any
) -> dict[str, Any]:
    kinds: list[tuple[str, dict[str, Any]]] = [(RESPONSE_OUTPUT, {})]
    if model:
        kinds.insert(0, ("generator", {"modelId": model}))
    if fields:
        kinds.insert(0, (REQUEST_INPUT, {"fields": [dict(field) for field in fields]}))
    nodes = [
        {"id": f"node-{number}", "type": kind, "position": {"x": 320 * number, "y": 0}, "data": data}
        for number, (kind, data) in enumerate(kinds)
    ]
    edges = [
        {
            "id": f"edge-{number}",
            "source": f"node-{number}",
            "target": f"node-{number + 1}",
            "sourceHandle": "out",
            "targetHandle": "in",
        }
        for number in range(len(nodes) - 1)
    ]
    description = f"{name}, one of the sandbox's own workflows."
    return {"name": name, "description": description, "nodes": nodes, "edges": edges, **members}


def seeded_keys(store: Store) -> dict[str, str]:
    """Return the secrets of seeded keys by persona; a file from an earlier version may lack some."""
    rows = store.rows("SELECT name, secret FROM keys ORDER BY id")
    return {name: secret for name, secret in rows if name in _KEYS}


def uses_of_keys(store: Store) -> dict[str, tuple[str, str, str]]:
    """Return account, tier and rights of every key, by persona."""
    rows = store.rows(
        "SELECT keys.name, accounts.name, tier, CASE"
        " WHEN state <> 'active' THEN 'refused: ' || state"
        " WHEN NOT is_approved THEN 'refused: account not approved'"
        " WHEN capabilities = '' THEN 'nothing' ELSE capabilities END"
        " FROM keys JOIN accounts ON accounts.id = keys.account_id"
    )
    return {name: (account, tier, use) for name, account, tier, use in rows}


def seeded_webhook_secret(store: Store) -> str | None:
    """Return the secret that signs deliveries of seeded keys; None if they have no webhook."""
    row: tuple[str | None] = store.row("SELECT webhook_secret FROM keys WHERE name = 'full'")
    return row[0]


def account_id(seed: int, name: str) -> str:
    return f"usr_{_digest(seed, f'account {name}').hex()[:24]}"


def key_secret(seed: int, name: str) -> str:
    return KEY_PREFIX + base64.urlsafe_b64encode(_digest(seed, f"key {name}")).decode().rstrip("=")


def _digest(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed} {text}".encode()).digest()


def _add_history(store: Store, seed: int) -> None:
    """Add ended runs: over the API, on the canvas, and one with a provider-internal model."""
    history = (
        ("api-workflow", "portrait", ("seedream-v5",), 8, "completed"),
        ("api-slim", None, ("claude-sonnet",), 3, "completed"),
        ("api-slim", None, ("failing-model",), 5, "failed"),
        ("canvas", "portrait", ("kling-v3-motion",), 55, "completed"),
        ("api-workflow", "sunset-clip", ("seedance-2-0-full-access", "fal:seedance/v2"), 70, "cancelled"),
    )
    for owner in ("ada", "bea", "sam"):
        for number, (source, slug, models, cost_credits, status) in enumerate(history):
            execution_id = uuid.UUID(bytes=_digest(seed, f"execution {owner} {number}")[:16], version=4)
            run = StoredRun(
                request_id=f"req_{_digest(seed, f'request {owner} {number}').hex()[:32]}",
                execution_id=str(execution_id),
                account_id=account_id(seed, owner),
                key_id=None,
                source=source,
                workflow_slug=slug,
                model_ids=models,
                cost_credits=cost_credits,
                outcome=FAILED if status == "failed" else {"result": {"text": ["seeded"]}},
            )
            end_run(store, accept_run(store, run, duration_s=1.5), status)
