#!/usr/bin/env python3
"""A small complete server of the Knouds REST API: Flask, sqlite3, threads, waitress.

It can be started healthy (two ways: --other-way takes the other reading of every point that
the pages leave open) or with one of 40 faults (--fault NAME).
"""
import argparse
import functools
import hashlib
import heapq
import hmac
import http.client
import itertools
import json
import math
import random
import re
import secrets
import socket
import sqlite3
import ssl
import sys
import threading
import time
import unicodedata
import urllib.parse
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

# --------------------------------------------------------------------------- faults

FAULTS = []


def _fault(name, does, breaks, core, subtle):
    FAULTS.append({"name": name, "does": does, "breaks": breaks, "core": core, "subtle": subtle})


# authentication and key states
_fault("bearer_accepted", "A key in Authorization: Bearer is taken when x-api-key is missing.",
       "Key in the x-api-key header; Authorization: Bearer is not accepted.", True, False)
_fault("revoked_key_reads", "A revoked key is refused on POST, PUT and DELETE but still passes on GET.",
       "Missing, malformed, revoked or unknown key: 401.", True, True)
_fault("legacy_key_plain_401", "A key made before May 2026 gets the plain 401 instead of LEGACY_KEY_RETIRED.",
       "A key made before May 2026: 401 LEGACY_KEY_RETIRED.", False, False)
_fault("unapproved_on_open_routes", "Approval is only looked at on routes with a capability; whoami and usage "
       "let an unapproved account in.", "A valid key of an account not yet approved: also 401.", False, True)
# capabilities
_fault("bound_prefix", "workflow:<slug>:run also passes for every slug that begins with <slug>.",
       "workflow:<slug>:run meets the run requirement where the request names that resource.", True, True)
_fault("run_implies_read", "workflow:run is enough where workflow:read is needed.",
       "Capabilities are orthogonal: none implies another.", True, False)
_fault("required_missing", "CAPABILITY_DENIED comes without `required`.",
       "Not met: 403 CAPABILITY_DENIED with required, naming what would have passed.", False, False)
_fault("bound_model_async_denied", "A key bound to one model passes the sync form of its run and gets "
       "CAPABILITY_DENIED on the async form.",
       "POST /api/models/:internalName/run?async=true needs the same: model:run or model:<internalName>:run.",
       False, True)
# tiers
_fault("tier_gate_async_skipped", "A model above the account's tier is refused sync but started with async=true.",
       "Model above the account's tier: 403 MODEL_TIER_REQUIRED.", True, True)
_fault("admin_tier_gated", "An administrator on a pro account is refused on models by the tier gate.",
       "Role admin bypasses tier gates and rate limits.", False, False)
# validation
_fault("inputs_array_ok", "`inputs` may be an array: the run goes through with defaults.",
       "inputs missing, or no object (an array is no object): 400 INVALID_INPUTS.", False, False)
# envelopes
_fault("html_404", "An unknown route gets the framework's HTML 404 page.",
       "Every response, errors included, is a JSON object.", False, False)
_fault("failed_run_200", "A sync run whose provider failed answers 200 with success false.",
       "Provider failed: 500 EXECUTION_FAILED.", True, False)
# workflows
_fault("put_ignores_falsy", "PUT skips fields whose new value is falsy (false, \"\", []): publicPlayground "
       "cannot be switched off.", "Update: any subset of the document's fields.", True, True)
_fault("rename_reslugs", "PUT with a new name makes a new slug.",
       "The slug never changes (fixed at creation).", True, False)
_fault("deleted_still_runs", "Delete is soft and the run lookup forgets it: a deleted workflow is 404 on reads "
       "but still runs and is charged.", "Delete: afterwards 404; unknown slug: 404.", True, True)
# isolation
_fault("template_foreign_write", "PUT and move check whether the caller sees the workflow, not whether he owns "
       "it: anybody may write to a template.", "PUT needs workflow:write and ownership; someone else's workflow: "
       "refused on write.", True, True)
_fault("execution_foreign_read", "GET /api/executions/:id does not look at the owner.",
       "Poll: unknown or foreign id: 404.", True, False)
_fault("usage_filter_or_leak", "With modelId the SQL gets an OR without parentheses: other accounts' rows of "
       "that model appear.", "Usage: only one's own rows.", True, True)
# async
_fault("submit_blocks", "An async submit answers only when the run has ended.",
       "Submit answers in under 500 ms.", True, False)
_fault("cancel_after_end_flips", "Cancelling a run that has ended sets it to cancelled.",
       "completed, failed, cancelled are final: nothing leaves them.", True, True)
_fault("cancel_refunds", "A cancelled run is refunded; its usage row shows 0 credits.",
       "A cancelled run is always charged.", True, False)
_fault("failed_error_is_string", "The poll of a failed run has a plain string in `error`.",
       "failed (with error: {code, message}).", False, False)
# webhooks
_fault("signature_non_ascii", "The signature is made over an ASCII-escaped copy of the body while raw UTF-8 is "
       "sent: wrong as soon as a result holds a non-ASCII character.",
       "v1 = HMAC-SHA256(secret, \"<t>.<raw body>\").", True, True)
_fault("webhook_first_secret", "The signer is made once, with the secret of the first delivery, and signs all "
       "later ones for every key.", "Webhooks are set per key (URL and signing secret).", True, True)
_fault("webhook_t_millis", "t in the signature header is in milliseconds.",
       "X-Knouds-Signature: t=<unix seconds>,v1=<hex>; refuse when |now - t| > 300 s.", True, False)
_fault("webhook_none_when_cancelled", "No webhook for a cancelled execution.",
       "One POST per ended execution; event execution.cancelled.", False, False)
# usage
_fault("total_is_page_length", "`total` is the number of rows on the page.",
       "Usage answers {rows, page, pageSize, total}.", False, False)
_fault("offset_lost_with_filter", "offset is ignored as soon as a filter (status, modelId, workflowSlug) is given: "
       "page 2 of a filtered list is page 1 again.", "Usage query: offset (default 0).", False, True)
# credits
_fault("overspend_race", "Balance is read, then charged without a condition: two simultaneous runs spend the "
       "same credits.", "Too few credits: 402 INSUFFICIENT_CREDITS.", True, True)
_fault("grant_cost_shown", "A run paid by a trial grant shows the ordinary price in `cost`.",
       "cost is 0 where a trial grant paid.", False, False)
# rate limits
_fault("buckets_shared", "Workflow runs and model runs count in one bucket.",
       "The two run endpoints have separate buckets.", False, False)
_fault("retry_after_missing", "429 comes without the Retry-After header.",
       "Over the limit: ... the same three headers, and Retry-After (seconds).", False, False)
_fault("async_not_counted", "Async submits are not counted against the window.",
       "Per user, per route, fixed 60-second window, by tier.", False, True)
_fault("limit_one_too_many", "One request more than the limit passes in each window (> for >=).",
       "Rate limit per user, per route, per 60 s window: pro 100.", False, True)
# concurrency
_fault("slug_race_500", "The free slug is looked up outside the lock: of two simultaneous creates of one name one "
       "dies on the unique index with a 500.", "The server appends -2, -3, ... while the slug is taken.", True, True)
_fault("global_current_user", "The current account sits in a module global: simultaneous requests of two accounts "
       "see each other's.", "whoami answers the key's user; only one's own rows, own workflows.", True, True)
# encodings, time stamps, caching
_fault("astral_lost", "Characters beyond U+FFFF in a document are stored as '?' (a three-byte utf8 column).",
       "Get: the whole document, shaped so that it can be sent back to create (round trip).", False, True)
_fault("list_updated_http_date", "updatedAt in the list is an HTTP date (the framework's default for datetimes).",
       "updatedAt (ISO 8601).", False, False)
_fault("public_schema_sticky", "A public schema once served stays cached: switching publicPlayground off or "
       "deleting the workflow does not end it.", "Public schema: 404 unless publicPlayground is true.", True, True)

FAULT = None
OTHER = False
RUN_SECONDS = 0.5


def faulty(name):
    return FAULT == name


# --------------------------------------------------------------------------- catalogue

