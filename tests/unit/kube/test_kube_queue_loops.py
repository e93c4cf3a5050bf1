"""The queue on the loops that it meets: asyncio's, and uvloop, whose timers are others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from issuer.cli.run import LOOP_FACTORY
from issuer.kube.queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPS = pytest.mark.parametrize("factory", [asyncio.new_event_loop, LOOP_FACTORY], ids=["asyncio", "production"])


def on(factory: Callable[[], asyncio.AbstractEventLoop], scenario: Callable[[], object]) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scenario())  # type: ignore[arg-type]


@LOOPS
def test_a_burst_of_keys_that_are_due_almost_at_once_is_handled_whole(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def scenario() -> None:
        queue: WorkQueue[int] = WorkQueue()
        handled: set[int] = set()
        all_done = asyncio.Event()

        async def handle(key: int) -> None:
            handled.add(key)
            if len(handled) == 2000:
                all_done.set()

        running = asyncio.create_task(queue.run(handle, per_lane=4))
        await asyncio.sleep(0)
        for key in range(2000):
            # From far below a millisecond, which uvloop rounds to a timer that is due at once, to a little above.
            queue.add_after(key, (2000 - key) * 1e-6)
        async with asyncio.timeout(20):
            await all_done.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    on(factory, scenario)


@LOOPS
def test_a_key_that_is_added_earlier_again_moves_the_timer(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue()
        done = asyncio.Event()

        async def handle(_: str) -> None:
            done.set()

        running = asyncio.create_task(queue.run(handle, per_lane=1))
        await asyncio.sleep(0)
        queue.add_after("key", 3600)
        queue.add_after("key", 1e-5)
        async with asyncio.timeout(20):
            await done.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    on(factory, scenario)
