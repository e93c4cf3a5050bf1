"""Keys that wait for their turn, in lanes that never wait for one another.

What waits for a key is one run, at the earliest time that anybody asked for: adding a key twice gives one run, adding
it now makes a later run that was planned superfluous (the handler asks again for what it still wants). A key is never
handled twice at the same time: what is added while it is handled runs afterwards. A lane is a share of the workers, so
that the keys of one slow issuer cannot take the turns of another; a key that is added to another lane moves there.

There is no task for a key that waits: delayed keys are a heap with one timer, and a task lives only while it handles.
So ten thousand waiting keys cost a dictionary entry each.

Nor do ten thousand keys that become due at once hold up the event loop: in one turn of it `BEGUN_AT_ONCE` handlers are
begun, and lanes that have keys left go on in the next, in the order in which they were left.
"""

from __future__ import annotations

import asyncio
import heapq
import random as random_module
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import structlog

from issuer.kube.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

log = structlog.get_logger(__name__)

PATIENCE: Final = 30.0
"""Seconds after which a RETRY that is due has its share beside the NEW ones: a flood cannot hold it back for ever."""
SHARE: Final = 4
"""Of so many places one goes to such a RETRY, and the others to NEW ones: neither can hold back the other for ever."""
BEGUN_AT_ONCE: Final = 24
"""Handlers that are begun in one turn of the event loop; each runs to its first wait before anything else does."""


class TryAgainError(Exception):
    """What a handler raises to be called again after the backoff, when it has told the log itself what went wrong."""


class Priority(IntEnum):
    """Which keys of a lane go first."""

    NEW = 0
    RETRY = 1


NEW: Final = Priority.NEW
RETRY: Final = Priority.RETRY

K = TypeVar("K", bound="Hashable")


@dataclass(slots=True)
class _Waiting:
    """What waits for one key. `due` is loop time; `order` tells a live heap entry from a stale one."""

    lane: str
    priority: Priority
    due: float
    order: int
    is_ready: bool


@dataclass(slots=True)
class _Lane(Generic[K]):
    """The due keys of a lane by priority, longest waiting first, and how many of its keys are being handled."""

    ready: tuple[OrderedDict[K, None], OrderedDict[K, None]] = field(
        default_factory=lambda: (OrderedDict(), OrderedDict())
    )
    running: int = 0
    new_in_a_row: int = 0


