"""Which certificates requests have received, as this process has seen in the cluster.

A certificate that somebody received must never be revoked, also where a former process had it signed and delivered it,
and where its request is long gone: pods may still serve it. So the fingerprint of each that passes through the cache is
kept; a look at the provider may find it for another request with the same private key.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.api.request import CertificateRequest
    from issuer.api.signingrequest import CertificateSigningRequest

MOST: Final = 200_000
"""Fingerprints that are kept, of 32 bytes each; the oldest go first."""


class ReceivedCertificates:
    """The fingerprints (SHA-256 of the leaf) of certificates that requests have received.

    Args:
        most: that are kept.
        note: hears of each request before anything is left out of it, with the leaf (DER) that it carries.
    """

    def __init__(
        self, most: int = MOST, note: Callable[[CertificateRequest, bytes | None], None] = lambda _request, _leaf: None
    ) -> None:
        self._most = most
        self._note = note
        self._seen: dict[bytes, None] = {}

    def __contains__(self, fingerprint: str) -> bool:
        """Whether somebody has received the certificate with this fingerprint, in hex."""
        return bytes.fromhex(fingerprint) in self._seen

    def transform(self, request: CertificateRequest) -> CertificateRequest:
        """Take note of what a request has received, and leave out what nobody reads (a `transform` of the informer)."""
        self._note(request, self._take(request.status.certificate))
        return request.trimmed()

    def transform_signing_request(self, request: CertificateSigningRequest) -> CertificateSigningRequest:
        """The same for a request of Kubernetes' own, which belongs to no Certificate."""
        self._take(request.status.certificate)
        return request.trimmed()

    def _take(self, encoded: str | None) -> bytes | None:
        """Remember a chain that somebody has received; its leaf."""
        leaf = _leaf(encoded) if encoded else None
        if leaf is not None:
            found = hashlib.sha256(leaf).digest()
            self._seen.pop(found, None)
            self._seen[found] = None
            if len(self._seen) > self._most:
                del self._seen[next(iter(self._seen))]
        return leaf


def _leaf(encoded: str) -> bytes | None:
    """The first block, as DER. Read by hand, since thousands of finished requests come with one list."""
    try:
        _, begin, rest = b64decode(encoded).partition(b"-----BEGIN CERTIFICATE-----")
        body, end, _ = rest.partition(b"-----END CERTIFICATE-----")
        return b64decode(body) if begin and end else None
    except ValueError:  # binascii.Error is one
        return None
