"""Which resource of the API is meant, and where it lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from issuer.kube.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the Kubernetes API; `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """As objects carry it: `group/version`, or `version` of the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of the collection (no name), of one object, or of one of its subresources.

        A namespace is left out for a cluster-scoped resource; none means all namespaces. Names come from users (a
        Secret's, for one), so each is quoted, and one that would lead to another path is refused.

        Raises:
            InvalidError: a name that no object can have (Kubernetes: "Path Segment Names").
        """
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", _segment(namespace)]
        parts.append(self.plural)
        if name:
            parts.append(_segment(name))
        if subresource:
            parts.append(subresource)
        return "/" + "/".join(parts)


LEASES: Final = Resource("coordination.k8s.io", "v1", "leases")
SECRETS: Final = Resource("", "v1", "secrets")
EVENTS: Final = Resource("events.k8s.io", "v1", "events")
CORE_EVENTS: Final = Resource("", "v1", "events")


def _segment(name: str) -> str:
    if name in (".", "..") or "/" in name or "%" in name:
        raise InvalidError(400, "BadRequest", f"{name[:80]!r} cannot be the name of an object")
    return quote(name, safe="")
