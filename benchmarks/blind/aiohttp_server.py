"""A small stand-in for the Knouds REST API, on asyncio, with 40 faults to switch on one at a time.

Everything lives in dictionaries on one event loop, so a stretch of code without
an `await` is atomic; that is the whole locking story of the healthy server.

    python aiohttp_server.py [--port 0] [--fault NAME] [--other-way] [--list] [--run-seconds S]
                           [--webhook-url URL] [--webhook-secret SECRET]

When it listens it prints a line of JSON: address, keys, workflows and models.
"""
import argparse
import asyncio
import copy
import hashlib
import hmac
import itertools
import json
import math
import os
import re
import secrets
import signal
import socket
import sys
import time
import unicodedata
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from urllib.parse import unquote

import aiohttp
from aiohttp import web, web_protocol

# --------------------------------------------------------------------------
# Faults.  name: (what it does, the sentence it breaks, core, subtle)
# --------------------------------------------------------------------------
FAULTS = {
    # authentication and key states
    "bearer-accepted": (
        "A request without x-api-key is let in when Authorization: Bearer carries a good key.",
        "Key in the x-api-key header; Authorization: Bearer is not accepted. [docs]", False, False),
    "revoked-reads-usage": (
        "A revoked key still reads /api/usage and /api/usage/models; it is refused everywhere else.",
        "Missing, malformed, revoked or unknown key: 401. [docs]", True, True),
    "unapproved-passes": (
        "The key of an account that is not yet approved works like any other.",
        "A valid key of an account not yet approved: also 401. [overview]", True, False),
    "key-tail-ignored": (
        "Only the first 28 characters of a key are compared, so a key with another tail passes as the real one.",
        "Missing, malformed, revoked or unknown key: 401. [docs]", True, True),
    # capabilities
    "bound-key-prefix": (
        "A key bound to one workflow also runs workflows whose slug begins with the bound slug.",
        "The form bound to one resource (workflow:<slug>:run) counts where the request names that resource. [overview]",
        True, True),
    "wildcard-without-write": (
        "workflow:* meets workflow:read and workflow:run, yet not workflow:write.",
        "A requirement is met when the key holds the resource's wildcard (workflow:*). [docs]", False, True),
    "move-with-read": (
        "PUT /api/workflows/:slug/move asks for workflow:read instead of workflow:write.",
        "PUT /api/workflows/:slug/move needs workflow:write and ownership. [overview]", True, False),
    "required-misspelt": (
        "The member `required` of CAPABILITY_DENIED spells capabilities with dots (workflow.read).",
        "Not met: 403 CAPABILITY_DENIED with `required`, naming what would have passed. [docs]", False, False),
    # tiers
    "admin-gated-on-models": (
        "An administrator on a Pro account gets MODEL_TIER_REQUIRED on model runs.",
        "Role admin bypasses tier gates and rate limits. [docs]", False, True),
    "pro-model-async": (
        "The Business gate of model runs is not asked on the ?async=true path: a Pro key with model:run gets through.",
        "POST /api/models/:internalName/run (and ?async=true): Business and up. [overview]", True, True),
    "free-second-workflow": (
        "A Free account may create two workflows; the third is refused.",
        "POST /api/workflows: Free capped at 1. [overview]", False, False),
    # validation
    "empty-array-inputs": (
        "{\"inputs\": []} is taken as no inputs and runs; an array with members is refused.",
        "`inputs` missing, or no object (an array is no object): 400 INVALID_INPUTS. [docs]", False, True),
    "bad-json-500": (
        "A run whose body is no JSON ends in a 500.",
        "A body that is no JSON: 400 INVALID_BODY. [docs]", False, False),
    "uppercase-slug-runs": (
        "The run endpoints lower-case the slug or model name first, so FOX-POSTER runs fox-poster.",
        "A slug or name with other characters than lowercase letters, digits and hyphens: 400 INVALID_SLUG. [docs]",
        False, True),
    # envelopes and headers
    "execution-404-text": (
        "An unknown execution id is answered with a text/plain 404.",
        "Every response, errors included, is a JSON object. [overview]", False, False),
    "credits-402-no-code": (
        "The 402 for too few credits carries `error` and no `code`.",
        "Every error body holds at least `error` and `code`; too few credits: 402 INSUFFICIENT_CREDITS. [overview]",
        False, False),
    "429-without-retry-after": (
        "The 429 has neither Retry-After nor retryAfter.",
        "429 RATE_LIMIT_EXCEEDED with tier, limit, retryAfter in the body, the same headers, and Retry-After. [docs]",
        False, False),
    # workflows
    "slug-race": (
        "Two simultaneous creates with one name get one slug; the later overwrites the earlier.",
        "The server makes the slug from the name and appends -2, -3, ... while it is taken. [docs]", True, True),
    "rename-moves-slug": (
        "PUT with another name gives the workflow a new slug; the old address answers 404.",
        "Update: any subset of the document's fields; the slug never changes. [docs]", True, False),
    "put-clears-edges": (
        "PUT with nodes and without edges empties the edges.",
        "Update: any subset of the document's fields. [docs]", True, True),
    "stale-get": (
        "GET of a workflow is cached for 2 s per caller and PUT does not drop the cached copy, "
        "so a read-update-read shows the old document.",
        "PUT updates any subset of the document's fields; GET gives the whole document. [docs]", True, True),
    "rounded-positions": (
        "Node positions with a fraction are rounded to whole numbers when a document is stored.",
        "Get: the whole document, shaped so that it can be sent back to create (round trip). [docs]", False, True),
    "astral-lost": (
        "Characters beyond the basic plane (emoji) in stored documents turn into U+FFFD.",
        "Get: the whole document, shaped so that it can be sent back to create (round trip). [docs]", False, True),
    "moved-date": (
        "After a move, updatedAt is an RFC 1123 date instead of ISO 8601.",
        "updatedAt (ISO 8601). [docs]", False, True),
    # isolation
    "ended-execution-open": (
        "Once an execution has ended, any key with execution:read polls it, whoever owns it.",
        "Poll: unknown or foreign id: 404. [docs]", True, True),
    "usage-filter-leak": (
        "GET /api/usage?workflowSlug=... returns everybody's rows of that workflow.",
        "Only one's own rows. [docs]", True, True),
    "foreign-cancel": (
        "Any key with execution:cancel cancels other people's executions.",
        "Cancel: an in-flight run of one's own. [docs]", True, False),
    # sync runs
    "cost-in-usd": (
        "`cost` of a sync run is in USD instead of credits.",
        "200: {\"success\": true, \"result\", \"cost\": number (credits), \"ms\"}. [docs]", True, False),
    "failed-run-200": (
        "A sync run whose provider failed answers 200 with success: false.",
        "Provider failed: 500 EXECUTION_FAILED. [docs]", True, False),
    # async runs
    "slow-submit": (
        "An async submit takes 0.9 s.",
        "Submit answers in under 500 ms. [docs]", False, False),
    "cancelled-resurrects": (
        "A cancelled execution turns to completed when the provider's original time is over.",
        "The last three (completed, failed, cancelled) are final: nothing leaves them. [docs]", True, True),
    "cancel-free": (
        "A cancelled run is not charged: its usage row shows 0 credits.",
        "A cancelled run is always charged. [overview]", True, False),
    # webhooks
    "signature-body-only": (
        "v1 is the HMAC of the raw body alone, without the time stamp.",
        "v1 = HMAC-SHA256(secret, \"<t>.<raw body>\"). [docs]", True, False),
    "other-key-secret": (
        "Deliveries are signed with the secret of the account's first webhook key, whichever key made the run.",
        "Webhooks are set per key (URL and signing secret). [docs]", True, True),
    # usage
    "usage-default-20": (
        "Without `limit` the usage page holds 20 rows.",
        "`limit` (default 50, at most 500). [docs]", False, False),
    "offset-as-page": (
        "`offset` is multiplied by `limit`, as if it counted pages.",
        "Query: limit (default 50), offset (default 0), rows. [docs]", True, False),
    "row-booked-to-last": (
        "The row of a sync run goes to whoever made the latest request when the run ends: "
        "another account's, if one called meanwhile.",
        "GET /api/usage: one's own API rows. [overview]", True, True),
    # rate limits
    "limit-per-key": (
        "The window is kept per key, so a user with two keys has twice the limit.",
        "Rate limit per user, per route, fixed 60-second window. [docs]", True, False),
    "async-uncounted": (
        "Runs with ?async=true are not counted in the window (the headers show a number that stays).",
        "Per user, per route, fixed 60-second window, by tier. [docs]", False, True),
    # credits
    "trial-cost-shown": (
        "A run that a trial grant paid shows the model's price as its cost.",
        "`cost` is 0 where a trial grant paid. [docs]", False, False),
}

