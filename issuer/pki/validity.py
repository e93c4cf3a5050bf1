"""When a certificate ends, read from its DER by hand.

Thousands of finished requests come with one list, on the event loop, and of each of their certificates nothing but
this is wanted: skipping five elements (RFC 5280, 4.1) takes a tenth of what parsing a certificate does.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_LONG: Final = 0x80
_MAX_LENGTH_BYTES: Final = 4


def not_after(der: bytes) -> datetime | None:
    """The end of its life, UTC; None for what is no certificate."""
    try:
        at, _ = _enter(der, _enter(der, 0)[0])  # Certificate, TBSCertificate
        if der[at] == _VERSION:
            at = _skip(der, at)
        for _element in ("serialNumber", "signature", "issuer"):
            at = _skip(der, at)
        at, _ = _enter(der, at)  # Validity
        at = _skip(der, at)  # notBefore
        tag, (begin, end) = der[at], _content(der, at)
        text = der[begin:end].decode("ascii")
        if tag == _UTC_TIME:
            text = ("19" if text[:2] >= "50" else "20") + text
        elif tag != _GENERALIZED_TIME:
            return None
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except (IndexError, ValueError):
        return None


def _content(der: bytes, at: int) -> tuple[int, int]:
    """Where the content of the element at `at` begins and ends."""
    length, begin = der[at + 1], at + 2
    if length >= _LONG:
        count = length - _LONG
        if not 0 < count <= _MAX_LENGTH_BYTES:
            raise ValueError
        length, begin = int.from_bytes(der[begin : begin + count], "big"), begin + count
    if begin + length > len(der):
        raise ValueError
    return begin, begin + length


def _enter(der: bytes, at: int) -> tuple[int, int]:
    if der[at] != _SEQUENCE:
        raise ValueError
    return _content(der, at)


def _skip(der: bytes, at: int) -> int:
    return _content(der, at)[1]
