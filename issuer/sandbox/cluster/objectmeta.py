"""What the metadata of every object has to be: names, labels, annotations.

After apimachinery: `pkg/api/validation/objectmeta.go`, `pkg/api/validate/content` (names, label keys and values), and
`pkg/apis/meta/v1/validation/validation.go` (labels).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from issuer.sandbox.cluster.invalid import forbidden, invalid, required, too_long

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.sandbox.cluster.invalid import Cause
    from issuer.sandbox.cluster.kinds import Manifest

ANNOTATIONS_LIMIT: Final = 256 * 1024
"""Bytes of all keys and values."""
LABELLED: Final = frozenset({"Namespace"})
"""Kinds whose name is one label, not a subdomain."""

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_KEY: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_ALPHANUMERIC: Final = "must start and end with an alphanumeric character"


def check(kind: str, metadata: Manifest) -> Iterator[Cause]:
    """What is wrong with the metadata of an object of that kind."""
    name = metadata.get("name") or ""
    if not name:
        yield required("metadata.name", "name or generateName is required")
    for problem in (label if kind in LABELLED else subdomain)(name) if name else ():
        yield invalid("metadata.name", name, problem)
    yield from _pairs(metadata.get("labels") or {}, metadata.get("annotations") or {})
    for owner in metadata.get("ownerReferences") or ():
        for part in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(part):
                problem = "version must not be empty" if part == "apiVersion" else "must not be empty"
                yield invalid(f"metadata.ownerReferences.{part}", "", problem)
    for finalizer in metadata.get("finalizers") or ():
        for problem in qualified_name(finalizer):
            yield invalid("metadata.finalizers", finalizer, problem)


def check_change(metadata: Manifest, old: Manifest) -> Iterator[Cause]:
    """What is wrong with a change of metadata: what is being deleted takes no more finalizers."""
    if not old.get("deletionTimestamp"):
        return
    added = [one for one in metadata.get("finalizers") or () if one not in (old.get("finalizers") or ())]
    if added:
        told = ", ".join(f'"{one}"' for one in added)
        yield forbidden(
            "metadata.finalizers",
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{"
            + told
            + "}",
        )


def _pairs(labels: dict[str, str], annotations: dict[str, str]) -> Iterator[Cause]:
    for key, value in labels.items():
        for problem in qualified_name(key):
            yield invalid("metadata.labels", key, problem)
        for problem in label_value(value):
            yield invalid("metadata.labels", value, problem)
    for key in annotations:
        for problem in qualified_name(key.lower()):
            yield invalid("metadata.annotations", key, problem)
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > ANNOTATIONS_LIMIT:
        yield too_long("metadata.annotations", ANNOTATIONS_LIMIT)


def mistyped(metadata: Any) -> str:
    """Why the Go type ObjectMeta cannot read it, or nothing."""
    if not isinstance(metadata, dict):
        return f"json: cannot unmarshal {_go(metadata)} into Go struct field .metadata of type v1.ObjectMeta"
    for name in ("name", "generateName", "namespace", "uid", "resourceVersion"):
        if not isinstance(metadata.get(name), str | None):
            found = _go(metadata[name])
            return f"json: cannot unmarshal {found} into Go struct field ObjectMeta.{name} of type string"
    for name in ("labels", "annotations"):
        pairs = metadata.get(name)
        if not isinstance(pairs, dict | None):
            field = f"ObjectMeta.{name} of type map[string]string"
            return f"json: cannot unmarshal {_go(pairs)} into Go struct field {field}"
        for value in (pairs or {}).values():
            if not isinstance(value, str):
                field = f"ObjectMeta.{name} of type string"
                return f"json: cannot unmarshal {_go(value)} into Go struct field {field}"
    return ""


def label(text: str) -> Iterator[str]:
    """Why it is no RFC 1123 label."""
    if len(text) > 63:  # noqa: PLR2004 - RFC 1123
        yield "must be no more than 63 characters"
    if not re.fullmatch(_LABEL, text):
        if re.fullmatch(_SUBDOMAIN, text):
            yield "must not contain dots"
            return
        yield (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
            f"{_ALPHANUMERIC} (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
        )


def subdomain(text: str) -> Iterator[str]:
    """Why it is no RFC 1123 subdomain."""
    if len(text) > 253:  # noqa: PLR2004 - RFC 1123
        yield "must be no more than 253 characters"
    if not re.fullmatch(_SUBDOMAIN, text):
        yield (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
            f"{_ALPHANUMERIC} (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
        )


def qualified_name(text: str) -> Iterator[str]:
    """Why it is no key of a label, with or without a DNS prefix."""
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        yield f"a valid label key {_KEY_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return
    if slash and not prefix:
        yield "prefix part must be non-empty"
    elif slash:
        yield from (f"prefix part {problem}" for problem in subdomain(prefix))
    if not name:
        yield "name part must be non-empty"
    elif len(name) > 63:  # noqa: PLR2004 - as long as a DNS label
        yield "name part must be no more than 63 bytes"
    if not re.fullmatch(_KEY, name):
        yield f"name part {_KEY_RULE}"


def label_value(text: str) -> Iterator[str]:
    """Why it is no value of a label."""
    if len(text) > 63:  # noqa: PLR2004 - as long as a DNS label
        yield "must be no more than 63 bytes"
    if not re.fullmatch(f"({_KEY})?", text):
        yield (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
            f"{_ALPHANUMERIC} (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '({_KEY})?')"
        )


_KEY_RULE: Final = (
    f"must consist of alphanumeric characters, '-', '_' or '.', and {_ALPHANUMERIC} (e.g. 'MyName',  or 'my.name',  "
    f"or '123-abc', regex used for validation is '{_KEY}')"
)


def _go(value: Any) -> str:
    """What encoding/json calls a value."""
    names = {dict: "object", list: "array", str: "string", bool: "bool", type(None): "null"}
    return names.get(type(value), "number")
