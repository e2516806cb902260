"""What is asked of a sandbox so that each of its faults shows, and what is written down of the answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable
from typing import Any

import httpx

from knouds_sandbox.calls import Services
from knouds_sandbox.seeding import account_id, seeded_keys

SEED = 5
JSON_TYPE = {"content-type": "application/json"}
VARYING = (
    (re.compile(r"req_[0-9a-f]{32}"), "REQUEST"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"(?<![0-9a-f-])[0-9a-f]{8}(?![0-9a-f-])"), "SHORT"),
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z"), "INSTANT"),
    (re.compile(r'"ms":[0-9.e-]+'), "MS"),
    (re.compile(r'"durationMs":-?\d+'), "DURATION"),
)

PERSONAS = (
    "none",
    "only-workflow-run",
    "only-workflow-read",
    "only-workflow-write",
    "only-model-run",
    "only-execution-read",
    "only-execution-cancel",
    "only-webhook-receive",
    "wildcard-workflow",
    "wildcard-model",
    "wildcard-execution",
    "bound-workflow",
    "bound-model",
    "admin",
    "full",
)


class Transcript:
    """Sends requests and writes down what of the answers does not vary by itself."""

    def __init__(self, client: httpx.AsyncClient, services: Services) -> None:
        """Nothing is written down yet."""
        self.client = client
        self.services = services
        self.keys = seeded_keys(services.store)
        self.lines: list[str] = []

    async def send(
        self, method: str, path: str, persona: str | None = None, body: object = None, **options: Any
    ) -> httpx.Response:
        """Send one request as a persona; a body of bytes is sent as it is, any other as JSON."""
        headers = dict(options.pop("headers", {}))
        if persona is not None:
            headers["x-api-key"] = self.keys[persona]
        if body is not None:
            options["content"] = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers = JSON_TYPE | headers
        started = asyncio.get_running_loop().time()
        response = await self.client.request(method, path, headers=headers, **options)
        text = f"{path} {response.text}"
        for pattern, name in VARYING:
            text = pattern.sub(name, text)
        shown: dict[str, Any] = {
            k: v for k, v in response.headers.items() if "rate" in k or k in {"content-type", "retry-after"}
        }
        if "x-ratelimit-reset" in shown:
            shown["x-ratelimit-reset"] = len(shown["x-ratelimit-reset"])
        is_slow = asyncio.get_running_loop().time() - started > 0.5
        self.lines.append(f"{method} {persona} {response.status_code} {shown} {is_slow} {text}")
        return response

    def note(self, text: str) -> None:
        """Write down what was learned besides."""
        self.lines.append(text)


async def authentication(t: Transcript) -> None:
    full = t.keys["full"]
    await t.send("GET", "/api/whoami")
    await t.send("GET", "/api/usage")
    for key in ("", "nonsense", "knouds_live_" + "u" * 43, full.swapcase(), full[:-3], full + "x"):
        await t.send("GET", "/api/usage", headers={"x-api-key": key})
    await t.send("GET", "/api/whoami", headers={"x-api-key": full[:12] + full[12:].swapcase()})
    await t.send("GET", "/api/whoami", headers={"authorization": f"Bearer {full}"})
    await t.send("GET", "/api/whoami", params={"api_key": full})
    await t.send("GET", "/api/executions/x", params={"api_key": full})
    for persona in ("revoked", "legacy", "unapproved"):
        await t.send("GET", "/api/whoami", persona)
        await t.send("GET", "/api/executions/x", persona)
    for path in ("/api/me", "/api/credits/balance", "/api/api-keys", "/api/business/admin/users"):
        await t.send("GET", path, "admin")
    for path in ("/api/workflows/public-card/public-schema", "/api/pricing/public", "/api/health"):
        await t.send("GET", path)
    await t.send("GET", "/api/nowhere")


async def capabilities(t: Transcript) -> None:
    for persona in PERSONAS:
        await t.send("GET", "/api/whoami", persona)
        await t.send("GET", "/api/usage", persona, params={"limit": "0"})
        await t.send("GET", "/api/usage/models", persona)
        await t.send("GET", "/api/workflows", persona)
        await t.send("GET", "/api/workflows/portrait/schema", persona)
        for slug in ("portrait", "portrait-hd", "portrai", "all-fields"):
            await t.send("POST", f"/api/workflows/{slug}/run", persona, {"inputs": {}})
        await t.send("POST", "/api/models/seedream-v5/run", persona, {"inputs": {}})
        await t.send("POST", "/api/models/nano-banana-2/run", persona, {"inputs": {}})
        await t.send("GET", "/api/executions/x", persona)
        await t.send("POST", "/api/executions/x/cancel", persona)
        await t.send("PUT", "/api/workflows/in-folder", persona, {"tags": ["x"]})
        await t.send("PUT", "/api/workflows/in-folder/move", persona, {"folderId": "folder-2026"})
    await t.send("POST", "/api/workflows", "none", {"name": "Refused"})
    await t.send("PUT", "/api/workflows/public-card", "none", {"description": "refused"})
    await t.send("PUT", "/api/workflows/all-fields/move", "none", {"folderId": "refused"})
    await t.send("DELETE", "/api/workflows/sunset-clip", "none")
    await t.send("GET", "/api/workflows", "full")


async def workflows(t: Transcript) -> None:
    for slug in ("portrait", "no-input", "in-folder", "starter-template", "stranger-private", "unknown"):
        await t.send("GET", f"/api/workflows/{slug}", "full")
        await t.send("GET", f"/api/workflows/{slug}/schema", "full")
        await t.send("GET", f"/api/workflows/{slug}/public-schema")
    document = (await t.send("GET", "/api/workflows/portrait", "full")).json()
    await t.send("POST", "/api/workflows", "full", document)
    await t.send(
        "POST", "/api/workflows", "full", {"name": "My New Flow", "createdBy": account_id(SEED, "sam")}
    )
    await t.send("POST", "/api/workflows", "full", {"name": "My New Flow"})
    await t.send("POST", "/api/workflows", "full", {"description": "nameless"})
    for name in ("First", "Second"):
        await t.send("POST", "/api/workflows", "free", {"name": name})
    await t.send("PUT", "/api/workflows/portrait", "full", {"name": "Renamed", "slug": "else"})
    await t.send("PUT", "/api/workflows/portrait", "full", {"tags": ["kept"], "slug": "else"})
    await t.send("PUT", "/api/workflows/portrait", "full", {"description": "new"})
    await t.send("PUT", "/api/workflows/portrait", "full", {"description": "half", "nodes": 7})
    await t.send("PUT", "/api/workflows/portrait", "full", {"createdBy": account_id(SEED, "sam")})
    await t.send("GET", "/api/workflows/portrait", "full")
    for folder in ("folder-9", None):
        await t.send("PUT", "/api/workflows/in-folder/move", "full", {"folderId": folder})
        await t.send("GET", "/api/workflows/in-folder", "full")
    for slug, persona in (
        ("starter-template", "stranger"),
        ("stranger-private", "full"),
        ("portrait", "admin"),
    ):
        await t.send("PUT", f"/api/workflows/{slug}", persona, {"tags": ["foreign"]})
    await t.send("GET", "/api/workflows/stranger-private", "stranger")
    await t.send("POST", "/api/workflows/no-input/run", "full", {"inputs": {}})
    await t.send("DELETE", "/api/workflows/no-input", "full")
    await t.send("GET", "/api/workflows/no-input", "full")
    await t.send("POST", "/api/workflows/no-input/run", "full", {"inputs": {}})
    await t.send("GET", "/api/workflows", "stranger")


async def runs(t: Transcript) -> None:
    inputs: tuple[object, ...] = ([], None, "text", 3, {})
    for body in (b"{", b"", b"[]", {}, *({"inputs": value} for value in inputs)):
        await t.send("POST", "/api/workflows/all-fields/run", "full", body)
    for slug in ("All-Fields", "a_b", "unknown", "stranger-private", "always-fails", "no-generator"):
        await t.send("POST", f"/api/workflows/{slug}/run", "full", {"inputs": {}})
    for persona, slug in (("broke", "nil"), ("exhausted", "tess"), ("granted", "gus")):
        await t.send("POST", f"/api/workflows/{slug}-portrait/run", persona, {"inputs": {}})
    for model in (
        "no_model",
        "unknown",
        "retired-model",
        "enterprise-model",
        "claude-sonnet",
        "failing-model",
    ):
        await t.send("POST", f"/api/models/{model}/run", "business", {"inputs": {}})
    await t.send("POST", "/api/models/seedream-v5/run", "business", {"inputs": {"count": 3}})
    await t.send("POST", "/api/models/seedream-v5/run?async=true", "business", {"inputs": {}})
    await t.send("POST", "/api/models/seedream-v5/run", "pro-model", {"inputs": {}})


async def executions(t: Transcript) -> None:
    submits = [
        await t.send("POST", f"/api/{path}/run?async=true", "business", {"inputs": {}})
        for path in ("workflows/bea-portrait", "models/suno-v5", "models/failing-model")
    ]
    ids = [submit.json().get("executionId") for submit in submits]
    t.note(f"fresh ids: {len(set(ids))}")
    urls = [str(submit.json().get("pollUrl")) for submit in submits]
    t.note(f"own URLs: {[url.endswith(str(id_)) for url, id_ in zip(urls, ids, strict=True)]}")
    for execution_id in (*ids, "unknown"):
        await t.send("GET", f"/api/executions/{execution_id}", "business")
        await t.send("GET", f"/api/executions/{execution_id}", "stranger")
    await t.send("POST", f"/api/executions/{ids[0]}/cancel", "business")
    await t.send("GET", f"/api/executions/{ids[0]}", "business")
    await t.send("POST", f"/api/executions/{ids[1]}/cancel", "stranger")
    for execution_id in ids:
        await all_ended(t)
        await t.send("GET", f"/api/executions/{execution_id}", "business")
        await t.send("POST", f"/api/executions/{execution_id}/cancel", "business")
        await t.send("GET", f"/api/executions/{execution_id}", "business")


async def all_ended(t: Transcript) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while True:
                (row,) = t.services.store.row("SELECT count(*) FROM runs WHERE ended_unix_s IS NULL")
                if not row:
                    return
                await asyncio.sleep(0.005)
    t.note("some run has not ended")


async def usage(t: Transcript) -> None:
    for query in (
        "",
        "limit=2",
        "limit=2&offset=1",
        "limit=9999",
        "limit=x",
        "status=failed",
        "modelId=suno-v5",
    ):
        await t.send("GET", f"/api/usage?{query}", "business")
    await t.send("GET", "/api/usage?workflowSlug=bea-portrait", "business")
    await t.send("GET", "/api/usage/models", "business")
    await t.send("GET", "/api/usage", "full")
    for _ in range(25):
        await t.send("POST", "/api/workflows/no-generator/run", "full", {"inputs": {}})
    await t.send("GET", "/api/usage", "full")


async def rate_limits(t: Transcript) -> None:
    await t.send("POST", "/api/models/suno-v5/run", "business", {"inputs": {}})
    for _ in range(102):
        await t.send("POST", "/api/workflows/pia-portrait/run", "pro", {"inputs": {}})
    await t.send("POST", "/api/workflows/pia-portrait/run", "pro-second", {"inputs": {}})
    t.services.limiter.advance(61)
    resets = []
    for _ in range(2):
        run = await t.send("POST", "/api/workflows/pia-portrait/run", "pro", {"inputs": {}})
        resets.append(run.headers.get("x-ratelimit-reset"))
        t.services.limiter.advance(5)
    t.note(f"the window stays: {resets[0] == resets[1]}")
    t.services.limiter.advance(52)  # the first run is a minute old, the second is not
    await t.send("POST", "/api/workflows/pia-portrait/run", "pro", {"inputs": {}})


async def corners(t: Transcript) -> None:
    """What only shows under a second condition, at an edge, or from a second answer."""
    await t.send("GET", "/api/usage/models", "revoked")
    await t.send("POST", "/api/executions/x/cancel", "legacy")
    node = {"id": "n", "type": "note", "position": {"x": 0.5, "y": 1.75}, "data": {}}
    for _ in range(3):
        await t.send("POST", "/api/workflows", "full", {"name": "Corner 7", "nodes": [node]})
    await t.send("GET", "/api/workflows/corner-7", "full")
    await t.send("PUT", "/api/workflows/corner-7", "full", {"createdBy": account_id(SEED, "sam")})
    await t.send("PUT", "/api/workflows/corner-7", "deploy", {"tags": ["refused"]})
    await t.send("POST", "/api/workflows/all-fields/run", "full", {"inputs": False})
    await t.send("POST", "/api/workflows/nil-portrait/run?async=true", "broke", {"inputs": {}})
    await t.send("POST", "/api/models/claude-sonnet/run?async=true", "business", {"inputs": {}})
    await t.send("GET", "/api/usage?status=failed&workflowSlug=bea-portrait", "business")
    await t.send("GET", "/api/usage?status=completed", "full")
    await t.send("GET", "/api/usage?workflowSlug=portrait", "full")
    await t.send("GET", "/api/usage?workflowSlug=bea-portrait", "full")
    await t.send("GET", "/api/usage?modelId=suno", "business")
    await t.send("GET", "/api/usage", headers={"authorization": f"Bearer {t.keys['full']}"})
    await t.send("GET", "/api/whoami", "pro-second")
    await t.send("POST", "/api/workflows", "full", {"name": "Corner_8"})
    await t.send("GET", "/api/workflows/portrait/public-schema", "full")
    await t.send("POST", "/api/workflows/stranger-private/run?async=true", "full", {"inputs": {}})
    await t.send("POST", "/api/workflows/portrait/run?async=true", "only-workflow-run", {"inputs": {}})
    await t.send("PUT", "/api/workflows/public-card", "full", {"tags": ["still public"]})
    await t.send("GET", "/api/workflows/public-card/public-schema")
    await t.send("GET", "/api/whoami", headers={"x-api-key": t.keys["full"][:-1] + "~"})
    await t.send("POST", "/api/workflows/bea-portrait/run", "bound-workflow", {"inputs": {}})
    nodes = [{**node, "id": f"n{number}"} for number in range(5)]
    edges = [
        {"id": f"e{number}", "source": f"n{number}", "target": f"n{number + 1}"}
        | {"sourceHandle": "out", "targetHandle": "in"}
        for number in range(4)
    ]
    whole = {"name": "R&D <b>9</b>", "slug": "of-its-own", "description": "long " * 200, "tags": ["a"]}
    created = await t.send("POST", "/api/workflows", "full", whole | {"nodes": nodes, "edges": edges})
    path = f"/api/workflows/{created.json()['slug']}"
    updates: tuple[dict[str, object], ...] = ({"tags": []}, {"nodes": [node], "edges": []})
    for changed in updates:
        await t.send("PUT", path, "full", changed)
        await t.send("GET", path, "full")
    submits = [
        await t.send("POST", "/api/models/suno-v5/run?async=true", "business", {"inputs": {}}) for _ in "ab"
    ]
    asked = submits[0].json()
    poll = await t.send("GET", asked["pollUrl"], "business")
    t.note(f"is the one asked for: {poll.json().get('executionId') == asked['executionId']}")
    for _ in range(2):
        await t.send("POST", f"/api/executions/{asked['executionId']}/cancel", "business")
    await all_ended(t)


async def ended_for_a_while(t: Transcript) -> None:
    """An execution that ended two seconds ago, without waiting for it."""
    t.services.store.write("UPDATE runs SET ended_unix_s = ended_unix_s - 2 WHERE execution_id IS NOT NULL")
    (execution_id,) = t.services.store.row(
        "SELECT execution_id FROM runs"
        " WHERE status = 'completed' AND execution_id IS NOT NULL AND key_id IS NOT NULL"
    )
    await t.send("GET", f"/api/executions/{execution_id}", "stranger")
    for _ in range(10):
        await t.send("GET", f"/api/executions/{execution_id}", "business")


async def at_once(t: Transcript, *sendings: Awaitable[httpx.Response]) -> None:
    """Send all of these at once, and write their answers down in an order that does not vary."""
    before = len(t.lines)
    await asyncio.gather(*sendings)
    t.lines[before:] = sorted(t.lines[before:])


async def races(t: Transcript) -> None:
    await at_once(t, *(t.send("POST", "/api/workflows", "full", {"name": "Twin"}) for _ in range(3)))
    for changes in ({"description": "new"}, {"tags": ["new"]}):
        path = "/api/workflows/twin"
        await at_once(
            t,
            t.send("PUT", path, "full", {"publicPlayground": "description" in changes}),
            t.send("PUT", path, "full", changes),
            t.send("PUT", f"{path}/move", "full", {"folderId": "folder-7"}),
        )
        await t.send("GET", path, "full")
        await t.send("PUT", f"{path}/move", "full", {"folderId": None})
    await at_once(t, t.send("PUT", path, "full", {"description": "late"}), t.send("DELETE", path, "full"))
    await t.send("GET", path, "full")
    t.services.store.write("UPDATE accounts SET credits = 20 WHERE name = 'sam'")
    model = "/api/models/seedream-v5/run"
    await at_once(t, *(t.send("POST", model, "stranger", {"inputs": {}}) for _ in range(4)))
    submit = await t.send("POST", "/api/models/suno-v5/run?async=true", "business", {"inputs": {}})
    cancel = f"/api/executions/{submit.json()['executionId']}/cancel"
    await at_once(t, *(t.send("POST", cancel, "business") for _ in range(3)))
    await all_ended(t)
    await t.send("GET", "/api/usage?limit=1", "business")
    t.services.limiter.advance(61)
    await at_once(
        t, *(t.send("POST", "/api/workflows/pia-portrait/run", "pro", {"inputs": {}}) for _ in range(5))
    )


async def once_more(t: Transcript) -> None:
    """What others than the first do, and what is asked of asynchronous runs and of small values."""
    for persona in ("full", "stranger"):
        await t.send("POST", "/api/workflows", persona, {"name": "Shared Name"})
    node = {"type": "note", "position": {"x": 0, "y": 0}, "data": {"off": False, "text": "<b>"}}
    words = {"name": "Größe 10", "description": "something", "nodes": [{"id": "n"} | node]}
    path = f"/api/workflows/{(await t.send('POST', '/api/workflows', 'full', words)).json()['slug']}"
    await t.send("PUT", path, "full", {"description": ""})
    await t.send("GET", path, "full")
    generator = node | {"data": {"modelId": "seedream-v5"}}
    await t.send(
        "POST",
        "/api/workflows",
        "full",
        {"name": "Two", "nodes": [{"id": each} | generator for each in "ab"]},
    )
    await t.send("POST", "/api/workflows/two/run", "full", {"inputs": {}})
    nothing: tuple[dict[str, object], ...] = ({}, {"inputs": None})
    for body in nothing:
        await t.send("POST", "/api/models/suno-v5/run?async=true", "business", body)
    for model in ("seedream-v5", "nano-banana-2", "gpt-image-2", "suno-v5"):
        await t.send("POST", f"/api/models/{model}/run?async=true", "bound-model", {"inputs": []})
    await t.send("DELETE", "/api/workflows/first", "free")
    await at_once(t, *(t.send("POST", "/api/workflows", "free", {"name": "At once"}) for _ in range(2)))


async def unusual_values(t: Transcript) -> None:
    """Questions about unknown things without a valid key, and values that parsers stumble over."""
    asked = (
        ("GET", "workflows/unknown"),
        ("POST", "workflows/unknown/run"),
        ("POST", "models/unknown/run"),
    )
    for method, path in asked:
        body: object = {"inputs": {}} if method == "POST" else None
        for headers in ({}, {"x-api-key": "knouds_live_" + "u" * 43}):
            await t.send(method, f"/api/{path}", body=body, headers=headers)
    half, great, deep = b'"\\ud83d"', b"1e999", b"[" * 100_000 + b"]" * 100_000
    for value in (half, great, deep):
        await t.send("POST", "/api/workflows/all-fields/run", "full", b'{"inputs": {"text": %b}}' % value)
    created = await t.send("POST", "/api/workflows", "full", b'{"name": "Half", "description": %b}' % half)
    if created.is_success:
        await t.send("GET", f"/api/workflows/{created.json()['slug']}", "full")
    nodes = [{"id": each, "type": "note", "position": {"x": 0, "y": 0}, "data": {}} for each in "ab"]
    edges = [{"id": each, "source": "a", "target": "b", "sourceHandle": each} for each in "xy"]
    whole = {"name": "Twice tied", "nodes": nodes, "edges": edges}
    path = f"/api/workflows/{(await t.send('POST', '/api/workflows', 'full', whole)).json()['slug']}"
    await t.send("GET", path, "full")
    await t.send("PUT", path, "full", {"tags": list("abcd")})
    await t.send("PUT", path, "full", {"viewport": {"x": 2**64, "y": 0, "zoom": 1}})
    await t.send("POST", "/api/workflows", "full", {"name": "Nul", "description": "\0"})
    await t.send("GET", path, "full")
    for path in ("whoami", "usage", "workflows"):
        await at_once(t, *(t.send("GET", f"/api/{path}", persona) for persona in ("full", "stranger")))


PARTS = (
    authentication,
    unusual_values,
    workflows,
    runs,
    executions,
    ended_for_a_while,
    corners,
    usage,
    rate_limits,
    races,
    once_more,
    capabilities,
)
