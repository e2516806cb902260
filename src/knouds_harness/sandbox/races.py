"""For faults: the moment between looking and writing, in which other requests come in."""

from __future__ import annotations

import asyncio

_PAUSE_S = 0.01


async def pause() -> None:
    """Serve others, as a server does whose statements take a while and which holds no lock meanwhile."""
    await asyncio.sleep(_PAUSE_S)
