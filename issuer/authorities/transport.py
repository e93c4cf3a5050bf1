"""The HTTP transport that all authorities share: httpx's API on aiohttp's wire, verified TLS, one connection pool.

httpx's own transport slows down with the number of calls in flight (a sixth of the speed at 100), aiohttp's does not;
an SSL context takes tens of milliseconds to build. So there is one for the program, and each authority gets a handle
that it may close without closing the pool of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType


class SharedTransport:
    """A connection pool to certificate authorities. Made inside a running event loop; closed once, at the end.

    TLS is always verified, against certifi's roots or those that `SSL_CERT_FILE` or `SSL_CERT_DIR` name. Proxies come
    from the usual environment variables; they are read here, because aiohttp would read `.netrc` along with them, in a
    thread at every call, which halves the throughput. Cookies are not kept: different accounts share the pool.
    """

    def __init__(self) -> None:
        context = httpx.create_ssl_context()
        connector = aiohttp.TCPConnector(ssl=context, limit=0, ttl_dns_cache=30)
        self._session = aiohttp.ClientSession(
            connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout()
        )
        self._direct = AiohttpTransport(verify=context, client=self._session)
        self._proxied = {
            scheme: AiohttpTransport(verify=context, client=self._session, proxy=httpx.Proxy(url))
            for scheme, url in getproxies().items()
            if scheme in ("http", "https")
        }

    def handle(self) -> httpx.AsyncBaseTransport:
        """A transport on the pool, for one authority."""
        return _Handle(self._direct, self._proxied)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


class _Handle(httpx.AsyncBaseTransport):
    """Passes calls on; closing it closes nothing."""

    def __init__(self, direct: AiohttpTransport, proxied: Mapping[str, AiohttpTransport]) -> None:
        self._direct = direct
        self._proxied = proxied

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        proxied = self._proxied.get(request.url.scheme)
        bypass = proxied is None or proxy_bypass(f"{request.url.host}:{request.url.port or ''}".rstrip(":"))
        transport = self._direct if proxied is None or bypass else proxied
        return await transport.handle_async_request(request)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Leave the pool open."""