TIERS = {
    "free": {"rank": 0, "limit": 100, "other_limit": 60, "credits": 250},
    "creator": {"rank": 1, "limit": 100, "other_limit": 60, "credits": 1700},
    "pro": {"rank": 2, "limit": 100, "credits": 5000},
    "studio": {"rank": 2, "limit": 250, "other_limit": 100, "credits": 7000},  # a custom tier
    "business": {"rank": 3, "limit": 1000, "credits": 11329},
    "enterprise": {"rank": 4, "limit": None, "credits": None},
}


def _model(kind, unit, price, tier="business", polled=False, disabled=False, inputs=None):
    return {"kind": kind, "unit": unit, "price": price, "tier": tier, "polled": polled, "disabled": disabled,
            "inputs": inputs or {"prompt": "a lighthouse at dusk"}}


MODELS = {
    "nano-banana-2": _model("images", "image", 4, inputs={"prompt": "a lighthouse at dusk", "num_images": 1}),
    "seedream-v5": _model("images", "image", 3, inputs={"prompt": "a paper boat", "num_images": 2}),
    "gpt-image-2": _model("images", "image", 5, polled=True, inputs={"prompt": "a tin robot", "num_images": 1}),
    "kling-v3-i2v": _model("videos", "second", 10, inputs={"prompt": "slow zoom", "duration": 5}),
    "kling-o3-ref2v": _model("videos", "second", 12, inputs={"prompt": "a walk", "duration": 5}),
    "kling-v3-motion": _model("videos", "second", 8, inputs={"prompt": "a jump", "duration": 5}),
    "seedance-2-0": _model("videos", "second", 6, polled=True, inputs={"prompt": "waves", "duration": 4}),
    "seedance-2-0-full-access": _model("videos", "second", 14, tier="enterprise", polled=True,
                                       inputs={"prompt": "storm", "duration": 5}),
    "suno-v5": _model("audios", "call", 10, polled=True, inputs={"prompt": "a quiet waltz"}),
    "claude-sonnet": _model("text", "call", 1, inputs={"prompt": "one line about tea"}),
    "flux-classic": _model("images", "image", 2, disabled=True),
}


def whole(value, low, high, default):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return default
    if not low <= value <= high:
        return default
    return int(value)


def model_units(name, inputs):
    unit = MODELS[name]["unit"]
    if unit == "image":
        return whole(inputs.get("num_images"), 1, 4, 1)
    if unit == "second":
        return whole(inputs.get("duration"), 1, 15, 5)
    return 1


def model_cost(name, inputs):
    return MODELS[name]["price"] * model_units(name, inputs)


def model_result(name, inputs):
    kind = MODELS[name]["kind"]
    stem = "https://cdn.knouds.ai/out/" + secrets.token_hex(8)
    if kind == "images":
        return {"images": [f"{stem}-{i + 1}.png" for i in range(model_units(name, inputs))]}
    if kind == "videos":
        return {"videos": [stem + ".mp4"]}
    if kind == "audios":
        return {"audios": [stem + ".mp3"]}
    prompt = inputs.get("prompt")
    return {"text": "On " + (prompt if isinstance(prompt, str) else "nothing in particular") + "."}


# --------------------------------------------------------------------------- small helpers

def utcnow():
    return datetime.now(timezone.utc)


