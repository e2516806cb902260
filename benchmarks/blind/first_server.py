#!/usr/bin/env python3
"""A small, complete, in-memory server of the Knouds REST API (see README.md).

    python server.py --port 0 [--fault NAME] [--webhook-url URL [--webhook-secret S]]
    python server.py --list
"""
import argparse
import copy
import hashlib
import hmac
import ipaddress
import json
import math
import os
import random
import re
import secrets
import sys
import threading
import time
import unicodedata
import urllib.error
import urllib.parse
import urllib.request
import uuid
from datetime import datetime, timezone
from email.utils import formatdate

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

# ------------------------------------------------------------------ faults

P, S = "plain", "subtle"
FAULTS = {
    # authentication
    "auth-bearer-accepted": ("an API key travels in x-api-key only; Authorization: Bearer is not accepted", P),
    "auth-revoked-key-reads-usage": ("a revoked key gets 401 everywhere, /api/usage included", S),
    "auth-legacy-key-plain-401": ("a key from before May 2026 is answered with code LEGACY_KEY_RETIRED", P),
    "auth-key-matched-by-prefix": ("an unknown key gets 401, even one that shares its beginning with a real key", S),
    "auth-session-credits-open-to-admin": ("no API key of anybody, administrators included, reaches /api/credits/*", S),
    # capabilities
    "cap-move-needs-only-read": ("moving a workflow takes workflow:write; workflow:read does not imply it", S),
    "cap-bound-key-runs-any-workflow": ("workflow:<slug>:run runs the named workflow and no other", S),
    "cap-async-run-unchecked": ("the async form of a run needs the same capability as the sync form", S),
    # envelopes
    "envelope-unknown-route-html": ("every response, errors included, is a JSON object", P),
    "envelope-delete-empty-body": ("every response is a JSON object, that of a deletion too", S),
    # validation
    "validation-array-inputs-accepted": ("`inputs` that is an array is refused with 400 INVALID_INPUTS", S),
    "validation-model-name-case-folded": ("a model name with an upper-case letter is refused with 400 INVALID_SLUG", S),
    # workflows and their ownership
    "workflow-update-foreign": ("nobody but its owner updates a workflow", P),
    "workflow-list-shows-foreign-playgrounds": ("the list holds one's own workflows and other people's templates, nothing else", S),
    "workflow-rename-changes-slug": ("a workflow's slug is fixed at creation; an update never changes it", S),
    "workflow-partial-update-resets-tags": ("an update with a subset of the fields leaves the other fields alone", S),
    "workflow-edge-handles-lost": ("what Get returns is the whole document, edges with both their handles (round trip)", S),
    # schema
    "schema-public-shows-cost": ("the public schema has no estimatedCreditCost", S),
    "schema-served-after-delete": ("once deleted, a workflow is 404, for its schema too", S),
    # sync runs
    "run-foreign-workflow": ("running a foreign slug is 404", P),
    "run-cost-in-usd": ("`cost` of a sync model run is in credits", S),
    "run-left-out-field-empty": ("a left-out input falls back to its field's default", P),
    # async runs
    "async-claude-accepted": ("claude-sonnet is not polled: async answers 400 ASYNC_NOT_SUPPORTED", S),
    "async-submit-blocks": ("an async submit answers in under 500 ms", P),
    # executions and cancel
    "execution-foreign-poll": ("a foreign execution is 404", P),
    "execution-cancelled-completes-later": ("nothing leaves the status cancelled", S),
    "execution-cancel-not-charged": ("a cancelled run is always charged", P),
    # webhooks
    "webhook-signature-over-reformatted-body": ("the signature is an HMAC over the raw body as it was sent", S),
    "webhook-cancelled-never-sent": ("each ended execution is reported once, a cancelled one as execution.cancelled", S),
    # usage
    "usage-skips-failed": ("usage lists all of one's own API rows, failed ones too", S),
    "usage-workflow-filter-forgets-owner": ("usage shows only one's own rows, with a workflowSlug filter too", S),
    "usage-total-is-page-length": ("`total` counts all matching rows, not those of the page", S),
    # credits
    "credits-async-unchecked": ("too few credits: 402 INSUFFICIENT_CREDITS, for an async submit too", S),
    # rate limits
    "rate-bucket-per-key": ("rate limits are per user and route, not per key", S),
    "rate-one-bucket-for-both-runs": ("the two run endpoints have separate buckets", S),
    # concurrency, values, times, lists
    "concurrency-inputs-mixed": ("a run works on the inputs of its own request", S),
    "concurrency-slug-race": ("the server appends -2, -3, ... while a slug is taken, simultaneous creates included", S),
    "values-emoji-lost": ("a document comes back as it was sent (round trip), characters beyond the BMP included", S),
    "times-list-updated-http-date": ("updatedAt is ISO 8601, in the list too", P),
    "list-cost-zero-instead-of-null": ("a summary's estimatedCreditCost is null without generator nodes", S),
}
ACTIVE = set()


def fault(name):
    if name not in FAULTS:
        raise KeyError(name)
    return name in ACTIVE


# ------------------------------------------------------------------ constants and state

TIERS = ["free", "creator", "pro", "business", "enterprise"]
RATE = {"pro": 100, "business": 1000, "enterprise": None}
MONTHLY = {"free": 250, "creator": 1700, "pro": 5000, "business": 11329, "enterprise": 100000}
PRO_CAPS = ["workflow:run", "workflow:read", "workflow:write", "webhook:receive",
            "execution:read", "execution:cancel"]
BUSINESS_CAPS = PRO_CAPS + ["model:run"]
FINAL = ("completed", "failed", "cancelled")
USD_PER_CREDIT = 0.004
MAX_BODY = 2_000_000
KEY_RE = re.compile(r"knouds_live_[0-9a-f]{40}")
SLUG_RE = re.compile(r"[a-z0-9-]+")


def _model(kind, price, unit, polled, needs="business", disabled=False, fails=False, provider=None):
    return {"kind": kind, "price": price, "unit": unit, "polled": polled, "needs_tier": needs,
            "disabled": disabled, "fails": fails, "provider": provider}


