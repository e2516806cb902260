// A server of the Knouds REST API, written from its public pages alone. Plain Node 20, no packages.
//
//   node node_server.mjs --port N [--fault NAME] [--other-way] [--seed N] [--list-faults]
//
// Without --other-way, and with it, the server decides every open point of the pages in two different, legal ways
// (search for `way(`). With --fault it breaks one documented promise (search for `broken(`). GET /_blind/fixture
// tells a tester which keys, workflows and models there are. WEBHOOK_URL in the environment is where the keys with
// a webhook deliver to.

import http from "node:http";
import https from "node:https";
import { createHash, createHmac, randomUUID } from "node:crypto";

// ---------------------------------------------------------------------------------------------------- 1. Options

const options = readOptions(process.argv.slice(2));

function readOptions(words) {
  const read = { port: 0, fault: "", otherWay: false, seed: 1, show: "", announce: "text", webhook: {} };
  read.webhook = { url: process.env.WEBHOOK_URL ?? "", secret: "whsec_of_the_blind_server" };
  while (words.length) {
    const word = words.shift();
    if (word === "--port") read.port = Number(words.shift());
    else if (word === "--fault") read.fault = words.shift() ?? "";
    else if (word === "--seed") read.seed = Number(words.shift());
    else if (word === "--other-way") read.otherWay = true;
    else if (word === "--list-faults" || word === "--list") read.show = word;
    else if (word === "--announce") read.announce = words.shift() ?? "text"; // text, or json: the fixture in one line
    else if (word === "--webhook-url") read.webhook.url = words.shift() ?? "";
    else if (word === "--webhook-secret") read.webhook.secret = words.shift() ?? "";
    else stop(`unknown option ${word}`);
  }
  if (read.webhook.url && !URL.canParse(read.webhook.url)) stop("WEBHOOK_URL is no URL");
  if (!Number.isInteger(read.port) || !Number.isInteger(read.seed)) stop("--port and --seed take whole numbers");
  return read;
}

function stop(words) {
  console.error(words);
  process.exit(2);
}

/** What an open point comes to: the first choice, or with --other-way the second. */
const way = (first, second) => (options.otherWay ? second : first);

// ----------------------------------------------------------------------------------------------------- 2. Faults

const FAULTS = {
  // authentication
  "legacy-key-plain": ["core", "A key made before May 2026 gets 401 LEGACY_KEY_RETIRED; it gets the plain 401."],
  "unapproved-reads-usage": ["core", "A key of an unapproved account gets 401; /api/usage lets it in."],
  "revoked-key-reads-schema": ["core", "A revoked key gets 401; the schema of a workflow lets it in."],
  "key-ignores-case": ["subtle", "An unknown key gets 401; a key spelt in other case counts as the same key."],
  "star-reads-balance": ["subtle", "No key reaches session-only paths; one that holds * reads /api/credits/balance."],
  // capabilities
  "move-needs-nothing": ["core", "Move needs workflow:write; any valid key of the owner may move."],
  "async-run-unchecked": ["core", "A run needs workflow:run; with async=true nothing is asked of the key."],
  "bound-key-by-prefix": ["core", "A bound key runs its workflow alone; it runs those whose slug begins alike too."],
  "wildcard-cannot-run": ["core", "workflow:* and model:* meet a run; the run endpoints overlook wildcards."],
  "write-implies-read": ["core", "No capability implies another; workflow:write reads as well."],
  "denied-delete-deletes": ["subtle", "A refused request changes nothing; a denied delete is a 403 after deleting."],
  // errors and envelopes
  "grant-code-upper-case": ["core", "A used-up grant has code grant_exhausted; it is GRANT_EXHAUSTED."],
  "cancel-404-in-html": ["core", "Every response is a JSON object; cancelling an unknown execution gets a page."],
  "null-body-crashes": ["core", "The only 5xx is EXECUTION_FAILED; a model run with the body null is a 500."],
  "disabled-model-code": ["core", "A disabled model is 404 MODEL_NOT_FOUND; its code is NOT_FOUND."],
  // workflows
  "update-unpublishes": ["core", "Update leaves the rest; one without publicPlayground sets it to false."],
  "rename-moves-slug": ["core", "The slug never changes; an update of the name makes a new one."],
  "template-writable": ["core", "Only the owner updates a workflow; anybody may update a template."],
  "filter-drops-scope": ["subtle", "The list has one's own and templates; with a filter in the query it has everybody's."],
  "slug-race": ["subtle", "A taken slug gets a suffix; of two creates at once one overwrites the other."],
  "admin-deletes-any": ["subtle", "There is no administrator override; an administrator deletes anybody's workflow."],
  "description-cut": ["subtle", "A workflow is kept as written; its description is cut at 255 characters."],
  // runs
  "array-is-inputs": ["core", "Inputs that are an array get 400 INVALID_INPUTS; they run."],
  "async-runs-foreign": ["core", "A foreign slug is a 404; with async=true it runs."],
  "seedream-counts-as-polled": ["core", "seedream-v5 async is 400 ASYNC_NOT_SUPPORTED; it is accepted."],
  "slug-case-folded": ["core", "A slug with capitals is 400 INVALID_SLUG on a run; it runs."],
  "defaults-only-for-none": ["subtle", "Left-out fields take their defaults; not where any field is given."],
  // executions
  "poll-foreign": ["core", "A foreign execution is a 404; anybody may poll it."],
  "cancel-reopens": ["core", "Nothing leaves completed; a cancel turns completed into cancelled."],
  "failure-is-text": ["core", "A failed execution has error {code, message}; error is a text."],
  "cancel-is-free": ["core", "A cancelled run is always charged; its credits come back."],
  "late-completion": ["subtle", "Nothing leaves cancelled; the provider's late result turns it into completed."],
  // credits and usage
  "slug-filter-leaks": ["core", "Usage has one's own rows; the filter workflowSlug takes everybody's."],
  "limit-up-to-1000": ["core", "Usage gives at most 500 rows; it gives 1,000."],
  "charge-after-run": ["subtle", "A run without enough credits is a 402; runs at once are checked before any is charged."],
  "redelivery-charges-again": ["subtle", "A run is charged once; a repeated webhook delivery books it once more."],
  // rate limits
  "window-per-key": ["core", "The window is per user; each key has its own."],
  "async-not-counted": ["subtle", "The window counts the route; a run with async=true is not counted."],
  // webhooks
  "signs-reserialised": ["core", "The signature covers the raw body; it covers the payload serialised anew."],
  "delivers-without-capability": ["subtle", "Delivery needs webhook:receive; a key with a URL gets it without."],
};

if (options.show === "--list-faults") {
  for (const [name, [kind, words]] of Object.entries(FAULTS)) console.log(`${name}: [${kind}] ${words}`);
  process.exit(0);
}
if (options.show === "--list") {
  const listed = Object.entries(FAULTS).map(([name, [kind, says]]) => ({ name, core: kind === "core", says }));
  console.log(JSON.stringify(listed));
  process.exit(0);
}
if (options.fault && !(options.fault in FAULTS)) stop(`unknown fault ${options.fault}`);

const broken = (name) => options.fault === name;

// ------------------------------------------------------------------------------------------------ 3. Small tools

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value) => typeof value === "string";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const NAME_PATTERN = /^[a-z0-9-]+$/;
const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** An instant as ISO 8601: two hours east of Greenwich, or in UTC. */
function isoTime(ms) {
  return way(new Date(ms + 2 * 3600_000).toISOString().replace("Z", "+02:00"), new Date(ms).toISOString());
}

/** The object without its members that are null or false: absent says as much. */
function withoutEmpty(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null && value !== false));
}

/** Text that depends on the seed and a purpose alone, with capitals, small letters and digits. */
function seededText(purpose, length) {
  const alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
  const bytes = createHash("sha512").update(`${options.seed} ${purpose}`).digest();
  return [...bytes.subarray(0, length)].map((byte) => alphabet[byte % alphabet.length]).join("");
}

