"""List, then watch, for ever: keeps somebody else's picture of one collection true.

Written by hand because the library's Watch re-connects at once on an error body, repeats a 410 with the same
resourceVersion, and hangs for ever on a half-open connection. Here:

- a list comes in pages, each decoded on its own, with a turn for the event loop in between;
- a watch asks for bookmarks, has a server-side timeout (spread, so that not all watches end at once) and a client-side
  inactivity timeout;
- a connection that breaks is watched again from the last resourceVersion; an ERROR event or an event that nobody can
  read mean a new list; either way after a backoff with jitter;
- 410 is no failure: what was kept is too old, so that a new list follows at once, but no second one without a pause;
- 429 is waited for as long as it says, up to `THROTTLED`; it neither inherits nor lengthens the backoff of failures;
- nothing counts as gone because a list failed, not even when the resource itself is missing: while an API server
  starts, it may answer 404 for resources that it will serve a moment later.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import structlog

from issuer.kube.backoff import Backoff
from issuer.kube.client import decode
from issuer.kube.errors import (
    ApiError,
    ForbiddenError,
    GoneError,
    InvalidError,
    KubeError,
    NotFoundError,
    ServerError,
    ThrottledError,
    UnreachableError,
    error_from,
)

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator, Callable, Mapping

    from issuer.kube.resource import Resource

log = structlog.get_logger(__name__)

PAGE_SIZE: Final = 500
WATCH_TIMEOUT: Final = (300.0, 600.0)
"""Seconds after which the server is asked to end a watch: a random number between the two."""
INACTIVITY: Final = 120.0
"""Seconds of silence after which a watch is opened again. Bookmarks come about once a minute."""
THROTTLED: Final = 60.0
"""Seconds that a Retry-After is obeyed at the most; for longer a replica should not be blind."""
HEALTHY_WATCH: Final = 5.0
"""Seconds that a watch must last for the next one to follow at once."""


class Source(Protocol):
    """The part of `KubeClient` that is needed here."""

    async def list(self, resource: Resource, namespace: str = "", *, query: Mapping[str, str] | None = None) -> bytes:
        """One page."""
        ...

    def stream(
        self,
        resource: Resource,
        namespace: str,
        query: Mapping[str, str],
        *,
        inactivity: float,
        opened: Callable[[], None] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The lines of a watch."""
        ...


class Sink(Protocol):
    """Who keeps the picture. Nothing in it may raise."""

    def page(self, body: bytes) -> None:
        """One page of a list; raises UnreachableError if it cannot be read."""
        ...

    def listed(self) -> None:
        """The list is complete: what no page held is gone."""
        ...

    def restarted(self) -> None:
        """A list begins: forget what the pages of an unfinished one held."""
        ...

    def event(self, type_: str, item: msgspec.Raw) -> None:
        """One object was ADDED, MODIFIED or DELETED."""
        ...


class _ListMeta(msgspec.Struct, rename={"continue_": "continue", "resource_version": "resourceVersion"}):
    resource_version: str = ""
    continue_: str = ""