def iso(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (moment.microsecond // 1000)


def dumps(obj):
    return json.dumps(obj, separators=(",", ":"))


def to_bytes(obj):
    if OTHER:
        try:
            return json.dumps(obj, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:  # a lone surrogate
            pass
    return dumps(obj).encode("ascii")


def reply(obj, status=200, headers=None):
    resp = Response(to_bytes(obj), status=status, content_type="application/json")
    for name, value in (headers or {}).items():
        resp.headers[name] = str(value)
    return resp


class ApiError(Exception):
    def __init__(self, status, code, text, headers=None, **context):
        super().__init__(text)
        self.status, self.code, self.text, self.headers, self.context = status, code, text, headers, context

    def response(self):
        return reply({"error": self.text, "code": self.code, **self.context}, self.status, self.headers)


def not_found(what="Workflow"):
    return ApiError(404, "NOT_FOUND", f"{what} not found")


def _no_constant(text):
    raise ValueError(text + " is no JSON")


def _finite(text):
    number = float(text)
    if math.isinf(number):
        raise ValueError("number out of range")
    return number


def too_deep(value, limit=150):
    stack = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if depth > limit:
            return True
        if isinstance(item, dict):
            stack.extend((child, depth + 1) for child in item.values())
        elif isinstance(item, list):
            stack.extend((child, depth + 1) for child in item)
    return False


def read_json():
    """The body as JSON, or 400 INVALID_BODY. An empty body counts as none: returns (False, None)."""
    raw = request.get_data(cache=True)
    if not raw.strip():
        return False, None
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
        if too_deep(value):
            raise ValueError("nested too deeply")
    except (ValueError, RecursionError):
        raise ApiError(400, "INVALID_BODY", "The body is not valid JSON") from None
    return True, value


def read_object():
    present, value = read_json()
    if not present or not isinstance(value, dict):
        raise ApiError(400, "INVALID_BODY", "The body must be a JSON object")
    return value


SLUG = re.compile(r"[a-z0-9-]+")


def good_slug(text):
    return SLUG.fullmatch(text) is not None


# --------------------------------------------------------------------------- database

DB_LOCK = threading.RLock()
DB = None

SCHEMA = """
CREATE TABLE accounts (id TEXT PRIMARY KEY, email TEXT, role TEXT, tier TEXT, approved INTEGER,
    credits INTEGER, grant_left INTEGER);
CREATE TABLE keys (digest TEXT PRIMARY KEY, name TEXT, user_id TEXT REFERENCES accounts(id), capabilities TEXT,
    state TEXT, hook_url TEXT, hook_secret TEXT);
CREATE TABLE workflows (pk INTEGER PRIMARY KEY AUTOINCREMENT, slug TEXT NOT NULL, owner TEXT NOT NULL,
    doc TEXT NOT NULL, folder_id TEXT, is_template INTEGER DEFAULT 0, fails INTEGER DEFAULT 0,
    updated_at TEXT NOT NULL, deleted_at TEXT);
CREATE UNIQUE INDEX live_slug ON workflows(slug) WHERE deleted_at IS NULL;
CREATE INDEX by_owner ON workflows(owner);
CREATE TABLE runs (id INTEGER PRIMARY KEY AUTOINCREMENT, execution_id TEXT UNIQUE, request_id TEXT, user_id TEXT,
    slug TEXT, model_ids TEXT, source TEXT, status TEXT, result TEXT, error TEXT, nominal INTEGER,
    credits INTEGER, by_grant INTEGER, started REAL, ended REAL, created_at TEXT, updated_at TEXT,
    plan TEXT, hook_url TEXT, hook_secret TEXT);
CREATE INDEX runs_by_user ON runs(user_id, id);
"""


def open_db():
    global DB
    DB = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    DB.row_factory = sqlite3.Row
    DB.executescript(SCHEMA)


def rows(sql, *args):
    with DB_LOCK:
        return DB.execute(sql, args).fetchall()


def row(sql, *args):
    with DB_LOCK:
        return DB.execute(sql, args).fetchone()


def execute(sql, *args):
    with DB_LOCK:
        return DB.execute(sql, args)


# --------------------------------------------------------------------------- app, envelope

app = Flask(__name__, static_folder=None)
app.config["MAX_CONTENT_LENGTH"] = 4 * 1024 * 1024
app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
app.url_map.merge_slashes = False
app.url_map.strict_slashes = True


@app.errorhandler(ApiError)
def on_api_error(err):
    return err.response()


@app.errorhandler(HTTPException)
def on_http_error(err):
    if err.code == 404:
        if faulty("html_404"):
            return err.get_response()
        return ApiError(404, "NOT_FOUND", "No such route").response()
    if err.code == 405:
        if OTHER:
            return ApiError(404, "NOT_FOUND", "No such route").response()
        allow = ", ".join(sorted(err.valid_methods or []))
        return ApiError(405, "METHOD_NOT_ALLOWED", "Method not allowed", {"Allow": allow}).response()
    if err.code == 413:
        if OTHER:
            return ApiError(400, "INVALID_BODY", "The body is too large").response()
        return ApiError(413, "PAYLOAD_TOO_LARGE", "The body is too large").response()
    code = err.code if err.code and err.code >= 400 else 500
    return ApiError(code, "HTTP_ERROR", err.description or "HTTP error").response()


@app.errorhandler(Exception)
def on_crash(err):
    app.logger.exception("unhandled")
    return ApiError(500, "INTERNAL_ERROR", "Internal server error").response()


@app.after_request
def add_rate_headers(resp):
    info = g.get("rate")
    if info and (not OTHER or resp.status_code < 400 or resp.status_code == 429):
        resp.headers["X-RateLimit-Limit"] = str(info["limit"])
        resp.headers["X-RateLimit-Remaining"] = str(info["remaining"])
        resp.headers["X-RateLimit-Reset"] = str(info["reset"])
    return resp


# --------------------------------------------------------------------------- authentication, capabilities

_current = {}  # only used by the fault global_current_user


def unauthorized(code, text):
    return ApiError(401, code, text)


def authenticate(open_route):
    plain = "INVALID_API_KEY" if OTHER else "UNAUTHORIZED"
    secret = request.headers.get("x-api-key")
    if secret is None and faulty("bearer_accepted"):
        auth = request.headers.get("Authorization", "")
        if auth.startswith("Bearer "):
            secret = auth[7:]
    if not secret or not secret.startswith("knouds_live_"):
        raise unauthorized(plain, "Unauthorized")
    digest = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
    key = row("SELECT * FROM keys WHERE digest = ?", digest)
    if key is None:
        raise unauthorized(plain, "Unauthorized")
    if key["state"] == "revoked" and not (faulty("revoked_key_reads") and request.method == "GET"):
        raise unauthorized(plain, "Unauthorized")
    if key["state"] == "legacy":
        if faulty("legacy_key_plain_401"):
            raise unauthorized(plain, "Unauthorized")
        raise unauthorized("LEGACY_KEY_RETIRED", "This key was made before May 2026; create a new one")
    account = row("SELECT * FROM accounts WHERE id = ?", key["user_id"])
    if not account["approved"] and not (faulty("unapproved_on_open_routes") and open_route):
        raise unauthorized("ACCOUNT_NOT_APPROVED" if OTHER else plain, "Unauthorized")
    g.account, g.key = account, key
    g.caps = frozenset(json.loads(key["capabilities"]))
    if faulty("global_current_user"):
        _current["account"] = account
        time.sleep(0.004)


def me():
    return _current["account"] if faulty("global_current_user") else g.account


def is_admin():
    return g.account["role"] == "admin"


def holds(required, bound=None):
    caps = g.caps
    if "*" in caps and (is_admin() or OTHER):
        return True
    if required in caps or required.split(":")[0] + ":*" in caps:
        return True
    if bound is not None:
        if bound in caps:
            return True
        if faulty("bound_prefix") and bound.startswith("workflow:"):
            slug = bound.split(":")[1]
            for cap in caps:
                parts = cap.split(":")
                if len(parts) == 3 and parts[0] == "workflow" and parts[2] == "run" and slug.startswith(parts[1]):
                    return True
    if faulty("run_implies_read") and required == "workflow:read" and "workflow:run" in caps:
        return True
    return False


def denied(required, bound=None):
    named = [required, bound] if bound and not OTHER else required
    context = {} if faulty("required_missing") else {"required": named}
    return ApiError(403, "CAPABILITY_DENIED", f"This key lacks the capability {required}", **context)


def guarded(capability=None, limited=None, run=False):
    """Authentication, then (where asked) rate limit and capability, around a view."""
    def wrap(view):
        @functools.wraps(view)
        def inner(*args, **kwargs):
            authenticate(open_route=capability is None and not run)
            if limited and OTHER:
                take_slot(limited)
            if capability and not holds(capability):
                raise denied(capability)
            return view(*args, **kwargs)
        return inner
    return wrap


# --------------------------------------------------------------------------- rate limits

_windows = {}
_window_lock = threading.Lock()


def tier_limit(tier):
    spec = TIERS[tier]
    return spec.get("other_limit", spec["limit"]) if OTHER else spec["limit"]


def take_slot(route, counted=True):
    account = me()
    limit = tier_limit(account["tier"])
    unlimited = limit is None or is_admin()
    if unlimited:
        if not OTHER:
            return
        limit = 1_000_000
    if faulty("buckets_shared"):
        route = "run"
    now = time.time()
    with _window_lock:
        start, used = _windows.get((account["id"], route), (0, 0))
        if OTHER:   # a window begins with its first request
            if now >= start + 60:
                start, used = int(now), 0
        else:       # windows follow the clock
            aligned = int(now // 60) * 60
            if aligned != start:
                start, used = aligned, 0
        allowed = used < limit or (faulty("limit_one_too_many") and used <= limit)
        if allowed and counted:
            used += 1
        _windows[(account["id"], route)] = (start, used)
    reset = start + 60
    g.rate = {"limit": limit, "remaining": max(0, limit - used), "reset": reset}
    if not allowed:
        wait = max(1, math.ceil(reset - now))
        headers = {} if faulty("retry_after_missing") else {"Retry-After": wait}
        raise ApiError(429, "RATE_LIMIT_EXCEEDED", "Too many requests", headers,
                       tier=account["tier"], limit=limit, retryAfter=wait)


# --------------------------------------------------------------------------- workflow documents

def squash(text):
    return re.sub(r"[^a-z]", "", text.lower()) if isinstance(text, str) else ""


def bad_doc(text):
    return ApiError(400, "INVALID_WORKFLOW", text)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def three_bytes_only(value):
    if isinstance(value, str):
        return re.sub("[\U00010000-\U0010ffff]", "?", value)
    if isinstance(value, list):
        return [three_bytes_only(item) for item in value]
    if isinstance(value, dict):
        return {three_bytes_only(k): three_bytes_only(v) for k, v in value.items()}
    return value


def check_nodes(nodes):
    if not isinstance(nodes, list):
        raise bad_doc("nodes must be an array")
    for node in nodes:
        if not isinstance(node, dict):
            raise bad_doc("a node must be an object")
        if not isinstance(node.get("id"), str) or not isinstance(node.get("type"), str):
            raise bad_doc("a node needs id and type")
        position = node.get("position")
        if not isinstance(position, dict) or not is_number(position.get("x")) or not is_number(position.get("y")):
            raise bad_doc("a node needs a position with x and y")
        if not isinstance(node.get("data"), dict):
            raise bad_doc("a node needs data")
    return nodes


def check_edges(edges):
    if not isinstance(edges, list):
        raise bad_doc("edges must be an array")
    clean = []
    for edge in edges:
        if not isinstance(edge, dict):
            raise bad_doc("an edge must be an object")
        for field in ("id", "source", "target"):
            if not isinstance(edge.get(field), str):
                raise bad_doc("an edge needs id, source and target")
        for field in ("sourceHandle", "targetHandle"):
            handle = edge.get(field)
            if handle is None and OTHER:
                raise bad_doc("an edge needs sourceHandle and targetHandle")
            if handle is not None and not isinstance(handle, str):
                raise bad_doc("an edge handle must be a string")
        clean.append({"sourceHandle": None, "targetHandle": None, **edge})
    return clean


def check_name(value):
    if not isinstance(value, str) or not value.strip():
        raise bad_doc("name is required")
    if len(value) > 300:
        raise bad_doc("name is too long")
    return value


def check_description(value):
    if value is not None and not isinstance(value, str):
        raise bad_doc("description must be a string")
    return value


def check_tags(value):
    if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
        raise bad_doc("tags must be an array of strings")
    return value


def check_viewport(value):
    if not isinstance(value, dict) or not all(is_number(value.get(k)) for k in ("x", "y", "zoom")):
        raise bad_doc("viewport needs x, y and zoom")
    return value


def check_public(value):
    if not isinstance(value, bool):
        raise bad_doc("publicPlayground must be true or false")
    return value


def check_folder(value):
    if value is not None and not isinstance(value, str):
        raise bad_doc("folderId must be a string or null")
    return value


FIELDS = {"name": check_name, "description": check_description, "tags": check_tags, "nodes": check_nodes,
          "edges": check_edges, "viewport": check_viewport, "publicPlayground": check_public,
          "folderId": check_folder}


def clean_fields(body):
    given = {}
    for field, check in FIELDS.items():
        if field in body:
            given[field] = check(body[field])
    if faulty("astral_lost"):
        given = three_bytes_only(given)
    return given


def slug_base(name):
    if OTHER:
        plain = name.lower()
    else:
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    base = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return base or ("untitled" if OTHER else "workflow")


def free_slug(name):
    base = slug_base(name)
    candidate, n = base, 1
    while row("SELECT 1 FROM workflows WHERE slug = ? AND deleted_at IS NULL", candidate):
        n += 1
        candidate = f"{base}-{n}"
    return candidate


def live(slug):
    return row("SELECT * FROM workflows WHERE slug = ? AND deleted_at IS NULL", slug)


def document(wf):
    doc = json.loads(wf["doc"])
    out = {"slug": wf["slug"], "name": doc["name"]}
    if doc.get("description") is not None:
        out["description"] = doc["description"]
    out.update(tags=doc["tags"], nodes=doc["nodes"], edges=doc["edges"], viewport=doc["viewport"],
               publicPlayground=doc["publicPlayground"], createdBy=wf["owner"], folderId=wf["folder_id"],
               updatedAt=wf["updated_at"])
    return out


def request_fields(doc):
    """The fields of the Request Input node, and their defaults."""
    fields, values = [], {}
    for node in doc["nodes"]:
        if squash(node.get("type")) not in ("requestinput", "requestinputnode"):
            continue
        listed = node["data"].get("fields")
        for field in listed if isinstance(listed, list) else []:
            if not isinstance(field, dict) or not isinstance(field.get("name"), str):
                continue
            kind = field.get("type")
            fields.append({**field, "type": kind if isinstance(kind, str) else "text"})
            if "default" in field:
                values[field["name"]] = field["default"]
    return fields, values


def generators(doc):
    found = []
    for node in doc["nodes"]:
        name = node["data"].get("model")
        if isinstance(name, str) and name in MODELS and "generat" in squash(node["type"]):
            found.append((name, node["data"]))
    return found


def node_inputs(data, inputs):
    merged = {k: v for k, v in data.items() if k in ("prompt", "num_images", "duration")}
    merged.update({k: v for k, v in inputs.items() if k in ("prompt", "num_images", "duration")})
    return merged


def workflow_cost(doc, inputs):
    _, values = request_fields(doc)
    filled = {**values, **inputs}
    return sum(model_cost(name, node_inputs(data, filled)) for name, data in generators(doc))


def estimate(doc):
    return workflow_cost(doc, {}) if generators(doc) else None


def workflow_result(doc, inputs):
    _, values = request_fields(doc)
    filled = {**values, **inputs}
    result = {"text": []}
    for name, data in generators(doc):
        for kind, value in model_result(name, node_inputs(data, filled)).items():
            result.setdefault(kind, []).extend(value if isinstance(value, list) else [value])
    for value in filled.values():
        if isinstance(value, str):
            result["text"].append(value)
    if not result["text"]:
        del result["text"]
    return result


def workflow_models(doc):
    return list(dict.fromkeys(name for name, _ in generators(doc)))


def summary(wf):
    doc = json.loads(wf["doc"])
    description = doc.get("description")
    if description is None and not OTHER:
        description = ""
    updated = wf["updated_at"]
    if faulty("list_updated_http_date"):
        updated = format_datetime(datetime.fromisoformat(updated.replace("Z", "+00:00")), usegmt=True)
    return {"slug": wf["slug"], "name": doc["name"], "description": description, "tags": doc["tags"],
            "isTemplate": bool(wf["is_template"]), "hidden": False, "archived": False, "createdBy": wf["owner"],
            "estimatedCreditCost": estimate(doc), "folderId": wf["folder_id"], "updatedAt": updated}


def own(wf):
    return wf["owner"] == me()["id"]


def check_path_slug(slug):
    if not good_slug(slug):
        if OTHER:
            raise ApiError(400, "INVALID_SLUG", "Malformed slug")
        raise not_found()


def readable(slug):
    check_path_slug(slug)
    wf = live(slug)
    if wf is None:
        raise not_found()
    if not own(wf) and (OTHER or not wf["is_template"]):
        raise ApiError(403, "FORBIDDEN", "This workflow is not yours") if OTHER else not_found()
    return wf


def writable(slug):
    check_path_slug(slug)
    wf = live(slug)
    if wf is None:
        raise not_found()
    if not own(wf) and not (faulty("template_foreign_write") and wf["is_template"] and request.method == "PUT"):
        raise ApiError(403, "FORBIDDEN", "This workflow is not yours") if OTHER else not_found()
    return wf


# --------------------------------------------------------------------------- routes: account, open ones

@app.get("/api/health")
def health():
    return reply({"ok": True, "uptime": round(time.time() - STARTED, 1)} if OTHER else {"status": "ok"})


@app.get("/api/pricing/public")
def pricing():
    listed = {name: {"monthlyCredits": spec["credits"], "rateLimit": spec["limit"] if spec["rank"] > 1 else None,
                     "apiAccess": spec["rank"] > 1} for name, spec in TIERS.items() if name != "studio"}
    if OTHER:
        return reply({"plans": [{"id": name, **spec} for name, spec in listed.items()], "currency": "USD"})
    models = {n: {"unit": m["unit"], "credits": m["price"]} for n, m in MODELS.items() if not m["disabled"]}
    return reply({"tiers": listed, "models": models})


@app.get("/api/whoami")
@guarded()
def whoami():
    a = me()
    return reply({"user": {"id": a["id"], "email": a["email"], "role": a["role"], "tier": a["tier"],
                           "approved": bool(a["approved"])}})


EVERY = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def browser_only(rest=None):
    if OTHER:
        raise ApiError(403, "SESSION_REQUIRED", "This endpoint is for browser sessions")
    raise ApiError(401, "SESSION_REQUIRED", "This endpoint is for browser sessions")


for _n, _rule in enumerate(["/api/me", "/api/credits", "/api/credits/<path:rest>", "/api/api-keys",
                            "/api/api-keys/<path:rest>", "/api/business/admin", "/api/business/admin/<path:rest>"]):
    app.add_url_rule(_rule, f"browser_{_n}", browser_only, methods=EVERY)


# --------------------------------------------------------------------------- routes: workflows

@app.get("/api/workflows")
@guarded("workflow:read")
def list_workflows():
    found = rows("SELECT * FROM workflows WHERE deleted_at IS NULL AND (owner = ? OR is_template = 1) "
                 "ORDER BY updated_at DESC, pk DESC", me()["id"])
    return reply([summary(wf) for wf in found])


@app.post("/api/workflows")
@guarded("workflow:write")
def create_workflow():
    body = read_object()
    if "name" not in body:
        raise bad_doc("name is required")
    doc = {"tags": [], "nodes": [], "edges": [], "viewport": {"x": 0, "y": 0, "zoom": 1},
           "publicPlayground": False, "folderId": None}
    doc.update(clean_fields(body))
    folder = doc.pop("folderId")
    user = me()

    def insert(slug):
        now = iso(utcnow())
        execute("INSERT INTO workflows (slug, owner, doc, folder_id, updated_at) VALUES (?, ?, ?, ?, ?)",
                slug, user["id"], dumps(doc), folder_text(folder), now)

    if faulty("slug_race_500"):
        slug = free_slug(doc["name"])
        time.sleep(0.02)
        check_free_cap(user)
        insert(slug)
    else:
        with DB_LOCK:
            check_free_cap(user)
            slug = free_slug(doc["name"])
            insert(slug)
    if OTHER:
        return reply({"success": True, "slug": slug}, 200)
    return reply(document(live(slug)), 201)


def folder_text(folder):
    """sqlite cannot take a lone surrogate."""
    return None if folder is None else folder.encode("utf-8", "replace").decode("utf-8")


def check_free_cap(user):
    if user["tier"] != "free" or user["role"] == "admin":
        return
    if row("SELECT COUNT(*) AS n FROM workflows WHERE owner = ? AND deleted_at IS NULL", user["id"])["n"] >= 1:
        raise ApiError(402 if OTHER else 403, "WORKFLOW_LIMIT_REACHED", "The free tier is capped at one workflow")


@app.get("/api/workflows/<slug>")
@guarded("workflow:read")
def get_workflow(slug):
    return reply(document(readable(slug)))


@app.put("/api/workflows/<slug>")
@guarded("workflow:write")
def update_workflow(slug):
    writable(slug)
    given = clean_fields(read_object())
    if faulty("put_ignores_falsy"):
        given = {k: v for k, v in given.items() if v}
    with DB_LOCK:
        wf = writable(slug)
        doc = json.loads(wf["doc"])
        folder = folder_text(given.pop("folderId")) if "folderId" in given else wf["folder_id"]
        renamed = "name" in given and given["name"] != doc["name"]
        doc.update(given)
        new_slug = free_slug(doc["name"]) if renamed and faulty("rename_reslugs") else wf["slug"]
        execute("UPDATE workflows SET doc = ?, folder_id = ?, updated_at = ?, slug = ? WHERE pk = ?",
                dumps(doc), folder, iso(utcnow()), new_slug, wf["pk"])
        fresh = live(new_slug)
    if OTHER:
        return reply({"success": True, "slug": new_slug, "updatedAt": fresh["updated_at"]})
    return reply(document(fresh))


@app.put("/api/workflows/<slug>/move")
@guarded("workflow:write")
def move_workflow(slug):
    writable(slug)
    body = read_object()
    if "folderId" not in body:
        raise bad_doc("folderId is required")
    folder = folder_text(check_folder(body["folderId"]))
    with DB_LOCK:
        wf = writable(slug)
        execute("UPDATE workflows SET folder_id = ?, updated_at = ? WHERE pk = ?", folder, iso(utcnow()), wf["pk"])
        fresh = live(slug)
    if OTHER:
        return reply({"success": True})
    return reply({"slug": slug, "folderId": fresh["folder_id"], "updatedAt": fresh["updated_at"]})


@app.delete("/api/workflows/<slug>")
@guarded("workflow:write")
def delete_workflow(slug):
    with DB_LOCK:
        wf = writable(slug)
        execute("UPDATE workflows SET deleted_at = ? WHERE pk = ?", iso(utcnow()), wf["pk"])
    return reply({"deleted": True, "slug": slug} if OTHER else {"success": True})


def schema_of(wf):
    doc = json.loads(wf["doc"])
    fields, values = request_fields(doc)
    description = doc.get("description")
    return {"fields": fields, "values": values, "name": doc["name"],
            "description": "" if description is None else description, "estimatedCreditCost": estimate(doc)}


@app.get("/api/workflows/<slug>/schema")
@guarded("workflow:read")
def schema(slug):
    return reply(schema_of(readable(slug)))


_public_cache = {}


@app.get("/api/workflows/<slug>/public-schema")
def public_schema(slug):
    if faulty("public_schema_sticky") and slug in _public_cache:
        return reply(_public_cache[slug])
    check_path_slug(slug)
    wf = live(slug)
    if wf is None or json.loads(wf["doc"])["publicPlayground"] is not True:
        raise not_found()
    shape = schema_of(wf)
    del shape["estimatedCreditCost"]
    if faulty("public_schema_sticky"):
        _public_cache[slug] = shape
    return reply(shape)


# --------------------------------------------------------------------------- credits

def charge(user_id, cost):
    """Takes the cost, or raises 402. Returns (credits charged, paid by grant)."""
    if faulty("overspend_race"):
        account = row("SELECT * FROM accounts WHERE id = ?", user_id)
        if account["grant_left"] is None:
            if account["credits"] < cost:
                raise ApiError(402, "INSUFFICIENT_CREDITS", "Not enough credits")
            time.sleep(0.03)
            execute("UPDATE accounts SET credits = credits - ? WHERE id = ?", cost, user_id)
            return cost, False
    with DB_LOCK:
        account = row("SELECT * FROM accounts WHERE id = ?", user_id)
        if account["grant_left"] is not None:
            if account["grant_left"] <= 0:
                raise ApiError(402, "grant_exhausted", "The trial grant is used up")
            execute("UPDATE accounts SET grant_left = grant_left - 1 WHERE id = ?", user_id)
            return 0, True
        if account["credits"] < cost:
            raise ApiError(402, "INSUFFICIENT_CREDITS", "Not enough credits")
        execute("UPDATE accounts SET credits = credits - ? WHERE id = ?", cost, user_id)
        return cost, False


def give_back(run):
    if run["by_grant"]:
        execute("UPDATE accounts SET grant_left = grant_left + 1 WHERE id = ?", run["user_id"])
    else:
        execute("UPDATE accounts SET credits = credits + ? WHERE id = ?", run["credits"], run["user_id"])


# --------------------------------------------------------------------------- runs

def run_body():
    present, value = read_json()
    if not present or not isinstance(value, dict):
        if OTHER:
            raise ApiError(400, "INVALID_INPUTS", "`inputs` must be an object")
        raise ApiError(400, "INVALID_BODY", "The body must be a JSON object")
    inputs = value.get("inputs")
    if faulty("inputs_array_ok") and isinstance(inputs, list):
        return {}
    if not isinstance(inputs, dict):
        raise ApiError(400, "INVALID_INPUTS", "`inputs` must be an object")
    return inputs


class Job:
    """One run request on its way through the checks."""

    def __init__(self, kind, name):
        self.kind, self.name = kind, name
        flag = request.args.get("async", "")
        self.is_async = flag == "true" or (OTHER and flag == "1")
        self.inputs, self.doc, self.fails, self.cost = {}, None, False, 0

    def rate(self):
        take_slot(self.kind + "-run", counted=not (self.is_async and faulty("async_not_counted")))

    def capability(self):
        required, bound = f"{self.kind}:run", f"{self.kind}:{self.name}:run"
        if not holds(required, None if self.kind == "model" and self.is_async
                     and faulty("bound_model_async_denied") else bound):
            raise denied(required, bound)
        if self.kind == "model" and not OTHER and not self.gate_open("business"):
            raise denied(required, bound)

    def gate_open(self, tier):
        if is_admin() and not faulty("admin_tier_gated"):
            return True
        return TIERS[me()["tier"]]["rank"] >= TIERS[tier]["rank"]

    def slug(self):
        if not good_slug(self.name):
            raise ApiError(400, "INVALID_SLUG", "Only lowercase letters, digits and hyphens")

    def resource(self):
        if self.kind == "model":
            spec = MODELS.get(self.name)
            if spec is None or spec["disabled"]:
                raise ApiError(404, "MODEL_NOT_FOUND", "Model not found")
            return
        wf = live(self.name)
        if wf is None and faulty("deleted_still_runs"):
            wf = row("SELECT * FROM workflows WHERE slug = ? ORDER BY pk DESC LIMIT 1", self.name)
        if wf is None or (not own(wf) and (OTHER or not wf["is_template"])):
            raise not_found()
        self.doc, self.fails = json.loads(wf["doc"]), bool(wf["fails"])

    def tier(self):
        if self.kind == "model":
            needed = MODELS[self.name]["tier"]
            skipped = self.is_async and faulty("tier_gate_async_skipped")
            if not skipped and not self.gate_open(needed):
                raise ApiError(403, "MODEL_TIER_REQUIRED", f"This model needs the {needed} tier", tier=needed)

    def asyncable(self):
        if self.is_async and self.kind == "model" and not MODELS[self.name]["polled"]:
            raise ApiError(400, "ASYNC_NOT_SUPPORTED", "This model has no async form")

    def body(self):
        self.inputs = run_body()

    def check(self):
        if OTHER:
            order = (self.slug, self.capability, self.resource, self.tier, self.asyncable, self.body, self.rate)
        else:
            order = (self.rate, self.capability, self.slug, self.body, self.resource, self.tier, self.asyncable)
        for step in order:
            step()
        if self.kind == "model":
            self.inputs = {**MODELS[self.name]["inputs"], **self.inputs}
            self.cost, self.models = model_cost(self.name, self.inputs), [self.name]
        else:
            self.cost, self.models = workflow_cost(self.doc, self.inputs), workflow_models(self.doc)

    def outcome(self):
        """What the provider will say: (result, None) or (None, error)."""
        if self.fails:
            return None, {"code": "EXECUTION_FAILED", "message": "The provider could not finish the run"}
        if self.kind == "model":
            return model_result(self.name, self.inputs), None
        return workflow_result(self.doc, self.inputs), None

    def record(self, execution_id=None, hook=None):
        user = me()["id"]
        credits, by_grant = charge(user, self.cost)
        result, error = self.outcome()
        now, request_id = iso(utcnow()), "req_" + secrets.token_hex(10)
        cursor = execute(
            "INSERT INTO runs (execution_id, request_id, user_id, slug, model_ids, source, status, nominal, credits, "
            "by_grant, started, created_at, updated_at, plan, hook_url, hook_secret) "
            "VALUES (?, ?, ?, ?, ?, ?, 'processing', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            execution_id, request_id, user, self.name if self.kind == "workflow" else None, dumps(self.models),
            "api-workflow" if self.kind == "workflow" else "api-slim", self.cost, credits, int(by_grant),
            time.time(), now, now, dumps({"result": result, "error": error}),
            hook[0] if hook else None, hook[1] if hook else None)
        return cursor.lastrowid, request_id


FINAL = ("completed", "failed", "cancelled")


def finish(run_id, cancelled=False):
    """The provider reports: the run ends, once."""
    with DB_LOCK:
        run = row("SELECT * FROM runs WHERE id = ?", run_id)
        if run["status"] in FINAL or (cancelled and run["status"] not in ("cancel_requested", "processing")):
            return None
        plan = json.loads(run["plan"])
        credits = run["credits"]
        if cancelled:
            status, result, error = "cancelled", None, None
            if faulty("cancel_refunds"):
                give_back(run)
                credits = 0
        elif plan["error"]:
            status, result, error = "failed", None, plan["error"]
            if not OTHER:    # a failed run is not charged; the other way it is
                give_back(run)
                credits = 0
        else:
            status, result, error = "completed", plan["result"], None
        execute("UPDATE runs SET status = ?, result = ?, error = ?, credits = ?, ended = ?, updated_at = ? "
                "WHERE id = ?", status, dumps(result) if result is not None else None,
                dumps(error) if error else None, credits, time.time(), iso(utcnow()), run_id)
        done = row("SELECT * FROM runs WHERE id = ?", run_id)
    if done["hook_url"] and not (status == "cancelled" and faulty("webhook_none_when_cancelled")):
        SENDERS.submit(deliver, done)
    return done


def run_endpoint(kind, name):
    job = Job(kind, name)
    job.check()
    if job.is_async:
        return submit(job)
    begun = time.monotonic()
    run_id, _ = job.record()
    time.sleep(min(0.3, max(0.05, RUN_SECONDS * random.uniform(0.15, 0.25))))
    run = finish(run_id)
    ms = max(1, round((time.monotonic() - begun) * 1000))
    if run["status"] == "failed":
        error = json.loads(run["error"])
        if faulty("failed_run_200"):
            return reply({"success": False, "error": error["message"], "code": error["code"], "ms": ms})
        raise ApiError(500, "EXECUTION_FAILED", error["message"])
    cost = run["nominal"] if faulty("grant_cost_shown") else run["credits"]
    answer = {"success": True, "result": json.loads(run["result"]), "cost": cost}
    if kind == "workflow" or not OTHER:
        answer["ms"] = ms
    return reply(answer)


def submit(job):
    execution_id = str(uuid.uuid4())
    hook = None
    if g.key["hook_url"] and holds("webhook:receive"):
        hook = (g.key["hook_url"], g.key["hook_secret"])
    run_id, request_id = job.record(execution_id, hook)
    duration = RUN_SECONDS * random.uniform(0.6, 1.4)
    CLOCK.later(duration, finish, run_id)
    answer = {"_async": True, "executionId": execution_id, "requestId": request_id, "status": "processing",
              "webhookDelivery": {"configured": hook is not None}, "pollUrl": f"/api/executions/{execution_id}"}
    if hook:
        answer["webhookDelivery"]["url"] = hook[0]
    if job.kind == "workflow":
        answer["workflowSlug"] = job.name
    if faulty("submit_blocks"):
        time.sleep(max(0.8, duration))
    return reply(answer, 200 if OTHER else 202)


@app.post("/api/workflows/<name>/run")
@guarded(run=True)
def run_workflow(name):
    return run_endpoint("workflow", name)


@app.post("/api/models/<name>/run")
@guarded(run=True)
def run_model(name):
    return run_endpoint("model", name)


# --------------------------------------------------------------------------- executions

def my_run(execution_id, any_owner=False):
    run = row("SELECT * FROM runs WHERE execution_id = ?", execution_id)
    if run is None or (run["user_id"] != me()["id"] and not any_owner):
        raise not_found("Execution")
    return run


@app.get("/api/executions/<execution_id>")
@guarded("execution:read")
def poll(execution_id):
    run = my_run(execution_id, any_owner=faulty("execution_foreign_read"))
    out = {"executionId": run["execution_id"], "status": run["status"]}
    if not OTHER:
        out.update(requestId=run["request_id"], workflowSlug=run["slug"], modelIds=json.loads(run["model_ids"]),
                   createdAt=run["created_at"], updatedAt=run["updated_at"])
    if run["status"] == "completed":
        out["result"] = json.loads(run["result"])
        if not OTHER:
            out["cost"] = run["credits"]
    if run["status"] == "failed":
        error = json.loads(run["error"])
        out["error"] = error["message"] if faulty("failed_error_is_string") else error
    return reply(out)


@app.post("/api/executions/<execution_id>/cancel")
@guarded("execution:cancel", limited="cancel")
def cancel(execution_id):
    with DB_LOCK:
        run = my_run(execution_id)
        status = run["status"]
        if status in FINAL:
            if faulty("cancel_after_end_flips"):
                execute("UPDATE runs SET status = 'cancelled', updated_at = ? WHERE id = ?", iso(utcnow()), run["id"])
                return reply({"executionId": execution_id, "status": "cancelled"})
            if OTHER:
                return reply({"executionId": execution_id, "status": status})
            raise ApiError(409, "EXECUTION_ENDED", f"The execution is already {status}")
        if status == "processing":
            if OTHER and run["slug"] is not None:   # this provider stops at once
                finish(run["id"], cancelled=True)
                status = "cancelled"
            else:
                execute("UPDATE runs SET status = 'cancel_requested', updated_at = ? WHERE id = ?",
                        iso(utcnow()), run["id"])
                status = "cancel_requested"
                CLOCK.later(random.uniform(0.05, 0.15), finish, run["id"], True)
    return reply({"executionId": execution_id, "status": status})


class Clock(threading.Thread):
    """Stands for the providers: calls back at a given time, on one thread."""

    def __init__(self):
        super().__init__(daemon=True)
        self.heap, self.count, self.cond = [], itertools.count(), threading.Condition()

    def later(self, seconds, call, *args):
        with self.cond:
            heapq.heappush(self.heap, (time.monotonic() + seconds, next(self.count), call, args))
            self.cond.notify()

    def run(self):
        while True:
            with self.cond:
                while not self.heap or self.heap[0][0] > time.monotonic():
                    self.cond.wait(self.heap[0][0] - time.monotonic() if self.heap else None)
                _, _, call, args = heapq.heappop(self.heap)
            try:
                call(*args)
            except Exception as err:
                print("clock:", repr(err), file=sys.stderr)


CLOCK = Clock()
SENDERS = ThreadPoolExecutor(12, thread_name_prefix="hook")


# --------------------------------------------------------------------------- webhooks

_first_secret = []


def hook_body(run):
    payload = {"event": "execution." + run["status"], "executionId": run["execution_id"],
               "requestId": run["request_id"], "userId": run["user_id"], "workflowSlug": run["slug"],
               "modelIds": json.loads(run["model_ids"]), "status": run["status"]}
    if run["result"] is not None:
        payload["result"] = json.loads(run["result"])
    if run["error"] is not None:
        payload["error"] = json.loads(run["error"])
    if faulty("signature_non_ascii"):
        try:
            return json.dumps(payload, ensure_ascii=False).encode("utf-8"), json.dumps(payload).encode("ascii")
        except UnicodeEncodeError:
            pass
    raw = to_bytes(payload)
    return raw, raw


def post_hook(url, raw, headers):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        conn = http.client.HTTPSConnection(parts.hostname, parts.port or 443, timeout=4,
                                           context=ssl.create_default_context())
    else:
        conn = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=4)
    try:
        conn.request("POST", (parts.path or "/") + (("?" + parts.query) if parts.query else ""), raw, headers)
        return conn.getresponse().status
    finally:
        conn.close()


def deliver(run, attempt=0):
    raw, signed = hook_body(run)
    secret = run["hook_secret"]
    if faulty("webhook_first_secret"):
        if not _first_secret:
            _first_secret.append(secret)
        secret = _first_secret[0]
    t = str(int(time.time() * (1000 if faulty("webhook_t_millis") else 1)))
    mac = hmac.new(secret.encode("utf-8"), t.encode() + b"." + signed, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "User-Agent": "Knouds-Webhooks/1",
               "X-Knouds-Signature": f"t={t},v1={mac}"}
    try:
        status = post_hook(run["hook_url"], raw, headers)
    except (OSError, http.client.HTTPException, socket.timeout):
        status = 0
    delays = (1.0, 3.0) if OTHER else (0.5, 1.0, 2.0)
    if not 200 <= status < 300 and attempt < len(delays):
        CLOCK.later(delays[attempt], SENDERS.submit, deliver, run, attempt + 1)


# --------------------------------------------------------------------------- usage

ROW_STATUS = "CASE status WHEN 'cancel_requested' THEN '%s' ELSE status END"


def row_status_sql():
    return ROW_STATUS % ("cancelled" if OTHER else "processing")


def page_number(name, default, low, high):
    text = request.args.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,15}", text) or int(text) < low:
        if OTHER:
            raise ApiError(400, "INVALID_QUERY", f"{name} must be a number of at least {low}")
        return default
    number = int(text)
    if high and number > high:
        if OTHER:
            raise ApiError(400, "INVALID_QUERY", f"{name} is at most {high}")
        return high
    return number


def usage_row(run):
    ended = run["ended"] is not None
    status = run["status"]
    if status == "cancel_requested":
        status = "cancelled" if OTHER else "processing"
    error = json.loads(run["error"])["code"] if run["error"] else None
    return {"id": run["id"], "userId": run["user_id"], "workflowSlug": run["slug"],
            "modelIds": json.loads(run["model_ids"]), "status": status, "source": run["source"],
            "cost": round(run["nominal"] * 0.006, 4), "userCost": round(run["credits"] * 0.01, 4),
            "creditsCost": run["credits"],
            "durationMs": round((run["ended"] - run["started"]) * 1000) if ended else (None if OTHER else 0),
            "errorCode": error, "requestId": run["request_id"], "createdAt": run["created_at"]}


@app.get("/api/usage")
@guarded(limited="usage")
def usage():
    limit = page_number("limit", 50, 1, 500)
    offset = page_number("offset", 0, 0, None)
    where, args = "user_id = ? AND source <> 'canvas'", [me()["id"]]
    status, model, slug = (request.args.get(k) for k in ("status", "modelId", "workflowSlug"))
    filtered = bool(status or model or slug)
    if status:
        known = ("processing", "completed", "failed") if OTHER else ("processing", "completed", "failed", "cancelled")
        if status in known:
            where += f" AND {row_status_sql()} = ?"
            args.append(status)
        elif OTHER and status != "cancelled":
            raise ApiError(400, "INVALID_QUERY", "unknown status")
    if slug:
        where += " AND slug = ?"
        args.append(slug)
    if model:
        joint = "OR" if faulty("usage_filter_or_leak") else "AND"
        where += f" {joint} EXISTS (SELECT 1 FROM json_each(runs.model_ids) AS m WHERE m.value = ?)"
        args.append(model)
    if filtered and faulty("offset_lost_with_filter"):
        offset = 0
    with DB_LOCK:
        total = row(f"SELECT COUNT(*) AS n FROM runs WHERE {where}", *args)["n"]
        found = rows(f"SELECT * FROM runs WHERE {where} ORDER BY id DESC LIMIT ? OFFSET ?", *args, limit, offset)
    out = [usage_row(run) for run in found]
    if faulty("total_is_page_length"):
        total = len(out)
    return reply({"rows": out, "page": offset // limit + (0 if OTHER else 1), "pageSize": limit, "total": total})


@app.get("/api/usage/models")
@guarded()
def usage_models():
    canvas = "" if OTHER else "AND source <> 'canvas'"
    found = rows(f"SELECT DISTINCT m.value AS id FROM runs, json_each(runs.model_ids) AS m "
                 f"WHERE user_id = ? {canvas} ORDER BY 1", me()["id"])
    ids = [r["id"] for r in found]
    return reply(ids if OTHER else {"models": ids})


# --------------------------------------------------------------------------- fixtures

PRO_CAPS = ["workflow:run", "workflow:read", "workflow:write", "webhook:receive", "execution:read",
            "execution:cancel"]
BIZ_CAPS = PRO_CAPS + ["model:run"]


def make_doc(name, models, fields=None, **more):
    kind = (lambda text: text) if OTHER else (lambda text: text[0].lower() + text[1:].replace(" ", ""))
    fields = fields or [{"name": "prompt", "type": "textarea", "label": "Prompt", "default": "a quiet harbour"}]
    nodes = [{"id": "in", "type": kind("Request Input"), "position": {"x": 0, "y": 12.5}, "data": {"fields": fields}}]
    edges = []
    for n, model in enumerate(models):
        nodes.append({"id": f"gen{n}", "type": kind("Generator"), "position": {"x": 240, "y": 120 * n},
                      "data": {"model": model}})
        edges.append({"id": f"e{n}a", "source": "in", "target": f"gen{n}", "sourceHandle": "prompt",
                      "targetHandle": "prompt"})
        edges.append({"id": f"e{n}b", "source": f"gen{n}", "target": "out", "sourceHandle": "output",
                      "targetHandle": "input"})
    nodes.append({"id": "out", "type": kind("Response Output"), "position": {"x": 480, "y": 0}, "data": {}})
    doc = {"name": name, "tags": [], "nodes": nodes, "edges": edges, "viewport": {"x": 0, "y": 0, "zoom": 1},
           "publicPlayground": False}
    doc.update(more)
    return doc


def seed(hook_url, hook_secret):
    keys, flows = {}, {}
    many = 50_000_000

    def account(label, tier, role="user", approved=True, credits=many, grant=None):
        uid = "usr_" + hashlib.sha1(label.encode()).hexdigest()[:12]
        execute("INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?)", uid, f"{label}@example.com", role, tier,
                int(approved), credits, grant)
        return uid, tier, role

    def key(name, owner, caps, state="active", hook=None, print_hook=True):
        uid, tier, role = owner
        secret = "knouds_live_" + secrets.token_urlsafe(24).replace("_", "x").replace("-", "y")
        url = hook_url if hook else None
        execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?)", hashlib.sha256(secret.encode()).hexdigest(), name,
                uid, dumps(caps), "active" if state == "unapproved" else state, url, hook)
        keys[name] = {"secret": secret, "user": uid, "tier": tier, "role": role, "capabilities": caps,
                      "state": state, "webhook": bool(url) and print_hook}
        if hook and print_hook:
            keys[name]["webhook_secret"] = hook

    def flow(owner, name, models, inputs=None, template=False, fails=False, **more):
        doc = make_doc(name, models, **more)
        slug = free_slug(name)
        execute("INSERT INTO workflows (slug, owner, doc, is_template, fails, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
                slug, owner[0], dumps(doc), int(template), int(fails), iso(utcnow() - timedelta(days=2)))
        inputs = inputs or {"prompt": "a quiet harbour"}
        flows[slug] = {"owner": owner[0], "public": doc["publicPlayground"], "template": template, "inputs": inputs,
                       "cost_credits": workflow_cost(doc, inputs), "fails": fails, "polled": True}

    def past(owner, source, slug, models, status="completed", age_hours=30):
        when = utcnow() - timedelta(hours=age_hours)
        cost = sum(model_cost(m, {}) for m in models)
        error = dumps({"code": "EXECUTION_FAILED", "message": "The provider could not finish the run"})
        execute("INSERT INTO runs (request_id, user_id, slug, model_ids, source, status, error, nominal, credits, "
                "by_grant, started, ended, created_at, updated_at, plan) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, '{}')", "req_" + secrets.token_hex(10), owner[0],
                slug, dumps(models), source, status, error if status == "failed" else None, cost,
                0 if status == "failed" and not OTHER else cost, when.timestamp(), when.timestamp() + 2.4,
                iso(when), iso(when))

    pro, pro2 = account("mara", "pro"), account("jonas", "pro")
    biz, ent = account("atlas", "business"), account("orbit", "enterprise")
    adm_pro, adm_biz = account("root", "pro", role="admin"), account("ops", "business", role="admin")
    star, waiting = account("starry", "pro"), account("newcomer", "pro", approved=False)
    free, custom = account("visitor", "free", credits=250), account("atelier", "studio")
    low = account("penny", "pro", credits=3)
    spent, trial = account("tried", "pro", credits=0, grant=0), account("trying", "pro", credits=0, grant=many)

    image = [{"name": "prompt", "type": "textarea", "label": "Prompt", "default": "a quiet harbour"},
             {"name": "num_images", "type": "slider", "min": 1, "max": 4, "step": 1, "default": 2},
             {"name": "style", "type": "pills", "options": ["photo", "ink"], "default": "ink"}]
    flow(pro, "Spring Sale", ["nano-banana-2"], description="The banner of the spring sale", tags=["shop", "sale"])
    flow(pro, "Spring Sale Banner", ["seedream-v5", "claude-sonnet"], fields=image,
         inputs={"prompt": "tulips", "num_images": 2, "style": "ink"})
    flow(pro, "Window Shop", ["claude-sonnet"], publicPlayground=True, description="Anyone may look")
    flow(pro, "Glitch Reel", ["gpt-image-2"], fails=True)
    flow(pro2, "Ledger Art", ["nano-banana-2"], description="Private sketches")
    flow(pro2, "Ledger Art", ["claude-sonnet"])
    flow(biz, "Atlas Hero", ["gpt-image-2", "nano-banana-2"], fields=image, inputs={"prompt": "maps", "num_images": 1})
    flow(biz, "Atlas Thumb", ["seedream-v5"])
    flow(ent, "Orbit Clip", ["seedance-2-0"])
    flow(ent, "Starter Kit", ["nano-banana-2"], template=True, description="A template for all", tags=["starter"])
    flow(adm_pro, "Root Notes", ["claude-sonnet"])
    flow(adm_biz, "Ops Notes", ["claude-sonnet"])
    flow(star, "Star Map", ["claude-sonnet"])
    flow(waiting, "Waiting Room", ["claude-sonnet"])
    flow(custom, "Atelier Poster", ["seedream-v5"])
    flow(low, "Penny Sketch", ["claude-sonnet", "claude-sonnet"])
    flow(low, "Penny Poster", ["gpt-image-2", "gpt-image-2"])
    flow(spent, "Tried Once", ["nano-banana-2"])
    flow(trial, "Trying Out", ["nano-banana-2"])

    first = hook_secret or "whsec_" + secrets.token_hex(20)
    key("pro_all", pro, PRO_CAPS)
    key("pro_read", pro, ["workflow:read"])
    key("pro_run", pro, ["workflow:run"])
    key("pro_bound", pro, ["workflow:spring-sale:run"])
    key("pro_hook", pro, ["workflow:run", "workflow:read", "webhook:receive", "execution:read", "execution:cancel"],
        hook=first)
    key("pro_hook_unheld", pro, ["workflow:run", "execution:read"], hook="whsec_" + secrets.token_hex(20),
        print_hook=False)     # a webhook is set, the capability for it is not held
    key("pro_exec", pro, ["execution:read", "execution:cancel"])
    key("pro_wild", pro, ["workflow:*"])
    key("pro_revoked", pro, PRO_CAPS, state="revoked")
    key("pro_legacy", pro, PRO_CAPS, state="legacy")
    key("pro2_all", pro2, PRO_CAPS)
    key("biz_all", biz, BIZ_CAPS)
    key("biz_hook", biz, BIZ_CAPS, hook="whsec_" + secrets.token_hex(20))
    key("biz_bound_model", biz, ["model:gpt-image-2:run"])
    key("ent_all", ent, BIZ_CAPS)
    key("admin_pro", adm_pro, ["*"])
    key("admin_biz", adm_biz, ["*"])
    key("star_user", star, ["*"])
    key("unapproved", waiting, PRO_CAPS, state="unapproved")
    key("free", free, ["workflow:run", "workflow:read", "workflow:write", "execution:read", "execution:cancel"])
    key("custom", custom, PRO_CAPS)
    key("low", low, PRO_CAPS)
    key("trial_spent", spent, PRO_CAPS)
    key("trial_pays", trial, PRO_CAPS)

    past(pro, "api-workflow", "spring-sale", ["nano-banana-2"], age_hours=50)
    past(pro, "canvas", "spring-sale", ["kling-v3-i2v"], age_hours=49)
    past(pro, "api-workflow", "glitch-reel", ["gpt-image-2"], status="failed", age_hours=48)
    past(pro, "canvas", None, ["seedream-v5"], age_hours=40)
    past(pro2, "api-workflow", "ledger-art", ["nano-banana-2"], age_hours=36)
    past(biz, "api-slim", None, ["suno-v5"], age_hours=35)
    past(biz, "canvas", "atlas-hero", ["nano-banana-2"], age_hours=34)
    past(biz, "api-slim", None, ["nano-banana-2"], age_hours=33)

    models = {name: {"needs_tier": m["tier"], "polled": m["polled"], "disabled": m["disabled"], "inputs": m["inputs"],
                     "cost_credits": model_cost(name, m["inputs"])} for name, m in MODELS.items()}
    return {"keys": keys, "workflows": flows, "models": models}


# --------------------------------------------------------------------------- main

STARTED = time.time()


def json_server_errors():
    """waitress answers a malformed request by itself, in plain text: make that the envelope too."""
    import waitress.utilities as wu

    def to_response(self, ident=None):
        body = dumps({"error": f"{self.reason}: {self.body}", "code": "BAD_REQUEST" if self.code < 500
                      else "INTERNAL_ERROR"}).encode("ascii")
        return f"{self.code} {self.reason}", [("Content-Type", "application/json")], body

    wu.Error.to_response = to_response


def main():
    global FAULT, OTHER, RUN_SECONDS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fault", choices=[f["name"] for f in FAULTS], metavar="NAME")
    parser.add_argument("--other-way", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--run-seconds", type=float, default=0.5)
    parser.add_argument("--webhook-url")
    parser.add_argument("--webhook-secret")
    args = parser.parse_args()
    if args.list:
        print(json.dumps(FAULTS, indent=1))
        return
    FAULT, OTHER, RUN_SECONDS = args.fault, args.other_way, args.run_seconds
    if args.webhook_secret and not 16 <= len(args.webhook_secret) <= 256:
        parser.error("--webhook-secret: 16 to 256 characters")

    from waitress.server import create_server
    json_server_errors()
    open_db()
    CLOCK.start()
    fixture = seed(args.webhook_url, args.webhook_secret)
    server = create_server(app, host="127.0.0.1", port=args.port, threads=40, connection_limit=400,
                           channel_timeout=180, backlog=512, max_request_body_size=64 * 1024 * 1024,
                           asyncore_use_poll=True, clear_untrusted_proxy_headers=True, ident="knouds")
    print(json.dumps({"base_url": f"http://127.0.0.1:{server.effective_port}", **fixture}), flush=True)
    try:
        server.run()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