/** Numbers from 0 to 1 that the seed decides. */
const random = (() => {
  let state = (options.seed * 2654435761) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
})();

const dollars = (amount) => Math.round(amount * 10_000) / 10_000;

/** Whether a JSON value nests deeper than anything sensible. */
function tooDeep(value, most = 100) {
  let level = [value];
  for (let depth = 0; level.length; depth += 1) {
    if (depth > most) return true;
    level = level.flatMap((each) => (typeof each === "object" && each !== null ? Object.values(each) : []));
  }
  return false;
}

// ----------------------------------------------------------------------------------------------------- 4. Errors

/** An answer other than success, thrown from anywhere. */
class Refusal extends Error {
  constructor(status, code, text, { extra = {}, headers = {} } = {}) {
    super(text);
    Object.assign(this, { status, headers, body: { error: text, code, ...extra } });
  }
}

const unauthorized = () => new Refusal(401, way("UNAUTHORIZED", "INVALID_API_KEY"), "Unauthorized");
const invalidBody = () => new Refusal(400, "INVALID_BODY", "The body must be JSON.");
const invalidInputs = (text) => new Refusal(400, "INVALID_INPUTS", text);
const invalidDocument = (text) => new Refusal(way(400, 422), "INVALID_DOCUMENT", text);
const invalidSlug = () =>
  new Refusal(400, "INVALID_SLUG", "Names have lowercase letters, digits and hyphens only.");
const notFound = (what) =>
  new Refusal(404, way("NOT_FOUND", `${what.toUpperCase()}_NOT_FOUND`), `${what} not found`);
const forbidden = () => new Refusal(403, "FORBIDDEN", "This workflow belongs to somebody else.");
const modelNotFound = () => new Refusal(404, "MODEL_NOT_FOUND", "There is no such model.");
const executionFailed = () => new Refusal(500, "EXECUTION_FAILED", "The provider could not finish the run.");

// ------------------------------------------------------------------------------------------- 5. Accounts and keys

const TIER_RANK = { free: 0, creator: 1, pro: 2, business: 3, enterprise: 4 };
const TIER_CREDITS = { free: 250, creator: 1700, pro: 5000, business: 11329, enterprise: null };
const RATE_LIMIT = { free: 100, creator: 100, pro: 100, business: 1000, enterprise: Infinity };

const accounts = new Map();
for (const [id, tier, more] of [
  ["usr_petra", "pro", {}],
  ["usr_stranger", "pro", {}],
  ["usr_bruno", "business", {}],
  ["usr_erna", "enterprise", {}],
  ["usr_root", "pro", { role: "admin" }],
  ["usr_fritz", "free", { credits: 250 }],
  ["usr_waiting", "business", { approved: false }],
  ["usr_poor", "business", { credits: 3 }],
  ["usr_spent", "business", { grant: "exhausted" }],
  ["usr_gifted", "business", { grant: "granted" }],
]) {
  const email = `${id.slice(4)}@example.com`;
  accounts.set(id, { id, email, role: "user", tier, approved: true, credits: 900_000, grant: "none", ...more });
}

const PRO_ALL = ["workflow:run", "workflow:read", "workflow:write", "execution:read", "execution:cancel"];
const BUSINESS_ALL = [...PRO_ALL, "model:run"];
const HOOKED = ["workflow:run", "workflow:read", "execution:read", "execution:cancel", "webhook:receive"];
const FUNDED = ["workflow:run", "workflow:read", "model:run", "execution:read", "execution:cancel"];

const keys = new Map(); // by name
const keysBySecret = new Map();
for (const [name, user, capabilities, more] of [
  ["pro_all", "usr_petra", PRO_ALL, {}],
  ["pro_read", "usr_petra", ["workflow:read"], {}],
  ["pro_run", "usr_petra", ["workflow:run"], {}],
  ["pro_write", "usr_petra", ["workflow:write"], {}],
  ["pro_bound", "usr_petra", ["workflow:sea-lantern:run"], {}],
  ["pro_wild", "usr_petra", ["workflow:*"], {}],
  ["pro_none", "usr_petra", [], {}],
  ["pro_exec_read", "usr_petra", ["execution:read"], {}],
  ["pro_exec_cancel", "usr_petra", ["execution:cancel"], {}],
  ["pro_hook", "usr_petra", HOOKED, { webhook: true }],
  ["pro_hook_mute", "usr_petra", HOOKED.slice(0, -1), { webhook: true }],
  ["pro_model", "usr_petra", ["model:run"], {}],
  ["stranger", "usr_stranger", PRO_ALL, {}],
  ["business", "usr_bruno", BUSINESS_ALL, {}],
  ["business_bound", "usr_bruno", ["model:nano-banana-2:run"], {}],
  ["business_hook", "usr_bruno", [...HOOKED, "model:run"], { webhook: true }],
  ["enterprise", "usr_erna", BUSINESS_ALL, {}],
  ["admin", "usr_root", ["*"], {}],
  ["free", "usr_fritz", ["workflow:read", "workflow:write", "execution:read", "execution:cancel"], {}],
  ["revoked", "usr_petra", PRO_ALL, { state: "revoked" }],
  ["legacy", "usr_petra", PRO_ALL, { state: "legacy" }],
  ["unapproved", "usr_waiting", BUSINESS_ALL, { state: "unapproved" }],
  ["poor", "usr_poor", FUNDED, {}],
  ["trial_used", "usr_spent", FUNDED, {}],
  ["trial_pays", "usr_gifted", FUNDED, {}],
]) {
  const secret = `knouds_live_${seededText(name, 40)}`;
  const account = accounts.get(user);
  const key = { name, secret, account, capabilities: new Set(capabilities), state: "active", webhook: false, ...more };
  keys.set(name, key);
  keysBySecret.set(broken("key-ignores-case") ? secret.toLowerCase() : secret, key);
}

/** The key of a request, or a 401. */
function authenticate(request, route) {
  const given = request.headers["x-api-key"] ?? "";
  const key = keysBySecret.get(broken("key-ignores-case") ? given.toLowerCase() : given);
  if (!key) throw unauthorized();
  if (key.state === "legacy" && !broken("legacy-key-plain")) {
    throw new Refusal(401, "LEGACY_KEY_RETIRED", "Keys from before May 2026 are retired. Please make a new one.");
  }
  const revivedHere = broken("revoked-key-reads-schema") && key.state === "revoked" && route.name === "schema";
  if ((key.state === "revoked" && !revivedHere) || key.state === "legacy") throw unauthorized();
  const admittedHere = broken("unapproved-reads-usage") && route.name === "usage";
  if (!key.account.approved && !admittedHere) {
    throw way(unauthorized(), new Refusal(401, "ACCOUNT_NOT_APPROVED", "This account is not approved yet."));
  }
  return key;
}

const isAdmin = (account) => account.role === "admin";

/** Whether a key meets a requirement such as `workflow:run`, for a run also in the form bound to one resource. */
function meets(key, required, boundTo) {
  const held = key.capabilities;
  const [resource] = required.split(":");
  const overlooked = broken("wildcard-cannot-run") && boundTo !== undefined;
  if (held.has("*") && isAdmin(key.account)) return true;
  if (held.has(required) || (held.has(`${resource}:*`) && !overlooked)) return true;
  if (broken("write-implies-read") && required === "workflow:read" && held.has("workflow:write")) return true;
  if (boundTo === undefined) return false;
  if (broken("bound-key-by-prefix") && resource === "workflow") {
    return [...held].some((each) => /^workflow:.+:run$/.test(each) && boundTo.startsWith(each.split(":")[1]));
  }
  return held.has(`${resource}:${boundTo}:run`);
}

/** Refuse a key that may not do what a route does; nothing about the resource is looked at here. */
function checkCapability(context) {
  const { key, route, params } = context;
  if (!route.needs) return;
  if (broken("move-needs-nothing") && route.name === "move") return;
  if (broken("async-run-unchecked") && route.name === "runWorkflow" && context.isAsync) return;
  const boundTo = route.bindable ? params[0] : undefined;
  if (meets(key, route.needs, boundTo)) return;
  throw denial(route.needs, boundTo);
}

