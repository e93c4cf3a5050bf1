"""Between the controller and the API server: what goes wrong on the way, what was asked for, and links that are cut.

It speaks plain HTTP to the controller and TLS to the API server, and passes everything on as it is, credentials too, so
that RBAC is the API server's. Faults are those of the sandbox, with the same answers. It has a thread of its own, as a
test may block while a controller in another process goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from issuer.sandbox import serving
from issuer.sandbox.cluster.errors import StatusError, expired
from issuer.sandbox.cluster.faults import Faults, inflict
from issuer.sandbox.cluster.server import WRITES, Write
from tests.controlplane import background

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from ssl import SSLContext

    from issuer.sandbox.cluster.faults import Fault

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
        refused: answers of 400 and above that came from the API server itself.
        oldest: watches from before this resourceVersion are answered 410, as after a compaction.
    """

    def __init__(self, upstream: str, ssl: SSLContext, touch: Callable[[str, int], None]) -> None:
        self.faults: Final = Faults()
        self.writes: list[Write] = []
        self.calls: list[tuple[str, str]] = []
        self.refused: list[int] = []
        self.oldest = 0
        self.url = ""
        self._upstream = upstream
        self._ssl = ssl
        self._touch = touch
        self._runner: web.ServerRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._hanging = asyncio.Event()
        self._frozen = asyncio.Event()
        self._watching: set[asyncio.Task[object]] = set()
        self._cut: set[asyncio.Task[object]] = set()
        self._passing: set[asyncio.Task[web.Response]] = set()
        self._port = 0

    async def start(self) -> str:
        """Listen, at the same port if it did before; returns the URL."""
        return await background.run(self._start())

    async def stop(self) -> None:
        """Stop listening; whatever is under way is cut off."""
        await background.run(self._stop())

    def cut_watches(self) -> None:
        """End every watch cleanly, as an API server does after a while."""
        background.soon(self._cut_watches)

    def freeze(self) -> None:
        """Pass nothing on any more in either direction, connections staying open: a half-open link."""
        background.soon(self._frozen.clear)

    def thaw(self) -> None:
        """Pass on again."""
        background.soon(self._frozen.set)

    @property
    def watches(self) -> int:
        """Watches that are open."""
        return len(self._watching)

    async def _start(self) -> str:
        self._hanging.clear()
        self._frozen.set()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._ssl, limit=0),
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

    async def _stop(self) -> None:
        self._hanging.set()
        self._frozen.set()
        self._cut_watches()
        if self._runner is not None:
            await serving.end(self._runner)
            self._runner = None
        for task in tuple(self._passing):
            task.cancel()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _cut_watches(self) -> None:
        for task in tuple(self._watching):
            self._cut.add(task)
            task.cancel()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.calls.append((request.method, request.path))
        body = await request.read()
        await self._frozen.wait()
        fault = self.faults.strike(request.method, request.raw_path)
        try:
            if fault is not None and not fault.after:
                await self._fail(request, fault)
            response: web.StreamResponse | None = self._too_old(request)
            if response is None and request.query.get("watch"):
                response = await self._watch(request, body, hold=fault is not None and fault.after)
            elif response is None:
                response = await self._apart(self._call(request, body))
            if fault is not None and fault.after:
                await self._fail(request, fault)
        except StatusError as error:
            self._note(request, error.code)
            content = msgspec.json.encode(error.body)
            return web.Response(status=error.code, body=content, content_type="application/json", headers=error.headers)
        return response

    async def _apart(self, call: Coroutine[Any, Any, web.Response]) -> web.Response:
        """Finish a call that was passed on even if whoever made it goes away: it happens, and is noted."""
        task = asyncio.create_task(call)
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    def _note(self, request: web.BaseRequest, status: int) -> None:
        if request.method in WRITES:
            agent = request.headers.get("User-Agent", "")
            self.writes.append(Write(request.method, request.path, agent, time.monotonic(), status))

    async def _fail(self, request: web.BaseRequest, fault: Fault) -> None:
        await inflict(
            fault,
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

    @contextlib.asynccontextmanager
    async def _passed_on(self, request: web.BaseRequest, body: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer of the API server; where there is none the caller's connection is closed too."""
        assert self._session is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        url = URL(self._upstream + request.raw_path, encoded=True)
        try:
            async with self._session.request(request.method, url, data=body or None, headers=headers) as answer:
                if answer.status >= web.HTTPBadRequest.status_code:
                    self.refused.append(answer.status)
                yield answer
        except (aiohttp.ClientError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError from None

    async def _call(self, request: web.BaseRequest, body: bytes) -> web.Response:
        async with self._passed_on(request, body) as answer:
            content = await answer.read()
            self._note(request, answer.status)
            await self._frozen.wait()
            return web.Response(status=answer.status, body=content, headers=_kept(answer))

    async def _watch(self, request: web.BaseRequest, body: bytes, *, hold: bool) -> web.StreamResponse:
        async with self._passed_on(request, body) as answer:
            if answer.status >= web.HTTPBadRequest.status_code:
                return web.Response(status=answer.status, body=await answer.read(), headers=_kept(answer))
            response = web.StreamResponse(status=answer.status, headers=_kept(answer))
            if not hold:
                await self._stream(request, response, answer)
            return response

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


def _kept(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
