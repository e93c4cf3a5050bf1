"""Events have two faces: core/v1 and events.k8s.io/v1 show the same objects. They are stored as core/v1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from issuer.sandbox.cluster.kinds import Manifest

_TO_CORE: Final = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedCount": "count",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedSource": "source",
}
_TO_NEW: Final = {core: new for new, core in _TO_CORE.items()}


def to_core(event: Manifest) -> Manifest:
    """An events.k8s.io/v1 Event as core/v1."""
    return {**{_TO_CORE.get(name, name): value for name, value in event.items()}, "apiVersion": "v1"}


def to_new(event: Manifest) -> Manifest:
    """A core/v1 Event as events.k8s.io/v1."""
    return {**{_TO_NEW.get(name, name): value for name, value in event.items()}, "apiVersion": "events.k8s.io/v1"}
