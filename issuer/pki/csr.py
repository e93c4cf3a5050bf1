"""The certificate signing request: what is asked for, checked once, so that no authority parses it again.

What no CA could ever sign is refused here with a message that names the field, because such a request fails at once
and for good. What only some CAs refuse (IP addresses, other names, many names, a kind of key, a CA's own certificate)
is left to the authorities. cert-manager's CA issuer is the yardstick: what it signs is taken, also where it is not DER
to the letter (`issuer.pki.lenient`).

The signature of a CSR proves that its sender holds the key, once, and its hash protects nothing that outlives it. So a
CSR that is signed with SHA-1 is taken, as cert-manager takes it; one with MD5 is not, as there, and is told why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from issuer.pki import lenient, names, pem
from issuer.pki.foreign import parsing
from issuer.pki.names import Names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

MAX_PEM: Final = 64 * 1024
"""Bytes of a CSR in PEM."""
MAX_NAMES: Final = 1000
"""Subject alternative names in one CSR."""
RSA_BITS: Final = (2048, 8192)
"""Smallest and largest RSA key; cert-manager's own bounds (pkg/util/pki/generate.go)."""
CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
"""P-256, P-384 and P-521, as cryptography calls them."""
RSA_EXPONENTS: Final = (3, 2**31 - 1)
"""Smallest and largest public exponent; Go's crypto/rsa, and so cert-manager, takes no larger one."""

KeyType = Literal["rsa", "ecdsa", "ed25519"]
E = TypeVar("E", bound=x509.ExtensionType)

_FIELD: Final = "spec.request"
_HOLDERS: Final = (lenient.EXTENSION_REQUEST, "1.3.6.1.4.1.311.2.1.14")
"""Attributes that hold extensions for cryptography: PKCS #9's, and Microsoft's older one."""
_LABELS: Final = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
_KEYS_KNOWN: Final = "use RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519"


