"""Every fault changes what the sandbox answers: the same requests, with and without it, go differently.

Those that a check is seen to find (``test_faults.py``) are not tried again.
"""

import asyncio
import contextlib

import httpx
import pytest
from fault_samples import TRIED_FAULTS
from sampling import sampled
from sandbox_transcripts import PARTS, SEED, Transcript
from virtual_time import run_without_waiting

from knouds_sandbox.app import build_app
from knouds_sandbox.faults import FAULTS
from knouds_sandbox.providers import Latency

UNTRIED = [each.id for each in FAULTS if each not in TRIED_FAULTS and not each.id.startswith("webhook-")]


@contextlib.asynccontextmanager
async def started(app):
    """Run the application's lifespan."""
    inbox: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    outbox: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan", "asgi": {}}, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    await outbox.get()
    try:
        yield
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        await task


async def transcripts(faults):
    """Yield what each part writes down, one part after the other on the same sandbox."""
    app, services = build_app(
        seed=SEED, faults=faults, latency=Latency(time_scale=0.2), now_unix_s=lambda: 1_800_000_000.0
    )
    transport = httpx.ASGITransport(app)
    async with started(app), httpx.AsyncClient(transport=transport, base_url="http://sandbox.test") as client:
        for part in PARTS:
            transcript = Transcript(client, services)
            await part(transcript)
            yield transcript.lines


async def all_transcripts(faults=()):
    return [lines async for lines in transcripts(faults)]


async def is_seen(fault, healthy):
    """Compare part by part; the first difference suffices."""
    async with contextlib.aclosing(transcripts((fault,))) as parts:
        number = 0
        async for lines in parts:
            if lines != healthy[number]:
                return True
            number += 1
    return False


@pytest.fixture(scope="module")
def healthy():
    """What a sandbox without faults answers, part by part."""
    return run_without_waiting(all_transcripts())


def test_healthy_sandbox_repeats_itself(healthy):
    """Without a fault nothing differs, so that what differs is the fault."""
    assert run_without_waiting(all_transcripts()) == healthy


@pytest.mark.parametrize("fault", sampled(UNTRIED, every=4))
def test_fault_shows(fault, healthy):
    """With a fault at least one answer differs."""
    assert run_without_waiting(is_seen(fault, healthy))
