"""A lean copy, in memory, of the objects of one resource, and word of every change.

Only what `lean` leaves is kept: ten thousand finished certificate requests with their CSRs and certificates would be
64 MB, without them they are a few. A key always means the object that is there now: an object that was deleted and
made again under its name while nobody looked is told as a deletion and an addition, because everything that is
remembered about an object elsewhere hangs on its UID.
"""

from __future__ import annotations

import asyncio
import logging
import random as random_module
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import msgspec

from issuer.api.meta import ObjectKey, ObjectMeta
from issuer.kube.errors import UnreachableError
from issuer.kube.reflector import INACTIVITY, WATCH_TIMEOUT, Reflector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from issuer.kube.reflector import Source
    from issuer.kube.resource import Resource

logger = logging.getLogger(__name__)


class KubeObject(Protocol):
    """What every struct of a Kubernetes object has."""

    @property
    def metadata(self) -> ObjectMeta:
        """Its name, UID and resourceVersion."""
        ...


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
        field_selector: for the server; given up where the server refuses it, so `keep` must say the same.
        keep: which objects matter.
        lean: what is kept of an object.
        random: for jitter.
        inactivity: seconds of silence after which a watch is opened again.
        watch_timeout: seconds, shortest and longest, after which the server ends a watch.

    Attributes:
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
        keep: Callable[[T], bool] = lambda _: True,
        lean: Callable[[T], T] = lambda item: item,
        random: random_module.Random | None = None,
        inactivity: float = INACTIVITY,
        watch_timeout: tuple[float, float] = WATCH_TIMEOUT,
    ) -> None:
        self.synced: Final = asyncio.Event()
        self.stale_after: Final = watch_timeout[1] + inactivity
        """Seconds without an attempt that ended after which the watch is stuck, whatever the reason."""
        self._handlers: list[Callable[[Change[T]], None]] = []
        self._unlisted = set(namespaces)
        decoders = _Decoders(item)
        self._parts = {
            namespace: _Part(decoders, keep, lean, self._tell, partial(self._listed, namespace))
            for namespace in namespaces
        }
        self._reflectors = [
            Reflector(
                client,
                resource,
                namespace,
                part,
                field_selector=field_selector,
                random=random or random_module.Random(),
                inactivity=inactivity,
                watch_timeout=watch_timeout,
            )
            for namespace, part in self._parts.items()
        ]

    def __len__(self) -> int:
        return sum(len(part.items) for part in self._parts.values())

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
        part = self._parts.get("") or self._parts.get(key.namespace)
        return part.items.get(key) if part is not None else None

    def items(self) -> Iterable[T]:
        """All objects, a copy of the list."""
        return [item for part in self._parts.values() for item in part.items.values()]

    def add_handler(self, handler: Callable[[Change[T]], None]) -> None:
        """Have a function called, on the event loop, after each change. Add it before `run`: nothing is repeated."""
        self._handlers.append(handler)

    async def run(self) -> None:
        """List and watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for reflector in self._reflectors:
                tasks.create_task(reflector.run())

    def _tell(self, change: Change[T]) -> None:
        for handler in self._handlers:
            try:
                handler(change)
            except Exception:
                # One object that a handler cannot digest must not stop the news of all others.
                logger.exception("a handler failed on a change", extra={"key": str(change.key)})

    def _listed(self, namespace: str) -> None:
        self._unlisted.discard(namespace)
        if not self._unlisted:
            self.synced.set()


class _Partial(msgspec.Struct):
    """Enough of an object to name it, when the rest cannot be read."""

    metadata: ObjectMeta


class _Page(msgspec.Struct, Generic[T]):
    items: list[T] | None = None


class _RawPage(msgspec.Struct):
    items: list[msgspec.Raw] | None = None


class _Decoders(Generic[T]):
    """Reads objects; one that does not fit its struct costs only itself."""

    def __init__(self, item: type[T]) -> None:
        self._item: msgspec.json.Decoder[T] = msgspec.json.Decoder(item)
        page: Any = _Page[item]  # type: ignore[valid-type]
        self._page: msgspec.json.Decoder[_Page[T]] = msgspec.json.Decoder(page)
        self._raw_page = msgspec.json.Decoder(_RawPage)
        self._partial = msgspec.json.Decoder(_Partial)

    def page(self, body: bytes) -> list[T | ObjectMeta]:
        """The objects of a page; of an unreadable one its metadata."""
        try:
            return [*(self._page.decode(body).items or ())]
        except msgspec.ValidationError:
            return [self.one(raw) for raw in self._raw_page.decode(body).items or ()]

    def one(self, raw: msgspec.Raw) -> T | ObjectMeta:
        """One object, or its metadata if it is not readable.

        Raises:
            msgspec.DecodeError: not even that.
        """
        try:
            return self._item.decode(raw)
        except msgspec.ValidationError as error:
            metadata = self._partial.decode(raw).metadata
            logger.warning("an object does not follow its schema: %s", error, extra={"key": str(metadata.key)})
            return metadata


class _Part(Generic[T]):
    """The objects of one namespace, or of the whole cluster: the sink of one reflector."""

    def __init__(
        self,
        decoders: _Decoders[T],
        keep: Callable[[T], bool],
        lean: Callable[[T], T],
        tell: Callable[[Change[T]], None],
        on_listed: Callable[[], None],
    ) -> None:
        self.items: dict[ObjectKey, T] = {}
        self._decoders = decoders
        self._keep = keep
        self._lean = lean
        self._tell = tell
        self._on_listed = on_listed
        self._seen: set[ObjectKey] = set()

    def restarted(self) -> None:
        """A list begins."""
        self._seen = set()

    def page(self, body: bytes) -> None:
        """One page of a list."""
        try:
            found = self._decoders.page(body)
        except msgspec.DecodeError as error:
            raise UnreachableError(f"a page of a list cannot be read: {error}") from None
        for item in found:
            if isinstance(item, ObjectMeta):
                self._seen.add(item.key)
            elif self._keep(item):
                self._seen.add(item.metadata.key)
                self._put(item)

    def listed(self) -> None:
        """What no page held is gone."""
        for key in [key for key in self.items if key not in self._seen]:
            self._tell(Change(self.items.pop(key), None))
        self._seen = set()
        self._on_listed()

    def event(self, type_: str, item: msgspec.Raw) -> None:
        """One object was ADDED, MODIFIED or DELETED."""
        try:
            found = self._decoders.one(item)
        except msgspec.DecodeError as error:
            # It has no name that can be read, so nothing can be said of it; a new list would bring it again.
            logger.warning("an object of the watch cannot be read: %s", error)
            return
        metadata = found if isinstance(found, ObjectMeta) else found.metadata
        if type_ == "DELETED":
            self._drop(metadata)
        elif not isinstance(found, ObjectMeta):
            self._put(found) if self._keep(found) else self._drop(metadata)

    def _put(self, item: T) -> None:
        key, new = item.metadata.key, self._lean(item)
        old = self.items.get(key)
        if old is not None and old.metadata.uid != new.metadata.uid:
            del self.items[key]
            self._tell(Change(old, None))
            old = None
        elif old is not None and old.metadata.resource_version == new.metadata.resource_version:
            return
        self.items[key] = new
        self._tell(Change(old, new))

    def _drop(self, metadata: ObjectMeta) -> None:
        old = self.items.get(metadata.key)
        # The late word of a namesake's end says nothing about the object that has its name now.
        if old is not None and metadata.uid in ("", old.metadata.uid):
            del self.items[metadata.key]
            self._tell(Change(old, None))
