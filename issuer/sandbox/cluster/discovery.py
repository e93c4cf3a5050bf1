"""Discovery: which groups and resources there are, in the form that every version of kubectl reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from issuer.sandbox.cluster.kinds import Kind, Manifest

VERBS: Final = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
MINOR: Final = "34"
"""The minor version that is told to whoever has none of its own."""

_KUBECTL: Final = re.compile(r"kubectl[^/]*/v1\.(\d+)")


def version(user_agent: str) -> Manifest:
    """The answer to /version: the client's own minor version, for a kubectl warns of any that is far from its own."""
    found = _KUBECTL.match(user_agent)
    minor = found[1] if found else MINOR
    return {"major": "1", "minor": minor, "gitVersion": f"v1.{minor}.0-sandbox", "platform": "sandbox"}


def answer(path: str, kinds: Iterable[Kind]) -> Manifest | None:
    """The answer to a discovery call, or None if the path is none."""
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    found = list(kinds)
    if path == "/apis":
        groups = dict.fromkeys((kind.group, kind.version) for kind in found if kind.group)
        names = dict.fromkeys(group for group, _ in groups)
        return {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [_group(name, [version for group, version in groups if group == name]) for name in names],
        }
    parts = path.strip("/").split("/")
    if parts == ["api", "v1"]:
        return _resources("v1", [kind for kind in found if not kind.group])
    if parts[0] == "apis" and len(parts) == 3:  # noqa: PLR2004 - /apis/group/version
        here = [kind for kind in found if (kind.group, kind.version) == (parts[1], parts[2])]
        return _resources(f"{parts[1]}/{parts[2]}", here) if here else None
    return None


def _group(name: str, versions: list[str]) -> Manifest:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resources(group_version: str, kinds: list[Kind]) -> Manifest:
    resources: list[Manifest] = []
    for kind in kinds:
        resource: Manifest = {
            "name": kind.plural,
            "singularName": kind.kind.lower(),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": VERBS,
            "shortNames": list(kind.short_names),
            "categories": list(kind.categories),
        }
        resources.append(resource)
        if kind.has_status:
            resources.append(
                {
                    "name": f"{kind.plural}/status",
                    "singularName": "",
                    "namespaced": kind.namespaced,
                    "kind": kind.kind,
                    "verbs": ["get", "patch", "update"],
                }
            )
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}
