"""The CRDs, made from the structs that read the objects, so that the two cannot drift apart.

`issuer.api.issuer` declares fields, defaults, bounds and descriptions; each kind of authority declares its own in its
`Config`. Here they become structural OpenAPI schemas (Kubernetes: "Specifying a structural schema") with CEL rules for
what a schema cannot say. `make crds` writes `crds/`; a test compares.
"""

from __future__ import annotations

import inspect as python_inspect
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import inspect

from issuer.api import duration
from issuer.api.duration import Duration
from issuer.api.issuer import (
    CLUSTER_ISSUER_KIND,
    GROUP,
    ISSUER_KIND,
    MAX_AUTHORITIES,
    PLURALS,
    VERSION,
    AuthorityCommon,
    IssuerStatus,
    SpecCommon,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Schema = dict[str, Any]

MAX_TEXT: Final = 32768
"""Characters of a string that says no limit of its own; the API server estimates the cost of CEL rules by it."""
SHORT_NAMES: Final = {ISSUER_KIND: ["cdni"], CLUSTER_ISSUER_KIND: ["cdnci"]}
SCOPES: Final = {ISSUER_KIND: "Namespaced", CLUSTER_ISSUER_KIND: "Cluster"}
WHERE_SECRETS_ARE: Final = {
    ISSUER_KIND: "its own namespace",
    CLUSTER_ISSUER_KIND: "the namespace given by --cluster-resource-namespace",
}

_ORDER_RULES: Final = {
    "Retry": ("minBackoff", "maxBackoff"),
    "CircuitBreaker": ("openFor", "maxOpenFor"),
}
"""Structs with two durations of which the first must not be longer than the second."""

_COLUMNS: Final = (
    ("Ready", '.status.conditions[?(@.type=="Ready")].status', "string", "Whether any authority can sign."),
    ("Active", ".status.active", "string", "The first authority that can sign now."),
    ("Reason", '.status.conditions[?(@.type=="Ready")].reason', "string", "Why."),
    ("Age", ".metadata.creationTimestamp", "date", "Since when it exists."),
)


def definitions(kinds: Mapping[str, type[msgspec.Struct]]) -> tuple[Schema, Schema]:
    """The two CustomResourceDefinitions.

    Args:
        kinds: the types of authority, with the struct of their configuration.
    """
    return _definition(ISSUER_KIND, kinds), _definition(CLUSTER_ISSUER_KIND, kinds)


def _definition(kind: str, kinds: Mapping[str, type[msgspec.Struct]]) -> Schema:
    plural = PLURALS[kind]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"app.kubernetes.io/name": "cdn-issuer"}},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": SHORT_NAMES[kind],
                "categories": ["cert-manager"],
            },
            "scope": SCOPES[kind],
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "jsonPath": path, "type": type_, "description": description}
                        for name, path, type_, description in _COLUMNS
                    ],
                    "schema": {"openAPIV3Schema": _object_schema(kind, kinds)},
                }
            ],
        },
    }


def _object_schema(kind: str, kinds: Mapping[str, type[msgspec.Struct]]) -> Schema:
    status = _struct(IssuerStatus)
    status["properties"]["conditions"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    status["properties"]["authorities"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    return {
        "type": "object",
        "description": f"An issuer for cert-manager that signs through the first of its authorities that can. Secrets "
        f"that it names are read from {WHERE_SECRETS_ARE[kind]}.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of this schema."},
            "kind": {"type": "string", "description": f"Always {kind}."},
            "metadata": {"type": "object"},
            "spec": _spec(kinds),
            "status": {"description": "What the controller says of the issuer."} | status,
        },
    }


