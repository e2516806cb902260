#!/usr/bin/env python3
"""A second, independent server of the Knouds REST API: starlette + uvicorn, sqlite3 in memory.

    python server.py --port 0 [--fault NAME] [--other-way] [--webhook-url URL --webhook-secret S]
    python server.py --list

Everything runs on one event loop, and the store is one sqlite connection used from that loop only: code
without an `await` in it is therefore atomic.  `choose(a, b)` marks every point the sources leave open:
`a` is the usual decision, `b` the one under --other-way.  `broken(name)` marks the place of a fault.
"""
import argparse
import asyncio
import hashlib
import hmac
import json
import math
import re
import secrets
import socket
import sqlite3
import sys
import time
import unicodedata
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

# ------------------------------------------------------------------------------------------------------------
# 1. The faults
# ------------------------------------------------------------------------------------------------------------

# name | kind | core | area | the promise it breaks
FAULT_TABLE = """
auth-bearer-fallback | plain | core | authentication | [docs] the key goes in x-api-key; Authorization: Bearer is not accepted
auth-cache-before-checks | subtle | core | authentication | [docs] a revoked or legacy key is 401; [overview] so is a key of an unapproved account - on every request, not just the first
auth-legacy-cutoff-local-time | subtle | core | authentication | [docs] a key made before May 2026 is 401 LEGACY_KEY_RETIRED
session-admin-bypass | plain | core | authentication | [overview] /api/me, /api/credits/*, /api/api-keys/*, /api/business/admin/* are for browser sessions; no API key reaches them
cap-bound-prefix | subtle | core | capabilities | [overview] workflow:<slug>:run meets a run only where the request names that very workflow
cap-bound-any-model | plain | core | capabilities | [overview] model:<internalName>:run meets a run only where the request names that very model
cap-cancel-checks-read | plain | core | capabilities | [overview] cancel needs execution:cancel; [docs] capabilities are orthogonal
env-unknown-route-text | plain | - | envelopes | [overview] every response, errors included, is a JSON object with error and code
val-inputs-array | plain | - | validation | [docs] inputs that is an array is 400 INVALID_INPUTS
val-bad-utf8-500 | subtle | - | validation | [docs] a body that is no JSON is 400 INVALID_BODY
wf-move-foreign | plain | core | workflows and ownership | [overview] move needs ownership
wf-list-public-leak | subtle | core | workflows and ownership | [docs] the list holds one's own workflows, plus others' with isTemplate: true - nothing else
wf-update-moves-slug | plain | - | workflows and ownership | [docs] the slug never changes on an update
wf-slug-race | subtle | - | concurrency | [docs] create appends -2, -3, ... while a slug is taken (also when two creates meet)
schema-public-shows-cost | plain | - | schemas | [docs] estimatedCreditCost is only on the authenticated schema
schema-public-cached | subtle | - | schemas | [docs] the public schema is 404 unless publicPlayground is true (also after it was switched off)
run-failure-200 | plain | - | sync runs | [docs] provider failed: 500 EXECUTION_FAILED
run-second-node-free | subtle | core | sync runs | [docs] credits are charged per generator node
model-tier-as-text | subtle | core | models | [overview] model runs are for Business and up
model-claude-async | plain | - | models | [overview] claude-sonnet?async=true is 400 ASYNC_NOT_SUPPORTED
async-submit-blocks | plain | - | async executions | [docs] a submit answers in under 500 ms
async-foreign-workflow | subtle | core | async executions | [docs] a foreign slug is 404 on a run
async-poll-foreign | plain | core | async executions | [docs] polling a foreign id is 404
async-result-once | subtle | core | async executions | [docs] a completed execution has its result, on every poll
cancel-refunded | plain | core | cancel | [overview] a cancelled run is always charged
cancel-before-ownership | subtle | core | cancel | [docs] one cancels an in-flight run of one's own
cancel-overwritten-by-runner | subtle | core | cancel | [docs] cancelled is final: nothing leaves it; [docs] one webhook POST per ended execution
hook-without-capability | plain | core | webhooks | [docs] delivery needs webhook:receive on the key
hook-signed-other-bytes | subtle | - | webhooks | [docs] v1 = HMAC-SHA256(secret, "<t>.<raw body>")
hook-office-clock | subtle | - | webhooks | [docs] t is unix seconds; receivers refuse |now - t| > 300 s
usage-filter-precedence | subtle | core | usage | [overview] usage shows only one's own API rows, canvas runs left out
usage-offset-off-by-one | subtle | - | usage | [docs] offset skips that many rows (no row on two pages, none lost)
usage-internal-ids | plain | - | usage | [docs] usage rows show no provider-internal model ids such as fal:...
credits-race | subtle | core | concurrency | [docs] too few credits: 402 INSUFFICIENT_CREDITS (also for requests in parallel)
credits-async-twice | subtle | core | credits | [docs] a run's credits are charged once per generator node
grant-reports-cost | plain | core | credits | [docs] cost is 0 where a trial grant paid
rate-per-key | subtle | - | rate limits | [docs] the limit is per user and route, whatever the key
rate-one-too-many | plain | - | rate limits | [docs] 100 (pro) or 1,000 (business) requests in a window, then 429
whoami-approved-int | plain | - | whoami and pricing | [docs] whoami's approved is a bool
pricing-behind-key | plain | - | whoami and pricing | [overview] GET /api/pricing/public needs no key
"""

FAULTS = [
    {"name": name, "promise": promise, "kind": kind, "area": area, "core": core == "core"}
    for name, kind, core, area, promise in
    (tuple(part.strip() for part in line.split("|", 4)) for line in FAULT_TABLE.strip().splitlines())
]


@dataclass
class Settings:
    fault: str = ""
    other_way: bool = False
    webhook_url: str = ""
    webhook_secret: str = ""


CFG = Settings()


def broken(name):
    return CFG.fault == name


def choose(usual, other):
    return other if CFG.other_way else usual


# ------------------------------------------------------------------------------------------------------------
# 2. Constants
# ------------------------------------------------------------------------------------------------------------

TIER_RANK = {"free": 0, "creator": 1, "pro": 2, "business": 3, "enterprise": 4}
TIER_LIMIT = {"free": 100, "creator": 100, "pro": 100, "business": 1000, "enterprise": None}
TIER_CREDITS = {"free": 250, "creator": 1700, "pro": 5000, "business": 11329, "enterprise": 250000}
CEILING_PRO = {"workflow", "webhook", "execution"}
CEILING_BUSINESS = CEILING_PRO | {"model", "agent"}

WINDOW = 60
MAX_BODY = 1_000_000
FINAL = ("completed", "failed", "cancelled")
IN_FLIGHT = ("processing", "cancel_requested")
USD_PER_CREDIT = 0.01
LEGACY_CUTOFF = datetime(2026, 5, 1, tzinfo=timezone.utc)
OFFICE = timezone(timedelta(hours=2))
NAME_RULE = re.compile(r"[a-z0-9-]+")
FIELD_TYPES = ("text", "textarea", "number", "slider", "pills", "toggle", "image", "video")


