"""OpenAPI v3: an index, and one document for each group and version, as kubectl reads them.

Every kubectl from 1.27 on asks here first, and only here if the answer is good; the older document, /openapi/v2, is
protobuf, and is not served. What kubectl takes from a document:

- `create` and `apply` look for the PATCH operation of the kind and, among its parameters, for `fieldValidation`. It is
  there, so they leave validation to the server. `diff` and `--dry-run=server` look for `dryRun` in the same place.
- `explain` finds the kind at the path of its collection and the schema by `x-kubernetes-group-version-kind`.
- `apply` of a built-in kind reads from the schema how lists are merged.

The documents are made anew for each call from the kinds that are served then, so those of a CRD are there at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from issuer.sandbox.cluster.explained import OBJECT_META, explained

if TYPE_CHECKING:
    from collections.abc import Iterable

    from issuer.sandbox.cluster.kinds import Kind, Manifest

ROOT: Final = "/openapi/v3"
META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
PATCH_TYPES: Final = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)

_TEXT: Final[Manifest] = {"type": "string"}
_WRITING: Final = ("dryRun", "fieldManager", "fieldValidation")


def answer(path: str, kinds: Iterable[Kind]) -> Manifest | None:
    """The index or a document, or None if the path is neither."""
    if not path.startswith(ROOT):
        return None
    groups: dict[str, list[Kind]] = {}
    for kind in kinds:
        groups.setdefault(_folder(kind), []).append(kind)
    if path == ROOT:
        return {"paths": {folder: {"serverRelativeURL": f"{ROOT}/{folder}"} for folder in groups}}
    found = groups.get(path.removeprefix(f"{ROOT}/"))
    return _document(found) if found else None


def _folder(kind: Kind) -> str:
    return f"apis/{kind.api_version}" if kind.group else f"api/{kind.version}"


def _document(kinds: list[Kind]) -> Manifest:
    paths: Manifest = {}
    schemas: Manifest = {META: OBJECT_META}
    for kind in kinds:
        paths |= _paths(kind)
        schemas |= _schemas(kind)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "sandbox"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _schemas(kind: Kind) -> Manifest:
    schema = explained(kind)
    properties = {
        **schema.get("properties", {}),
        "apiVersion": {"type": "string", "description": "Group and version of this schema."},
        "kind": {"type": "string", "description": f"Always {kind.kind}."},
        "metadata": {"allOf": [_ref(META)], "default": {}, "description": "Name, namespace, labels and the like."},
    }
    one = {**schema, "type": "object", "properties": properties, "x-kubernetes-group-version-kind": [_gvk(kind)]}
    items = {"type": "array", "items": _ref(_name(kind)), "description": "The objects."}
    many = {
        "type": "object",
        "required": ["items"],
        "properties": {"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"type": "object"}, "items": items},
        "x-kubernetes-group-version-kind": [_gvk(kind) | {"kind": f"{kind.kind}List"}],
    }
    return {_name(kind): one, f"{_name(kind)}List": many}


def _paths(kind: Kind) -> Manifest:
    root = f"/{_folder(kind)}"
    collection = f"{root}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"
    placed = [_parameter("namespace", "path")] if kind.namespaced else []
    named = [*placed, _parameter("name", "path")]
    one = {
        "get": _operation(kind, "get"),
        "put": _operation(kind, "put", writes=True),
        "patch": _operation(kind, "patch", writes=True, types=PATCH_TYPES, more=("force",)),
        "delete": _operation(kind, "delete", more=("dryRun", "gracePeriodSeconds", "propagationPolicy")),
        "parameters": named,
    }
    paths: Manifest = {
        collection: {
            "get": _operation(kind, "list", more=("labelSelector", "fieldSelector", "limit", "continue", "watch")),
            "post": _operation(kind, "post", writes=True),
            "delete": _operation(kind, "deletecollection", more=("dryRun", "labelSelector", "fieldSelector")),
            "parameters": placed,
        },
        f"{collection}/{{name}}": one,
    }
    if kind.namespaced:
        paths[f"{root}/{kind.plural}"] = {"get": _operation(kind, "list")}
    if kind.has_status:
        paths[f"{collection}/{{name}}/status"] = {
            name: value for name, value in one.items() if name in ("get", "put", "patch", "parameters")
        }
    return paths


def _operation(
    kind: Kind,
    action: str,
    *,
    writes: bool = False,
    types: tuple[str, ...] = ("application/json",),
    more: tuple[str, ...] = (),
) -> Manifest:
    shown = {"application/json": {"schema": _ref(f"{_name(kind)}List" if action == "list" else _name(kind))}}
    operation: Manifest = {
        "parameters": [_parameter(name, "query") for name in (*(_WRITING if writes else ()), *more)],
        "responses": {"200": {"description": "OK", "content": shown}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(kind),
    }
    if writes:
        operation["requestBody"] = {"content": {type_: {"schema": {"type": "object"}} for type_ in types}}
    return operation


def _parameter(name: str, where: str) -> Manifest:
    return {"name": name, "in": where, "schema": _TEXT, **({"required": True} if where == "path" else {})}


def _gvk(kind: Kind) -> Manifest:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _name(kind: Kind) -> str:
    """The group backwards, as the real server does it: `io.cdn-issuer.v1alpha1.CDNIssuer`."""
    return ".".join((*reversed((kind.group or "core.api.k8s.io").split(".")), kind.version, kind.kind))


def _ref(name: str) -> Manifest:
    return {"$ref": f"#/components/schemas/{name}"}