function denial(needs, boundTo) {
  const [resource] = needs.split(":");
  const names = boundTo !== undefined && NAME_PATTERN.test(boundTo);
  const passing = names ? [needs, `${resource}:${boundTo}:run`] : [needs];
  const text = "This key lacks the capability for that.";
  return new Refusal(403, "CAPABILITY_DENIED", text, { extra: { required: way(passing, needs) } });
}

// ------------------------------------------------------------------------------------------------ 6. Rate limits

const WINDOW_MS = 60_000;
const windows = new Map(); // "user route" -> {ends, count}

/** Take one turn of the user's window on a route; its headers go with the answer. 429 when there is none left. */
function takeTurn(context) {
  const { key, route, headers } = context;
  const { account } = key;
  const now = Date.now();
  const limit = isAdmin(account) ? Infinity : (RATE_LIMIT[account.tier] ?? RATE_LIMIT.pro);
  if (limit === Infinity) {
    if (options.otherWay) {
      headers["X-RateLimit-Limit"] = headers["X-RateLimit-Remaining"] = "unlimited";
      headers["X-RateLimit-Reset"] = String(Math.ceil((now + WINDOW_MS) / 1000));
    }
    return;
  }
  const whose = `${broken("window-per-key") ? key.name : account.id} ${route.name}`;
  let window = windows.get(whose);
  if (!window || window.ends <= now) {
    // The window begins with the minute, or with the first request in it.
    window = { ends: way(now - (now % WINDOW_MS), now) + WINDOW_MS, count: 0 };
    windows.set(whose, window);
  }
  const uncounted = broken("async-not-counted") && context.isAsync;
  const isOver = window.count >= limit && !uncounted;
  if (!isOver && !uncounted) window.count += 1;
  headers["X-RateLimit-Limit"] = String(limit);
  headers["X-RateLimit-Remaining"] = String(Math.max(0, limit - window.count));
  headers["X-RateLimit-Reset"] = String(Math.ceil(window.ends / 1000));
  if (!isOver) return;
  const retryAfter = Math.max(1, Math.ceil((window.ends - now) / 1000));
  headers["Retry-After"] = String(retryAfter);
  const extra = { tier: account.tier, limit, retryAfter };
  throw new Refusal(429, "RATE_LIMIT_EXCEEDED", `Too many requests. Try again in ${retryAfter} s.`, { extra });
}

// ---------------------------------------------------------------------------------------------------- 7. Bodies

const BODY_LIMIT = way(1, 2) * 1024 * 1024;

/** The bytes of a body; one that is too large is drained, so that its sender hears the answer. */
async function readBytes(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size <= BODY_LIMIT) parts.push(part);
  }
  if (size > BODY_LIMIT) throw new Refusal(way(413, 400), "BODY_TOO_LARGE", "The body is too large.");
  return Buffer.concat(parts);
}

/** The JSON of a body; undefined where there is none. */
async function readJson({ request }) {
  const bytes = await readBytes(request);
  if (!bytes.length) return undefined;
  const type = (request.headers["content-type"] ?? "").split(";")[0].trim().toLowerCase();
  if (type !== "application/json" && !options.otherWay) {
    throw new Refusal(415, "UNSUPPORTED_CONTENT_TYPE", "Please send application/json.");
  }
  let value;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw invalidBody();
  }
  if (tooDeep(value)) throw invalidBody();
  return value;
}

/** The inputs of a run. */
async function readInputs(context) {
  const body = await readJson(context);
  if (body === undefined) throw way(invalidBody(), invalidInputs("inputs is missing."));
  if (broken("null-body-crashes") && body === null && context.route.name === "runModel") return body.inputs;
  if (!isObject(body)) throw way(invalidInputs("inputs is missing."), invalidBody());
  if (broken("array-is-inputs") && Array.isArray(body.inputs)) return { ...body.inputs };
  if (!Object.hasOwn(body, "inputs") || !isObject(body.inputs)) throw invalidInputs("inputs must be an object.");
  return body.inputs;
}

// ---------------------------------------------------------------------------------------------------- 8. Models

const MODELS = new Map();
for (const [name, unit, price, makes, more] of [
  ["nano-banana-2", "image", 8, "images", {}],
  ["seedream-v5", "image", 12, "images", {}],
  ["kling-v3-i2v", "second", 10, "videos", {}],
  ["kling-o3-ref2v", "second", 14, "videos", {}],
  ["kling-v3-motion", "second", 9, "videos", {}],
  ["claude-sonnet", "call", 3, "text", {}],
  ["seedance-2-0-full-access", "second", 10, "videos", { polled: true }],
  ["gpt-image-2", "image", 15, "images", { polled: true }],
  ["suno-v5", "call", 20, "audios", { polled: true }],
  ["seedance-1-0-lite", "second", 4, "videos", { polled: true, disabled: true }],
  ["seedance-3-0-studio", "second", 30, "videos", { polled: true, needsTier: "enterprise" }],
  ["seedance-2-0-brittle", "second", 6, "videos", { polled: true, fails: true }],
]) {
  const standard = { polled: false, disabled: false, needsTier: "business", fails: false };
  MODELS.set(name, { name, unit, price, makes, ...standard, ...more });
}

const UNITS = {
  image: { input: "count", standard: 1, most: 8 },
  second: { input: "seconds", standard: 5, most: 60 },
  call: { input: null, standard: 1, most: 1 },
};

/** How much of its unit a generator makes, after the first value that says so. */
function quantityOf(model, ...places) {
  const { input, standard, most } = UNITS[model.unit];
  if (!input) return 1;
  const said = places.map((place) => place[input]).find(isNumber) ?? standard;
  return Math.min(most, Math.max(1, Math.round(said)));
}

/** What a model is asked for when a run names it. */
function fieldsOfModel(model) {
  const { input, most } = UNITS[model.unit];
  const fields = [{ name: "prompt", type: "textarea" }];
  return input ? [...fields, { name: input, type: "slider", min: 1, max: most }] : fields;
}

// ------------------------------------------------------------------------------------------------- 9. Workflows

const workflows = new Map(); // by slug
const NODE_TYPES = way(
  { input: "requestInput", images: "imageGenerator", videos: "videoGenerator", audios: "audioGenerator",
    text: "textGenerator", output: "responseOutput" },
  { input: "Request Input", images: "Image Generator", videos: "Video Generator", audios: "Audio Generator",
    text: "Text Generator", output: "Response Output" },
);
const PROMPT = { name: "prompt", type: "textarea", default: "a lighthouse in fog" };
const count = (standard) => ({ name: "count", type: "slider", min: 1, max: 4, step: 1, default: standard });
const EVERY_FIELD = [
  PROMPT,
  { name: "title", type: "text", default: "Tide" },
  { name: "seconds", type: "number", default: 5 },
  count(1),
  { name: "mood", type: "pills", options: ["calm", "wild"], default: "calm" },
  { name: "loop", type: "toggle", default: false },
  { name: "still", type: "image", default: "https://files.example.com/still.png" },
];

