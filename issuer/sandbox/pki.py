"""A small certificate authority for the sandbox. Fast rather than careful: it signs what it is told to sign."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

ROOT_LIFETIME: Final = timedelta(days=20 * 365)
"""Long enough for every leaf that the Origin CA can be asked for; the real roots end in August 2029."""

_LEAF_KEY_USAGE: Final = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=True,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
_ROOT_KEY_USAGE: Final = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
_LEAF_USAGES: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
_NOT_A_CA: Final = x509.BasicConstraints(ca=False, path_length=None)


def name(**attributes: str) -> x509.Name:
    """A distinguished name, in the order given: `name(O="Example", CN="Example CA")`."""
    oids = {
        "C": NameOID.COUNTRY_NAME,
        "O": NameOID.ORGANIZATION_NAME,
        "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
        "L": NameOID.LOCALITY_NAME,
        "ST": NameOID.STATE_OR_PROVINCE_NAME,
        "CN": NameOID.COMMON_NAME,
    }
    return x509.Name([x509.NameAttribute(oids[key], value) for key, value in attributes.items()])


@dataclass(frozen=True, slots=True)
class SmallCA:
    """A self-signed root with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    identifier: x509.AuthorityKeyIdentifier

    @classmethod
    def with_ecc(cls, subject: x509.Name, *, created: datetime | None = None) -> SmallCA:
        """A root with a P-256 key."""
        return cls._root(subject, ec.generate_private_key(ec.SECP256R1()), created)

    @classmethod
    def with_rsa(cls, subject: x509.Name, *, created: datetime | None = None) -> SmallCA:
        """A root with an RSA key of 2048 bits, which takes about a tenth of a second to make."""
        return cls._root(subject, rsa.generate_private_key(public_exponent=65537, key_size=2048), created)

    @classmethod
    def _root(
        cls, subject: x509.Name, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, created: datetime | None
    ) -> SmallCA:
        created = created or datetime.now(UTC) - timedelta(days=365)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder(subject_name=subject, issuer_name=subject, public_key=key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(created)
            .not_valid_after(created + ROOT_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_ROOT_KEY_USAGE, critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key, x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier))

    @property
    def pem(self) -> bytes:
        """The root as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    def sign(
        self,
        public_key: CertificatePublicKeyTypes,
        *,
        subject: x509.Name,
        hostnames: Sequence[str],
        not_before: datetime,
        not_after: datetime,
    ) -> x509.Certificate:
        """A leaf for a server, with these hostnames and no others."""
        names = x509.SubjectAlternativeName([x509.DNSName(hostname) for hostname in hostnames])
        return (
            x509.CertificateBuilder(self.certificate.subject, subject, public_key, x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .add_extension(_NOT_A_CA, critical=True)
            .add_extension(_LEAF_KEY_USAGE, critical=True)
            .add_extension(_LEAF_USAGES, critical=False)
            .add_extension(self.identifier, critical=False)
            .add_extension(names, critical=False)
            .sign(self.key, hashes.SHA256())
        )
