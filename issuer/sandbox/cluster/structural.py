"""Structural schemas: what of an object they know, what they fill in, which lists are maps.

The walks that change or compare values; whether a value is valid is in `schemas`. A leaf is dealt with where
it is found, for speed. After apiextensions-apiserver: `pkg/apiserver/schema/pruning`, `defaulting` (nulls too) and
`listtype`.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from issuer.sandbox.cluster.invalid import duplicate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.sandbox.cluster.invalid import Cause

Schema = dict[str, Any]

_KEPT = "x-kubernetes-preserve-unknown-fields"


def fitted(schema: Schema, value: Any) -> Any:
    """A copy without unknown fields and nulls, and with the defaults; parts of what is not there get none."""
    if isinstance(value, list):
        return [fitted(schema.get("items", {}), item) for item in value] if "items" in schema else value
    if not isinstance(value, dict):
        return value
    parts = schema.get("properties", {})
    result = {}
    for name, inner in value.items():
        part = parts.get(name) or part_of(schema, name)
        if part is None:
            if schema.get(_KEPT):
                result[name] = inner
        elif isinstance(inner, dict | list):
            result[name] = fitted(part, inner)
        elif inner is not None or part.get("nullable"):
            result[name] = inner
    for name, part in parts.items():
        if "default" in part and name not in result:
            result[name] = fitted(part, copy.deepcopy(part["default"]))
    return result


def part_of(schema: Schema, name: str) -> Schema | None:
    """The schema of a field, or None where it is unknown."""
    part: Schema | None = schema.get("properties", {}).get(name)
    if part is not None:
        return part
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        return extra
    return {_KEPT: True} if extra is True else None


def unknown_fields(schema: Schema, value: Any, path: str = "") -> Iterator[str]:
    """The paths of fields that the schema does not name."""
    if isinstance(value, dict):
        parts = schema.get("properties", {})
        for name, inner in value.items():
            part = parts.get(name) or part_of(schema, name)
            if part is not None:
                if isinstance(inner, dict | list):
                    yield from unknown_fields(part, inner, f"{path}.{name}" if path else name)
            elif not schema.get(_KEPT):
                yield f"{path}.{name}" if path else name
    elif isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from unknown_fields(schema["items"], item, f"{path}[{number}]")


def repeated(schema: Schema, value: Any, path: str = "") -> Iterator[Cause]:
    """Items that a list which is a map or a set has twice."""
    if isinstance(value, list):
        kind = schema.get("x-kubernetes-list-type")
        keys = schema.get("x-kubernetes-list-map-keys", ())
        seen: list[Any] = []
        for number, item in enumerate(value):
            if isinstance(item, dict | list):
                yield from repeated(schema.get("items", {}), item, f"{path}[{number}]")
            key = {name: item.get(name) for name in keys} if kind == "map" and isinstance(item, dict) else item
            if kind in ("map", "set") and key in seen:
                yield duplicate(f"{path}[{number}]", key)
            seen.append(key)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, dict | list) and (part := part_of(schema, name)):
                yield from repeated(part, inner, f"{path}.{name}" if path else name)


def levels(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every schema within a schema, with its path; itself first."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from levels(part, f"{path}.{name}")
    if "items" in schema:
        yield from levels(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from levels(schema["additionalProperties"], f"{path}.*")
