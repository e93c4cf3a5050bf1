"""A structural schema at work: everything that can be prepared is prepared once, when its CRD comes.

After apiextensions-apiserver: `pkg/registry/customresource/strategy.go` (the order: schema, lists, rules) and
`pkg/apiserver/validation/validation.go` (ratcheting: what is as it was is not held against a change), the words after
kube-openapi: `pkg/validation/errors/schema.go`.

A status patch leaves the spec as it is, so the parts of an object that did not change are neither walked nor checked;
the JSON Schema is checked by a compiled library, which is asked for errors only where there are some.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs

from issuer.sandbox.cluster import structural
from issuer.sandbox.cluster.celrules import Rules
from issuer.sandbox.cluster.invalid import (
    BLOCKING,
    Cause,
    invalid,
    required,
    too_long,
    too_many,
    unsupported,
    wrong_type,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from issuer.sandbox.cluster.structural import Schema

_HEAD: Final = frozenset({"apiVersion", "kind", "metadata"})
_SAME: Final = (
    *("enum", "pattern", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "required"),
)
_BELOW: Final = ("items", "additionalProperties", "not")
_EITHER: Final = ("allOf", "anyOf", "oneOf")
_BEYOND: Final = frozenset({"minProperties", "maxProperties", "additionalProperties", *_EITHER, "not"})
"""What the schema of a whole object may demand beside its parts, which is checked apart; hardly one does."""
_BOUNDS: Final = {
    "minimum": "should be greater than or equal to",
    "maximum": "should be less than or equal to",
    "exclusiveMinimum": "should be greater than",
    "exclusiveMaximum": "should be less than",
}
UNCHECKED: Final = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation"
)


class Shape:
    """What a schema does to objects, and what it says about them.

    Args:
        schema: `openAPIV3Schema` of a version; empty: everything is taken as it is.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema: Final = schema
        self._parts: Final = {
            name: _validator(part) for name, part in schema.get("properties", {}).items() if name not in _HEAD
        }
        self._required: Final = tuple(name for name in schema.get("required", ()) if name not in _HEAD)
        more = {name: part for name, part in schema.items() if name in _BEYOND}
        self._root: Final = _validator(more) if more else None
        self._rules: Final = Rules(schema)

    def fitted(self, obj: Schema, old: Schema | None = None) -> Schema:
        """The object without what the schema does not know, with its defaults; parts that are as they were stay."""
        if not self.schema:
            return obj
        changed = _changed(obj, old)
        kept = {name: part for name, part in obj.items() if name not in changed}
        fresh = structural.fitted(self.schema, changed)
        return {**kept, **{name: part for name, part in fresh.items() if name not in kept}}

    def unknown_fields(self, obj: Schema, old: Schema | None = None) -> list[str]:
        """The paths of the fields that the schema does not know, in what changed."""
        if not self.schema:
            return []
        return list(structural.unknown_fields(self.schema, _changed(obj, old)))

    def causes(self, obj: Schema, old: Schema | None = None, *, status: bool = False) -> list[Cause]:
        """What is wrong with an object that fits; of one that changes, with what changed.

        Args:
            obj: the object.
            old: what it was.
            status: the status is written by itself; messages about it are told from there.
        """
        if not self.schema:
            return []
        found = [*self.mismatches(obj, old, status=status), *self._repeated(obj, old)]
        if not self._rules:
            return found
        if any(one.type in BLOCKING for one in found):
            return [*found, invalid("<nil>", None, UNCHECKED)]
        return [*found, *self._rules.broken(obj, old)]

    def mismatches(self, obj: Schema, old: Schema | None = None, *, status: bool = False) -> Iterator[Cause]:
        """Where the object does not keep the JSON Schema."""
        yield from (required(name) for name in self._required if name not in obj)
        if self._root is not None:
            yield from _errors(self._root, {name: part for name, part in obj.items() if name not in _HEAD}, "", "")
        for name, part in obj.items():
            if name in self._parts and not (old and (part is old.get(name) or part == old.get(name))):
                yield from _errors(self._parts[name], part, name, "" if status and name == "status" else name)

    def _repeated(self, obj: Schema, old: Schema | None) -> Iterator[Cause]:
        for name, part in obj.items():
            if name in self._parts and not (old and part is old.get(name)):
                yield from structural.repeated(self.schema["properties"][name], part, name)


def _changed(obj: Schema, old: Schema | None) -> Schema:
    """The parts of an object that are not those of the old one, but for the head that every object has."""
    before = old or {}
    return {name: part for name, part in obj.items() if name not in _HEAD and part is not before.get(name, before)}


