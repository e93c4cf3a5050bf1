"""Certificate signing requests: read once, checked once, and passed on as plain values.

What a user puts into a CertificateRequest is not trusted. All that would fail later at a CA, or that no CA should
be asked for, is refused here with the name of the field, so that the request ends at once instead of at its deadline.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, NameOID

KeyType = Literal["rsa", "ecdsa", "ed25519"]

MAX_SIZE: Final = 64 * 1024
"""Bytes of a CSR in PEM. A CSR with a thousand names is about half of that."""
MAX_NAMES: Final = 1000
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
MAX_DNS_NAME: Final = 253
"""Characters of a DNS name (RFC 1035 section 2.3.4)."""

PARSE_ERRORS: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises on malformed input, when it parses or later, when a part is first looked at."""

_BEGIN: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_CSR_LABELS: Final = frozenset({b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"})
_LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_DNS_NAME: Final = re.compile(rf"(\*\.)?({_LABEL}\.)*{_LABEL}")


class InvalidRequestError(ValueError):
    """The CSR cannot be signed by anybody.

    Attributes:
        field: of the CertificateRequest.
        message: what is wrong, for a person.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRequest:
    """A CSR that has passed every check.

    Attributes:
        pem: the CSR alone, as PEM.
        key_type: kind of the key.
        key_size: bits.
        public_key: DER SubjectPublicKeyInfo.
        subject: the distinguished name.
        common_name: its CN, or None.
        dns_names: of the SAN, in lower case.
        ip_addresses: of the SAN, in canonical form.
        email_addresses: of the SAN.
        uris: of the SAN.
    """

    pem: bytes
    key_type: KeyType
    key_size: int
    public_key: bytes
    subject: x509.Name
    common_name: str | None = None
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    email_addresses: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()

    @property
    def hostnames(self) -> tuple[str, ...]:
        """The DNS names, and the CN where it is one, without repetition."""
        name = (self.common_name or "").lower()
        return tuple(dict.fromkeys((*self.dns_names, *((name,) if "." in name and is_dns_name(name) else ()))))


def parse(request: str) -> SigningRequest:
    """Read `spec.request` of a CertificateRequest: base64 of PEM.

    Raises:
        InvalidRequestError: with the reason.
    """
    if len(request) > 2 * MAX_SIZE:
        raise _wrong(f"larger than {MAX_SIZE // 1024} KiB")
    try:
        pem = base64.b64decode(request, validate=True)
    except (binascii.Error, ValueError):
        raise _wrong("not base64") from None
    return parse_pem(pem)


def parse_pem(pem: bytes) -> SigningRequest:
    """Read and check one CSR in PEM.

    Raises:
        InvalidRequestError: with the reason.
    """
    if len(pem) > MAX_SIZE:
        raise _wrong(f"larger than {MAX_SIZE // 1024} KiB")
    labels = _BEGIN.findall(pem)
    if not labels:
        raise _wrong("not PEM: there is no BEGIN CERTIFICATE REQUEST" if pem else "empty")
    if len(labels) > 1 or labels[0] not in _CSR_LABELS:
        raise _wrong("not exactly one CERTIFICATE REQUEST block")
    try:
        csr = x509.load_pem_x509_csr(pem)
        return _checked(csr)
    except InvalidRequestError:
        raise
    except PARSE_ERRORS as error:
        raise _wrong(f"not a certificate signing request: {_short(error)}") from None


def is_dns_name(name: str) -> bool:
    """Whether it is a DNS name in lower case, perhaps with `*.` in front (RFC 1123 section 2.1, RFC 6125)."""
    return len(name) <= MAX_DNS_NAME and _DNS_NAME.fullmatch(name) is not None


def _checked(csr: x509.CertificateSigningRequest) -> SigningRequest:
    key_type, key_size, public_key = _key(csr)
    try:
        valid = csr.is_signature_valid
    except InvalidSignature:
        valid = False
    if not valid:
        raise _wrong("its signature does not fit its key")
    names = _names(csr)
    common_name = _common_name(csr.subject)
    if not common_name and not any(names.values()):
        raise _wrong("no name in it: neither a SAN nor a common name")
    return SigningRequest(
        pem=csr.public_bytes(Encoding.PEM),
        key_type=key_type,
        key_size=key_size,
        public_key=public_key,
        subject=csr.subject,
        common_name=common_name,
        **names,
    )


def _key(csr: x509.CertificateSigningRequest) -> tuple[KeyType, int, bytes]:
    try:
        key = csr.public_key()
    except PARSE_ERRORS:
        raise _wrong("unknown type of key; RSA, ECDSA and Ed25519 are known") from None
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise _wrong(f"an RSA key of {key.key_size} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted")
        return "rsa", key.key_size, der
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in CURVES:
            raise _wrong(f"an ECDSA key on {key.curve.name}; {', '.join(CURVES)} are accepted")
        return "ecdsa", key.key_size, der
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519", 256, der
    raise _wrong("unknown type of key; RSA, ECDSA and Ed25519 are known")


def _names(csr: x509.CertificateSigningRequest) -> dict[str, tuple[str, ...]]:
    dns: list[str] = []
    addresses: list[str] = []
    emails: list[str] = []
    uris: list[str] = []
    for extension in csr.extensions:
        if extension.oid == ExtensionOID.BASIC_CONSTRAINTS and getattr(extension.value, "ca", False):
            raise _wrong("it asks for a CA certificate; this issuer signs none")
        if not isinstance(extension.value, x509.SubjectAlternativeName):
            continue
        if len(list(extension.value)) > MAX_NAMES:
            raise _wrong(f"more than {MAX_NAMES} names")
        for name in extension.value:
            if isinstance(name, x509.DNSName):
                dns.append(_dns_name(name.value))
            elif isinstance(name, x509.IPAddress):
                addresses.append(_address(name.value))
            elif isinstance(name, x509.RFC822Name):
                emails.append(name.value)
            elif isinstance(name, x509.UniformResourceIdentifier):
                uris.append(name.value)
            else:
                raise _wrong(f"a name of the kind {type(name).__name__}, which is not signed")
    found = {"dns_names": dns, "ip_addresses": addresses, "email_addresses": emails, "uris": uris}
    return {kind: tuple(dict.fromkeys(values)) for kind, values in found.items()}


def _dns_name(name: str) -> str:
    lower = name.lower()
    if not is_dns_name(lower):
        raise _wrong(f"not a DNS name: {name[:80]!r}")
    return lower


def _address(value: object) -> str:
    if not isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        raise _wrong(f"a range of addresses is no name: {str(value)[:80]}")
    return str(value)


def _common_name(subject: x509.Name) -> str | None:
    values = [str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return values[0] if values and values[0] else None


def _wrong(message: str) -> InvalidRequestError:
    return InvalidRequestError("spec.request", message)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:120] or type(error).__name__
