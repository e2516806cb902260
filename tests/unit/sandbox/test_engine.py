"""The engine ends executions by timers, and each answer has the time of its request."""

import asyncio
import time

import httpx

from knouds_sandbox import serving
from knouds_sandbox.app import build_app
from knouds_sandbox.providers import Latency
from knouds_sandbox.seeding import seeded_keys

LATENCY_S = 0.2


def test_timer_of_a_stopped_sandbox_does_nothing():
    """The store is closed by then."""
    problems = []

    async def run_and_stop():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, problem: problems.append(problem))
        app, services = build_app(now_unix_s=time.time, latency=Latency(fixed_s=LATENCY_S))
        headers = {"x-api-key": seeded_keys(services.store)["full"]}
        sending = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://sandbox", headers=headers
        )
        async with services.engine.serving(), sending as client:
            run = await client.post("/api/models/suno-v5/run?async=true", json={"inputs": {}})
        services.store.close()
        later = asyncio.Event()
        loop.call_later(2 * LATENCY_S, later.set)
        await later.wait()
        return run.status_code

    assert asyncio.run(run_and_stop()) == 202
    assert problems == []


def test_date_is_that_of_the_request_however_long_the_process_stood_still(monkeypatch):
    """Windows of rate limits are told by it: with an older one they would seem to last for too long."""
    monkeypatch.setattr(serving, "_dated", lambda unix_s: [(b"date", b"%d" % unix_s)])
    with serving.running_sandbox() as sandbox:
        before_s = int(time.time())
        date = httpx.get(f"{sandbox.base_url}/api/health").headers["date"]

    assert before_s <= int(date) <= time.time()
