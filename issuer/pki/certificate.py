"""Certificates: read from PEM, written as bare PEM, matched with a request."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from issuer.pki import lenient, pem
from issuer.pki.foreign import parsing
from issuer.pki.names import Names, comparable_dns, comparable_email, comparable_ip

if TYPE_CHECKING:
    from collections.abc import Iterable

    from issuer.pki.csr import SigningRequest

MAX_BUNDLE: Final = 1024 * 1024
"""Bytes of a bundle that are read: what a Secret can hold."""

_LABELS: Final = ("CERTIFICATE", "X509 CERTIFICATE")


class InvalidCertificateError(ValueError):
    """The text holds no certificate, a broken one, or something else beside it. The text of the error quotes no key."""


def load_chain(text: bytes) -> tuple[x509.Certificate, ...]:
    """All certificates of a PEM text, in its order; what stands around the blocks is passed over.

    Raises:
        InvalidCertificateError: there is none, one does not decode, or a block is something else (a private key).
    """
    if len(text) > MAX_BUNDLE:
        raise InvalidCertificateError(f"{len(text)} bytes of certificates; more than {MAX_BUNDLE} are not read")
    try:
        found = pem.blocks(text)
    except pem.InvalidPemError as error:
        raise InvalidCertificateError(f"not PEM ({error})") from error
    if not found:
        raise InvalidCertificateError("no certificate in PEM")
    if strange := next((block.label for block in found if block.label not in _LABELS), None):
        raise InvalidCertificateError(f"holds a {strange} beside or in place of certificates")
    return tuple(_load(block.der) for block in found)


def load_bundle(text: str | bytes) -> tuple[x509.Certificate, ...]:
    """Certificates from PEM or from base64 of PEM, as `caBundle` may be either; each once.

    Raises:
        InvalidCertificateError: as `load_chain`.
    """
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if len(raw) > 2 * MAX_BUNDLE:
        raise InvalidCertificateError(f"{len(raw)} bytes of certificates; more than {MAX_BUNDLE} are not read")
    if b"-----BEGIN" not in raw:
        try:
            raw = pem.from_base64(raw)
        except pem.InvalidPemError as error:
            raise InvalidCertificateError("neither PEM nor base64 of PEM") from error
    return tuple(dict.fromkeys(load_chain(raw)))


def to_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """The certificates as bare PEM blocks, in their order."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def public_key(certificate: x509.Certificate) -> bytes:
    """DER of its SubjectPublicKeyInfo, to compare with `SigningRequest.public_key`.

    Raises:
        InvalidCertificateError: its key is of an unknown type or broken.
    """
    with parsing(InvalidCertificateError, "the certificate's key does not decode"):
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def names_of(certificate: x509.Certificate) -> Names:
    """The names of its subject alternative name, in the form in which they are compared.

    Raises:
        InvalidCertificateError: its extensions do not decode.
    """
    with parsing(InvalidCertificateError, "the certificate's extensions do not decode"):
        try:
            return Names.of(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        except x509.ExtensionNotFound:
            return Names()


@lru_cache(maxsize=256)
def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether it is its own issuer, by name and by signature. One that does not decode is not.

    The same few roots are asked about for every answer of an authority, so the signatures are remembered.
    """
    try:
        with parsing(InvalidCertificateError, "the certificate does not decode"):
            if certificate.issuer != certificate.subject:
                return False
            certificate.verify_directly_issued_by(certificate)
    except InvalidCertificateError:
        return False
    return True


def matches(csr: SigningRequest, certificate: x509.Certificate) -> bool:
    """Whether a certificate is one for this CSR: the same key, and exactly the names asked for.

    The common name may be among the names or not, as CAs differ in that. A certificate that does not decode is none.
    """
    try:
        return public_key(certificate) == csr.public_key and not (
            missing(csr, certificate) or unasked(csr, certificate)
        )
    except InvalidCertificateError:
        return False


def missing(csr: SigningRequest, certificate: x509.Certificate) -> tuple[str, ...]:
    """Names that were asked for and are not in the certificate.

    A request without any SAN is covered by its common name alone, there or in the certificate's SAN.

    Raises:
        InvalidCertificateError: the certificate does not decode.
    """
    present = names_of(certificate)
    if not csr.names and csr.common_name is not None:
        with parsing(InvalidCertificateError, "the certificate's subject does not decode"):
            subject = {attribute.value for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
        covered = csr.common_name in subject or bool(csr.hostnames and set(csr.hostnames) <= present.dns)
        return () if covered else (csr.common_name,)
    return csr.names - present


def unasked(csr: SigningRequest, certificate: x509.Certificate) -> tuple[str, ...]:
    """Names that are in the certificate and were not asked for, neither in the SAN nor as the common name.

    Raises:
        InvalidCertificateError: the certificate does not decode.
    """
    return tuple(name for name in names_of(certificate) - csr.names if name not in csr.hostnames)


def replaced_subject(csr: SigningRequest, certificate: x509.Certificate) -> tuple[str, str] | None:
    """The subject asked for and the one given (RFC 4514), if something that was asked for is not in the certificate.

    A common name that is among the certificate's names is not missed: verifiers read the subject alternative name
    alone (RFC 9525, section 2).

    Raises:
        InvalidCertificateError: the certificate does not decode.
    """
    names = names_of(certificate)
    named = names.dns | names.ips | names.emails
    with parsing(InvalidCertificateError, "the certificate's subject does not decode"):
        given = {(attribute.oid, attribute.value) for attribute in certificate.subject}
        missed = [
            attribute
            for attribute in csr.subject
            if (attribute.oid, attribute.value) not in given and not _is_name(attribute, named)
        ]
        return (csr.subject.rfc4514_string(), certificate.subject.rfc4514_string()) if missed else None


def _is_name(attribute: x509.NameAttribute[str | bytes], named: frozenset[str]) -> bool:
    if attribute.oid != NameOID.COMMON_NAME or not isinstance(attribute.value, str):
        return False
    forms = (comparable_dns, comparable_ip, comparable_email)
    return any(form(attribute.value) in named for form in forms)


def _load(der: bytes) -> x509.Certificate:
    try:
        with parsing(InvalidCertificateError, "a certificate does not decode"):
            return x509.load_der_x509_certificate(der)
    except InvalidCertificateError:
        if lenient.serial_number(der) < 0:
            # RFC 5280, section 4.1.2.2; neither cryptography nor Go's crypto/x509 reads one.
            raise InvalidCertificateError(
                "the serial number of a certificate is negative; it must be made anew"
            ) from None
        raise