for (const [slug, owner, fields, models, more] of [
  ["sea-lantern", "usr_petra", [PROMPT, count(2)], ["nano-banana-2", "claude-sonnet"],
    { description: "Paints a lantern at sea and names it.", tags: ["sea", "night"], folderId: "fld_sea" }],
  ["sea-lantern-night", "usr_petra", [PROMPT, count(1)], ["seedream-v5"], {}],
  ["open-tide", "usr_petra", EVERY_FIELD, ["seedream-v5"],
    { description: "Open to everybody.", publicPlayground: true, tags: ["open"] }],
  ["quiet-clock", "usr_petra", null, [], {}],
  ["cracked-kiln", "usr_petra", [PROMPT], ["seedance-2-0-brittle"], { fails: true }],
  ["slow-river", "usr_petra", [PROMPT], ["seedance-2-0-full-access"], { ms: 2500 }],
  ["stranger-vault", "usr_stranger", [PROMPT], ["gpt-image-2"], { description: "Private." }],
  ["starter-kit", "usr_root", [PROMPT, count(1)], ["seedream-v5"], { isTemplate: true, tags: ["starter"] }],
  ["admin-desk", "usr_root", [PROMPT], ["claude-sonnet"], {}],
  ["billboard", "usr_bruno", [PROMPT, count(1)], ["gpt-image-2"], { cover: "https://files.example.com/b.png" }],
  ["atlas", "usr_erna", [PROMPT], ["suno-v5"], {}],
  ["postcard", "usr_poor", [PROMPT, count(1)], ["seedream-v5"], {}],
  ["pocket-note", "usr_poor", [PROMPT], ["claude-sonnet"], {}],
  ["spent-card", "usr_spent", [PROMPT, count(1)], ["seedream-v5"], {}],
  ["gift-card", "usr_gifted", [PROMPT, count(1)], ["seedream-v5"], {}],
]) {
  const nodes = [
    ...(fields ? [{ type: NODE_TYPES.input, data: { fields } }] : []),
    ...models.map((model) => ({ type: NODE_TYPES[MODELS.get(model).makes], data: { model } })),
    { type: NODE_TYPES.output, data: {} },
  ].map((node, index) => ({ id: `n${index + 1}`, position: { x: index * 320, y: 0 }, ...node }));
  const edges = nodes.slice(1).map((node, index) => (
    { id: `e${index + 1}`, source: nodes[index].id, target: node.id, sourceHandle: "out", targetHandle: "in" }
  ));
  const name = slug.split("-").map((word) => word[0].toUpperCase() + word.slice(1)).join(" ");
  workflows.set(slug, {
    slug, name, description: null, tags: [], nodes, edges, viewport: { x: 0, y: 0, zoom: 1 },
    publicPlayground: false, createdBy: owner, folderId: null, isTemplate: false, hidden: false, archived: false,
    updatedAt: Date.now() - (30 - workflows.size) * 86_400_000, ...more,
  });
}

/** The whole document, fit to be sent back to create. */
function documentOf(workflow) {
  const { slug, name, description, tags, nodes, edges, viewport, publicPlayground, createdBy } = workflow;
  const optional = { description, publicPlayground };
  return {
    slug, name, ...way(withoutEmpty(optional), optional), tags, nodes, edges, viewport, createdBy,
    folderId: workflow.folderId, updatedAt: isoTime(workflow.updatedAt),
  };
}

function summaryOf(workflow) {
  const { slug, name, description, tags, isTemplate, hidden, archived, cover = null, createdBy } = workflow;
  const optional = { description, cover };
  return {
    slug, name, ...way(withoutEmpty(optional), { ...optional, thumbnail: cover }), tags, isTemplate, hidden,
    archived, createdBy, estimatedCreditCost: estimateOf(workflow), folderId: workflow.folderId,
    updatedAt: isoTime(workflow.updatedAt),
  };
}

/** What a node is, whether it is spelt `requestInput`, `Request Input` or `request_input`. */
const nodeKind = (node) => node.type.toLowerCase().replace(/[^a-z]/g, "");
const STANDARD_MODELS = {
  imagegenerator: "nano-banana-2", videogenerator: "seedance-2-0-full-access", audiogenerator: "suno-v5",
  textgenerator: "claude-sonnet",
};

/** The model of a generator node, the standard one where it names none; undefined for other nodes. */
const modelOf = (node) => MODELS.get(node.data.model) ?? MODELS.get(STANDARD_MODELS[nodeKind(node)]);
const generatorsOf = (workflow) => workflow.nodes.filter(modelOf);

function fieldsOf(workflow) {
  const input = workflow.nodes.find((node) => nodeKind(node) === "requestinput");
  const fields = Array.isArray(input?.data.fields) ? input.data.fields : [];
  const isFull = (text) => isText(text) && text !== "";
  return fields.filter((field) => isObject(field) && isFull(field.name) && isFull(field.type));
}

/** The default values of fields by name; a field without one has null, or is left out. */
function defaultsOf(fields) {
  const entries = fields.map((field) => [field.name, field.default ?? null]);
  return Object.fromEntries(way(entries.filter(([, value]) => value !== null), entries));
}

function schemaOf(workflow) {
  const fields = fieldsOf(workflow);
  const { name, description } = workflow;
  return { fields, values: defaultsOf(fields), name, description: description ?? way("", null) };
}

/** The credits of a run with all defaults; null where nothing generates. */
function estimateOf(workflow) {
  return generatorsOf(workflow).length ? planOfWorkflow(workflow, {}).credits : null;
}

/** Check what a body says of a workflow; only the members that it has come back. */
function partsOf(body) {
  if (body === undefined) throw invalidBody();
  if (!isObject(body)) throw invalidDocument("A workflow is an object.");
  const textOrNull = (value) => value === null || isText(value);
  const rules = {
    name: [(value) => isText(value) && value.trim() !== "", "name must be a text that is not blank."],
    description: [textOrNull, "description must be a text."],
    tags: [(value) => Array.isArray(value) && value.every(isText), "tags must be a list of texts."],
    nodes: [(value) => Array.isArray(value) && value.every(isNode), "Each node has id, type, position and data."],
    edges: [(value) => Array.isArray(value) && value.every(isEdge),
      "Each edge has id, source, target, sourceHandle and targetHandle."],
    viewport: [(value) => isObject(value) && [value.x, value.y, value.zoom].every(isNumber),
      "viewport has the numbers x, y and zoom."],
    publicPlayground: [(value) => typeof value === "boolean", "publicPlayground must be true or false."],
    folderId: [textOrNull, "folderId must be a text or null."],
  };
  const parts = {};
  for (const [member, [fits, text]] of Object.entries(rules)) {
    if (!Object.hasOwn(body, member)) continue;
    if (!fits(body[member])) throw invalidDocument(text);
    parts[member] = body[member];
  }
  if (parts.name !== undefined) parts.name = way(parts.name.trim().normalize("NFC"), parts.name);
  const orNull = ({ sourceHandle = null, targetHandle = null }) => ({ sourceHandle, targetHandle });
  if (parts.edges) parts.edges = parts.edges.map((edge) => ({ ...edge, ...orNull(edge) }));
  if (broken("description-cut") && parts.description) parts.description = parts.description.slice(0, 255);
  return parts;
}

function isNode(node) {
  return isObject(node) && [node.id, node.type].every((each) => isText(each) && each) && isObject(node.position)
    && isObject(node.data);
}

/** An edge without a handle is refused, or the handle is null. */
function isEdge(edge) {
  const isHandle = (value) => value === null || isText(value) || (options.otherWay && value === undefined);
  return isObject(edge) && [edge.id, edge.source, edge.target].every(isText)
    && [edge.sourceHandle, edge.targetHandle].every(isHandle);
}

/** The slug of a name: lowercase, hyphens, and -2, -3, … while it is taken. */
function freeSlug(name) {
  const plain = way(name.normalize("NFKD").replace(/\p{M}/gu, ""), name);
  const letters = plain.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 120).replace(/^-+|-+$/g, "");
  const base = letters || "workflow";
  let slug = base;
  for (let number = 2; workflows.has(slug); number += 1) slug = `${base}-${number}`;
  return slug;
}

/** A workflow that the key's account may read: one's own, or a template. */
function readable(context) {
  const [slug] = context.params;
  if (!NAME_PATTERN.test(slug)) throw way(notFound("Workflow"), invalidSlug());
  const workflow = workflows.get(slug);
  if (!workflow) throw notFound("Workflow");
  if (workflow.createdBy !== context.key.account.id && !workflow.isTemplate) {
    throw way(notFound("Workflow"), forbidden());
  }
  return workflow;
}

