"""One watch: what has happened since a revision, then what happens, a line each, with bookmarks in between."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from issuer.sandbox.cluster import newevents, tables
from issuer.sandbox.cluster.errors import StatusError
from issuer.sandbox.cluster.kinds import NEW_EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.sandbox.cluster.kinds import Manifest
    from issuer.sandbox.cluster.paths import Target
    from issuer.sandbox.cluster.store import Happening, Store, Stored

BOOKMARK_EVERY: Final = 5.0
"""Seconds; a real API server takes about a minute."""
BOOKMARK_BEFORE_END: Final = 2.0
"""Seconds (apiserver: `pkg/storage/cacher/cache_watcher.go`, nextBookmarkTime)."""
INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"
"""The annotation of the bookmark after the objects that were there, in a watch with `sendInitialEvents`."""


class Watch:
    """Serves one watch."""

    def __init__(
        self,
        store: Store,
        target: Target,
        test: Callable[[Manifest], bool],
        *,
        table: bool,
        bookmarks: bool,
        initial: bool | None,
        timeout: float,
    ) -> None:
        self._store = store
        self._target = target
        self._test = test
        self._table = table
        self._bookmarks = bookmarks
        self._initial = initial
        self._timeout = timeout
        self._feed = store.subscribe(self._resource)
        self._columns_sent = False

    def cut(self) -> None:
        """End it."""
        self._feed.close()

    async def serve(self, request: web.BaseRequest, since: str) -> web.StreamResponse:
        """Send what happens until the time is up, the client is gone, or the watch is cut.

        A history that does not go back to `since` is told in an event, after which nothing comes, and not by the code
        of the answer (apiserver: `pkg/storage/cacher/cacher.go`, Watch).
        """
        try:
            try:
                lines = self._beginning(since)
            except StatusError as error:
                lines = [b'{"type":"ERROR","object":' + msgspec.json.encode(error.body) + b"}\n"]
                self._feed.close()
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            response.enable_chunked_encoding()
            await response.prepare(request)
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(self._timeout):
                    await self._send(response, lines)
            with contextlib.suppress(ConnectionError):
                await response.write_eof()
            return response
        finally:
            self._store.unsubscribe(self._feed)

    async def _send(self, response: web.StreamResponse, lines: list[bytes]) -> None:
        """Send until nothing comes any more; a bookmark now and then, and one shortly before the time is up."""
        loop = asyncio.get_running_loop()
        last = loop.time() + self._timeout - BOOKMARK_BEFORE_END
        while True:
            if lines:
                await response.write(b"".join(lines))
            if self._feed.closed and not self._feed.waiting:
                return
            left = last - loop.time()
            events = await self._feed.take(min(BOOKMARK_EVERY, left) if left > 0 else BOOKMARK_EVERY)
            lines = [line for event in events for line in self._lines(event)]
            if not events and self._bookmarks and not self._feed.closed:
                lines = [self._bookmark()]

    def _beginning(self, since: str) -> list[bytes]:
        """What is there (`since` empty or 0, or asked for), or what has happened since."""
        if self._initial or (self._initial is None and since in ("", "0")):
            found = self._store.list(self._target.kind, self._target.namespace)
            lines = [self._line("ADDED", one) for one in found if self._test(one.obj)]
            return [*lines, self._bookmark(all_sent=True)] if self._initial and self._bookmarks else lines
        if since in ("", "0"):
            return []
        events = self._store.since(self._target.kind.id, int(since))
        return [line for event in events for line in self._lines(event)]

    def _lines(self, event: Happening) -> list[bytes]:
        if self._target.namespace and event.key[0] != self._target.namespace:
            return []
        now = event.type != "DELETED" and self._test(event.new.obj)
        before = event.old is not None and self._test(event.old.obj)
        if now:
            return [self._line("MODIFIED" if before else "ADDED", event.new)]
        return [self._line("DELETED", _left(event))] if before else []

    @property
    def _resource(self) -> tuple[str, str]:
        return self._target.kind.id

    def _line(self, type_: str, stored: Stored) -> bytes:
        if self._table:
            shown = tables.table(
                self._target.kind,
                [stored.obj],
                stored.obj["metadata"]["resourceVersion"],
                with_columns=not self._columns_sent,
            )
            self._columns_sent = True
            encoded = msgspec.json.encode(shown)
        elif self._target.kind is NEW_EVENTS:
            encoded = msgspec.json.encode(newevents.to_new(stored.obj))
        else:
            encoded = stored.encoded
        return b'{"type":"' + type_.encode() + b'","object":' + encoded + b"}\n"

    def _bookmark(self, *, all_sent: bool = False) -> bytes:
        kind = self._target.kind
        metadata: Manifest = {"resourceVersion": str(self._store.revision), "creationTimestamp": None}
        if all_sent:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        obj = {
            "kind": kind.kind,
            "apiVersion": kind.api_version,
            "metadata": metadata,
        }
        return msgspec.json.encode({"type": "BOOKMARK", "object": obj}) + b"\n"


def _left(event: Happening) -> Stored:
    """What is shown of an object that is selected no longer: as it was, at the version of the change that did it."""
    if event.type == "DELETED" or event.old is None:
        return event.new
    old, version = event.old, event.new.obj["metadata"]["resourceVersion"]
    obj = {**old.obj, "metadata": {**old.obj["metadata"], "resourceVersion": version}}
    return dataclasses.replace(old, obj=obj, encoded=msgspec.json.encode(obj), revision=event.revision)
