"""Kubernetes Events: what `kubectl describe` shows under an object. Word for people, so never worth waiting for.

`emit` only takes a note; one task writes. What cannot be written is dropped and counted. A thing that happens again
and again to one object (the same type, reason and, apart from its numbers, message) is one Event whose count goes up,
written at most every half minute. An object that has too many different things to say is silenced for a while.

Written with events.k8s.io/v1; where that API is missing or only core Events are allowed, with core v1. In
events.k8s.io/v1 only `series` may change later (Kubernetes: `pkg/apis/core/validation/events.go`), so a repeated
Event keeps the text it began with.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import re
import secrets
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import msgspec

from issuer.api.meta import format_micro_time, format_time
from issuer.kube.client import MERGE_PATCH
from issuer.kube.errors import (
    AlreadyExistsError,
    ApiError,
    ForbiddenError,
    KubeError,
    NotFoundError,
    ServerError,
    ThrottledError,
    UnreachableError,
)
from issuer.kube.resource import CORE_EVENTS, EVENTS, Resource

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

EventType = Literal["Normal", "Warning"]

INTERVAL: Final = 30.0
"""Seconds between two writes of the same Event."""
FORGET: Final = 600.0
"""Seconds after which a thing that happens again is a new Event."""
MAX_WAITING: Final = 1000
"""Events that wait to be written; more are dropped."""
MAX_REMEMBERED: Final = 4096
"""Events that may still be counted up."""
SPAM_BURST: Final = 10
"""New Events that one object may cause at once..."""
SPAM_REFILL: Final = 60.0
"""...and the seconds after which it may cause one more."""
MAX_NOTE: Final = 1024
"""Bytes of a message in UTF-8 (Kubernetes: `pkg/apis/core/validation/events.go`, legacy and new validation)."""
_ELLIPSIS: Final = "…"
ATTEMPTS: Final = 3


class Writer(Protocol):
    """The part of `KubeClient` that is needed here."""

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        """Make an object."""
        ...

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: bytes, *, content_type: str = MERGE_PATCH
    ) -> bytes:
        """Change an object."""
        ...


class ObjectReference(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The object that an Event is about."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""


@dataclass(slots=True)
class _Series:
    """One Event, and how often it has happened. Times without a zone are the recorder's monotonic clock."""

    regarding: ObjectReference
    type: str
    reason: str
    message: str
    first: datetime
    last: datetime
    happened: float
    count: int = 1
    due: float = 0.0
    waits: bool = False
    failures: int = 0
    name: str = ""
    suffix: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def namespace(self) -> str:
        """Events about cluster-scoped objects live in `default`."""
        return self.regarding.namespace or "default"


_Key = tuple[str, str, str, str]


