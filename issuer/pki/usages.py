"""Key usages: cert-manager's names for them, and the X.509 extensions that they mean.

The names are those of `pkg/apis/certmanager/v1/types.go` (`KeyUsage`) in cert-manager.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT: Final = ("digital signature", "key encipherment")
"""What cert-manager takes where a request names none."""

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
_OF_CAS: Final = frozenset({"key_cert_sign", "crl_sign"})


class UnknownUsageError(ValueError):
    """A name that is no key usage, or one that only a CA certificate may have."""


def extensions(usages: Sequence[str]) -> tuple[x509.KeyUsage | None, x509.ExtendedKeyUsage | None]:
    """The two extensions for a list of names; None where the list holds nothing of that sort.

    Raises:
        UnknownUsageError: a name is not known, or is for CA certificates only.
    """
    bits: set[str] = set()
    purposes: list[ObjectIdentifier] = []
    for usage in usages or DEFAULT:
        if usage in _EXTENDED:
            if _EXTENDED[usage] not in purposes:
                purposes.append(_EXTENDED[usage])
        elif usage not in _KEY_USAGES:
            raise UnknownUsageError(f"{usage[:40]!r} is no key usage")
        elif _KEY_USAGES[usage] in _OF_CAS:
            raise UnknownUsageError(f"{usage!r} is for CA certificates only")
        else:
            bits.add(_KEY_USAGES[usage])
    if bits & {"encipher_only", "decipher_only"}:
        bits.add("key_agreement")  # they mean nothing without it (RFC 5280 section 4.2.1.3)
    key_usage = x509.KeyUsage(**{name: name in bits for name in set(_KEY_USAGES.values())}) if bits else None
    return key_usage, x509.ExtendedKeyUsage(purposes) if purposes else None