def json_schema(schema: Schema) -> Schema:
    """The structural schema as JSON Schema says it: null as a type, formats that Kubernetes knows by its own names."""
    result: Schema = {name: schema[name] for name in _SAME if name in schema}
    type_: Any = ["integer", "string"] if schema.get("x-kubernetes-int-or-string") else schema.get("type")
    if type_ is not None:
        types = type_ if isinstance(type_, list) else [type_]
        result["type"] = [*types, "null"] if schema.get("nullable") else type_
    if schema.get("nullable") and "enum" in result:
        result["enum"] = [*result["enum"], None]
    if schema.get("format") in FORMATS:
        result["format"] = _named(schema["format"])
    if "properties" in schema:
        result["properties"] = {name: json_schema(part) for name, part in schema["properties"].items()}
    for name in _BELOW:
        if isinstance(schema.get(name), dict):
            result[name] = json_schema(schema[name])
    for name in _EITHER:
        if name in schema:
            result[name] = [json_schema(one) for one in schema[name]]
    return result


def _validator(schema: Schema) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        json_schema(schema),
        formats={_named(name): test for name, test in FORMATS.items()},
        validate_formats=True,
        pattern_options=jsonschema_rs.RegexOptions(),  # a regular language, as Go's
    )


def _errors(validator: jsonschema_rs.Draft202012Validator, value: Any, top: str, shown: str) -> Iterator[Cause]:
    if validator.is_valid(value):
        return
    for error in validator.iter_errors(value):
        cause = _cause(error, _path(top, error.instance_path), _path(shown, error.instance_path))
        if cause is not None:
            yield cause


def _path(top: str, steps: list[str | int]) -> str:
    path = top
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def _cause(error: jsonschema_rs.ValidationError, path: str, shown: str) -> Cause | None:  # noqa: C901, PLR0911 - a list of cases
    kind: str = error.kind.name
    value: Any = error.instance
    what: dict[str, Any] = error.kind.as_dict()
    body = f"{shown} in body"
    match kind:
        case "required":
            return required(f"{path}.{what['property']}" if path else what["property"])
        case "type":
            found, wanted = _type(value), ",".join(sorted(one for one in what["types"] if one != "null"))
            return wrong_type(path, found, f'{body} must be of type {wanted}: "{found}"')
        case "format":
            name = what["format"].removeprefix(_named(""))
            return wrong_type(path, value, f'{body} must be of type {name}: "{value}"')
        case "enum":
            return unsupported(path, value, what["options"])
        case "pattern":
            return invalid(path, value, f"{body} should match '{what['pattern']}'")
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            limit = what["limit"]
            if kind == "minimum" and isinstance(value, int) and value >= int(limit):
                return None  # a whole number is compared with the bound as a whole number
            return invalid(path, value, f"{body} {_BOUNDS[kind]} {limit:g}")
        case "maxLength":
            return too_long(path, what["limit"])
        case "maxItems" | "maxProperties":
            return too_many(path, len(value), what["limit"])
        case "minLength":
            return invalid(path, value, f"{body} should be at least {what['limit']} chars long")
        case "minItems":
            return invalid(path, len(value), f"{body} should have at least {what['limit']} items")
        case "minProperties":
            return invalid(path, len(value), f"{body} should have at least {what['limit']} properties")
    return invalid(path, "", error.message)


def _type(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return names.get(type(value), "null")


def _named(format_: str) -> str:
    return f"kubernetes-{format_}"


def _is_bytes(text: str) -> bool:
    return not text or _is_base64(text.replace("\n", "").replace("\r", ""))


def _is_base64(text: str) -> bool:
    if not text:
        return False  # an empty one is none for the API server either
    try:
        a2b_base64(text, strict_mode=True)
    except ValueError:
        return False
    return True


_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _is_time(text: str) -> bool:
    found = _TIME.fullmatch(text)
    if not found:
        return False
    try:
        datetime.fromisoformat(found[1] + found[3])
    except ValueError:
        return False
    return True


def _is_micro_time(text: str) -> bool:
    return bool(re.search(r"\.\d{6}(Z|[+-]\d\d:\d\d)$", text)) and _is_time(text)


FORMATS: Final[dict[str, Callable[[str], bool]]] = {
    "byte": _is_base64,
    "bytes": _is_bytes,
    "date-time": _is_time,
    "micro-time": _is_micro_time,
}
"""Formats that are checked; `bytes` and `micro-time` are Go's, which only the schemas of built-in kinds have."""