class EventRecorder:
    """Takes notes of what happens, and writes them as Events.

    Args:
        client: a `KubeClient`.
        component: names the controller; `reportingController` of the Events.
        instance: names this process; `reportingInstance`.
        monotonic: the clock for intervals.
        now: the wall clock, UTC, for the Events' times.

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
    ) -> None:
        self.dropped = 0
        self.written = 0
        self._client = client
        self._component = component
        self._instance = instance[:128]
        self._monotonic = monotonic
        self._now = now
        self._series: OrderedDict[_Key, _Series] = OrderedDict()
        self._waiting: list[tuple[float, int, _Series]] = []
        self._order = count()
        self._allowances: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._use_core = False

    def emit(self, regarding: ObjectReference, type_: EventType, reason: str, message: str) -> None:
        """Take a note. Never blocks, never raises; must be called on the event loop.

        Args:
            regarding: the object it is about.
            type_: `Warning` is what a person should look at.
            reason: one word in camel case, for machines.
            message: for people; at most `MAX_NOTE` bytes are kept. No secret, no CSR.
        """
        who = regarding.uid or f"{regarding.kind}/{regarding.namespace}/{regarding.name}"
        key = (who, type_, reason, _family(message))
        clock, now = self._monotonic(), self._now()
        series = self._series.get(key)
        if series is not None and clock - series.happened < FORGET:
            series.count += 1
            series.last, series.happened, series.message = now, clock, _cut(message)
            self._series.move_to_end(key)
            if not series.waits:
                self._enqueue(series, max(clock, series.due))
            return
        if not self._allowed(who, clock) or len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        series = _Series(regarding, type_, reason, _cut(message), first=now, last=now, happened=clock)
        self._series[key] = series
        self._series.move_to_end(key)
        if len(self._series) > MAX_REMEMBERED:
            self._series.popitem(last=False)
        self._enqueue(series, clock)

    async def run(self) -> None:
        """Write what is due, until cancelled."""
        while True:
            wait = self._waiting[0][0] - self._monotonic() if self._waiting else None
            if wait is not None and wait <= 0:
                async with self._writing:
                    if self._waiting:  # `drain` may have written it meanwhile
                        await self._write_next()
                continue
            self._wake.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def drain(self, grace: float) -> None:
        """Write all that waits, counts included, for at most `grace` seconds; what is left then is dropped."""
        try:
            async with asyncio.timeout(grace), self._writing:
                while self._waiting:
                    await self._write_next()
        except TimeoutError:
            pass
        self.dropped += len(self._waiting)
        self._waiting.clear()

    def _enqueue(self, series: _Series, due: float) -> None:
        series.waits, series.due = True, due
        heapq.heappush(self._waiting, (due, next(self._order), series))
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

    async def _write_next(self) -> None:
        # It counts as waiting until it is written, so that what happens meanwhile does not queue it a second time.
        series = heapq.heappop(self._waiting)[2]
        total = series.count
        try:
            await self._write(series)
        except (UnreachableError, ThrottledError, ServerError) as error:
            series.failures += 1
            if series.failures < ATTEMPTS:
                pause = 2.0**series.failures
                if isinstance(error, ApiError) and error.retry_after:
                    pause = max(pause, error.retry_after)
                self._enqueue(series, self._monotonic() + pause)
                return
            self._give_up(series, error)
        except KubeError as error:
            self._give_up(series, error)
        except asyncio.CancelledError:
            self._enqueue(series, series.due)  # for `drain`
            raise
        else:
            self.written += 1
            series.failures = 0
        series.waits, series.due = False, self._monotonic() + INTERVAL
        if series.count > total:
            self._enqueue(series, series.due)

    def _give_up(self, series: _Series, error: KubeError) -> None:
        self.dropped += 1
        series.failures = 0
        logger.info(
            "an Event could not be written: %s",
            error,
            extra={"key": f"{series.namespace}/{series.regarding.name}", "reason": series.reason},
        )

    async def _write(self, series: _Series) -> None:
        if series.name:
            try:
                body = msgspec.json.encode(self._update(series))
                await self._client.patch(self._resource, series.namespace, series.name, body)
            except NotFoundError:
                series.name = ""  # Events live for an hour; this one is gone, so a new one begins
                series.suffix = secrets.token_hex(8)
            else:
                return
        try:
            await self._create(series, self._resource)
        except (NotFoundError, ForbiddenError):
            if self._use_core:
                raise
            # The API is missing, or only core Events are allowed; if it was the namespace, this fails alike.
            await self._create(series, CORE_EVENTS)
            self._use_core = True

    async def _create(self, series: _Series, resource: Resource) -> None:
        name = f"{series.regarding.name[:200].rstrip('.-')}.{series.suffix}"
        event = self._core_event(series, name) if resource is CORE_EVENTS else self._event(series, name)
        with suppress(AlreadyExistsError):  # written by an earlier attempt whose answer was lost
            await self._client.create(resource, series.namespace, msgspec.json.encode(event))
        series.name = name

    @property
    def _resource(self) -> Resource:
        return CORE_EVENTS if self._use_core else EVENTS

    def _event(self, series: _Series, name: str) -> dict[str, Any]:
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": series.namespace},
            "eventTime": format_micro_time(series.first),
            "reportingController": self._component,
            "reportingInstance": self._instance,
            "action": series.reason,
            "reason": series.reason,
            "type": series.type,
            "note": series.message,
            "regarding": series.regarding,
        }
        return event | self._update(series) if series.count > 1 else event

    def _core_event(self, series: _Series, name: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": series.namespace},
            "involvedObject": series.regarding,
            "reason": series.reason,
            "type": series.type,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
            "firstTimestamp": format_time(series.first),
            "lastTimestamp": format_time(series.last),
            "count": series.count,
            "message": series.message,
        }

    def _update(self, series: _Series) -> dict[str, Any]:
        """What changes when it happens again."""
        if self._use_core:
            return {"count": series.count, "lastTimestamp": format_time(series.last), "message": series.message}
        # A series begins at two (validation of events.k8s.io/v1).
        return {"series": {"count": max(2, series.count), "lastObservedTime": format_micro_time(series.last)}}


def _family(message: str) -> str:
    """The message without what differs each time: numbers, trace ids, durations."""
    return re.sub(r"\S*\d\S*", "#", message)


def _cut(message: str) -> str:
    encoded = message.encode()
    if len(encoded) <= MAX_NOTE:
        return message
    return encoded[: MAX_NOTE - len(_ELLIPSIS.encode())].decode(errors="ignore") + _ELLIPSIS
