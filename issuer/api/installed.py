"""What the CRDs of a cluster know, against what this version writes and reads.

The API server drops a field that its CRD does not know, without a word: an issuer then does something else than what
was written. Whoever may talk to the API server may read the schemas (`/openapi/v3`, ClusterRole `system:discovery`), so
this needs no right to read CustomResourceDefinitions, which a controller of one namespace does not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from issuer.api import crd
from issuer.api.issuer import GROUP, PLURALS, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import msgspec

OPENAPI: Final = f"/openapi/v3/apis/{GROUP}/{VERSION}"
"""Where the API server has the schemas of our kinds."""
_KIND: Final = "x-kubernetes-group-version-kind"
_PARTS: Final = ("spec", "status")
"""What of an object is ours; the API server itself has its metadata."""


def expected(kinds: Mapping[str, type[msgspec.Struct]]) -> dict[str, frozenset[str]]:
    """The fields of each of our kinds, as `spec.authorities[].name`, in the CRDs that go with this version."""
    return {
        definition["spec"]["names"]["kind"]: _fields(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
        for definition in crd.definitions(kinds)
    }


def served(document: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """The fields of each of our kinds, in the document that the API server has at `OPENAPI`."""
    schemas = document.get("components", {}).get("schemas", {})
    return {
        named["kind"]: _fields(schema)
        for schema in schemas.values()
        for named in schema.get(_KIND, ())
        if (named["group"], named["version"]) == (GROUP, VERSION) and named["kind"] in PLURALS
    }


def outermost(fields: Iterable[str]) -> list[str]:
    """Those fields that are not within another of them, sorted."""
    found: list[str] = []
    for field in sorted(fields):
        if not found or not field.startswith((f"{found[-1]}.", f"{found[-1]}[")):
            found.append(field)
    return found


def _fields(schema: Mapping[str, Any]) -> frozenset[str]:
    properties = schema.get("properties", {})
    return frozenset(path for part in _PARTS if part in properties for path in _walk(part, properties[part]))


def _walk(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield path
    for name, inner in schema.get("properties", {}).items():
        yield from _walk(f"{path}.{name}", inner)
    if isinstance(items := schema.get("items"), dict):
        yield from _walk(f"{path}[]", items)
