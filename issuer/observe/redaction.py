"""Keeping secrets out of log lines: the last line of defence, for the mistake that nobody has made yet.

Secrets are kept out where they would come in: errors, events and log calls are written without them. This is what
catches a header, a Secret or a request body that is logged whole all the same. A field goes by its name, text by what
it looks like. A bare token under an innocent name looks like any other word, and passes.

A field called `key` is left alone: in this program that is the namespace and name of an object.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date, timedelta
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

import msgspec

from issuer.api.meta import ObjectKey

if TYPE_CHECKING:
    from collections.abc import Iterable

REDACTED: Final = "[redacted]"
MAX_TEXT: Final = 32768
"""Characters of one value that are kept. A whole answer of an API in a log line is a mistake, too."""
MAX_DEPTH: Final = 8
"""Levels of nested values that are shown; it also ends cycles."""

_SECRET_WORDS: Final = frozenset(
    {"apikey", "authorization", "bearer", "cookie", "credential", "credentials", "csr", "passphrase", "passwd"}
    | {"password", "privatekey", "secret", "token"}
)
_KEY_OF: Final = frozenset(
    {"access", "api", "auth", "crt", "encryption", "private", "secret", "service", "signing", "tls", "token"}
)
"""What makes a `..._key` a secret; `public_key` and `object_key` are none."""
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

_SHAPED: Final = re.compile(
    r"\bv1\.0-[-\w]{8,}"
    r"|\beyJ[-\w]{8,512}\.[-\w]{8,}(?:\.[-\w]*)?"
    r"|(?<=://)[^/\s@:]+:[^/\s@]+(?=@)"
    r"|LS0tLS1CRUdJTi[-\w+/=]*"
    r"|-----BEGIN (?P<what>[A-Z0-9 ]*PRIVATE KEY|(?:NEW )?CERTIFICATE REQUEST)-----.*?(?:-----END (?P=what)-----|\Z)",
    re.DOTALL | re.IGNORECASE,
)
"""What is a secret by its looks: Cloudflare's service keys, JSON web tokens (as of a ServiceAccount), passwords
in addresses, any PEM in base64 (as in a Secret and in `spec.request`), private keys and CSRs in PEM."""
_HEADER: Final = r"\b(?:(?:proxy-)?authorization|x-auth-[a-z-]{1,40})[\"']?\s*[:=]\s*[\"']?"
_BEARER: Final = r"\bbearer[\s:]+"
_VALUE: Final = r"[^\s\"',;]+"
_ANNOUNCED: Final = re.compile(
    rf"(?P<kept>(?:{_HEADER}|{_BEARER})*)"
    rf"(?:{_BEARER}{_VALUE}|(?P<header>{_HEADER}){_VALUE}(?:[ \t]+(?!{_HEADER}|{_BEARER}){_VALUE})?)",
    re.IGNORECASE,
)
"""What is a secret by what stands before it. The value of a header may be two words, a scheme and a credential. One
announcement may follow another (`Bearer Bearer ...` is a common mistake), so none may be taken for a value."""
_MARKS: Final = ("authorization", "x-auth-", "bearer", "v1.0-", "eyj", "://", "ls0tls1crudjti", "-----begin")
"""One of them, in lower case, is in all of that. Nearly no text has one, and to look for these costs far less."""


def redact(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same fields without secrets, made of nothing but text, numbers, lists and dicts with text for keys.

    Whatever is handed in, it returns: a value whose `repr` fails is shown as its type.
    """
    return {str(name): _field(str(name), value, MAX_DEPTH) for name, value in fields.items()}


def redact_text(text: str) -> str:
    """The text without what looks like a secret."""
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + "…"
    folded = text.lower()
    if not any(mark in folded for mark in _MARKS):
        return text
    return _ANNOUNCED.sub(_announced, _SHAPED.sub(REDACTED, text))


def _announced(found: re.Match[str]) -> str:
    return found["kept"] + (found["header"] or "") + REDACTED


def _field(name: str, value: Any, depth: int) -> Any:
    return REDACTED if value is not None and _names_a_secret(name) else _value(value, depth)


@functools.lru_cache(maxsize=1024)
def _names_a_secret(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name[-64:])]
    if not words:
        return False
    return words[-1] in _SECRET_WORDS or (words[-1] == "key" and not _KEY_OF.isdisjoint(words))


def _value(value: Any, depth: int) -> Any:
    """What JSON can say of the value."""
    if value is None or (isinstance(value, bool | int) and not isinstance(value, Enum)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return redact_text(str(value))
    if isinstance(value, bytes | bytearray):
        return redact_text(value[: MAX_TEXT + 1].decode("utf-8", "replace"))
    if isinstance(value, ObjectKey | date | timedelta | PurePath):
        return redact_text(str(value))
    if not depth:
        return "…"
    return _compound(value, depth - 1)


def _compound(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {redact_text(str(name)): _field(str(name), inner, depth) for name, inner in value.items()}
    if isinstance(value, list | tuple | AbstractSet):
        return [_value(inner, depth) for inner in value]
    if isinstance(value, msgspec.Struct):
        return _attributes(value, value.__struct_fields__, depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _attributes(value, (field.name for field in dataclasses.fields(value)), depth)
    try:
        return redact_text(repr(value))
    except Exception:  # noqa: BLE001 - any code can be behind a repr, and no log line is worth an exception
        return f"<{type(value).__name__}>"


def _attributes(value: object, names: Iterable[str], depth: int) -> dict[str, Any]:
    return {name: _field(name, getattr(value, name, None), depth) for name in names}
