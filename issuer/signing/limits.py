"""How much is asked of one account: so many calls a second, so many at the same time.

Every HTTP call takes a token, those of looks, checks and clean-up too, because the provider counts calls and not
operations. An operation has a place in flight, which comes with its first token.

There is a queue for each kind of work, first come first served, and signing goes first. So that nothing starves (a look
may be all that a request waits for), every `SHARE`-th token goes to the next kind that waits, if one does.

aiolimiter's bucket was tried on paper and does not fit: its rate cannot be changed while somebody waits (issuers that
share an account come and go, and the strictest limit wins), and its waiters cannot be sent away (when the breaker
opens, everybody in the queue goes to the next authority at once).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SHARE: Final = 4
"""Of so many tokens one goes to the next kind of work, while both wait."""
USE_FADES: Final = 60.0
"""Seconds after which a call counts by a third in how much of the limit was used lately."""
_EPSILON: Final = 1e-6
"""A bucket that lacks no more than this has a token: timers and floats are not exact."""


class Priority(IntEnum):
    """What a call is for, in the order in which calls go out."""

    SIGN = 0
    CHECK = 1
    LOOK = 2
    CLEAN_UP = 3


class SentAwayError(Exception):
    """The account cannot be asked any more; look at it again instead of waiting."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Calls a second in the long run, calls at once after a quiet time, calls under way at the same time."""

    rate: float = 4.0
    burst: int = 8
    in_flight: int = 10


class Limits:
    """A token bucket and an in-flight limit.

    Attributes:
        in_flight: operations under way.
    """

    def __init__(self, settings: LimitSettings, *, clock: Callable[[], float]) -> None:
        self.in_flight = 0
        self._settings = settings
        self._clock = clock
        self._tokens = float(settings.burst)
        self._filled = clock()
        self._recent = 0.0
        """Tokens that were taken, each fading with its age; as of `_recent_at`."""
        self._recent_at = clock()
        # Who holds a place and needs a token never stands behind somebody who needs a place.
        self._queues: dict[tuple[Priority, bool], deque[asyncio.Future[bool]]] = {
            (priority, needs_place): deque() for priority in Priority for needs_place in (False, True)
        }
        self._passed_over = 0
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
        """How many wait to sign."""
        return sum(not granted.done() for granted in self._queues[Priority.SIGN, True])

    @property
    def used(self) -> float:
        """Share of the rate that was used lately: 1 if every token was taken, more in a burst."""
        return self._faded() / (USE_FADES * self._settings.rate)

    async def acquire(self, until: float, priority: Priority = Priority.SIGN) -> Slot:
        """Wait for a token and a place in flight, no longer than to the loop time `until`.

        Raises:
            TimeoutError: the time is up.
            SentAwayError: `send_away` was called.
        """
        await self._wait(until, priority, needs_place=True)
        # What goes on after the first call is a look; it does not stand in the way of those who sign.
        return Slot(self, max(priority, Priority.LOOK))

    def send_away(self) -> None:
        """Everybody who waits for a place gets a `SentAwayError`; whoever has one goes on."""
        for priority in Priority:
            queue = self._queues[priority, True]
            while queue:
                granted = queue.popleft()
                if not granted.done():
                    granted.set_result(False)

    async def _wait(self, until: float, priority: Priority, *, needs_place: bool) -> None:
        granted = asyncio.get_running_loop().create_future()
        self._queues[priority, needs_place].append(granted)
        self._pump()
        try:
            async with asyncio.timeout_at(until):
                is_let_in = await granted
        except BaseException:
            if granted.done() and not granted.cancelled() and granted.result():
                self._give_back(token=True, place=needs_place)
            granted.cancel()
            self._pump()
            raise
        if not is_let_in:
            raise SentAwayError

    def _pump(self) -> None:
        """Let in whoever may go; set a timer if only a token is missing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fill()
        while (turn := self._next()) is not None:
            if self._tokens < 1 - _EPSILON:
                delay = max((1 - self._tokens) / self._settings.rate, _EPSILON)
                self._timer = asyncio.get_running_loop().call_later(delay, self._pump)
                return
            (priority, needs_place), is_passing = turn
            self._passed_over = self._passed_over + 1 if is_passing else 0
            self._tokens -= 1
            self._recent, self._recent_at = self._faded() + 1, self._clock()
            self.in_flight += needs_place
            self._queues[priority, needs_place].popleft().set_result(True)

    def _next(self) -> tuple[tuple[Priority, bool], bool] | None:
        """The queue whose turn it is, and whether it passes others by that also could go.

        It is the most important one, or that of the next kind of work in every `SHARE`-th turn.
        """
        able = self._able()
        others = [key for key in able if key[0] != able[0][0]]
        if others and self._passed_over >= SHARE - 1:
            return others[0], False
        return (able[0], bool(others)) if able else None

    def _able(self) -> list[tuple[Priority, bool]]:
        """The queues whose head may go as soon as there is a token."""
        able = []
        for (priority, needs_place), queue in self._queues.items():
            while queue and queue[0].done():
                queue.popleft()
            if queue and (not needs_place or self.in_flight < self._settings.in_flight):
                able.append((priority, needs_place))
        return able

    def _fill(self) -> None:
        now = self._clock()
        gained = (now - self._filled) * self._settings.rate
        self._tokens = min(float(self._settings.burst), self._tokens + gained)
        self._filled = now

    def _faded(self) -> float:
        return self._recent * math.exp((self._recent_at - self._clock()) / USE_FADES)

    def _give_back(self, *, token: bool, place: bool = True) -> None:
        self.in_flight -= place
        if token:
            self._recent = max(0.0, self._recent - 1)
            self._tokens = min(float(self._settings.burst), self._tokens + 1)
        self._pump()


class Slot:
    """A place in flight; released once."""

    __slots__ = ("_limits", "_prepaid", "_priority")

    def __init__(self, limits: Limits, priority: Priority) -> None:
        self._limits: Limits | None = limits
        self._priority = priority
        self._prepaid = True

    async def token(self, until: float) -> None:
        """Take a token for a call; that of the first one came with the place.

        Raises:
            TimeoutError: it is not there by the loop time `until`.
        """
        if self._prepaid or self._limits is None:
            self._prepaid = False
            return
        await self._limits._wait(until, self._priority, needs_place=False)  # noqa: SLF001 - the two are one thing

    async def prepay(self, until: float) -> None:
        """Take the token of the next call now, as one that signs, if it is not there already.

        Raises:
            TimeoutError: it is not there by the loop time `until`.
        """
        if not self._prepaid and self._limits is not None:
            await self._limits._wait(until, Priority.SIGN, needs_place=False)  # noqa: SLF001 - the two are one thing
            self._prepaid = True

    def release(self, *, unused: bool = False) -> None:
        """Give the place back, and the token too if no call was made with it."""
        if self._limits is not None:
            limits, self._limits = self._limits, None
            limits._give_back(token=unused)  # noqa: SLF001 - the two are one thing
