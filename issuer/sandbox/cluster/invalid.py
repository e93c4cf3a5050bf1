"""What is wrong with an object, field by field: the causes of a 422, in the words of the real API server.

After `pkg/util/validation/field/errors.go` of apimachinery; how causes become one Status is in
`pkg/api/errors/errors.go` (NewInvalid) there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from issuer.sandbox.cluster.errors import StatusError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from issuer.sandbox.cluster.kinds import Kind

BLOCKING: Final = frozenset(
    {"FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"}
)
"""Causes after which CEL rules are not looked at (apiextensions: `pkg/registry/customresource/strategy.go`)."""
_OMITTED: Final = object()


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong.

    Attributes:
        type: for machines, as `FieldValueInvalid`.
        field: the path.
        body: the message without the path.
        detail: the last part of the message, that differs from rule to rule.
    """

    type: str
    field: str
    body: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"


def required(field: str, detail: str = "") -> Cause:
    """It is missing."""
    return _cause("FieldValueRequired", field, "Required value", _OMITTED, detail)


def invalid(field: str, value: Any, detail: str) -> Cause:
    """It is there and makes no sense."""
    return _cause("FieldValueInvalid", field, "Invalid value", value, detail)


def broken(field: str, detail: str) -> Cause:
    """As `invalid`, of an object or a list, which is not shown."""
    return _cause("FieldValueInvalid", field, "Invalid value", _OMITTED, detail)


def wrong_type(field: str, value: Any, detail: str) -> Cause:
    """It is of another type or format."""
    return _cause("FieldValueTypeInvalid", field, "Invalid value", value, detail)


def unsupported(field: str, value: Any, supported: Iterable[Any]) -> Cause:
    """It is none of the values that there are."""
    listed = ", ".join(json.dumps(one if isinstance(one, str) else json.dumps(one)) for one in supported)
    return _cause("FieldValueNotSupported", field, "Unsupported value", value, f"supported values: {listed}")


def duplicate(field: str, value: Any) -> Cause:
    """It is there already."""
    return _cause("FieldValueDuplicate", field, "Duplicate value", value, "")


def forbidden(field: str, detail: str) -> Cause:
    """It may not be there, or not now."""
    return _cause("FieldValueForbidden", field, "Forbidden", _OMITTED, detail)


def too_long(field: str, limit: int) -> Cause:
    """It has more bytes than it may."""
    detail = f"may not be more than {limit} byte{'' if limit == 1 else 's'}"
    return _cause("FieldValueTooLong", field, "Too long", _OMITTED, detail)


def too_many(field: str, actual: int, limit: int) -> Cause:
    """It has more items than it may."""
    detail = f"must have at most {limit} item{'' if limit == 1 else 's'}"
    return _cause("FieldValueTooMany", field, "Too many", actual, detail)


def refusal(kind: Kind, name: str, causes: Sequence[Cause]) -> StatusError:
    """The 422 for an object with such causes."""
    return _refusal(kind.stored.group, kind.kind, name, causes)


def refusal_of_resource(kind: Kind, name: str, causes: Sequence[Cause]) -> StatusError:
    """The same, where the server knows the resource and not the kind (apiserver: `pkg/registry/generic/registry`)."""
    return _refusal(kind.stored.group, kind.plural, name, causes)


def refusal_of_options(kind: str, causes: Sequence[Cause]) -> StatusError:
    """The 422 for the query of a call; `kind` as `CreateOptions`."""
    return _refusal("meta.k8s.io", kind, "", causes)


def refusal_of_patch(patched: Any, problem: str) -> StatusError:
    """The 422 for a patch whose result does not decode (apiserver: `pkg/endpoints/handlers/patch.go`)."""
    text = json.dumps(patched, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return _refusal("", "", "", [invalid("patch", text, problem)])


def _refusal(group: str, kind: str, name: str, causes: Sequence[Cause]) -> StatusError:
    messages = list(dict.fromkeys(map(str, causes)))
    joined = messages[0] if len(messages) == 1 else f"[{', '.join(messages)}]"
    qualified = f"{kind}.{group}" if group else kind
    details: dict[str, Any] = {"name": name, "group": group, "kind": kind}
    details = {key: value for key, value in details.items() if value}
    details["causes"] = [{"reason": one.type, "message": one.body, "field": one.field} for one in causes]
    return StatusError(422, "Invalid", f'{qualified} "{name}" is invalid: {joined}', details=details)


def _cause(type_: str, field: str, word: str, value: Any, detail: str) -> Cause:
    shown = (
        "" if value is _OMITTED else f": {json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(',', ':'))}"
    )
    return Cause(type_, field, f"{word}{shown}{f': {detail}' if detail else ''}", detail)
