"""A lean copy, in memory, of the objects of one resource, and word of every change.

Only what `transform` leaves is kept: ten thousand finished certificate requests with their CSRs and certificates would
be 64 MB, without them they are a few. A key always means the object that is there now: an object that was deleted and
made again under its name while nobody looked is told as a deletion and an addition, because everything that is
remembered about an object elsewhere hangs on its UID.

An object that cannot be read is not gone. What was last read of it stays, unless that was another object of its name;
it is logged once, and `unreadable` tells of it.
"""

from __future__ import annotations

import asyncio
import random as random_module
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec
import structlog

from issuer.kube.decoding import ObjectDecoder, Unreadable
from issuer.kube.errors import UnreachableError
from issuer.kube.reflector import INACTIVITY, WATCH_TIMEOUT, Reflector
from issuer.kube.store import KubeObject, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from issuer.api.meta import ObjectKey, ObjectMeta
    from issuer.kube.reflector import Source
    from issuer.kube.resource import Resource
    from issuer.kube.store import IndexFunction

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=KubeObject)


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """An object was added (`old` is None), changed, or deleted (`new` is None)."""

    old: T | None
    new: T | None

    @property
    def key(self) -> ObjectKey:
        """Which object it is about."""
        present = self.new if self.new is not None else self.old
        assert present is not None
        return present.metadata.key


