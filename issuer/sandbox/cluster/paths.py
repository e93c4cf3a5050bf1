"""Which object, or which collection, a path of the Kubernetes API means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from issuer.sandbox.cluster.errors import PageNotFoundError, no_such_resource, not_found
from issuer.sandbox.cluster.kinds import BUILT_IN_GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.sandbox.cluster.kinds import Kind


@dataclass(frozen=True, slots=True)
class Target:
    """What a call is about; without a name it is the collection."""

    kind: Kind
    namespace: str
    name: str
    subresource: str

    @property
    def key(self) -> tuple[str, str]:
        """Of the object in the store."""
        return (self.namespace if self.kind.namespaced else ""), self.name


class Kinds:
    """The resources that are served, found by path."""

    def __init__(self, kinds: tuple[Kind, ...]) -> None:
        self._kinds = {(kind.group, kind.version, kind.plural): kind for kind in kinds}

    def __iter__(self) -> Iterator[Kind]:
        return iter(tuple(self._kinds.values()))

    def add(self, kind: Kind) -> None:
        """Serve another one, or another form of one."""
        self._kinds[kind.group, kind.version, kind.plural] = kind

    def remove(self, kind: Kind) -> None:
        """Serve one no longer."""
        self._kinds.pop((kind.group, kind.version, kind.plural), None)

    def of(self, api_version: str, kind: str) -> Kind:
        """The resource of a kind, as a manifest names it.

        Raises:
            StatusError: there is none.
        """
        found = next((one for one in self if (one.api_version, one.kind) == (api_version, kind)), None)
        if found is None:
            raise no_such_resource()
        return found

    def named(self, plural: str) -> Kind:
        """The first resource of that name in any group."""
        found = next((one for one in self if one.plural == plural), None)
        if found is None:
            raise no_such_resource()
        return found

    def target(self, path: str) -> Target:
        """What a path means.

        Raises:
            StatusError: nothing. What a built-in group lacks is told otherwise than what no CRD brings.
        """
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[0] == "api":
            group, rest = "", parts[1:]
        elif parts[0] == "apis":
            group, rest = parts[1] if len(parts) > 1 else "", parts[2:]
        else:
            raise PageNotFoundError
        version, rest = (rest[0], rest[1:]) if rest else ("", [])
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces" and (group, version, rest[2]) in self._kinds:  # noqa: PLR2004
            namespace, rest = rest[1], rest[2:]
        plural, name, subresource = [*rest, "", "", ""][:3]
        kind = self._kinds.get((group, version, plural))
        if kind is None:
            raise no_such_resource() if group in BUILT_IN_GROUPS and version else PageNotFoundError()
        if subresource not in ("", "status") or (subresource and not kind.has_status):
            if kind.built_in:
                raise no_such_resource()
            raise not_found(kind, name)
        return Target(kind, namespace, name, subresource)
