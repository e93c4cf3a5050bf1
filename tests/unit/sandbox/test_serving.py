"""The end of a server: no connection is left open, be it on its way in."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings

import pytest
from aiohttp import web

from issuer.sandbox import serving

CLIENTS = 20


async def answer(request: web.BaseRequest) -> web.Response:
    return web.Response(text=request.path)


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_that_is_on_its_way_in_is_closed(turns: int) -> None:
    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=64).start()
    port = runner.addresses[0][1]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(CLIENTS)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await serving.end(runner)
        gc.collect()
    for client in clients:
        client.setblocking(False)
        with client:
            try:
                assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1), 5) == b""
            except ConnectionError:
                continue
    assert [str(one.message) for one in caught if one.category is ResourceWarning] == []
