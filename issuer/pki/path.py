"""The way from a certificate up to a root, by name and by signature.

cryptography's own verifier (`x509.verification`) follows the web's rules: no Ed25519, names and usages of servers only,
system stores in mind. The chains met here are those of private CAs and of a CDN's CA, and the roots are the ones a user
named. So the way is walked here, with the rules of RFC 5280, section 6.1, that say who may be an issuer: signature,
validity, CA:TRUE, keyCertSign, path length. Name constraints are left to the verifiers of the certificate;
what is signed in process is checked before (`issuer.pki.constraints`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509

from issuer.pki.certificate import InvalidCertificateError, is_self_signed
from issuer.pki.foreign import parsing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far in the future a certificate may begin: CAs and we do not share a clock."""
MAX_DEPTH: Final = 10
"""Certificates above the leaf; Go's and OpenSSL's verifiers give up at about as many."""
MAX_SIGNATURES: Final = 100
"""Signatures checked for one answer, so that a flood of look-alikes costs milliseconds."""

Path = tuple[x509.Certificate, ...]
"""Leaf first; each certificate is issued by the next one."""


@dataclass(slots=True)
class Search:
    """Looks for ways up from one leaf.

    Attributes:
        pool: what may stand between leaf and root, unverified.
        roots: where a way ends; empty: a way ends where the pool has no issuer left.
        now: when all of it must be valid.
        dead_ends: why certificates that would have fitted were not followed, for the error message.
    """

    pool: Sequence[x509.Certificate]
    roots: Sequence[x509.Certificate]
    now: datetime
    dead_ends: list[str] = field(default_factory=list)
    _signatures: int = 0

    def ways(self, leaf: x509.Certificate) -> Iterator[Path]:
        """All ways up, within the bounds of this module. Without roots, the ways that cannot go on.

        Raises:
            InvalidCertificateError: a certificate on the way does not decode.
        """
        yield from self._up((leaf,))

    def _up(self, path: Path) -> Iterator[Path]:
        tip = path[-1]
        if tip in self.roots:
            yield path
            return
        issuers = () if is_self_signed(tip) or len(path) > MAX_DEPTH else self._issuers(path)
        for above in issuers:
            yield from self._up((*path, above))
        if not issuers and not self.roots:
            yield path

    def _issuers(self, path: Path) -> Path:
        return tuple(
            candidate
            for candidate in dict.fromkeys((*self.roots, *self.pool))
            if candidate not in path and self._signed(path[-1], candidate) and self._may_issue(candidate, path)
        )

    def _signed(self, tip: x509.Certificate, candidate: x509.Certificate) -> bool:
        with parsing(InvalidCertificateError, "a certificate of the chain does not decode"):
            if tip.issuer != candidate.subject or self._signatures >= MAX_SIGNATURES:
                return False
        self._signatures += 1
        try:
            with parsing(InvalidCertificateError, "not signed by it"):
                tip.verify_directly_issued_by(candidate)
        except InvalidCertificateError:
            self.dead_ends.append(f"{_short(candidate)} has the issuer's name, but its key did not sign")
            return False
        return True

    def _may_issue(self, candidate: x509.Certificate, path: Path) -> bool:
        with parsing(InvalidCertificateError, "a certificate of the chain does not decode"):
            below = sum(1 for certificate in path[1:] if certificate.issuer != certificate.subject)
            problem = issuer_problem(candidate, below=below, now=self.now)
        if problem:
            self.dead_ends.append(f"{_short(candidate)} {problem}")
        return problem is None


def issuer_problem(candidate: x509.Certificate, *, below: int, now: datetime) -> str | None:
    """Why a certificate may not be the issuer of another one, or None (RFC 5280, sections 6.1.3 and 6.1.4).

    Args:
        candidate: the certificate above.
        below: how many certificates of CAs stand between it and the leaf, those with their own name as issuer left out.
        now: when it must be valid.
    """
    if candidate.not_valid_after_utc <= now:
        return f"expired on {candidate.not_valid_after_utc:%Y-%m-%d}"
    if candidate.not_valid_before_utc > now + CLOCK_SKEW:
        return f"is not valid before {candidate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    return authority_problem(candidate, below=below)


def authority_problem(candidate: x509.Certificate, *, below: int) -> str | None:
    """As `issuer_problem`, whatever the time is."""
    extensions = candidate.extensions
    try:
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        # Roots of the first version of X.509 have no extensions; Go's verifier takes them too.
        return "is not the certificate of a CA" if candidate.version is x509.Version.v3 else None
    if not constraints.ca:
        return "is not the certificate of a CA"
    if constraints.path_length is not None and constraints.path_length < below:
        return f"allows {constraints.path_length} CAs below it, and there are {below}"
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None
    return None if usage.key_cert_sign else "may not sign certificates (key usage without cert sign)"


def _short(certificate: x509.Certificate) -> str:
    return repr(certificate.subject.rfc4514_string()[:100])