/** A workflow that the key's account may write: one's own, whoever asks. */
function writable(context) {
  const [slug] = context.params;
  if (!NAME_PATTERN.test(slug)) throw way(notFound("Workflow"), invalidSlug());
  const workflow = workflows.get(slug);
  if (!workflow) throw notFound("Workflow");
  const { account } = context.key;
  if (broken("admin-deletes-any") && isAdmin(account) && context.route.name === "delete") return workflow;
  if (broken("template-writable") && workflow.isTemplate && context.route.name === "update") return workflow;
  if (workflow.createdBy !== account.id) throw way(forbidden(), notFound("Workflow"));
  return workflow;
}

/** Look at the body and then at the resource, or the other way round. */
async function bodyAndResource(context, readBody, find) {
  if (options.otherWay) find(context);
  const body = await readBody(context);
  return [body, find(context)]; // looked up after the last wait: it may be gone by now
}

function listWorkflows({ key, query }) {
  const isListed = (workflow) => workflow.createdBy === key.account.id || workflow.isTemplate;
  const filters = ["archived", "hidden", "folderId", "tag", "isTemplate"].filter((each) => query.has(each));
  const dropsScope = broken("filter-drops-scope") && filters.length > 0;
  const listed = [...workflows.values()].filter((workflow) => dropsScope || isListed(workflow));
  const newestFirst = (one, two) => two.updatedAt - one.updatedAt;
  const bySlug = (one, two) => (one.slug < two.slug ? -1 : 1);
  return [200, listed.sort(way(newestFirst, bySlug)).map(summaryOf)];
}

async function createWorkflow(context) {
  const { account } = context.key;
  const body = await readJson(context);
  const parts = partsOf(body);
  if (parts.name === undefined) throw invalidDocument("name is missing.");
  const owned = [...workflows.values()].filter((workflow) => workflow.createdBy === account.id).length;
  if (account.tier === "free" && !isAdmin(account) && owned >= 1) {
    throw new Refusal(way(409, 402), "WORKFLOW_LIMIT_REACHED", "The free tier keeps one workflow.");
  }
  const slug = freeSlug(parts.name);
  if (broken("slug-race")) await sleep(40);
  const workflow = {
    description: null, tags: [], nodes: [], edges: [], viewport: { x: 0, y: 0, zoom: 1 }, publicPlayground: false,
    folderId: null, ...parts, slug, createdBy: account.id, isTemplate: false, hidden: false, archived: false,
    updatedAt: Date.now(),
  };
  workflows.set(slug, workflow);
  if (options.otherWay) return [200, { slug }];
  context.headers.Location = `/api/workflows/${slug}`;
  return [201, documentOf(workflow)];
}

async function updateWorkflow(context) {
  const [parts, workflow] = await bodyAndResource(context, async () => partsOf(await readJson(context)), writable);
  if (broken("update-unpublishes")) parts.publicPlayground ??= false;
  Object.assign(workflow, parts, { updatedAt: Date.now() });
  if (broken("rename-moves-slug") && parts.name !== undefined) {
    workflows.delete(workflow.slug);
    workflow.slug = freeSlug(parts.name);
    workflows.set(workflow.slug, workflow);
  }
  return [200, way(documentOf(workflow), { success: true })];
}

async function moveWorkflow(context) {
  const readFolder = async () => {
    const parts = partsOf(await readJson(context));
    if (parts.folderId === undefined) throw invalidDocument("folderId is missing.");
    return parts.folderId;
  };
  const [folderId, workflow] = await bodyAndResource(context, readFolder, writable);
  Object.assign(workflow, { folderId, updatedAt: Date.now() });
  return [200, way({ slug: workflow.slug, folderId }, { success: true })];
}

function deleteWorkflow(context) {
  const { slug } = writable(context);
  workflows.delete(slug);
  return [200, way({ slug, deleted: true }, { success: true })];
}

const getWorkflow = (context) => [200, documentOf(readable(context))];

function getSchema(context) {
  const workflow = readable(context);
  return [200, { ...schemaOf(workflow), estimatedCreditCost: estimateOf(workflow) }];
}

function getPublicSchema({ params: [slug] }) {
  if (!NAME_PATTERN.test(slug)) throw way(notFound("Workflow"), invalidSlug());
  const workflow = workflows.get(slug);
  if (workflow?.publicPlayground !== true) throw notFound("Workflow");
  return [200, schemaOf(workflow)];
}

// ---------------------------------------------------------------------------------------------- 10. Planning a run

/** The values that a run works with: what is given, and defaults for what is left out; other inputs are ignored. */
function valuesOf(fields, inputs) {
  const given = fields.filter(({ name }) => Object.hasOwn(inputs, name) && inputs[name] !== null);
  const checked = given.map((field) => [field.name, checkedValue(field, inputs[field.name])]);
  if (broken("defaults-only-for-none") && given.length) return Object.fromEntries(checked);
  const usable = checked.filter(([, value]) => value !== undefined);
  return Object.fromEntries([...Object.entries(defaultsOf(fields)), ...usable]);
}

/** A given value as its field can take it. One that does not fit is refused, or clamped or left to the default. */
function checkedValue(field, value) {
  const { type, options: pills } = field;
  const min = isNumber(field.min) ? field.min : -Infinity;
  const max = isNumber(field.max) ? field.max : Infinity;
  let fits = true;
  let nearest;
  if (type === "number" || type === "slider") {
    fits = isNumber(value) && value >= min && value <= max;
    if (isNumber(value)) nearest = Math.min(max, Math.max(min, value));
  } else if (type === "toggle") fits = typeof value === "boolean";
  else if (type === "text" || type === "textarea") fits = isText(value);
  else if (type === "image" || type === "video") fits = isText(value) && value.startsWith("https://");
  else if (type === "pills" && Array.isArray(pills)) fits = pills.includes(value);
  if (fits) return value;
  if (!options.otherWay) throw invalidInputs("An input does not fit the type of its field.");
  return nearest;
}

/** What one generator gives: texts or addresses of files. */
function productOf(model, quantity, values) {
  if (model.makes === "text") return [`About ${isText(values.prompt) ? values.prompt : "nothing in particular"}.`];
  const ending = { images: "png", videos: "mp4", audios: "mp3" }[model.makes];
  const files = model.unit === "image" ? quantity : 1;
  return Array.from({ length: files }, () => `https://files.example.com/${randomUUID()}.${ending}`);
}

/** All products by kind; text is one text, or a list. */
function resultOf(products) {
  const result = {};
  for (const [kind, parts] of products) result[kind] = [...(result[kind] ?? []), ...parts];
  if (result.text) result.text = way(result.text.join("\n"), result.text);
  return result;
}

function planOfWorkflow(workflow, inputs) {
  const values = valuesOf(fieldsOf(workflow), inputs);
  const steps = generatorsOf(workflow).map((node) => {
    const model = modelOf(node);
    return { model, quantity: quantityOf(model, values, node.data) };
  });
  return {
    workflowSlug: workflow.slug,
    modelIds: [...new Set(steps.map(({ model }) => model.name))],
    credits: steps.reduce((sum, { model, quantity }) => sum + model.price * quantity, 0),
    fails: steps.some(({ model }) => model.fails || model.disabled),
    ms: workflow.ms ?? null,
    makeResult: () => {
      if (!steps.length) return { text: way("Done.", ["Done."]) };
      return resultOf(steps.map(({ model, quantity }) => [model.makes, productOf(model, quantity, values)]));
    },
  };
}

function planOfModel(model, inputs) {
  const values = valuesOf(fieldsOfModel(model), inputs);
  const quantity = quantityOf(model, values);
  return {
    workflowSlug: null,
    modelIds: [model.name],
    credits: model.price * quantity,
    fails: model.fails,
    ms: null,
    makeResult: () => resultOf([[model.makes, productOf(model, quantity, values)]]),
  };
}

// ------------------------------------------------------------------------------------------ 11. Credits and usage

let lastRowId = 4000;
const usageRows = [];

