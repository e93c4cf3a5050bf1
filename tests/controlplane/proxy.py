"""Between the controller and the API server: what goes wrong on the way, what was asked for, and links that are cut.

It speaks plain HTTP to the controller and TLS to the API server, and passes everything on as it is, credentials too, so
that RBAC is the API server's. Faults are those of the sandbox, with the same answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from issuer.sandbox.cluster.errors import StatusError, expired
from issuer.sandbox.cluster.faults import Faults, inflict
from issuer.sandbox.cluster.server import WRITES, Write

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

_HOP_BY_HOP: Final = frozenset({"connection", "host", "keep-alive", "transfer-encoding", "content-length", "upgrade"})


class Proxy:
    """Passes calls on to an API server.

    Args:
        upstream: URL of the API server.
        ssl: verifies it.
        touch: writes to the object of a path, as somebody else would; for the fault `race`.

    Attributes:
        faults: what goes wrong.
        writes: every write that was asked for, in order.
        calls: method and path of every call.
        oldest: watches from before this resourceVersion are answered 410, as after a compaction.
    """

    def __init__(self, upstream: str, ssl: SSLContext, touch: Callable[[str, int], None]) -> None:
        self.faults: Final = Faults()
        self.writes: list[Write] = []
        self.calls: list[tuple[str, str]] = []
        self.oldest = 0
        self.url = ""
        self._upstream = upstream
        self._ssl = ssl
        self._touch = touch
        self._runner: web.ServerRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._connector: aiohttp.TCPConnector | None = None
        self._hanging = asyncio.Event()
        self._frozen = asyncio.Event()
        self._watching: set[asyncio.Task[object]] = set()
        self._cut: set[asyncio.Task[object]] = set()
        self._port = 0

    async def start(self) -> str:
        """Listen, at the same port if it did before; returns the URL."""
        self._hanging.clear()
        self._frozen.set()
        self._connector = aiohttp.TCPConnector(ssl=self._ssl, limit=0)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            auto_decompress=False,
        )
        server = web.Server(self._handle, access_log=None, handler_cancellation=True)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=1024, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"
        return self.url

    async def stop(self) -> None:
        """Stop listening; whatever is under way is cut off."""
        self._hanging.set()
        self._frozen.set()
        self.cut_watches()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._session is not None:
            # TLS is not said goodbye to: a connection in the middle of that would outlive the event loop.
            assert self._connector is not None
            await self._connector.close(abort_ssl=True)
            await self._session.close()
            self._session = self._connector = None

    def cut_watches(self) -> None:
        """End every watch cleanly, as an API server does after a while."""
        for task in tuple(self._watching):
            self._cut.add(task)
            task.cancel()

    def freeze(self) -> None:
        """Pass nothing on any more in either direction, connections staying open: a half-open link."""
        self._frozen.clear()

    def thaw(self) -> None:
        """Pass on again."""
        self._frozen.set()

    @property
    def watches(self) -> int:
        """Watches that are open."""
        return len(self._watching)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.calls.append((request.method, request.path))
        try:
            body = await request.read()
            await self._frozen.wait()
            fault = self.faults.strike(request.method, request.raw_path)
            if fault is not None and not fault.after:
                await self._fail(request, fault)
            response: web.StreamResponse | None = self._too_old(request)
            if response is None:
                response = await self._pass_on(request, body, hold=fault is not None and fault.after)
            if fault is not None and fault.after:
                await self._fail(request, fault)
        except StatusError as error:
            content = msgspec.json.encode(error.body)
            response = web.Response(
                status=error.code, body=content, content_type="application/json", headers=error.headers
            )
        if request.method in WRITES:
            agent = request.headers.get("User-Agent", "")
            self.writes.append(Write(request.method, request.path, agent, time.monotonic(), response.status))
        return response

    async def _fail(self, request: web.BaseRequest, fault: object) -> None:
        await inflict(
            fault,  # type: ignore[arg-type]
            hanging=self._hanging,
            touch=lambda number: self._touch(request.path, number),
            transport=request.transport,
        )

    def _too_old(self, request: web.BaseRequest) -> web.Response | None:
        """What a watch from before a compaction is told: an event that says so, and the end."""
        version = request.query.get("resourceVersion", "")
        if not (request.query.get("watch") and version.isdecimal() and 0 < int(version) < self.oldest):
            return None
        error = expired(f"too old resource version: {version} ({self.oldest})")
        line = msgspec.json.encode({"type": "ERROR", "object": error.body}) + b"\n"
        return web.Response(body=line, content_type="application/json")

    async def _pass_on(self, request: web.BaseRequest, body: bytes, *, hold: bool) -> web.StreamResponse:
        assert self._session is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        url = URL(self._upstream + request.raw_path, encoded=True)
        try:
            async with self._session.request(request.method, url, data=body or None, headers=headers) as answer:
                kept = {n: v for n, v in answer.headers.items() if n.lower() not in _HOP_BY_HOP}
                if not request.query.get("watch") or answer.status >= 400:
                    content = await answer.read()
                    await self._frozen.wait()
                    return web.Response(status=answer.status, body=content, headers=kept)
                response = web.StreamResponse(status=answer.status, headers=kept)
                if not hold:
                    await self._stream(request, response, answer)
                return response
        except (aiohttp.ClientError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError from None

    async def _stream(
        self, request: web.BaseRequest, response: web.StreamResponse, answer: aiohttp.ClientResponse
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._watching.add(task)
        try:
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await self._frozen.wait()
                await response.write(chunk)
        except asyncio.CancelledError:
            if task not in self._cut:
                raise
            task.uncancel()
        except (aiohttp.ClientError, ConnectionError):
            pass
        finally:
            self._watching.discard(task)
            self._cut.discard(task)
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
