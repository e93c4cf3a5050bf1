"""When each key is looked at next. Of all that belongs to a controller only this touches its work queue.

A controller is level-triggered: `reconcile(key)` looks at what is there, acts once, and returns a `Result` that says
when to look again. Whatever else is a reason to look comes here as `changed` (news of the object) or `wake` (news of
something it waits for). All of them only ever bring a look forward; none can take away one that was planned.

    unknown ── changed, wake ──▶ planned ── its time, room in its lane ──▶ being looked at
       ▲                           ▲                                            │
       └── Result(None): over ─────┴── Result(when), or it raised: backoff ─────┘

What was asked for while a key was being looked at is done afterwards, also where the look said that it is over.

A deadline is an alarm apart from all that, because a look may have to queue for its lane, behind others of its issuer
that wait for an authority. When it rings, the key goes to a second lane of its issuer, and stays there whoever asks for
a look later on.

The invariant: *a key that is not over has a next look within `LATEST` seconds, and one at its deadline.* A `Result`
cannot ask for a later look. What a defect, an exception in a handler, or a lost piece of news may still break, `heal`
repairs: the controller calls it for each of its open keys every so often, and counts what there was to repair.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from issuer.kube.queue import Priority

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from issuer.kube.queue import WorkQueue

LATEST: Final = 60.0
"""Seconds until the next look at a key that is not over, at the most."""

SAME: Final = 0.001
"""Seconds. Two deadlines that are closer than this are one that was reckoned from two clocks."""

K = TypeVar("K", bound="Hashable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one look at a key came to.

    Attributes:
        look_again_at: loop time; None: it is over, forget it.
        lane: where to look again.
    """

    look_again_at: float | None = None
    lane: str = ""


OVER: Final = Result()


class Agenda(Generic[K]):
    """The next looks of one controller. To be used on one event loop."""

    def __init__(self, queue: WorkQueue[K]) -> None:
        self._queue = queue
        self._alarms: dict[K, tuple[float, asyncio.TimerHandle | asyncio.Handle]] = {}
        self._rung: set[K] = set()

    async def run(self, reconcile: Callable[[K], Awaitable[Result]], *, per_lane: int) -> None:
        """Look at keys until the queue is drained.

        Args:
            reconcile: looks at one key. What it raises is logged, and the key looked at again after a backoff.
            per_lane: looks of one lane at the same time, at the most.
        """

        async def look(key: K) -> None:
            self._follow(key, await reconcile(key))

        await self._queue.run(look, per_lane=per_lane)

    def changed(self, key: K, lane: str) -> None:
        """There is news of it: look now, before what is only repeated."""
        self._queue.add(key, lane=self._lane(key, lane), priority=Priority.NEW)

    def wake(self, key: K, lane: str) -> None:
        """What it waits for may be there: look now."""
        self._queue.add(key, lane=self._lane(key, lane), priority=Priority.RETRY)

    def expect(self, key: K, lane: str, deadline: float) -> None:
        """Look at it at that loop time whatever else happens; at once, if that has passed.

        A timer may fire some milliseconds early (uvloop's do): who finds the deadline still to come expects it again.
        """
        at, alarm = self._alarms.get(key, (None, None))
        if at is not None and key not in self._rung and abs(at - deadline) < SAME:
            return
        if alarm is not None:
            alarm.cancel()
        self._rung.discard(key)
        loop = asyncio.get_running_loop()
        self._alarms[key] = deadline, loop.call_at(max(deadline, loop.time()), self._ring, key, lane)

    def heal(self, key: K, lane: str, deadline: float | None) -> bool:
        """Restore the invariant for a key that is not over; whether there was anything to restore.

        Args:
            key: what should be looked at.
            lane: where.
            deadline: loop time of the alarm that it should have, or None.
        """
        broken = False
        if deadline is not None and key not in self._alarms:
            broken = True
            self.expect(key, lane, deadline)
        if key not in self._queue:
            broken = True
            self.wake(key, lane)
        return broken

    def forget(self, key: K) -> None:
        """It is over. A look that is planned already is not taken back."""
        _, alarm = self._alarms.pop(key, (0.0, None))
        if alarm is not None:
            alarm.cancel()
        self._rung.discard(key)

    def _follow(self, key: K, result: Result) -> None:
        if result.look_again_at is None:
            self.forget(key)
            return
        delay = min(result.look_again_at - asyncio.get_running_loop().time(), LATEST)
        self._queue.add_after(key, delay, lane=self._lane(key, result.lane), priority=Priority.RETRY)

    def _ring(self, key: K, lane: str) -> None:
        self._rung.add(key)
        self.changed(key, lane)

    def _lane(self, key: K, lane: str) -> str:
        return f"{lane} deadline" if key in self._rung else lane
