"""Thousands of events at once: each is written, in the order of its object, or its loss is counted and told."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from issuer.kube import events as module
from issuer.kube.errors import ForbiddenError, UnreachableError
from issuer.kube.events import WRITERS
from tests.unit.kube.events_case import Server, about, recorder_of, running

if TYPE_CHECKING:
    from issuer.kube.events import EventRecorder
    from tests.unit.kube.log_case import Lines


pytestmark = pytest.mark.looptime

BURST = 2000


async def all_written(recorder: EventRecorder, number: int) -> None:
    while recorder.written < number:  # noqa: ASYNC110 - on fake time
        await asyncio.sleep(1)


async def test_every_event_of_a_burst_is_written_by_a_slow_server() -> None:
    server, told = Server(), Counter[str]()
    server.takes = 0.2
    recorder = recorder_of(server, lambda outcome: told.update([outcome]))
    async with running(recorder):
        for number in range(BURST):
            recorder.emit(about(f"request-{number}"), "Normal", "Issued", "edge signed")
        async with asyncio.timeout(60):
            await all_written(recorder, BURST)
    assert len({body["regarding"]["name"] for *_, body in server.calls}) == BURST
    assert recorder.dropped == 0
    assert told == {"written": BURST}
    assert server.most_under_way == WRITERS


async def test_what_a_dead_server_loses_is_counted_and_logged_once(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 500)
    server, told = Server(), Counter[str]()
    server.takes = 10.0
    server.fault = lambda *_: UnreachableError("timeout")
    recorder = recorder_of(server, lambda outcome: told.update([outcome]))
    async with running(recorder):
        for number in range(BURST):
            recorder.emit(about(f"request-{number}"), "Normal", "Issued", "edge signed")
        await asyncio.sleep(1500)
        assert recorder.written == 0
        assert told["queue_full"] == BURST - 500
    await recorder.drain(5)
    assert recorder.dropped == BURST
    assert told.total() == recorder.dropped
    assert told["failed"] > 0
    assert [line["reason"] for line in lines] == ["queue_full", "failed", "stopped"]


async def test_a_loss_that_lasts_is_told_again_after_ten_minutes(lines: Lines) -> None:
    server = Server()
    server.fault = lambda *_: ForbiddenError(403, "Forbidden", "no")
    recorder = recorder_of(server)
    async with running(recorder):
        for number in range(100):
            recorder.emit(about(f"request-{number}"), "Normal", "R", "x")
            await asyncio.sleep(10)
    assert [line["lost_so_far"] for line in lines] == [1, 61]
    assert recorder.dropped == 100


async def test_the_events_of_one_object_are_written_in_their_order_and_others_do_not_wait() -> None:
    server = Server()
    server.takes = 1.0
    recorder = recorder_of(server)
    async with running(recorder):
        for reason in ("First", "Second", "Third"):
            recorder.emit(about("one"), "Normal", reason, "x")
        recorder.emit(about("other"), "Normal", "Fourth", "x")
        await asyncio.sleep(10)
    assert [(at, body["reason"]) for at, _, _, body in server.calls] == [
        (0, "First"),
        (0, "Fourth"),
        (1, "Second"),
        (2, "Third"),
    ]


async def test_what_happens_again_while_it_is_written_is_counted_and_not_lost() -> None:
    server = Server()
    server.takes = 1.0
    recorder = recorder_of(server)
    async with running(recorder):
        recorder.emit(about(), "Normal", "R", "x")
        await asyncio.sleep(0.5)
        recorder.emit(about(), "Normal", "R", "x")
        await asyncio.sleep(60)
    assert [call.split()[0] for _, call in server.made()] == ["create", "patch"]
    assert server.body(1)["series"]["count"] == 2


async def test_a_refusal_that_comes_after_another_writer_has_changed_the_api_loses_no_event() -> None:
    server = Server()
    server.fault = lambda _, resource: ForbiddenError(403, "Forbidden", "no") if "." in resource else None
    recorder = recorder_of(server)
    async with running(recorder):
        for name, takes in (("slow", 1.0), ("quick", 0.1)):
            server.takes = takes
            recorder.emit(about(name), "Normal", "R", "x")
            await asyncio.sleep(0.05)
        await asyncio.sleep(10)
    assert [body["metadata"]["name"].partition(".")[0] for *_, body in server.calls] == [
        "slow",
        "quick",
        "quick",
        "slow",
    ]
    assert (recorder.written, recorder.dropped) == (2, 0)


async def test_a_drain_beside_running_writers_writes_all_with_no_more_of_them() -> None:
    server = Server()
    server.takes = 0.1
    recorder = recorder_of(server)
    async with running(recorder):
        for number in range(100):
            recorder.emit(about(f"request-{number}"), "Normal", "R", "x")
        await asyncio.sleep(0.05)
        await recorder.drain(10)
        assert (recorder.written, recorder.dropped) == (100, 0)
    assert server.most_under_way <= WRITERS + 1
