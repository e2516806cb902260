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

from knouds_harness.sandbox.app import build_app
from knouds_harness.sandbox.faults import FAULTS
from knouds_harness.sandbox.providers import Latency

AT_ONCE = 20
UNTRIED = [each.id for each in FAULTS if each not in TRIED_FAULTS and not each.id.startswith("webhook-")]
BATCHES = [UNTRIED[first : first + AT_ONCE] for first in range(0, len(UNTRIED), AT_ONCE)]


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
            if lines not in healthy[number]:
                return True
            number += 1
    return False


@pytest.fixture(scope="module")
def healthy():
    """What a sandbox without faults answers, part by part: some answers, as runs may end early or late."""
    return list(zip(*(asyncio.run(all_transcripts()) for _ in range(2)), strict=True))


def test_healthy_sandbox_repeats_itself(healthy):
    """Without a fault nothing differs, so that what differs is the fault."""
    again = zip(*(asyncio.run(all_transcripts()) for _ in range(3)), strict=True)

    assert all(any(lines in known for lines in tries) for known, tries in zip(healthy, again, strict=True))


async def seen_together(faults, healthy):
    """Which faults are seen, all tried at once, as most of the time they wait for runs to end."""
    found = await asyncio.gather(*(is_seen(fault, healthy) for fault in faults))
    return {fault for fault, is_there in zip(faults, found, strict=True) if is_there}


@pytest.mark.parametrize("faults", sampled(BATCHES, every=4), ids=lambda faults: faults[0])
def test_faults_show(faults, healthy):
    """With a fault at least one answer differs."""
    seen = asyncio.run(seen_together(faults, healthy))

    # On a busy machine a run may have ended before it was cancelled.
    hidden = [fault for fault in faults if fault not in seen]
    assert [each for each in hidden if not any(asyncio.run(is_seen(each, healthy)) for _ in range(3))] == []
