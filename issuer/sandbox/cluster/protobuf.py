"""Bodies in protobuf, which kubectl sends for built-in kinds: `create secret`, `create configmap`, `create namespace`.

A body is `k8s` and a zero byte, then a message `Unknown` that names the kind and holds the object's own message
(runtime.Unknown, k8s.io/apimachinery/pkg/runtime/generated.proto). The fields of the kinds that are read are in the
tables below, by the numbers that Kubernetes has given them for good. Answers are JSON, which every client takes beside
protobuf. It is a reader of some hundred lines rather than a library, because a library would need the compiled
descriptors of Kubernetes, and the sandbox reads only the few kinds that kubectl can make without a manifest.

Go writes fields that are empty, so empty text and empty messages are left out, as `omitempty` does in JSON. A field
that is in no table is an error rather than lost.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from issuer.sandbox.cluster.errors import StatusError, bad_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.sandbox.cluster.kinds import Manifest

PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
MAGIC: Final = b"k8s\x00"

Message = dict[int, "Field"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Attributes:
        name: in JSON.
        type: `text`, `bytes`, `bool`, `int`, `time`, or the table of a message.
        many: `one`, `list`, or `map` (from text to `type`).
    """

    name: str
    type: str | Message
    many: str = "one"


_OWNER: Final[Message] = {
    1: Field("kind", "text"),
    3: Field("name", "text"),
    4: Field("uid", "text"),
    5: Field("apiVersion", "text"),
    6: Field("controller", "bool"),
    7: Field("blockOwnerDeletion", "bool"),
}
_METADATA: Final[Message] = {
    1: Field("name", "text"),
    2: Field("generateName", "text"),
    3: Field("namespace", "text"),
    4: Field("selfLink", "text"),
    5: Field("uid", "text"),
    6: Field("resourceVersion", "text"),
    7: Field("generation", "int"),
    8: Field("creationTimestamp", "time"),
    9: Field("deletionTimestamp", "time"),
    10: Field("deletionGracePeriodSeconds", "int"),
    11: Field("labels", "text", "map"),
    12: Field("annotations", "text", "map"),
    13: Field("ownerReferences", _OWNER, "list"),
    14: Field("finalizers", "text", "list"),
}
_REFERENCE: Final[Message] = {
    1: Field("kind", "text"),
    2: Field("namespace", "text"),
    3: Field("name", "text"),
    4: Field("uid", "text"),
    5: Field("apiVersion", "text"),
    6: Field("resourceVersion", "text"),
    7: Field("fieldPath", "text"),
}
_RESOURCE: Final[Message] = {
    1: Field("namespace", "text"),
    2: Field("verb", "text"),
    3: Field("group", "text"),
    4: Field("version", "text"),
    5: Field("resource", "text"),
    6: Field("subresource", "text"),
    7: Field("name", "text"),
}
_ACCESS_STATUS: Final[Message] = {
    1: Field("allowed", "bool"),
    2: Field("reason", "text"),
    3: Field("evaluationError", "text"),
    4: Field("denied", "bool"),
}
_RULES_STATUS: Final[Message] = {3: Field("incomplete", "bool"), 4: Field("evaluationError", "text")}
_USER: Final[Message] = {1: Field("username", "text"), 2: Field("uid", "text"), 3: Field("groups", "text", "list")}

_KINDS: Final[dict[tuple[str, str], Message]] = {
    ("v1", "Secret"): {
        1: Field("metadata", _METADATA),
        2: Field("data", "bytes", "map"),
        3: Field("type", "text"),
        4: Field("stringData", "text", "map"),
        5: Field("immutable", "bool"),
    },
    ("v1", "ConfigMap"): {
        1: Field("metadata", _METADATA),
        2: Field("data", "text", "map"),
        3: Field("binaryData", "bytes", "map"),
        4: Field("immutable", "bool"),
    },
    ("v1", "Namespace"): {
        1: Field("metadata", _METADATA),
        2: Field("spec", {1: Field("finalizers", "text", "list")}),
        3: Field("status", {1: Field("phase", "text")}),
    },
    ("v1", "ServiceAccount"): {
        1: Field("metadata", _METADATA),
        2: Field("secrets", _REFERENCE, "list"),
        3: Field("imagePullSecrets", {1: Field("name", "text")}, "list"),
        4: Field("automountServiceAccountToken", "bool"),
    },
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"): {
        1: Field("metadata", _METADATA),
        2: Field(
            "spec",
            {
                1: Field("resourceAttributes", _RESOURCE),
                2: Field("nonResourceAttributes", {1: Field("path", "text"), 2: Field("verb", "text")}),
            },
        ),
        3: Field("status", _ACCESS_STATUS),
    },
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview"): {
        1: Field("metadata", _METADATA),
        2: Field("spec", {1: Field("namespace", "text")}),
        3: Field("status", _RULES_STATUS),
    },
    ("authentication.k8s.io/v1", "SelfSubjectReview"): {
        1: Field("metadata", _METADATA),
        2: Field("status", {1: Field("userInfo", _USER)}),
    },
}
_TYPE: Final[Message] = {1: Field("apiVersion", "text"), 2: Field("kind", "text")}


