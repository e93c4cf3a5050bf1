"""What a change of a CRD breaks for whoever has objects of it: a comparison of two CRDs.

After Kubernetes' rules for changes of an API (sig-architecture, api_changes.md): what was accepted stays accepted, and
means the same. What is said here is each place where that is not so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema = dict[str, Any]

FLOORS: Final = ("minimum", "minLength", "minItems", "minProperties")
CEILINGS: Final = ("maximum", "maxLength", "maxItems", "maxProperties")
FIXED: Final = ("type", "format", "default", "x-kubernetes-list-type", "x-kubernetes-list-map-keys")


def breaks(old: Schema, new: Schema) -> list[str]:
    """What the new CRD breaks, a sentence each, with the path of the field; empty if nothing."""
    return [*_names(old["spec"], new["spec"]), *_versions(old["spec"], new["spec"])]


def _names(old: Schema, new: Schema) -> Iterator[str]:
    for fields, before, after in ((("group", "scope"), old, new), (("kind", "plural"), old["names"], new["names"])):
        for field in fields:
            if before[field] != after[field]:
                yield f"{field} was {before[field]}"


def _versions(old: Schema, new: Schema) -> Iterator[str]:
    versions = {one["name"]: one for one in new["versions"]}
    for version in old["versions"]:
        now = versions.get(version["name"])
        if now is None or (version["served"] and not now["served"]):
            yield f"the version {version['name']} is not served"
        else:
            yield from _schema("", *(one["schema"]["openAPIV3Schema"] for one in (version, now)))


def _schema(path: str, old: Schema, new: Schema) -> Iterator[str]:
    where = path.lstrip(".") or "the object"
    for broken in (*_narrower(old, new), *_stricter(old, new)):
        yield f"{where}: {broken}"
    for name, schema in old.get("properties", {}).items():
        if name in new.get("properties", {}):
            yield from _schema(f"{path}.{name}", schema, new["properties"][name])
        else:
            yield f"{where}: {name} is gone"
    if "items" in old and "items" in new:
        yield from _schema(f"{path}[]", old["items"], new["items"])


def _narrower(old: Schema, new: Schema) -> Iterator[str]:
    """Values that were allowed, or meant something else."""
    changed = [key for key in FIXED if old.get(key) != new.get(key)]
    for keys, sign in ((FLOORS, 1), (CEILINGS, -1)):
        changed += [key for key in keys if key in new and (key not in old or sign * new[key] > sign * old[key])]
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        changed.append("pattern")
    for key in changed:
        yield f"{key} was {old.get(key)}"
    if "enum" in new and (gone := set(old.get("enum", ["any value"])) - set(new["enum"])):
        yield f"{', '.join(sorted(gone))} was allowed"
    if old.get("nullable") and not new.get("nullable"):
        yield "null was allowed"


def _stricter(old: Schema, new: Schema) -> Iterator[str]:
    """Fields that were not needed, and rules that there were not."""
    if needed := set(new.get("required", ())) - set(old.get("required", ())):
        yield f"{', '.join(sorted(needed))} was not required"
    rules = {rule["rule"] for rule in old.get("x-kubernetes-validations", ())}
    for rule in new.get("x-kubernetes-validations", ()):
        if rule["rule"] not in rules:
            yield f"no rule said that {rule['message']}"
