"""The usages that a CSR asks for itself: cert-manager's webhook wants those of its request to be the same."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from cryptography import x509

from issuer.pki import usages

if TYPE_CHECKING:
    from collections.abc import Iterator


def asked_for(pem: bytes) -> list[str]:
    """cert-manager's names of them; empty where the CSR says nothing of usages, or cannot be read."""
    with suppress(ValueError, x509.InvalidVersion):
        extensions = x509.load_pem_x509_csr(pem).extensions
        return list(dict.fromkeys(_names(extensions)))
    return []


def _names(extensions: x509.Extensions) -> Iterator[str]:
    with suppress(x509.ExtensionNotFound):
        bits = extensions.get_extension_for_class(x509.KeyUsage).value
        for name, bit in usages._KEY_USAGES.items():
            if name == "signing" or (bit in ("encipher_only", "decipher_only") and not bits.key_agreement):
                continue
            if getattr(bits, bit):
                yield name
    with suppress(x509.ExtensionNotFound):
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        for name, purpose in usages._EXTENDED.items():
            if name != "s/mime" and purpose in purposes:
                yield name
