"""Calls against small servers that answer as API servers and broken proxies do."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from issuer.kube.access import Access
from issuer.kube.client import KubeClient
from issuer.kube.errors import (
    ApiError,
    ConflictError,
    GoneError,
    InvalidError,
    KubeError,
    LeaseLostError,
    ServerError,
    ThrottledError,
    UnauthorizedError,
    UnreachableError,
)
from issuer.kube.resource import EVENTS, LEASES, SECRETS, Resource
from tests.unit.handshake import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

THINGS = Resource("example.org", "v1", "things")


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def echo(request: web.Request) -> web.Response:
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "body": await request.text(),
            "type": request.headers.get("Content-Type"),
            "authorization": request.headers.get("Authorization"),
        }
    )


async def hang(_: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


def answer(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, content_type=content_type, headers=headers)

    return handler


def status_object(code: int, reason: str) -> bytes:
    return json.dumps({"kind": "Status", "code": code, "reason": reason, "message": "no"}).encode()


async def test_each_verb_has_its_method_path_and_body() -> None:
    async with server(echo) as url, KubeClient.for_url(url) as client:
        base = "/apis/example.org/v1/namespaces/ns/things"
        cases = [
            (client.get(THINGS, "ns", "a b"), "GET", f"{base}/a%20b", ""),
            (
                client.list(THINGS, query={"limit": "5", "fieldSelector": "a=b"}),
                "GET",
                "/apis/example.org/v1/things?limit=5&fieldSelector=a%3Db",
                "",
            ),
            (client.create(THINGS, "ns", b"{}"), "POST", base, "{}"),
            (client.replace(THINGS, "ns", "a", b"{}", subresource="status"), "PUT", f"{base}/a/status", "{}"),
            (client.patch(THINGS, "ns", "a", b"{}", subresource="status"), "PATCH", f"{base}/a/status", "{}"),
            (client.delete(THINGS, "ns", "a"), "DELETE", f"{base}/a", ""),
        ]
        for call, method, path, body in cases:
            got = json.loads(await call)
            assert (got["method"], got["path"], got["body"]) == (method, path, body)
        patched = json.loads(await client.patch(THINGS, "ns", "a", b"{}"))
        assert patched["type"] == "application/merge-patch+json"


async def test_a_call_for_an_object_without_a_name_does_not_become_a_list() -> None:
    async with server(echo) as url, KubeClient.for_url(url) as client:
        with pytest.raises(InvalidError):
            await client.get(SECRETS, "ns", "")


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (answer(409, status_object(409, "Conflict")), ConflictError),
        (answer(410, status_object(410, "Expired")), GoneError),
        (answer(503, b"<html><body>upstream is down</body></html>", "text/html"), ServerError),
        (answer(302, b"", Location="http://127.0.0.1:1/"), ApiError),
        (answer(200, b"<html>hello</html>", "text/html"), UnreachableError),
        (answer(200, b""), UnreachableError),
    ],
)
async def test_an_answer_that_is_no_object_is_an_error(handler: Handler, expected: type[KubeError]) -> None:
    async with server(handler) as url, KubeClient.for_url(url) as client:
        with pytest.raises(expected) as caught:
            await client.get(THINGS, "ns", "a")
        assert type(caught.value) is expected


async def test_retry_after_of_a_throttled_call_is_kept() -> None:
    handler = answer(429, b"slow down", "text/plain", **{"Retry-After": "7"})
    async with server(handler) as url, KubeClient.for_url(url) as client:
        with pytest.raises(ThrottledError) as caught:
            await client.list(THINGS)
        assert (caught.value.retry_after, caught.value.message) == (7.0, "slow down")


async def test_a_call_that_gets_no_answer_times_out() -> None:
    async with server(hang) as url, KubeClient.for_url(url, timeout=0.05) as client:
        with pytest.raises(UnreachableError, match="no answer") as caught:
            await client.create(THINGS, "ns", b"{}")
        assert caught.value.sent


async def test_a_body_that_never_ends_times_out() -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await asyncio.sleep(60)
        return response

    async with server(trickle) as url, KubeClient.for_url(url, timeout=0.05) as client:
        with pytest.raises(UnreachableError, match="no answer within"):
            await client.list(THINGS)


async def test_an_answer_that_breaks_off_is_unreachable() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"kind":')
        assert request.transport is not None
        request.transport.close()
        return response

    async with server(cut) as url, KubeClient.for_url(url) as client:
        with pytest.raises(UnreachableError) as caught:
            await client.patch(THINGS, "ns", "a", b"{}")
        assert caught.value.sent


async def test_a_call_that_found_no_server_was_not_sent() -> None:
    async with server(echo) as url:
        gone = url
    async with KubeClient.for_url(gone) as client:
        with pytest.raises(UnreachableError) as caught:
            await client.create(THINGS, "ns", b"{}")
        assert not caught.value.sent


async def test_the_guard_stops_every_write_but_a_leases() -> None:
    calls = 0

    async def counting(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        return await echo(request)

    def lost() -> None:
        raise LeaseLostError("lost")

    async with server(counting) as url, KubeClient.for_url(url, guard=lost) as client:
        for write in (
            client.create(THINGS, "ns", b"{}"),
            client.replace(THINGS, "ns", "a", b"{}"),
            client.patch(THINGS, "ns", "a", b"{}"),
            client.delete(THINGS, "ns", "a"),
        ):
            with pytest.raises(LeaseLostError):
                await write
        assert calls == 0
        await client.get(THINGS, "ns", "a")
        await client.replace(LEASES, "ns", "a", b"{}")
        assert calls == 2


async def test_who_may_no_longer_write_when_the_connection_is_there_sends_nothing(tmp_path: Path) -> None:
    lost: list[Exception] = []

    def guard() -> None:
        if lost:
            raise lost[0]

    async with (
        listening(tmp_path, lambda: lost.append(LeaseLostError("lost"))) as server,
        KubeClient(Access(server.url, ssl=server.context()), guard=guard) as client,
    ):
        with pytest.raises(LeaseLostError):
            await client.patch(THINGS, "ns", "a", b"{}")
    assert server.heard == [b""]


async def test_a_lease_call_does_not_queue_behind_calls_that_hang() -> None:
    async def handler(request: web.Request) -> web.Response:
        return await (echo(request) if "leases" in request.path else hang(request))

    async with server(handler) as url, KubeClient.for_url(url, in_flight=2, rate=0.001, burst=2, timeout=5) as client:
        hanging = [asyncio.create_task(client.get(THINGS, "ns", str(i))) for i in range(4)]
        await asyncio.sleep(0)
        await asyncio.wait_for(client.get(LEASES, "ns", "a"), 1)
        assert not any(task.done() for task in hanging)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


@pytest.mark.parametrize(
    "free",
    [
        lambda client: client.get(SECRETS, "ns", "a"),
        lambda client: client.get(THINGS, "ns", "a"),
        lambda client: client.list(THINGS),
        lambda client: client.create(EVENTS, "ns", b"{}"),
    ],
    ids=["a Secret", "an object", "a list", "an event"],
)
async def test_writes_that_hang_hold_up_no_other_class_of_calls(
    free: Callable[[KubeClient], Awaitable[bytes]],
) -> None:
    arrived = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal arrived
        if request.method != "PATCH":
            return await echo(request)
        arrived += 1
        return await hang(request)

    async with server(handler) as url, KubeClient.for_url(url, in_flight=2, timeout=5) as client:
        hanging = [asyncio.create_task(client.patch(THINGS, "ns", str(i), b"{}", subresource="status")) for i in "abc"]
        await asyncio.wait_for(free(client), 1)
        assert not any(task.done() for task in hanging)
        assert arrived <= 2, "there are places for two"
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_the_rate_limit_holds_calls_back_and_can_be_switched_off() -> None:
    async with server(echo) as url:
        async with KubeClient.for_url(url, rate=0.001, burst=2) as client:
            calls = [asyncio.create_task(client.get(THINGS, "ns", str(i))) for i in range(3)]
            await asyncio.wait(calls[:2], timeout=5)
            _, pending = await asyncio.wait(calls, timeout=0.02)
            assert pending == {calls[2]}
            calls[2].cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        async with KubeClient.for_url(url, rate=None) as client:
            await asyncio.gather(*(client.get(THINGS, "ns", str(i)) for i in range(100)))


async def test_the_observer_is_told_of_each_call_once() -> None:
    seen: list[tuple[str, str, int | str]] = []

    def observe(verb: str, resource: Resource, result: int | str, seconds: float) -> None:
        assert seconds >= 0
        seen.append((verb, str(resource), result))

    async def handler(request: web.Request) -> web.Response:
        return await (hang(request) if "slow" in request.path else echo(request))

    async with server(handler) as url, KubeClient.for_url(url, timeout=0.05, observer=observe) as client:
        await client.get(THINGS, "ns", "a")
        with pytest.raises(UnreachableError):
            await client.patch(THINGS, "ns", "slow", b"{}")
    async with (
        server(answer(404, status_object(404, "NotFound"))) as url,
        KubeClient.for_url(url, observer=observe) as client,
    ):
        with pytest.raises(ApiError):
            await client.list(THINGS)
        with pytest.raises(ApiError):
            await lines_of(client)
    name = "things.example.org"
    assert seen == [
        ("get", name, 200),
        ("patch", name, "UnreachableError"),
        ("list", name, 404),
        ("watch", name, 404),
    ]


async def test_a_refused_credential_is_tried_once_more_if_a_newer_one_is_found() -> None:
    tokens = iter(["Bearer new"])

    async def load() -> str | None:
        return next(tokens)

    async def handler(request: web.Request) -> web.Response:
        if request.headers["Authorization"] != "Bearer new":
            return web.Response(status=401, body=status_object(401, "Unauthorized"))
        return await echo(request)

    clock = iter(float(i * 10) for i in range(100))
    async with server(handler) as url:
        access = Access(url, token="Bearer old", load=load, monotonic=lambda: next(clock))
        async with KubeClient(access) as client:
            assert json.loads(await client.create(THINGS, "ns", b"{}"))["authorization"] == "Bearer new"


async def test_a_credential_that_stays_refused_is_an_error_after_two_calls() -> None:
    calls = 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        return web.Response(status=401, body=status_object(401, "Unauthorized"))

    async def load() -> str | None:
        return f"Bearer {calls}"

    async with server(handler) as url:
        clock = iter(float(i * 10) for i in range(100))
        async with KubeClient(Access(url, token="Bearer old", load=load, monotonic=lambda: next(clock))) as client:
            with pytest.raises(UnauthorizedError):
                await client.get(THINGS, "ns", "a")
    assert calls == 2


def streaming(*chunks: bytes, then: float = 0.0, cut: bool = False) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0.002)
        await asyncio.sleep(then)
        if cut:
            assert request.transport is not None
            request.transport.close()
        return response

    return handler


async def lines_of(client: KubeClient, *, inactivity: float = 5.0, into: list[bytes] | None = None) -> list[bytes]:
    lines = into if into is not None else []
    async with aclosing(client.stream(THINGS, "", {"watch": "1"}, inactivity=inactivity)) as stream:
        async for line in stream:
            lines.append(line)
    return lines


async def test_lines_of_a_watch_are_put_together_from_pieces() -> None:
    handler = streaming(b'{"a":', b'1}\n{"b":2}\n\n{"c', b'":3}\n', b'{"half":')
    async with server(handler) as url, KubeClient.for_url(url) as client:
        assert await lines_of(client) == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


async def test_a_line_of_five_megabytes_is_read() -> None:
    line = b'{"x":"' + b"y" * (5 * 1024 * 1024) + b'"}'
    async with server(streaming(line, b"\n")) as url, KubeClient.for_url(url) as client:
        assert await lines_of(client) == [line]


async def test_a_line_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("issuer.kube.wire.MAX_LINE", 1000)
    async with server(streaming(b"x" * 2000, then=60)) as url, KubeClient.for_url(url) as client:
        with pytest.raises(UnreachableError, match="longer than"):
            await lines_of(client)


async def test_a_half_open_connection_ends_by_inactivity() -> None:
    got: list[bytes] = []
    async with server(streaming(b"{}\n", then=60)) as url, KubeClient.for_url(url) as client:
        with pytest.raises(UnreachableError, match="silent"):
            await lines_of(client, inactivity=0.05, into=got)
    assert got == [b"{}"]


async def test_a_watch_that_is_never_answered_ends_by_inactivity() -> None:
    async with server(hang) as url, KubeClient.for_url(url, timeout=60) as client:
        with pytest.raises(UnreachableError):
            await lines_of(client, inactivity=0.05)


async def test_a_watch_that_is_not_opened_within_the_time_of_a_call_is_given_up() -> None:
    async with server(hang) as url, KubeClient.for_url(url, timeout=0.05) as client:
        with pytest.raises(UnreachableError, match=r"no answer within 0\.05 s"):
            await lines_of(client, inactivity=60)


async def test_a_watch_outlives_the_timeout_of_calls() -> None:
    async with server(streaming(b"{}\n", then=0.1)) as url, KubeClient.for_url(url, timeout=0.05) as client:
        assert await lines_of(client) == [b"{}"]


async def test_a_watch_whose_connection_breaks_is_unreachable() -> None:
    async with server(streaming(b"{}\n", cut=True)) as url, KubeClient.for_url(url) as client:
        with pytest.raises(UnreachableError, match="broke off"):
            await lines_of(client)


async def test_a_refused_watch_raises_what_the_server_said() -> None:
    async with server(answer(410, status_object(410, "Expired"))) as url, KubeClient.for_url(url) as client:
        with pytest.raises(GoneError):
            await lines_of(client)


async def test_opened_is_called_before_the_first_line() -> None:
    opened = asyncio.Event()
    async with server(streaming(then=60)) as url, KubeClient.for_url(url) as client:
        stream = client.stream(THINGS, "", {}, inactivity=5, opened=opened.set)
        reading = asyncio.ensure_future(anext(stream))
        await asyncio.wait_for(opened.wait(), 5)
        assert not reading.done()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await stream.aclose()


def test_a_plain_address_costs_no_import_of_the_library() -> None:
    code = (
        "import sys; from issuer.kube.client import KubeClient; KubeClient.for_url('http://x');"
        "sys.exit(any(name.startswith('kubernetes_asyncio') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
