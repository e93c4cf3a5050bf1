"""When a certificate ends, and when the CAs above it do, read from their DER by hand.

Thousands of finished requests come with one list, on the event loop, and of each of their certificates nothing but
this is wanted: skipping five elements (RFC 5280, 4.1) takes a tenth of what parsing a certificate does.
"""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime
from typing import Final

MOST_CHAINS: Final = 100
"""Chains whose end is remembered; a cluster has a few, each above thousands of certificates."""
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_END: Final = b"-----END CERTIFICATE-----"
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


class Chains:
    """When the CAs above certificates end. The same few are above thousands, and are read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, str], datetime | None] = {}

    def ends(self, certificate: str, ca: str) -> datetime | None:
        """When the first of them ends; None where there are none, or none that can be read.

        Args:
            certificate: the leaf and what leads up from it, PEM in base64 (`status.certificate` of a request).
            ca: the root that this leads to, and perhaps others after it, which are not looked at (`status.ca`).
        """
        try:
            _, _, between = b64decode(certificate).partition(_END)
            key = between, ca
            if key not in self._known:
                if len(self._known) >= MOST_CHAINS:
                    del self._known[next(iter(self._known))]
                self._known[key] = min(_all_ends(between) + _all_ends(b64decode(ca))[:1], default=None)
            return self._known[key]
        except ValueError:  # binascii.Error is one
            return None


def _all_ends(text: bytes) -> list[datetime]:
    bodies = (part.partition(_BEGIN)[2] for part in text.split(_END))
    ends = (not_after(b64decode(body)) for body in bodies if body)
    return [one for one in ends if one is not None]


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
