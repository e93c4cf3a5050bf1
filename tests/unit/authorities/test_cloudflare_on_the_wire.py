"""The client against the mock CDN over loopback, with the transport of production: each fault as it arrives."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trustme
from httpx_aiohttp import AiohttpTransport

from issuer.authorities.base import CallTimeouts
from issuer.authorities.errors import AuthorityError, NotSentError, RateLimited, Rejected, Unauthorized, Unavailable
from issuer.authorities.transport import SharedTransport
from issuer.sandbox.cdn import FaultKind, MockCDN, OriginCA, RateLimit
from tests.unit.authorities.cloudflare_case import Secrets, authority, csr, find_all, order
from tests.unit.handshake import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

    from issuer.authorities.base import SigningOrder
    from issuer.authorities.cloudflare import Cloudflare
    from issuer.authorities.cloudflare_session import OriginSession

QUICK = CallTimeouts(connect=2.0, read=0.1)
PATIENT = CallTimeouts(connect=10.0, read=10.0)


@cache
def origin_ca() -> OriginCA:
    return OriginCA()


@cache
def insecure_context() -> ssl.SSLContext:
    """One for all tests: making one takes 40 ms."""
    return ssl.create_default_context()


def transport() -> httpx.AsyncBaseTransport:
    return AiohttpTransport(verify=insecure_context(), limits=httpx.Limits(max_connections=1000))


def client(endpoint: str, token: str = "sandbox-token", **config: Any) -> Cloudflare:
    return authority(
        transport,
        secrets=Secrets({"token": token.encode()}),
        insecure=True,
        now=lambda: datetime.now(UTC),
        endpoint=endpoint,
        **config,
    )


@contextlib.asynccontextmanager
async def closing(endpoint: str) -> AsyncIterator[Cloudflare]:
    origin = client(endpoint)
    try:
        yield origin
    finally:
        await origin.aclose()


@contextlib.asynccontextmanager
async def sandbox(**settings: Any) -> AsyncIterator[tuple[MockCDN, OriginSession]]:
    async with MockCDN(ca=origin_ca(), **{"rate_limit": None, **settings}) as cdn, closing(cdn.endpoint) as origin:
        yield cdn, await origin.session()


def fresh_order(*hostnames: str) -> SigningOrder:
    return order(*(hostnames or ("www.example.com",)), created=datetime.now(UTC))


async def failure(call: Awaitable[Any]) -> AuthorityError:
    with pytest.raises(AuthorityError) as caught:
        await call
    return caught.value


async def test_all_is_well() -> None:
    async with sandbox() as (cdn, session):
        await session.check(PATIENT)
        wanted = fresh_order("www.example.com", "*.example.com")
        signed = await session.sign(wanted, PATIENT)
        assert cdn.certificates[signed.handle].certificate.encode() == signed.chain
        assert await find_all(session, wanted, PATIENT) == (signed,)
        await session.revoke(signed.handle, PATIENT)
        await session.revoke(signed.handle, PATIENT)
        assert cdn.live(wanted.csr.public_key) == ()
        assert await find_all(session, wanted, PATIENT) == ()


@pytest.mark.parametrize(
    ("kind", "settings", "leaves_a_certificate"),
    [
        (FaultKind.HANG, {}, False),
        (FaultKind.HANG_AFTER, {}, True),
        (FaultKind.RESET_BEFORE, {}, False),
        (FaultKind.RESET_AFTER, {}, True),
        (FaultKind.STATUS, {"status": 503}, False),
        (FaultKind.STATUS, {"status": 522}, False),
        (FaultKind.STATUS, {"status": 504, "done": True}, True),
        (FaultKind.BROKEN_JSON, {}, True),
        (FaultKind.EMPTY_ERRORS, {}, False),
        (FaultKind.EMPTY_ERRORS, {"status": 400}, False),
        (FaultKind.HUGE, {}, True),
        (FaultKind.REJECTED, {"code": 1100, "message": "Failed to write certificate to Database"}, False),
        (FaultKind.REJECTED, {"code": 1201, "message": "CA signing failure"}, False),
    ],
)
async def test_an_answer_that_is_lost_is_ambiguous_and_what_it_left_is_found(
    kind: FaultKind, settings: dict[str, Any], leaves_a_certificate: bool
) -> None:
    async with sandbox() as (cdn, session):
        wanted = fresh_order()
        cdn.faults.set(kind, **settings)
        error = await failure(session.sign(wanted, QUICK))
        assert isinstance(error, Unavailable)
        assert error.ambiguous
        assert cdn.faults.hits == {kind: 1}
        cdn.faults.clear()
        found = await find_all(session, wanted, PATIENT)
        assert [signed.handle for signed in found] == [record.id for record in cdn.live(wanted.csr.public_key)]
        assert len(found) == leaves_a_certificate


async def test_a_signature_that_came_too_late_is_found() -> None:
    async with sandbox() as (cdn, session):
        wanted = fresh_order()
        cdn.faults.set(FaultKind.SLOW, seconds=0.2, paths=["/certificates"], methods=["POST"])
        error = await failure(session.sign(wanted, QUICK))
        assert isinstance(error, Unavailable)
        assert error.ambiguous
        await cdn.until(lambda: bool(cdn.certificates))
        assert len(await find_all(session, wanted, PATIENT)) == 1


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        (FaultKind.RATE_LIMITED, {"seconds": 42}, RateLimited),
        (FaultKind.REJECTED, {}, Rejected),
        (
            FaultKind.REJECTED,
            {"message": "Failed to validate requested hostname: connection reset by peer"},
            Unavailable,
        ),
        (FaultKind.UNAUTHORIZED, {}, Unauthorized),
    ],
)
async def test_a_refusal_is_what_it_says(
    kind: FaultKind, settings: dict[str, Any], expected: type[AuthorityError]
) -> None:
    async with sandbox() as (cdn, session):
        cdn.faults.set(kind, **settings)
        error = await failure(session.sign(fresh_order(), PATIENT))
        assert type(error) is expected
        assert error.trace_id
        assert not cdn.certificates
        if isinstance(error, RateLimited):
            assert error.retry_after == 42.0


@pytest.mark.parametrize("kind", [FaultKind.TRUNCATED, FaultKind.FOREIGN, FaultKind.WRONG_NAMES, FaultKind.EXPIRED])
async def test_a_wrong_certificate_is_an_answer_that_is_for_others_to_verify(kind: FaultKind) -> None:
    async with sandbox() as (cdn, session):
        wanted = fresh_order()
        cdn.faults.set(kind)
        signed = await session.sign(wanted, PATIENT)
        assert signed.handle in cdn.certificates
        # A look finds only what would be of use.
        found = await find_all(session, wanted, PATIENT)
        assert len(found) == (kind is FaultKind.TRUNCATED)


async def test_a_hundred_megabytes_are_not_read() -> None:
    async with sandbox() as (cdn, session):
        cdn.faults.set(FaultKind.HUGE)
        async with asyncio.timeout(2):
            error = await failure(session.sign(fresh_order(), PATIENT))
        assert "longer than" in error.message


async def test_a_hostname_outside_the_zones_is_rejected() -> None:
    async with sandbox() as (_, session):
        error = await failure(session.sign(fresh_order("www.example.net"), PATIENT))
        assert isinstance(error, Rejected)
        assert error.code == "1010"
        assert "www.example.net" in error.message


async def test_a_token_that_is_revoked_while_we_run_is_unauthorized() -> None:
    async with sandbox() as (cdn, session):
        cdn.tokens.clear()
        for call in (session.sign(fresh_order(), PATIENT), session.check(PATIENT)):
            assert isinstance(await failure(call), Unauthorized)


@pytest.mark.parametrize("status", ["disabled", "expired"])
async def test_a_token_that_is_over_is_unauthorized(status: str) -> None:
    async with sandbox() as (cdn, session):
        cdn.tokens["sandbox-token"].status = status
        error = await failure(session.check(PATIENT))
        assert isinstance(error, Unauthorized)
        assert status in error.message
        assert isinstance(await failure(session.sign(fresh_order(), PATIENT)), Unauthorized)


async def test_a_token_of_an_account_passes_the_check_and_one_without_the_permission_does_not() -> None:
    async with sandbox() as (cdn, session):
        cdn.tokens["sandbox-token"].account_owned = True
        await session.check(PATIENT)
        cdn.tokens["sandbox-token"].edits_certificates = False
        assert isinstance(await failure(session.check(PATIENT)), Unauthorized)


async def test_a_token_that_may_not_read_zones_still_finds_its_certificates() -> None:
    async with sandbox() as (cdn, session):
        cdn.tokens["sandbox-token"].reads_zones = False
        wanted = fresh_order()
        signed = await session.sign(wanted, PATIENT)
        assert await find_all(session, wanted, PATIENT) == (signed,)


async def test_the_rate_limit_of_the_user_is_told_with_the_wait() -> None:
    async with sandbox(rate_limit=RateLimit(calls=1, window=300.0, block=120.0), monotonic=lambda: 1000.0) as (
        _,
        session,
    ):
        await session.sign(fresh_order(), PATIENT)
        error = await failure(session.sign(fresh_order(), PATIENT))
        assert isinstance(error, RateLimited)
        assert error.retry_after == 120.0


async def test_a_wait_until_a_date_of_a_clock_that_is_wrong_is_as_long_as_was_meant() -> None:
    async with sandbox() as (cdn, session):
        cdn.faults.set(FaultKind.RATE_LIMITED, seconds=90, skew=-7200)
        error = await failure(session.sign(fresh_order(), PATIENT))
        assert isinstance(error, RateLimited)
        assert error.retry_after == 90.0


async def test_a_certificate_is_found_among_many_of_the_zone() -> None:
    async with sandbox() as (cdn, session):
        orders = [order(request=csr("www.example.com"), created=datetime.now(UTC)) for _ in range(3)]
        signed = [await session.sign(wanted, PATIENT) for wanted in orders]
        for _ in range(120):
            await session.sign(fresh_order("other.example.com"), PATIENT)
        found = await find_all(session, orders[0], PATIENT)
        # The builder's key is the same for all, so all three answer each order.
        assert {answer.handle for answer in found} == {answer.handle for answer in signed}
        assert cdn.calls["GET /certificates"] == 3


async def test_nothing_listens() -> None:
    async with sandbox() as (cdn, session):
        await cdn.stop()
        error = await failure(session.sign(fresh_order(), PATIENT))
        assert isinstance(error, Unavailable)
        assert not error.ambiguous
        host = cdn.url.removeprefix("http://")
        assert error.message == f"POST /certificates: could not connect to {host}: connection refused"


@contextlib.asynccontextmanager
async def raw_server(talk: bytes | None) -> AsyncIterator[str]:
    """Speaks these bytes and hangs up; None: hangs up at once after the request came."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(1)
            if talk:
                writer.write(talk)
                await writer.drain()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "talk",
    [
        None,
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 999999 What\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
async def test_a_server_that_does_not_speak_http_is_unavailable_and_ambiguous(talk: bytes | None) -> None:
    async with raw_server(talk) as endpoint, closing(endpoint) as origin:
        error = await failure((await origin.session()).sign(fresh_order(), QUICK))
        assert isinstance(error, Unavailable)
        assert error.ambiguous


async def test_a_certificate_that_nobody_trusts_is_not_talked_to() -> None:
    authority_ = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority_.issue_cert("127.0.0.1").configure_cert(context)
    cdn = MockCDN(ca=origin_ca())
    await cdn.start(tls=context)
    async with closing(cdn.endpoint) as origin:
        error = await failure((await origin.session()).sign(fresh_order(), PATIENT))
    await cdn.stop()
    assert isinstance(error, Unavailable)
    assert not error.ambiguous
    host = cdn.url.removeprefix("https://")
    assert error.message.startswith(
        f"POST /certificates: could not connect to {host}: its TLS certificate is not trusted ("
    )
    assert "ssl:" not in error.message
    assert not cdn.calls


async def test_a_call_that_is_cancelled_leaves_nothing_behind() -> None:
    async with sandbox() as (cdn, session):
        cdn.faults.set(FaultKind.HANG)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await session.sign(fresh_order(), PATIENT)
        cdn.faults.clear()
        assert (await session.sign(fresh_order(), PATIENT)).handle


async def test_an_authority_that_is_closed_in_the_middle_of_a_call_fails_it() -> None:
    async with MockCDN(ca=origin_ca()) as cdn, closing(cdn.endpoint) as origin:
        cdn.faults.set(FaultKind.HANG)
        session = await origin.session()
        call = asyncio.create_task(session.sign(fresh_order(), PATIENT))
        await cdn.until(lambda: bool(cdn.calls))
        await origin.aclose()
        error = await failure(call)
    assert isinstance(error, Unavailable)
    assert error.ambiguous


async def test_many_calls_at_once_wait_for_one_latency_only() -> None:
    async with sandbox(latency=0.2) as (cdn, session):
        started = asyncio.get_running_loop().time()
        await asyncio.gather(*(session.sign(fresh_order(), PATIENT) for _ in range(300)))
        assert asyncio.get_running_loop().time() - started < 5.0
        assert len(cdn.certificates) == 300


async def test_a_certificate_lives_as_long_as_was_asked_for() -> None:
    async with sandbox() as (cdn, session):
        wanted = order(duration=timedelta(days=90), created=datetime.now(UTC))
        signed = await session.sign(wanted, PATIENT)
        record = cdn.certificates[signed.handle]
        assert record.not_after - record.created >= signed.promised == timedelta(days=90)


async def test_who_may_no_longer_call_when_the_connection_is_there_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[Exception] = []

    def guard() -> None:
        if lost:
            raise lost[0]

    async with listening(tmp_path, lambda: lost.append(PermissionError("the lease is lost"))) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_file))
        shared = SharedTransport(guard)
        origin = authority(shared.handle, endpoint=server.url)
        with pytest.raises(NotSentError, match="the lease is lost") as caught:
            await (await origin.session()).sign(fresh_order(), PATIENT)
        assert caught.value.reason is lost[0]
        await origin.aclose()
        await shared.aclose()
    assert server.heard == [b""]
