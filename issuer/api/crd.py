"""The CRDs of both kinds, from one source: the structs that read the objects.

`issuer.api.issuer` declares fields, defaults, bounds and descriptions; each kind of authority declares its own in its
`Config`; `issuer.api.schema` turns them into schemas. Here are the documents around them, and the rules over several
fields. `make crds` writes `crds/`; a test compares.

The list of authorities is a map by name (`x-kubernetes-list-type: map`), not a list with a CEL rule for unique names:
the API server refuses a repeated name either way, and server-side apply can then own one entry and leave the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from issuer.api.duration import Duration
from issuer.api.issuer import (
    CALLS_ONLY,
    CLUSTER_ISSUER_KIND,
    GROUP,
    IN_PROCESS,
    ISSUER_KIND,
    PLURALS,
    VERSION,
    AuthorityCommon,
    SpecCommon,
    no_effect,
)
from issuer.api.issuerstatus import MAX_AUTHORITIES, IssuerStatus
from issuer.api.schema import Schema, of_struct, ordered, rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    import msgspec

SHORT_NAMES: Final = {ISSUER_KIND: ["cdni"], CLUSTER_ISSUER_KIND: ["cdnci"]}
SCOPES: Final = {ISSUER_KIND: "Namespaced", CLUSTER_ISSUER_KIND: "Cluster"}
WHERE_SECRETS_ARE: Final = {
    ISSUER_KIND: "its own namespace",
    CLUSTER_ISSUER_KIND: "the namespace given by --cluster-resource-namespace",
}

_READY: Final = '.status.conditions[?(@.type=="Ready")]'
_COLUMNS: Final[tuple[Schema, ...]] = (
    {
        "name": "Ready",
        "description": "Whether any authority can sign.",
        "type": "string",
        "jsonPath": f"{_READY}.status",
    },
    {
        "name": "Active",
        "description": "The first authority that can sign now.",
        "type": "string",
        "jsonPath": ".status.active",
    },
    {"name": "Reason", "description": "Why, in one word.", "type": "string", "jsonPath": f"{_READY}.reason"},
    {
        "name": "Message",
        "description": "Why, and what to do about it.",
        "type": "string",
        "priority": 1,
        "jsonPath": f"{_READY}.message",
    },
    {"name": "Age", "description": "Since when it exists.", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
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
            "preserveUnknownFields": False,
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": list(_COLUMNS),
                    "schema": {"openAPIV3Schema": _object_schema(kind, kinds)},
                }
            ],
        },
    }


def _object_schema(kind: str, kinds: Mapping[str, type[msgspec.Struct]]) -> Schema:
    return {
        "description": f"An issuer for cert-manager that signs through the first of its authorities that can. Secrets "
        f"that it names are read from {WHERE_SECRETS_ARE[kind]}.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": "Version of this schema.", "type": "string"},
            "kind": {"description": f"Always {kind}.", "type": "string"},
            "metadata": {"type": "object"},
            "spec": _spec(kinds),
            "status": _status(),
        },
    }


def _status() -> Schema:
    status = of_struct(IssuerStatus)
    for name, key in (("conditions", "type"), ("authorities", "name")):
        status["properties"][name] = _map_by(key, status["properties"][name])
    return status


def _spec(kinds: Mapping[str, type[msgspec.Struct]]) -> Schema:
    common = of_struct(SpecCommon)
    in_process = [kind for kind in kinds if kind in IN_PROCESS]
    authorities = {
        "description": "The authorities, best first. The first one that can sign, signs.",
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_AUTHORITIES,
        "items": _authority(kinds),
    }
    return ordered(
        common
        | {
            "required": ["authorities"],
            "properties": {"authorities": _map_by("name", authorities)} | common["properties"],
            "x-kubernetes-validations": [
                rule(
                    f"self.authorities.all(a, {_given(in_process, 'a')}!has(a.timeouts) || !has(a.timeouts.attempt) || "
                    "duration(a.timeouts.attempt) <= duration(self.deadline))",
                    "timeouts.attempt of an authority must not be longer than deadline",
                )
            ],
        }
    )


def _authority(kinds: Mapping[str, type[msgspec.Struct]]) -> Schema:
    common = of_struct(AuthorityCommon)
    own = {name: of_struct(config) for name, config in kinds.items()}
    listed = ", ".join(kinds)
    return ordered(
        common
        | {
            "description": f"An authority: exactly one of {listed}, and how it is asked.",
            "properties": {"name": common["properties"].pop("name")} | own | common["properties"],
            "x-kubernetes-validations": [
                rule(
                    "[" + ", ".join(f"has(self.{name})" for name in kinds) + "].filter(given, given).size() == 1",
                    f"exactly one of {listed} is needed",
                ),
                rule(
                    "!has(self.caBundleSecretRef) || !has(self.caBundle) || self.caBundle == ''",
                    "caBundle and caBundleSecretRef exclude each other",
                ),
                *(
                    _without_effect(kind, name, common["properties"][name])
                    for kind in kinds
                    if kind in IN_PROCESS
                    for name in CALLS_ONLY
                ),
            ],
        }
    )


def _without_effect(kind: str, name: str, schema: Schema) -> Schema:
    """The rule that an authority in process has no field about calls, but for what an older CRD filled in by itself.

    That stands in every object that was stored under it. A server before Kubernetes 1.30 holds the whole object to the
    rules when a status is written, so without the exception no status of such an issuer could be.
    """
    defaults = AuthorityCommon(name=name)
    group = getattr(defaults, name)
    filled = " && ".join(
        f"(!has(self.{name}.{part}) || self.{name}.{part} == {_literal(getattr(group, attribute))})"
        for attribute, part in zip(group.__struct_fields__, schema["properties"], strict=True)
    )
    return rule(f"!has(self.{kind}) || !has(self.{name}) || ({filled})", no_effect(kind, name))


def _literal(value: Duration | float) -> str:
    return f"'{value}'" if isinstance(value, Duration) else repr(value)


def _given(kinds: list[str], variable: str) -> str:
    return "".join(f"has({variable}.{kind}) || " for kind in kinds)


def _map_by(key: str, schema: Schema) -> Schema:
    return ordered(schema | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]})
