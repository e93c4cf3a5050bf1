"""The server for `/healthz`, `/readyz` and `/metrics`.

It runs on the same event loop as the controller, on purpose: a loop that is stuck answers no probe, so Kubernetes
restarts the pod. `issuer.observe.heartbeat` says what each kind of check covers.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
from typing import TYPE_CHECKING, Final

from aiohttp import web

from issuer.observe.heartbeat import LoopHeartbeat
from issuer.observe.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from issuer.observe.metrics import Metrics

PATIENCE: Final = 2.0
"""Seconds that a stop waits for a reader that takes its answer slowly; a stop has signatures to deliver."""

log = get_logger(__name__)


class ListenError(Exception):
    """The address cannot be listened on; the text says what to do."""


class ObserveServer:
    """Serves health and metrics.

    Args:
        host: address to listen on, an IPv6 address with or without brackets; empty for all of IPv4 and IPv6.
        port: port; 0 for a free one.
        metrics: what `/metrics` shows.
        healthy: why the process should be restarted, or None.
        ready: why it cannot work yet, or None.
    """

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Metrics,
        *,
        healthy: Callable[[], str | None],
        ready: Callable[[], str | None],
    ) -> None:
        self._host = host.strip("[]")
        self._port = port
        self._metrics = metrics
        self._heartbeat = LoopHeartbeat()
        self._runner: web.AppRunner | None = None
        self._beating: asyncio.Task[None] | None = None
        self._app = web.Application()
        self._app.on_response_prepare.append(_without_server)
        self._app.router.add_get("/healthz", _probe("healthy", healthy))
        self._app.router.add_get("/readyz", _probe("ready", ready))
        self._app.router.add_get("/metrics", self._render)

    async def start(self) -> int:
        """Listen; returns the port.

        Raises:
            ListenError: the address is taken or cannot be had.
        """
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=PATIENCE)
        await self._runner.setup()
        try:
            await self._site(self._runner).start()
        except (OSError, OverflowError) as error:
            where = f"[{self._host}]" if ":" in self._host else self._host
            raise ListenError(
                f"cannot listen on {where}:{self._port}: {_reason(error)}; choose another address with --listen"
            ) from None
        self._beating = asyncio.create_task(self._heartbeat.run())
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening. Safe to call twice, and before `start`."""
        beating, self._beating = self._beating, None
        if beating is not None:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def _site(self, runner: web.AppRunner) -> web.BaseSite:
        """One socket for both families where no host is given, so that port 0 is the same free one for both.

        Raises:
            OSError: the address cannot be had.
            OverflowError: the port is no port.
        """
        if self._host:
            return web.TCPSite(runner, self._host, self._port)
        if socket.has_dualstack_ipv6():
            listening = socket.create_server(("", self._port), family=socket.AF_INET6, dualstack_ipv6=True)
        else:
            listening = socket.create_server(("", self._port))
        return web.SockSite(runner, listening)

    async def _render(self, request: web.Request) -> web.Response:
        self._metrics.loop_lag(self._heartbeat.lag())
        body, content_type = self._metrics.render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})


async def _without_server(_request: web.Request, response: web.StreamResponse) -> None:
    """Versions of what this runs on are nobody's business who can reach the port."""
    response.headers.pop("Server", None)


def _probe(what: str, trouble: Callable[[], str | None]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Answer 200 or 503. Each other reason is logged, because Kubernetes shows it in an event at best."""
    said: str | None = None

    async def answer(_request: web.Request) -> web.StreamResponse:
        nonlocal said
        problem = trouble()
        if _gist(problem) != _gist(said):
            report = log.warning if problem else log.info
            report(f"not {what}" if problem else what, reason=problem)
        said = problem
        return web.Response(status=503 if problem else 200, text=f"{problem or 'ok'}\n")

    return answer


def _gist(problem: str | None) -> str | None:
    """A reason without its numbers, which may grow with every look."""
    return None if problem is None else re.sub(r"[0-9]+", "", problem)


def _reason(error: OSError | OverflowError) -> str:
    if isinstance(error, OverflowError):
        return "a port is a number from 0 to 65535"
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or type(error).__name__
    if error.errno == errno.EADDRINUSE:
        return "another process listens there"
    return os.strerror(error.errno)
