"""The contents of a new sandbox: accounts of every kind, their keys, workflows and some history.

Names are fixed; keys and ids are derived from the seed. The keys only work on a sandbox.
"""

import base64
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from knouds_sandbox.access.keys import KEY_PREFIX
from knouds_sandbox.state.accounts import add_account, add_key
from knouds_sandbox.state.run_records import StoredRun, accept_run, end_run
from knouds_sandbox.state.store import Store
from knouds_sandbox.state.workflows import REQUEST_INPUT, RESPONSE_OUTPUT, add_workflow, new_members

_PLENTY = 1_000_000_000
_ENOUGH = 1_000_000
_WEBHOOK_OWNERS = frozenset({"ada", "ines"})

_ACCOUNTS: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
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
)

_ALL = "workflow:run workflow:read workflow:write model:run execution:read execution:cancel webhook:receive"
_PRO = "workflow:run workflow:read workflow:write execution:read execution:cancel webhook:receive"

_KEYS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "full": ("ada", _ALL),
        "none": ("ada", ""),
        "only-workflow-run": ("ada", "workflow:run"),
        "only-workflow-read": ("ada", "workflow:read"),
        "only-workflow-write": ("ada", "workflow:write"),
        "only-model-run": ("ada", "model:run"),
        "only-execution-read": ("ada", "execution:read"),
        "only-execution-cancel": ("ada", "execution:cancel"),
        "only-webhook-receive": ("ada", "webhook:receive"),
        "wildcard-workflow": ("ada", "workflow:*"),
        "wildcard-model": ("ada", "model:*"),
        "wildcard-execution": ("ada", "execution:*"),
        "bound-workflow": ("ada", "workflow:portrait:run"),
        "bound-model": ("ada", "model:seedream-v5:run"),
        "read-only": ("ada", "workflow:read"),
        "deploy": ("ada", "workflow:run workflow:read"),
        "full-deploy": ("ada", "workflow:run workflow:read workflow:write"),
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
        "revoked": ("ada", _ALL),
        "legacy": ("ada", _ALL),
        "unapproved": ("una", _ALL),
        "ines": ("ines", _PRO),
        "ines-none": ("ines", ""),
        **{f"ines-only-{each.replace(':', '-')}": ("ines", each) for each in _PRO.split()},
        "ines-wildcard-workflow": ("ines", "workflow:*"),
        "ines-wildcard-execution": ("ines", "execution:*"),
        "ines-bound-workflow": ("ines", "workflow:ines-portrait:run"),
        "ines-read-only": ("ines", "workflow:read"),
        "ines-deploy": ("ines", "workflow:run workflow:read"),
        "ines-full-deploy": ("ines", "workflow:run workflow:read workflow:write"),
        "ines-revoked": ("ines", _PRO),
        "ines-legacy": ("ines", _PRO),
        "otto": ("otto", _PRO),
    }
)

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


def seed_store(store: Store, seed: int, *, webhook_url: str | None = None) -> None:
    """Fill an empty store in one transaction; ``webhook_url`` is the webhook of all keys of ada and ines."""
    with store.transaction():
        _add_accounts_and_keys(store, seed, webhook_url)
        _add_workflows(store, seed)
        _add_history(store, seed)


def _add_accounts_and_keys(store: Store, seed: int, webhook_url: str | None) -> None:
    webhook_secret = f"whsec_{_digest(seed, 'webhook').hex()[:32]}"
    for name, account in _ACCOUNTS.items():
        add_account(store, id=account_id(seed, name), name=name, **account)
    for name, (owner, capabilities) in _KEYS.items():
        add_key(
            store,
            name=name,
            secret=key_secret(seed, name),
            account_id=account_id(seed, owner),
            capabilities=capabilities.split(),
            state=state if (state := name.rpartition("-")[2]) in {"revoked", "legacy"} else "active",
            webhook_url=webhook_url if owner in _WEBHOOK_OWNERS else None,
            webhook_secret=webhook_secret if webhook_url and owner in _WEBHOOK_OWNERS else None,
        )


def _add_workflows(store: Store, seed: int) -> None:
    for workflow in _workflows():
        owner = workflow.pop("owner")
        is_template = workflow.pop("is_template", False)
        add_workflow(
            store,
            new_members(workflow),
            slug=workflow["name"].lower().replace(" ", "-"),
            owner_id=account_id(seed, owner),
            is_template=is_template,
        )


