"""The objects, their versions, and the history that watches are served from.

Everything here happens without waiting, so each write is atomic. An object is encoded once per version; lists and
watches send those bytes. Resource versions count up over all resources, as etcd's revisions do.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from issuer.sandbox.cluster import errors
from issuer.sandbox.cluster.patching import with_defaults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from issuer.sandbox.cluster.kinds import Kind, Manifest

HISTORY: Final = 50_000
"""Changes that are kept for watches; older ones are compacted away."""
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of one object."""

    obj: Manifest
    encoded: bytes
    revision: int


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
        self._watchers: set[asyncio.Queue[Happening]] = set()
        self._names = itertools.count(1)
        self.revision = 1
        self.compacted = 0
        self.hooks: list[Callable[[Happening], None]] = []

    def get(self, kind: Kind, key: Key) -> Stored:
        """One object.

        Raises:
            StatusError: there is none.
        """
        found = self._tables.get(kind.id, {}).get(key)
        if found is None:
            raise errors.not_found(kind, key[1])
        return found

    def list(self, kind: Kind, namespace: str = "") -> list[Stored]:
        """All objects of a resource, by namespace and name."""
        table = self._tables.get(kind.id, {})
        return [table[key] for key in sorted(table) if not namespace or key[0] == namespace]

    def create(self, kind: Kind, namespace: str, obj: Manifest) -> Stored:
        """Add an object.

        Raises:
            StatusError: it has no name, or there is one of that name.
        """
        metadata = dict(obj.get("metadata") or {})
        name = metadata.get("name") or ""
        if not name and metadata.get("generateName"):
            name = f"{metadata['generateName']}{next(self._names):05x}"
        if not name:
            raise errors.invalid(kind, "", "metadata.name: Required value: name or generateName is required")
        key = (namespace if kind.namespaced else "", name)
        if key in self._tables.get(kind.id, {}):
            raise errors.already_exists(kind, name)
        metadata |= {
            "name": name,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": self._now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "generation": 1,
        }
        metadata.pop("deletionTimestamp", None)
        if kind.namespaced:
            metadata["namespace"] = namespace
        new = {**obj, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        if kind.has_status:
            new.pop("status", None)
        return self._put(kind, key, with_defaults(kind.schema, new), None, "ADDED")

    def update(self, kind: Kind, key: Key, obj: Manifest, *, status: bool) -> Stored:
        """Replace an object, or its status alone.

        Raises:
            StatusError: there is none, or it has changed since the version that `obj` names.
        """
        old = self.get(kind, key)
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
            metadata = {**(obj.get("metadata") or {}), **fixed, "generation": kept["generation"]}
            if "deletionTimestamp" in kept:
                metadata["deletionTimestamp"] = kept["deletionTimestamp"]
            else:
                metadata.pop("deletionTimestamp", None)
            new = {**obj, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
            if kind.has_status:
                new.pop("status", None)
                if "status" in old.obj:
                    new["status"] = old.obj["status"]
            new = with_defaults(kind.schema, new)
            if _content(new) != _content(old.obj):
                metadata["generation"] = kept["generation"] + 1
        new["metadata"] = {**new["metadata"], "resourceVersion": kept["resourceVersion"]}
        if new == old.obj:
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
            if metadata.get(name) != wanted:
                raise errors.conflict(
                    kind, key[1], f"Precondition failed: {name} in precondition: {wanted}, {metadata.get(name)}"
                )
        if metadata.get("finalizers"):
            stamp = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
            return self._put(
                kind, key, {**old.obj, "metadata": {**metadata, "deletionTimestamp": stamp}}, old, "MODIFIED"
            )
        return self._remove(kind, key, old)

    def drop(self, resource: tuple[str, str]) -> None:
        """Forget a resource whose CRD is gone."""
        self._tables.pop(resource, None)

    def since(self, resource: tuple[str, str], revision: int) -> Iterable[Happening]:
        """What has happened to a resource after a revision.

        Raises:
            StatusError: the history does not go back that far.
        """
        if revision < self.compacted:
            raise errors.expired(f"too old resource version: {revision} ({self.compacted})")
        return [event for event in self._history if event.revision > revision and event.resource == resource]

    def compact(self) -> None:
        """Forget the history, as etcd does every five minutes."""
        self.compacted = self.revision
        self._history.clear()

    def subscribe(self) -> asyncio.Queue[Happening]:
        """A queue of all changes from now on."""
        queue: asyncio.Queue[Happening] = asyncio.Queue()
        self._watchers.add(queue)
        return queue

    def unsubscribe(self, queue: asyncio.Queue[Happening]) -> None:
        """No more changes."""
        self._watchers.discard(queue)

    def _remove(self, kind: Kind, key: Key, old: Stored) -> Stored:
        self.revision += 1
        obj = {**old.obj, "metadata": {**old.obj["metadata"], "resourceVersion": str(self.revision)}}
        gone = Stored(obj, msgspec.json.encode(obj), self.revision)
        del self._tables[kind.id][key]
        self._tell(Happening(self.revision, "DELETED", kind.id, key, gone, old))
        return gone

    def _put(self, kind: Kind, key: Key, obj: Manifest, old: Stored | None, type_: str) -> Stored:
        self.revision += 1
        obj["metadata"] = {**obj["metadata"], "resourceVersion": str(self.revision)}
        stored = Stored(obj, msgspec.json.encode(obj), self.revision)
        self._tables.setdefault(kind.id, {})[key] = stored
        self._tell(Happening(self.revision, type_, kind.id, key, stored, old))
        return stored

    def _tell(self, event: Happening) -> None:
        if len(self._history) == HISTORY:
            self.compacted = self._history[0].revision
        self._history.append(event)
        for queue in self._watchers:
            queue.put_nowait(event)
        for hook in self.hooks:
            hook(event)


def _content(obj: Manifest) -> dict[str, Any]:
    """What counts for `generation`: all but metadata and status."""
    return {name: value for name, value in obj.items() if name not in ("metadata", "status")}
