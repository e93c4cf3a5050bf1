"""The mock CDN's HTTP server: what happens on the wire, and when.

It stands on aiohttp's low-level server, because it is measured against: no routes, no middlewares, no access log. A
call that is being worked on is not given up when its client goes away, as the real provider would not: that is how a
client that loses its patience comes to a certificate it does not know of.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time
from collections import Counter
from datetime import timedelta
from email.utils import format_datetime
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final, Self

from aiohttp import web

from issuer.sandbox import serving
from issuer.sandbox.cdn import admin
from issuer.sandbox.cdn.answers import Answer, answer, error_field, html, refusal
from issuer.sandbox.cdn.faults import Fault, FaultKind, Faults
from issuer.sandbox.cdn.ledger import IssuedCertificate, Ledger, OriginCA, Token, utc_now
from issuer.sandbox.cdn.ratelimit import Meter, RateLimit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from datetime import datetime

DEFAULT_TOKEN: Final = "sandbox-token"  # noqa: S105 - it opens the sandbox only
BASE_PATH: Final = "/client/v4"

_CHUNK: Final = b"a" * 65536
_ID: Final = re.compile(r"^/certificates/.+")
_NOTHING_DONE: Final = frozenset(
    {
        FaultKind.HANG,
        FaultKind.RESET_BEFORE,
        FaultKind.RATE_LIMITED,
        FaultKind.EMPTY_ERRORS,
        FaultKind.ERROR_FIELD,
        FaultKind.PLAIN_TEXT,
        FaultKind.REJECTED,
        FaultKind.UNAUTHORIZED,
    }
)
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class MockCDN:
    """The mock provider. The API is served at `/` and at `/client/v4`, the knobs at `/admin`.

    Attributes:
        faults: what goes wrong.
        ledger: tokens, zones, certificates.
        calls: how often each call was made, by method and path: `POST /certificates`, `DELETE /certificates/{id}`.
        latency: seconds that every answer of the API takes; `slow` comes on top.
    """

    def __init__(
        self,
        *,
        tokens: Sequence[str] = (DEFAULT_TOKEN,),
        zones: Sequence[str] = ("example.com",),
        latency: float = 0.0,
        rate_limit: RateLimit | None = RateLimit(),  # noqa: B008 - frozen
        seed: int = 0,
        ca: OriginCA | None = None,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ledger = Ledger(now=now, ca=ca or OriginCA(), tokens={token: Token() for token in tokens})
        for domain in zones:
            self.ledger.add_zone(domain)
        self.faults = Faults(Random(seed))
        self.calls: Counter[str] = Counter()
        self.latency = latency
        self._meter = Meter(rate_limit) if rate_limit else None
        self._monotonic = monotonic
        self._runner: web.ServerRunner | None = None
        self._stopped = asyncio.Event()
        self._changed = asyncio.Event()
        self._url = ""
        self._rays = 0
        self.hanging = 0
        """How many calls hang at this moment."""

    async def start(self, port: int = 0, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> str:
        """Listen; returns the base URL, without the API's path."""
        self._stopped.clear()
        server = web.Server(self._handle, access_log=None, handler_cancellation=True, keepalive_timeout=75.0)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls, backlog=4096)
        await site.start()
        bound = self._runner.addresses[0][1]
        self._url = f"{'https' if tls else 'http'}://{host}:{bound}"
        return self._url

    async def stop(self) -> None:
        """Stop listening; whatever hangs is cut off."""
        self._stopped.set()
        if self._runner is not None:
            await serving.end(self._runner)
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true of the mock; it is looked at again whenever a call comes in or is done."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._url

    @property
    def endpoint(self) -> str:
        """What belongs into `cloudflare.endpoint`."""
        return self._url + BASE_PATH

    @property
    def certificates(self) -> dict[str, IssuedCertificate]:
        """Every certificate ever signed, by id, the revoked ones too."""
        return self.ledger.certificates

    @property
    def tokens(self) -> dict[str, Token]:
        """The API tokens that are known; delete one to revoke it."""
        return self.ledger.tokens

    @property
    def zones(self) -> dict[str, str]:
        """Zone ids by domain."""
        return self.ledger.zones

    @property
    def roots_pem(self) -> str:
        """Its roots, as a user would put them into `caBundle`."""
        return self.ledger.ca.roots_pem

    def live(self, public_key: bytes) -> tuple[IssuedCertificate, ...]:
        """Certificates that were signed for a CSR with this key (DER SubjectPublicKeyInfo) and not revoked."""
        return self.ledger.live(public_key)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, method = request.path, request.method
        if path.startswith("/admin/"):
            return _response(admin.answer(self, method, path.removeprefix("/admin"), await request.read()), {})
        path = path.removeprefix(BASE_PATH)
        self.calls[f"{method} {_ID.sub('/certificates/{id}', path)}"] += 1
        self._rays += 1
        self._changed.set()
        headers = {"CF-Ray": f"{self._rays:016x}-SBX"}
        if self._meter is not None:
            arrived = self._monotonic()
            admitted = self._meter.admit(arrived)
            headers |= self._meter.headers(arrived)
            if not admitted:
                return _response(_too_many(), headers)
        body = await request.read()
        delay, fault = self.faults.strike(method, path)
        work = partial(
            answer,
            self.ledger,
            method,
            path,
            query=request.query,
            authorization=request.headers.get("Authorization", ""),
            body=body,
            fault=fault,
        )
        if fault is None:
            return _response(await self._after(delay + self.latency, work), headers)
        return await self._fail(request, fault, delay + self.latency, work, headers)

    async def _after(self, delay: float, work: Callable[[], Answer]) -> Answer:
        """Do the work after a delay, whether or not somebody still waits for it."""
        if delay <= 0:
            result = work()
            self._changed.set()
            return result
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Answer] = loop.create_future()

        def finish() -> None:
            if self._stopped.is_set():
                return
            result = work()
            self._changed.set()
            if not done.done():
                done.set_result(result)

        loop.call_later(delay, finish)
        return await done

    async def _hang(self) -> None:
        """Keep a call waiting until its client gives up, which cancels its handler, or the mock is stopped."""
        self.hanging += 1
        self._changed.set()
        try:
            await self._stopped.wait()
        finally:
            self.hanging -= 1
            self._changed.set()

    async def _fail(
        self,
        request: web.BaseRequest,
        fault: Fault,
        delay: float,
        work: Callable[[], Answer],
        headers: dict[str, str],
    ) -> web.StreamResponse:
        kind = fault.kind
        if kind in _NOTHING_DONE or (kind is FaultKind.STATUS and not fault.done):
            work = partial(_refuse, fault)
        result = await self._after(delay, work)
        if kind in {FaultKind.HANG, FaultKind.HANG_AFTER}:
            await self._hang()
            _reset(request)
        elif kind in {FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER}:
            _reset(request)
        elif kind is FaultKind.STATUS:
            result = html(fault.status or 503)
        elif kind is FaultKind.BROKEN_JSON:
            result = Answer(result.status, result.body[: len(result.body) // 2])
        elif kind is FaultKind.HUGE:
            return await _flood(request, fault.size, headers)
        elif kind is FaultKind.RATE_LIMITED:
            headers = {**headers, **_wait(fault, self.ledger.now())}
        return _response(result, headers)


def _refuse(fault: Fault) -> Answer:
    """The answer of a fault that does nothing of what was asked for."""
    match fault.kind:
        case FaultKind.RATE_LIMITED:
            return _too_many()
        case FaultKind.EMPTY_ERRORS:
            return refusal(fault.status or 200)
        case FaultKind.ERROR_FIELD:
            return error_field(fault.status or 401, fault.message)
        case FaultKind.PLAIN_TEXT:
            return Answer(fault.status or 403, fault.message.encode(), "text/plain")
        case FaultKind.REJECTED:
            return refusal(fault.status or 400, (fault.code, fault.message))
        case FaultKind.UNAUTHORIZED:
            return refusal(fault.status or 403, (10000, "Authentication error"))
        case _:
            return html(fault.status or 503)


def _wait(fault: Fault, now: datetime) -> dict[str, str]:
    """How long to wait: in seconds, or until a date of a clock that may be wrong, which `Date` tells then."""
    if fault.skew is None:
        return {"Retry-After": f"{fault.seconds:.0f}"}
    provider = now + timedelta(seconds=fault.skew)
    until = provider + timedelta(seconds=fault.seconds)
    return {"Date": format_datetime(provider, usegmt=True), "Retry-After": format_datetime(until, usegmt=True)}


def _too_many() -> Answer:
    return refusal(429, (971, "Please slow down: too many requests"))


def _response(result: Answer, headers: dict[str, str]) -> web.Response:
    return web.Response(
        status=result.status, body=result.body, content_type=result.content_type, headers={**headers, **result.headers}
    )


def _reset(request: web.BaseRequest) -> None:
    """Cut the connection with a RST instead of a FIN."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


async def _flood(request: web.BaseRequest, size: int, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={**headers, "Content-Type": "application/json"})
    response.content_length = size
    await response.prepare(request)
    try:
        for _ in range(size // len(_CHUNK)):
            await response.write(_CHUNK)
        await response.write(_CHUNK[: size % len(_CHUNK)])
        await response.write_eof()
    except ConnectionError:
        # The client has had enough.
        _reset(request)
    return response
