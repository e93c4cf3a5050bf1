"""What the CRDs of a cluster know, against what this version writes and reads.

The API server drops a field that its CRD does not know, without a word: an issuer then does something else than what
was written. Whoever may talk to the API server may read the schemas (`/openapi/v3`, ClusterRole `system:discovery`), so
this needs no right to read CustomResourceDefinitions, which a controller of one namespace does not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from issuer.api import crd
from issuer.api.issuer import GROUP, PLURALS, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

OPENAPI: Final = f"/openapi/v3/apis/{GROUP}/{VERSION}"
"""Where the API server has the schemas of our kinds."""
_PARTS: Final = ("spec", "status")
"""What of an object is ours; the API server itself has its metadata."""


def expected(kinds: Mapping[str, type[msgspec.Struct]]) -> dict[str, frozenset[str]]:
    """The fields of each of our kinds, as `spec.authorities[].name`, in the CRDs that go with this version."""
    return {
        definition["spec"]["names"]["kind"]: _fields(
            msgspec.convert(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], _Schema)
        )
        for definition in crd.definitions(kinds)
    }


class _Named(msgspec.Struct, frozen=True):
    group: str
    version: str
    kind: str


class _Schema(msgspec.Struct, frozen=True, rename={"named": "x-kubernetes-group-version-kind"}):
    """A schema, as far as it is read. Whatever it refers to elsewhere (`$ref`) is not ours."""

    properties: dict[str, _Schema] = {}
    items: _Schema | None = None
    named: tuple[_Named, ...] = ()


class _Components(msgspec.Struct, frozen=True):
    schemas: dict[str, _Schema] = {}


class _Document(msgspec.Struct, frozen=True):
    components: _Components = _Components()


def served(document: bytes) -> dict[str, frozenset[str]]:
    """The fields of each of our kinds, in the document that the API server has at `OPENAPI`.

    Raises:
        msgspec.DecodeError: it is no such document.
    """
    schemas = msgspec.json.decode(document, type=_Document).components.schemas
    return {
        named.kind: _fields(schema)
        for schema in schemas.values()
        for named in schema.named
        if (named.group, named.version) == (GROUP, VERSION) and named.kind in PLURALS
    }


def outermost(fields: Iterable[str]) -> list[str]:
    """Those fields that are not within another of them, sorted."""
    found: list[str] = []
    for field in sorted(fields):
        if not found or not field.startswith((f"{found[-1]}.", f"{found[-1]}[")):
            found.append(field)
    return found


def _fields(schema: _Schema) -> frozenset[str]:
    parts = {part: schema.properties[part] for part in _PARTS if part in schema.properties}
    return frozenset(path for part, inner in parts.items() for path in _walk(part, inner))


def _walk(path: str, schema: _Schema) -> Iterator[str]:
    yield path
    for name, inner in schema.properties.items():
        yield from _walk(f"{path}.{name}", inner)
    if schema.items is not None:
        yield from _walk(f"{path}[]", schema.items)