FAULT = None        # the fault of this process
OTHER = False       # the second answer at every open point


def bad(name):
    return FAULT == name


def pick(first, second):
    """An open point: the first answer, or the second with --other-way."""
    return second if OTHER else first


# --------------------------------------------------------------------------
# Small things
# --------------------------------------------------------------------------
TIERS = {  # tier: (rank, limit per window or None, monthly credits)
    # Free and Creator hold no keys; one minted by other means gets 30 a minute.
    "free": (0, 30, 250), "creator": (1, 30, 1700), "pro": (2, 100, 5000),
    "business": (3, 1000, 11329), "enterprise": (4, None, None),
}
CUSTOM_TIER = "agency-eu"
WINDOW = 60
USD_COST, USD_PRICE = 0.004, 0.006
SLUG = re.compile(r"[a-z0-9-]+\Z")
MAX_BODY = 4 * 1024 * 1024
FINAL = ("completed", "failed", "cancelled")


class Refuse(Exception):
    def __init__(self, status, code, text, headers=None, **context):
        super().__init__(code)
        self.status, self.code, self.text = status, code, text
        self.headers, self.context = headers or {}, context


def answer(status, value, headers=None):
    try:
        body = json.dumps(value, ensure_ascii=pick(False, True), allow_nan=False).encode("utf-8")
    except UnicodeEncodeError:                       # a lone surrogate
        body = json.dumps(value, ensure_ascii=True, allow_nan=False).encode("ascii")
    reply = web.Response(status=status, body=body, headers=headers)
    reply.headers["Content-Type"] = pick("application/json; charset=utf-8", "application/json")
    reply.headers["Cache-Control"] = "no-store"
    return reply


def refusal(r):
    body = {"error": r.text, "code": r.code, **r.context}
    if r.code == "INSUFFICIENT_CREDITS" and bad("credits-402-no-code"):
        del body["code"]
    return answer(r.status, body, r.headers)


def iso(moment=None):
    moment = moment or datetime.now(timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def is_number(v):
    return isinstance(v, (int, float)) and not isinstance(v, bool)


def finite(text):
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number out of range")
    return number


def no_constant(text):
    raise ValueError("no JSON: " + text)


def slug_of(name):
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-") or "workflow"


def kind_of(node):
    return re.sub(r"[^a-z]", "", str(node.get("type", "")).lower())


def drop_astral(v):
    if isinstance(v, str):
        return re.sub("[\U00010000-\U0010ffff]", "\ufffd", v)
    if isinstance(v, list):
        return [drop_astral(x) for x in v]
    if isinstance(v, dict):
        return {drop_astral(k): drop_astral(x) for k, x in v.items()}
    return v


# --------------------------------------------------------------------------
# What the server holds
# --------------------------------------------------------------------------
@dataclass
class User:
    name: str
    tier: str
    role: str = "user"
    approved: bool = True
    credits: int = 50_000_000
    trial: int | None = None            # runs left in the trial grant, where there is one
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def admin(self):
        return self.role == "admin"

    @property
    def rank(self):
        return TIERS[self.tier][0] if self.tier in TIERS else pick(3, 2)

    @property
    def limit(self):
        """Requests in a window; None: unlimited."""
        if self.admin:
            return None
        return TIERS[self.tier][1] if self.tier in TIERS else pick(100, 250)


@dataclass
class Key:
    name: str
    user: User
    caps: tuple
    state: str = "active"
    hook_url: str | None = None
    hook_secret: str | None = None
    secret: str = field(default_factory=lambda: "knouds_live_" + secrets.token_hex(20))

    def may(self, *needs):
        if "*" in self.caps and (self.user.admin or pick(False, True)):
            return True
        for need in needs:
            if need in self.caps:
                return True
            if need.split(":")[0] + ":*" in self.caps:
                if not (need == "workflow:write" and bad("wildcard-without-write")):
                    return True
        if bad("bound-key-prefix"):
            for need in needs:
                m = re.match(r"workflow:(.+):run\Z", need)
                for cap in self.caps if m else ():
                    c = re.match(r"workflow:(.+):run\Z", cap)
                    if c and m.group(1).startswith(c.group(1)):
                        return True
        return False

    @property
    def hooked(self):
        return bool(self.hook_url) and self.may("webhook:receive")


@dataclass
class Workflow:
    owner: User
    doc: dict
    template: bool = False
    outcome: str = "completed"
    factor: float = 1.0
    sync_seconds: float = 0.06
    sample: dict = field(default_factory=dict)

    def models(self):
        found = []
        for node in self.doc["nodes"]:
            name = node["data"].get("model") if isinstance(node.get("data"), dict) else None
            if isinstance(name, str) and name in MODELS:
                found.append(name)
        return found

    def price(self):
        found = self.models()
        return sum(MODELS[m].credits for m in found) if found else None

    def fields(self):
        for node in self.doc["nodes"]:
            if kind_of(node) == "requestinput":
                given = node["data"].get("fields")
                return [f for f in given if isinstance(f, dict) and isinstance(f.get("name"), str)
                        and isinstance(f.get("type"), str)] if isinstance(given, list) else []
        return []


@dataclass
class Model:
    name: str
    tier: str
    polled: bool
    kind: str
    credits: int
    sample: dict
    enabled: bool = True


def _models():
    image = {"prompt": "a red fox in the snow"}
    video = {"prompt": "a slow pan", "image": "https://files.example.com/still.png"}
    text = {"prompt": "Write a haiku about foxes."}
    listed = [
        Model("nano-banana-2", "business", False, "images", 4, image),
        Model("seedream-v5", "business", False, "images", 5, image),
        Model("kling-v3-i2v", "business", False, "videos", 30, video),
        Model("kling-o3-ref2v", "business", False, "videos", 36, video),
        Model("kling-v3-motion", "business", False, "videos", 28, video),
        Model("claude-sonnet", "business", False, "text", 2, text),
        Model("gpt-image-2", "business", True, "images", 8, image),
        Model("seedance-2-0-fast", "business", True, "videos", 40, video),
        Model("seedance-2-0-full-access", "enterprise", True, "videos", 90, video),
        Model(pick("suno-v5", "suno-5"), "business", True, "audios", 10, {"prompt": "a calm waltz"}),
        Model("kling-v1-0", "business", False, "videos", 20, video, enabled=False),
    ]
    return {m.name: m for m in listed}


MODELS = {}
EXTENSIONS = {"images": "png", "videos": "mp4", "audios": "mp3"}


@dataclass
class Execution:
    user: User
    key: Key
    slug: str | None
    models: list
    row: dict
    result: object
    outcome: str
    seconds: float
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "processing"
    error: dict | None = None
    created: str = field(default_factory=iso)
    ended: str | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)


