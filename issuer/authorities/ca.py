"""A CA whose key pair is in a Secret, signing in this process: the fallback that needs no network.

The Secret has cert-manager's form: `tls.crt` with the CA certificate, perhaps followed by its own chain, and `tls.key`.
Nothing is remembered about what was signed, so there is nothing to find and nothing to revoke.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Meta, Struct

from issuer.api.issuer import SecretReference
from issuer.api.secret import SecretError, SecretMissingError
from issuer.api.spec import decode_config
from issuer.authorities.base import Signed
from issuer.authorities.errors import Unauthorized, Unavailable, Unsupported
from issuer.pki import usages
from issuer.pki.certificate import InvalidCertificateError, load_chain, to_pem

if TYPE_CHECKING:
    from datetime import datetime

    from issuer.api.issuer import AuthoritySpec
    from issuer.authorities.base import AuthorityContext, CallTimeouts, SigningOrder
    from issuer.pki.csr import SigningRequest

CERTIFICATE_KEY: Final = "tls.crt"
PRIVATE_KEY: Final = "tls.key"
BACKDATE: Final = timedelta(minutes=5)
"""How far in the past a certificate begins, for verifiers whose clocks are behind."""
SHORTEST_LIFE: Final = timedelta(hours=1)
"""A CA that lives shorter than this signs no more; its certificates would be renewed at once, again and again."""

CAKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class Config(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Signs in process with a CA key pair from a Secret. Who verifies the certificates has to trust that CA."""

    secret_ref: Annotated[
        SecretReference, Meta(description="Secret with the CA certificate in tls.crt and its key in tls.key.")
    ]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CA ready to sign: its certificate, the certificates above it, its key."""

    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...]
    key: CAKey
    digest: str

    @property
    def not_after(self) -> datetime:
        """When the first of the chain expires."""
        return min(one.not_valid_after_utc for one in (self.certificate, *self.above))


class CertificateAuthority:
    """The authority of one `ca` entry."""

    is_remote: Final = False
    remembers: Final = False

    def __init__(self, name: str, config: Config, context: AuthorityContext) -> None:
        self.name: Final = name
        self._secret = config.secret_ref.name
        self._context = context
        self._parsed: tuple[str, KeyPair] | None = None

    def supports(self, order: SigningOrder) -> None:
        """Everything but unknown usages, and those of CA certificates, can be signed."""
        try:
            usages.extensions(order.usages)
        except usages.UnknownUsageError as error:
            raise Unsupported(self.name, f"spec.usages: {error}") from None

    async def session(self, *, fresh: bool = False) -> CASession:
        """Read the key pair."""
        namespace = self._context.namespace
        try:
            data = await self._context.secrets.read(namespace, self._secret, fresh=fresh)
        except SecretMissingError as error:
            raise Unauthorized(self.name, str(error), code="SecretMissing") from None
        except SecretError as error:
            raise Unavailable(self.name, str(error)) from None
        certificate, key = data.get(CERTIFICATE_KEY, b""), data.get(PRIVATE_KEY, b"")
        for entry, value in ((CERTIFICATE_KEY, certificate), (PRIVATE_KEY, key)):
            if not value.strip():
                raise Unauthorized(self.name, f"{self._where} has no {entry}", code="SecretIncomplete")
        digest = hashlib.sha256(certificate + b"\0" + key).hexdigest()[:12]
        if self._parsed is None or self._parsed[0] != digest:
            self._parsed = (digest, self._parse(certificate, key, digest))
        pair = self._parsed[1]
        return CASession(self.name, f"ca:{namespace}/{self._secret}:{digest}", pair, self._context)

    async def aclose(self) -> None:
        """There are no connections."""

    @property
    def _where(self) -> str:
        return f"Secret {self._context.namespace}/{self._secret}"

    def _parse(self, certificate: bytes, key: bytes, digest: str) -> KeyPair:
        """Read the key pair; what is wrong with it is told without any of its content."""
        try:
            first, *rest = load_chain(certificate)
        except InvalidCertificateError as error:
            raise self._unusable(f"{CERTIFICATE_KEY}: {error}") from None
        try:
            private = serialization.load_pem_private_key(key, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise self._unusable(f"{PRIVATE_KEY} is not an unencrypted private key in PEM") from None
        if not isinstance(private, CAKey):
            raise self._unusable(f"{PRIVATE_KEY} is neither RSA nor ECDSA nor Ed25519")
        if _public(private.public_key()) != _public(first.public_key()):
            raise self._unusable(f"{PRIVATE_KEY} does not belong to the first certificate of {CERTIFICATE_KEY}")
        if not _may_sign(first):
            raise self._unusable(f"the first certificate of {CERTIFICATE_KEY} is not a CA's")
        return KeyPair(first, _above(first, rest), private, digest)

    def _unusable(self, problem: str) -> Unauthorized:
        return Unauthorized(self.name, f"{self._where}: {problem}", code="SecretInvalid")


class CASession:
    """The CA with its key at hand."""

    def __init__(self, name: str, account: str, pair: KeyPair, context: AuthorityContext) -> None:
        self.account: Final = account
        self._name = name
        self._pair = pair
        self._context = context

    async def sign(self, order: SigningOrder, timeouts: CallTimeouts) -> Signed:  # noqa: ARG002 - no call is made
        """Sign; with an RSA key, which takes a millisecond or more, off the event loop."""
        if isinstance(self._pair.key, rsa.RSAPrivateKey):
            return await asyncio.to_thread(self._sign, order)
        return self._sign(order)

    async def find(self, order: SigningOrder, timeouts: CallTimeouts) -> tuple[Signed, ...]:  # noqa: ARG002
        """Nothing is remembered."""
        return ()

    async def revoke(self, handle: str, timeouts: CallTimeouts) -> None:
        """Nothing is remembered."""

    async def check(self, timeouts: CallTimeouts) -> None:  # noqa: ARG002 - no call is made
        """The key pair was read and fits; see that the CA still lives."""
        self._not_after(self._context.now())

    def _sign(self, order: SigningOrder) -> Signed:
        now = self._context.now().replace(microsecond=0)
        not_after = min(now + order.duration, self._not_after(now))
        csr, pair = order.csr, self._pair
        public_key = x509.load_pem_x509_csr(csr.pem).public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .issuer_name(pair.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - BACKDATE, pair.certificate.not_valid_before_utc))
            .not_valid_after(not_after)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(_authority_key_identifier(pair.certificate), critical=False)
        )
        if names := _names(csr):
            # Critical where there is nothing else that names the subject (RFC 5280 section 4.2.1.6).
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not list(csr.subject))
        for extension, critical in zip(usages.extensions(order.usages), (True, False), strict=True):
            if extension is not None:
                builder = builder.add_extension(extension, critical=critical)
        algorithm = None if isinstance(pair.key, ed25519.Ed25519PrivateKey) else _hash(pair.key)
        leaf = builder.sign(pair.key, algorithm)
        chain = (leaf, pair.certificate, *pair.above)
        return Signed(
            chain=to_pem(one for one in chain if one.subject != one.issuer or one is leaf),
            ca=to_pem([chain[-1]]),
            promised=not_after - now,
        )

    def _not_after(self, now: datetime) -> datetime:
        """When the CA ends.

        Raises:
            Unavailable: too soon, or it has not begun yet.
        """
        end = self._pair.not_after
        if end - now < SHORTEST_LIFE:
            raise Unavailable(self._name, f"the CA certificate expires at {end:%Y-%m-%d %H:%M:%SZ}; renew the CA")
        if self._pair.certificate.not_valid_before_utc > now:
            raise Unavailable(self._name, "the CA certificate is not valid yet")
        return end


def build(spec: AuthoritySpec, context: AuthorityContext) -> CertificateAuthority:
    """Make the authority from its specification.

    Raises:
        InvalidSpecError: its configuration is nonsense.
    """
    config = decode_config(spec.config, Config, f"spec.authorities[{spec.name}].ca")
    return CertificateAuthority(spec.name, config, context)


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid
    except ValueError:
        return False


def _above(first: x509.Certificate, others: list[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """The certificates over a CA, in order, as far as the Secret has them."""
    chain = [first]
    while chain[-1].subject != chain[-1].issuer:
        above = next((one for one in others if one not in chain and _has_signed(one, chain[-1])), None)
        if above is None:
            break
        chain.append(above)
    return tuple(chain[1:])


def _has_signed(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    try:
        subject.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _authority_key_identifier(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(certificate.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _names(csr: SigningRequest) -> list[x509.GeneralName]:
    return [
        *(x509.DNSName(name) for name in csr.dns_names),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in csr.ip_addresses),
        *(x509.RFC822Name(address) for address in csr.email_addresses),
        *(x509.UniformResourceIdentifier(uri) for uri in csr.uris),
    ]


def _hash(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    """As strong as the curve, SHA-256 at the least (RFC 5480 section 4)."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if key.key_size > 384:  # noqa: PLR2004 - bits of P-384
            return hashes.SHA512()
        if key.key_size > 256:  # noqa: PLR2004 - bits of P-256
            return hashes.SHA384()
    return hashes.SHA256()


def _public(key: object) -> bytes:
    encode = getattr(key, "public_bytes", None)
    return encode(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) if encode else b""
