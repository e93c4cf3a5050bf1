"""A loop that was blocked, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
import structlog

from issuer.observe.heartbeat import LoopHeartbeat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.looptime


class Clock:
    """The loop's time, and `blocked`: what a call that holds the loop adds to it."""

    def __init__(self) -> None:
        self.blocked = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.blocked


@contextlib.asynccontextmanager
async def beating(clock: Clock) -> AsyncIterator[LoopHeartbeat]:
    heartbeat = LoopHeartbeat(clock)
    task = asyncio.create_task(heartbeat.run())
    await asyncio.sleep(0.5)
    try:
        yield heartbeat
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_loop_that_runs_freely_has_no_lag() -> None:
    async with beating(Clock()) as heartbeat:
        await asyncio.sleep(30)
        assert heartbeat.lag() == pytest.approx(0, abs=1e-6)
        assert heartbeat.stalled(0.1) is None


async def test_before_its_first_beat_it_knows_of_no_lag() -> None:
    assert LoopHeartbeat().lag() == 0


async def test_without_a_clock_it_goes_by_the_time_of_the_loop() -> None:
    heartbeat = LoopHeartbeat()
    task = asyncio.create_task(heartbeat.run())
    await asyncio.sleep(5)
    assert heartbeat.lag() == pytest.approx(0, abs=1e-6)
    task.cancel()


async def test_a_blocked_loop_shows_although_it_goes_on_again() -> None:
    clock = Clock()
    async with beating(clock) as heartbeat:
        clock.blocked += 4
        await asyncio.sleep(20)
        assert heartbeat.lag() == pytest.approx(4, abs=0.01)
        assert heartbeat.stalled(3) == "the event loop was held up for 4.0 s within the last minute"
        assert heartbeat.stalled(5) is None


async def test_a_beat_that_is_overdue_counts_before_it_comes() -> None:
    clock = Clock()
    async with beating(clock) as heartbeat:
        clock.blocked += 8
        assert heartbeat.lag() == pytest.approx(7.5, abs=0.01)


async def test_the_worst_of_a_minute_is_shown_and_then_forgotten() -> None:
    clock = Clock()
    async with beating(clock) as heartbeat:
        clock.blocked += 4
        await asyncio.sleep(5)
        clock.blocked += 2
        await asyncio.sleep(40)
        assert heartbeat.lag() == pytest.approx(4, abs=0.01)
        await asyncio.sleep(30)
        assert heartbeat.lag() == pytest.approx(0, abs=0.01)


async def test_a_late_beat_of_a_second_or_more_is_logged_once() -> None:
    clock = Clock()
    with structlog.testing.capture_logs() as lines:
        async with beating(clock):
            clock.blocked += 0.5
            await asyncio.sleep(5)
            clock.blocked += 3
            await asyncio.sleep(20)
    assert lines == [{"event": "the event loop was held up", "seconds": 3.0, "log_level": "warning"}]