/** Take the credits of a run before it begins: nothing waits between the look and the charge. */
function charge(account, credits) {
  const owed = account.grant === "granted" ? 0 : credits;
  if (account.grant === "exhausted" && credits > 0) {
    const code = broken("grant-code-upper-case") ? "GRANT_EXHAUSTED" : "grant_exhausted";
    throw new Refusal(402, code, "The trial grant is used up.");
  }
  if (account.credits < owed) {
    const text = `The run needs ${owed} credits and ${account.credits} are left.`;
    throw new Refusal(402, "INSUFFICIENT_CREDITS", text, { extra: { needed: owed, left: account.credits } });
  }
  const isLate = broken("charge-after-run");
  if (!isLate) account.credits -= owed;
  return { account, owed, isLate };
}

/** Give back what a failed run took; the other way it is charged all the same. */
function refund(charged) {
  if (!charged.isLate) charged.account.credits += charged.owed;
  charged.owed = 0;
}

/** A run in the making: charged, and in the second form with a row already. */
function beginRun(key, plan) {
  const run = {
    key, plan, charged: charge(key.account, plan.credits), requestId: `req_${randomUUID().replaceAll("-", "")}`,
    startedAt: Date.now(), row: null,
  };
  if (options.otherWay) run.row = addRow(run, "processing");
  return run;
}

/** Book the end of a run, once. */
function endRun(run, status) {
  if (status === "failed") way(refund, () => {})(run.charged);
  if (status === "cancelled" && broken("cancel-is-free")) refund(run.charged);
  if (run.charged.isLate) run.charged.account.credits = Math.max(0, run.charged.account.credits - run.charged.owed);
  run.ms = Date.now() - run.startedAt;
  run.row ??= addRow(run, status);
  const ended = { status, durationMs: run.ms, errorCode: status === "failed" ? "EXECUTION_FAILED" : null };
  Object.assign(run.row, ended, { creditsCost: run.charged.owed, userCost: dollars(run.charged.owed * 0.01) });
}

function addRow({ key, plan, charged, requestId, startedAt }, status) {
  const row = {
    id: (lastRowId += 1), userId: key.account.id, workflowSlug: plan.workflowSlug, modelIds: plan.modelIds, status,
    source: plan.workflowSlug === null ? "api-slim" : "api-workflow", cost: dollars(plan.credits * 0.008),
    userCost: dollars(charged.owed * 0.01), creditsCost: charged.owed, durationMs: null, errorCode: null, requestId,
    createdAt: startedAt,
  };
  usageRows.push(row);
  return row;
}

/** History: runs of before this process began, canvas runs among them. */
function seedRows(user, number, runs, source) {
  for (let index = 0; index < number; index += 1) {
    const [workflowSlug, modelIds, credits] = runs[index % runs.length];
    const status = ["completed", "completed", "completed", "failed", "completed", "cancelled"][index % 6];
    const paid = status === "failed" ? way(0, credits) : credits;
    usageRows.push({
      id: (lastRowId += 1), userId: user, workflowSlug, modelIds, status,
      source: source ?? (workflowSlug === null ? "api-slim" : "api-workflow"), cost: dollars(credits * 0.008),
      userCost: dollars(paid * 0.01), creditsCost: paid, durationMs: 900 + Math.round(random() * 9000),
      errorCode: status === "failed" ? "EXECUTION_FAILED" : null,
      requestId: `req_${seededText(`row ${lastRowId}`, 20)}`,
      createdAt: Date.now() - 20 * 86_400_000 + usageRows.length * 60_000,
    });
  }
}
seedRows("usr_petra", 4, [["sea-lantern", ["kling-o3-ref2v"], 70]], "canvas");
seedRows("usr_petra", 64, [
  ["sea-lantern", ["nano-banana-2", "claude-sonnet"], 19], ["sea-lantern-night", ["seedream-v5"], 12],
]);
seedRows("usr_stranger", 7, [["stranger-vault", ["gpt-image-2"], 15]]);
seedRows("usr_bruno", 640, [["billboard", ["gpt-image-2"], 15], [null, ["claude-sonnet"], 3], [null, ["suno-v5"], 20]]);

/** A number of the query within bounds; one that is garbled is clamped or ignored, or refused. */
function numberOf(query, name, standard, least, most) {
  const text = query.get(name);
  if (text === null) return standard;
  const number = /^-?\d{1,15}$/.test(text) ? Number(text) : null;
  if (options.otherWay && (number === null || number < least || number > most)) {
    throw new Refusal(400, "INVALID_QUERY", `${name} must be a whole number from ${least} to ${most}.`);
  }
  return number === null ? standard : Math.min(most, Math.max(least, number));
}

function listUsage({ key, query }) {
  const limit = numberOf(query, "limit", 50, way(0, 1), broken("limit-up-to-1000") ? 1000 : 500);
  const offset = numberOf(query, "offset", 0, 0, Number.MAX_SAFE_INTEGER);
  const [status, modelId, slug] = ["status", "modelId", "workflowSlug"].map((name) => query.get(name));
  const filtering = way(["processing", "completed", "failed", "cancelled"], ["processing", "completed", "failed"]);
  if (options.otherWay && status !== null && ![...filtering, "cancelled"].includes(status)) {
    throw new Refusal(400, "INVALID_QUERY", "status must be processing, completed or failed.");
  }
  const ofAll = broken("slug-filter-leaks") && slug !== null;
  const rows = usageRows.filter((row) => (
    row.source !== "canvas" && (row.userId === key.account.id || ofAll)
    && (!filtering.includes(status) || row.status === status)
    && (modelId === null || row.modelIds.includes(modelId))
    && (slug === null || row.workflowSlug === slug)
  ));
  rows.sort((one, two) => way(two.id - one.id, one.id - two.id)); // newest first, or oldest
  const shown = rows.slice(offset, offset + limit).map((row) => ({ ...row, createdAt: isoTime(row.createdAt) }));
  const page = Math.floor(offset / Math.max(1, limit)) + way(1, 0);
  return [200, { rows: shown, page, pageSize: limit, total: rows.length }];
}

/** The models of one's history: of API runs, or of canvas runs too. */
function listUsageModels({ key }) {
  const own = usageRows.filter((row) => row.userId === key.account.id && way(row.source !== "canvas", true));
  const models = [...new Set(own.flatMap((row) => row.modelIds))].sort();
  return [200, way({ models }, models)];
}

// ------------------------------------------------------------------------------------------------------ 12. Runs

/** A workflow that may be run: one's own, or somebody's template (the other way no template). */
function runnable(context) {
  const [slug] = context.params;
  const workflow = workflows.get(slug);
  const isOwn = workflow?.createdBy === context.key.account.id;
  const isOpen = workflow?.isTemplate && !options.otherWay;
  const slipsThrough = broken("async-runs-foreign") && context.isAsync;
  if (!workflow || !(isOwn || isOpen || slipsThrough)) throw notFound("Workflow");
  return workflow;
}

async function runWorkflow(context) {
  if (broken("slug-case-folded")) context.params[0] = context.params[0].toLowerCase();
  if (!NAME_PATTERN.test(context.params[0])) throw invalidSlug();
  const [inputs, workflow] = await bodyAndResource(context, readInputs, runnable);
  return run(context, planOfWorkflow(workflow, inputs));
}

/** A model that the account may run. */
function allowedModel(context) {
  const model = MODELS.get(context.params[0]);
  if (model?.disabled && broken("disabled-model-code")) {
    throw new Refusal(404, "NOT_FOUND", "There is no such model.");
  }
  if (!model || model.disabled) throw modelNotFound();
  const { account } = context.key;
  if (TIER_RANK[account.tier] < TIER_RANK[model.needsTier] && !isAdmin(account)) {
    throw new Refusal(403, "MODEL_TIER_REQUIRED", `This model needs the ${model.needsTier} tier.`);
  }
  const polled = broken("seedream-counts-as-polled") ? model.polled || model.name.startsWith("seed") : model.polled;
  if (context.isAsync && !polled) {
    throw new Refusal(400, "ASYNC_NOT_SUPPORTED", "This model cannot run asynchronously.");
  }
  return model;
}