def _spec(kinds: Mapping[str, type[msgspec.Struct]]) -> Schema:
    spec = _struct(SpecCommon)
    authorities = {
        "type": "array",
        "description": "The authorities, best first. The first one that can sign, signs.",
        "minItems": 1,
        "maxItems": MAX_AUTHORITIES,
        "items": _authority(kinds),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
    spec["properties"] = {"authorities": authorities} | spec["properties"]
    spec["required"] = ["authorities"]
    spec["description"] = "Which authorities sign, and for how long they are tried."
    spec["x-kubernetes-validations"] = [
        {
            "rule": "self.authorities.all(a, duration(a.timeouts.attempt) <= duration(self.deadline))",
            "message": "timeouts.attempt of an authority must not be longer than deadline",
        }
    ]
    return spec


def _authority(kinds: Mapping[str, type[msgspec.Struct]]) -> Schema:
    schema = _struct(AuthorityCommon)
    own = {name: _struct(config) | {"description": _doc(config)} for name, config in kinds.items()}
    properties = schema["properties"]
    schema["properties"] = {"name": properties.pop("name")} | own | properties
    schema["description"] = "An authority: exactly one of " + ", ".join(kinds) + ", and how it is asked."
    schema["x-kubernetes-validations"] = [
        {
            "rule": "[" + ", ".join(f"has(self.{name})" for name in kinds) + "].filter(given, given).size() == 1",
            "message": f"exactly one of {', '.join(kinds)} is needed",
        },
        {
            "rule": "!has(self.caBundleSecretRef) || !has(self.caBundle) || self.caBundle == ''",
            "message": "caBundle and caBundleSecretRef exclude each other",
        },
    ]
    return schema


def _struct(type_: type[msgspec.Struct]) -> Schema:
    described = inspect.type_info(type_)
    assert isinstance(described, inspect.StructType)
    properties, required = {}, []
    for field in described.fields:
        properties[field.encode_name] = _field(field)
        if field.required:
            required.append(field.encode_name)
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if type_.__name__ in _ORDER_RULES:
        low, high = _ORDER_RULES[type_.__name__]
        schema["x-kubernetes-validations"] = [
            {
                "rule": f"duration(self.{low}) <= duration(self.{high})",
                "message": f"{low} must not be longer than {high}",
            }
        ]
    return schema


def _field(field: inspect.Field) -> Schema:
    schema = _schema(field.type)
    default = field.default
    if default is not msgspec.NODEFAULT and default is not None:
        # A nested default only works where its parent is there, so a whole struct defaults to {}.
        schema["default"] = {} if isinstance(default, msgspec.Struct) else _plain(default)
        if schema["default"] in ("", []):
            del schema["default"]
    return schema


def _schema(type_: inspect.Type) -> Schema:
    match type_:
        case inspect.Metadata():
            inner = _schema(type_.type)
            if description := (type_.extra_json_schema or {}).get("description"):
                inner = {"description": description} | inner | {"description": description}
            if type_.extra:
                inner["x-kubernetes-validations"] = [_bounds(type_.extra["minimum"], type_.extra["maximum"])]
            return inner
        case inspect.UnionType():
            return _schema(next(one for one in type_.types if not isinstance(one, inspect.NoneType)))
        case inspect.StructType():
            return _struct(type_.cls) | {"description": _doc(type_.cls)}
        case inspect.CustomType() if type_.cls is Duration:
            return {"type": "string", "pattern": duration.PATTERN, "maxLength": 32}
        case inspect.VarTupleType():
            limits = {"minItems": type_.min_length, "maxItems": type_.max_length or 64}
            return {"type": "array", "items": _schema(type_.item_type)} | _given(limits)
        case _:
            return _scalar(type_)


def _scalar(type_: inspect.Type) -> Schema:
    match type_:
        case inspect.StrType():
            limits = {
                "minLength": type_.min_length,
                "maxLength": type_.max_length or MAX_TEXT,
                "pattern": type_.pattern,
            }
            return {"type": "string"} | _given(limits)
        case inspect.IntType():
            return {"type": "integer"} | _given({"minimum": type_.ge, "maximum": type_.le})
        case inspect.FloatType():
            return {"type": "number"} | _given({"minimum": type_.ge, "maximum": type_.le})
        case inspect.LiteralType():
            return {"type": "string", "enum": list(type_.values)}
        case _:
            raise TypeError(f"no schema for {type_}")


def _bounds(minimum: str, maximum: str) -> Schema:
    return {
        "rule": f"duration(self) >= duration('{minimum}') && duration(self) <= duration('{maximum}')",
        "message": f"must be between {minimum} and {maximum}",
    }


def _given(limits: Mapping[str, Any]) -> Schema:
    return {name: limit for name, limit in limits.items() if limit is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Duration):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _doc(type_: type) -> str:
    """The docstring of a class as one paragraph, first part only."""
    return " ".join((python_inspect.getdoc(type_) or "").split("\n\n")[0].split())
