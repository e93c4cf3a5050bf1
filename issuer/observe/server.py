"""The server for `/healthz`, `/readyz` and `/metrics`.

It runs on the same event loop as the controller, on purpose: a loop that is stuck answers no probe, so Kubernetes
restarts the pod. What a running loop cannot show, a stuck watch, is asked of the program.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from issuer.observe.metrics import Metrics

BEAT: Final = 1.0
"""Seconds between two beats of the heart."""
WINDOW: Final = 60
"""Beats of which the worst is shown."""


class ListenError(Exception):
    """The address cannot be listened on; the text says what to do."""


class ObserveServer:
    """Serves health and metrics.

    Args:
        host: address to listen on.
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
        self._host = host
        self._port = port
        self._metrics = metrics
        self._runner: web.AppRunner | None = None
        self._heart: asyncio.Task[None] | None = None
        self._app = web.Application()
        self._app.router.add_get("/healthz", _probe(healthy))
        self._app.router.add_get("/readyz", _probe(ready))
        self._app.router.add_get("/metrics", self._render)

    async def start(self) -> int:
        """Listen; returns the port.

        Raises:
            ListenError: the address is taken or cannot be had.
        """
        self._runner = web.AppRunner(self._app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ListenError(f"{self._host}:{self._port}: {reason}; choose another address with --listen") from None
        self._heart = asyncio.create_task(self._beat())
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.gather(self._heart, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _render(self, _request: web.Request) -> web.Response:
        body, content_type = self._metrics.render()
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _beat(self) -> None:
        """Measure how late the event loop wakes us: the worst of the last minute."""
        loop = asyncio.get_running_loop()
        lags = [0.0] * WINDOW
        beat = 0
        while True:
            due = loop.time() + BEAT
            await asyncio.sleep(BEAT)
            lags[beat % WINDOW] = max(0.0, loop.time() - due)
            beat += 1
            self._metrics.loop_lag(max(lags))


def _probe(trouble: Callable[[], str | None]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_request: web.Request) -> web.StreamResponse:
        problem = trouble()
        return web.Response(status=503 if problem else 200, text=f"{problem or 'ok'}\n")

    return answer