async function runModel(context) {
  const { account } = context.key;
  if (TIER_RANK[account.tier] < TIER_RANK.business && !isAdmin(account)) {
    const above = new Refusal(403, "MODEL_TIER_REQUIRED", "Models run on the business tier and above.");
    throw way(above, denial("model:run", context.params[0]));
  }
  if (!NAME_PATTERN.test(context.params[0])) throw invalidSlug();
  const [inputs, model] = await bodyAndResource(context, readInputs, allowedModel);
  return run(context, planOfModel(model, inputs));
}

/** Run a plan: wait for its end, or submit it. */
async function run(context, plan) {
  if (options.otherWay) takeTurn(context);
  if (context.isAsync) return submit(context, plan);
  const work = beginRun(context.key, plan);
  await sleep(plan.ms ?? 15 + random() * 25);
  if (plan.fails) {
    endRun(work, "failed");
    throw executionFailed();
  }
  endRun(work, "completed");
  return [200, { success: true, result: plan.makeResult(), cost: work.charged.owed, ms: work.ms }];
}

// ------------------------------------------------------------------------------------------------ 13. Executions

const executions = new Map(); // by id
const FINAL = new Set(["completed", "failed", "cancelled"]);
const CANCEL_TAKES_MS = 150;

function submit({ key }, plan) {
  const open = { executionId: randomUUID(), status: "processing", result: null, error: null };
  const execution = { ...beginRun(key, plan), ...open };
  const { executionId, requestId } = execution;
  executions.set(executionId, execution);
  setTimeout(() => finish(execution, plan.fails ? "failed" : "completed"), plan.ms ?? 500 + random() * 300);
  const webhookDelivery = receives(key) ? { configured: true, url: options.webhook.url } : { configured: false };
  const workflowSlug = plan.workflowSlug === null ? {} : { workflowSlug: plan.workflowSlug };
  const pollUrl = `/api/executions/${executionId}`;
  return [way(202, 200),
    { _async: true, executionId, requestId, status: "processing", webhookDelivery, pollUrl, ...workflowSlug }];
}

/** End an execution, book it and tell its receiver. An end is never undone. */
function finish(execution, status) {
  const overtaken = broken("late-completion") && execution.status === "cancelled" && status === "completed";
  if (FINAL.has(execution.status) && !overtaken) return;
  execution.status = status;
  if (status === "completed") execution.result = execution.plan.makeResult();
  if (status === "failed") execution.error = { code: "EXECUTION_FAILED", message: executionFailed().message };
  if (overtaken) return;
  endRun(execution, status);
  if (receives(execution.key)) deliver(execution);
}

/** One's own execution. An id that is no UUID is unknown, or garbled. */
function ownExecution({ key, route, params: [id] }) {
  if (options.otherWay && !UUID_PATTERN.test(id)) {
    throw new Refusal(400, "INVALID_EXECUTION_ID", "This is no execution id.");
  }
  const execution = executions.get(id);
  const isOpen = broken("poll-foreign") && route.name === "poll";
  if (!execution || (execution.key.account !== key.account && !isOpen)) throw notFound("Execution");
  return execution;
}

function pollExecution(context) {
  const { executionId, requestId, status, result, error, startedAt, plan, charged } = ownExecution(context);
  const told = broken("failure-is-text") && error ? error.message : error;
  const ending = { ...(status === "completed" && { result }), ...(status === "failed" && { error: told }) };
  const more = { requestId, workflowSlug: plan.workflowSlug, modelIds: plan.modelIds, createdAt: isoTime(startedAt) };
  const cost = FINAL.has(status) ? { creditsCost: charged.owed } : {};
  return [200, { executionId, status, ...ending, ...way({}, { ...more, ...cost }) }];
}

/** Ask an execution to stop: it is on its way to that, or there at once. */
function cancelExecution(context) {
  let execution;
  try {
    execution = ownExecution(context);
  } catch (refusal) {
    if (!broken("cancel-404-in-html") || refusal.status !== 404) throw refusal;
    return [404, "<!doctype html><title>404</title><p>Cannot POST here</p>"];
  }
  const { executionId, status } = execution;
  if (broken("cancel-reopens") && status === "completed") execution.status = "cancelled";
  else if (FINAL.has(status)) {
    const ended = new Refusal(409, "EXECUTION_ENDED", "The execution has ended.", { extra: { status } });
    if (!options.otherWay) throw ended;
  } else if (options.otherWay) finish(execution, "cancelled");
  else if (status === "processing") {
    execution.status = "cancel_requested";
    setTimeout(() => finish(execution, "cancelled"), CANCEL_TAKES_MS);
  }
  return [way(202, 200), { executionId, status: execution.status }];
}

// -------------------------------------------------------------------------------------------------- 14. Webhooks

const RETRY_AFTER_MS = way([300, 900, 2700], [700, 700, 700, 700]);

/** Whether a key's executions are delivered: it has an address and may receive. */
function receives(key) {
  if (!key.webhook || !options.webhook.url) return false;
  return meets(key, "webhook:receive") || broken("delivers-without-capability");
}

/** Tell the receiver how an execution ended, again and again until it accepts. */
async function deliver(execution) {
  const { executionId, requestId, key, plan, status, result, error, startedAt, charged } = execution;
  const payload = {
    event: `execution.${status}`, executionId, requestId, userId: key.account.id, workflowSlug: plan.workflowSlug,
    modelIds: plan.modelIds, status, ...(status === "completed" && { result }), ...(status === "failed" && { error }),
    creditsCost: charged.owed, createdAt: isoTime(startedAt),
  };
  const body = JSON.stringify(payload, null, 1);
  let signature = sign(body, payload);
  for (let attempt = 0; ; attempt += 1) {
    if (await post(options.webhook.url, body, signature)) return;
    if (attempt >= RETRY_AFTER_MS.length) return;
    await sleep(RETRY_AFTER_MS[attempt]);
    if (broken("redelivery-charges-again")) {
      key.account.credits -= charged.owed;
      Object.assign(addRow(execution, status), { durationMs: execution.ms });
    }
    if (!options.otherWay) signature = sign(body, payload); // a fresh moment, or the first delivery word for word
  }
}

function sign(body, payload) {
  const moment = Math.floor(Date.now() / 1000);
  const text = broken("signs-reserialised") ? JSON.stringify(payload) : body;
  return `t=${moment},v1=${createHmac("sha256", options.webhook.secret).update(`${moment}.${text}`).digest("hex")}`;
}

