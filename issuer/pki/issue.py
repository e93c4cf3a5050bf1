"""Making a certificate with the key pair of a CA. The profile is that of RFC 5280, section 4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from issuer.pki.csr import InvalidRequestError
from issuer.pki.foreign import parsing

if TYPE_CHECKING:
    from datetime import datetime

    from issuer.pki.csr import SigningRequest
    from issuer.pki.keypair import KeyPair, SigningKey
    from issuer.pki.usages import UsageExtensions

P256: Final = 256
P384: Final = 384


def issue(
    pair: KeyPair,
    csr: SigningRequest,
    usages: UsageExtensions,
    *,
    not_before: datetime,
    not_after: datetime,
) -> x509.Certificate:
    """Sign a certificate with the CSR's key, its subject and names to the letter, and a random serial number.

    One of a CA has no path length of its own, as at cert-manager's CA issuer: that of the CA above it counts.

    Raises:
        InvalidRequestError: the CSR holds something that decodes and cannot be written into a certificate.
    """
    with parsing(_refuse, "what it holds cannot be put into a certificate"):
        key = serialization.load_der_public_key(csr.public_key)
        builder = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .issuer_name(pair.certificate.subject)
            .public_key(key)  # type: ignore[arg-type]  # its kind was checked when the CSR was parsed
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .add_extension(x509.BasicConstraints(ca=csr.is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)  # type: ignore[arg-type]
            .add_extension(_authority_key(pair), critical=False)
        )
        if csr.san is not None and list(csr.san):
            # Section 4.2.1.6: where the subject is empty, the names are all there is, so nobody may skip them.
            builder = builder.add_extension(csr.san, critical=not list(csr.subject))
        if csr.name_constraints is not None:
            builder = builder.add_extension(csr.name_constraints, critical=True)
        if usages.key_usage is not None:
            builder = builder.add_extension(usages.key_usage, critical=True)
        if usages.extended_key_usage is not None:
            builder = builder.add_extension(usages.extended_key_usage, critical=False)
        return builder.sign(pair.key, _hash(pair.key))


def _refuse(message: str) -> InvalidRequestError:
    return InvalidRequestError("spec.request", message)


def _authority_key(pair: KeyPair) -> x509.AuthorityKeyIdentifier:
    """The identifier the CA has given to its own key, as section 4.2.1.1 demands, else the usual hash of the key."""
    try:
        own = pair.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(pair.key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _hash(key: SigningKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    """As strong as the CA's key: Ed25519 has its own, the larger curves want the larger ones."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    bits = key.curve.key_size if isinstance(key, ec.EllipticCurvePrivateKey) else 0
    if bits <= P256:
        return hashes.SHA256()
    return hashes.SHA384() if bits <= P384 else hashes.SHA512()