MODELS = {
    "nano-banana-2": _model("images", 8, "image", False, provider="fal:fal-ai/nano-banana-2"),
    "seedream-v5": _model("images", 6, "image", False, provider="fal:bytedance/seedream/v5"),
    "kling-v3-i2v": _model("videos", 14, "second", False, provider="fal:kling/v3/i2v"),
    "kling-o3-ref2v": _model("videos", 18, "second", False, provider="fal:kling/o3/ref2v"),
    "kling-v3-motion": _model("videos", 16, "second", False, provider="fal:kling/v3/motion"),
    "claude-sonnet": _model("text", 3, "call", False),
    "seedance-2-0": _model("videos", 10, "second", True),
    "seedance-2-0-full-access": _model("videos", 20, "second", True, needs="enterprise"),
    "gpt-image-2": _model("images", 10, "image", True, provider="fal:internal/gpt-image-2-relay"),
    "suno-v5": _model("audios", 12, "call", True),
    "old-diffuser": _model("images", 2, "image", True, disabled=True),
    "always-fails": _model("images", 4, "image", True, fails=True),
}

LOCK = threading.RLock()
USERS, KEYS, WORKFLOWS, EXECUTIONS = {}, {}, {}, {}
ROWS, BUCKETS, SCHEMA_CACHE, LAST_RUN = [], {}, {}, {}
SETTINGS = {"production": False, "session": secrets.token_hex(16)}


