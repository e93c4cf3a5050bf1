"""The end of a server of the sandbox."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web


async def end(runner: web.BaseRunner) -> None:
    """Stop listening, and close all connections.

    A connection that was accepted a moment ago is known to the runner only a turn of the loop or two later; what it
    does not know it does not close, and nobody else would.
    """
    for site in tuple(runner.sites):
        await site.stop()
    for _ in range(3):
        await asyncio.sleep(0)
    await runner.cleanup()
