"""Builders of keys, CSRs, CAs and certificates, also of odd ones."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from issuer.pki import csr as csrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from issuer.pki.csr import SigningRequest

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
LIFE = 90 * DAY

Extension = tuple[x509.ExtensionType, bool]


@cache
def key(kind: str = "p256", which: str = "") -> Any:
    """A private key; the same one for the same arguments."""
    match kind:
        case "p256" | "p384" | "p521" | "secp256k1":
            curves: dict[str, Any] = {
                "p256": ec.SECP256R1,
                "p384": ec.SECP384R1,
                "p521": ec.SECP521R1,
                "secp256k1": ec.SECP256K1,
            }
            return ec.generate_private_key(curves[kind]())
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "ed448":
            return ed448.Ed448PrivateKey.generate()
        case "dsa":
            return dsa.generate_private_key(2048)
        case _:
            return rsa.generate_private_key(public_exponent=65537, key_size=int(kind.removeprefix("rsa")))


def digest(signer: Any) -> hashes.SHA256 | None:
    return None if isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()


def name(common_name: str = "", **more: str) -> x509.Name:
    oids = {"o": NameOID.ORGANIZATION_NAME, "ou": NameOID.ORGANIZATIONAL_UNIT_NAME, "c": NameOID.COUNTRY_NAME}
    attributes = [x509.NameAttribute(oids[part], value) for part, value in more.items()]
    if common_name:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def dns(*names: str) -> list[x509.GeneralName]:
    return [x509.DNSName(each) for each in names]


def request(
    names: Iterable[x509.GeneralName] = (),
    *,
    subject: x509.Name | None = None,
    signer: Any = None,
    extensions: Iterable[Extension] = (),
) -> x509.CertificateSigningRequest:
    """A CSR, signed by its own key."""
    signer = signer or key()
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject or x509.Name([]))
    if listed := list(names):
        builder = builder.add_extension(x509.SubjectAlternativeName(listed), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer, digest(signer))


def pem(csr: x509.CertificateSigningRequest) -> bytes:
    return csr.public_bytes(Encoding.PEM)


def field(text: bytes) -> str:
    """As `spec.request` holds it."""
    return base64.b64encode(text).decode("ascii")


def parsed(*hostnames: str, signer: Any = None, common_name: str = "") -> SigningRequest:
    """A parsed CSR for these hostnames."""
    return csrs.parse_pem(pem(request(dns(*hostnames), subject=name(common_name), signer=signer)))


@dataclass(frozen=True)
class CA:
    """A CA and how to sign with it."""

    certificate: x509.Certificate
    signer: Any

    def below(self, common_name: str, **options: Any) -> CA:
        """A CA signed by this one."""
        return make_ca(common_name, issued_by=self, **options)

    def leaf(
        self,
        public_key: Any = None,
        names: Sequence[x509.GeneralName] = (),
        *,
        subject: x509.Name | None = None,
        start: datetime = NOW,
        end: datetime = NOW + LIFE,
        extensions: Iterable[Extension] = (),
    ) -> x509.Certificate:
        """A certificate for an end entity."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject or name("leaf"))
            .issuer_name(self.certificate.subject)
            .public_key(public_key or key().public_key())
            .serial_number(4711)
            .not_valid_before(start)
            .not_valid_after(end)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.signer, digest(self.signer))


def make_ca(
    common_name: str = "root",
    *,
    issued_by: CA | None = None,
    kind: str = "p256",
    signer: Any = None,
    start: datetime = NOW - 365 * DAY,
    end: datetime = NOW + 3650 * DAY,
    is_ca: bool = True,
    path_length: int | None = None,
    extensions: Iterable[Extension] = (),
) -> CA:
    """A CA, self-signed unless another one issues it."""
    signer = signer or key(kind, f"ca {common_name}")
    above = issued_by or CA(None, signer)  # type: ignore[arg-type]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common_name))
        .issuer_name(issued_by.certificate.subject if issued_by else name(common_name))
        .public_key(signer.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=path_length), critical=True)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return CA(builder.sign(above.signer, digest(above.signer)), signer)


def key_pem(private: Any, form: str = "PKCS8", passphrase: str = "") -> bytes:
    forms = {"PKCS8": serialization.PrivateFormat.PKCS8, "traditional": serialization.PrivateFormat.TraditionalOpenSSL}
    protection = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    written: bytes = private.private_bytes(Encoding.PEM, forms[form], protection)
    return written


def key_usage(*, cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def tlv(tag: int, value: bytes) -> bytes:
    """DER of one element."""
    size = len(value)
    if size < 0x80:
        return bytes([tag, size]) + value
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + value


def content(der: bytes) -> bytes:
    """What is in one element of DER."""
    return der[2 + (der[1] & 0x7F if der[1] & 0x80 else 0) :]


def resigned(info: bytes) -> bytes:
    """A CSR in DER around an info that no builder would make, with a good signature by `key()`."""
    signature = key().sign(info, ec.ECDSA(hashes.SHA256()))
    ecdsa_with_sha256 = tlv(0x30, bytes.fromhex("06082a8648ce3d040302"))
    return tlv(0x30, info + ecdsa_with_sha256 + tlv(0x03, b"\x00" + signature))


def as_pem(der: bytes, label: bytes = b"CERTIFICATE REQUEST") -> bytes:
    return b"-----BEGIN " + label + b"-----\n" + base64.encodebytes(der) + b"-----END " + label + b"-----\n"


RSA_ENCRYPTION = bytes.fromhex("300d06092a864886f70d0101010500")
RSASSA_PSS = bytes.fromhex("300d06092a864886f70d01010a3000")
"""The algorithm of an RSA key that is for PSS only, with its default parameters (RFC 4055, section 3.1)."""


def pss_key_pem(private: Any) -> bytes:
    """An RSA key as a key for PSS only, as `openssl genpkey -algorithm rsa-pss` writes it."""
    der = private.private_bytes(Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    assert der.count(RSA_ENCRYPTION) == 1
    return as_pem(der.replace(RSA_ENCRYPTION, RSASSA_PSS), b"PRIVATE KEY")


def pss_certificate(ca: CA, signer: Any) -> bytes:
    """The certificate of a CA as one for a PSS key, signed anew by a P-256 key."""
    info = ca.certificate.tbs_certificate_bytes.replace(RSA_ENCRYPTION, RSASSA_PSS)
    assert info != ca.certificate.tbs_certificate_bytes
    ecdsa_with_sha256 = tlv(0x30, bytes.fromhex("06082a8648ce3d040302"))
    signature = signer.sign(info, ec.ECDSA(hashes.SHA256()))
    return as_pem(tlv(0x30, info + ecdsa_with_sha256 + tlv(0x03, b"\x00" + signature)), b"CERTIFICATE")