def iso(t=None):
    t = time.time() if t is None else t
    return datetime.fromtimestamp(t, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ------------------------------------------------------------------ plumbing: errors, JSON, routes

class ApiError(Exception):
    def __init__(self, status, code, text, headers=None, **context):
        super().__init__(text)
        self.status, self.headers = status, headers or {}
        self.body = {"error": text, "code": code, **context}


def not_found(text="Not found"):
    return ApiError(404, "NOT_FOUND", text)


def reply(obj, status=200):
    return Response(json.dumps(obj, allow_nan=False), status=status, content_type="application/json")


def _finite(text):
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("number out of range")
    return number


def _no_constant(name):
    raise ValueError(f"{name} is not JSON")


def too_deep(value, left=60):
    if isinstance(value, (dict, list)):
        inner = value.values() if isinstance(value, dict) else value
        return left == 0 or any(too_deep(v, left - 1) for v in inner)
    return False


def read_object(rq):
    """The request's body as a JSON object, or 400 INVALID_BODY."""
    raw = rq.get_data()
    if len(raw) > MAX_BODY:
        raise ApiError(413, "PAYLOAD_TOO_LARGE", "The body is too large")
    try:
        body = json.loads(raw.decode("utf-8"), parse_float=_finite, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ApiError(400, "INVALID_BODY", "The body is not valid JSON") from None
    if not isinstance(body, dict) or too_deep(body):
        raise ApiError(400, "INVALID_BODY", "The body must be a JSON object (of at most 60 levels)")
    return body


ROUTES = []


def route(method, pattern):
    def add(fn):
        ROUTES.append((method, re.compile(pattern, re.DOTALL), fn))
        return fn
    return add


def dispatch(rq):
    path, method = rq.path, "GET" if rq.method == "HEAD" else rq.method
    allowed = []
    for verb, pattern, fn in ROUTES:
        m = pattern.fullmatch(path)
        if m and verb in (method, "*"):
            return fn(rq, *m.groups())
        if m:
            allowed.append(verb)
    if allowed:
        raise ApiError(405, "METHOD_NOT_ALLOWED", "Method not allowed", {"Allow": ", ".join(sorted(set(allowed)))})
    if fault("envelope-unknown-route-html"):
        return Response("<!doctype html><title>404</title><h1>Not Found</h1>", 404, content_type="text/html")
    raise not_found("No such route")


@Request.application
def application(rq):
    rq.rate_headers = {}
    try:
        rq.get_data(cache=True)            # always drain, whatever the handler does with it
        res = dispatch(rq)
    except ApiError as e:
        res = reply(e.body, e.status)
        res.headers.update(e.headers)
    except Exception as e:                 # noqa: BLE001 - the last resort keeps the envelope
        print("internal error:", repr(e), file=sys.stderr)
        res = reply({"error": "Internal server error", "code": "INTERNAL_ERROR"}, 500)
    res.headers.update(rq.rate_headers)
    res.headers["Cache-Control"] = "no-store"
    return res


# ------------------------------------------------------------------ authentication and capabilities

def unauthorized():
    return ApiError(401, "UNAUTHORIZED", "Unauthorized")


def authenticate(rq):
    """The calling key (with its user); 401 otherwise."""
    secret = rq.headers.get("x-api-key", "")
    if not secret and fault("auth-bearer-accepted"):
        secret = rq.headers.get("Authorization", "").removeprefix("Bearer ")
    if not KEY_RE.fullmatch(secret):
        raise unauthorized()
    key = KEYS.get(secret)
    if key is None and fault("auth-key-matched-by-prefix"):
        key = next((k for s, k in KEYS.items() if s[:28] == secret[:28]), None)
    if key is None:
        raise unauthorized()
    if key["state"] == "revoked":
        if not (fault("auth-revoked-key-reads-usage") and rq.path.startswith("/api/usage")):
            raise unauthorized()
    if key["state"] == "legacy":
        if fault("auth-legacy-key-plain-401"):
            raise unauthorized()
        raise ApiError(401, "LEGACY_KEY_RETIRED", "Keys made before May 2026 are retired; create a new one")
    if not USERS[key["user"]]["approved"]:
        raise unauthorized()
    return key


def is_admin(key):
    return USERS[key["user"]]["role"] == "admin"


def holds(key, needed):
    caps = key["capabilities"]
    return ("*" in caps and is_admin(key)) or needed in caps or needed.split(":")[0] + ":*" in caps


def denied(required):
    return ApiError(403, "CAPABILITY_DENIED", "This key lacks a capability", required=required)


def require(key, needed):
    if not holds(key, needed):
        raise denied(needed)


def require_run(key, resource, name):
    bound = f"{resource}:{name}:run"
    if holds(key, f"{resource}:run") or bound in key["capabilities"]:
        return
    if fault("cap-bound-key-runs-any-workflow") and resource == "workflow":
        if any(re.fullmatch(r"workflow:.+:run", c) for c in key["capabilities"]):
            return
    raise denied([f"{resource}:run", bound])


# ------------------------------------------------------------------ rate limits

def throttle(rq, key, name):
    """One request of this user on this route; fixed 60 s windows."""
    tier = USERS[key["user"]]["tier"]
    limit = RATE.get(tier, 100)
    if is_admin(key) or limit is None:
        return
    owner = key["name"] if fault("rate-bucket-per-key") else key["user"]
    if fault("rate-one-bucket-for-both-runs"):
        name = "run"
    now = time.time()
    window = int(now // 60)
    with LOCK:
        started, used = BUCKETS.get((owner, name), (window, 0))
        used = used + 1 if started == window else 1
        BUCKETS[owner, name] = (window, used)
    reset = (window + 1) * 60
    rq.rate_headers = {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(max(0, limit - used)),
                       "X-RateLimit-Reset": str(reset)}
    if used > limit:
        wait = max(1, math.ceil(reset - now))
        raise ApiError(429, "RATE_LIMIT_EXCEEDED", "Too many requests", {"Retry-After": str(wait)},
                       tier=tier, limit=limit, retryAfter=wait)


# ------------------------------------------------------------------ small endpoints

@route("GET", "/api/health")
def health(rq):
    return reply({"status": "ok", "time": iso()})


@route("GET", "/api/pricing/public")
def pricing(rq):
    return reply({"tiers": {t: {"monthlyCredits": None if t == "enterprise" else MONTHLY[t],
                                "once": t == "free", "apiAccess": t in RATE,
                                "rateLimit": RATE.get(t)} for t in TIERS}})


@route("GET", "/api/whoami")
def whoami(rq):
    u = USERS[authenticate(rq)["user"]]
    return reply({"user": {k: u[k] for k in ("id", "email", "role", "tier", "approved")}})


@route("PUT", "/api/api-keys/([^/]+)/webhook")
def dashboard_webhook(rq, name):
    """The dashboard's form (browser session only): where a key's webhooks go."""
    if not hmac.compare_digest(rq.cookies.get("knouds_session", "").encode(), SETTINGS["session"].encode()):
        raise ApiError(401, "SESSION_REQUIRED", "Sign in with a browser")
    body = read_object(rq)
    key = next((k for k in KEYS.values() if k["name"] == name), None)
    if key is None:
        raise not_found()
    set_webhook(key, body.get("url"), body.get("secret"))
    return reply({"url": key["webhook"]["url"], "secret": key["webhook"]["secret"]})


@route("*", r"/api/(?:me|credits|api-keys|business/admin)(?:/.*)?")
def session_only(rq):
    if fault("auth-session-credits-open-to-admin") and rq.path.startswith("/api/credits"):
        if is_admin(key := authenticate(rq)):
            return reply({"credits": USERS[key["user"]]["credits"]})
    raise ApiError(401, "SESSION_REQUIRED", "Only a browser session reaches this endpoint")


# ------------------------------------------------------------------ workflows

def norm(node):
    return re.sub(r"[^a-z]", "", node["type"].lower())


def generators(doc):
    """The generator nodes of a document: those that name a model, or call themselves generators."""
    return [n for n in doc["nodes"] if str(n["data"].get("model")) in MODELS or norm(n).endswith("generator")]


def node_model(node):
    model = node["data"].get("model")
    return model if isinstance(model, str) and model in MODELS else "gpt-image-2"


def input_fields(doc):
    for n in doc["nodes"]:
        if norm(n) == "requestinput" and isinstance(n["data"].get("fields"), list):
            return [{**f, "type": f.get("type") if isinstance(f.get("type"), str) else "text"}
                    for f in n["data"]["fields"] if isinstance(f, dict) and isinstance(f.get("name"), str)]
    return []


def default_of(field):
    return field.get("default", False if field["type"] == "toggle" else "")


def quantity(model, params):
    """How many units a call of the model is charged for."""
    unit = MODELS[model]["unit"]
    if unit == "call":
        return 1
    names, top, default = (("count", "numImages"), 4, 1) if unit == "image" else (("duration",), 30, 5)
    for n in names:
        v = params.get(n)
        if isinstance(v, (int, float)) and not isinstance(v, bool):
            return int(min(top, max(1, v)))
    return default


def node_params(node, inputs):
    return {**node["data"], **inputs}


def estimate(doc):
    gens = generators(doc)
    if not gens:
        return None
    defaults = {f["name"]: default_of(f) for f in input_fields(doc)}
    return sum(MODELS[m]["price"] * quantity(m, node_params(n, defaults)) for n in gens for m in [node_model(n)])


def slugify(name):
    text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-") or "workflow"


def free_slug(name):
    base, slug, n = slugify(name), slugify(name), 1
    while slug in WORKFLOWS:
        n += 1
        slug = f"{base}-{n}"
    return slug


def _number(v):
    return isinstance(v, (int, float)) and not isinstance(v, bool)


def _numbers(v, *names):
    return isinstance(v, dict) and all(_number(v.get(n)) for n in names)


def clean_fields(body):
    """The fields of a workflow document in a body, checked; what the server owns is left out."""
    bad = lambda what: ApiError(400, "INVALID_BODY", f"Invalid workflow document: {what}")
    out = {}
    if "name" in body:
        if not isinstance(body["name"], str) or not body["name"].strip() or len(body["name"]) > 200:
            raise bad("name")
        out["name"] = body["name"]
    for f in ("description", "folderId"):
        if f in body:
            if body[f] is not None and not isinstance(body[f], str):
                raise bad(f)
            out[f] = body[f]
    if "tags" in body:
        if not isinstance(body["tags"], list) or not all(isinstance(t, str) for t in body["tags"]):
            raise bad("tags")
        out["tags"] = body["tags"]
    if "nodes" in body:
        out["nodes"] = []
        if not isinstance(body["nodes"], list):
            raise bad("nodes")
        for n in body["nodes"]:
            if not isinstance(n, dict) or not isinstance(n.get("id"), str) or not isinstance(n.get("type"), str):
                raise bad("a node needs id and type")
            n = {"position": {"x": 0, "y": 0}, "data": {}, **n}
            if not _numbers(n["position"], "x", "y") or not isinstance(n["data"], dict):
                raise bad("position or data of a node")
            out["nodes"].append(n)
    if "edges" in body:
        out["edges"] = []
        if not isinstance(body["edges"], list):
            raise bad("edges")
        for e in body["edges"]:
            if not isinstance(e, dict) or not all(isinstance(e.get(k), str) for k in ("id", "source", "target")):
                raise bad("an edge needs id, source and target")
            handles = {"sourceHandle": e.get("sourceHandle"), "targetHandle": e.get("targetHandle")}
            if not all(h is None or isinstance(h, str) for h in handles.values()):
                raise bad("handle of an edge")
            if fault("workflow-edge-handles-lost"):
                handles["targetHandle"] = handles["sourceHandle"]
            out["edges"].append({**e, **handles})
    if "viewport" in body:
        if not _numbers(body["viewport"], "x", "y", "zoom"):
            raise bad("viewport")
        out["viewport"] = body["viewport"]
    if "publicPlayground" in body:
        if not isinstance(body["publicPlayground"], bool):
            raise bad("publicPlayground")
        out["publicPlayground"] = body["publicPlayground"]
    if fault("values-emoji-lost"):         # a three-byte "utf8" column
        out = json.loads(re.sub(r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}", "", json.dumps(out)))
    return copy.deepcopy(out)


def blank(owner):
    return {"slug": "", "name": "", "description": "", "tags": [], "nodes": [], "edges": [],
            "viewport": {"x": 0, "y": 0, "zoom": 1}, "publicPlayground": False, "createdBy": owner,
            "folderId": None, "updatedAt": iso(), "isTemplate": False, "hidden": False, "archived": False}


def document(wf):
    return {k: v for k, v in wf.items() if k not in ("isTemplate", "hidden", "archived")}


def summary(wf):
    out = {k: wf[k] for k in ("slug", "name", "description", "tags", "isTemplate", "hidden", "archived",
                              "createdBy", "folderId", "updatedAt")}
    out["estimatedCreditCost"] = estimate(wf)
    if fault("list-cost-zero-instead-of-null"):
        out["estimatedCreditCost"] = out["estimatedCreditCost"] or 0
    if fault("times-list-updated-http-date"):
        out["updatedAt"] = formatdate(datetime.fromisoformat(wf["updatedAt"]).timestamp(), usegmt=True)
    return out


def readable(key, slug):
    wf = WORKFLOWS.get(slug)
    if wf is None or (wf["createdBy"] != key["user"] and not wf["isTemplate"]):
        raise not_found("Workflow not found")
    return wf


def own(key, slug):
    wf = WORKFLOWS.get(slug)
    if wf is None or wf["createdBy"] != key["user"]:
        raise not_found("Workflow not found")
    return wf


@route("GET", "/api/workflows")
def list_workflows(rq):
    key = authenticate(rq)
    require(key, "workflow:read")
    with LOCK:
        mine = [w for w in WORKFLOWS.values() if w["createdBy"] == key["user"] or w["isTemplate"]
                or (fault("workflow-list-shows-foreign-playgrounds") and w["publicPlayground"])]
        return reply([summary(w) for w in mine])


@route("POST", "/api/workflows")
def create_workflow(rq):
    key = authenticate(rq)
    require(key, "workflow:write")
    fields = clean_fields(read_object(rq))
    if "name" not in fields:
        raise ApiError(400, "INVALID_BODY", "A workflow needs a name")
    if fault("concurrency-slug-race"):
        slug = free_slug(fields["name"])
        time.sleep(0.04)                   # "look it up in the data base", outside of the lock
    with LOCK:
        if USERS[key["user"]]["tier"] == "free" and not is_admin(key):
            if any(w["createdBy"] == key["user"] for w in WORKFLOWS.values()):
                raise ApiError(403, "WORKFLOW_LIMIT_REACHED", "The free tier holds one workflow")
        if not fault("concurrency-slug-race"):
            slug = free_slug(fields["name"])
        wf = {**blank(key["user"]), **fields, "slug": slug, "updatedAt": iso()}
        WORKFLOWS[slug] = wf
        return reply(document(wf), 201)


@route("GET", "/api/workflows/([^/]+)/schema")
def schema(rq, slug):
    key = authenticate(rq)
    require(key, "workflow:read")
    with LOCK:
        if fault("schema-served-after-delete") and (key["user"], slug) in SCHEMA_CACHE:
            return reply(SCHEMA_CACHE[key["user"], slug])
        wf = readable(key, slug)
        body = {**describe(wf), "estimatedCreditCost": estimate(wf)}
        if fault("schema-served-after-delete"):
            SCHEMA_CACHE[key["user"], slug] = body
        return reply(body)


@route("GET", "/api/workflows/([^/]+)/public-schema")
def public_schema(rq, slug):
    with LOCK:
        wf = WORKFLOWS.get(slug)
        if wf is None or wf["publicPlayground"] is not True:
            raise not_found("Workflow not found")
        body = describe(wf)
        if fault("schema-public-shows-cost"):
            body["estimatedCreditCost"] = estimate(wf)
        return reply(body)


def describe(wf):
    fields = input_fields(wf)
    return {"fields": fields, "values": {f["name"]: default_of(f) for f in fields},
            "name": wf["name"], "description": wf["description"]}


@route("GET", "/api/workflows/([^/]+)")
def get_workflow(rq, slug):
    key = authenticate(rq)
    require(key, "workflow:read")
    with LOCK:
        return reply(document(readable(key, slug)))


@route("PUT", "/api/workflows/([^/]+)")
def update_workflow(rq, slug):
    key = authenticate(rq)
    require(key, "workflow:write")
    with LOCK:
        wf = WORKFLOWS.get(slug)
        if not (fault("workflow-update-foreign") and wf):
            wf = own(key, slug)
        fields = clean_fields(read_object(rq))
        if fault("workflow-partial-update-resets-tags"):
            wf["tags"] = []
        if fault("workflow-rename-changes-slug") and fields.get("name", wf["name"]) != wf["name"]:
            del WORKFLOWS[slug]
            wf["slug"] = free_slug(fields["name"])
            WORKFLOWS[wf["slug"]] = wf
        wf.update(fields, updatedAt=iso())
        if fault("schema-served-after-delete"):
            SCHEMA_CACHE.pop((key["user"], slug), None)
        return reply(document(wf))


@route("PUT", "/api/workflows/([^/]+)/move")
def move_workflow(rq, slug):
    key = authenticate(rq)
    require(key, "workflow:read" if fault("cap-move-needs-only-read") else "workflow:write")
    with LOCK:
        wf = own(key, slug)
        body = read_object(rq)
        if "folderId" not in body or not (body["folderId"] is None or isinstance(body["folderId"], str)):
            raise ApiError(400, "INVALID_BODY", "folderId must be a string or null")
        wf.update(folderId=body["folderId"], updatedAt=iso())
        return reply(document(wf))


@route("DELETE", "/api/workflows/([^/]+)")
def delete_workflow(rq, slug):
    key = authenticate(rq)
    require(key, "workflow:write")
    with LOCK:
        own(key, slug)
        del WORKFLOWS[slug]
    if fault("envelope-delete-empty-body"):
        return Response(status=204)
    return reply({"success": True, "slug": slug})


# ------------------------------------------------------------------ runs

def read_inputs(rq):
    inputs = read_object(rq).get("inputs")
    if isinstance(inputs, list) and fault("validation-array-inputs-accepted"):
        inputs = dict(enumerate(inputs))
    if not isinstance(inputs, dict):
        raise ApiError(400, "INVALID_INPUTS", "`inputs` must be an object")
    return inputs


def check_slug(text):
    if not SLUG_RE.fullmatch(text):
        raise ApiError(400, "INVALID_SLUG", "Only lowercase letters, digits and hyphens are allowed")


def outputs(model, n):
    kind, tag = MODELS[model]["kind"], uuid.uuid4().hex
    ext = {"images": "png", "videos": "mp4", "audios": "mp3"}.get(kind)
    if ext is None:
        return kind, ["Here is the text that was asked for."]
    return kind, [f"https://cdn.knouds.ai/out/{tag}-{i}.{ext}" for i in range(n)]


def call_models(calls):
    """What the providers make of a list of (model, params)."""
    result = {}
    for model, params in calls:
        kind, values = outputs(model, quantity(model, params) if MODELS[model]["unit"] == "image" else 1)
        result.setdefault(kind, []).extend(values)
    return result


def plan(calls, source, slug=None, echo=None):
    return {"calls": calls, "source": source, "slug": slug, "echo": echo,
            "models": list(dict.fromkeys(m for m, _ in calls)),
            "cost": sum(MODELS[m]["price"] * quantity(m, p) for m, p in calls),
            "fails": any(MODELS[m]["fails"] for m, _ in calls)}


def produce(job):
    if job["echo"] is None:
        return call_models(job["calls"])
    fields, values = job["echo"]
    if fault("concurrency-inputs-mixed"):
        values = LAST_RUN["values"]        # "the current request", kept in a module-level variable
    return {"text": [values[f["name"]] for f in fields if f["type"] in ("text", "textarea")], "inputs": values}


@route("POST", "/api/workflows/(.+)/run")
def run_workflow(rq, slug):
    key = authenticate(rq)
    throttle(rq, key, "workflow-run")
    is_async = rq.args.get("async") == "true"
    if not (is_async and fault("cap-async-run-unchecked")):
        require_run(key, "workflow", slug)
    check_slug(slug)
    inputs = read_inputs(rq)
    with LOCK:
        wf = WORKFLOWS.get(slug)
        wf = copy.deepcopy(wf if wf and fault("run-foreign-workflow") else own(key, slug))
    fields = input_fields(wf)
    values = {f["name"]: inputs.get(f["name"], "" if fault("run-left-out-field-empty") else default_of(f))
              for f in fields}
    LAST_RUN["values"] = values
    gens = generators(wf)
    job = plan([(node_model(n), node_params(n, values)) for n in gens], "api-workflow", slug,
               None if gens else (fields, values))
    return (submit if is_async else run_now)(key, job)


@route("POST", "/api/models/(.+)/run")
def run_model(rq, name):
    key = authenticate(rq)
    throttle(rq, key, "model-run")
    is_async = rq.args.get("async") == "true"
    require_run(key, "model", name)
    if fault("validation-model-name-case-folded"):
        name = name.lower()
    check_slug(name)
    inputs = read_inputs(rq)
    tier = USERS[key["user"]]["tier"]
    rank = TIERS.index(tier) if tier in TIERS else 0
    if rank < TIERS.index("business") and not is_admin(key):
        raise ApiError(403, "MODEL_TIER_REQUIRED", "Direct model runs need Business", requiredTier="business")
    model = MODELS.get(name)
    if model is None or model["disabled"]:
        raise ApiError(404, "MODEL_NOT_FOUND", "No such model")
    if rank < TIERS.index(model["needs_tier"]) and not is_admin(key):
        raise ApiError(403, "MODEL_TIER_REQUIRED", "This model needs a higher tier",
                       requiredTier=model["needs_tier"])
    if is_async and not model["polled"] and not (fault("async-claude-accepted") and name == "claude-sonnet"):
        raise ApiError(400, "ASYNC_NOT_SUPPORTED", "This model's provider is not polled")
    job = plan([(name, inputs)], "api-slim")
    return (submit if is_async else run_now)(key, job)


def charge(user, cost, checked=True):
    """Takes the credits of a run, all at once; what was really charged."""
    with LOCK:
        if user["grant"] is not None and cost > 0:
            if user["grant"] < 1:
                raise ApiError(402, "grant_exhausted", "The trial grant is used up")
            user["grant"] -= 1
            return 0
        if checked and user["credits"] < cost:
            raise ApiError(402, "INSUFFICIENT_CREDITS", "Too few credits", needed=cost, available=user["credits"])
        user["credits"] -= cost
        return cost


def open_row(key, job, charged, request_id):
    with LOCK:
        raw = job["models"] + [MODELS[m]["provider"] for m in job["models"] if MODELS[m]["provider"]]
        row = {"id": len(ROWS) + 1, "userId": key["user"], "workflowSlug": job["slug"], "modelIds": raw,
               "status": "processing", "source": job["source"], "creditsCost": charged, "durationMs": 0,
               "cost": round(job["cost"] * USD_PER_CREDIT * 0.6, 6), "errorCode": None,
               "requestId": request_id, "createdAt": iso(), "_t0": time.time()}
        ROWS.append(row)
        return row


def close_row(row, status, error=None):
    """The row's end; a failed run gets its credits back."""
    with LOCK:
        row.update(status=status, durationMs=round((time.time() - row["_t0"]) * 1000), errorCode=error)
        if status == "failed" or (status == "cancelled" and fault("execution-cancel-not-charged")):
            USERS[row["userId"]]["credits"] += row["creditsCost"]
            row["creditsCost"] = 0


def run_now(key, job):
    started = time.time()
    charged = charge(USERS[key["user"]], job["cost"])
    row = open_row(key, job, charged, "req_" + secrets.token_hex(8))
    time.sleep(random.uniform(0.05, 0.12) if job["calls"] else 0.01)
    if job["fails"]:
        close_row(row, "failed", "EXECUTION_FAILED")
        raise ApiError(500, "EXECUTION_FAILED", "The provider failed", requestId=row["requestId"])
    result = produce(job)
    close_row(row, "completed")
    if fault("run-cost-in-usd") and job["source"] == "api-slim":
        charged = round(charged * USD_PER_CREDIT, 6)
    return reply({"success": True, "result": result, "cost": charged, "ms": round((time.time() - started) * 1000)})


# ------------------------------------------------------------------ executions

def submit(key, job):
    charged = charge(USERS[key["user"]], job["cost"], checked=not fault("credits-async-unchecked"))
    hook = key["webhook"] if holds(key, "webhook:receive") else None
    ex = {"id": str(uuid.uuid4()), "requestId": "req_" + secrets.token_hex(8), "user": key["user"],
          "job": job, "status": "processing", "result": None, "error": None, "created": iso(), "ended": None,
          "charged": charged, "hook": dict(hook) if hook else None, "stop": threading.Event()}
    ex["row"] = open_row(key, job, charged, ex["requestId"])
    with LOCK:
        EXECUTIONS[ex["id"]] = ex
    worker = threading.Thread(target=work, args=(ex,), daemon=True)
    worker.start()
    if fault("async-submit-blocks"):
        worker.join()
        time.sleep(0.3)
    body = {"_async": True, "executionId": ex["id"], "requestId": ex["requestId"], "status": "processing",
            "webhookDelivery": {"configured": True, "url": hook["url"]} if hook else {"configured": False},
            "pollUrl": f"/api/executions/{ex['id']}"}
    if job["slug"]:
        body["workflowSlug"] = job["slug"]
    return reply(body, 202)


def work(ex):
    """A provider at work: ends 0.25 to 0.9 s after the submit, or shortly after a cancel."""
    if ex["stop"].wait(random.uniform(0.35, 0.85)):
        time.sleep(random.uniform(0.05, 0.12))
        finish(ex, "cancelled")
    elif ex["job"]["fails"]:
        finish(ex, "failed", error={"code": "EXECUTION_FAILED", "message": "The provider failed"})
    else:
        finish(ex, "completed", result=produce(ex["job"]))


def finish(ex, status, result=None, error=None):
    with LOCK:
        if ex["status"] in FINAL and not fault("execution-cancelled-completes-later"):
            return
        if ex["status"] == "cancel_requested":
            status, result, error = "cancelled", None, None
        ex.update(status=status, result=result, error=error, ended=iso())
        close_row(ex["row"], status, error and error["code"])
    if ex["hook"] and not (status == "cancelled" and fault("webhook-cancelled-never-sent")):
        threading.Thread(target=deliver, args=(ex,), daemon=True).start()


def own_execution(key, ident):
    ex = EXECUTIONS.get(ident)
    if ex is None or ex["user"] != key["user"]:
        raise not_found("Execution not found")
    return ex


def execution_body(ex):
    body = {"executionId": ex["id"], "requestId": ex["requestId"], "status": ex["status"],
            "workflowSlug": ex["job"]["slug"], "modelIds": ex["job"]["models"],
            "createdAt": ex["created"], "completedAt": ex["ended"]}
    if ex["status"] == "completed":
        body["result"] = ex["result"]
    if ex["status"] == "failed":
        body["error"] = ex["error"]
    return body


@route("GET", "/api/executions/([^/]+)")
def poll(rq, ident):
    key = authenticate(rq)
    require(key, "execution:read")
    with LOCK:
        if fault("execution-foreign-poll") and ident in EXECUTIONS:
            return reply(execution_body(EXECUTIONS[ident]))
        return reply(execution_body(own_execution(key, ident)))


@route("POST", "/api/executions/([^/]+)/cancel")
def cancel(rq, ident):
    key = authenticate(rq)
    require(key, "execution:cancel")
    with LOCK:
        ex = own_execution(key, ident)
        if ex["status"] in FINAL:
            raise ApiError(409, "EXECUTION_ENDED", "The execution has ended", currentStatus=ex["status"])
        if fault("execution-cancelled-completes-later"):
            ex["status"] = "cancelled"     # at once; the worker is never told
            return reply(execution_body(ex))
        ex["status"] = "cancel_requested"
        ex["stop"].set()
        return reply(execution_body(ex))


# ------------------------------------------------------------------ webhooks

class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *a, **k):
        return None


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


def set_webhook(key, url, secret=None):
    parts = urllib.parse.urlsplit(url) if isinstance(url, str) else None
    bad = lambda why: ApiError(400, "INVALID_WEBHOOK", why)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise bad("The URL must be an absolute http(s) URL")
    if parts.scheme != "https" and SETTINGS["production"]:
        raise bad("The URL must be HTTPS")
    try:
        address = ipaddress.ip_address("127.0.0.1" if parts.hostname == "localhost" else parts.hostname)
    except ValueError:
        address = None
    if address and not address.is_global and not (address.is_loopback and not SETTINGS["production"]):
        raise bad("Private addresses are refused")
    secret = secret if secret is not None else "whsec_" + secrets.token_hex(24)
    if not isinstance(secret, str) or not 16 <= len(secret) <= 256:
        raise bad("The secret must have 16 to 256 characters")
    key["webhook"] = {"url": url, "secret": secret}


def deliver(ex):
    payload = {"event": "execution." + ex["status"], "executionId": ex["id"], "requestId": ex["requestId"],
               "userId": ex["user"], "workflowSlug": ex["job"]["slug"], "modelIds": ex["job"]["models"],
               "status": ex["status"], "creditsCost": ex["row"]["creditsCost"], "createdAt": ex["created"],
               "completedAt": ex["ended"]}
    if ex["status"] == "completed":
        payload["result"] = ex["result"]
    if ex["status"] == "failed":
        payload["error"] = ex["error"]
    raw = json.dumps(payload).encode()
    signed = raw
    if fault("webhook-signature-over-reformatted-body"):
        signed = json.dumps(json.loads(raw), separators=(",", ":")).encode()
    for pause in (0.3, 0.8, 2.0, None):
        t = int(time.time())
        mac = hmac.new(ex["hook"]["secret"].encode(), b"%d." % t + signed, hashlib.sha256).hexdigest()
        rq = urllib.request.Request(ex["hook"]["url"], raw, method="POST", headers={
            "Content-Type": "application/json", "User-Agent": "Knouds-Webhooks/1",
            "X-Knouds-Signature": f"t={t},v1={mac}"})
        try:
            with OPENER.open(rq, timeout=5) as res:
                if 200 <= res.status < 300:
                    return
        except (OSError, ValueError, urllib.error.URLError):
            pass
        except Exception as e:             # noqa: BLE001 - e.g. http.client.BadStatusLine
            print("webhook:", repr(e), file=sys.stderr)
        if pause is not None:
            time.sleep(pause)


# ------------------------------------------------------------------ usage

def public_models(row):
    return [m for m in row["modelIds"] if m in MODELS]


def own_rows(key):
    return [r for r in ROWS if r["userId"] == key["user"] and r["source"] != "canvas"]


def whole(text, default, low, high):
    if not text or not re.fullmatch(r"-?[0-9]{1,12}", text):
        return default
    return max(low, min(high, int(text)))


@route("GET", "/api/usage")
def usage(rq):
    key = authenticate(rq)
    limit, offset = whole(rq.args.get("limit"), 50, 1, 500), whole(rq.args.get("offset"), 0, 0, 10 ** 12)
    status, model, slug = (rq.args.get(n) for n in ("status", "modelId", "workflowSlug"))
    with LOCK:
        rows = own_rows(key)
        if slug and fault("usage-workflow-filter-forgets-owner"):
            rows = [r for r in ROWS if r["source"] != "canvas"]
        if fault("usage-skips-failed") and not status:
            rows = [r for r in rows if r["status"] != "failed"]
        rows = [r for r in rows if (not slug or r["workflowSlug"] == slug)
                and (not model or model in public_models(r))
                and (status not in ("processing",) + FINAL or r["status"] == status)]
        rows.reverse()
        page = [{**{k: v for k, v in r.items() if k != "_t0"}, "modelIds": public_models(r),
                 "userCost": round(r["creditsCost"] * USD_PER_CREDIT, 6)} for r in rows[offset:offset + limit]]
    total = len(page) if fault("usage-total-is-page-length") else len(rows)
    return reply({"rows": page, "page": offset // limit + 1, "pageSize": limit, "total": total})


@route("GET", "/api/usage/models")
def usage_models(rq):
    key = authenticate(rq)
    with LOCK:
        return reply({"models": sorted({m for r in own_rows(key) for m in public_models(r)})})


# ------------------------------------------------------------------ seed and start

def add_user(name, tier, role="user", approved=True, credits=None, grant=None):
    ident = "usr_" + hashlib.sha256(name.encode()).hexdigest()[:12]
    USERS[ident] = {"id": ident, "name": name, "email": f"{name}@example.com", "role": role, "tier": tier,
                    "approved": approved, "credits": MONTHLY[tier] if credits is None else credits, "grant": grant}
    raw = ["gpt-image-2", "fal:fal-ai/flux-dev"]      # a canvas run, which the API never shows
    ROWS.append({"id": len(ROWS) + 1, "userId": ident, "workflowSlug": None, "modelIds": raw,
                 "status": "completed", "source": "canvas", "creditsCost": 10, "durationMs": 4200, "cost": 0.024,
                 "errorCode": None, "requestId": "req_" + secrets.token_hex(8), "createdAt": iso(), "_t0": 0})
    return ident


def add_key(name, user, caps, state="active"):
    secret = "knouds_live_" + secrets.token_hex(20)
    KEYS[secret] = {"name": name, "secret": secret, "user": user, "capabilities": list(caps), "state": state,
                    "webhook": None}


def node(ident, kind, x, **data):
    return {"id": ident, "type": kind, "position": {"x": x, "y": 80}, "data": data}


def add_workflow(slug, owner, fields, model=None, **extra):
    nodes = [node("in", "requestInput", 0, fields=fields)]
    if model:
        nodes.append(node("gen", "imageGenerator", 320, model=model))
    nodes.append(node("out", "responseOutput", 640))
    edges = [{"id": f"e{i}", "source": a["id"], "target": b["id"], "sourceHandle": "out", "targetHandle": "in"}
             for i, (a, b) in enumerate(zip(nodes, nodes[1:]))]
    WORKFLOWS[slug] = {**blank(owner), "slug": slug, "name": slug.replace("-", " ").title(), "nodes": nodes,
                       "edges": edges, "description": f"Seeded workflow {slug}", "tags": ["seed"], **extra}


POSTER_FIELDS = [
    {"name": "prompt", "type": "textarea", "label": "Prompt", "default": "a lighthouse at dusk"},
    {"name": "style", "type": "pills", "label": "Style", "options": ["photo", "ink", "oil"], "default": "photo"},
    {"name": "count", "type": "slider", "label": "Images", "min": 1, "max": 4, "step": 1, "default": 1},
    {"name": "hd", "type": "toggle", "label": "HD", "default": False},
]
ECHO_FIELDS = [
    {"name": "title", "type": "text", "label": "Title", "default": "untitled"},
    {"name": "body", "type": "textarea", "label": "Body", "default": "lorem ipsum"},
    {"name": "amount", "type": "number", "label": "Amount", "default": 7},
    {"name": "loud", "type": "toggle", "label": "Loud", "default": True},
]


def seed():
    ids = {"ana": add_user("ana", "pro"), "ben": add_user("ben", "pro"), "cleo": add_user("cleo", "business"),
           "root": add_user("root", "enterprise", role="admin"), "dan": add_user("dan", "pro", credits=0),
           "uma": add_user("uma", "pro", approved=False), "fay": add_user("fay", "free"),
           "tia": add_user("tia", "pro", credits=0, grant=2)}
    for name in ("ana", "ben", "dan", "tia"):
        add_key(name, ids[name], PRO_CAPS)
    for name in ("cleo", "root"):
        add_key(name, ids[name], BUSINESS_CAPS)
    ana = ids["ana"]
    add_key("ana-read", ana, ["workflow:read"])
    add_key("ana-run", ana, ["workflow:run"])
    add_key("ana-bound", ana, ["workflow:ana-echo:run"])
    add_key("ana-none", ana, [])
    add_key("ana-wild", ana, ["workflow:*"])
    add_key("ana-revoked", ana, PRO_CAPS, "revoked")
    add_key("ana-legacy", ana, PRO_CAPS, "legacy")
    add_key("uma-unapproved", ids["uma"], PRO_CAPS)
    add_key("cleo-bound-model", ids["cleo"], ["model:gpt-image-2:run", "execution:read"])
    add_key("root-star", ids["root"], ["*"])
    add_key("fay-free", ids["fay"], ["workflow:read", "workflow:write", "execution:read", "execution:cancel"])
    for name in ("ana", "ben", "cleo", "root", "dan", "tia"):
        add_workflow(f"{name}-poster", ids[name], POSTER_FIELDS, "gpt-image-2")
    add_workflow("ana-playground", ana, POSTER_FIELDS, "gpt-image-2", publicPlayground=True)
    add_workflow("ana-echo", ana, ECHO_FIELDS)
    add_workflow("ana-broken", ana, POSTER_FIELDS, "always-fails")
    add_workflow("ben-template", ids["ben"], POSTER_FIELDS, "gpt-image-2", isTemplate=True)


def banner(base):
    return {
        "base_url": base,
        "keys": {k["name"]: {"secret": k["secret"], "user": k["user"], "tier": USERS[k["user"]]["tier"],
                             "capabilities": k["capabilities"],
                             "state": k["state"] if USERS[k["user"]]["approved"] else "unapproved",
                             "role": USERS[k["user"]]["role"], "credits": USERS[k["user"]]["credits"],
                             "trial_grant": USERS[k["user"]]["grant"], "webhook": k["webhook"]}
                 for k in KEYS.values()},
        "workflows": {w["slug"]: {"owner": w["createdBy"], "public": w["publicPlayground"],
                                  "template": w["isTemplate"], "polled": True, "cost_credits": estimate(w) or 0,
                                  "fails": any(MODELS[node_model(n)]["fails"] for n in generators(w))}
                      for w in WORKFLOWS.values()},
        "models": {n: {"polled": m["polled"], "cost_credits": m["price"] * quantity(n, {}),
                       "needs_tier": m["needs_tier"], "disabled": m["disabled"], "fails": m["fails"]}
                   for n, m in MODELS.items()},
        "dashboard": {"cookie": "knouds_session=" + SETTINGS["session"],
                      "set_webhook": "PUT /api/api-keys/<key name>/webhook {url, secret?}"},
    }


class Handler(WSGIRequestHandler):
    error_content_type = "application/json"
    error_message_format = '{"error": "Bad request", "code": "BAD_REQUEST"}'

    def log(self, *args):
        pass


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--port", type=int, default=0)
    ap.add_argument("--fault", action="append", default=[], choices=sorted(FAULTS), metavar="NAME")
    ap.add_argument("--list", action="store_true", help="list the faults")
    ap.add_argument("--webhook-url", default=os.environ.get("KNOUDS_WEBHOOK_URL"))
    ap.add_argument("--webhook-secret", default=os.environ.get("KNOUDS_WEBHOOK_SECRET"))
    ap.add_argument("--production", action="store_true", help="webhooks: HTTPS only, no loopback")
    args = ap.parse_args()
    if args.list:
        for name, (promise, level) in FAULTS.items():
            print(f"{name}\t{promise}\t{level}")
        return
    ACTIVE.update(args.fault)
    SETTINGS["production"] = args.production
    seed()
    if args.webhook_url:
        secret = args.webhook_secret or "whsec_" + secrets.token_hex(24)
        for key in KEYS.values():
            set_webhook(key, args.webhook_url, secret)
    server = make_server("127.0.0.1", args.port, application, threaded=True, request_handler=Handler)
    print(json.dumps(banner(f"http://127.0.0.1:{server.server_port}")), flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
