"""What Cloudflare's Origin CA is asked for, and which of its records answers an order. Pure.

All limits that are documented are checked here before a call is made, so that an order which this provider can never
sign goes to the next authority at once. What is not documented (which curves, which key sizes) is left to the provider.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import idna
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from issuer.authorities.errors import Unsupported
from issuer.pki import usages
from issuer.pki.names import not_public

if TYPE_CHECKING:
    from datetime import datetime

    from issuer.authorities.base import SigningOrder

VALIDITIES: Final = (7, 30, 90, 365, 730, 1095, 5475)
"""Days that `requested_validity` may be."""

MAX_HOSTNAMES: Final = 200
"""Names in one certificate."""

CLOCK_SKEW: Final = timedelta(minutes=10)
"""How much older than its request a certificate may look: the provider backdates, and clocks differ."""

USAGES: Final = ("digital signature", "signing", "key encipherment", "server auth", "client auth")
"""What its certificates are good for (cert-manager's names; the first two mean the same), whatever is asked for."""

_REQUEST_TYPES: Final = {"rsa": "origin-rsa", "ecdsa": "origin-ecc"}


@dataclass(frozen=True, slots=True)
class OriginOrder:
    """An order in the provider's terms.

    Attributes:
        hostnames: lower case, punycode, without repetition, in the order of the CSR: those of its subject alternative
            name. The common name only where it has none: whoever verifies reads the alternative names alone (RFC 9525,
            section 2), the provider puts a subject of its own in its place, and a label such as `shop.prod`, in no
            zone, would have the whole request refused.
        request_type: which kind of key is in the CSR.
        validity: days.
    """

    hostnames: tuple[str, ...]
    request_type: str
    validity: int


@dataclass(frozen=True, slots=True)
class Match:
    """A record that answers an order."""

    id: str
    certificate: str
    not_before: datetime


def translate(order: SigningOrder, authority: str) -> OriginOrder:
    """The order in the provider's terms; `authority` is named in the errors.

    Raises:
        Unsupported: the Origin CA never signs such a request.
    """
    csr = order.csr
    for names, kind in (
        (csr.ip_addresses, "IP addresses"),
        (csr.email_addresses, "e-mail addresses"),
        (csr.uris, "URIs"),
        (csr.others, "names of other kinds"),
    ):
        if names:
            raise Unsupported(authority, f"Cloudflare's Origin CA signs no {kind}, and the request has {_some(names)}")
    if csr.is_ca:
        raise Unsupported(authority, "Cloudflare's Origin CA signs no certificates of CAs (spec.isCA)")
    _check_usages(order.usages, authority)
    request_type = _REQUEST_TYPES.get(csr.key_type)
    if request_type is None:
        raise Unsupported(authority, f"Cloudflare's Origin CA signs RSA and ECDSA keys, not {csr.key_type}")
    hostnames = tuple(dict.fromkeys(_hostname(name, authority) for name in csr.dns_names or csr.hostnames))
    if not hostnames:
        raise Unsupported(authority, "Cloudflare's Origin CA signs hostnames, and the request has none")
    if len(hostnames) > MAX_HOSTNAMES:
        raise Unsupported(
            authority, f"Cloudflare's Origin CA signs up to {MAX_HOSTNAMES} hostnames, the request has {len(hostnames)}"
        )
    return OriginOrder(hostnames, request_type, _validity(order.duration, authority))


def promised(order: SigningOrder, validity: int) -> timedelta:
    """How long a certificate of that many days can be held to live: never longer than was wanted."""
    return min(timedelta(days=validity), order.duration)


def zone_candidates(hostname: str) -> tuple[str, ...]:
    """The domains that may be the hostname's zone, the longest first: itself and its parents, without the TLD."""
    labels = hostname.removeprefix("*.").split(".")
    return tuple(".".join(labels[i:]) for i in range(len(labels) - 1))


def match(record: Any, order: SigningOrder, hostnames: tuple[str, ...]) -> Match | None:
    """The record, if it is a certificate for the order's key and exactly its hostnames, and not older than it."""
    if not isinstance(record, dict):
        return None
    id_, pem = record.get("id"), record.get("certificate")
    if not isinstance(id_, str) or not id_ or not isinstance(pem, str) or record.get("revoked_at"):
        return None
    named = record.get("hostnames")
    # Cheap and first: a zone may hold thousands.
    if isinstance(named, list) and {str(name).lower() for name in named} != set(hostnames):
        return None
    found = _read(pem)
    if found is None or found.public_key != order.csr.public_key or found.names != set(hostnames):
        return None
    if found.not_before < order.created - CLOCK_SKEW:
        return None
    return Match(id_, pem, found.not_before)


@dataclass(frozen=True, slots=True)
class _Certificate:
    public_key: bytes
    names: set[str]
    not_before: datetime


def _read(pem: str) -> _Certificate | None:
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns_names = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
        return _Certificate(key, dns_names, certificate.not_valid_before_utc)
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.ExtensionNotFound,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ):
        return None


def _check_usages(wanted: tuple[str, ...], authority: str) -> None:
    """Refuse what its certificates are not good for: whoever asked would notice only when it is used.

    A usage for CAs only gets the words of an authority that signs in process, so that one verdict reads as one.
    """
    missing = usages.outside(wanted, USAGES)
    if not missing:
        return
    if for_cas := next((usage for usage in missing if usage in usages.FOR_CAS), None):
        raise Unsupported(authority, f"spec.usages: the usage {for_cas!r} is for CAs only")
    raise Unsupported(
        authority,
        f"spec.usages: Cloudflare's Origin CA signs for {_listed(USAGES)} only, not for {_listed(missing)}",
    )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(repr(name[:40]) for name in names)


def _hostname(name: str, authority: str) -> str:
    wildcard, base = name.startswith("*."), name.removeprefix("*.").removesuffix(".")
    if "*" in base:
        raise Unsupported(authority, f"Cloudflare's Origin CA takes `*.` once and in front only, not {name[:80]!r}")
    if "." not in base:
        problem = "no wildcard of a top-level domain" if wildcard else "no name without a domain"
        raise Unsupported(authority, f"Cloudflare's Origin CA signs {problem}: {name[:80]!r}")
    if not base.isascii():
        try:
            base = idna.encode(base, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise Unsupported(authority, f"not an internationalised domain name: {name[:80]!r}") from None
    if why := not_public(base):
        raise Unsupported(
            authority, f"Cloudflare's Origin CA signs names in public DNS zones only, not {name[:80]!r}: {why}"
        )
    return ("*." if wildcard else "") + base.lower()


def _validity(duration: timedelta, authority: str) -> int:
    for days in VALIDITIES:
        if timedelta(days=days) >= duration:
            return days
    raise Unsupported(
        authority, f"Cloudflare's Origin CA signs for {VALIDITIES[-1]} days at the most, not for {duration.days}"
    )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(name[:80] for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004