def as_json(content_type: str, body: bytes) -> bytes:
    """A body as JSON, whichever of the two it is in.

    Raises:
        StatusError: as `decode` does.
    """
    return msgspec.json.encode(decode(body)) if content_type == PROTOBUF else body


def decode(body: bytes) -> Manifest:
    """The object in a body.

    Raises:
        StatusError: it is none, or of a kind that is not read here; the sandbox takes those as JSON.
    """
    if not body.startswith(MAGIC):
        raise bad_request("the body is not protobuf of Kubernetes: it does not begin with k8s and a zero")
    try:
        parts = {number: value for number, value in _wire(body[len(MAGIC) :]) if isinstance(value, bytes)}
        type_ = _message(_TYPE, parts.get(1, b""))
        table = _KINDS.get((type_.get("apiVersion", ""), type_.get("kind", "")))
        if table is None:
            named = f"{type_.get('apiVersion', '')} {type_.get('kind', '')}"
            text = f"the sandbox does not read {named} in protobuf; apply a manifest, which is sent as JSON"
            raise StatusError(415, "UnsupportedMediaType", text)
        return type_ | _message(table, parts.get(2, b""))
    except (ValueError, IndexError) as error:
        raise bad_request(f"the body is not protobuf: {error}") from None


def _message(table: Message, data: bytes) -> Manifest:
    result: Manifest = {}
    for number, raw in _wire(data):
        if number not in table:
            raise ValueError(f"field {number} is not known to the sandbox")
        field = table[number]
        if field.many == "map":
            entry = _message({1: Field("key", "text"), 2: Field("value", field.type)}, _bytes(raw))
            result.setdefault(field.name, {})[entry.get("key", "")] = entry.get("value", "")
        elif field.many == "list":
            result.setdefault(field.name, []).append(_value(field.type, raw))
        elif (value := _value(field.type, raw)) not in ("", {}, None, 0) or field.type == "bool":
            result[field.name] = value
    return result


def _value(type_: str | Message, raw: int | bytes) -> Any:
    if isinstance(type_, dict):
        return _message(type_, _bytes(raw))
    match type_:
        case "text":
            return _bytes(raw).decode()
        case "bytes":
            return b64encode(_bytes(raw)).decode()
        case "bool":
            return bool(raw)
        case "int":
            return raw
        case _:
            seconds = _message({1: Field("seconds", "int"), 2: Field("nanos", "int")}, _bytes(raw)).get("seconds")
            return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}" if seconds else None


def _bytes(raw: int | bytes) -> bytes:
    if isinstance(raw, int):
        raise ValueError("a number where text or a message should be")  # noqa: TRY004 - of what was sent
    return raw


def _wire(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field: a number (wire type 0), or bytes (wire type 2).

    Raises:
        ValueError: another wire type, which no kind here has, or a field that goes on beyond the end.
        IndexError: the end comes in the middle of a number.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value, at = _varint(data, at)
        if tag & 7 == 0:
            yield tag >> 3, value
        elif tag & 7 == 2:  # noqa: PLR2004 - a wire type
            if at + value > len(data):
                raise ValueError(f"field {tag >> 3} is longer than the body")
            yield tag >> 3, data[at : at + value]
            at += value
        else:
            raise ValueError(f"field {tag >> 3} has the wire type {tag & 7}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, seven bits a byte with the lowest first, and where it ends."""
    value = 0
    for place in range(10):
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more bytes follow
            return value, at + place + 1
    raise ValueError("a number of more than ten bytes")
