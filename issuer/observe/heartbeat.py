"""A heartbeat of the event loop: how long it was held up lately.

Everything here runs on one event loop, so code that blocks holds up the renewal of the Lease, the deadlines and every
request. Three things watch for three kinds of trouble:

- `/healthz` runs on the same loop. While the loop is blocked it is not answered, the probe times out, and Kubernetes
  restarts a process that stays so.
- This heartbeat sees what the probe misses: a loop that was blocked for some seconds and then went on. It shows as
  `cdn_issuer_event_loop_lag_seconds` and as a line in the log. It does not fail the probe, since what is over needs no
  restart. A process that was stopped, or starved of CPU, looks the same.
- What a running loop cannot show, a watch that hears nothing, the program says of itself (`healthy` of the server).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from issuer.observe.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY: Final = 1.0
"""Seconds between two beats."""
REMEMBER: Final = 60.0
"""Seconds for which a late beat is remembered; longer than the usual time between two scrapes."""
WORTH_A_LINE: Final = 1.0
"""Seconds of lag from which it is logged."""

log = get_logger(__name__)


class LoopHeartbeat:
    """Beats once a second and remembers by how much it was late.

    Args:
        clock: seconds, monotonic; the loop's own time if None.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._due: float | None = None
        self._late: deque[tuple[float, float]] = deque()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._due = self._now() + EVERY
            await asyncio.sleep(EVERY)
            self._beat()

    def lag(self) -> float:
        """The longest time in seconds that the loop was held up within the last minute, a beat overdue now included."""
        if self._due is None:
            return 0.0
        now = self._now()
        self._forget(now)
        return max(0.0, now - self._due, *(late for _, late in self._late))

    def stalled(self, threshold: float) -> str | None:
        """How long the loop was held up, in words, if that was `threshold` seconds or more within the last minute."""
        lag = self.lag()
        return f"the event loop was held up for {lag:.1f} s within the last minute" if lag >= threshold else None

    def _beat(self) -> None:
        now = self._now()
        assert self._due is not None
        late = max(0.0, now - self._due)
        self._forget(now)
        self._late.append((now, late))
        if late >= WORTH_A_LINE:
            log.warning("the event loop was held up", seconds=round(late, 2))

    def _forget(self, now: float) -> None:
        while self._late and self._late[0][0] < now - REMEMBER:
            self._late.popleft()

    def _now(self) -> float:
        return self._clock() if self._clock else asyncio.get_running_loop().time()