/** POST a body; whether it was accepted. */
function post(url, body, signature) {
  const headers = {
    "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body), "X-Knouds-Signature": signature,
    "User-Agent": "Knouds-Webhooks/1",
  };
  return new Promise((done) => {
    const client = url.startsWith("https:") ? https : http;
    const request = client.request(url, { method: "POST", headers, timeout: 5000, agent: false }, (response) => {
      response.resume();
      response.on("error", () => done(false));
      done(response.statusCode >= 200 && response.statusCode < 300);
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => done(false));
    request.end(body);
  });
}

// --------------------------------------------------------------------------------- 15. Identity, prices and health

function whoami({ key }) {
  const { id, email, role, tier, approved } = key.account;
  return [200, { user: { id, email, role, tier, approved } }];
}

function publicPricing() {
  const tiers = Object.keys(TIER_RANK).map((id) => ({ id, monthlyCredits: TIER_CREDITS[id] }));
  const byName = Object.fromEntries(tiers.map(({ id, monthlyCredits }) => [id, { credits: monthlyCredits }]));
  return [200, way({ tiers }, { tiers: byName, currency: "USD" })];
}

const health = () => [200, way({ status: "ok" }, { ok: true, version: "4.13.2", uptime: Math.round(process.uptime()) })];

const SESSION_ONLY = /^\/api\/(me|credits|api-keys|business\/admin)(\/|$)/;

/** Paths for browser sessions: no key gets in, whatever it holds. */
function sessionOnly({ key, path }) {
  if (broken("star-reads-balance") && key.capabilities.has("*") && path === "/api/credits/balance") {
    return [200, { credits: key.account.credits }];
  }
  throw way(new Refusal(403, "SESSION_REQUIRED", "This is for signed-in people, not for keys."), unauthorized());
}

// ---------------------------------------------------------------------------------------------------- 16. Fixture

/** What there is at the start, for a tester to write a profile from. */
function fixture() {
  const funds = ({ credits, grant }) => (grant === "none" ? credits : grant);
  const told = { base_url: baseUrl(), other_way: options.otherWay, keys: {}, workflows: {}, models: {} };
  for (const key of keys.values()) {
    const { account, name, secret, state, webhook } = key;
    told.keys[name] = {
      secret, capabilities: [...key.capabilities], user: account.id, tier: account.tier, state, role: account.role,
      webhook: webhook && options.webhook.url !== "",
      ...(webhook ? { webhook_secret: options.webhook.secret } : {}),
      ...(account.credits < 100 || account.grant !== "none" ? { credits: funds(account) } : {}),
    };
  }
  for (const workflow of workflows.values()) {
    const plan = planOfWorkflow(workflow, {});
    told.workflows[workflow.slug] = {
      owner: workflow.createdBy, public: workflow.publicPlayground, template: workflow.isTemplate, async: true,
      cost_credits: plan.credits, fails: plan.fails, slow: (plan.ms ?? 0) > 1000,
      inputs: defaultsOf(fieldsOf(workflow)),
    };
  }
  for (const model of MODELS.values()) {
    const { input, standard } = UNITS[model.unit];
    told.models[model.name] = {
      polled: model.polled, disabled: model.disabled, fails: model.fails,
      ...(model.needsTier === "business" ? {} : { needs_tier: model.needsTier }),
      cost_credits: planOfModel(model, {}).credits,
      inputs: { prompt: "a lighthouse in fog", ...(input && { [input]: standard }) },
    };
  }
  return told;
}

// ------------------------------------------------------------------------------------------------------ 17. Routes

const ROUTES = [
  ["GET", "/_blind/fixture", () => [200, seeded], { name: "fixture", open: true }],
  ["GET", "/api/health", health, { name: "health", open: true }],
  ["GET", "/api/pricing/public", publicPricing, { name: "pricing", open: true }],
  ["GET", "/api/workflows/:slug/public-schema", getPublicSchema, { name: "publicSchema", open: true }],
  ["GET", "/api/whoami", whoami, { name: "whoami" }],
  ["GET", "/api/workflows", listWorkflows, { name: "list", needs: "workflow:read" }],
  ["POST", "/api/workflows", createWorkflow, { name: "create", needs: "workflow:write", isWrite: true }],
  ["GET", "/api/workflows/:slug", getWorkflow, { name: "get", needs: "workflow:read" }],
  ["PUT", "/api/workflows/:slug", updateWorkflow, { name: "update", needs: "workflow:write", isWrite: true }],
  ["DELETE", "/api/workflows/:slug", deleteWorkflow, { name: "delete", needs: "workflow:write", isWrite: true }],
  ["PUT", "/api/workflows/:slug/move", moveWorkflow, { name: "move", needs: "workflow:write", isWrite: true }],
  ["GET", "/api/workflows/:slug/schema", getSchema, { name: "schema", needs: "workflow:read" }],
  ["POST", "/api/workflows/:slug/run", runWorkflow,
    { name: "runWorkflow", needs: "workflow:run", bindable: true, isRun: true }],
  ["POST", "/api/models/:internalName/run", runModel,
    { name: "runModel", needs: "model:run", bindable: true, isRun: true }],
  ["GET", "/api/executions/:id", pollExecution, { name: "poll", needs: "execution:read" }],
  ["POST", "/api/executions/:id/cancel", cancelExecution, { name: "cancel", needs: "execution:cancel" }],
  ["GET", "/api/usage", listUsage, { name: "usage" }],
  ["GET", "/api/usage/models", listUsageModels, { name: "usageModels" }],
].map(([method, path, handle, more]) => {
  const pattern = new RegExp(`^${path.replace(/:[a-zA-Z]+/g, "([^/]+)")}$`);
  return { method, pattern, handle, ...more };
});

/** The text of a part of a path; one that is garbled stays as it is and fits no name. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The route of a request and the parts of its path. */
function findRoute(request, path) {
  if (SESSION_ONLY.test(path)) return [{ name: "session", handle: sessionOnly }, []];
  const method = request.method === "HEAD" ? "GET" : request.method;
  const here = ROUTES.filter((route) => route.pattern.test(path));
  const route = here.find((each) => each.method === method);
  if (route) return [route, route.pattern.exec(path).slice(1).map(decoded)];
  if (options.otherWay && path.startsWith("/api/")) authenticate(request, {});
  if (!here.length || options.otherWay) throw new Refusal(404, "NOT_FOUND", "There is nothing here.");
  const headers = { Allow: here.map((each) => each.method).join(", ") };
  throw new Refusal(405, "METHOD_NOT_ALLOWED", "This path does not have that method.", { headers });
}

/** Authentication, then the window (or it is taken just before the run), then capability, then the route's work. */
async function work(request, headers) {
  const target = request.url.replace(/^https?:\/\/[^/]*/i, "");
  const cut = target.indexOf("?");
  const path = cut < 0 ? target : target.slice(0, cut);
  const query = new URLSearchParams(cut < 0 ? "" : target.slice(cut));
  const [route, params] = findRoute(request, path);
  const isAsync = ["true", ...way([], ["1"])].includes(query.get("async"));
  const context = { request, headers, path, query, params, route, isAsync, key: null };
  if (route.open) return route.handle(context);
  context.key = authenticate(request, route);
  if (route.isRun && !options.otherWay) takeTurn(context);
  try {
    checkCapability(context);
  } catch (refusal) {
    const isOwn = workflows.get(params[0])?.createdBy === context.key.account.id;
    if (broken("denied-delete-deletes") && route.name === "delete" && isOwn) deleteWorkflow(context);
    throw refusal;
  }
  if (route.isWrite && options.otherWay) takeTurn(context);
  return route.handle(context);
}

// ------------------------------------------------------------------------------------------------------ 18. Server

async function answer(request, response) {
  const headers = way({ "X-Request-Id": randomUUID(), "Cache-Control": "no-store" }, {});
  let status;
  let body;
  try {
    [status, body] = await work(request, headers);
  } catch (problem) {
    if (request.errored || request.aborted) return;
    if (!(problem instanceof Refusal)) {
      console.error(problem);
      problem = new Refusal(500, "INTERNAL_ERROR", "Something went wrong.");
    }
    ({ status, body } = problem);
    Object.assign(headers, problem.headers);
  }
  const isPage = typeof body === "string";
  const bytes = Buffer.from(isPage ? body : JSON.stringify(body));
  headers["Content-Type"] = isPage ? "text/html" : way("application/json; charset=utf-8", "application/json");
  headers["Content-Length"] = bytes.length;
  response.writeHead(status, headers);
  response.end(request.method === "HEAD" ? undefined : bytes);
}

const limits = { maxHeaderSize: 128 * 1024, keepAliveTimeout: 75_000, requireHostHeader: false };
const server = http.createServer(limits, answer);
server.on("checkExpectation", answer);

/** What is no HTTP at all gets an envelope, too. */
server.on("clientError", (error, socket) => {
  if (error.code === "ECONNRESET" || !socket.writable) return;
  const body = JSON.stringify({ error: "This is no proper request.", code: "BAD_REQUEST" });
  socket.end(
    "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n"
      + `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
});

const baseUrl = () => `http://127.0.0.1:${server.address().port}`;

let seeded = {};

server.listen(options.port, "127.0.0.1", () => {
  seeded = fixture();
  console.log(options.announce === "json" ? JSON.stringify(seeded) : `listening on ${baseUrl()}`);
});