class InvalidRequestError(ValueError):
    """A request that no authority can ever sign.

    Attributes:
        field: of the CertificateRequest (`spec.request`).
        message: what is wrong with it, in words for a person.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRequest:
    """A CSR that has passed every check that needs no authority.

    Attributes:
        pem: the CSR in PEM, one bare block.
        key_type: the kind of its key.
        key_size: bits of the modulus or of the curve.
        public_key: DER of the SubjectPublicKeyInfo.
        subject: as it is in the CSR; may be empty.
        common_name: the last one of the subject, if any.
        dns_names: of the SAN, lower case, in its order, each once.
        ip_addresses: of the SAN, in their shortest form.
        email_addresses: of the SAN, as they are.
        uris: of the SAN, as they are.
        directory_names: of the SAN.
        others: of the SAN, the names of all further kinds and the directory names, in the form in which they are
            compared (`names.comparable_other`).
        san: the SAN as it was asked for: letter case, order and repetitions kept.
        is_ca: the certificate is to be one of a CA.
        name_constraints: that the certificate of a CA is to have.
    """

    pem: bytes = field(repr=False)
    key_type: KeyType
    key_size: int
    public_key: bytes = field(repr=False)
    subject: x509.Name
    common_name: str | None = None
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    email_addresses: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    directory_names: tuple[x509.Name, ...] = ()
    others: tuple[str, ...] = ()
    san: x509.SubjectAlternativeName | None = field(default=None, repr=False)
    is_ca: bool = False
    name_constraints: x509.NameConstraints | None = None

    @property
    def hostnames(self) -> tuple[str, ...]:
        """The DNS names, and the common name if it is one (two labels at least), each once, in punycode."""
        name = self.common_name
        if name is None or not names.is_hostname(name):
            return self.dns_names
        return tuple(dict.fromkeys((*self.dns_names, names.comparable_dns(name))))

    @property
    def names(self) -> Names:
        """The names of the SAN in the form in which they are compared. Without the common name."""
        return Names(
            dns=frozenset(map(names.comparable_dns, self.dns_names)),
            ips=frozenset(map(names.comparable_ip, self.ip_addresses)),
            emails=frozenset(map(names.comparable_email, self.email_addresses)),
            uris=frozenset(self.uris),
            others=frozenset(self.others),
        )


def parse(request_base64: str, *, is_ca: bool = False) -> SigningRequest:
    """Read `spec.request` of a CertificateRequest: base64 of one CSR in PEM; `is_ca`: what `spec.isCA` says.

    Raises:
        InvalidRequestError: nobody could ever sign it; the text names the field and holds no key.
    """
    if len(request_base64) > 2 * MAX_PEM:
        raise _refuse(f"is {len(request_base64)} characters long; a CSR of more than {MAX_PEM} bytes is not read")
    try:
        decoded = pem.from_base64(request_base64.encode("utf-8", "replace"))
    except pem.InvalidPemError as error:
        raise _refuse("is not base64") from error
    return parse_pem(decoded, is_ca=is_ca)


def parse_pem(text: bytes, *, is_ca: bool = False) -> SigningRequest:
    """Read one CSR in PEM; text around its block is passed over.

    Raises:
        InvalidRequestError: nobody could ever sign it; the text names the field and holds no key.
    """
    der = _only_block(text)
    request, signed = _load(der)
    with parsing(_refuse, f"the CSR's key is of a type that is not supported; {_KEYS_KNOWN}"):
        key = request.public_key()
        public_key = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key_type, key_size = _known(key)
    _check_signature(request, signed)
    with parsing(_refuse, "the CSR does not decode"):
        extensions, subject = request.extensions, request.subject
        san = _extension(extensions, x509.SubjectAlternativeName)
        constraints = _extension(extensions, x509.BasicConstraints)
        general_names = tuple(san or ())
        parsed = SigningRequest(
            pem=pem.block("CERTIFICATE REQUEST", der),
            key_type=key_type,
            key_size=key_size,
            public_key=public_key,
            subject=subject,
            common_name=_common_name(subject),
            dns_names=_once(name.value.lower() for name in general_names if isinstance(name, x509.DNSName)),
            ip_addresses=_once(str(name.value) for name in general_names if isinstance(name, x509.IPAddress)),
            email_addresses=_once(name.value for name in general_names if isinstance(name, x509.RFC822Name)),
            uris=_once(name.value for name in general_names if isinstance(name, x509.UniformResourceIdentifier)),
            directory_names=tuple(name.value for name in general_names if isinstance(name, x509.DirectoryName)),
            others=tuple(sorted(Names.of(general_names).others)),
            san=san,
            is_ca=is_ca,
            name_constraints=_extension(extensions, x509.NameConstraints) if is_ca else None,
        )
    _check_authority(constraints, is_ca=is_ca)
    _check_names(parsed, general_names)
    return parsed


def _refuse(message: str) -> InvalidRequestError:
    return InvalidRequestError(_FIELD, message)


def _only_block(text: bytes) -> bytes:
    """The DER of the one block there may be."""
    if len(text) > MAX_PEM:
        raise _refuse(f"is {len(text)} bytes long; a CSR of more than {MAX_PEM} bytes is not read")
    try:
        found = pem.blocks(text)
    except pem.InvalidPemError as error:
        raise _refuse(f"is not PEM ({error})") from error
    if not found:
        raise _refuse("is not PEM")
    if strange := next((block.label for block in found if block.label not in _LABELS), None):
        raise _refuse(f"holds a {strange}, and not only a CERTIFICATE REQUEST")
    if len(found) > 1:
        raise _refuse(f"holds {len(found)} CSRs; exactly one is needed")
    return found[0].der


def _load(der: bytes) -> tuple[x509.CertificateSigningRequest, bytes]:
    """The CSR, and the bytes of it that its signature is over."""
    try:
        with parsing(_refuse, "the CSR is not DER to the letter"):
            request = x509.load_der_x509_csr(der)
            _ = request.extensions, request.subject
            if _is_read_alike(request):
                return request, request.tbs_certrequest_bytes
    except InvalidRequestError:
        pass
    rewritten = lenient.rewrite(der, _refuse)
    with parsing(_refuse, "does not decode as a certificate signing request (PKCS #10, RFC 2986)"):
        request = x509.load_der_x509_csr(rewritten.der)
        _ = request.extensions, request.subject
        return request, rewritten.signed


def _is_read_alike(request: x509.CertificateSigningRequest) -> bool:
    """Whether cryptography reads the extensions that Go reads: see `issuer.pki.lenient`."""
    holders = [one.oid.dotted_string for one in request.attributes if one.oid.dotted_string in _HOLDERS]
    return holders in ([], [lenient.EXTENSION_REQUEST])


def _check_signature(request: x509.CertificateSigningRequest, signed: bytes) -> None:
    """Whether the CSR is signed by its own key; over the bytes that were sent, whatever is read of them."""
    oid = request.signature_algorithm_oid.dotted_string[: lenient.MAX_SHOWN]
    with parsing(_refuse, f"the CSR is signed with an algorithm that is not known here ({oid}); sign it with SHA-256"):
        key, algorithm = request.public_key(), request.signature_hash_algorithm
        parameters = request.signature_algorithm_parameters
    if isinstance(algorithm, hashes.MD5):
        raise _refuse("the CSR is signed with MD5, which proves nothing any more; sign it with SHA-256")
    with parsing(_refuse, "the CSR's signature is not by its own key"):
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(request.signature, signed, parameters, algorithm)  # type: ignore[arg-type]
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(request.signature, signed, ec.ECDSA(algorithm))  # type: ignore[arg-type]
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(request.signature, signed)
        else:
            raise InvalidSignature


def _known(key: CertificatePublicKeyTypes) -> tuple[KeyType, int]:
    """The kind and the size of a key that some authority may sign."""
    if isinstance(key, rsa.RSAPublicKey):
        low, high = RSA_BITS
        if not low <= key.key_size <= high:
            raise _refuse(f"the CSR's key is RSA of {key.key_size} bits; {_KEYS_KNOWN}")
        lowest, highest = RSA_EXPONENTS
        if not lowest <= key.public_numbers().e <= highest:
            raise _refuse("the CSR's RSA key has a public exponent that cert-manager cannot read; 65537 is usual")
        return "rsa", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in CURVES:
            raise _refuse(f"the CSR's key is ECDSA on {key.curve.name}; {_KEYS_KNOWN}")
        return "ecdsa", key.curve.key_size
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519", 256
    kind = type(key).__name__.removesuffix("PublicKey")
    raise _refuse(f"the CSR's key is of the type {kind}; {_KEYS_KNOWN}")


def _extension(extensions: x509.Extensions, type_: type[E]) -> E | None:
    try:
        return extensions.get_extension_for_class(type_).value
    except x509.ExtensionNotFound:
        return None


def _check_authority(constraints: x509.BasicConstraints | None, *, is_ca: bool) -> None:
    """What the CSR says must be what the request says, if it says anything, as at cert-manager's CA issuer."""
    if constraints is not None and constraints.ca and not is_ca:
        raise _refuse(
            "basicConstraints: the CSR asks for the certificate of a CA (CA:TRUE), and the request does not (spec.isCA)"
        )
    if constraints is not None and not constraints.ca and is_ca:
        raise _refuse(
            "basicConstraints: the CSR says CA:FALSE, and the request asks for a CA's certificate (spec.isCA)"
        )


def _common_name(subject: x509.Name) -> str | None:
    """The last common name; where there are several, Go's crypto/x509 reads the last one too."""
    values = [attribute.value for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return values[-1] if values and isinstance(values[-1], str) else None


def _once(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _check_names(parsed: SigningRequest, general_names: tuple[x509.GeneralName, ...]) -> None:
    if len(general_names) > MAX_NAMES:
        raise _refuse(f"subjectAltName: {len(general_names)} names; more than {MAX_NAMES} are not read")
    if not general_names and not list(parsed.subject):
        raise _refuse("the CSR names nothing: it has neither a subject nor a subjectAltName")
    for name in parsed.dns_names:
        if problem := names.dns_problem(name):
            raise _refuse(f"subjectAltName: the DNS name {name[:80]!r} {problem}")
    for address in parsed.ip_addresses:
        if "/" in address:
            raise _refuse(f"subjectAltName: {address} is a network, not an IP address")
    for address in parsed.email_addresses:
        if not names.is_email(address):
            raise _refuse(f"subjectAltName: {address[:80]!r} is no email address")
    for uri in parsed.uris:
        if not names.is_uri(uri):
            raise _refuse(f"subjectAltName: {uri[:80]!r} is no absolute URI")
