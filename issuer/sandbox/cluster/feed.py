"""What one watch has still to send.

A reader that is slower than what happens is not waited for and not remembered for ever: once too much waits for it, the
feed is closed, its watch ends, and the client lists anew. So does the real server (apiserver:
`pkg/storage/cacher/cache_watcher.go`). A feed is closed too when its watch is cut, or when its resource is gone; what
was put in before then is still sent, as the last events of a resource whose CRD is deleted have to be.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from issuer.sandbox.cluster.store import Happening

LIMIT: Final = 20_000
"""Changes that may wait. The real one is in the hundreds, but there readers run while writers write; here a test may
write for as long as it likes before any reader gets its turn."""


class Feed:
    """A queue of changes with an end.

    Args:
        resource: group and plural of what it is about.
        limit: changes that may wait.
    """

    def __init__(self, resource: tuple[str, str], limit: int = LIMIT) -> None:
        self.resource: Final = resource
        self._limit = limit
        self._waiting: deque[Happening] = deque()
        self._news = asyncio.Event()
        self.closed = False

    @property
    def waiting(self) -> int:
        """Changes that have not been taken."""
        return len(self._waiting)

    def put(self, event: Happening) -> None:
        """Add a change; too many close the feed and are forgotten."""
        if self.closed:
            return
        self._waiting.append(event)
        if len(self._waiting) > self._limit:
            self._waiting.clear()
            self.close()
        self._news.set()

    def close(self) -> None:
        """Nothing comes any more."""
        self.closed = True
        self._news.set()

    async def take(self, timeout: float) -> list[Happening]:
        """All that waits; waits for it at most so many seconds. Empty: nothing came, or it is closed."""
        if not self._waiting and not self.closed:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._news.wait()
        taken = list(self._waiting)
        self._waiting.clear()
        return taken
