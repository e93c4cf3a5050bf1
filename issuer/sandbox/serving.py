"""The end of a server of the sandbox."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.web_protocol import RequestHandler


async def end(runner: web.BaseRunner) -> None:
    """Stop listening, and close all connections.

    A connection on its way in is lost at three places, and nobody else would close it. asyncio accepts it a turn of the
    loop before it makes its transport, which fails if the server is closed by then: so nothing is accepted for some
    turns before that. The runner knows it a turn later, so there are some more. And what comes while the runner closes
    what it knows is turned away.
    """
    loop = asyncio.get_running_loop()
    for site in runner.sites:
        server = site._server  # noqa: SLF001 - aiohttp tells nobody of it
        for listening in server.sockets if isinstance(server, asyncio.Server) else ():
            loop.remove_reader(listening.fileno())
    await _turns()
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
