"""How much is asked of one account: so many calls a second, so many at the same time.

Both limits are one queue, first come first served. aiolimiter's bucket was tried on paper and does not fit: its rate
cannot be changed while somebody waits (issuers that share an account come and go, and the strictest limit wins), and
its waiters cannot be sent away (when the breaker opens, everybody in the queue goes to the next authority at once).
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_EPSILON: Final = 1e-6
"""A bucket that lacks no more than this has a token: timers and floats are not exact."""


class SentAwayError(Exception):
    """The account cannot be asked any more; look at it again instead of waiting."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Calls a second in the long run, calls at once after a quiet time, calls under way at the same time."""

    rate: float = 4.0
    burst: int = 8
    in_flight: int = 10


class Limits:
    """A token bucket and an in-flight limit with one queue.

    Attributes:
        in_flight: calls under way.
    """

    def __init__(self, settings: LimitSettings, *, clock: Callable[[], float]) -> None:
        self.in_flight = 0
        self._settings = settings
        self._clock = clock
        self._tokens = float(settings.burst)
        self._filled = clock()
        self._queue: deque[asyncio.Future[bool]] = deque()
        self._timer: asyncio.Handle | None = None

    @property
    def settings(self) -> LimitSettings:
        """The limits in force; may be set at any time, those who wait included."""
        return self._settings

    @settings.setter
    def settings(self, settings: LimitSettings) -> None:
        self._fill()
        self._settings = settings
        self._tokens = min(self._tokens, float(settings.burst))
        self._pump()

    @property
    def waiting(self) -> int:
        """Length of the queue."""
        return sum(not place.done() for place in self._queue)

    async def acquire(self, until: float) -> Slot:
        """Wait for a token and a place in flight, no longer than to the loop time `until`.

        Raises:
            TimeoutError: the time is up.
            SentAwayError: `send_away` was called.
        """
        place = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        self._pump()
        try:
            async with asyncio.timeout_at(until):
                granted = await place
        except BaseException:
            if place.done() and not place.cancelled() and place.result():
                self._give_back(token=True)
            place.cancel()
            self._pump()
            raise
        if not granted:
            raise SentAwayError
        return Slot(self)

    def charge(self) -> None:
        """Take a token for a further call on a slot that is already held, in advance if there is none."""
        self._fill()
        self._tokens -= 1

    def send_away(self) -> None:
        """Everybody in the queue gets a `SentAwayError`."""
        queue, self._queue = self._queue, deque()
        for place in queue:
            if not place.done():
                place.set_result(False)

    def _pump(self) -> None:
        """Let in whoever may go; set a timer if only a token is missing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fill()
        while self._queue and self.in_flight < self._settings.in_flight:
            if self._queue[0].done():
                self._queue.popleft()
                continue
            if self._tokens < 1 - _EPSILON:
                delay = max((1 - self._tokens) / self._settings.rate, _EPSILON)
                self._timer = asyncio.get_running_loop().call_later(delay, self._pump)
                return
            self._tokens -= 1
            self.in_flight += 1
            self._queue.popleft().set_result(True)

    def _fill(self) -> None:
        now = self._clock()
        gained = (now - self._filled) * self._settings.rate
        self._tokens = min(float(self._settings.burst), self._tokens + gained)
        self._filled = now

    def _give_back(self, *, token: bool) -> None:
        self.in_flight -= 1
        if token:
            self._tokens = min(float(self._settings.burst), self._tokens + 1)
        self._pump()


class Slot:
    """A place in flight; released once."""

    __slots__ = ("_limits",)

    def __init__(self, limits: Limits) -> None:
        self._limits: Limits | None = limits

    def release(self, *, unused: bool = False) -> None:
        """Give the place back, and the token too if no call was made with it."""
        if self._limits is not None:
            limits, self._limits = self._limits, None
            limits._give_back(token=unused)  # noqa: SLF001 - the two are one thing
