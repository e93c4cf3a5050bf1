"""cert-manager's names of key usages, and the two X.509 extensions that they become.

The names and their meaning are cert-manager's (`pkg/apis/certmanager/v1/types.go`, `pkg/api/util/usages.go`). Where a
request names none, cert-manager's default is `digital signature` and `key encipherment`. The second one means nothing
for a key that cannot encipher, and RFC 8813, section 3, forbids it for elliptic curves, so the default leaves it out
for ECDSA and Ed25519 keys. What a request names itself is signed as it is named, as cert-manager's CA issuer does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from issuer.pki.csr import KeyType

_KEY_USAGES: Final = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}
_EXTENDED: Final = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ipsec end system": ObjectIdentifier("1.3.6.1.5.5.7.3.5"),
    "ipsec tunnel": ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec user": ObjectIdentifier("1.3.6.1.5.5.7.3.7"),
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "microsoft sgc": ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape sgc": ObjectIdentifier("2.16.840.1.113730.4.1"),
}

DEFAULT: Final = ("digital signature", "key encipherment")
"""What cert-manager takes a request without usages to mean."""


FOR_CAS: Final = frozenset({"cert sign", "crl sign"})
"""Usages of a key that signs certificates and lists of revoked ones (RFC 5280, section 4.2.1.3)."""


class UnsupportedUsageError(ValueError):
    """A usage that has no meaning, or none in the certificate of something that is no CA."""


@dataclass(frozen=True, slots=True)
class UsageExtensions:
    """The extensions; None where none of the usages belongs to it, and the extension is left out."""

    key_usage: x509.KeyUsage | None
    extended_key_usage: x509.ExtendedKeyUsage | None


def extensions(usages: Iterable[str], key_type: KeyType, *, is_ca: bool = False) -> UsageExtensions:
    """The extensions for a request's usages; cert-manager's default where it names none. A CA's may sign certificates.

    Raises:
        UnsupportedUsageError: a name is unknown, or is one that only the certificate of a CA may have.
    """
    wanted = tuple(dict.fromkeys(usages)) or _default(key_type)
    if unknown := next((usage for usage in wanted if usage not in _KEY_USAGES and usage not in _EXTENDED), None):
        raise UnsupportedUsageError(f"unknown usage {unknown[:40]!r}")
    bits = {_KEY_USAGES[usage] for usage in wanted if usage in _KEY_USAGES}
    if is_ca:
        bits.add("key_cert_sign")
    elif for_cas := next((usage for usage in wanted if usage in FOR_CAS), None):
        # RFC 5280, section 4.2.1.9: `cert sign` not without CA:TRUE; the lists of a CA are signed by its own key.
        raise UnsupportedUsageError(f"the usage {for_cas!r} is for CAs only")
    if bits & {"encipher_only", "decipher_only"} and "key_agreement" not in bits:
        # RFC 5280, section 4.2.1.3: undefined without keyAgreement.
        raise UnsupportedUsageError(
            "the usages 'encipher only' and 'decipher only' mean nothing without 'key agreement'"
        )
    purposes = dict.fromkeys(_EXTENDED[usage] for usage in wanted if usage in _EXTENDED)
    return UsageExtensions(
        key_usage=_key_usage(bits) if bits else None,
        extended_key_usage=x509.ExtendedKeyUsage(purposes) if purposes else None,
    )


def outside(usages: Iterable[str], given: Collection[str]) -> tuple[str, ...]:
    """Those of a request's usages that are none of the given ones, each once, in its order."""
    return tuple(dict.fromkeys(usage for usage in usages if usage not in given))


def _default(key_type: KeyType) -> tuple[str, ...]:
    return DEFAULT if key_type == "rsa" else DEFAULT[:1]


def _key_usage(bits: set[str]) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature="digital_signature" in bits,
        content_commitment="content_commitment" in bits,
        key_encipherment="key_encipherment" in bits,
        data_encipherment="data_encipherment" in bits,
        key_agreement="key_agreement" in bits,
        key_cert_sign="key_cert_sign" in bits,
        crl_sign="crl_sign" in bits,
        encipher_only="encipher_only" in bits,
        decipher_only="decipher_only" in bits,
    )
