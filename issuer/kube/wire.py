"""One exchange with the API server: a request that goes out once, and an answer whose status says yes.

Redirects are not followed, every status is looked at, and every failure is a `KubeError` that tells whether the request
may have arrived. A 401 is tried once more if there is a newer credential by then.

The fence is asked when a call has its connection, right before its first byte goes out: a replica that has lost its
Lease while it connected writes nothing. What it raises ends the call unsent.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from issuer.kube.errors import UnreachableError, error_from

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
    from types import SimpleNamespace

    from issuer.kube.access import Access

MAX_LINE: Final = 64 * 1024 * 1024
"""Bytes of one line of a watch. etcd takes 1.5 MiB of an object, but what is built in (CRDs) can be larger."""
MAX_ERROR_BODY: Final = 64 * 1024
UNAUTHORIZED: Final = 401


class Wire:
    """The connections to one API server.

    Args:
        access: where it is, and the credential.
        connect: seconds that connecting may take.
        fence: asked before each call that is `fenced`.
    """

    def __init__(self, access: Access, *, connect: float, fence: Callable[[], None]) -> None:
        self._access = access
        self._connect = connect
        self._fence = fence
        self._session: aiohttp.ClientSession | None = None

    def url(self, path: str, query: Mapping[str, str] | None = None) -> URL:
        """The address of a path."""
        # `encoded`, so that yarl leaves the quoting of names as it is.
        return URL(f"{self._access.url}{path}" + (f"?{urlencode(query)}" if query else ""), encoded=True)

    async def read(
        self,
        method: str,
        url: URL,
        body: bytes = b"",
        content_type: str = "",
        *,
        within: float,
        fenced: bool = False,
    ) -> tuple[int, bytes]:
        """The status and the body of an answer that is there within so many seconds.

        Raises:
            KubeError: there is none, or its status says no.
        """
        try:
            async with (
                asyncio.timeout(within),
                self.open(method, url, body, content_type, patience=within, fenced=fenced) as response,
            ):
                return response.status, await response.read()
        except TimeoutError:
            raise UnreachableError(f"{method} {url.path}: no answer within {within:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UnreachableError(f"{method} {url.path}: the answer broke off: {_told(error)}") from None

    @asynccontextmanager
    async def open(
        self,
        method: str,
        url: URL,
        body: bytes = b"",
        content_type: str = "",
        *,
        patience: float,
        fenced: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer whose headers are there within `patience` seconds; its body is for the caller to read.

        Raises:
            KubeError: as `read`.
        """
        token = await self._access.authorization()
        response = await self._request(method, url, body, content_type, token, patience, fenced=fenced)
        try:
            if response.status == UNAUTHORIZED and await self._access.renew(token):
                response.release()
                token = await self._access.authorization()
                response = await self._request(method, url, body, content_type, token, patience, fenced=fenced)
            if not 200 <= response.status < 300:  # noqa: PLR2004 - HTTP's own borders
                raise error_from(response.status, await _error_body(response, patience), response.headers)
            yield response
        finally:
            # A body that was read to its end leaves the connection to the next call; any other ends it.
            response.release() if response.content.is_eof() else response.close()

    async def close(self) -> None:
        """Give up all connections."""
        if self._session is not None:
            await self._session.close()
            # TLS connections need a turn of the loop to say goodbye; without it aiohttp leaves transports open.
            await asyncio.sleep(0)
            self._session = None

    async def _request(
        self, method: str, url: URL, body: bytes, content_type: str, token: str | None, patience: float, *, fenced: bool
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json"}
        if body:
            headers["Content-Type"] = content_type
        if token:
            headers["Authorization"] = token
        try:
            async with asyncio.timeout(patience):
                return await self._opened_session().request(
                    method,
                    url,
                    data=body or None,
                    headers=headers,
                    allow_redirects=False,
                    proxy=self._access.proxy,
                    server_hostname=self._access.server_hostname,
                    trace_request_ctx=fenced,
                )
        except TimeoutError as error:
            sent = not isinstance(error, aiohttp.ConnectionTimeoutError)
            raise UnreachableError(f"{method} {url.path}: no answer within {patience:g} s", sent=sent) from None
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            raise UnreachableError(f"{method} {url.path}: no connection: {_told(error)}", sent=False) from None
        except (aiohttp.ClientError, OSError) as error:
            raise UnreachableError(f"{method} {url.path}: {_told(error)}") from None

    def _opened_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # No limit of connections: a Lease call must not queue behind a hundred that hang.
                connector=aiohttp.TCPConnector(limit=0, ssl=self._access.ssl or True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect),
                # Proxies are in `access`; aiohttp would read .netrc along with them, in a thread, at every call.
                trust_env=False,
                trace_configs=[self._fencing()],
            )
        return self._session

    def _fencing(self) -> aiohttp.TraceConfig:
        async def ask(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
            if context.trace_request_ctx:
                self._fence()

        trace = aiohttp.TraceConfig()
        # Despite its name it comes before the headers are written (StreamWriter.write_headers).
        trace.on_request_headers_sent.append(ask)
        return trace


async def lines(response: aiohttp.ClientResponse, inactivity: float) -> AsyncGenerator[bytes, None]:
    """The lines of an answer that has no end, as they come.

    Args:
        response: it.
        inactivity: seconds without a byte after which the connection counts as dead.

    Raises:
        UnreachableError: it broke or fell silent, or a line is longer than anything that etcd takes.
    """
    pending = bytearray()
    while chunk := await _chunk(response, inactivity):
        pending += chunk
        if b"\n" not in chunk:
            if len(pending) > MAX_LINE:
                raise UnreachableError(f"a line of a watch is longer than {MAX_LINE} bytes")
            continue
        *whole, rest = bytes(pending).split(b"\n")
        pending = bytearray(rest)
        for line in whole:
            if line.strip():
                yield line


async def _chunk(response: aiohttp.ClientResponse, inactivity: float) -> bytes:
    try:
        async with asyncio.timeout(inactivity):
            return await response.content.readany()
    except TimeoutError:
        raise UnreachableError(f"the watch was silent for {inactivity:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise UnreachableError(f"the watch broke off: {_told(error)}") from None


async def _error_body(response: aiohttp.ClientResponse, patience: float) -> bytes:
    """What there is of an error's body; the status alone tells enough, so a broken body is no second error."""
    body = bytearray()
    try:
        async with asyncio.timeout(patience):
            while len(body) < MAX_ERROR_BODY and (chunk := await response.content.readany()):
                body += chunk
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    return bytes(body[:MAX_ERROR_BODY])


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
