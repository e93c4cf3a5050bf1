"""One Event, and how it is written.

Written with events.k8s.io/v1; where that API is missing or only core Events are allowed, with core v1. In
events.k8s.io/v1 only `series` may change later (Kubernetes: `pkg/apis/core/validation/events.go`), so a repeated
Event keeps the text it began with.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import msgspec

from issuer.api.meta import format_micro_time, format_time
from issuer.kube.client import MERGE_PATCH
from issuer.kube.errors import AlreadyExistsError, ForbiddenError, NotFoundError
from issuer.kube.resource import CORE_EVENTS, EVENTS, Resource

if TYPE_CHECKING:
    from datetime import datetime

EventType = Literal["Normal", "Warning"]

MAX_NOTE: Final = 1024
"""Bytes of a message in UTF-8 (Kubernetes: `pkg/apis/core/validation/events.go`, legacy and new validation)."""
_ELLIPSIS: Final = "…"


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

    @property
    def who(self) -> str:
        """The object as a key."""
        return self.uid or f"{self.kind}/{self.namespace}/{self.name}"


@dataclass(slots=True)
class Series:
    """One Event, and how often it has happened. Times without a zone are the recorder's monotonic clock.

    Attributes:
        happened: when it happened last.
        due: when it may be written.
        waits: it is in the recorder's queue, or being written.
        failures: consecutive writes that failed.
        name: of the Event, once it was written.
        suffix: of the name that it will have, so that a write whose answer was lost makes no second Event.
    """

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


class EventWriter:
    """Writes Events, one call each; several may be under way, for different Events.

    Args:
        client: a `KubeClient`.
        component: names the controller; `reportingController` of the Events.
        instance: names this process; `reportingInstance`.
    """

    def __init__(self, client: Writer, component: str, instance: str) -> None:
        self._client = client
        self._component = component
        self._instance = instance[:128]
        self._use_core = False

    async def write(self, series: Series) -> None:
        """Write it: a new Event, or how often it has happened by now.

        Raises:
            KubeError: it was not written.
        """
        if series.name:
            try:
                body = msgspec.json.encode(self._update(series))
                await self._client.patch(self._resource, series.namespace, series.name, body)
            except NotFoundError:
                series.name = ""  # Events live for an hour; this one is gone, so a new one begins
                series.suffix = secrets.token_hex(8)
            else:
                return
        resource = self._resource  # another write may find out meanwhile that it is the wrong one
        try:
            await self._create(series, resource)
        except (NotFoundError, ForbiddenError):
            if resource is CORE_EVENTS:
                raise
            # The API is missing, or only core Events are allowed; if it was the namespace, this fails alike.
            await self._create(series, CORE_EVENTS)
            self._use_core = True

    async def _create(self, series: Series, resource: Resource) -> None:
        name = f"{series.regarding.name[:200].rstrip('.-')}.{series.suffix}"
        event = self._core_event(series, name) if resource is CORE_EVENTS else self._event(series, name)
        with suppress(AlreadyExistsError):  # written by an earlier attempt whose answer was lost
            await self._client.create(resource, series.namespace, msgspec.json.encode(event))
        series.name = name

    @property
    def _resource(self) -> Resource:
        return CORE_EVENTS if self._use_core else EVENTS

    def _event(self, series: Series, name: str) -> dict[str, Any]:
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

    def _core_event(self, series: Series, name: str) -> dict[str, Any]:
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

    def _update(self, series: Series) -> dict[str, Any]:
        """What changes when it happens again."""
        if self._use_core:
            return {"count": series.count, "lastTimestamp": format_time(series.last), "message": series.message}
        # A series begins at two (validation of events.k8s.io/v1).
        return {"series": {"count": max(2, series.count), "lastObservedTime": format_micro_time(series.last)}}


def fitting(message: str) -> str:
    """The message, cut to the bytes that the API server takes."""
    encoded = message.encode()
    if len(encoded) <= MAX_NOTE:
        return message
    return encoded[: MAX_NOTE - len(_ELLIPSIS.encode())].decode(errors="ignore") + _ELLIPSIS
