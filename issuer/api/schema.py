"""From a msgspec struct to a structural OpenAPI schema, as Kubernetes demands it in a CRD.

A struct that reads an object and the schema that guards it are one thing here, so they cannot drift apart. What a
struct cannot say by its types it says in `Meta`: `extra` holds bounds that `issuer.api.spec` checks too and that become
CEL rules, `extra_json_schema` holds what the API server alone enforces.

The API server estimates the cost of CEL rules from the limits of strings and lists, and `kubectl explain` shows the
descriptions. So a field without either is refused here, when the CRDs are made, and not by a cluster.
"""

from __future__ import annotations

import inspect as python_inspect
import re
from typing import Any, Final

import msgspec
from msgspec import inspect

from issuer.api import duration
from issuer.api.duration import Duration
from issuer.api.fields import ordered_durations

Schema = dict[str, Any]

_ORDER: Final = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "required",
    "x-kubernetes-validations",
    "items",
    "properties",
)
"""How a reader wants to find the keys of a schema: what it is first, its parts last."""


def of_struct(type_: type[msgspec.Struct]) -> Schema:
    """The schema of a struct; its description is the first paragraph of the docstring.

    Raises:
        TypeError: a field has no description, a string or list has no limit, a type has no counterpart, or a field that
            a rule compares with another would have a default.
    """
    fields = _fields(type_)
    rules = [_not_longer(field, longer, type_) for field, longer in ordered_durations(type_)]
    return ordered(
        {
            "description": _first_paragraph(type_),
            "type": "object",
            "required": [field.encode_name for field in fields if field.required],
            "x-kubernetes-validations": rules,
            "properties": {field.encode_name: _of_field(field, type_) for field in fields},
        }
    )


def rule(expression: str, message: str) -> Schema:
    """A CEL rule. Only what the first servers that know CEL (Kubernetes 1.25) understand."""
    return {"rule": expression, "message": message}


def ordered(schema: Schema) -> Schema:
    """The schema with its keys in the order for readers, without those that are empty or None."""
    return {
        key: schema[key] for key in sorted(schema, key=_ORDER.index) if schema[key] is not None and schema[key] != []
    }


def _fields(type_: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    described = inspect.type_info(type_)
    assert isinstance(described, inspect.StructType)
    return described.fields


def _of_field(field: inspect.Field, owner: type[msgspec.Struct]) -> Schema:
    try:
        schema = _complete(_of_type(field.type))
    except TypeError as error:
        raise TypeError(f"{owner.__name__}.{field.name}: {error}") from error
    if field.default is not msgspec.NODEFAULT and not _yields(field):
        schema["default"] = _plain_default(field.default)
    return ordered(schema)


def _not_longer(field: inspect.Field, longer: inspect.Field, owner: type[msgspec.Struct]) -> Schema:
    """The rule that one duration is not longer than another, if somebody wrote both."""
    for one in (field, longer):
        if not _yields(one):
            raise TypeError(f"{owner.__name__}.{one.name}: it is compared with another, so its default has to yield")
    short, long = field.encode_name, longer.encode_name
    return rule(
        f"!has(self.{short}) || !has(self.{long}) || duration(self.{short}) <= duration(self.{long})",
        f"{short} must not be longer than {long}",
    )


def _yields(field: inspect.Field) -> bool:
    return isinstance(field.type, inspect.Metadata) and bool((field.type.extra or {}).get("yields"))


def _complete(schema: Schema) -> Schema:
    """The schema, if a reader and the cost estimate of the API server find in it what they need."""
    if not schema.get("description"):
        raise TypeError("it has no description")
    if schema["type"] == "string" and not ({"enum", "format"} & set(schema) or schema.get("maxLength")):
        raise TypeError("a string needs a max_length")
    if re.search(r"\\[dDsSwWbBAzZ]", schema.get("pattern") or ""):
        raise TypeError("a pattern must name its characters: \\s, \\w and the like differ between Python and Go")
    if schema["type"] == "array" and not schema.get("maxItems"):
        raise TypeError("a list needs a max_length")
    return schema


def _of_type(type_: inspect.Type) -> Schema:
    match type_:
        case inspect.Metadata():
            schema = _of_type(type_.type) | (type_.extra_json_schema or {})
            if type_.extra:
                schema["x-kubernetes-validations"] = [_extra(type_.extra)]
            return schema
        case inspect.UnionType(types=(one, inspect.NoneType())):
            return _of_type(one)
        case inspect.StructType():
            return of_struct(type_.cls)
        case inspect.CustomType() if type_.cls is Duration:
            return {"type": "string", "pattern": duration.PATTERN, "maxLength": duration.MAX_LENGTH}
        case inspect.VarTupleType():
            items = ordered(_complete(_of_type(type_.item_type)))
            return {"type": "array", "items": items, "minItems": type_.min_length, "maxItems": type_.max_length}
        case _:
            return _of_scalar(type_)


def _of_scalar(type_: inspect.Type) -> Schema:
    match type_:
        case inspect.StrType():
            return {
                "type": "string",
                "minLength": type_.min_length,
                "maxLength": type_.max_length,
                "pattern": type_.pattern,
            }
        case inspect.IntType():
            return {"type": "integer", "minimum": type_.ge, "maximum": type_.le}
        case inspect.FloatType():
            return {
                "type": "number",
                "minimum": type_.ge,
                "maximum": type_.le,
                "x-kubernetes-validations": _fractional_minimum(type_.ge),
            }
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.LiteralType():
            return {"type": "string", "enum": list(type_.values)}
        case _:
            raise TypeError(f"no schema for {type_}")


def _extra(extra: dict[str, Any]) -> Schema:
    if "refused" in extra:
        return rule(f"self != '{extra['refused']}'", extra["message"])
    return _bounds(extra["minimum"], extra["maximum"])


def _bounds(minimum: str, maximum: str) -> Schema:
    return rule(
        f"duration(self) >= duration('{minimum}') && duration(self) <= duration('{maximum}')",
        f"must be between {minimum} and {maximum}",
    )


def _fractional_minimum(minimum: float | None) -> list[Schema]:
    """The API server cuts a minimum of 0.01 down to 0 where the value is a whole number; a rule is kept as it is."""
    if minimum is None or float(minimum).is_integer():
        return []
    return [rule(f"self >= {float(minimum)}", f"must be at least {float(minimum)}")]


def _plain_default(value: Any) -> Any:
    """A default as JSON. None where there is none to show: an object, an empty text, an empty list.

    An object that was left out stays out, so that a rule can ask whether it was written; its parts tell their defaults.
    """
    if isinstance(value, Duration):
        return str(value)
    if isinstance(value, tuple):
        return list(value) or None
    return None if value == "" or isinstance(value, msgspec.Struct) else value


def _first_paragraph(type_: type) -> str:
    return " ".join((python_inspect.getdoc(type_) or "").split("\n\n")[0].split())
