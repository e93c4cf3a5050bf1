"""How `kubectl get events` shows an Event: by when it was last seen and what it is about, not by its own name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.sandbox.cluster.kinds import Manifest


def _column(name: str, *, wide: bool = False, format_: str = "", type_: str = "string") -> Manifest:
    return {"name": name, "type": type_, "format": format_, "description": "", "priority": int(wide)}


COLUMNS: Final = (
    _column("Last Seen"),
    _column("Type"),
    _column("Reason"),
    _column("Object"),
    _column("Subobject", wide=True),
    _column("Source", wide=True),
    _column("Message"),
    _column("First Seen", wide=True),
    _column("Count", wide=True, type_="integer"),
    _column("Name", wide=True, format_="name"),
)


def cells(event: Manifest, age: Callable[[Any], str]) -> list[Any]:
    """The cells of a core/v1 Event; `age` writes the time since a timestamp."""
    about = event.get("involvedObject") or {}
    source = event.get("source") or {}
    series = event.get("series") or {}
    happened = event.get("eventTime")
    first = event.get("firstTimestamp") or happened
    last = series.get("lastObservedTime") or event.get("lastTimestamp") or happened or first
    who = [source.get("component") or event.get("reportingComponent"), source.get("host")]
    return [
        age(last),
        event.get("type", ""),
        event.get("reason", ""),
        "/".join(filter(None, (str(about.get("kind", "")).lower(), about.get("name")))),
        about.get("fieldPath", ""),
        ", ".join(filter(None, who)),
        str(event.get("message", "")).strip(),
        age(first),
        series.get("count") or event.get("count") or 1,
        event["metadata"]["name"],
    ]
