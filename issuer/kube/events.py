"""Kubernetes Events: what `kubectl describe` shows under an object. Word for people, so never worth waiting for.

`emit` only takes a note; a few tasks write the notes down, those about one object one after the other, in their order.
What cannot be written is given up, counted, and told in the log now and then. A thing that happens again and again to
one object (the same type, reason and, apart from its numbers, message) is one Event whose count goes up, written at
most every half minute. An object that has too many different things to say is silenced for a while.

A burst is kept, not dropped: thousands of requests may end within a second, when their authority is back or their
deadline is reached, and an API server takes some tens of Events a second from one writer.
"""

from __future__ import annotations

import asyncio
import heapq
import re
import time
from collections import OrderedDict
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Final

import structlog

from issuer.kube.errors import ApiError, KubeError, ServerError, ThrottledError, UnreachableError
from issuer.kube.eventwriter import MAX_NOTE, EventType, EventWriter, ObjectReference, Series, fitting

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.kube.eventwriter import Writer

__all__ = ["MAX_NOTE", "MAX_WAITING", "WRITERS", "EventRecorder", "EventType", "ObjectReference"]

log = structlog.get_logger(__name__)

INTERVAL: Final = 30.0
"""Seconds between two writes of the same Event."""
FORGET: Final = 600.0
"""Seconds after which a thing that happens again is a new Event."""
WRITERS: Final = 8
"""Events that are written at the same time."""
MAX_WAITING: Final = 10_000
"""Events that wait to be written; more are given up. At about 1 KB each."""
MAX_REMEMBERED: Final = MAX_WAITING
"""Events that may still be counted up, those that wait included."""
SPAM_BURST: Final = 10
"""New Events that one object may cause at once..."""
SPAM_REFILL: Final = 60.0
"""...and the seconds after which it may cause one more."""
ATTEMPTS: Final = 3
TELL_AGAIN: Final = 600.0
"""Seconds between two log lines about Events that are lost for the same reason."""

_Key = tuple[str, str, str, str]
_Entry = tuple[float, int, Series]
"""When it is due, its number in the order of the queue, and what is to be written."""


