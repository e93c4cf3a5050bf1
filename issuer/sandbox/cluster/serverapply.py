"""Server-side apply (`application/apply-patch+yaml`): a manager says which fields it wants, and has them.

What it does as the real API server does: the object is made if it is not there; fields that a manager has applied
before and applies no longer are taken away, unless another manager has applied them too; `metadata.managedFields` has
one entry of the operation Apply for each manager.

What it does not do: a field that somebody else set is taken over without a conflict, as if `force` were always set; a
list is one value, even where its schema says that it is a map, so the last manager's list stands as a whole; writes
that are no apply (create, update, patch) leave no entry in managedFields.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

import msgspec
import yaml

from issuer.sandbox.cluster import patching
from issuer.sandbox.cluster.errors import StatusError, bad_request

if TYPE_CHECKING:
    from issuer.sandbox.cluster.kinds import Kind, Manifest

APPLY: Final = "application/apply-patch+yaml"

_UNOWNED: Final = frozenset({"apiVersion", "kind"})
_UNOWNED_METADATA: Final = frozenset({"name", "namespace", "uid", "resourceVersion", "creationTimestamp"})


def decoded(body: bytes) -> Manifest:
    """The configuration in a body, YAML or JSON.

    Raises:
        StatusError: it is neither, or no object.
    """
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        try:
            found = yaml.safe_load(body)
        except yaml.YAMLError as error:
            raise bad_request(f"error decoding YAML: {error}") from None
    if not isinstance(found, dict):
        raise bad_request("what is applied is not an object")
    return found


def applied(kind: Kind, name: str, current: Manifest | None, wanted: Manifest, manager: str, now: str) -> Manifest:
    """The object after a manager has applied its configuration; `current` is None if there is none yet.

    Args:
        kind: of the object.
        name: as the path has it.
        current: the object as it is.
        wanted: the configuration.
        manager: the query's fieldManager.
        now: the time of the entry in managedFields.

    Raises:
        StatusError: there is no manager, or the configuration is of another object or has managedFields itself.
    """
    metadata = wanted.get("metadata") or {}
    if not manager:
        text = 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
        raise StatusError(422, "Invalid", text)
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    if (wanted.get("apiVersion"), wanted.get("kind")) != (kind.api_version, kind.kind):
        raise bad_request(f"what is applied is no {kind.api_version} {kind.kind}")
    if metadata.get("name", name) != name:
        raise bad_request(f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})")
    result: Manifest = copy.deepcopy(current) if current else {"metadata": {}}
    entries = [entry for entry in result["metadata"].pop("managedFields", ()) if entry.get("operation") == "Apply"]
    others = [entry["fieldsV1"] for entry in entries if entry["manager"] != manager]
    fields = _owned(wanted)
    for entry in entries:
        if entry["manager"] == manager:
            _take_away(result, entry["fieldsV1"], [fields, *others])
    result = patching.apply(patching.MERGE, result, wanted)
    mine = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": kind.api_version,
        "time": now,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    before = next((entry for entry in entries if entry["manager"] == manager), None)
    if before is not None and before["fieldsV1"] == fields:
        mine["time"] = before["time"]  # so that applying the same again changes nothing
    result["metadata"]["name"] = name
    result["metadata"]["managedFields"] = [*(entry for entry in entries if entry["manager"] != manager), mine]
    return result


def _owned(wanted: Manifest) -> Manifest:
    """The fields of a configuration, as FieldsV1 writes them; lists and values are leaves."""
    fields = _fields({name: value for name, value in wanted.items() if name not in _UNOWNED})
    metadata = fields.get("f:metadata", {})
    for name in _UNOWNED_METADATA:
        metadata.pop(f"f:{name}", None)
    if not metadata:
        fields.pop("f:metadata", None)
    return fields


def _fields(value: Any) -> Manifest:
    if not isinstance(value, dict):
        return {}
    return {f"f:{name}": _fields(inner) for name, inner in value.items()}


def _take_away(target: Manifest, fields: Manifest, kept: list[Manifest]) -> None:
    """Remove what a manager had and nobody has now; what others have written beside it stays."""
    for name, inner in fields.items():
        plain = name.removeprefix("f:")
        if plain not in target:
            continue
        holders = [one[name] for one in kept if name in one]
        if inner and isinstance(target[plain], dict):
            _take_away(target[plain], inner, holders)
            if not target[plain] and not holders:
                del target[plain]
        elif not holders:
            del target[plain]
