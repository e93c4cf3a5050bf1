"""The HTTP transport that all authorities share: httpx's API on aiohttp's wire, verified TLS, one connection pool.

httpx's own transport slows down with the number of calls in flight (a sixth of the speed at 100), aiohttp's does not;
an SSL context takes tens of milliseconds to build. So there is one for the program, and each authority gets a handle
that it may close without closing the pool of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from issuer.authorities.errors import NotSentError
from issuer.kube.access import environment_proxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class SharedTransport:
    """A connection pool to certificate authorities. Made inside a running event loop; closed once, at the end.

    TLS is always verified, against certifi's roots or those that `SSL_CERT_FILE` or `SSL_CERT_DIR` name. Proxies come
    from the usual environment variables; they are read here, because aiohttp would read `.netrc` along with them, in a
    thread at every call, which halves the throughput. Cookies are not kept: different accounts share the pool.

    Args:
        guard: asked when a call that changes something has its connection, right before its first byte is written; what
            it raises ends the call unsent, as the reason of a `NotSentError`. Asked any earlier, a process that is
            stopped while it connects, and goes on long after another one has taken over, would still send.
    """

    def __init__(self, guard: Callable[[], None] | None = None) -> None:
        context = httpx.create_ssl_context()
        connector = aiohttp.TCPConnector(ssl=context, limit=0, ttl_dns_cache=30)
        self._session = aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),
            trace_configs=[] if guard is None else [_asking(guard)],
        )
        self._context = context
        self._transports: dict[str | None, AiohttpTransport] = {}

    def handle(self) -> httpx.AsyncBaseTransport:
        """A transport on the pool, for one authority."""
        return _Handle(self._through)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()

    def _through(self, proxy: str | None) -> AiohttpTransport:
        if proxy not in self._transports:
            configured = httpx.Proxy(proxy) if proxy else None
            self._transports[proxy] = AiohttpTransport(verify=self._context, client=self._session, proxy=configured)
        return self._transports[proxy]


def _asking(guard: Callable[[], None]) -> aiohttp.TraceConfig:
    async def ask(
        _session: aiohttp.ClientSession, _context: object, params: aiohttp.TraceRequestHeadersSentParams
    ) -> None:
        if params.method == "GET":
            return
        try:
            guard()
        except Exception as error:
            raise NotSentError(error) from error

    trace = aiohttp.TraceConfig()
    # Despite its name it comes before the headers are written (StreamWriter.write_headers).
    trace.on_request_headers_sent.append(ask)
    return trace


class _Handle(httpx.AsyncBaseTransport):
    """Passes calls on; closing it closes nothing."""

    def __init__(self, through: Callable[[str | None], AiohttpTransport]) -> None:
        self._through = through
        self._proxies: dict[str, str | None] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        origin = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
        if origin not in self._proxies:
            self._proxies[origin] = environment_proxy(origin)
        return await self._through(self._proxies[origin]).handle_async_request(request)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Leave the pool open."""
