"""What the API server does with an object that a CRD describes, as far as our CRDs use it.

Drop nulls, refuse unknown fields (as kubectl's strict validation does), fill in defaults, then check: JSON Schema,
lists that are maps, CEL rules. In the same order, because a rule sees the defaults. Compared once with the code of
Kubernetes 1.37 itself, on all of `spec_documents`: it takes and refuses the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import cel
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.api.schema import Schema


def refusals(schema: Schema, value: Any) -> list[str]:
    """Why the API server refuses the value; empty if it takes it."""
    value = without_nulls(value)
    found = list(unknown_fields(schema, value))
    value = defaulted(schema, value)
    found += [error.message for error in _Validator(schema).iter_errors(value)]
    found += [] if found else list(repeated_keys(schema, value))
    return found or broken_rules(schema, value)


def defaulted(schema: Schema, value: Any) -> Any:
    """The value with the defaults of the schema. Parts of an object that is not there get none."""
    if isinstance(value, dict):
        parts = schema.get("properties", {})
        given = {name: part["default"] for name, part in parts.items() if "default" in part} | value
        return {name: defaulted(parts.get(name, {}), part) for name, part in given.items()}
    if isinstance(value, list):
        return [defaulted(schema.get("items", {}), item) for item in value]
    return value


def without_nulls(value: Any) -> Any:
    """The value without the members that are null; no field of ours is nullable."""
    if isinstance(value, dict):
        return {name: without_nulls(part) for name, part in value.items() if part is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def unknown_fields(schema: Schema, value: Any) -> Iterator[str]:
    """Fields that the schema does not name."""
    if isinstance(value, dict) and "properties" in schema:
        for name, part in value.items():
            if name in schema["properties"]:
                yield from unknown_fields(schema["properties"][name], part)
            else:
                yield f"unknown field {name}"
    elif isinstance(value, list):
        for item in value:
            yield from unknown_fields(schema.get("items", {}), item)


def repeated_keys(schema: Schema, value: Any) -> Iterator[str]:
    """Items of a list that is a map with the same key."""
    for part, inner in _parts(schema, value):
        yield from repeated_keys(part, inner)
    if isinstance(value, list) and schema.get("x-kubernetes-list-type") == "map":
        keys = [tuple(item.get(key) for key in schema["x-kubernetes-list-map-keys"]) for item in value]
        yield from (f"duplicate {key}" for key in set(keys) if keys.count(key) > 1)


def broken_rules(schema: Schema, value: Any) -> list[str]:
    """Messages of the CEL rules that the value does not keep."""
    found = [message for part, inner in _parts(schema, value) for message in broken_rules(part, inner)]
    value = float(value) if schema["type"] == "number" else value
    return found + [one["message"] for one in rules(schema) if not evaluate(one["rule"], value)]


def rules(schema: Schema) -> list[Schema]:
    """The CEL rules of this level."""
    found: list[Schema] = schema.get("x-kubernetes-validations", [])
    return found


def evaluate(rule: str, value: Any) -> bool:
    """Whether the value keeps the rule."""
    kept = cel.evaluate(rule, {"self": value})
    assert isinstance(kept, bool)
    return kept


def levels(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every schema within a schema, with its path; itself first."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from levels(part, f"{path}.{name}")
    if "items" in schema:
        yield from levels(schema["items"], f"{path}[]")


def _parts(schema: Schema, value: Any) -> Iterator[tuple[Schema, Any]]:
    if isinstance(value, dict):
        yield from ((schema["properties"][name], part) for name, part in value.items())
    elif isinstance(value, list):
        yield from ((schema["items"], item) for item in value)


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    """Patterns as Go reads them: `$` is the end of the text, not the place before a last line break."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _minimum(_: Any, minimum: float, value: Any, __: Any) -> Iterator[ValidationError]:
    """Minima as the API server's validation reads them: as a whole number where the value is one."""
    if isinstance(value, int | float) and value < (int(minimum) if isinstance(value, int) else minimum):
        yield ValidationError(f"{value!r} is less than the minimum of {minimum!r}")


_Validator = extend(Draft202012Validator, {"pattern": _pattern, "minimum": _minimum})  # type: ignore[no-untyped-call]
