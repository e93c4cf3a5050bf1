"""The key pair of a CA as a Secret of type kubernetes.io/tls holds it: `tls.crt` with its chain, and `tls.key`.

Everything that makes it unfit to sign is found when it is read, so that the issuer says so before the first request
does. Expiry is not such a thing: a CA is good until it is not, so whoever signs looks at `ends`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from issuer.pki import certificate as certificates
from issuer.pki import pem
from issuer.pki.certificate import InvalidCertificateError, is_self_signed, load_chain
from issuer.pki.csr import CURVES, RSA_BITS
from issuer.pki.foreign import parsing
from issuer.pki.path import authority_problem

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_PRIVATE: Final = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")


class InvalidKeyPairError(ValueError):
    """No CA can sign with this.

    Attributes:
        part: `tls.crt` or `tls.key`, whichever is to be mended.
        message: what is wrong; never its content.
    """

    def __init__(self, part: str, message: str) -> None:
        super().__init__(f"{part}: {message}")
        self.part = part
        self.message = message


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CA that can sign.

    Attributes:
        chain: the CA's certificate first, each issued by the next one, as far up as `tls.crt` goes.
        key: the private key of the first one.
    """

    chain: tuple[x509.Certificate, ...]
    key: SigningKey = field(repr=False)

    @property
    def certificate(self) -> x509.Certificate:
        """The CA's own certificate."""
        return self.chain[0]

    @property
    def anchor(self) -> x509.Certificate:
        """What those who verify should trust: the root if `tls.crt` holds it, else the highest certificate it holds.

        cert-manager's CA issuer chooses the same, so that `ca.crt` does not change when one replaces the other.
        """
        return self.chain[-1]

    @property
    def intermediates(self) -> tuple[x509.Certificate, ...]:
        """What goes to `status.certificate` after the leaf: all that is not self-signed."""
        return self.chain[:-1] if is_self_signed(self.chain[-1]) else self.chain

    @property
    def begins(self) -> datetime:
        """When the last certificate of the chain becomes valid."""
        return max(certificate.not_valid_before_utc for certificate in self.chain)

    @property
    def ends(self) -> datetime:
        """When the first certificate of the chain expires; nothing signed outlives it."""
        return min(certificate.not_valid_after_utc for certificate in self.chain)

    @property
    def is_slow(self) -> bool:
        """Whether a signature takes milliseconds, too long for an event loop."""
        return isinstance(self.key, rsa.RSAPrivateKey)


def load(certificate: bytes, key: bytes) -> KeyPair:
    """Read `tls.crt` and `tls.key`. An RSA key takes up to some hundred milliseconds, as its primes are checked.

    Raises:
        InvalidKeyPairError: one of the two is garbage, they do not match, or they are not of a CA.
    """
    try:
        pool = load_chain(certificate)
        private = _private_key(key)
        if certificates.public_key(pool[0]) != _public(private):
            raise InvalidKeyPairError(KEY, f"is not the key of the first certificate in {CERTIFICATE}")
        with parsing(InvalidCertificateError, "a certificate does not decode"):
            chain = _upwards(pool)
            problems = [_problem(chain, position) for position in range(len(chain))]
    except InvalidCertificateError as error:
        raise InvalidKeyPairError(CERTIFICATE, str(error)) from error
    if len(chain) < len(set(pool)):
        raise InvalidKeyPairError(CERTIFICATE, "its certificates do not form one chain upwards from the first one")
    if problem := next(filter(None, problems), None):
        raise InvalidKeyPairError(CERTIFICATE, problem)
    return KeyPair(chain, private)


def _private_key(text: bytes) -> SigningKey:
    if b"ENCRYPTED" in text:
        raise InvalidKeyPairError(KEY, "is encrypted; it must be without a passphrase")
    try:
        found = [block for block in pem.blocks(text) if block.label in _PRIVATE]
    except pem.InvalidPemError:
        raise InvalidKeyPairError(KEY, "is broken PEM") from None
    if len(found) != 1:
        raise InvalidKeyPairError(KEY, f"holds {len(found)} private keys in PEM; exactly one is needed")
    with parsing(lambda message: InvalidKeyPairError(KEY, message), "does not decode as a private key", quote=False):
        key = serialization.load_der_private_key(found[0].der, password=None)
    return _fit(key)


def _fit(key: PrivateKeyTypes) -> SigningKey:
    """The key, if it is of a kind that everybody who verifies certificates knows."""
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < RSA_BITS[0]:
            raise InvalidKeyPairError(KEY, f"is RSA of {key.key_size} bits; at least {RSA_BITS[0]} are needed")
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if key.curve.name not in CURVES:
            raise InvalidKeyPairError(KEY, f"is ECDSA on {key.curve.name}; P-256, P-384 and P-521 can be used")
        return key
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    raise InvalidKeyPairError(KEY, "is of a kind that cannot be used; RSA, ECDSA and Ed25519 can")


def _public(key: SigningKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _upwards(pool: tuple[x509.Certificate, ...]) -> tuple[x509.Certificate, ...]:
    """The chain from the first certificate on, whatever the order of the others."""
    chain = [pool[0]]
    while not is_self_signed(chain[-1]):
        above = next((other for other in pool if other not in chain and _issued(chain[-1], other)), None)
        if above is None:
            break
        chain.append(above)
    return tuple(chain)


def _issued(below: x509.Certificate, above: x509.Certificate) -> bool:
    if below.issuer != above.subject:
        return False
    try:
        with parsing(InvalidCertificateError, "not signed by it"):
            below.verify_directly_issued_by(above)
    except InvalidCertificateError:
        return False
    return True


def _problem(chain: tuple[x509.Certificate, ...], position: int) -> str | None:
    below = sum(1 for certificate in chain[:position] if certificate.issuer != certificate.subject)
    problem = authority_problem(chain[position], below=below)
    return problem and f"{chain[position].subject.rfc4514_string()[:100]!r} {problem}"