class Informer(Generic[T]):
    """The objects of one resource, as last heard of.

    Args:
        client: a `KubeClient`, or what lists and streams like one.
        resource: what to watch.
        item: the struct that an object is decoded into.
        namespaces: where to look; one empty string means the whole cluster.
        field_selector: for the server; given up where the server refuses it, so `filter` must say the same.
        label_selector: for the server.
        filter: which objects matter.
        transform: what is kept of an object.
        random: for jitter.
        inactivity: seconds of silence after which a watch is opened again.
        watch_timeout: seconds, shortest and longest, after which the server ends a watch.

    Attributes:
        resource: what is watched.
        synced: set once everything was listed for the first time.
    """

    def __init__(
        self,
        client: Source,
        resource: Resource,
        *,
        item: type[T],
        namespaces: Sequence[str] = ("",),
        field_selector: str | None = None,
        label_selector: str | None = None,
        filter: Callable[[T], bool] = lambda _: True,  # noqa: A002 - client-go's word
        transform: Callable[[T], T] = lambda item: item,
        random: random_module.Random | None = None,
        inactivity: float = INACTIVITY,
        watch_timeout: tuple[float, float] = WATCH_TIMEOUT,
    ) -> None:
        self.resource: Final = resource
        self.synced: Final = asyncio.Event()
        self.stale_after: Final = watch_timeout[1] + inactivity
        """Seconds without an attempt that ended after which the watch is stuck, whatever the reason."""
        self._handlers: list[Callable[[Change[T]], None]] = []
        self._unlisted = set(namespaces)
        self._all_listed = asyncio.Event()
        self._tasks: dict[Reflector, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        decoder = ObjectDecoder(item)
        self._parts = {
            namespace: _Part(resource, decoder, filter, transform, self._tell, partial(self._listed, namespace))
            for namespace in namespaces
        }
        self._reflectors = [
            Reflector(
                client,
                resource,
                namespace,
                part,
                field_selector=field_selector,
                label_selector=label_selector,
                random=random or random_module.Random(),
                inactivity=inactivity,
                watch_timeout=watch_timeout,
            )
            for namespace, part in self._parts.items()
        ]

    def __len__(self) -> int:
        return sum(len(part.store) for part in self._parts.values())

    @property
    def last_contact(self) -> float:
        """Loop time when the API server last answered; of the part that has waited longest. -inf before `run`."""
        return min(reflector.last_contact for reflector in self._reflectors)

    @property
    def last_attempt(self) -> float:
        """Loop time when a list or a watch last brought something or ended, well or not; -inf before `run`."""
        return min(reflector.last_attempt for reflector in self._reflectors)

    @property
    def resource_missing(self) -> bool:
        """The API server does not know the resource. It is asked again, with backoff."""
        return any(reflector.resource_missing for reflector in self._reflectors)

    def is_stuck(self, now: float) -> bool:
        """Whether no attempt has ended for longer than the longest watch and silence take; `now` is loop time.

        Attempts that fail count: a restart does not bring an API server back that is away. Before `run` nothing is
        stuck: a replica that stands by need not watch.
        """
        return self.last_attempt > float("-inf") and now - self.last_attempt > self.stale_after

    def get(self, key: ObjectKey) -> T | None:
        """The object of that key, as last heard of."""
        part = self._part(key)
        return part.store.get(key) if part is not None else None

    def unreadable(self, key: ObjectKey) -> Unreadable | None:
        """Why the object of that key, which exists, cannot be read as it is now; None if it can, or does not exist."""
        part = self._part(key)
        return part.unreadable.get(key) if part is not None else None

    def items(self) -> Iterable[T]:
        """All objects, a copy of the list."""
        return [item for part in self._parts.values() for item in part.store.items()]

    def add_index(self, name: str, function: IndexFunction[T]) -> None:
        """Keep an index over the objects, as `transform` leaves them.

        Args:
            name: for `by_index`.
            function: the values under which an object is found; pure, and it must not raise.

        Raises:
            ValueError: there is an index of that name.
        """
        for part in self._parts.values():
            part.store.add_index(name, function)

    def by_index(self, name: str, value: Hashable) -> list[T]:
        """The objects that an index has under a value, a copy of the list."""
        return [item for part in self._parts.values() for item in part.store.by_index(name, value)]

    def index_values(self, name: str) -> list[Hashable]:
        """The values under which an index has any object, each once."""
        return list(dict.fromkeys(value for part in self._parts.values() for value in part.store.values(name)))

    def add_handler(self, handler: Callable[[Change[T]], None]) -> None:
        """Have a function called, on the event loop, after each change. Add it before `run`: nothing is repeated."""
        self._handlers.append(handler)

    async def run(self) -> None:
        """List and watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for reflector in self._reflectors:
                self._tasks[reflector] = group.create_task(reflector.run())

    async def refresh(self) -> None:
        """List everything anew, and wait until that is done, however long it takes; only while it runs.

        A watch may be half-open: it is silent, and what it says is minutes old. Who takes over the work of another must
        not begin with that.
        """
        assert self._group is not None
        self._all_listed.clear()
        self._unlisted = set(self._parts)
        for reflector, task in list(self._tasks.items()):
            # Made before the other is cancelled: a group without tasks is over.
            self._tasks[reflector] = self._group.create_task(_begin_anew(reflector, task))
            task.cancel()
        await self._all_listed.wait()

    def _part(self, key: ObjectKey) -> _Part[T] | None:
        return self._parts.get("") or self._parts.get(key.namespace)

    def _tell(self, change: Change[T]) -> None:
        for handler in self._handlers:
            try:
                handler(change)
            except Exception:
                # One object that a handler cannot digest must not stop the news of all others.
                log.exception("a handler failed on a change", **change.key._asdict())

    def _listed(self, namespace: str) -> None:
        self._unlisted.discard(namespace)
        if not self._unlisted:
            self.synced.set()
            self._all_listed.set()


async def _begin_anew(reflector: Reflector, before: asyncio.Task[None]) -> None:
    await asyncio.wait((before,))
    reflector.forget()
    await reflector.run()


class _Part(Generic[T]):
    """The objects of one namespace, or of the whole cluster: the sink of one reflector."""

    def __init__(
        self,
        resource: Resource,
        decoder: ObjectDecoder[T],
        accepts: Callable[[T], bool],
        transform: Callable[[T], T],
        tell: Callable[[Change[T]], None],
        on_listed: Callable[[], None],
    ) -> None:
        self.store: Store[T] = Store()
        self.unreadable: dict[ObjectKey, Unreadable] = {}
        self._resource = resource
        self._decoder = decoder
        self._accepts = accepts
        self._transform = transform
        self._tell = tell
        self._on_listed = on_listed
        self._seen: set[ObjectKey] = set()

    def restarted(self) -> None:
        """A list begins."""
        self._seen = set()

    def page(self, body: bytes) -> None:
        """One page of a list."""
        try:
            found = self._decoder.page(body)
        except msgspec.DecodeError as error:
            raise UnreachableError(f"a page of a list cannot be read: {error}") from None
        for item in found:
            if isinstance(item, Unreadable):
                self._seen.add(item.metadata.key)
                self._misread(item)
            elif self._accepts(item):
                self._seen.add(item.metadata.key)
                self._put(item)

    def listed(self) -> None:
        """What no page held is gone."""
        for key in [key for key in self.store if key not in self._seen]:
            self._tell(Change(self.store.pop(key), None))
        self.unreadable = {key: found for key, found in self.unreadable.items() if key in self._seen}
        self._seen = set()
        self._on_listed()

    def event(self, type_: str, item: msgspec.Raw) -> None:
        """One object was ADDED, MODIFIED or DELETED."""
        try:
            found = self._decoder.one(item)
        except msgspec.DecodeError as error:
            # It has no name that can be read, so nothing can be said of it; a new list would bring it again.
            log.warning("an object of the watch cannot be read", resource=str(self._resource), error=str(error))
            return
        if type_ == "DELETED":
            self._drop(found.metadata)
        elif isinstance(found, Unreadable):
            self._misread(found)
        elif self._accepts(found):
            self._put(found)
        else:
            self._drop(found.metadata)

    def _put(self, item: T) -> None:
        key, new = item.metadata.key, self._transform(item)
        self.unreadable.pop(key, None)
        old = self.store.get(key)
        if old is not None and old.metadata.uid != new.metadata.uid:
            self._tell(Change(self.store.pop(key), None))
            old = None
        elif old is not None and old.metadata.resource_version == new.metadata.resource_version:
            return
        self.store.put(new)
        self._tell(Change(old, new))

    def _misread(self, found: Unreadable) -> None:
        key, uid = found.metadata.key, found.metadata.uid
        known, self.unreadable[key] = self.unreadable.get(key), found
        if known is None or (known.metadata.uid, known.reason) != (uid, found.reason):
            log.warning(
                "an object exists but cannot be read", resource=str(self._resource), **key._asdict(), error=found.reason
            )
        old = self.store.get(key)
        if old is not None and old.metadata.uid != uid:
            self._tell(Change(self.store.pop(key), None))

    def _drop(self, metadata: ObjectMeta) -> None:
        misread = self.unreadable.get(metadata.key)
        if misread is not None and metadata.uid in ("", misread.metadata.uid):
            del self.unreadable[metadata.key]
        old = self.store.get(metadata.key)
        # The late word of a namesake's end says nothing about the object that has its name now.
        if old is not None and metadata.uid in ("", old.metadata.uid):
            self._tell(Change(self.store.pop(metadata.key), None))
