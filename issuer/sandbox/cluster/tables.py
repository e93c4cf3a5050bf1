"""Tables, as `kubectl get` asks for them (meta/v1 Table): the server decides on the columns."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from issuer.sandbox.cluster import eventrows
from issuer.sandbox.cluster.kinds import AGE, EVENTS
from issuer.sandbox.cluster.selectors import json_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.sandbox.cluster.kinds import Kind, Manifest

_NAME: Final = {"name": "Name", "type": "string", "format": "name"}


def wanted(accept: str) -> bool:
    """Whether a call asks for a table."""
    return "as=Table" in accept


def table(kind: Kind, objects: Sequence[Manifest], revision: str, *, with_columns: bool = True) -> Manifest:
    """The table of some objects."""
    if kind.stored is EVENTS:
        definitions = list(eventrows.COLUMNS)
        rows = [eventrows.cells(obj, _age) for obj in objects]
    else:
        columns = _columns(kind)
        definitions = [_definition(column) for column in (_NAME, *columns)]
        rows = [_cells(obj, columns) for obj in objects]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": revision},
        "columnDefinitions": definitions if with_columns else [],
        "rows": [{"cells": cells, "object": _partial(obj)} for cells, obj in zip(rows, objects, strict=True)],
    }


def _columns(kind: Kind) -> list[Manifest]:
    """Those of its own; a CRD that names some gets no other (apiextensions: `pkg/registry/customresource`)."""
    return [*kind.columns] if kind.columns and not kind.built_in else [*kind.columns, AGE]


def _definition(column: Manifest) -> Manifest:
    return {
        "name": column["name"],
        "type": "string" if column["type"] == "date" else column["type"],
        "format": column.get("format", ""),
        "description": column.get("description", ""),
        "priority": column.get("priority", 0),
    }


def _cells(obj: Manifest, columns: Sequence[Manifest]) -> list[Any]:
    values = [(column, json_path(obj, column["jsonPath"])) for column in columns]
    return [obj["metadata"]["name"], *(_age(v) if c["type"] == "date" else _text(v) for c, v in values)]


def _text(value: Any) -> Any:
    return "" if value is None else value


def _age(value: Any) -> str:
    if not isinstance(value, str):
        return "<unknown>"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(value)).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"


def _partial(obj: Manifest) -> Manifest:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
