"""The objects, their versions, and the history that watches are served from.

Everything here happens without waiting, so each write is atomic. An object is encoded once per version; lists and
watches send those bytes. Resource versions count up over all resources, as etcd's revisions do.
"""

from __future__ import annotations

import dataclasses
import itertools
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from issuer.sandbox.cluster import errors, validation
from issuer.sandbox.cluster.definitions import leave
from issuer.sandbox.cluster.feed import LIMIT, Feed
from issuer.sandbox.cluster.kinds import CRDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from issuer.sandbox.cluster.kinds import Kind, Manifest

HISTORY: Final = 50_000
"""Changes that are kept for watches; older ones are compacted away."""
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of one object.

    Attributes:
        obj: as it is shown: by the schema of today, with its defaults.
        encoded: the same as JSON.
        revision: at which it was written.
        written: as it was written, by the schema of then; what etcd holds.
    """

    obj: Manifest
    encoded: bytes
    revision: int
    written: Manifest


@dataclass(frozen=True, slots=True)
class Happening:
    """One change: `ADDED`, `MODIFIED` or `DELETED`, with the object before and after."""

    revision: int
    type: str
    resource: tuple[str, str]
    key: Key
    new: Stored
    old: Stored | None


class Store:
    """All objects of the cluster."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._tables: dict[tuple[str, str], dict[Key, Stored]] = {}
        self._history: deque[Happening] = deque(maxlen=HISTORY)
        self._feeds: set[Feed] = set()
        self.feed_limit = LIMIT
        self._closing: set[tuple[str, str]] = set()
        self._reshaped: dict[tuple[str, str], int] = {}
        self._names = itertools.count(1)
        self.revision = 1
        self.compacted = 0
        self.hooks: list[Callable[[Happening], None]] = []

    def get(self, kind: Kind, key: Key) -> Stored:
        """One object.

        Raises:
            StatusError: there is none.
        """
        found = self.find(kind, key)
        if found is None:
            raise errors.not_found(kind, key[1])
        return found

    def find(self, kind: Kind, key: Key) -> Stored | None:
        """One object, or None."""
        return self._tables.get(kind.id, {}).get(key)

    def list(self, kind: Kind, namespace: str = "", revision: int = 0) -> list[Stored]:
        """All objects of a resource, by namespace and name; as they were at a revision, if one is named.

        Raises:
            StatusError: the history does not go back that far.
        """
        table = self._tables.get(kind.id, {})
        if revision and revision < self.revision:
            table = self._at(kind.id, revision)
        return [table[key] for key in sorted(table) if not namespace or key[0] == namespace]

    def create(self, kind: Kind, namespace: str, obj: Manifest) -> Stored:
        """Add an object.

        Args:
            kind: as it was asked for; both APIs of Events write the same ones.
            namespace: empty for what lies in none.
            obj: the object, without its status.

        Raises:
            StatusError: the real server would not take it, or there is one of that name.
        """
        obj = validation.prepared(kind, obj)
        metadata = dict(obj.get("metadata") or {})
        name = metadata.get("name") or ""
        if not name and metadata.get("generateName"):
            name = f"{metadata['generateName']}{next(self._names):05x}"
        key = (namespace if kind.namespaced else "", name)
        if kind.id in self._closing:
            raise errors.being_removed(kind, name)
        metadata |= {
            "name": name,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": self._now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            metadata.pop(field, None)
        if kind.counted:
            metadata["generation"] = 1
        if kind.namespaced:
            metadata["namespace"] = namespace
        new = {**obj, "apiVersion": kind.stored.api_version, "kind": kind.kind, "metadata": metadata}
        if kind.has_status:
            new.pop("status", None)
        validation.check(kind, new, None)
        if key in self._tables.get(kind.id, {}):
            raise errors.already_exists(kind, name)
        return self._put(kind, key, new, None, "ADDED")

    def update(self, kind: Kind, key: Key, obj: Manifest, *, status: bool) -> Stored:
        """Replace an object, or its status alone.

        Raises:
            StatusError: there is none, it has changed since the version that `obj` names, or the real server would not
                take it.
        """
        old = self.get(kind, key)
        obj = validation.prepared(kind, obj, old.obj)
        given = (obj.get("metadata") or {}).get("resourceVersion")
        if given and given != old.obj["metadata"]["resourceVersion"]:
            raise errors.conflict(kind, key[1])
        kept = old.obj["metadata"]
        fixed = {name: kept[name] for name in ("name", "namespace", "uid", "creationTimestamp") if name in kept}
        if status:
            new = {**old.obj, **({"status": obj["status"]} if "status" in obj else {})}
            new["metadata"] = kept
        else:
            uid = (obj.get("metadata") or {}).get("uid")
            if uid and uid != kept["uid"]:
                raise errors.conflict(kind, key[1], f"Precondition failed: UID in precondition: {uid}, {kept['uid']}")
            metadata = {**(obj.get("metadata") or {}), **fixed}
            for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
                metadata.pop(field, None)
                if field in kept:
                    metadata[field] = kept[field]
            new = {**obj, "apiVersion": kind.stored.api_version, "kind": kind.kind, "metadata": metadata}
            if kind.has_status:
                new.pop("status", None)
                if "status" in old.obj:
                    new["status"] = old.obj["status"]
            if kind.counted and _content(kind, new) != _content(kind, old.obj):
                metadata["generation"] = kept["generation"] + 1
        new["metadata"] = {**new["metadata"], "resourceVersion": kept["resourceVersion"]}
        validation.check(kind, new, old.obj, status=status)
        if new == old.written:
            return old
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            return self._remove(kind, key, old)
        return self._put(kind, key, new, old, "MODIFIED")

    def delete(self, kind: Kind, key: Key, preconditions: Manifest | None = None) -> Stored:
        """Remove an object, or mark it as being deleted where it has finalizers.

        Raises:
            StatusError: there is none, or a precondition does not hold.
        """
        old = self.get(kind, key)
        metadata = old.obj["metadata"]
        for name, wanted in (preconditions or {}).items():
            if name in ("uid", "resourceVersion") and metadata.get(name) != wanted:
                raise errors.precondition_failed(kind, key[1], name, wanted, metadata.get(name))
        stamp = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        if kind is CRDS and "deletionTimestamp" not in metadata:
            return self._put(kind, key, leave(old.obj, stamp), old, "MODIFIED")
        if metadata.get("deletionTimestamp"):
            return old
        if metadata.get("finalizers"):
            marked = {**metadata, "deletionTimestamp": stamp, "deletionGracePeriodSeconds": 0}
            if "generation" in metadata:
                marked["generation"] = metadata["generation"] + 1
            return self._put(kind, key, {**old.obj, "metadata": marked}, old, "MODIFIED")
        return self._remove(kind, key, old)

    def close(self, resource: tuple[str, str]) -> None:
        """Take no new object of a resource: its CRD is being deleted."""
        self._closing.add(resource)

    def drop(self, resource: tuple[str, str]) -> None:
        """Forget a resource whose CRD is gone; its watches end."""
        self._tables.pop(resource, None)
        self._closing.discard(resource)
        self._end_watches(resource)

    def reshape(self, kind: Kind) -> None:
        """Show all objects of a resource by another schema: with its defaults, and without what it does not know.

        Nothing is written; a real server does the same whenever it decodes what etcd holds. It serves the resource
        from a new cache then, so watches end, and one from before is told that it is too old.
        """
        self._reshaped[kind.id] = self.revision
        self._end_watches(kind.id)
        shown: dict[int, Stored] = {}

        def now(stored: Stored) -> Stored:
            if id(stored) not in shown:
                obj = kind.shape.fitted(stored.written)
                shown[id(stored)] = Stored(obj, msgspec.json.encode(obj), stored.revision, stored.written)
            return shown[id(stored)]

        table = self._tables.get(kind.id, {})
        self._tables[kind.id] = {key: now(stored) for key, stored in table.items()}
        for number, event in enumerate(self._history):
            if event.resource == kind.id:
                old = now(event.old) if event.old else None
                self._history[number] = dataclasses.replace(event, new=now(event.new), old=old)

    def since(self, resource: tuple[str, str], revision: int) -> Sequence[Happening]:
        """What has happened to a resource after a revision, for a watch.

        Raises:
            StatusError: the history does not go back that far.
        """
        oldest = max(self.compacted, self._reshaped.get(resource, 0))
        if revision < oldest:
            raise errors.expired(f"too old resource version: {revision} ({oldest})")
        return self._after(resource, revision)

    def compact(self) -> None:
        """Forget the history, as etcd does every five minutes."""
        self.compacted = self.revision
        self._history.clear()

    def subscribe(self, resource: tuple[str, str]) -> Feed:
        """All changes of a resource from now on."""
        feed = Feed(resource, self.feed_limit)
        self._feeds.add(feed)
        return feed

    def unsubscribe(self, feed: Feed) -> None:
        """No more changes."""
        self._feeds.discard(feed)

    def _end_watches(self, resource: tuple[str, str]) -> None:
        for feed in self._feeds:
            if feed.resource == resource:
                feed.close()

    def _after(self, resource: tuple[str, str], revision: int) -> Sequence[Happening]:
        recent = itertools.takewhile(lambda event: event.revision > revision, reversed(self._history))
        return [event for event in recent if event.resource == resource][::-1]

    def _at(self, resource: tuple[str, str], revision: int) -> dict[Key, Stored]:
        """The objects of a resource as they were: those of now, with what happened since undone."""
        if revision < self.compacted:
            raise errors.expired(f"too old resource version: {revision} ({self.compacted})")
        table = dict(self._tables.get(resource, {}))
        for event in reversed(self._after(resource, revision)):
            if event.old is None:
                table.pop(event.key, None)
            else:
                table[event.key] = event.old
        return table

    def _remove(self, kind: Kind, key: Key, old: Stored) -> Stored:
        self.revision += 1
        obj = {**old.obj, "metadata": {**old.obj["metadata"], "resourceVersion": str(self.revision)}}
        gone = Stored(obj, msgspec.json.encode(obj), self.revision, obj)
        del self._tables[kind.id][key]
        self._tell(Happening(self.revision, "DELETED", kind.id, key, gone, old))
        return gone

    def _put(self, kind: Kind, key: Key, obj: Manifest, old: Stored | None, type_: str) -> Stored:
        revision = self.revision + 1
        obj["metadata"] = {**obj["metadata"], "resourceVersion": str(revision)}
        stored = Stored(obj, msgspec.json.encode(obj), revision, obj)
        validation.check_size(stored.encoded)
        self.revision = revision
        self._tables.setdefault(kind.id, {})[key] = stored
        self._tell(Happening(self.revision, type_, kind.id, key, stored, old))
        return stored

    def _tell(self, event: Happening) -> None:
        if len(self._history) == HISTORY:
            self.compacted = self._history[0].revision
        self._history.append(event)
        for feed in self._feeds:
            if feed.resource == event.resource:
                feed.put(event)
        for hook in self.hooks:
            hook(event)


def _content(kind: Kind, obj: Manifest) -> dict[str, Any]:
    """What counts for `generation`: all but metadata, and but the status where that is written apart."""
    passed_over = ("metadata", "status") if kind.has_status else ("metadata",)
    return {name: value for name, value in obj.items() if name not in passed_over}