class WorkQueue(Generic[K]):
    """A deduplicating queue of keys with delays, priorities and lanes. To be used on one event loop.

    Args:
        random: for the jitter of the backoff after a handler has failed.
        min_backoff: seconds until the first repetition after a failure; doubled with each.
        max_backoff: seconds it grows to.
        patience: seconds after which a RETRY that is due has one of `SHARE` places, although NEW ones wait.
    """

    def __init__(
        self,
        *,
        random: random_module.Random | None = None,
        min_backoff: float = 0.5,
        max_backoff: float = 60.0,
        patience: float = PATIENCE,
    ) -> None:
        self._random = random or random_module.Random()
        self._bounds = (min_backoff, max_backoff)
        self._patience = patience
        self._waiting: dict[K, _Waiting] = {}
        self._delayed: list[tuple[float, int, K]] = []
        self._order = count()
        self._lanes: dict[str, _Lane[K]] = {}
        self._running: dict[K, asyncio.Task[None]] = {}
        self._running_lane: dict[K, str] = {}
        self._backoffs: dict[K, Backoff] = {}
        self._timer: asyncio.Handle | None = None
        self._timer_due = 0.0
        self._handler: Callable[[K], Awaitable[None]] | None = None
        self._per_lane = 0
        self._begun = 0
        self._held: dict[str, None] = {}
        """Lanes with room and due keys that wait for the next turn of the event loop; longest waiting first."""
        self._stopped = asyncio.Event()

    def add(self, key: K, *, lane: str = "", priority: Priority = NEW) -> None:
        """Have a key handled as soon as its lane has room."""
        self.add_after(key, 0.0, lane=lane, priority=priority)

    def add_after(self, key: K, delay_seconds: float, *, lane: str = "", priority: Priority = RETRY) -> None:
        """Have a key handled in so many seconds, or earlier if it waits for an earlier run already.

        The lane told last counts, and the higher priority of all that were told.
        """
        now = asyncio.get_running_loop().time()
        due, old = now + max(0.0, delay_seconds), self._waiting.get(key)
        if old is not None:
            due, priority = min(due, old.due), min(priority, old.priority)
            if (due <= now) == old.is_ready and (due, lane, priority) == (old.due, old.lane, old.priority):
                return  # it keeps its place
            self._forget(key, old)
        waiting = _Waiting(lane, priority, due, next(self._order), is_ready=False)
        self._waiting[key] = waiting
        if due <= now:
            self._make_ready(key, waiting)
        else:
            heapq.heappush(self._delayed, (due, waiting.order, key))
            self._set_timer()

    async def run(self, handler: Callable[[K], Awaitable[None]], *, per_lane: int) -> None:
        """Handle keys until `drain` is called; when cancelled, cancel the handlers too and wait for them.

        A handler that raises is logged with its key, and the key is handled again after a backoff.

        Args:
            handler: what to do with a key.
            per_lane: handlers of one lane at the same time, at the most.
        """
        self._handler, self._per_lane = handler, per_lane
        self._stopped.clear()
        for lane in list(self._lanes):
            self._start_some(lane)
        self._set_timer()
        try:
            await self._stopped.wait()
        finally:
            await self.drain(0.0)

    async def drain(self, grace: float) -> None:
        """Take no more keys, wait `grace` seconds for the running handlers, then cancel them and wait for that."""
        self._handler = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        running = set(self._running.values())
        if running and grace > 0:
            _, running = await asyncio.wait(running, timeout=grace)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        self._stopped.set()

    def __contains__(self, key: K) -> bool:
        """Whether a key waits for a run, or is being handled."""
        return key in self._waiting or key in self._running

    @property
    def depth(self) -> int:
        """Keys that are due and wait for room in their lane."""
        return sum(len(ready) for lane in self._lanes.values() for ready in lane.ready)

    @property
    def delayed(self) -> int:
        """Keys that wait for their time."""
        return sum(not waiting.is_ready for waiting in self._waiting.values())

    @property
    def running(self) -> int:
        """Keys that are being handled."""
        return len(self._running)

    @property
    def lanes(self) -> int:
        """Lanes in which a key is due or being handled."""
        return len(self._lanes)

    @property
    def oldest_wait(self) -> float:
        """Seconds that the longest waiting key has been due; 0 if none is."""
        now = asyncio.get_running_loop().time()
        return max((now - waiting.due for waiting in self._waiting.values() if waiting.is_ready), default=0.0)

    def _make_ready(self, key: K, waiting: _Waiting) -> None:
        waiting.is_ready = True
        if key in self._running:
            return  # it gets into its lane when the handler is done with it
        lane = self._lanes.setdefault(waiting.lane, _Lane())
        lane.ready[waiting.priority][key] = None
        self._start_some(waiting.lane)

    def _start_some(self, name: str) -> None:
        lane = self._lanes[name]
        while self._handler is not None and lane.running < self._per_lane and any(lane.ready):
            if self._begun >= BEGUN_AT_ONCE:
                self._held.setdefault(name)
                return
            if not self._begun:
                asyncio.get_running_loop().call_soon(self._go_on)
            self._begun += 1
            key = self._next_of(lane)
            del self._waiting[key]
            lane.running += 1
            self._running_lane[key] = name
            task = asyncio.get_running_loop().create_task(self._handle(self._handler, key))
            self._running[key] = task
            task.add_done_callback(partial(self._done, key))

    def _go_on(self) -> None:
        """In the next turn of the loop, with the lanes that were held; one that has still more goes to the end."""
        self._begun = 0
        for name in list(self._held):
            if self._begun >= BEGUN_AT_ONCE:
                return
            del self._held[name]
            if name in self._lanes:
                self._start_some(name)

    def _next_of(self, lane: _Lane[K]) -> K:
        new, retried = lane.ready
        if new and retried:
            oldest = self._waiting[next(iter(retried))].due
            is_old = asyncio.get_running_loop().time() - oldest > self._patience
            lane.new_in_a_row = (lane.new_in_a_row + 1) % SHARE if is_old else 0
            if is_old and not lane.new_in_a_row:
                return retried.popitem(last=False)[0]
        return (new or retried).popitem(last=False)[0]

    async def _handle(self, handler: Callable[[K], Awaitable[None]], key: K) -> None:
        try:
            await handler(key)
        except asyncio.CancelledError:
            # By `drain`, or by something in the handler that went astray: either way the key is not done.
            self._again(key)
            raise
        except TryAgainError:
            self._again(key)
        except Exception:
            delay = self._again(key)
            log.exception("handling failed", key=str(key), retry_in=round(delay, 1))
        else:
            self._backoffs.pop(key, None)

    def _again(self, key: K) -> float:
        delay = self._backoffs.setdefault(key, Backoff(*self._bounds, self._random)).next()
        waiting = self._waiting.get(key)
        self.add_after(key, delay, lane=waiting.lane if waiting else self._running_lane[key])
        return delay

    def _done(self, key: K, _: asyncio.Task[None]) -> None:
        del self._running[key]
        name = self._running_lane.pop(key)
        self._lanes[name].running -= 1
        waiting = self._waiting.get(key)
        if waiting is not None and waiting.is_ready:
            self._make_ready(key, waiting)
        self._start_some(name)
        self._forget_if_empty(name)

    def _forget(self, key: K, waiting: _Waiting) -> None:
        del self._waiting[key]
        lane = self._lanes.get(waiting.lane)
        if lane is not None and waiting.is_ready:
            lane.ready[waiting.priority].pop(key, None)
            self._forget_if_empty(waiting.lane)

    def _forget_if_empty(self, name: str) -> None:
        lane = self._lanes.get(name)
        if lane is not None and not lane.running and not any(lane.ready):
            del self._lanes[name]

    def _set_timer(self) -> None:
        """One timer, for the earliest entry of the heap that still counts.

        Its time is kept here and not asked of the handle: uvloop gives a plain Handle, which has no `when`, for a timer
        that is due at once.
        """
        if len(self._delayed) > 2 * len(self._waiting) + 64:
            # Keys that are added again and again leave entries that count no more; do not let them pile up.
            self._delayed = [entry for entry in self._delayed if self._counts(entry)]
            heapq.heapify(self._delayed)
        while self._delayed and not self._counts(self._delayed[0]):
            heapq.heappop(self._delayed)
        due = self._delayed[0][0] if self._delayed and self._handler is not None else None
        if self._timer is not None:
            if self._timer_due == due:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer, self._timer_due = asyncio.get_running_loop().call_at(due, self._due), due

    def _counts(self, entry: tuple[float, int, K]) -> bool:
        waiting = self._waiting.get(entry[2])
        return waiting is not None and not waiting.is_ready and waiting.order == entry[1]

    def _due(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._delayed and self._delayed[0][0] <= now:
            entry = heapq.heappop(self._delayed)
            if self._counts(entry):
                self._make_ready(entry[2], self._waiting[entry[2]])
        self._set_timer()
