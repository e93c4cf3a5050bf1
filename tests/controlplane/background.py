"""An event loop in a thread of its own, for servers of the tests that must answer while a test is blocked.

It is asyncio's own loop, and lives as long as the process: what is still being closed when a test ends is closed there.
"""

from __future__ import annotations

import asyncio
import threading
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


@cache
def loop() -> asyncio.AbstractEventLoop:
    """The loop; it runs."""
    made = asyncio.new_event_loop()
    threading.Thread(target=made.run_forever, name="test servers", daemon=True).start()
    return made


async def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on it and wait for what it returns, on the loop of the caller."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop()))


def soon(call: Callable[[], object]) -> None:
    """Call a function on it, and wait until it has returned."""

    async def called() -> None:
        call()

    asyncio.run_coroutine_threadsafe(called(), loop()).result(10)