class _PageMeta(msgspec.Struct):
    metadata: _ListMeta


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _WatchErrorEvent(Exception):  # noqa: N818 - the API's own word for it
    """The watch said ERROR; `error` is what it means."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(str(error))
        self.error = error


_PAGE_META: Final = msgspec.json.Decoder(_PageMeta)
_EVENT: Final = msgspec.json.Decoder(_Event)


class Reflector:
    """Keeps a sink true for one namespace, or for all of them if `namespace` is empty.

    Attributes:
        last_contact: loop time when the API server last answered something that made sense.
        last_attempt: loop time when a list or a watch last brought something or ended, well or not; it stays behind
            where the reflector itself is stuck, not where the API server is away.
        resource_missing: the API server does not know the resource (the CRD is not installed).
        field_selector: None as soon as the server has refused it.
    """

    def __init__(
        self,
        source: Source,
        resource: Resource,
        namespace: str,
        sink: Sink,
        *,
        field_selector: str | None,
        label_selector: str | None = None,
        random: random.Random,
        inactivity: float,
        watch_timeout: tuple[float, float],
    ) -> None:
        self.field_selector = field_selector
        self._label_selector = label_selector
        self.last_contact = float("-inf")
        self.last_attempt = float("-inf")
        self.resource_missing = False
        self._source = source
        self._resource = resource
        self._namespace = namespace
        self._sink = sink
        self._random = random
        self._inactivity = inactivity
        self._watch_timeout = watch_timeout
        self._backoff = Backoff(0.5, 30.0, random)
        self._throttle = Backoff(0.5, 30.0, random)
        self._version: str | None = None
        self._expired = False

    async def run(self) -> None:
        """List and watch until cancelled."""
        self._touch()
        while True:
            try:
                if self._version is None:
                    await self._list()
                if await self._watch(self._version or ""):
                    continue
                delay = self._backoff.next()
            except InvalidError as error:
                delay = self._refused(error)
            except (KubeError, _WatchErrorEvent) as error:
                cause = error.error if isinstance(error, _WatchErrorEvent) else error
                delay = self._pause_after(cause)
                if not isinstance(error, UnreachableError | ServerError | ThrottledError):
                    self._version = None
            self.last_attempt = asyncio.get_running_loop().time()
            await asyncio.sleep(delay)

    def forget(self) -> None:
        """List anew at the next `run`, instead of going on from where it was."""
        self._version = None

    async def _list(self) -> None:
        self._sink.restarted()
        query = {"limit": str(PAGE_SIZE)}
        while True:
            body = await self._source.list(self._resource, self._namespace, query=self._selected(query))
            meta = decode(body, _PAGE_META).metadata
            self._sink.page(body)
            self._touch()
            if not meta.continue_:
                break
            query["continue"] = meta.continue_
            # Decoding takes the event loop for itself; the lease and everybody else get a turn between two pages.
            await asyncio.sleep(0)
        if self.resource_missing:
            log.info("the resource is there now", resource=str(self._resource))
            self.resource_missing = False
        self._version = meta.resource_version
        self._sink.listed()

    async def _watch(self, version: str) -> bool:
        """Follow one watch to its end; whether it went well, so that the next one may follow at once."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(round(self._random.uniform(*self._watch_timeout))),
        }
        loop = asyncio.get_running_loop()
        began = float("inf")

        def opened() -> None:
            nonlocal began
            began = loop.time()
            self._touch()

        lines = self._source.stream(
            self._resource, self._namespace, self._selected(query), inactivity=self._inactivity, opened=opened
        )
        try:
            async with aclosing(lines):
                async for line in lines:
                    self._event(line)
                    self._well()
        finally:
            healthy = loop.time() - began >= HEALTHY_WATCH
            if healthy:
                self._well()
        return healthy

    def _event(self, line: bytes) -> None:
        try:
            event = _EVENT.decode(line)
            if event.type == "ERROR":
                raise _WatchErrorEvent(error_from(0, bytes(event.object)))
            version = _PAGE_META.decode(event.object).metadata.resource_version
        except msgspec.DecodeError as error:
            # Not a line that an API server writes; what else it may have left out nobody knows.
            self._version = None
            raise UnreachableError(f"a line of the watch cannot be read: {error}") from None
        self._touch()
        if event.type != "BOOKMARK":
            self._sink.event(event.type, event.object)
        self._version = version or self._version

    def _selected(self, query: dict[str, str]) -> dict[str, str]:
        selectors = {"fieldSelector": self.field_selector, "labelSelector": self._label_selector}
        return {**query, **{name: selector for name, selector in selectors.items() if selector}}

    def _refused(self, error: InvalidError) -> float:
        """400: most likely an older CRD that does not know the field selector."""
        self._version = None
        if self.field_selector is None:
            return self._failed(error)
        log.info("not filtered by the server, but here", resource=str(self._resource), error=str(error))
        self.field_selector = None
        return 0.0

    def _pause_after(self, error: KubeError) -> float:
        """Seconds to wait after whatever ended a list or a watch."""
        if isinstance(error, ThrottledError):
            return self._throttled(error)
        if isinstance(error, GoneError) and not self._expired:
            self._touch()
            self._expired = True
            log.info("listed again, since what was known is too old", resource=str(self._resource))
            return 0.0
        return self._failed(error)

    def _throttled(self, error: ThrottledError) -> float:
        """429: as long as the server says, within a bound; where it says nothing, a backoff of its own."""
        self._touch()
        delay = max(self._throttle.next(), min(error.retry_after or 0.0, THROTTLED))
        log.info("watch held back", resource=str(self._resource), retry_in=round(delay, 1), error=str(error))
        return delay

    def _well(self) -> None:
        """A watch works: nothing that went wrong before counts any more."""
        self._backoff.reset()
        self._throttle.reset()
        self._expired = False

    def _failed(self, error: KubeError) -> float:
        """Say what went wrong, once a streak where it may go on for long; seconds to wait."""
        if isinstance(error, ApiError) and not isinstance(error, ServerError):
            self._touch()
        first = self._backoff.failures == 0
        asked = error.retry_after if isinstance(error, ApiError) else None
        delay = max(self._backoff.next(), min(asked or 0.0, THROTTLED))
        if isinstance(error, NotFoundError):
            if not self.resource_missing:
                log.warning("no such resource in this cluster: is the CRD installed?", resource=str(self._resource))
            self.resource_missing = True
        elif isinstance(error, ForbiddenError):
            where = {"namespace": self._namespace} if self._namespace else {"scope": "cluster"}
            log.warning("no right to list and watch", resource=str(self._resource), **where, error=str(error))
        else:
            report = log.info if first else log.warning
            report("watch interrupted", resource=str(self._resource), retry_in=round(delay, 1), error=str(error))
        return delay

    def _touch(self) -> None:
        self.last_contact = self.last_attempt = asyncio.get_running_loop().time()
