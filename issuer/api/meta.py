"""Names, metadata and timestamps of Kubernetes objects, as far as this project reads them.

Structs that are kept by the ten thousand are not looked at by the garbage collector (`gc=False`): what is frozen, and
holds nothing but text and others of its kind, is in no cycle, and a collection that walks them all holds up the loop.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec


class ObjectKey(NamedTuple):
    """Where an object is: its namespace (empty for cluster-scoped ones) and its name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class TypeMeta(NamedTuple):
    """What kind of object it is (meta/v1 TypeMeta)."""

    api_version: str
    kind: str


class OwnerReference(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Who an object belongs to (meta/v1 OwnerReference)."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class ObjectMeta(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The part of meta/v1 ObjectMeta that is read; what is not named here is not kept in memory."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] = ()

    @property
    def key(self) -> ObjectKey:
        """Namespace and name."""
        return ObjectKey(self.namespace, self.name)

    @property
    def created(self) -> datetime | None:
        """When the API server created the object, if it says so."""
        return parse_time(self.creation_timestamp)

    def annotation(self, name: str) -> str | None:
        """The value of one annotation, or None."""
        return (self.annotations or {}).get(name)


def without_nulls(value: Any) -> Any:
    """Decoded JSON without the fields that are null: they count as absent."""
    if isinstance(value, dict):
        return {name: without_nulls(part) for name, part in value.items() if part is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def parse_time(text: str | None) -> datetime | None:
    """Read a meta/v1 Time or MicroTime (RFC 3339); None for an absent or unreadable one."""
    if not text:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def format_time(when: datetime) -> str:
    """Write a meta/v1 Time: RFC 3339, UTC, whole seconds."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(when: datetime) -> str:
    """Write a meta/v1 MicroTime, as Lease and Event demand it: RFC 3339, UTC, six decimal places."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
