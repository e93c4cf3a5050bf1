"""What an Event has to be.

After Kubernetes: `pkg/apis/core/validation/events.go`. An Event with an eventTime is a new one and held to all of it,
through whichever API it comes; one without has to be of its object's namespace and no more. The paths are those of
core/v1 throughout (`message`, `involvedObject`), for an Event that was written as `note` and `regarding` too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from issuer.sandbox.cluster.invalid import invalid, required
from issuer.sandbox.cluster.objectmeta import qualified_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.sandbox.cluster.invalid import Cause
    from issuer.sandbox.cluster.kinds import Manifest

SHORT: Final = 128
"""Bytes of reportingInstance, action and reason."""
LONG: Final = 1024
"""Bytes of the message."""
_FIXED: Final = (
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingController",
    "reportingInstance",
)


def check_new(event: Manifest, *, new_api: bool) -> Iterator[Cause]:
    """What is wrong with an Event that is created; `new_api`: through events.k8s.io/v1."""
    yield from _always(event, new_api=new_api)
    if not new_api:
        return
    yield from _series(event)
    if not event.get("eventTime"):
        yield required("eventTime")
    if event.get("type") not in ("Normal", "Warning"):
        yield invalid("type", "", f"has invalid value: {event.get('type', '')}")
    source = event.get("source") or {}
    unset = {name: event.get(name) for name in ("firstTimestamp", "lastTimestamp", "count")}
    unset["source"] = source.get("component") or source.get("host")
    yield from (invalid(name, "", "needs to be unset") for name, value in unset.items() if value)


def check_change(event: Manifest, old: Manifest, *, new_api: bool) -> Iterator[Cause]:
    """What is wrong with a change of an Event: through events.k8s.io/v1, the series alone may change."""
    yield from _always(event, new_api=new_api)
    if not new_api:
        return
    if event.get("series") != old.get("series"):
        yield from _series(event)
    for name in _FIXED:
        key = "reportingComponent" if name == "reportingController" else name
        if (event.get(key) or None) != (old.get(key) or None):
            yield invalid(name, event.get(key), "field is immutable")


def _always(event: Manifest, *, new_api: bool) -> Iterator[Cause]:
    namespace = event["metadata"].get("namespace", "")
    regarding = (event.get("involvedObject") or {}).get("namespace", "")
    strangers = invalid("involvedObject.namespace", regarding, "does not match event.namespace")
    if not event.get("eventTime"):
        if namespace != regarding and (regarding or namespace != "default"):
            yield strangers
        return
    if not regarding and namespace not in ("default", "kube-system"):
        yield strangers
    controller = "reportingController" if new_api else "reportingComponent"
    if not event.get("reportingComponent"):
        yield required(controller)
    for problem in qualified_name(event.get("reportingComponent") or ""):
        yield invalid(controller, event.get("reportingComponent") or "", problem)
    for name in ("reportingInstance", "action", "reason"):
        value = event.get(name) or ""
        if not value:
            yield required(name)
        if len(value.encode()) > SHORT:
            yield invalid(name, "", f"can have at most {SHORT} characters")
    if len((event.get("message") or "").encode()) > LONG:
        yield invalid("message", "", f"can have at most {LONG} characters")


def _series(event: Manifest) -> Iterator[Cause]:
    series: Any = event.get("series")
    if series is None:
        return
    if series.get("count", 0) < 2:  # noqa: PLR2004 - once is no series
        yield invalid("series.count", "", "should be at least 2")
    if not series.get("lastObservedTime"):
        yield required("series.lastObservedTime")
