"""The probes and the metrics page, over the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest
import structlog

from issuer.observe.metrics import Metrics
from issuer.observe.server import ListenError, ObserveServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOST = "127.0.0.1"


class Program:
    """What the server asks."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.unready: str | None = None

    def server(self, host: str = HOST, port: int = 0) -> ObserveServer:
        return ObserveServer(host, port, Metrics(), healthy=lambda: self.trouble, ready=lambda: self.unready)


@contextlib.asynccontextmanager
async def serving(program: Program, host: str = HOST) -> AsyncIterator[str]:
    server = program.server(host)
    port = await server.start()
    try:
        yield f"http://{HOST}:{port}"
    finally:
        await server.stop()


async def get(url: str, **headers: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.text(), answer.headers["Content-Type"]


async def test_all_well_is_200() -> None:
    async with serving(Program()) as url:
        assert (await get(f"{url}/healthz"))[:2] == (200, "ok\n")
        assert (await get(f"{url}/readyz"))[:2] == (200, "ok\n")


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/nowhere"])
async def test_no_answer_tells_the_versions_of_what_it_runs_on(path: str) -> None:
    async with serving(Program()) as url, aiohttp.ClientSession() as session, session.get(f"{url}{path}") as answer:
        assert "Server" not in answer.headers


async def test_trouble_is_503_with_the_reason_and_ends_with_it() -> None:
    program = Program()
    async with serving(program) as url:
        program.trouble = "the watch of certificaterequests has heard nothing for 700 s"
        assert (await get(f"{url}/healthz"))[:2] == (503, f"{program.trouble}\n")
        assert (await get(f"{url}/readyz"))[0] == 200
        program.trouble, program.unready = None, "the cache is not filled yet"
        assert (await get(f"{url}/healthz"))[0] == 200
        assert (await get(f"{url}/readyz"))[:2] == (503, "the cache is not filled yet\n")


async def test_a_change_of_health_is_logged_once() -> None:
    program = Program()
    with structlog.testing.capture_logs() as lines:
        async with serving(program) as url:
            for trouble in (None, "stuck for 1 s", "stuck for 2 s", None, None):
                program.trouble = trouble
                await get(f"{url}/healthz")
    assert [(line["event"], line["reason"]) for line in lines] == [("not healthy", "stuck for 1 s"), ("healthy", None)]


async def test_another_reason_is_logged_too() -> None:
    program = Program()
    with structlog.testing.capture_logs() as lines:
        async with serving(program) as url:
            for reason in ("the cache is not filled yet", "the API server knows no issuers", "the Lease cannot be had"):
                program.unready = reason
                await get(f"{url}/readyz")
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("not ready", "the cache is not filled yet"),
        ("not ready", "the API server knows no issuers"),
        ("not ready", "the Lease cannot be had"),
    ]


async def test_metrics_are_served_in_the_format_asked_for() -> None:
    async with serving(Program()) as url:
        status, page, content_type = await get(f"{url}/metrics")
        assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert "cdn_issuer_build_info{" in page
        assert "cdn_issuer_event_loop_lag_seconds 0" in page
        status, page, content_type = await get(f"{url}/metrics", Accept="application/openmetrics-text;version=1.0.0")
        assert content_type.startswith("application/openmetrics-text")
        assert page.endswith("# EOF\n")


async def test_the_lag_of_the_loop_is_taken_at_the_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Program()) as url:
        monkeypatch.setattr("issuer.observe.heartbeat.LoopHeartbeat.lag", lambda _: 3.5)
        _, page, _ = await get(f"{url}/metrics")
    assert "cdn_issuer_event_loop_lag_seconds 3.5\n" in page


async def test_an_unknown_path_is_404() -> None:
    async with serving(Program()) as url:
        assert (await get(f"{url}/debug"))[0] == 404


async def test_a_taken_port_is_told_in_one_line_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = Program().server(port=port)
        with pytest.raises(ListenError) as caught:
            await server.start()
    told = f"cannot listen on {HOST}:{port}: another process listens there; choose another address with --listen"
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("host", "port", "part"),
    [
        (HOST, 70000, "a port is a number from 0 to 65535"),
        ("192.0.2.1", 0, "Cannot assign requested address"),
        ("[2001:db8::1]", 0, "cannot listen on [2001:db8::1]:0: "),
        ("no-such-host.invalid", 0, "cannot listen on no-such-host.invalid:0: "),
    ],
)
async def test_an_address_that_cannot_be_had_is_told_in_one_line(host: str, port: int, part: str) -> None:
    with pytest.raises(ListenError) as caught:
        await Program().server(host, port).start()
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_without_a_host_both_families_are_served_on_one_port() -> None:
    async with serving(Program(), "") as url:
        port = url.rpartition(":")[2]
        assert (await get(f"http://127.0.0.1:{port}/healthz"))[0] == 200
        assert (await get(f"http://[::1]:{port}/healthz"))[0] == 200


async def test_a_machine_without_ipv6_serves_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    async with serving(Program(), "") as url:
        assert (await get(f"{url}/healthz"))[0] == 200


async def test_a_taken_port_of_all_addresses_is_told_in_one_line() -> None:
    async with serving(Program(), "") as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(ListenError, match=f"cannot listen on :{port}: another process listens there"):
            await Program().server("", port).start()


async def test_after_a_stop_nobody_listens_and_a_second_stop_is_no_error() -> None:
    server = Program().server()
    port = await server.start()
    await server.stop()
    await server.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(f"http://{HOST}:{port}/healthz")
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_stop_before_start_is_no_error() -> None:
    await Program().server().stop()


async def test_a_reader_that_takes_nothing_does_not_hold_up_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("issuer.observe.server.PATIENCE", 0.05)
    asked = asyncio.Event()

    def render(_metrics: Metrics, _accept: str) -> tuple[bytes, str]:
        asked.set()
        return b"x" * 100_000_000, "text/plain"

    monkeypatch.setattr(Metrics, "render", render)
    server = Program().server()
    _, writer = await asyncio.open_connection(HOST, await server.start(), limit=1)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    await asked.wait()
    async with asyncio.timeout(5):
        await server.stop()
    writer.close()


async def test_an_idle_connection_does_not_hold_up_the_stop() -> None:
    server = Program().server()
    port = await server.start()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://{HOST}:{port}/healthz") as answer:
            await answer.read()
        async with asyncio.timeout(1):
            await server.stop()