class World:
    def __init__(self, run_seconds, webhook):
        self.run_seconds, self.webhook = run_seconds, webhook
        self.keys, self.named, self.users = {}, {}, []
        self.flows, self.executions = {}, {}
        self.rows, self.by_user = [], {}
        self.row_ids = itertools.count(1001)
        self.windows, self.doc_cache = {}, {}
        self.latest_user = None
        self.tasks, self.http = set(), None
        self.gate = None

    # ---- seeds -----------------------------------------------------------
    def person(self, name, tier, **more):
        user = User(name, tier, **more)
        self.users.append(user)
        self.by_user[user.id] = []
        return user

    def mint(self, name, user, caps, state="active", hook=False):
        key = Key(name, user, tuple(caps), state)
        if hook:
            key.hook_url, key.hook_secret = self.webhook, "whsec_" + secrets.token_hex(20)
        self.named[name] = self.keys[key.secret] = key
        return key

    def plant(self, slug, owner, models, fields=True, public=False, **more):
        names = pick({"in": "requestInput", "gen": "generator", "out": "responseOutput"},
                     {"in": "Request Input", "gen": "Generator", "out": "Response Output"})
        handle = pick("prompt", None)
        nodes, edges = [], []
        if fields:
            nodes.append({"id": "in-1", "type": names["in"], "position": {"x": -240.5, "y": 16}, "data": {"fields": [
                {"name": "prompt", "type": "textarea", "label": "Prompt", "default": "a red fox"},
                {"name": "steps", "type": "slider", "min": 1, "max": 50, "step": 1, "default": 20},
                {"name": "style", "type": "pills", "options": ["photo", "ink", "clay"], "default": "photo"},
                {"name": "grain", "type": "toggle", "default": False},
            ]}})
        for n, model in enumerate(models, 1):
            nodes.append({"id": f"gen-{n}", "type": names["gen"], "position": {"x": 120.25 * n, "y": 40},
                          "data": {"model": model}})
            if fields:
                edges.append({"id": f"e-{n}", "source": "in-1", "target": f"gen-{n}",
                              "sourceHandle": handle, "targetHandle": handle})
        nodes.append({"id": "out-1", "type": names["out"], "position": {"x": 600, "y": 40}, "data": {}})
        edges.append({"id": "e-out", "source": nodes[-2]["id"] if len(nodes) > 1 else "out-1", "target": "out-1",
                      "sourceHandle": pick("result", None), "targetHandle": pick("value", None)})
        then = datetime.now(timezone.utc) - timedelta(days=3, seconds=len(self.flows) * 977)
        doc = {"slug": slug, "name": slug.replace("-", " ").capitalize(), "description": "Seeded: " + slug,
               "tags": ["seed"], "nodes": nodes, "edges": edges, "viewport": {"x": 0, "y": 0, "zoom": 0.85},
               "publicPlayground": public, "createdBy": owner.id, "folderId": None, "updatedAt": iso(then)}
        sample = {"prompt": "a red fox", "steps": 20, "style": "ink", "grain": True} if fields else {}
        self.flows[slug] = Workflow(owner, doc, sample=sample, **more)

    def populate(self):
        pro = ["workflow:run", "workflow:read", "workflow:write", "webhook:receive", "execution:read",
               "execution:cancel"]
        biz = pro + ["model:run", "agent:invoke"]
        ana = self.person("ana", "pro")
        ben = self.person("ben", "pro")
        bea = self.person("bea", "business")
        eli = self.person("eli", "enterprise")
        ada = self.person("ada", "pro", role="admin")
        abe = self.person("abe", "business", role="admin")
        sue = self.person("sue", "pro")
        una = self.person("una", "pro", approved=False)
        fay = self.person("fay", "free", credits=250)
        cas = self.person("cas", CUSTOM_TIER)
        pip = self.person("pip", "pro", credits=3)
        tom = self.person("tom", "pro", trial=0)
        tia = self.person("tia", "pro", trial=1_000_000, credits=0)

        self.mint("pro_all", ana, pro, hook=True)
        self.mint("pro_read", ana, ["workflow:read"])
        self.mint("pro_run", ana, ["workflow:run"])
        self.mint("pro_bound", ana, ["workflow:fox-poster:run"])
        self.mint("pro_webhook", ana, ["workflow:run", "webhook:receive", "execution:read", "execution:cancel"],
                  hook=True)
        self.mint("pro_receiver", ana, ["webhook:receive"], hook=True)
        self.mint("pro_hook_no_capability", ana, ["workflow:run", "execution:read"], hook=True)
        self.mint("pro_execution", ana, ["execution:read", "execution:cancel"])
        self.mint("pro_wildcard", ana, ["workflow:*"])
        self.mint("pro_models", ana, ["model:run"])
        self.mint("pro_revoked", ana, pro, "revoked")
        self.mint("pro_legacy", ana, [], "legacy")
        self.mint("pro2_all", ben, pro, hook=True)
        self.mint("business_all", bea, biz, hook=True)
        self.mint("business_bound", bea, ["model:gpt-image-2:run"])
        self.mint("enterprise_all", eli, biz, hook=True)
        self.mint("admin_pro", ada, ["*"], hook=True)
        self.mint("admin_business", abe, ["*"], hook=True)
        self.mint("star_no_admin", sue, ["*"])
        self.mint("unapproved", una, pro, "unapproved")
        self.mint("free", fay, ["workflow:read", "workflow:write", "execution:read", "execution:cancel"])
        self.mint("custom_all", cas, pro)
        self.mint("poor", pip, pro)
        self.mint("trial_used", tom, pro)
        self.mint("trial_pays", tia, pro)

        self.plant("fox-poster", ana, ["nano-banana-2"])
        self.plant("fox-poster-large", ana, ["seedream-v5", "nano-banana-2"], sync_seconds=0.1)
        self.plant("slow-film", ana, ["kling-v3-i2v"], factor=2.5, sync_seconds=0.3)
        self.plant("greeting-card", ana, [])
        self.plant("no-inputs", ana, ["gpt-image-2"], fields=False)
        self.plant("broken-render", ana, ["kling-v3-motion"], outcome="failed")
        self.plant("open-portrait", ana, ["seedream-v5"], public=True)
        self.plant("ben-banner", ben, ["nano-banana-2"])
        self.plant("ben-open", ben, ["gpt-image-2"], public=True)
        self.plant("ben-film", ben, ["kling-o3-ref2v"], factor=2.5, sync_seconds=0.2)
        self.plant("starter-kit", bea, ["nano-banana-2"], template=True)
        self.plant("brand-video", bea, ["seedance-2-0-fast"], factor=2.0, sync_seconds=0.15)
        self.plant("brand-broken", bea, ["gpt-image-2"], outcome="failed")
        self.plant("studio-cut", eli, ["kling-v3-motion"], factor=2.0)
        self.plant("ada-check", ada, ["nano-banana-2"], factor=2.0)
        self.plant("abe-check", abe, ["nano-banana-2"], factor=2.0)
        self.plant("sue-sketch", sue, ["nano-banana-2"])
        self.plant("una-draft", una, ["nano-banana-2"])
        self.plant("agency-ad", cas, ["seedream-v5"])
        self.plant("pip-dream", pip, ["kling-v3-i2v"])
        self.plant("tom-trial", tom, ["nano-banana-2"])
        self.plant("tia-trial", tia, ["nano-banana-2"])

        for user in (ana, ben, bea):
            for n in range(4):                        # canvas runs, that no API row may show
                row = self.open_row(user, None, ["seedance-2-0-fast" if n % 2 else "seedream-v5"], "canvas", 5)
                row.update(status="completed", durationMs=812 + n)
        for n in range(3):
            row = self.open_row(ana, "fox-poster", ["nano-banana-2"], "api-workflow", 4)
            row.update(status="completed", durationMs=700 + n)

    def ready(self, base):
        keys = {k.name: {"secret": k.secret, "user": k.user.id, "tier": k.user.tier, "role": k.user.role,
                         "capabilities": list(k.caps), "state": k.state,
                         "webhook": bool(k.hook_url), "webhook_secret": k.hook_secret} for k in self.named.values()}
        flows = {s: {"owner": w.owner.id, "public": w.doc["publicPlayground"], "template": w.template,
                     "inputs": w.sample, "cost_credits": w.price() or 0, "fails": w.outcome == "failed",
                     "polled": True} for s, w in self.flows.items()}
        models = {m.name: {"needs_tier": m.tier, "polled": m.polled, "inputs": m.sample, "cost_credits": m.credits,
                           "disabled": not m.enabled} for m in MODELS.values()}
        return {"base_url": base, "keys": keys, "workflows": flows, "models": models}

    # ---- usage rows and money ---------------------------------------------
    def open_row(self, user, slug, models, source, credits):
        row = {"id": next(self.row_ids), "userId": user.id, "workflowSlug": slug,
               "modelIds": list(dict.fromkeys(models)), "status": "processing", "source": source,
               "cost": round(credits * USD_COST, 6), "userCost": round(credits * USD_PRICE, 6),
               "creditsCost": credits, "durationMs": pick(None, 0), "errorCode": None,
               "requestId": "req_" + secrets.token_hex(10), "createdAt": iso(), "_began": time.monotonic()}
        self.rows.append(row)
        self.by_user[user.id].append(row)
        return row

    def close_row(self, row, user, status, error_code=None):
        row["status"], row["errorCode"] = status, error_code
        row["durationMs"] = round((time.monotonic() - row["_began"]) * 1000)
        if status == "failed" and pick(True, False) or status == "cancelled" and bad("cancel-free"):
            user.credits += row["creditsCost"]
            row.update(cost=0, userCost=0, creditsCost=0)

    def charge(self, user, price):
        """Take the price now; gives the credits that the run costs its user."""
        if not price:
            return 0
        if user.trial is not None:
            if user.trial <= 0:
                raise Refuse(402, "grant_exhausted", "The trial grant of this account is used up.")
            user.trial -= 1
            return 0
        if user.credits < price:
            raise Refuse(402, "INSUFFICIENT_CREDITS", "Not enough credits for this run.",
                         creditsNeeded=price, creditsLeft=user.credits)
        user.credits -= price
        return price

    # ---- rate limits --------------------------------------------------------
    def count(self, key, route, free_ride=False):
        """One request on a limited route; gives the headers for its success."""
        user, limit, now = key.user, key.user.limit, time.time()
        if limit is None:
            if pick(True, False):
                return {}
            limit = 1_000_000
        slot = (key.secret if bad("limit-per-key") else user.id, route)
        window = self.windows.get(slot)
        if window is None or now >= window[0]:
            end = pick((int(now) // WINDOW + 1) * WINDOW, math.ceil(now) + WINDOW)
            window = self.windows[slot] = [end, 0]
        over = window[1] >= limit
        if not over and not free_ride:
            window[1] += 1
        headers = {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(max(0, limit - window[1])),
                   "X-RateLimit-Reset": str(int(window[0]))}
        if over:
            wait = max(1, math.ceil(window[0] - now))
            context = {"tier": user.tier, "limit": limit}
            if not bad("429-without-retry-after"):
                context["retryAfter"], headers["Retry-After"] = wait, str(wait)
            raise Refuse(429, "RATE_LIMIT_EXCEEDED", f"Over {limit} requests a minute on this route.", headers,
                         **context)
        return headers

    # ---- executions ---------------------------------------------------------
    def spawn(self, work):
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def drive(self, ex):
        began = time.monotonic()
        try:
            await asyncio.wait_for(ex.stop.wait(), ex.seconds)
        except asyncio.TimeoutError:
            return self.end(ex, ex.outcome)
        left = ex.seconds - (time.monotonic() - began)
        lag = min(0.12, self.run_seconds / 3)
        if ex.status == "cancel_requested":
            if left <= lag:                              # the provider was faster
                await asyncio.sleep(max(0.0, left))
                return self.end(ex, ex.outcome)
            await asyncio.sleep(lag)
            self.end(ex, "cancelled")
        if bad("cancelled-resurrects"):
            await asyncio.sleep(max(0.0, ex.seconds - (time.monotonic() - began)))
            ex.status = "completed"

    def end(self, ex, status):
        if ex.status in FINAL:
            return
        ex.status, ex.ended = status, iso()
        if status == "failed":
            ex.error = {"code": "EXECUTION_FAILED", "message": "The provider reported an error."}
        self.close_row(ex.row, ex.user, status, ex.error and ex.error["code"])
        if ex.key.hooked:
            self.spawn(self.deliver(ex))

    async def deliver(self, ex):
        note = {"event": "execution." + ex.status, "executionId": ex.id, "requestId": ex.row["requestId"],
                "userId": ex.user.id, "workflowSlug": ex.slug, "modelIds": ex.row["modelIds"], "status": ex.status,
                "creditsCost": ex.row["creditsCost"], "createdAt": ex.created, "endedAt": ex.ended}
        if ex.status == "completed":
            note["result"] = ex.result
        if ex.error:
            note["error"] = ex.error
        raw = answer(200, note).body
        secret = ex.key.hook_secret
        if bad("other-key-secret"):
            secret = next(k.hook_secret for k in self.named.values() if k.user is ex.user and k.hook_secret)
        for pause in pick((0, 0.3, 1.0), (0, 0.15, 0.4, 1.2)):
            await asyncio.sleep(pause)
            t = int(time.time())
            signed = raw if bad("signature-body-only") else str(t).encode() + b"." + raw
            mark = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
            headers = {"Content-Type": "application/json", "User-Agent": "Knouds-Webhook/1",
                       "X-Knouds-Signature": f"t={t},v1={mark}"}
            try:
                async with self.gate, self.http.post(ex.key.hook_url, data=raw, headers=headers,
                                                     allow_redirects=False) as reply:
                    if 200 <= reply.status < 300:
                        return
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
                pass


WORLD: World = None

# --------------------------------------------------------------------------
# Routes
# --------------------------------------------------------------------------
ROUTES = []


def route(method, path, key=True):
    def keep(handler):
        ROUTES.append((method, path.strip("/").split("/"), handler, key))
        return handler
    return keep


@dataclass
class Call:
    request: web.Request
    method: str
    path: str
    key: Key | None = None

    @property
    def user(self):
        return self.key.user

    @property
    def query(self):
        return self.request.query

    def need(self, *needs):
        if self.key.may(*needs):
            return
        required = pick(list(needs) if len(needs) > 1 else needs[0], needs[0])
        if bad("required-misspelt"):
            required = json.loads(json.dumps(required).replace(":", "."))
        raise Refuse(403, "CAPABILITY_DENIED", "This key lacks a capability: " + " or ".join(needs), required=required)

    async def raw(self):
        try:
            return await self.request.read()
        except web.HTTPRequestEntityTooLarge:
            raise Refuse(pick(413, 400), "BODY_TOO_LARGE", "The body is too large.") from None
        except (web.HTTPException, aiohttp.ClientError, ValueError, aiohttp.http_exceptions.HttpProcessingError):
            raise Refuse(400, "INVALID_BODY", "The body cannot be read.") from None

    async def json(self):
        raw = await self.raw()
        try:
            return json.loads(raw.decode("utf-8"), parse_float=finite, parse_constant=no_constant)
        except (ValueError, RecursionError):
            if not raw.strip():
                raise Refuse(400, pick("INVALID_BODY", "INVALID_INPUTS" if self.path.endswith("/run")
                                       else "INVALID_BODY"), "The body is empty.") from None
            if self.path.endswith("/run") and bad("bad-json-500"):
                raise Refuse(500, "INTERNAL_ERROR", "Unexpected token in JSON.") from None
            raise Refuse(400, "INVALID_BODY", "The body is no JSON.") from None

    async def object(self):
        value = await self.json()
        if not isinstance(value, dict):
            raise Refuse(400, "INVALID_BODY", "The body must be a JSON object.")
        return value


def unauthorized():
    return Refuse(401, pick("UNAUTHORIZED", "UNAUTHENTICATED"), "Unauthorized")


def authenticate(call):
    given = call.request.headers.get("x-api-key", "").strip()
    if not given and bad("bearer-accepted"):
        scheme, _, rest = call.request.headers.get("Authorization", "").partition(" ")
        given = rest.strip() if scheme.lower() == "bearer" else ""
    key = WORLD.keys.get(given)
    if key is None and bad("key-tail-ignored") and len(given) >= 28:
        key = next((k for s, k in WORLD.keys.items() if s[:28] == given[:28]), None)
    if key is None:
        raise unauthorized()
    if key.state == "legacy":
        raise Refuse(401, "LEGACY_KEY_RETIRED", "This key was made before May 2026; make a new one.")
    if key.state == "revoked" and not (bad("revoked-reads-usage") and call.path.startswith("/api/usage")):
        raise unauthorized()
    if not key.user.approved and not bad("unapproved-passes"):
        raise unauthorized()
    call.key = key
    WORLD.latest_user = key.user


SESSION_ONLY = re.compile(r"/api/(me|credits|api-keys|business/admin)(/|\Z)")


@web.middleware
async def dispatch(request, handler):
    try:
        return await serve(request)
    except Refuse as r:
        return refusal(r)
    except asyncio.CancelledError:
        raise
    except Exception as e:                                # a bug of ours
        print("bug:", request.method, request.raw_path, repr(e), file=sys.stderr)
        return answer(500, {"error": "Internal error", "code": "INTERNAL_ERROR"})


async def serve(request):
    path = request.raw_path.split("?", 1)[0]
    parts = [unquote(p) for p in path.strip("/").split("/")]
    method = "GET" if request.method == "HEAD" else request.method
    call = Call(request, method, path)
    if SESSION_ONLY.match(path):
        if pick(True, False):
            authenticate(call)
            raise Refuse(403, "SESSION_REQUIRED", "Only a browser session reaches this endpoint.")
        raise Refuse(404, "NOT_FOUND", "No such endpoint.")
    allowed = set()
    for verb, pattern, handler, needs_key in ROUTES:
        if len(pattern) != len(parts) or path.endswith("/"):
            continue
        if any(not p.startswith(":") and p != given for p, given in zip(pattern, parts)):
            continue
        if verb != method:
            allowed.add(verb)
            continue
        if needs_key:
            authenticate(call)
        return await handler(call, *[g for p, g in zip(pattern, parts) if p.startswith(":")])
    if allowed:
        raise Refuse(pick(405, 404), pick("METHOD_NOT_ALLOWED", "NOT_FOUND"), "No such method here.",
                     {"Allow": ", ".join(sorted(allowed))} if pick(True, False) else None)
    raise Refuse(404, "NOT_FOUND", "No such endpoint.")


@route("GET", "/api/health", key=False)
async def health(call):
    return answer(200, pick({"status": "ok"}, {"ok": True, "service": "knouds", "time": iso()}))


@route("GET", "/api/pricing/public", key=False)
async def pricing(call):
    plans = [{"tier": t, "monthlyCredits": c, "rateLimit": r if t not in ("free", "creator") else None,
              "apiAccess": t not in ("free", "creator")}
             for t, (_, r, c) in TIERS.items()]
    models = {m.name: m.credits for m in MODELS.values() if m.enabled}
    return answer(200, pick({"tiers": {p["tier"]: p for p in plans}, "models": models}, {"plans": plans}))


@route("GET", "/api/whoami")
async def whoami(call):
    u = call.user
    return answer(200, {"user": {"id": u.id, "email": u.name + "@example.com", "role": u.role, "tier": u.tier,
                                 "approved": u.approved}})


# ---- workflows --------------------------------------------------------------
def no_workflow():
    return Refuse(404, "WORKFLOW_NOT_FOUND", "No such workflow.")


def find(slug):
    if not SLUG.match(slug) and pick(False, True):
        raise Refuse(400, "INVALID_SLUG", "A slug holds lowercase letters, digits and hyphens.")
    flow = WORLD.flows.get(slug)
    if flow is None:
        raise no_workflow()
    return flow


def readable(call, slug):
    flow = find(slug)
    if flow.owner is not call.user and not flow.template:
        raise pick(no_workflow(), Refuse(403, "FORBIDDEN", "This workflow is somebody else's."))
    return flow


def owned(call, slug):
    flow = find(slug)
    if flow.owner is not call.user:
        raise pick(no_workflow(), Refuse(403, "FORBIDDEN", "This workflow is somebody else's."))
    return flow


def misshapen(text):
    return Refuse(pick(400, 422), pick("INVALID_WORKFLOW", "VALIDATION_FAILED"), text)


def clean(body, whole):
    """The fields of a document out of a request's body, checked; `whole`: with defaults for the rest."""
    doc = {}

    def has(name):
        return name in body

    if has("name") or whole:
        if not isinstance(body.get("name"), str) or not body["name"].strip() or len(body["name"]) > 500:
            raise misshapen("`name` must be a text of 1 to 500 characters.")
        doc["name"] = body["name"]
    if has("description"):
        if body["description"] is not None and not isinstance(body["description"], str):
            raise misshapen("`description` must be a text.")
        doc["description"] = body["description"]
    if has("tags") and body["tags"] is not None:
        if not isinstance(body["tags"], list) or not all(isinstance(t, str) for t in body["tags"]):
            raise misshapen("`tags` must be an array of texts.")
        doc["tags"] = body["tags"]
    if has("publicPlayground") and body["publicPlayground"] is not None:
        if not isinstance(body["publicPlayground"], bool):
            raise misshapen("`publicPlayground` must be true or false.")
        doc["publicPlayground"] = body["publicPlayground"]
    if has("folderId"):
        if body["folderId"] is not None and not isinstance(body["folderId"], str):
            raise misshapen("`folderId` must be a text or null.")
        doc["folderId"] = body["folderId"]
    if has("viewport"):
        view = body["viewport"]
        if not isinstance(view, dict) or not all(is_number(view.get(k, 0)) for k in ("x", "y", "zoom")):
            raise misshapen("`viewport` must hold the numbers x, y and zoom.")
        doc["viewport"] = {"x": 0, "y": 0, "zoom": 1, **view}
    if has("nodes"):
        if not isinstance(body["nodes"], list):
            raise misshapen("`nodes` must be an array.")
        doc["nodes"] = [clean_node(n) for n in body["nodes"]]
    if has("edges"):
        if not isinstance(body["edges"], list):
            raise misshapen("`edges` must be an array.")
        doc["edges"] = [clean_edge(e) for e in body["edges"]]
    if bad("astral-lost"):
        doc = drop_astral(doc)
    return doc


def clean_node(node):
    if not isinstance(node, dict) or not all(isinstance(node.get(k), str) and node[k] for k in ("id", "type")):
        raise misshapen("A node needs an `id` and a `type`.")
    place = node.get("position", {"x": 0, "y": 0})
    if not isinstance(place, dict) or not all(is_number(place.get(k)) for k in ("x", "y")):
        raise misshapen("A node's `position` holds the numbers x and y.")
    if not isinstance(node.get("data", {}), dict):
        raise misshapen("A node's `data` must be an object.")
    if bad("rounded-positions"):
        place = {**place, "x": round(place["x"]), "y": round(place["y"])}
    return {**node, "position": place, "data": node.get("data", {})}


def clean_edge(edge):
    if not isinstance(edge, dict) or not all(isinstance(edge.get(k), str) for k in ("id", "source", "target")):
        raise misshapen("An edge needs an `id`, a `source` and a `target`.")
    for k in ("sourceHandle", "targetHandle"):
        if not isinstance(edge.get(k), (str, type(None))):
            raise misshapen("An edge's handles are texts.")
    return {"sourceHandle": None, "targetHandle": None, **edge}


def stamp(doc):
    """A fresh updatedAt, later than the last one."""
    now = iso()
    while now <= doc.get("updatedAt", "") and doc["updatedAt"].endswith("Z"):
        now = iso(datetime.fromisoformat(doc["updatedAt"][:-1] + "+00:00") + timedelta(milliseconds=1))
    doc["updatedAt"] = now


def free_slug(name):
    base = slug_of(name)
    if base not in WORLD.flows:
        return base
    return next(s for s in (f"{base}-{n}" for n in itertools.count(2)) if s not in WORLD.flows)


def shown(doc):
    doc = dict(doc)
    if doc.get("description") is None:
        doc.pop("description", None)
        if pick(True, False):
            doc["description"] = ""
    return doc


def summary(flow):
    d = flow.doc
    return {"slug": d["slug"], "name": d["name"], "description": d.get("description") or pick("", None),
            "tags": d["tags"], "isTemplate": flow.template, "hidden": False, "archived": False,
            "createdBy": d["createdBy"], "estimatedCreditCost": flow.price(), "folderId": d["folderId"],
            "updatedAt": d["updatedAt"]}


@route("GET", "/api/workflows")
async def list_workflows(call):
    call.need("workflow:read")
    mine = [w for w in WORLD.flows.values() if w.owner is call.user or w.template]
    mine.sort(key=lambda w: w.doc["updatedAt"], reverse=pick(True, False))
    return answer(200, [summary(w) for w in mine])


@route("POST", "/api/workflows")
async def create_workflow(call):
    headers = WORLD.count(call.key, "create") if OTHER else {}
    call.need("workflow:write")
    body = await call.object()
    doc = clean(body, whole=True)
    if call.user.tier == "free" and not call.user.admin:
        had = sum(w.owner is call.user for w in WORLD.flows.values())
        if had >= (2 if bad("free-second-workflow") else 1):
            raise Refuse(pick(403, 402), pick("WORKFLOW_LIMIT_REACHED", "PLAN_LIMIT"),
                         "A Free account holds one workflow.", tier="free")
    slug = free_slug(doc["name"])
    if bad("slug-race"):
        await asyncio.sleep(0.03)
    doc = {"slug": slug, "tags": [], "nodes": [], "edges": [], "viewport": {"x": 0, "y": 0, "zoom": 1},
           "publicPlayground": False, "folderId": None, **doc, "createdBy": call.user.id}
    stamp(doc)
    WORLD.flows[slug] = Workflow(call.user, doc)
    return answer(pick(201, 200), pick(shown(doc), {"success": True, "slug": slug}), headers)


@route("GET", "/api/workflows/:slug")
async def get_workflow(call, slug):
    call.need("workflow:read")
    flow = readable(call, slug)
    if bad("stale-get"):
        at, kept = WORLD.doc_cache.get((call.user.id, slug), (0, None))
        if time.monotonic() - at < 2.0:
            return answer(200, kept)
        WORLD.doc_cache[call.user.id, slug] = (time.monotonic(), copy.deepcopy(shown(flow.doc)))
    return answer(200, shown(flow.doc))


def forget(slug):
    for slot in [s for s in WORLD.doc_cache if s[1] == slug]:
        del WORLD.doc_cache[slot]


@route("PUT", "/api/workflows/:slug")
async def update_workflow(call, slug):
    call.need("workflow:write")
    body = await call.object()
    flow = owned(call, slug)
    change = clean(body, whole=False)
    if bad("put-clears-edges") and "nodes" in change and "edges" not in change:
        change["edges"] = []
    renamed = "name" in change and change["name"] != flow.doc["name"]
    flow.doc.update(change)
    stamp(flow.doc)
    if renamed and bad("rename-moves-slug") and slug_of(change["name"]) != slug:
        del WORLD.flows[slug]
        flow.doc["slug"] = free_slug(change["name"])
        WORLD.flows[flow.doc["slug"]] = flow
    return answer(200, pick(shown(flow.doc), {"success": True}))


@route("PUT", "/api/workflows/:slug/move")
async def move_workflow(call, slug):
    call.need("workflow:read" if bad("move-with-read") else "workflow:write")
    body = await call.object()
    flow = owned(call, slug)
    if "folderId" not in body or not isinstance(body["folderId"], (str, type(None))):
        raise misshapen("`folderId` must be a text or null.")
    flow.doc["folderId"] = body["folderId"]
    stamp(flow.doc)
    if bad("moved-date"):
        flow.doc["updatedAt"] = format_datetime(datetime.now(timezone.utc), usegmt=True)
    forget(slug)
    return answer(200, pick({"slug": slug, "folderId": body["folderId"]}, {"success": True}))


@route("DELETE", "/api/workflows/:slug")
async def delete_workflow(call, slug):
    call.need("workflow:write")
    owned(call, slug)
    del WORLD.flows[slug]
    forget(slug)
    return answer(200, pick({"success": True, "slug": slug}, {"deleted": True}))


def schema_of(flow):
    fields = flow.fields()
    values = {f["name"]: f.get("default") for f in fields}
    return {"fields": fields, "values": values, "name": flow.doc["name"],
            "description": flow.doc.get("description") or ""}


@route("GET", "/api/workflows/:slug/schema")
async def schema(call, slug):
    call.need("workflow:read")
    flow = readable(call, slug)
    return answer(200, {**schema_of(flow), "estimatedCreditCost": flow.price()})


@route("GET", "/api/workflows/:slug/public-schema", key=False)
async def public_schema(call, slug):
    flow = find(slug)
    if flow.doc.get("publicPlayground") is not True:
        raise no_workflow()
    return answer(200, schema_of(flow))


# ---- runs -------------------------------------------------------------------
def check_name(name):
    if not SLUG.match(name):
        raise Refuse(400, "INVALID_SLUG", "Only lowercase letters, digits and hyphens.")


async def run_inputs(call):
    body = await call.json()
    if not isinstance(body, dict):
        raise Refuse(400, pick("INVALID_BODY", "INVALID_INPUTS"), "The body must be a JSON object.")
    inputs = body.get("inputs")
    if inputs == [] and bad("empty-array-inputs"):
        return {}
    if not isinstance(inputs, dict):
        raise Refuse(400, "INVALID_INPUTS", "`inputs` must be an object.")
    return inputs


def wants_async(call):
    return call.query.get("async") == "true"


def result_of(models, inputs, defaults=None):
    out = {}
    given = {**(defaults or {}), **inputs}
    for name in models:
        kind = MODELS[name].kind
        if kind == "text":
            out.setdefault("text", []).append("You asked: " + str(given.get("prompt", ""))[:2000])
        else:
            out.setdefault(kind, []).append(
                f"https://cdn.knouds.ai/out/{secrets.token_hex(12)}.{EXTENSIONS[kind]}")
    if not models:
        out["text"] = [str(given.get("prompt", ""))[:2000]]
    return out


async def run_now(call, headers, slug, models, price, result, outcome, seconds):
    user, began = call.user, time.monotonic()
    paid = WORLD.charge(user, price)
    row = WORLD.open_row(user, slug, models, "api-workflow" if slug else "api-slim", paid)
    await asyncio.sleep(seconds)
    WORLD.close_row(row, user, outcome, "EXECUTION_FAILED" if outcome == "failed" else None)
    if bad("row-booked-to-last") and WORLD.latest_user is not user:
        WORLD.by_user[user.id].remove(row)
        row["userId"] = WORLD.latest_user.id
        WORLD.by_user[row["userId"]].append(row)
    ms = max(1, round((time.monotonic() - began) * 1000))
    if outcome == "failed":
        if bad("failed-run-200"):
            return answer(200, {"success": False, "result": None, "cost": 0, "ms": ms}, headers)
        raise Refuse(500, "EXECUTION_FAILED", "The provider reported an error.", headers if OTHER else None)
    cost = paid
    if bad("trial-cost-shown") and user.trial is not None:
        cost = price or 0
    if bad("cost-in-usd"):
        cost = round(cost * USD_PRICE, 6)
    body = {"success": True, "result": result, "cost": cost, "ms": ms}
    if slug is None and pick(False, True):
        del body["ms"]
    return answer(200, body, headers)


async def run_later(call, headers, slug, models, price, result, outcome, seconds):
    if bad("slow-submit"):
        await asyncio.sleep(0.9)
    user, key = call.user, call.key
    paid = WORLD.charge(user, price)
    row = WORLD.open_row(user, slug, models, "api-workflow" if slug else "api-slim", paid)
    ex = Execution(user, key, slug, models, row, result, outcome, seconds)
    WORLD.executions[ex.id] = ex
    WORLD.spawn(WORLD.drive(ex))
    hook = {"configured": key.hooked}
    if key.hooked:
        hook["url"] = key.hook_url
    body = {"_async": True, "executionId": ex.id, "requestId": row["requestId"], "status": "processing",
            "webhookDelivery": hook, "pollUrl": "/api/executions/" + ex.id}
    if slug:
        body["workflowSlug"] = slug
    return answer(pick(202, 200), body, headers)


@route("POST", "/api/workflows/:slug/run")
async def run_workflow(call, slug):
    if bad("uppercase-slug-runs"):
        slug = slug.lower()
    later = wants_async(call)
    uncounted = later and bad("async-uncounted")
    inputs = None
    if OTHER:
        headers = WORLD.count(call.key, "workflow-run", uncounted)
        call.need("workflow:run", f"workflow:{slug}:run")
        check_name(slug)
        inputs = await run_inputs(call)
    else:
        check_name(slug)
        call.need("workflow:run", f"workflow:{slug}:run")
        headers = WORLD.count(call.key, "workflow-run", uncounted)
    flow = WORLD.flows.get(slug)
    if flow is None or flow.owner is not call.user and not (flow.template and pick(True, False)):
        raise no_workflow()
    if inputs is None:
        inputs = await run_inputs(call)
    models = flow.models()
    result = result_of(models, inputs, {f["name"]: f.get("default") for f in flow.fields()})
    if later:
        return await run_later(call, headers, slug, models, flow.price(), result, flow.outcome,
                               WORLD.run_seconds * flow.factor)
    return await run_now(call, headers, slug, models, flow.price(), result, flow.outcome, flow.sync_seconds)


@route("POST", "/api/models/:internalName/run")
async def run_model(call, name):
    if bad("uppercase-slug-runs"):
        name = name.lower()
    later = wants_async(call)
    uncounted = later and bad("async-uncounted")
    inputs = None
    if OTHER:
        headers = WORLD.count(call.key, "model-run", uncounted)
        call.need("model:run", f"model:{name}:run")
        check_name(name)
        business_gate(call, later)
        inputs = await run_inputs(call)
        model = find_model(name)
    else:
        check_name(name)
        call.need("model:run", f"model:{name}:run")
        headers = WORLD.count(call.key, "model-run", uncounted)
        model = find_model(name)
        business_gate(call, later)
    user = call.user
    exempt = user.admin or bad("pro-model-async") and later and model.tier == "business"
    if user.rank < TIERS[model.tier][0] and not exempt:
        raise tier_required(user, model.tier)
    if later and not model.polled:
        raise Refuse(400, "ASYNC_NOT_SUPPORTED", f"{name} runs only synchronously.")
    if inputs is None:
        inputs = await run_inputs(call)
    result = result_of([name], inputs)
    if later:
        return await run_later(call, headers, None, [name], model.credits, result, "completed", WORLD.run_seconds)
    return await run_now(call, headers, None, [name], model.credits, result, "completed", 0.08)


def tier_required(user, tier):
    return Refuse(403, "MODEL_TIER_REQUIRED", f"This model needs the {tier} tier.", requiredTier=tier, tier=user.tier)


def business_gate(call, later):
    user = call.user
    if user.admin and not (bad("admin-gated-on-models") and user.tier == "pro"):
        return
    if later and bad("pro-model-async"):
        return
    if user.rank < TIERS["business"][0]:
        raise pick(tier_required(user, "business"),
                   Refuse(403, "CAPABILITY_DENIED", "Model runs need Business.", required="model:run"))


def find_model(name):
    model = MODELS.get(name)
    if model is None or not model.enabled:
        raise Refuse(404, "MODEL_NOT_FOUND", "No such model.")
    return model


# ---- executions -------------------------------------------------------------
def execution_view(ex):
    body = {"executionId": ex.id, "status": ex.status}
    if pick(True, False):
        body.update(requestId=ex.row["requestId"], workflowSlug=ex.slug, modelIds=ex.row["modelIds"],
                    createdAt=ex.created, endedAt=ex.ended)
    if ex.status == "completed":
        body["result"] = ex.result
    if ex.status == "failed":
        body["error"] = ex.error
    return body


def no_execution():
    return Refuse(404, "EXECUTION_NOT_FOUND", "No such execution.")


@route("GET", "/api/executions/:id")
async def poll(call, id):
    call.need("execution:read")
    ex = WORLD.executions.get(id)
    if ex is None and bad("execution-404-text"):
        return web.Response(status=404, text="Not Found")
    if ex is None or ex.user is not call.user and not (bad("ended-execution-open") and ex.status in FINAL):
        raise no_execution()
    return answer(200, execution_view(ex))


@route("POST", "/api/executions/:id/cancel")
async def cancel(call, id):
    headers = WORLD.count(call.key, "cancel") if OTHER else {}
    call.need("execution:cancel")
    ex = WORLD.executions.get(id)
    if ex is None and bad("execution-404-text"):
        return web.Response(status=404, text="Not Found")
    if ex is None or ex.user is not call.user and not bad("foreign-cancel"):
        raise no_execution()
    if ex.status in FINAL:
        if pick(True, False):
            raise Refuse(409, "EXECUTION_ENDED", "This execution has ended.", currentStatus=ex.status)
        return answer(200, {"executionId": ex.id, "status": ex.status}, headers)
    if ex.status == "processing":
        if pick(True, False):
            ex.status = "cancel_requested"
        else:
            WORLD.end(ex, "cancelled")
        ex.stop.set()
    return answer(pick(200, 202), {"executionId": ex.id, "status": ex.status}, headers)


# ---- usage ------------------------------------------------------------------
def whole_number(call, name, default, low, high):
    given = call.query.get(name)
    if given is None:
        return default
    if re.fullmatch(r"[0-9]{1,15}", given) and low <= int(given) <= high:
        return int(given)
    if pick(False, True):
        raise Refuse(400, "INVALID_QUERY", f"`{name}` must be a number from {low} to {high}.")
    return high if re.fullmatch(r"[0-9]+", given) and int(given[:18]) > high else default


def row_status(row):
    return row["status"]


@route("GET", "/api/usage")
async def usage(call):
    limit = whole_number(call, "limit", 20 if bad("usage-default-20") else 50, 1, 500)
    offset = whole_number(call, "offset", 0, 0, 10 ** 9)
    status = call.query.get("status")
    if status not in (None, "processing", "completed", "failed", "cancelled"):
        if pick(False, True):
            raise Refuse(400, "INVALID_QUERY", "`status` is processing, completed or failed.")
        status = None
    if status == "cancelled" and pick(False, True):
        status = None
    model, slug = call.query.get("modelId"), call.query.get("workflowSlug")
    rows = WORLD.by_user[call.user.id]
    if slug is not None and bad("usage-filter-leak"):
        rows = WORLD.rows
    rows = [r for r in rows if r["source"] != "canvas"
            and (status is None or row_status(r) == status)
            and (model is None or model in r["modelIds"])
            and (slug is None or r["workflowSlug"] == slug)]
    rows.sort(key=lambda r: r["id"], reverse=True)
    start = offset * limit if bad("offset-as-page") else offset
    page = [{k: v for k, v in r.items() if k != "_began"} for r in rows[start:start + limit]]
    return answer(200, {"rows": page, "page": offset // limit + pick(1, 0), "pageSize": limit, "total": len(rows)})


@route("GET", "/api/usage/models")
async def usage_models(call):
    found = {}
    for row in WORLD.by_user[call.user.id]:
        if row["source"] != "canvas" or pick(False, True):
            found.update(dict.fromkeys(row["modelIds"]))
    return answer(200, pick({"models": list(found)}, list(found)))


# --------------------------------------------------------------------------
# Start
# --------------------------------------------------------------------------
class JsonProtocolErrors(web_protocol.RequestHandler):
    """HTTP that cannot even be parsed is refused in the API's envelope as well."""
    def handle_error(self, request, status=500, exc=None, message=None):
        if status >= 500:
            print("bug:", repr(exc), file=sys.stderr)
        reply = answer(status, {"error": "Bad request", "code": "BAD_REQUEST"})
        reply.force_close()
        return reply


async def main(options):
    global WORLD, MODELS
    MODELS = _models()
    WORLD = World(options.run_seconds, options.webhook_url)
    WORLD.populate()
    WORLD.gate = asyncio.Semaphore(24)
    WORLD.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
    web_protocol.RequestHandler.handle_error = JsonProtocolErrors.handle_error
    app = web.Application(client_max_size=MAX_BODY, middlewares=[dispatch])     # it has no routes of its own
    runner = web.AppRunner(app, access_log=None, max_field_size=65536, max_line_size=65536,
                           keepalive_timeout=75, auto_decompress=False)
    await runner.setup()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", options.port))
    await web.SockSite(runner, sock, backlog=512).start()
    base = "http://127.0.0.1:%d" % sock.getsockname()[1]
    print(json.dumps(WORLD.ready(base)), flush=True)
    done = asyncio.Event()
    for s in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(s, done.set)
    await done.wait()
    await WORLD.http.close()
    await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A stand-in for the Knouds REST API.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fault", choices=list(FAULTS), metavar="NAME")
    parser.add_argument("--other-way", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--run-seconds", type=float, default=0.4)
    parser.add_argument("--webhook-url", metavar="URL")
    parser.add_argument("--webhook-secret", help="not used: each key has its own")
    opts = parser.parse_args()
    if opts.list:
        for name, (does, breaks, core, subtle) in FAULTS.items():
            print(name, does, breaks, *["core"] * core, *["subtle"] * subtle, sep="\t")
        sys.exit()
    FAULT, OTHER = opts.fault, opts.other_way
    asyncio.run(main(opts))
