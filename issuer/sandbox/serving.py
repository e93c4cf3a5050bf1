"""The end of a server of the sandbox."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.web_protocol import RequestHandler


async def end(runner: web.BaseRunner) -> None:
    """Stop listening, and close all connections.

    A connection that was accepted a moment ago is known to the runner only a turn of the loop or two later; what it
    does not know when it begins to close it does not close, and nobody else would.
    """
    for site in tuple(runner.sites):
        await site.stop()
    await _turns()
    if runner.server is not None:
        runner.server.connection_made = _too_late  # type: ignore[method-assign]
    await runner.cleanup()
    await _turns()


def _too_late(handler: RequestHandler, transport: asyncio.Transport) -> None:  # noqa: ARG001
    transport.abort()


async def _turns() -> None:
    """What the loop has begun with a connection, it goes on with."""
    for _ in range(3):
        await asyncio.sleep(0)