def seeded_keys(store: Store) -> dict[str, str]:
    """Return the secrets of seeded keys by persona; a file from an earlier version may lack some."""
    secret_by_name = dict(store.rows("SELECT name, secret FROM keys"))
    return {name: secret_by_name[name] for name in _KEYS if name in secret_by_name}


def uses_of_keys(store: Store) -> dict[str, tuple[str, str, str]]:
    """Return account, tier and rights of every seeded key, by persona."""
    rows = store.rows(
        "SELECT keys.name, accounts.name, tier, state, is_approved, capabilities"
        " FROM keys JOIN accounts ON accounts.id = keys.account_id"
    )
    uses = {
        name: (account, tier, _use(state, capabilities, is_approved=is_approved))
        for name, account, tier, state, is_approved, capabilities in rows
    }
    return {name: uses[name] for name in _KEYS if name in uses}


def _use(state: str, capabilities: str, *, is_approved: bool) -> str:
    if state != "active":
        return f"refused: {state}"
    if not is_approved:
        return "refused: account not approved"
    return capabilities or "nothing"


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


def _workflows() -> list[dict[str, Any]]:
    portrait: dict[str, Any] = {
        "fields": (_PROMPT, _COUNT),
        "models": ("seedream-v5",),
        "tags": ["people", "photo"],
    }
    return [
        _workflow("ada", "Portrait", **portrait),
        _workflow("ada", "Portrait HD", **portrait),
        _workflow("ada", "Portrai", **portrait),
        _workflow("ada", "All fields", fields=_EVERY_FIELD, models=("nano-banana-2",), publicPlayground=True),
        _workflow("ada", "No generator", fields=(_PROMPT,)),
        _workflow("ada", "No input", fields=None, models=("seedream-v5",)),
        _workflow("ada", "Sunset clip", fields=(_PROMPT, _SECONDS), models=("seedance-2-0-full-access",)),
        _workflow("ada", "Always fails", fields=(_PROMPT,), models=("failing-model",)),
        _workflow("ada", "In folder", fields=(_PROMPT,), models=("nano-banana-2",), folderId="folder-2026"),
        _workflow("ada", "Public card", fields=(_PROMPT,), models=("nano-banana-2",), publicPlayground=True),
        _workflow("root", "Starter template", fields=(_PROMPT,), models=("nano-banana-2",), is_template=True),
        _workflow("sam", "Stranger private", **portrait),
        *(
            _workflow(owner, f"{owner.title()} portrait", **portrait)
            for owner in ("pia", "bea", "nil", "tess", "gus", "ines", "otto")
        ),
        _workflow("ines", "Ines clip", fields=(_PROMPT, _SECONDS), models=("seedance-2-0-full-access",)),
    ]


def _workflow(
    owner: str,
    name: str,
    *,
    fields: Sequence[Mapping[str, Any]] | None,
    models: Sequence[str] = (),
    **members: Any,
) -> dict[str, Any]:
    """Return a document: a chain of Request Input (if ``fields``), generators and Response Output."""
    kinds: list[tuple[str, dict[str, Any]]] = []
    if fields is not None:
        kinds.append((REQUEST_INPUT, {"fields": [dict(field) for field in fields]}))
    kinds += [("generator", {"modelId": model}) for model in models]
    kinds.append((RESPONSE_OUTPUT, {}))
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
    about = {"owner": owner, "name": name, "description": f"{name}, one of the sandbox's own workflows."}
    return about | {"nodes": nodes, "edges": edges} | members


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
            failed = {"error": {"code": "EXECUTION_FAILED", "message": "The provider failed."}}
            run = StoredRun(
                request_id=f"req_{_digest(seed, f'request {owner} {number}').hex()[:32]}",
                execution_id=str(execution_id),
                account_id=account_id(seed, owner),
                key_id=None,
                source=source,
                workflow_slug=slug,
                model_ids=models,
                cost_credits=cost_credits,
                outcome=failed if status == "failed" else {"result": {"text": ["seeded"]}},
            )
            end_run(store, accept_run(store, run, duration_s=1.5), status)
