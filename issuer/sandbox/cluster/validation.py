"""What the server makes of an object before it is stored, and why it refuses one.

Each rule is in the module of its subject; here is their order: the Go type or the schema first, then metadata, then
what the kind demands (apiserver: `pkg/registry/rest/create.go` and `update.go`).
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from issuer.sandbox.cluster import errors, eventrules, objectmeta
from issuer.sandbox.cluster.invalid import Cause, forbidden, invalid, refusal, refusal_of_resource, too_long
from issuer.sandbox.cluster.kinds import from_crd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.sandbox.cluster.kinds import Kind, Manifest

BODY_LIMIT: Final = 3 * 1024 * 1024
"""Bytes of a request (apiserver: `pkg/server/config.go`, MaxRequestBodyBytes)."""
STORED_LIMIT: Final = 1536 * 1024
"""Bytes that etcd takes (etcd: `server/embed/config.go`, DefaultMaxRequestBytes)."""
DATA_LIMIT: Final = 1024 * 1024
"""Bytes of a Secret or a ConfigMap (Kubernetes: `pkg/apis/core/types.go`, MaxSecretSize)."""
NO_UNCONDITIONAL_UPDATE: Final = frozenset({"leases", "customresourcedefinitions", "serviceaccounts"})
"""Built-in resources whose PUT has to name the version it is about, as that of every custom resource has to."""


def prepared(kind: Kind, obj: Manifest, old: Manifest | None = None) -> Manifest:
    """The object as it will be stored: fitted to the schema; a Secret's `stringData` has become `data`.

    Raises:
        StatusError: 400, the metadata or a built-in kind does not decode.
    """
    problem = objectmeta.mistyped(obj.get("metadata", {}))
    if problem:
        raise errors.UndecodableError(kind, problem)
    obj = kind.shape.fitted(obj, old)
    if kind.typed:
        for cause in kind.shape.mismatches(obj, old):
            raise errors.UndecodableError(kind, _go_words(kind, cause))
    if kind.kind == "Secret" and "stringData" in obj:
        return _folded(obj)
    return obj


def check(kind: Kind, obj: Manifest, old: Manifest | None, *, status: bool = False) -> None:
    """Refuse the object if the real server would.

    Args:
        kind: as it was asked for: an Event through events.k8s.io/v1 is held to more.
        obj: what would be stored.
        old: what is stored, unless it is new.
        status: the status alone is written; the metadata stays as it is.

    Raises:
        StatusError: 422.
    """
    found = [] if kind.typed else kind.shape.causes(obj, old, status=status)
    if not status:
        found = [*objectmeta.check(kind.kind, obj["metadata"]), *found, *_of_kind(kind, obj, old)]
        found += objectmeta.check_change(obj["metadata"], old["metadata"]) if old else ()
    if found:
        raise refusal(kind, obj["metadata"].get("name", ""), found)


def check_version(kind: Kind, obj: Manifest, name: str) -> None:
    """Refuse a PUT that does not say which version it replaces (apiserver: `pkg/registry/generic/registry/store.go`).

    Raises:
        StatusError: 422.
    """
    unconditional = kind.built_in and kind.plural not in NO_UNCONDITIONAL_UPDATE
    if not unconditional and not (obj.get("metadata") or {}).get("resourceVersion"):
        raise refusal_of_resource(
            kind, name, [invalid("metadata.resourceVersion", 0, "must be specified for an update")]
        )


def check_size(encoded: bytes) -> None:
    """Refuse what etcd would not take.

    Raises:
        StatusError: 500, as the real server tells it.
    """
    if len(encoded) > STORED_LIMIT:
        raise errors.not_stored()


def _folded(secret: Manifest) -> Manifest:
    """A Secret whose `stringData` is part of its `data` (Kubernetes: `pkg/apis/core/v1/conversion.go`)."""
    plain = {name: b64encode(text.encode()).decode() for name, text in secret["stringData"].items()}
    kept = {name: part for name, part in secret.items() if name != "stringData"}
    return {**kept, "data": {**secret.get("data", {}), **plain}}


def _of_kind(kind: Kind, obj: Manifest, old: Manifest | None) -> Iterator[Cause]:
    match kind.stored.group, kind.kind:
        case "", "Event":
            new_api = kind.group != ""
            if old is None:
                yield from eventrules.check_new(obj, new_api=new_api)
            else:
                yield from eventrules.check_change(obj, old, new_api=new_api)
        case "coordination.k8s.io", "Lease":
            yield from _lease(obj.get("spec") or {})
        case "apiextensions.k8s.io", _:
            yield from _definition(obj)
        case "", "Secret" | "ConfigMap":
            yield from _data(obj, old or {})


def _definition(crd: Manifest) -> Iterator[Cause]:
    """What cannot be served is refused; a real server looks closer at schemas and names its findings one by one."""
    try:
        from_crd(crd)
    except (KeyError, TypeError, AttributeError) as error:
        yield invalid("spec", "object", f"cannot be read: {error!r}")
    except ValueError as error:
        yield invalid("spec.versions", "array", f"a schema, or a rule in one, does not compile: {error}")


def _lease(spec: Manifest) -> Iterator[Cause]:
    """Kubernetes: `pkg/apis/coordination/validation/validation.go`."""
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        yield invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    if transitions is not None and transitions < 0:
        yield invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0")


def _data(obj: Manifest, old: Manifest) -> Iterator[Cause]:
    """Kubernetes: `pkg/apis/core/validation/validation.go`, ValidateSecret, ValidateConfigMap and their updates."""
    size = 0
    for field in ("data", "binaryData"):
        for key, text in obj.get(field, {}).items():
            if key in {"..", "."}:
                yield invalid(f"{field}[{key}]", key, f"must not be '{key}'")
            elif not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key) or key.startswith(".."):
                yield invalid(
                    f"{field}[{key}]",
                    key,
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
                    "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                )
            size += len(text) * 3 // 4 if obj["kind"] == "Secret" or field == "binaryData" else len(text.encode())
    if size > DATA_LIMIT:
        yield too_long("data" if obj["kind"] == "Secret" else "[]", DATA_LIMIT)
    if obj["kind"] == "Secret" and old and obj.get("type", "Opaque") != old.get("type", "Opaque"):
        yield invalid("type", obj.get("type", ""), "field is immutable")
    if old.get("immutable"):
        for field in ("immutable", "data", "binaryData"):
            if obj.get(field) != old.get(field):
                yield forbidden(field, "field is immutable when `immutable` is set")


def _go_words(kind: Kind, cause: Cause) -> str:
    """What Go's decoder says where the schema of a built-in kind finds a mismatch."""
    found: Any = re.search(r'must be of type ([\w-]+): "(.*)"$', cause.detail, re.DOTALL)
    if found is None:
        return str(cause)
    wanted, value = found.groups()
    match wanted:
        case "bytes":
            return f"illegal base64 data at input byte {_where_base64_ends(value)}"
        case "micro-time" | "date-time":
            layout = f"2006-01-02T15:04:05{'.000000' if wanted == 'micro-time' else ''}Z07:00"
            rest, part = (
                (value[19:], ".000000") if re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", value) else (value, "2006")
            )
            return f'parsing time "{value}" as "{layout}": cannot parse "{rest}" as "{part}"'
    go = {"integer": "int32", "boolean": "bool"}.get(wanted, wanted)
    value = "number" if value == "integer" else value
    owner = f"{kind.kind}Spec" if cause.field.startswith("spec.") else kind.kind
    return f"json: cannot unmarshal {value} into Go struct field {owner}.{cause.field} of type {go}"


def _where_base64_ends(text: str) -> int:
    """Where Go's decoder finds that it is none (`encoding/base64`, CorruptInputError)."""
    bad = re.search(r"[^A-Za-z0-9+/=]", text)
    if bad:
        return bad.start()
    if "=" not in text:
        return len(text) - len(text) % 4
    return len(text) if len(text) % 4 == 3 else len(text) - 1  # noqa: PLR2004 - one sign short of a quantum