class EventRecorder:
    """Takes notes of what happens, and writes them as Events.

    Args:
        client: a `KubeClient`.
        component: names the controller; `reportingController` of the Events.
        instance: names this process; `reportingInstance`.
        monotonic: the clock for intervals.
        now: the wall clock, UTC, for the Events' times.
        observer: called with the outcome of each Event: `written`, or why it was given up: `silenced` (its object has
            too much to say), `queue_full`, `failed` (the API server would not have it) or `stopped`.

    Attributes:
        dropped: Events that were given up: too many, or the API server would not have them.
        written: writes that succeeded.
    """

    def __init__(
        self,
        client: Writer,
        component: str,
        instance: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        observer: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        self.dropped = 0
        self.written = 0
        self._writer = EventWriter(client, component, instance)
        self._monotonic = monotonic
        self._now = now
        self._observer = observer
        self._series: OrderedDict[_Key, Series] = OrderedDict()
        self._waiting: list[_Entry] = []
        self._order = count()
        self._busy: set[str] = set()
        self._held: dict[str, list[_Entry]] = {}
        self._allowances: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._told: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._workers = 0
        self._is_stopping = False
        self._ended = False

    def emit(self, regarding: ObjectReference, type_: EventType, reason: str, message: str, *, once: str = "") -> None:
        """Take a note. Never blocks, never raises; must be called on the event loop.

        Args:
            regarding: the object it is about.
            type_: `Warning` is what a person should look at.
            reason: one word in camel case, for machines.
            message: for people; at most `MAX_NOTE` bytes are kept. No secret, no CSR.
            once: names the Event, with its object, as lower-case letters and digits: a process that comes after this
                one, and says it again, then makes no second one for as long as the first is kept.
        """
        clock, now = self._monotonic(), self._now()
        key = (regarding.who, type_, reason, _family(message))
        series = self._series.get(key)
        if series is not None and clock - series.happened < FORGET:
            series.count += 1
            series.last, series.happened, series.message = now, clock, fitting(message)
            self._series.move_to_end(key)
            if not series.waits:
                self._enqueue(series, max(clock, series.due))
            return
        if not self._allowed(regarding.who, clock):
            self._lost("silenced")
            return
        if len(self._waiting) >= MAX_WAITING:
            self._lost("queue_full")
            return
        new = self._series[key] = Series(
            regarding, type_, reason, fitting(message), first=now, last=now, happened=clock
        )
        new.suffix = once or new.suffix
        self._series.move_to_end(key)
        if len(self._series) > MAX_REMEMBERED:
            self._series.popitem(last=False)
        self._enqueue(new, clock)

    async def run(self) -> None:
        """Write what is due, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WRITERS):
                tasks.create_task(self._work())

    async def drain(self, grace: float) -> None:
        """Write all that waits, counts included, for at most `grace` seconds; what is left then is given up."""
        self._is_stopping = True
        self._wake.set()
        try:
            async with asyncio.timeout(grace), asyncio.TaskGroup() as tasks:
                for _ in range(max(1, WRITERS - self._workers)):
                    tasks.create_task(self._work_off())
        except TimeoutError:
            pass
        self._ended = True
        for _ in range(len(self._waiting) + sum(map(len, self._held.values()))):
            self._lost("stopped")
        self._waiting.clear()
        self._held.clear()

    async def _work(self) -> None:
        self._workers += 1
        try:
            while True:
                await self._write_next()
        finally:
            self._workers -= 1

    async def _work_off(self) -> None:
        while self._waiting or self._busy:
            await self._write_next()

    async def _write_next(self) -> None:
        """Write one that is due; where none is, wait until one may be."""
        series = self._take()
        if series is not None:
            try:
                await self._write(series)
            finally:
                self._release(series.regarding.who)
            return
        self._wake.clear()
        wait = self._waiting[0][0] - self._monotonic() if self._waiting and not self._is_stopping else None
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _enqueue(self, series: Series, due: float) -> None:
        series.waits, series.due = True, due
        heapq.heappush(self._waiting, (due, next(self._order), series))
        self._wake.set()

    def _take(self) -> Series | None:
        """The next one that is due; those of an object that is being written about are held until that is done."""
        clock = self._monotonic()
        while self._waiting and (self._is_stopping or self._waiting[0][0] <= clock):
            entry = heapq.heappop(self._waiting)
            series = entry[2]
            who = series.regarding.who
            if who not in self._busy:
                self._busy.add(who)
                return series
            self._held.setdefault(who, []).append(entry)
        return None

    def _release(self, who: str) -> None:
        self._busy.discard(who)
        for entry in self._held.pop(who, ()):
            heapq.heappush(self._waiting, entry)
        self._wake.set()

    def _allowed(self, who: str, clock: float) -> bool:
        """A token bucket for each object."""
        tokens, since = self._allowances.pop(who, (float(SPAM_BURST), clock))
        tokens = min(float(SPAM_BURST), tokens + (clock - since) / SPAM_REFILL)
        allowed = tokens >= 1
        self._allowances[who] = (tokens - 1 if allowed else tokens, clock)
        if len(self._allowances) > MAX_REMEMBERED:
            self._allowances.popitem(last=False)
        return allowed

    async def _write(self, series: Series) -> None:
        # It counts as waiting until it is written, so that what happens meanwhile does not queue it a second time.
        total = series.count
        try:
            await self._writer.write(series)
        except (UnreachableError, ThrottledError, ServerError) as error:
            series.failures += 1
            if series.failures < ATTEMPTS and not self._ended:
                pause = 2.0**series.failures
                if isinstance(error, ApiError) and error.retry_after:
                    pause = max(pause, error.retry_after)
                self._enqueue(series, self._monotonic() + pause)
                return
            self._give_up(series, error)
        except KubeError as error:
            self._give_up(series, error)
        except asyncio.CancelledError:
            if self._ended:
                self._lost("stopped")
            else:
                self._enqueue(series, series.due)  # for `drain`
            raise
        else:
            self.written += 1
            self._observer("written")
            series.failures = 0
        series.waits, series.due = False, self._monotonic() + INTERVAL
        if series.count > total and not self._ended:
            self._enqueue(series, series.due)

    def _give_up(self, series: Series, error: KubeError) -> None:
        series.failures = 0
        self._lost("failed", error=str(error), namespace=series.namespace, name=series.regarding.name)

    def _lost(self, why: str, **details: str) -> None:
        """Count it; the log has one line for each reason in ten minutes, a metric has the rest."""
        self.dropped += 1
        self._observer(why)
        clock = self._monotonic()
        if why != "silenced" and clock - self._told.get(why, -TELL_AGAIN) >= TELL_AGAIN:
            self._told[why] = clock
            log.warning("Events are lost", reason=why, lost_so_far=self.dropped, **details)


def _family(message: str) -> str:
    """The message without what differs each time: numbers, trace ids, durations."""
    return re.sub(r"\S*\d\S*", "#", message)
