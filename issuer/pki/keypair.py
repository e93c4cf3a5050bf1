"""The key pair of a CA as a Secret of type kubernetes.io/tls holds it: `tls.crt` with its chain, `tls.key`, `ca.crt`.

Everything that makes it unfit to sign is found when it is read, so that the issuer says so before the first request
does. Expiry is not such a thing: a CA is good until it is not, so whoever signs looks at `ends`.

For an intermediate CA, cert-manager writes the root into `ca.crt` alone, and its CA issuer puts that on top of the
chain (SecretTLSKeyPairAndCA in pkg/util/kube/pki.go). So it is here, where it issued the top of `tls.crt`. It only
tells what to trust, so it never hinders signing: garbage, a certificate that does not fit, or one out of its time
(cert-manager writes `ca.crt` when the Secret is issued and leaves it as it is) is passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
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

    from issuer.pki.pem import Block

CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
ROOTS: Final = "ca.crt"

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

RSASSA_PSS: Final = "1.2.840.113549.1.1.10"
"""An RSA key that may sign with PSS padding only (RFC 4055, section 1.2)."""

_RSASSA_PSS_DER: Final = bytes.fromhex("06092a864886f70d01010a")
_PSS_PROBLEM: Final = (
    "is for RSA-PSS only, which cert-manager and many verifiers do not know; use one for plain RSA (rsaEncryption), "
    "ECDSA or Ed25519"
)
_ENCRYPTED: Final = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: *4, *ENCRYPTED", re.MULTILINE)
"""PKCS #8's label (RFC 7468, section 11), and the header of OpenSSL's older form (RFC 1421, section 4.6.1.1)."""
_PRIVATE: Final = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")


class InvalidKeyPairError(ValueError):
    """No CA can sign with this.

    Attributes:
        part: `tls.crt` or `tls.key`, whichever is to be fixed.
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
        chain: the CA's certificate first, each issued by the next one, as far up as `tls.crt` and then `ca.crt` go.
        key: the private key of the first one.
        hints: how many at the end of the chain are from `ca.crt`.
    """

    chain: tuple[x509.Certificate, ...]
    key: SigningKey = field(repr=False)
    hints: int = 0

    @property
    def certificate(self) -> x509.Certificate:
        """The CA's own certificate."""
        return self.chain[0]

    @property
    def anchor(self) -> x509.Certificate:
        """What those who verify should trust: the root if the Secret holds it, else the highest certificate it holds.

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
        return self.first_to_end.not_valid_after_utc

    @property
    def first_to_end(self) -> x509.Certificate:
        """The certificate of the chain that expires first; of several the lowest."""
        return min(self.chain, key=lambda certificate: certificate.not_valid_after_utc)

    def obstacle_below(self) -> str | None:
        """Why no CA may stand below this one, or None: a path length of the chain (RFC 5280, section 4.2.1.9)."""
        return next(filter(None, (_problem(self.chain, position, more=1) for position in range(len(self.chain)))), None)

    def at(self, begin: datetime, end: datetime) -> KeyPair:
        """The pair to use in that time: without what `ca.crt` gave, unless all of that is valid from begin to end."""
        hints = self.chain[len(self.chain) - self.hints :]
        if all(one.not_valid_before_utc <= begin and end <= one.not_valid_after_utc for one in hints):
            return self
        return replace(self, chain=self.chain[: len(self.chain) - self.hints], hints=0)

    @property
    def is_slow(self) -> bool:
        """Whether a signature takes milliseconds, too long for an event loop."""
        return isinstance(self.key, rsa.RSAPrivateKey)


def load(certificate: bytes, key: bytes, roots: bytes = b"") -> KeyPair:
    """Read `tls.crt`, `tls.key` and `ca.crt`. An RSA key takes up to some hundred milliseconds: its primes are checked.

    Raises:
        InvalidKeyPairError: one of the first two is garbage, they do not match, or they are not of a CA.
    """
    try:
        pool = load_chain(certificate)
        if _is_pss(pool[0]):
            raise InvalidKeyPairError(CERTIFICATE, f"the key of its first certificate {_PSS_PROBLEM}")
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
    complete = _completed(chain, roots)
    return KeyPair(complete, private, hints=len(complete) - len(chain))


def _private_key(text: bytes) -> SigningKey:
    if _ENCRYPTED.search(text):
        raise InvalidKeyPairError(KEY, "is encrypted; it must be without a passphrase")
    try:
        found = [block for block in pem.blocks(text) if block.label in _PRIVATE]
    except pem.InvalidPemError:
        raise InvalidKeyPairError(KEY, "is broken PEM") from None
    if len(found) != 1:
        raise InvalidKeyPairError(KEY, f"holds {len(found)} private keys in PEM; exactly one is needed")
    with parsing(lambda message: InvalidKeyPairError(KEY, message), "does not decode as a private key"):
        key = serialization.load_der_private_key(found[0].der, password=None)
    return _fit(key, found[0])


def _fit(key: PrivateKeyTypes, block: Block) -> SigningKey:
    """The key, if it is of a kind that everybody who verifies certificates knows."""
    if isinstance(key, rsa.RSAPrivateKey):
        if _is_pss_key(block):
            raise InvalidKeyPairError(KEY, _PSS_PROBLEM)
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


def _is_pss(certificate: x509.Certificate) -> bool:
    with parsing(InvalidCertificateError, "a certificate does not decode"):
        return certificate.public_key_algorithm_oid.dotted_string == RSASSA_PSS


def _is_pss_key(block: Block) -> bool:
    """Whether an RSA key is for PSS only, which cryptography does not tell: it reads such a key as any RSA key.

    In PKCS #8 (RFC 5208, section 5) the algorithm comes before the key: two lengths of up to four bytes each and the
    version, then the OID. The older form, PKCS #1, has no algorithm.
    """
    return block.label == "PRIVATE KEY" and _RSASSA_PSS_DER in block.der[: 20 + len(_RSASSA_PSS_DER)]


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


def _completed(chain: tuple[x509.Certificate, ...], text: bytes) -> tuple[x509.Certificate, ...]:
    """The chain with what goes on top of it from `ca.crt`, if anything does: a root rather than a cross-signed one."""
    try:
        pool = load_chain(text) if text.strip() else ()
    except InvalidCertificateError:
        return chain
    while not is_self_signed(chain[-1]):
        above = [other for other in pool if other not in chain and _fits_on(chain, other)]
        if not above:
            break
        chain = (*chain, max(above, key=lambda one: (is_self_signed(one), one.not_valid_after_utc)))
    return chain


def _fits_on(chain: tuple[x509.Certificate, ...], above: x509.Certificate) -> bool:
    try:
        with parsing(InvalidCertificateError, "does not decode"):
            sane = above.not_valid_before_utc < above.not_valid_after_utc
            return sane and _issued(chain[-1], above) and _problem((*chain, above), len(chain)) is None
    except InvalidCertificateError:
        return False


def _issued(below: x509.Certificate, above: x509.Certificate) -> bool:
    if below.issuer != above.subject:
        return False
    try:
        with parsing(InvalidCertificateError, "not signed by it"):
            below.verify_directly_issued_by(above)
    except InvalidCertificateError:
        return False
    return True


def _problem(chain: tuple[x509.Certificate, ...], position: int, *, more: int = 0) -> str | None:
    """What is wrong with a certificate of a chain that has so many CAs more below it."""
    below = more + sum(1 for certificate in chain[:position] if certificate.issuer != certificate.subject)
    problem = authority_problem(chain[position], below=below)
    return problem and f"{chain[position].subject.rfc4514_string()[:100]!r} {problem}"