def now_iso(moment=None):
    moment = moment or datetime.now(timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


# ------------------------------------------------------------------------------------------------------------
# 3. Store
# ------------------------------------------------------------------------------------------------------------

SCHEMA = """
CREATE TABLE users (
    id TEXT PRIMARY KEY, email TEXT NOT NULL, role TEXT NOT NULL, tier TEXT NOT NULL, approved INTEGER NOT NULL,
    credits INTEGER NOT NULL, grant_left INTEGER            -- NULL: never had a trial grant; 0: used up
);
CREATE TABLE api_keys (
    secret TEXT PRIMARY KEY, name TEXT UNIQUE NOT NULL, user_id TEXT NOT NULL REFERENCES users(id),
    capabilities TEXT NOT NULL, created_at TEXT NOT NULL, revoked INTEGER NOT NULL DEFAULT 0,
    hook_url TEXT, hook_secret TEXT
);
CREATE TABLE models (
    name TEXT PRIMARY KEY, backend TEXT NOT NULL, output TEXT NOT NULL, unit TEXT NOT NULL, rate INTEGER NOT NULL,
    min_tier TEXT NOT NULL, disabled INTEGER NOT NULL, fails INTEGER NOT NULL, internal_id TEXT,
    sync_s REAL NOT NULL, async_s REAL NOT NULL
);
CREATE TABLE workflows (
    slug TEXT PRIMARY KEY, owner TEXT NOT NULL REFERENCES users(id), doc TEXT NOT NULL, public INTEGER NOT NULL,
    is_template INTEGER NOT NULL DEFAULT 0, hidden INTEGER NOT NULL DEFAULT 0, archived INTEGER NOT NULL DEFAULT 0,
    folder_id TEXT, updated_at TEXT NOT NULL
);
CREATE TABLE usage (
    id INTEGER PRIMARY KEY AUTOINCREMENT, user_id TEXT NOT NULL, slug TEXT, primary_model TEXT, models TEXT NOT NULL,
    status TEXT NOT NULL, source TEXT NOT NULL, cost REAL NOT NULL, credits INTEGER NOT NULL, duration_ms INTEGER,
    error_code TEXT, request_id TEXT NOT NULL, created_at TEXT NOT NULL
);
CREATE TABLE usage_models (usage_id INTEGER NOT NULL, model TEXT NOT NULL);
CREATE TABLE executions (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL, key_secret TEXT NOT NULL, usage_id INTEGER NOT NULL, slug TEXT,
    models TEXT NOT NULL, request_id TEXT NOT NULL, status TEXT NOT NULL, result TEXT, error_code TEXT,
    error_message TEXT, price INTEGER NOT NULL, charged INTEGER NOT NULL, paid_from TEXT NOT NULL,
    created_at TEXT NOT NULL, ended_at TEXT, started REAL NOT NULL
);
CREATE TABLE rate_windows (bucket TEXT PRIMARY KEY, start INTEGER NOT NULL, used INTEGER NOT NULL);
CREATE INDEX usage_by_user ON usage(user_id, id);
CREATE INDEX usage_models_by_id ON usage_models(usage_id);
"""

db = sqlite3.connect(":memory:", isolation_level=None)
db.row_factory = sqlite3.Row


def one(sql, *args):
    return db.execute(sql, args).fetchone()


def rows(sql, *args):
    return db.execute(sql, args).fetchall()


def run(sql, *args):
    return db.execute(sql, args)


# ------------------------------------------------------------------------------------------------------------
# 4. Answers and errors
# ------------------------------------------------------------------------------------------------------------

class ApiError(Exception):
    def __init__(self, status, code, message, headers=None, **context):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers, self.context = headers or {}, context

    def body(self):
        return {"error": self.message, "code": self.code, **self.context}


def answer(body, status=200, headers=None):
    return Response(json.dumps(body).encode("ascii"), status_code=status, headers=headers,
                    media_type="application/json")


def endpoint(handler):
    """Give a handler the error envelope, and every answer of it the rate-limit headers collected on the way."""
    async def wrapped(request):
        request.state.rate_headers = {}
        try:
            response = await handler(request)
        except ApiError as err:
            response = answer(err.body(), err.status, err.headers)
        except Exception as err:  # a bug of ours: still JSON
            print(f"internal error: {handler.__name__}: {err!r}", file=sys.stderr, flush=True)
            response = answer({"error": "Something went wrong", "code": "INTERNAL_ERROR"}, 500)
        for name, value in request.state.rate_headers.items():
            response.headers[name] = value
        return response
    return wrapped


async def on_http_exception(request, exc):
    if exc.status_code == 405:
        status = choose(405, 404)
        return answer({"error": "This method is not available here",
                       "code": choose("METHOD_NOT_ALLOWED", "ROUTE_NOT_FOUND")},
                      status, exc.headers if status == 405 else None)
    if broken("env-unknown-route-text"):
        return PlainTextResponse("Not Found", status_code=404)
    return answer({"error": "There is nothing at this address", "code": choose("NOT_FOUND", "ROUTE_NOT_FOUND")},
                  exc.status_code)


# ------------------------------------------------------------------------------------------------------------
# 5. Authentication
# ------------------------------------------------------------------------------------------------------------

@dataclass
class Identity:
    secret: str
    user_id: str
    email: str
    role: str
    tier: str
    approved: int
    capabilities: list
    hook_url: str
    hook_secret: str

    @property
    def is_admin(self):
        return self.role == "admin"


identity_cache = {}


def unauthorized():
    return ApiError(401, choose("UNAUTHORIZED", "INVALID_API_KEY"), "Unauthorized")


def is_legacy(created_at):
    made = datetime.fromisoformat(created_at)
    if broken("auth-legacy-cutoff-local-time"):
        return made.astimezone(OFFICE).replace(tzinfo=None) < datetime(2026, 5, 1)
    return made < LEGACY_CUTOFF


def authenticate(request):
    secret = request.headers.get("x-api-key", "")
    if broken("auth-bearer-fallback") and not secret:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        secret = token.strip() if scheme.lower() == "bearer" else ""
    if not secret.startswith("knouds_live_"):
        raise unauthorized()
    if secret in identity_cache:
        return identity_cache[secret]
    row = one("SELECT k.*, u.email, u.role, u.tier, u.approved FROM api_keys k JOIN users u ON u.id = k.user_id "
              "WHERE k.secret = ?", secret)
    if row is None:
        raise unauthorized()
    who = Identity(secret, row["user_id"], row["email"], row["role"], row["tier"], row["approved"],
                   json.loads(row["capabilities"]), row["hook_url"], row["hook_secret"])
    if broken("auth-cache-before-checks"):
        identity_cache[secret] = who
    if row["revoked"]:
        raise unauthorized()
    if is_legacy(row["created_at"]):
        raise ApiError(401, "LEGACY_KEY_RETIRED", "Keys made before May 2026 were retired; make a new one")
    if not row["approved"]:
        raise unauthorized()
    identity_cache[secret] = who
    return who


@endpoint
async def session_only(request):
    """Browser sessions only. Sessions are not part of this server, so nobody passes."""
    if broken("session-admin-bypass"):
        who = authenticate(request)
        if who.is_admin:
            return answer({"user": {"id": who.user_id, "email": who.email, "role": who.role}})
    raise ApiError(choose(401, 403), choose("SESSION_REQUIRED", "SESSION_ONLY"),
                   "This endpoint is for browser sessions; API keys cannot use it")


# ------------------------------------------------------------------------------------------------------------
# 6. Capabilities
# ------------------------------------------------------------------------------------------------------------

def bound_matches(caps, bound):
    """bound is e.g. 'workflow:my-slug:run'."""
    if broken("cap-bound-any-model") and bound.startswith("model:"):
        return any(cap.startswith("model:") and cap.endswith(":run") for cap in caps)
    if broken("cap-bound-prefix") and bound.startswith("workflow:"):
        return any(cap.endswith(":run") and bound.startswith(cap[:-len(":run")])
                   for cap in caps if cap.count(":") == 2)
    return bound in caps


def holds(who, required, bound=None):
    caps = who.capabilities
    resource = required.split(":")[0]
    if "*" in caps:
        if who.is_admin:
            return True
        # a star on a plain account: worth nothing, or (other way) worth what its tier may grant
        ceiling = CEILING_BUSINESS if TIER_RANK.get(who.tier, 2) >= 3 else CEILING_PRO
        if choose(False, TIER_RANK.get(who.tier, 2) >= 2 and resource in ceiling):
            return True
    if required in caps or f"{resource}:*" in caps:
        return True
    return bound is not None and bound_matches(caps, bound)


def demand(who, required, bound=None):
    if holds(who, required, bound):
        return
    named = choose(required, [required] + ([bound] if bound else []))
    raise ApiError(403, "CAPABILITY_DENIED", f"This key lacks the capability {bound or required}", required=named)


# ------------------------------------------------------------------------------------------------------------
# 7. Rate limits
# ------------------------------------------------------------------------------------------------------------

# Limited: the two run endpoints. The other way, every keyed endpoint but whoami and the poll.
ALWAYS_LIMITED = ("workflow-run", "model-run")


def take_rate(request, who, route):
    if route not in ALWAYS_LIMITED and not CFG.other_way:
        return
    limit = None if who.is_admin else TIER_LIMIT.get(who.tier, 100)
    now = time.time()
    start = choose(int(now) // WINDOW * WINDOW, int(now))
    if limit is None:
        if CFG.other_way:
            request.state.rate_headers = rate_headers(1_000_000, 1_000_000, start + WINDOW)
        return
    bucket = f"{who.secret if broken('rate-per-key') else who.user_id}/{route}"
    row = one("SELECT start, used FROM rate_windows WHERE bucket = ?", bucket)
    if row is None or row["start"] + WINDOW <= now:
        used = 0
    else:
        start, used = row["start"], row["used"]
    reset = start + WINDOW
    full = used > limit if broken("rate-one-too-many") else used >= limit
    if full:
        wait = max(1, math.ceil(reset - now))
        raise ApiError(429, "RATE_LIMIT_EXCEEDED", f"More than {limit} requests in a minute",
                       {**rate_headers(limit, 0, reset), "Retry-After": str(wait)},
                       tier=who.tier, limit=limit, retryAfter=wait)
    run("INSERT OR REPLACE INTO rate_windows VALUES (?, ?, ?)", bucket, start, used + 1)
    request.state.rate_headers = rate_headers(limit, max(0, limit - used - 1), reset)


def rate_headers(limit, remaining, reset):
    return {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(int(reset))}


# ------------------------------------------------------------------------------------------------------------
# 8. Bodies
# ------------------------------------------------------------------------------------------------------------

async def slurp(request):
    """The raw body; None when it is too large (it is read to its end, so that the client hears the answer)."""
    parts, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= MAX_BODY:
            parts.append(chunk)
    return b"".join(parts) if size <= MAX_BODY else None


def no_constants(name):
    raise ValueError(f"{name} is not JSON")


def finite_float(text):
    value = float(text)
    return value if math.isfinite(value) else no_constants(text)


def parse_object(raw, not_object_code="INVALID_BODY"):
    if raw is None:
        raise ApiError(choose(413, 400), choose("PAYLOAD_TOO_LARGE", "INVALID_BODY"), "The body is too large")
    if broken("val-bad-utf8-500"):
        text = raw.decode("utf-8")
    else:
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise ApiError(400, "INVALID_BODY", "The body is not UTF-8") from None
    if not text.strip():
        raise ApiError(400, not_object_code, "The body is empty")
    try:
        body = json.loads(text, parse_constant=no_constants, parse_float=finite_float)
    except (ValueError, RecursionError):
        raise ApiError(400, "INVALID_BODY", "The body is not JSON") from None
    if not isinstance(body, dict):
        raise ApiError(400, not_object_code, "The body must be a JSON object")
    return body


def read_inputs(raw):
    inputs = parse_object(raw, choose("INVALID_BODY", "INVALID_INPUTS")).get("inputs")
    allowed = (dict, list) if broken("val-inputs-array") else dict
    if not isinstance(inputs, allowed):
        raise ApiError(400, "INVALID_INPUTS", "inputs must be an object")
    return dict(inputs) if isinstance(inputs, dict) else {}


def check_name(name):
    if not NAME_RULE.fullmatch(name):
        raise ApiError(400, "INVALID_SLUG", "Only lowercase letters, digits and hyphens are allowed here")


# ------------------------------------------------------------------------------------------------------------
# 9. Workflow documents
# ------------------------------------------------------------------------------------------------------------

def doc_error(message):
    return ApiError(choose(400, 422), choose("INVALID_WORKFLOW", "VALIDATION_FAILED"), message)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def need(condition, message):
    if not condition:
        raise doc_error(message)


def check_document(body, creating):
    """The known members of a document, checked; unknown and server-owned ones are dropped."""
    doc = {}
    if creating or "name" in body:
        name = body.get("name")
        need(isinstance(name, str) and name.strip() and len(name) <= 200, "name must be a text of 1 to 200 characters")
        doc["name"] = name
    if "description" in body:
        need(body["description"] is None or isinstance(body["description"], str), "description must be a text")
        doc["description"] = body["description"]
    if "tags" in body:
        tags = body["tags"] if body["tags"] is not None else []
        need(isinstance(tags, list) and all(isinstance(tag, str) for tag in tags), "tags must be a list of texts")
        doc["tags"] = tags
    if "nodes" in body:
        doc["nodes"] = check_nodes(body["nodes"])
    if "edges" in body:
        doc["edges"] = check_edges(body["edges"])
    if "viewport" in body:
        view = body["viewport"]
        need(isinstance(view, dict) and all(is_number(view.get(k)) for k in ("x", "y", "zoom")),
             "viewport needs the numbers x, y and zoom")
        doc["viewport"] = view
    if "publicPlayground" in body:
        need(isinstance(body["publicPlayground"], bool), "publicPlayground must be true or false")
        doc["publicPlayground"] = body["publicPlayground"]
    if "folderId" in body:
        doc["folderId"] = check_folder(body["folderId"])
    return doc


def check_nodes(nodes):
    need(isinstance(nodes, list), "nodes must be a list")
    for node in nodes:
        need(isinstance(node, dict), "a node must be an object")
        need(all(isinstance(node.get(k), str) and node[k] for k in ("id", "type")), "a node needs an id and a type")
        place = node.get("position")
        need(isinstance(place, dict) and is_number(place.get("x")) and is_number(place.get("y")),
             "a node needs a position of x and y")
        need(isinstance(node.get("data"), dict), "a node needs data")
    need(len({node["id"] for node in nodes}) == len(nodes), "node ids must differ")
    return nodes


def check_edges(edges):
    need(isinstance(edges, list), "edges must be a list")
    for edge in edges:
        need(isinstance(edge, dict), "an edge must be an object")
        need(all(isinstance(edge.get(k), str) and edge[k] for k in ("id", "source", "target")),
             "an edge needs id, source and target")
        need(all(edge.get(k) is None or isinstance(edge[k], str) for k in ("sourceHandle", "targetHandle")),
             "edge handles must be texts")
    return [{"sourceHandle": None, "targetHandle": None, **edge} for edge in edges]


def check_folder(folder):
    need(folder is None or (isinstance(folder, str) and 0 < len(folder) <= 200), "folderId must be a text or null")
    try:
        (folder or "").encode("utf-8")
    except UnicodeEncodeError:
        raise doc_error("folderId is not valid Unicode") from None
    return folder


def slug_of(name):
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:80].strip("-") or "workflow"


def free_slug(base):
    slug, number = base, 1
    while one("SELECT 1 FROM workflows WHERE slug = ?", slug):
        number += 1
        slug = f"{base}-{number}"
    return slug


def node_kind(node):
    return re.sub(r"[^a-z]", "", node["type"].lower())


def request_fields(doc):
    """The fields of the Request Input node, whatever its spelling."""
    for node in doc["nodes"]:
        if node_kind(node) in ("requestinput", "requestinputnode"):
            listed = node["data"].get("fields")
            return [clean_field(f) for f in listed if isinstance(f, dict) and isinstance(f.get("name"), str)] \
                if isinstance(listed, list) else []
    return []


def clean_field(raw):
    kind = raw.get("type") if raw.get("type") in FIELD_TYPES else "text"
    return {**raw, "type": kind}


def default_of(item):
    for member in ("default", "defaultValue", "value"):
        if member in item:
            return item[member]
    return None


def generators(doc):
    """(node, model row) of each generator node."""
    found = []
    for node in doc["nodes"]:
        name = node["data"].get("model") or node["data"].get("modelId")
        model = one("SELECT * FROM models WHERE name = ?", name) if isinstance(name, str) and name.isascii() else None
        if model:
            found.append((node, model))
    return found


def fill(value, values):
    """Replace {{field}} in a node parameter."""
    if not isinstance(value, str):
        return value
    whole = re.fullmatch(r"\{\{\s*([\w-]+)\s*\}\}", value)
    if whole:
        return values.get(whole.group(1))
    return re.sub(r"\{\{\s*([\w-]+)\s*\}\}", lambda m: str(values.get(m.group(1), "")), value)


def node_params(node, values):
    params = node["data"].get("params")
    return {k: fill(v, values) for k, v in params.items()} if isinstance(params, dict) else {}


def amount(value, fallback, top):
    if not is_number(value) or not math.isfinite(value):
        return fallback
    return min(top, max(1, math.ceil(value)))


def price_of(model, params):
    if model["unit"] == "image":
        return model["rate"] * amount(params.get("images"), 1, 8)
    if model["unit"] == "second":
        return model["rate"] * amount(params.get("duration"), 5, 15)
    return model["rate"]


def estimate(doc):
    found = generators(doc)
    if not found:
        return None
    values = {f["name"]: default_of(f) for f in request_fields(doc)}
    return sum(price_of(model, node_params(node, values)) for node, model in found)


@dataclass
class Workflow:
    slug: str
    owner: str
    doc: dict
    public: bool
    is_template: bool
    hidden: bool
    archived: bool
    folder_id: str
    updated_at: str

    @classmethod
    def of(cls, row):
        return cls(row["slug"], row["owner"], json.loads(row["doc"]), bool(row["public"]), bool(row["is_template"]),
                   bool(row["hidden"]), bool(row["archived"]), row["folder_id"], row["updated_at"])

    def document(self):
        body = {"slug": self.slug, "name": self.doc["name"]}
        if self.doc.get("description") is not None:
            body["description"] = self.doc["description"]
        body.update(tags=self.doc["tags"], nodes=self.doc["nodes"], edges=self.doc["edges"],
                    viewport=self.doc["viewport"], publicPlayground=self.public, createdBy=self.owner,
                    folderId=self.folder_id, updatedAt=self.updated_at)
        return body

    def summary(self):
        body = {"slug": self.slug, "name": self.doc["name"],
                "description": self.doc.get("description") or choose("", None), "tags": self.doc["tags"],
                "isTemplate": self.is_template, "hidden": self.hidden, "archived": self.archived,
                "createdBy": self.owner, "estimatedCreditCost": estimate(self.doc), "folderId": self.folder_id,
                "updatedAt": self.updated_at}
        if CFG.other_way:
            body["thumbnail"] = f"https://cdn.knouds.example/thumbs/{self.slug}.webp"
        return body

    def schema(self, with_cost):
        fields = request_fields(self.doc)
        values = {f["name"]: default_of(f) for f in fields}
        if CFG.other_way:
            values = {name: value for name, value in values.items() if value is not None}
        body = {"fields": fields, "values": values, "name": self.doc["name"],
                "description": self.doc.get("description") or ""}
        if with_cost:
            body["estimatedCreditCost"] = estimate(self.doc)
        return body

    def save(self, insert=False):
        self.updated_at = now_iso()
        run(f"INSERT {'' if insert else 'OR REPLACE'} INTO workflows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self.slug, self.owner, json.dumps(self.doc), self.public, self.is_template, self.hidden, self.archived,
            self.folder_id, self.updated_at)

    def apply(self, changes):
        changes = dict(changes)
        self.public = changes.pop("publicPlayground", self.public)
        self.folder_id = changes.pop("folderId", self.folder_id)
        self.doc.update(changes)


def find_workflow(slug):
    row = one("SELECT * FROM workflows WHERE slug = ?", slug)
    return Workflow.of(row) if row else None


def workflow_missing():
    return ApiError(404, choose("NOT_FOUND", "WORKFLOW_NOT_FOUND"), "There is no such workflow")


# ------------------------------------------------------------------------------------------------------------
# 10. Workflow endpoints
# ------------------------------------------------------------------------------------------------------------

def slug_in_path(request):
    slug = request.path_params["slug"]
    if not NAME_RULE.fullmatch(slug):
        if CFG.other_way:
            check_name(slug)
        raise workflow_missing()
    return slug


def readable(who, slug):
    flow = find_workflow(slug)
    if flow is None:
        raise workflow_missing()
    if flow.owner == who.user_id or (flow.is_template and not CFG.other_way):
        return flow
    if CFG.other_way:
        raise ApiError(403, "NOT_YOUR_WORKFLOW", "This workflow belongs to somebody else")
    raise workflow_missing()


def writable(who, slug):
    flow = find_workflow(slug)
    if flow is None:
        raise workflow_missing()
    if flow.owner != who.user_id:
        if CFG.other_way:
            raise workflow_missing()
        raise ApiError(403, "FORBIDDEN", "Only its owner may change a workflow")
    return flow


public_schema_cache = {}


@endpoint
async def list_workflows(request):
    who = authenticate(request)
    demand(who, "workflow:read")
    take_rate(request, who, "workflow-list")
    mine_or_shared = "owner = ? OR is_template = 1"
    if broken("wf-list-public-leak"):
        mine_or_shared += " OR public = 1"
    found = rows(f"SELECT * FROM workflows WHERE {mine_or_shared} ORDER BY updated_at DESC, slug", who.user_id)
    return answer([Workflow.of(row).summary() for row in found])


@endpoint
async def get_workflow(request):
    who = authenticate(request)
    demand(who, "workflow:read")
    take_rate(request, who, "workflow-get")
    return answer(readable(who, slug_in_path(request)).document())


@endpoint
async def get_schema(request):
    who = authenticate(request)
    demand(who, "workflow:read")
    take_rate(request, who, "workflow-schema")
    return answer(readable(who, slug_in_path(request)).schema(with_cost=True))


@endpoint
async def get_public_schema(request):
    slug = request.path_params["slug"]
    if slug not in public_schema_cache:
        flow = find_workflow(slug)
        if flow is None or not flow.public:
            raise workflow_missing()
        public_schema_cache[slug] = flow.schema(with_cost=broken("schema-public-shows-cost"))
    return answer(public_schema_cache[slug])


async def refresh_prices():
    """The price list lives with another service; the look-up takes a moment."""
    await asyncio.sleep(0.01)


@endpoint
async def create_workflow(request):
    raw = await slurp(request)
    who = authenticate(request)
    demand(who, "workflow:write")
    take_rate(request, who, "workflow-create")
    doc = check_document(parse_object(raw), creating=True)
    if broken("wf-slug-race"):
        slug = free_slug(slug_of(doc["name"]))
        await refresh_prices()
    else:
        await refresh_prices()
        slug = free_slug(slug_of(doc["name"]))
    owned = one("SELECT COUNT(*) AS n FROM workflows WHERE owner = ?", who.user_id)["n"]
    if who.tier == "free" and not who.is_admin and owned >= 1:
        raise ApiError(choose(403, 409), choose("WORKFLOW_LIMIT_REACHED", "FREE_TIER_LIMIT"),
                       "The Free tier holds one workflow")
    blank = {"tags": [], "nodes": [], "edges": [], "viewport": {"x": 0, "y": 0, "zoom": 1}}
    flow = Workflow(slug, who.user_id, blank, False, False, False, False, None, "")
    flow.apply(doc)
    flow.save(insert=True)
    if CFG.other_way:
        return answer({"success": True, "slug": slug, "createdBy": who.user_id, "updatedAt": flow.updated_at}, 200)
    return answer(flow.document(), 201)


@endpoint
async def update_workflow(request):
    raw = await slurp(request)
    who = authenticate(request)
    demand(who, "workflow:write")
    take_rate(request, who, "workflow-update")
    slug = slug_in_path(request)
    if CFG.other_way:
        changes, flow = check_document(parse_object(raw), creating=False), writable(who, slug)
    else:
        flow, changes = writable(who, slug), check_document(parse_object(raw), creating=False)
    flow.apply(changes)
    if broken("wf-update-moves-slug") and "name" in changes and slug_of(changes["name"]) != slug:
        run("DELETE FROM workflows WHERE slug = ?", slug)
        flow.slug = free_slug(slug_of(changes["name"]))
    flow.save()
    if not broken("schema-public-cached"):
        public_schema_cache.pop(slug, None)
    if CFG.other_way:
        return answer({"success": True, "slug": flow.slug, "updatedAt": flow.updated_at})
    return answer(flow.document())


@endpoint
async def move_workflow(request):
    raw = await slurp(request)
    who = authenticate(request)
    demand(who, "workflow:write")
    take_rate(request, who, "workflow-move")
    slug = slug_in_path(request)
    if broken("wf-move-foreign"):
        flow = find_workflow(slug)
        if flow is None:
            raise workflow_missing()
    else:
        flow = writable(who, slug)
    body = parse_object(raw)
    need("folderId" in body, "folderId is missing")
    flow.folder_id = check_folder(body["folderId"])
    flow.save()
    if CFG.other_way:
        return answer({"slug": slug, "folderId": flow.folder_id})
    return answer(flow.document())


@endpoint
async def delete_workflow(request):
    who = authenticate(request)
    demand(who, "workflow:write")
    take_rate(request, who, "workflow-delete")
    flow = writable(who, slug_in_path(request))
    run("DELETE FROM workflows WHERE slug = ?", flow.slug)
    public_schema_cache.pop(flow.slug, None)
    return answer(choose({"success": True, "slug": flow.slug}, {"deleted": flow.slug}))


# ------------------------------------------------------------------------------------------------------------
# 11. Credits and trial grants
# ------------------------------------------------------------------------------------------------------------

@dataclass
class Payment:
    paid_from: str          # credits | grant | nothing
    taken: int              # what was taken from that purse
    charged: int            # credits charged to the account


def no_credits():
    return ApiError(402, "INSUFFICIENT_CREDITS", "There are not enough credits for this run")


async def collect(who, price):
    """Take the price of a run before it starts."""
    await refresh_prices()
    if price == 0:
        return Payment("nothing", 0, 0)
    user = one("SELECT credits, grant_left FROM users WHERE id = ?", who.user_id)
    if user["grant_left"] is not None:
        piece = choose(1, price)        # a grant of runs, or (other way) a grant of credits
        taken = run("UPDATE users SET grant_left = grant_left - ? WHERE id = ? AND grant_left >= ?",
                    piece, who.user_id, piece)
        if taken.rowcount == 0:
            raise ApiError(402, "grant_exhausted", "The trial grant is used up")
        return Payment("grant", piece, price if broken("grant-reports-cost") else 0)
    if broken("credits-race"):
        if user["credits"] < price:
            raise no_credits()
        await refresh_prices()
        run("UPDATE users SET credits = ? WHERE id = ?", user["credits"] - price, who.user_id)
        return Payment("credits", price, price)
    taken = run("UPDATE users SET credits = credits - ? WHERE id = ? AND credits >= ?", price, who.user_id, price)
    if taken.rowcount == 0:
        raise no_credits()
    return Payment("credits", price, price)


def give_back(user_id, paid_from, taken):
    if paid_from == "credits":
        run("UPDATE users SET credits = credits + ? WHERE id = ?", taken, user_id)
    elif paid_from == "grant":
        run("UPDATE users SET grant_left = grant_left + ? WHERE id = ?", taken, user_id)


# ------------------------------------------------------------------------------------------------------------
# 12. The providers
# ------------------------------------------------------------------------------------------------------------

class ProviderFailed(Exception):
    pass


@dataclass
class Job:
    slug: str               # None for a direct model run
    steps: list             # (model row, params)
    price: int
    request_id: str = field(default_factory=lambda: choose("req_" + secrets.token_hex(10), str(uuid.uuid4())))

    @property
    def source(self):
        return "api-workflow" if self.slug else "api-slim"

    @property
    def names(self):
        """What is recorded: our names, and the id by which the provider knows the model."""
        names = []
        for model, _ in self.steps:
            for name in (model["name"], model["internal_id"]):
                if name and name not in names:
                    names.append(name)
        return names


def shown_models(names):
    return [name for name in names if ":" not in name]


async def produce(job, is_async):
    """Run the steps one after the other and gather what they made."""
    result = {}
    for model, params in job.steps:
        await asyncio.sleep(model["async_s"] / len(job.steps) if is_async else model["sync_s"])
        if model["fails"]:
            raise ProviderFailed(f"{model['name']}: the provider gave up")
        if model["output"] == "text":
            text = f"{model['name']}: {params.get('prompt') or ''}"
            result["text"] = choose(text, [text])
            continue
        count = amount(params.get("images"), 1, 8) if model["unit"] == "image" else 1
        suffix = {"images": "png", "videos": "mp4", "audios": "mp3"}[model["output"]]
        result.setdefault(model["output"], []).extend(
            f"https://cdn.knouds.example/{job.request_id}/{model['name']}-{n}.{suffix}" for n in range(1, count + 1))
    return result


# ------------------------------------------------------------------------------------------------------------
# 13. Runs
# ------------------------------------------------------------------------------------------------------------

background = set()


def in_background(coroutine):
    task = asyncio.get_running_loop().create_task(coroutine)
    background.add(task)
    task.add_done_callback(background.discard)


def resolve(fields, inputs):
    """Check what was sent against the fields; left-out fields fall back to their defaults."""
    values = {}
    for item in fields:
        name, kind = item["name"], item["type"]
        value = inputs.get(name)
        if value is None:
            values[name] = default_of(item)
            continue
        if not fits(kind, item, value):
            if not CFG.other_way:
                raise ApiError(400, "INVALID_INPUTS", f"inputs.{name} is no valid {kind}", field=name)
            value = default_of(item)
        values[name] = value
    return values


def fits(kind, item, value):
    if kind in ("number", "slider"):
        low, high = item.get("min"), item.get("max")
        return is_number(value) and (not is_number(low) or value >= low) and (not is_number(high) or value <= high)
    if kind == "toggle":
        return isinstance(value, bool)
    if kind == "pills":
        return value in item["options"] if isinstance(item.get("options"), list) else isinstance(value, str)
    if kind in ("image", "video"):
        return isinstance(value, str) and (value == "" or value.startswith("https://"))
    return isinstance(value, str)


def runnable(who, slug):
    flow = find_workflow(slug)
    if flow and (flow.owner == who.user_id or (flow.is_template and CFG.other_way)):
        return flow
    raise workflow_missing()


def plan_workflow(flow, inputs):
    values = resolve(request_fields(flow.doc), inputs)
    steps = [(model, node_params(node, values)) for node, model in generators(flow.doc)]
    priced = steps[:1] if broken("run-second-node-free") else steps
    return Job(flow.slug, steps, sum(price_of(model, params) for model, params in priced))


def model_fields(model):
    fields = [{"name": "prompt", "type": "textarea", "default": "A lighthouse at dawn"}]
    if model["unit"] == "image":
        fields.append({"name": "images", "type": "slider", "min": 1, "max": 4, "step": 1, "default": 1})
    if model["unit"] == "second":
        fields.append({"name": "duration", "type": "slider", "min": 1, "max": 15, "step": 1, "default": 5})
    if model["output"] in ("images", "videos"):
        fields.append({"name": "image_url", "type": "image", "default": ""})
    return fields


def plan_model(model, inputs):
    params = resolve(model_fields(model), inputs)
    return Job(None, [(model, params)], price_of(model, params))


def wants_async(request):
    return request.query_params.get("async") == "true"


@endpoint
async def run_workflow(request):
    raw = await slurp(request)
    who = authenticate(request)
    slug = request.path_params["slug"]
    find = (lambda _, s: find_workflow(s) or runnable(who, s)) \
        if broken("async-foreign-workflow") and wants_async(request) else runnable
    if CFG.other_way:
        inputs = read_inputs(raw)
        demand(who, "workflow:run", f"workflow:{slug}:run")
        check_name(slug)
        job = plan_workflow(find(who, slug), inputs)
        take_rate(request, who, "workflow-run")
    else:
        check_name(slug)
        demand(who, "workflow:run", f"workflow:{slug}:run")
        take_rate(request, who, "workflow-run")
        flow = find(who, slug)
        job = plan_workflow(flow, read_inputs(raw))
    payment = await collect(who, job.price)
    if wants_async(request):
        if broken("async-submit-blocks"):
            await asyncio.sleep(0.65)       # until the queue's next tick has picked the job up
        return submit(who, job, payment)
    usage_id, started = open_usage(who, job, payment), time.monotonic()
    try:
        result = await produce(job, is_async=False)
    except ProviderFailed as err:
        settle_failure(usage_id, who.user_id, payment, started)
        body = {"error": str(err), "code": "EXECUTION_FAILED", "requestId": job.request_id}
        if broken("run-failure-200"):
            return answer({"success": False, **body})
        return answer(body, 500)
    took = milliseconds(started)
    close_usage(usage_id, "completed", payment.charged, took)
    return answer({"success": True, "result": result, "cost": payment.charged, "ms": took})


def find_model(name):
    model = one("SELECT * FROM models WHERE name = ?", name)
    if model is None or model["disabled"]:
        raise ApiError(404, "MODEL_NOT_FOUND", f"There is no model {name}")
    return model


def check_tier(who, model):
    if who.is_admin:
        return
    if broken("model-tier-as-text"):
        allowed = who.tier >= "business" and who.tier >= model["min_tier"]
    else:
        allowed = TIER_RANK.get(who.tier, 2) >= max(TIER_RANK["business"], TIER_RANK[model["min_tier"]])
    if allowed:
        return
    if CFG.other_way and TIER_RANK.get(who.tier, 2) < TIER_RANK["business"]:
        raise ApiError(403, "CAPABILITY_DENIED", "Model runs are not part of this plan", required="model:run")
    raise ApiError(403, "MODEL_TIER_REQUIRED", f"This model needs the {model['min_tier']} tier",
                   requiredTier=model["min_tier"])


def check_async_support(model):
    unsupported = ("fal",) if broken("model-claude-async") else ("fal", "anthropic")
    if model["backend"] in unsupported:
        raise ApiError(400, "ASYNC_NOT_SUPPORTED", f"{model['name']} cannot run asynchronously")


@endpoint
async def run_model(request):
    raw = await slurp(request)
    who = authenticate(request)
    name = request.path_params["name"]
    if CFG.other_way:
        inputs = read_inputs(raw)
        demand(who, "model:run", f"model:{name}:run")
        check_name(name)
        model = find_model(name)
        check_tier(who, model)
        if wants_async(request):
            check_async_support(model)
        job = plan_model(model, inputs)
        take_rate(request, who, "model-run")
    else:
        check_name(name)
        demand(who, "model:run", f"model:{name}:run")
        take_rate(request, who, "model-run")
        model = find_model(name)
        check_tier(who, model)
        if wants_async(request):
            check_async_support(model)
        job = plan_model(model, read_inputs(raw))
    payment = await collect(who, job.price)
    if wants_async(request):
        return submit(who, job, payment)
    usage_id, started = open_usage(who, job, payment), time.monotonic()
    try:
        result = await produce(job, is_async=False)
    except ProviderFailed as err:
        settle_failure(usage_id, who.user_id, payment, started)
        raise ApiError(500, "EXECUTION_FAILED", str(err), requestId=job.request_id) from None
    took = milliseconds(started)
    close_usage(usage_id, "completed", payment.charged, took)
    body = {"success": True, "result": result, "cost": payment.charged, "ms": took}
    if CFG.other_way:
        body["requestId"] = job.request_id
    return answer(body)


def milliseconds(started):
    return round((time.monotonic() - started) * 1000)


# ------------------------------------------------------------------------------------------------------------
# 14. Usage rows
# ------------------------------------------------------------------------------------------------------------

def add_usage(user_id, slug, names, status, source, price, credits, duration, error_code, request_id, created_at):
    shown = shown_models(names)
    cursor = run("INSERT INTO usage (user_id, slug, primary_model, models, status, source, cost, credits, duration_ms, "
                 "error_code, request_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                 user_id, slug, shown[0] if shown else None, json.dumps(names), status, source,
                 round(price * USD_PER_CREDIT * 0.7, 4), credits, duration, error_code, request_id, created_at)
    for name in names:
        run("INSERT INTO usage_models VALUES (?, ?)", cursor.lastrowid, name)
    return cursor.lastrowid


def open_usage(who, job, payment):
    return add_usage(who.user_id, job.slug, job.names, "processing", job.source, job.price, payment.charged,
                     choose(None, 0), None, job.request_id, now_iso())


def close_usage(usage_id, status, credits, duration, error_code=None):
    run("UPDATE usage SET status = ?, credits = ?, duration_ms = ?, error_code = ? WHERE id = ?",
        status, credits, duration, error_code, usage_id)


def settle_failure(usage_id, user_id, payment, started):
    """A failed run is not charged (the other way, it is)."""
    if not CFG.other_way:
        give_back(user_id, payment.paid_from, payment.taken)
    close_usage(usage_id, "failed", choose(0, payment.charged), milliseconds(started), "EXECUTION_FAILED")


def query_number(request, name, fallback, low, high):
    text = request.query_params.get(name)
    if text is None:
        return fallback
    if not re.fullmatch(r"[0-9]{1,12}", text) or not low <= int(text) <= high:
        if CFG.other_way:
            raise ApiError(400, "INVALID_QUERY", f"{name} must be a number from {low} to {high}")
        return min(high, max(low, int(text))) if re.fullmatch(r"[0-9]{1,12}", text) else fallback
    return int(text)


@endpoint
async def get_usage(request):
    who = authenticate(request)
    take_rate(request, who, "usage")
    limit = query_number(request, "limit", 50, 1, 500)
    offset = query_number(request, "offset", 0, 0, 10 ** 9)
    where, args = ["user_id = ?", "source <> 'canvas'"], [who.user_id]
    status = request.query_params.get("status")
    if status in ("processing", "completed", "failed") or (status == "cancelled" and not CFG.other_way):
        where.append("status = ?")
        args.append(status)
    elif status and status != "cancelled" and CFG.other_way:
        raise ApiError(400, "INVALID_QUERY", "status must be processing, completed or failed")
    if request.query_params.get("workflowSlug"):
        where.append("slug = ?")
        args.append(request.query_params["workflowSlug"])
    if request.query_params.get("modelId"):
        by_model = "primary_model = ? OR id IN (SELECT usage_id FROM usage_models WHERE model = ?)"
        where.append(by_model if broken("usage-filter-precedence") else f"({by_model})")
        args += [request.query_params["modelId"]] * 2
    condition = " AND ".join(where)
    total = one(f"SELECT COUNT(*) AS n FROM usage WHERE {condition}", *args)["n"]
    skip = offset - 1 if broken("usage-offset-off-by-one") and offset > 0 else offset
    found = rows(f"SELECT * FROM usage WHERE {condition} ORDER BY id DESC LIMIT ? OFFSET ?", *args, limit, skip)
    return answer({"rows": [usage_row(row) for row in found], "page": offset // limit + choose(1, 0),
                   "pageSize": limit, "total": total})


def usage_row(row):
    names = json.loads(row["models"])
    return {"id": row["id"], "userId": row["user_id"], "workflowSlug": row["slug"],
            "modelIds": names if broken("usage-internal-ids") else shown_models(names), "status": row["status"],
            "source": row["source"], "cost": row["cost"], "userCost": round(row["credits"] * USD_PER_CREDIT, 4),
            "creditsCost": row["credits"], "durationMs": row["duration_ms"], "errorCode": row["error_code"],
            "requestId": row["request_id"], "createdAt": row["created_at"]}


@endpoint
async def get_usage_models(request):
    who = authenticate(request)
    take_rate(request, who, "usage-models")
    found = rows("SELECT DISTINCT m.model FROM usage_models m JOIN usage u ON u.id = m.usage_id WHERE u.user_id = ? "
                 + choose("AND u.source <> 'canvas' ", "") + "ORDER BY m.model", who.user_id)
    names = shown_models([row["model"] for row in found])
    return answer(choose({"models": names}, names))


# ------------------------------------------------------------------------------------------------------------
# 15. Async executions
# ------------------------------------------------------------------------------------------------------------

def hook_ready(who):
    if not who.hook_url:
        return False
    return broken("hook-without-capability") or holds(who, "webhook:receive")


def submit(who, job, payment):
    execution_id = str(uuid.uuid4())
    usage_id = open_usage(who, job, payment)
    run("INSERT INTO executions (id, user_id, key_secret, usage_id, slug, models, request_id, status, price, charged, "
        "paid_from, created_at, started) VALUES (?, ?, ?, ?, ?, ?, ?, 'processing', ?, ?, ?, ?, ?)",
        execution_id, who.user_id, who.secret, usage_id, job.slug, json.dumps(job.names), job.request_id,
        payment.taken, payment.charged, payment.paid_from, now_iso(), time.monotonic())
    in_background(carry_out(execution_id, job, who))
    delivery = {"configured": hook_ready(who)}
    if delivery["configured"]:
        delivery["url"] = who.hook_url
    body = {"_async": True, "executionId": execution_id, "requestId": job.request_id, "status": "processing",
            "webhookDelivery": delivery, "pollUrl": f"/api/executions/{execution_id}"}
    if job.slug:
        body["workflowSlug"] = job.slug
    return answer(body, choose(200, 202))


async def carry_out(execution_id, job, who):
    try:
        result = await produce(job, is_async=True)
    except ProviderFailed as err:
        finish(execution_id, who, "failed", error=("EXECUTION_FAILED", str(err)))
    else:
        finish(execution_id, who, "completed", result=result)


def finish(execution_id, who, status, result=None, error=(None, None)):
    """Bring an execution to its end. The first who comes decides: nothing leaves a final status."""
    sql = "UPDATE executions SET status = ?, result = ?, error_code = ?, error_message = ?, ended_at = ? WHERE id = ?"
    if not broken("cancel-overwritten-by-runner"):
        sql += " AND status IN ('processing', 'cancel_requested')"
    changed = run(sql, status, json.dumps(result) if result is not None else None, error[0], error[1], now_iso(),
                  execution_id)
    if changed.rowcount == 0:
        return
    row = one("SELECT * FROM executions WHERE id = ?", execution_id)
    credits = row["charged"]
    refundable = choose(("failed",), ())
    if broken("cancel-refunded"):
        refundable += ("cancelled",)
    if status in refundable:
        give_back(row["user_id"], row["paid_from"], row["price"])
        credits = 0
    if broken("credits-async-twice") and status == "completed" and row["paid_from"] == "credits":
        run("UPDATE users SET credits = MAX(0, credits - ?) WHERE id = ?", row["price"], row["user_id"])
        credits += row["price"]
    close_usage(row["usage_id"], status, credits, milliseconds(row["started"]), error[0])
    if hook_ready(who):
        in_background(deliver(who, event_of(row)))


@endpoint
async def get_execution(request):
    who = authenticate(request)
    demand(who, "execution:read")
    execution_id = request.path_params["id"]
    if broken("async-poll-foreign"):
        row = one("SELECT * FROM executions WHERE id = ?", execution_id)
    else:
        row = one("SELECT * FROM executions WHERE id = ? AND user_id = ?", execution_id, who.user_id)
    if row is None:
        raise execution_missing()
    body = {"executionId": row["id"], "status": row["status"]}
    if CFG.other_way:
        body["progress"] = 100 if row["status"] in FINAL else 50
    else:
        body.update(requestId=row["request_id"], workflowSlug=row["slug"], createdAt=row["created_at"],
                    completedAt=row["ended_at"], cost=row["charged"])
    if row["status"] == "completed" and row["result"] is not None:
        body["result"] = json.loads(row["result"])
        if broken("async-result-once"):
            # handed over: large results need not stay in memory
            run("UPDATE executions SET result = NULL WHERE id = ?", row["id"])
    if row["status"] == "failed":
        body["error"] = {"code": row["error_code"], "message": row["error_message"]}
    return answer(body)


def execution_missing():
    return ApiError(404, choose("NOT_FOUND", "EXECUTION_NOT_FOUND"), "There is no such execution")


def request_cancel(execution_id):
    """Ask the provider to stop; it confirms a moment later (the other way, it is believed at once)."""
    row = one("SELECT * FROM executions WHERE id = ? AND status = 'processing'", execution_id)
    if row is None:
        return
    submitter = identity_cache[row["key_secret"]]
    if CFG.other_way:
        finish(execution_id, submitter, "cancelled")
        return
    run("UPDATE executions SET status = 'cancel_requested' WHERE id = ?", execution_id)

    async def confirm():
        await asyncio.sleep(0.06)
        finish(execution_id, submitter, "cancelled")
    in_background(confirm())


@endpoint
async def cancel_execution(request):
    who = authenticate(request)
    demand(who, "execution:read" if broken("cap-cancel-checks-read") else "execution:cancel")
    take_rate(request, who, "execution-cancel")
    execution_id = request.path_params["id"]
    if broken("cancel-before-ownership"):
        request_cancel(execution_id)
    row = one("SELECT * FROM executions WHERE id = ? AND user_id = ?", execution_id, who.user_id)
    if row is None:
        raise execution_missing()
    if row["status"] in FINAL:
        if not CFG.other_way:
            raise ApiError(409, "EXECUTION_ENDED", f"This execution has ended: {row['status']}",
                           currentStatus=row["status"])
        return answer({"executionId": execution_id, "status": row["status"], "cancelled": False})
    request_cancel(execution_id)
    status = one("SELECT status FROM executions WHERE id = ?", execution_id)["status"]
    return answer({"executionId": execution_id, "status": status, "charged": row["charged"]}, choose(202, 200))


# ------------------------------------------------------------------------------------------------------------
# 16. Webhooks
# ------------------------------------------------------------------------------------------------------------

def event_of(row):
    event = {"event": f"execution.{row['status']}", "executionId": row["id"], "requestId": row["request_id"],
             "userId": row["user_id"], "workflowSlug": row["slug"], "modelIds": shown_models(json.loads(row["models"])),
             "status": row["status"]}
    if row["status"] == "completed":
        event["result"] = json.loads(row["result"])
    if row["status"] == "failed":
        event["error"] = {"code": row["error_code"], "message": row["error_message"]}
    event[choose("creditsCost", "cost")] = row["charged"]
    return event


def unix_now():
    if broken("hook-office-clock"):
        return int(datetime.now(OFFICE).replace(tzinfo=timezone.utc).timestamp())
    return int(time.time())


def signature(secret, moment, raw):
    return hmac.new(secret.encode(), f"{moment}.".encode() + raw, hashlib.sha256).hexdigest()


async def deliver(who, event):
    """At most a handful of attempts, until a 2xx; each attempt is signed afresh."""
    raw = json.dumps(event, separators=(",", ":")).encode()
    signed = raw
    if broken("hook-signed-other-bytes"):
        signed = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
    for pause in choose((0, 0.3, 0.8, 2), (0, 0.5, 1.5)):
        await asyncio.sleep(pause)
        moment = unix_now()
        headers = {"Content-Type": "application/json",
                   "X-Knouds-Signature": f"t={moment},v1={signature(who.hook_secret, moment, signed)}"}
        try:
            async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
                if (await client.post(who.hook_url, content=raw, headers=headers)).is_success:
                    return
        except httpx.HTTPError:
            pass


# ------------------------------------------------------------------------------------------------------------
# 17. whoami, pricing, health
# ------------------------------------------------------------------------------------------------------------

@endpoint
async def whoami(request):
    who = authenticate(request)
    approved = who.approved if broken("whoami-approved-int") else bool(who.approved)
    return answer({"user": {"id": who.user_id, "email": who.email, "role": who.role, "tier": who.tier,
                            "approved": approved}})


@endpoint
async def pricing(request):
    if broken("pricing-behind-key"):
        authenticate(request)
    tiers = {tier: {"credits": TIER_CREDITS[tier] if tier != "enterprise" else None, "rateLimit": TIER_LIMIT[tier]
                    if TIER_RANK[tier] >= 2 else None, "apiAccess": TIER_RANK[tier] >= 2} for tier in TIER_RANK}
    if CFG.other_way:
        return answer(tiers)
    models = {row["name"]: {"credits": row["rate"], "per": row["unit"]}
              for row in rows("SELECT * FROM models WHERE disabled = 0 ORDER BY name")}
    return answer({"tiers": [{"id": tier, **facts} for tier, facts in tiers.items()], "models": models})


@endpoint
async def health(request):
    return answer(choose({"status": "ok", "version": "4.13.2"}, {"ok": True, "time": now_iso()}))


# ------------------------------------------------------------------------------------------------------------
# 18. Seeds
# ------------------------------------------------------------------------------------------------------------

PRO_CAPS = ["workflow:run", "workflow:read", "workflow:write", "execution:read", "execution:cancel", "webhook:receive"]
BIZ_CAPS = PRO_CAPS + ["model:run"]

# id, role, tier, approved, credits (None: the tier's), grant (None: none; else runs / credits the other way)
USERS = [
    ("usr_pro_one", "user", "pro", 1, None, None),
    ("usr_pro_two", "user", "pro", 1, None, None),
    ("usr_biz_one", "user", "business", 1, None, None),
    ("usr_biz_two", "user", "business", 1, None, None),
    ("usr_ent", "user", "enterprise", 1, None, None),
    ("usr_admin", "admin", "enterprise", 1, None, None),
    ("usr_star", "user", "pro", 1, None, None),
    ("usr_zero", "user", "pro", 1, 0, None),
    ("usr_low", "user", "pro", 1, 45, None),
    ("usr_trial", "user", "pro", 1, 0, (40, 400)),
    ("usr_spent", "user", "pro", 1, 0, (0, 0)),
    ("usr_waiting", "user", "pro", 0, None, None),
    ("usr_free", "user", "free", 1, None, None),
]

# name, user, capabilities, state, "hook" where a webhook is set
KEYS = [
    ("pro1_full", "usr_pro_one", PRO_CAPS, "active", "hook"),
    ("pro1_second", "usr_pro_one", PRO_CAPS[:5], "active", ""),
    ("pro1_run", "usr_pro_one", ["workflow:run"], "active", ""),
    ("pro1_read", "usr_pro_one", ["workflow:read"], "active", ""),
    ("pro1_write", "usr_pro_one", ["workflow:write"], "active", ""),
    ("pro1_exec_read", "usr_pro_one", ["execution:read"], "active", ""),
    ("pro1_exec_cancel", "usr_pro_one", ["execution:cancel"], "active", ""),
    ("pro1_webhook", "usr_pro_one", ["webhook:receive"], "active", "hook"),
    ("pro1_run_webhook", "usr_pro_one", ["workflow:run", "execution:read", "webhook:receive"], "active", "hook"),
    ("pro1_run_no_webhook", "usr_pro_one", ["workflow:run", "execution:read"], "active", "hook"),
    ("pro1_bound", "usr_pro_one", ["workflow:harbour-poster:run"], "active", ""),
    ("pro1_wildcard", "usr_pro_one", ["workflow:*"], "active", ""),
    ("pro1_model", "usr_pro_one", ["model:run"], "active", ""),
    ("pro2_full", "usr_pro_two", PRO_CAPS, "active", "hook"),
    ("pro2_deploy", "usr_pro_two", ["workflow:run", "workflow:read"], "active", ""),
    ("pro2_bound", "usr_pro_two", ["workflow:meadow-cards:run"], "active", ""),
    ("biz1_full", "usr_biz_one", BIZ_CAPS, "active", "hook"),
    ("biz1_model", "usr_biz_one", ["model:run", "execution:read"], "active", ""),
    ("biz1_bound", "usr_biz_one", ["model:gpt-image-2:run"], "active", ""),
    ("biz1_no_model", "usr_biz_one", PRO_CAPS, "active", ""),
    ("biz2_full", "usr_biz_two", BIZ_CAPS, "active", "hook"),
    ("biz2_bound", "usr_biz_two", ["model:nano-banana-2:run"], "active", ""),
    ("biz2_no_model", "usr_biz_two", ["workflow:run", "workflow:read"], "active", ""),
    ("ent_full", "usr_ent", BIZ_CAPS, "active", ""),
    ("admin_star", "usr_admin", ["*"], "active", ""),
    ("star_plain", "usr_star", ["*"], "active", ""),
    ("zero_full", "usr_zero", PRO_CAPS, "active", ""),
    ("low_full", "usr_low", PRO_CAPS, "active", ""),
    ("trial_full", "usr_trial", PRO_CAPS, "active", ""),
    ("spent_full", "usr_spent", PRO_CAPS, "active", ""),
    ("pro1_revoked", "usr_pro_one", PRO_CAPS, "revoked", ""),
    ("pro1_legacy", "usr_pro_one", PRO_CAPS, "legacy", ""),
    ("waiting_full", "usr_waiting", PRO_CAPS, "unapproved", ""),
    ("free_full", "usr_free", ["workflow:read", "workflow:write", "execution:read", "execution:cancel"], "active", ""),
]

# name, backend, output, unit, credits, min_tier, disabled, fails, provider's id, seconds sync, seconds async
MODELS = [
    ("nano-banana-2", "fal", "images", "image", 8, "business", 0, 0, "fal:fal-ai/nano-banana-2", 0.04, 0.30),
    ("seedream-v5", "fal", "images", "image", 6, "business", 0, 0, "fal:bytedance/seedream-v5", 0.04, 0.30),
    ("kling-v3-i2v", "fal", "videos", "second", 12, "business", 0, 0, "fal:kling/v3-i2v", 0.09, 0.40),
    ("kling-o3-ref2v", "fal", "videos", "second", 15, "business", 0, 0, "fal:kling/o3-ref2v", 0.09, 0.40),
    ("kling-v3-motion", "fal", "videos", "second", 14, "enterprise", 0, 0, "fal:kling/v3-motion", 0.09, 0.40),
    ("claude-sonnet", "anthropic", "text", "call", 3, "business", 0, 0, None, 0.02, 0.25),
    ("seedance-2-0-full-access", "ark", "videos", "second", 16, "business", 0, 0, "ark:seedance-2-0", 0.10, 0.40),
    ("gpt-image-2", "openai", "images", "image", 10, "business", 0, 0, None, 0.06, 0.35),
    ("suno-v5", "suno", "audios", "call", 20, "business", 0, 0, None, 0.08, 0.40),
    ("seedance-1-0-lite", "ark", "videos", "second", 7, "business", 1, 0, "ark:seedance-1-0", 0.10, 0.40),
    ("storm-glitch-1", "ark", "videos", "second", 5, "business", 0, 1, "ark:storm-glitch-1", 0.03, 0.30),
]


def text_field(default):
    return {"name": "prompt", "type": "textarea", "label": "Prompt", "default": default}


COUNT = {"name": "count", "type": "slider", "label": "How many", "min": 1, "max": 4, "step": 1, "default": 1}
STYLE = {"name": "style", "type": "pills", "label": "Style", "options": ["ink", "oil", "photo"], "default": "ink"}

# slug, name, owner, fields, [(model, params)], output type, public, template, description, example inputs
FLOWS = [
    ("harbour-poster", "Harbour poster", "usr_pro_one", [text_field("A quiet harbour"), STYLE, COUNT],
     [("nano-banana-2", {"prompt": "{{prompt}}, {{style}}", "images": "{{count}}"}),
      ("seedream-v5", {"prompt": "{{prompt}}, finer", "images": 1})], "images", 0, 0, "A poster and its fine print",
     {"prompt": "A harbour in fog", "style": "oil", "count": 1}),
    ("harbour-poster-captions", "Harbour poster captions", "usr_pro_one", [text_field("Describe a quiet harbour")],
     [("claude-sonnet", {"prompt": "{{prompt}}"})], "text", 0, 0, None, {"prompt": "Describe a lighthouse"}),
    ("storm-reel", "Storm reel", "usr_pro_one", [text_field("A storm")],
     [("storm-glitch-1", {"prompt": "{{prompt}}", "duration": 5})], "videos", 0, 0, "Always fails", {"prompt": "Rain"}),
    ("meadow-cards", "Meadow cards", "usr_pro_two", [text_field("A meadow in May"), COUNT],
     [("gpt-image-2", {"prompt": "{{prompt}}", "images": "{{count}}"})], "images", 0, 0, "Greeting cards",
     {"prompt": "A meadow in June", "count": 2}),
    ("meadow-letters", "Meadow letters", "usr_pro_two", [text_field("Ein Brief aus Tromsø über den Frühling")],
     [("claude-sonnet", {"prompt": "{{prompt}}"})], "text", 0, 0, None, {"prompt": "A letter"}),
    ("meadow-storm", "Meadow storm", "usr_pro_two", [text_field("Hail")],
     [("storm-glitch-1", {"prompt": "{{prompt}}", "duration": 5})], "videos", 0, 0, "Always fails", {"prompt": "Hail"}),
    ("open-skyline", "Open skyline", "usr_pro_two", [text_field("A skyline"), COUNT],
     [("gpt-image-2", {"prompt": "{{prompt}}", "images": "{{count}}"})], "images", 1, 0, "A public playground",
     {"prompt": "A skyline at night", "count": 1}),
    ("starter-portrait", "Starter portrait", "usr_pro_two", [text_field("A portrait")],
     [("gpt-image-2", {"prompt": "{{prompt}}", "images": 1})], "images", 0, 1, "A template for everybody",
     {"prompt": "A portrait of a cat"}),
] + [
    (f"{short}-notes", f"{short.capitalize()} notes", f"usr_{user}", [text_field("Three short notes")],
     [("claude-sonnet", {"prompt": "{{prompt}}"})], "text", 0, 0, None, {"prompt": "Two notes"})
    for short, user in (("biz", "biz_one"), ("ent", "ent"), ("star", "star"), ("zero", "zero"), ("low", "low"),
                        ("trial", "trial"), ("spent", "spent"))
]


def build_doc(name, description, fields, steps, output):
    def kind(usual, other):
        return choose(usual, other)
    nodes = [{"id": "in", "type": kind("requestInput", "Request Input"), "position": {"x": 0, "y": 0},
              "data": {"fields": fields}}]
    edges, before, handle = [], "in", "prompt"
    for number, (model, params) in enumerate(steps, 1):
        nodes.append({"id": f"gen{number}", "type": kind("generator", "Generator"),
                      "position": {"x": 320 * number, "y": 0}, "data": {"model": model, "params": params}})
        edges.append({"id": f"e{number}", "source": before, "target": f"gen{number}", "sourceHandle": handle,
                      "targetHandle": "prompt"})
        before, handle = f"gen{number}", "output"
    nodes.append({"id": "out", "type": kind("responseOutput", "Response Output"),
                  "position": {"x": 320 * (len(steps) + 1), "y": 0}, "data": {"output": output}})
    edges.append({"id": "e-out", "source": before, "target": "out", "sourceHandle": handle, "targetHandle": output})
    doc = {"name": name, "tags": ["seed", output], "nodes": nodes, "edges": edges,
           "viewport": {"x": 0, "y": 0, "zoom": 1}}
    if description:
        doc["description"] = description
    return doc


def seed_history():
    """Past runs: enough of them for a second page (pro one) and for more than the largest page (enterprise)."""
    today = datetime.now(timezone.utc)
    plans = [("usr_pro_one", "harbour-poster", 62, 14), ("usr_pro_two", "meadow-cards", 9, 10),
             ("usr_biz_one", None, 7, 8), ("usr_ent", None, 520, 8)]
    made = []
    for user, slug, count, price in plans:
        for n in range(count):
            names = ["nano-banana-2", "fal:fal-ai/nano-banana-2"] if slug != "meadow-cards" else ["gpt-image-2"]
            failed = n % 9 == 4
            made.append((today - timedelta(minutes=40 * (count - n) + 11), user, slug, names,
                         "failed" if failed else "completed", "api-workflow" if slug else "api-slim", price,
                         0 if failed else price, 180 + n % 70, "EXECUTION_FAILED" if failed else None))
    for user, model in (("usr_pro_one", "seedream-v5"), ("usr_pro_two", "nano-banana-2"), ("usr_biz_one", "suno-v5")):
        for n in range(4):
            made.append((today - timedelta(minutes=90 * n + 25), user, None, [model], "completed", "canvas", 6, 6,
                         210, None))
    for moment, user, slug, names, status, source, price, credits, duration, code in sorted(made, key=lambda m: m[0]):
        add_usage(user, slug, names, status, source, price, credits, duration, code, "req_" + secrets.token_hex(10),
                  now_iso(moment))


def seed():
    db.executescript(SCHEMA)
    for user, role, tier, approved, credits, grant in USERS:
        run("INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?)", user, f"{user[4:].replace('_', '.')}@example.com", role,
            tier, approved, TIER_CREDITS[tier] if credits is None else credits, choose(*grant) if grant else None)
    tiers = {user[0]: (user[2], user[1]) for user in USERS}
    keys, workflows, models = {}, {}, {}
    for name, user, caps, state, hook in KEYS:
        secret = "knouds_live_" + secrets.token_hex(16)
        created = "2026-04-30T23:10:00+00:00" if state == "legacy" else "2026-06-03T09:30:00+00:00"
        url = CFG.webhook_url if hook else ""
        run("INSERT INTO api_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?)", secret, name, user, json.dumps(caps), created,
            state == "revoked", url or None, CFG.webhook_secret if url else None)
        keys[name] = {"secret": secret, "capabilities": caps, "user": user, "tier": tiers[user][0], "state": state,
                      "role": tiers[user][1], "credits": one("SELECT credits FROM users WHERE id = ?", user)["credits"],
                      "webhook": bool(url)}
    for name, backend, output, unit, rate, min_tier, disabled, fails, internal, sync_s, async_s in MODELS:
        run("INSERT INTO models VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", name, backend, output, unit, rate, min_tier,
            disabled, fails, internal, sync_s, async_s)
        example = {"prompt": "A lighthouse at dusk"}
        if unit in ("image", "second"):
            example["images" if unit == "image" else "duration"] = 1
        models[name] = {"polled": backend not in ("fal", "anthropic"), "inputs": example, "needs_tier": min_tier,
                        "cost_credits": rate, "fails": bool(fails), "disabled": bool(disabled)}
    for slug, name, owner, fields, steps, output, public, template, description, example in FLOWS:
        flow = Workflow(slug, owner, build_doc(name, description, fields, steps, output), bool(public), bool(template),
                        False, False, None, "")
        flow.save(insert=True)
        workflows[slug] = {"owner": owner, "public": bool(public), "template": bool(template), "polled": True,
                           "inputs": example, "fails": any(m == "storm-glitch-1" for m, _ in steps)}
    seed_history()
    return {"keys": keys, "workflows": workflows, "models": models}


# ------------------------------------------------------------------------------------------------------------
# 19. The application
# ------------------------------------------------------------------------------------------------------------

ANY = ["GET", "POST", "PUT", "PATCH", "DELETE"]

ROUTES = [
    Route("/api/health", health, methods=["GET"]),
    Route("/api/pricing/public", pricing, methods=["GET"]),
    Route("/api/whoami", whoami, methods=["GET"]),
    Route("/api/usage", get_usage, methods=["GET"]),
    Route("/api/usage/models", get_usage_models, methods=["GET"]),
    Route("/api/workflows", list_workflows, methods=["GET"]),
    Route("/api/workflows", create_workflow, methods=["POST"]),
    Route("/api/workflows/{slug}", get_workflow, methods=["GET"]),
    Route("/api/workflows/{slug}", update_workflow, methods=["PUT"]),
    Route("/api/workflows/{slug}", delete_workflow, methods=["DELETE"]),
    Route("/api/workflows/{slug}/move", move_workflow, methods=["PUT"]),
    Route("/api/workflows/{slug}/schema", get_schema, methods=["GET"]),
    Route("/api/workflows/{slug}/public-schema", get_public_schema, methods=["GET"]),
    Route("/api/workflows/{slug}/run", run_workflow, methods=["POST"]),
    Route("/api/models/{name}/run", run_model, methods=["POST"]),
    Route("/api/executions/{id}", get_execution, methods=["GET"]),
    Route("/api/executions/{id}/cancel", cancel_execution, methods=["POST"]),
    Route("/api/me", session_only, methods=ANY),
] + [
    Route(path, session_only, methods=ANY)
    for root in ("/api/credits", "/api/api-keys", "/api/business/admin") for path in (root, root + "/{rest:path}")
]


def make_app():
    app = Starlette(routes=ROUTES, exception_handlers={HTTPException: on_http_exception})
    app.router.redirect_slashes = False
    return app


async def serve(port):
    facts = seed()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    config = uvicorn.Config(make_app(), loop="asyncio", http="h11", lifespan="off", access_log=False,
                            log_level="warning", timeout_keep_alive=75, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    line = {"base_url": f"http://127.0.0.1:{listener.getsockname()[1]}", **facts}
    if CFG.webhook_url:
        line["webhook"] = {"url": CFG.webhook_url, "secret": CFG.webhook_secret}
    print(json.dumps(line), flush=True)
    await task


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fault", default="", choices=[""] + [f["name"] for f in FAULTS], metavar="NAME")
    parser.add_argument("--other-way", action="store_true")
    parser.add_argument("--webhook-url", default="")
    parser.add_argument("--webhook-secret", default="")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list:
        for fault in FAULTS:
            print(f"{fault['name']}\t{fault['promise']}\t{fault['kind']}")
        return
    if args.webhook_secret and not 16 <= len(args.webhook_secret) <= 256:
        parser.error("--webhook-secret must have 16 to 256 characters")
    if args.webhook_url and not re.match(r"https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/]", args.webhook_url):
        parser.error("--webhook-url must be https, or http on loopback")
    CFG.fault, CFG.other_way, CFG.webhook_url = args.fault, args.other_way, args.webhook_url
    CFG.webhook_secret = args.webhook_secret or "whsec_" + secrets.token_hex(24)
    try:
        asyncio.run(serve(args.port))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
