"""Certificates: read chains and bundles, and see whether a certificate answers a CSR."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from issuer.pki.csr import PARSE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from issuer.pki.csr import SigningRequest

MAX_CERTIFICATES: Final = 100
"""Certificates in one answer or bundle."""

_BLOCK: Final = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----.+?-----END (?:X509 |TRUSTED )?CERTIFICATE-----", re.DOTALL
)


class InvalidCertificateError(ValueError):
    """The text holds no readable certificates."""


def load_chain(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM text, in its order; what stands around the blocks is ignored.

    Raises:
        InvalidCertificateError: there is none, one cannot be read, or there are too many.
    """
    blocks = _BLOCK.findall(pem)
    if not blocks:
        raise InvalidCertificateError("there is no certificate in PEM")
    if len(blocks) > MAX_CERTIFICATES:
        raise InvalidCertificateError(f"more than {MAX_CERTIFICATES} certificates")
    try:
        return tuple(x509.load_pem_x509_certificate(block) for block in blocks)
    except PARSE_ERRORS:
        raise InvalidCertificateError("a certificate in it cannot be read") from None


def load_bundle(text: str | bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a bundle, which is PEM or base64 of PEM.

    Raises:
        InvalidCertificateError: it is neither.
    """
    raw = text.encode() if isinstance(text, str) else text
    if b"-----BEGIN" not in raw:
        try:
            raw = base64.b64decode(b"".join(raw.split()), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidCertificateError("neither PEM nor base64 of PEM") from None
    return load_chain(raw)


def to_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """The certificates as bare PEM blocks, one after the other."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate, in hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def has_key(certificate: x509.Certificate, public_key: bytes) -> bool:
    """Whether the certificate is for that key (DER SubjectPublicKeyInfo)."""
    try:
        found = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except PARSE_ERRORS:
        return False
    return found == public_key


def names(certificate: x509.Certificate) -> frozenset[tuple[str, str]]:
    """The names of the SAN as pairs of kind and value, comparable with `requested_names`."""
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *PARSE_ERRORS):
        return frozenset()
    return frozenset(_pair(name) for name in san)


def requested_names(csr: SigningRequest) -> frozenset[tuple[str, str]]:
    """The names of the SAN of a CSR, as pairs of kind and value."""
    return frozenset(
        (
            *(("dns", name) for name in csr.dns_names),
            *(("ip", address) for address in csr.ip_addresses),
            *(("email", _email(address)) for address in csr.email_addresses),
            *(("uri", uri) for uri in csr.uris),
        )
    )


def tolerated_names(csr: SigningRequest) -> frozenset[tuple[str, str]]:
    """Names that may be in the SAN though the CSR has them only in its subject: a CN that is a DNS name."""
    return frozenset(("dns", name) for name in csr.hostnames) - requested_names(csr)


def matches(csr: SigningRequest, certificate: x509.Certificate) -> bool:
    """Whether the certificate is for the CSR's key and for exactly its names."""
    found, wanted = names(certificate), requested_names(csr)
    return has_key(certificate, csr.public_key) and wanted <= found <= wanted | tolerated_names(csr)


def common_names(certificate: x509.Certificate) -> Sequence[str]:
    """The CNs of the subject."""
    return [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def _pair(name: x509.GeneralName) -> tuple[str, str]:
    value = name.value
    if isinstance(name, x509.DNSName):
        return "dns", name.value.lower()
    if isinstance(name, x509.IPAddress) and isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return "ip", str(value)
    if isinstance(name, x509.RFC822Name):
        return "email", _email(name.value)
    if isinstance(name, x509.UniformResourceIdentifier):
        return "uri", name.value
    return type(name).__name__, str(value)


def _email(address: str) -> str:
    """The host part compares without case (RFC 5280 section 7.5)."""
    local, at, host = address.rpartition("@")
    return f"{local}{at}{host.lower()}"
