"""What an authority answered, held against what was asked for.

cert-manager looks at the key and the expiry of an issued certificate, and at nothing else; a CA that lies, or a proxy
that answers for it, would get its certificate into a Secret. So names, validity and chain are checked here, before
anything is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from issuer.pki import certificate as certificates
from issuer.pki.certificate import InvalidCertificateError, fingerprint, load_chain, to_pem
from issuer.pki.csr import PARSE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from issuer.pki.csr import SigningRequest

MAX_CERTIFICATE_SIZE: Final = 36_500
MAX_CHAIN_SIZE: Final = 95_000
"""Bytes of PEM that cert-manager reads (`internal/pem`); more would fail at its side after the signature."""
SKEW: Final = timedelta(minutes=5)
"""By how much the clocks of the CA and of this machine may differ."""
SHORTFALL: Final = 0.01
"""Share of the promised life that may be missing, for CAs that round."""


class WrongCertificateError(Exception):
    """The certificate is not what was asked for; the text says in what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A certificate that may be delivered.

    Attributes:
        certificate: for `status.certificate`: leaf first, then the chain, no self-signed certificate.
        ca: for `status.ca`: the roots that the chain meets, or what the authority gave; may be empty.
        fingerprint: SHA-256 of the leaf in hex.
        serial: of the leaf.
        not_before: of the leaf.
        not_after: of the leaf.
    """

    certificate: bytes
    ca: bytes
    fingerprint: str
    serial: int
    not_before: datetime
    not_after: datetime


def verify(
    answer_chain: bytes,
    answer_ca: bytes,
    csr: SigningRequest,
    *,
    roots: Sequence[x509.Certificate],
    at_least: timedelta,
    now: datetime,
) -> Verified:
    """Check an answer.

    Args:
        answer_chain: PEM, leaf first.
        answer_ca: PEM of roots that the authority itself gave; may be empty.
        csr: what was asked for.
        roots: the chain has to meet one of these, if there are any.
        at_least: how long the certificate has to live from now on, give or take a little.
        now: the time.

    Raises:
        WrongCertificateError: it is not what was asked for.
    """
    try:
        leaf, *others = load_chain(answer_chain)
        given = load_chain(answer_ca) if answer_ca.strip() else ()
        _check_leaf(leaf, csr, at_least=at_least, now=now)
        chain, met = _chain(leaf, others, roots, now)
        trusted = (met,) if met is not None else given
        pem = to_pem((leaf, *chain))
        _check_size((leaf, *chain), pem)
        return Verified(
            certificate=pem,
            ca=to_pem(trusted),
            fingerprint=fingerprint(leaf),
            serial=leaf.serial_number,
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
        )
    except (InvalidCertificateError, *PARSE_ERRORS) as error:
        raise WrongCertificateError(f"it cannot be read: {error}") from None


def _check_leaf(leaf: x509.Certificate, csr: SigningRequest, *, at_least: timedelta, now: datetime) -> None:
    if not certificates.has_key(leaf, csr.public_key):
        raise WrongCertificateError("it is for another key than the CSR's")
    if _is_ca(leaf):
        raise WrongCertificateError("it is a CA certificate, which was not asked for")
    found, wanted = certificates.names(leaf), certificates.requested_names(csr)
    if missing := wanted - found:
        raise WrongCertificateError(f"it lacks {_listed(missing)}")
    if extra := found - wanted - certificates.tolerated_names(csr):
        raise WrongCertificateError(f"it has {_listed(extra)}, which was not asked for")
    if not wanted and csr.common_name and not found and csr.common_name not in certificates.common_names(leaf):
        raise WrongCertificateError("it does not have the name that was asked for")
    if leaf.not_valid_before_utc > now + SKEW:
        raise WrongCertificateError(f"it is valid only from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M:%SZ} on")
    if leaf.not_valid_after_utc <= now:
        raise WrongCertificateError(f"it expired at {leaf.not_valid_after_utc:%Y-%m-%d %H:%M:%SZ}")
    if leaf.not_valid_after_utc - now < at_least - max(SKEW, at_least * SHORTFALL):
        raise WrongCertificateError(f"it lives until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M:%SZ}, which is too short")


def _chain(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime
) -> tuple[list[x509.Certificate], x509.Certificate | None]:
    """The certificates between leaf and root, in order, and the root that they meet.

    Self-signed certificates of the answer are left out. Without configured roots the chain goes as far as it goes.
    """
    intermediates = [other for other in others if other.subject != other.issuer and _is_ca(other)]
    chain: list[x509.Certificate] = []
    current = leaf
    while True:
        if root := next((root for root in roots if _has_signed(root, current, now)), None):
            return chain, root
        above = next(
            (other for other in intermediates if other not in chain and _has_signed(other, current, now)), None
        )
        if above is None:
            break
        chain.append(above)
        current = above
    if roots:
        raise WrongCertificateError(
            f"its chain ends at {current.issuer.rfc4514_string()[:120]!r}, which is none of the configured roots"
        )
    return chain, None


def _has_signed(issuer: x509.Certificate, subject: x509.Certificate, now: datetime) -> bool:
    if not issuer.not_valid_before_utc - SKEW <= now <= issuer.not_valid_after_utc:
        return False
    try:
        subject.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _check_size(chain: Sequence[x509.Certificate], pem: bytes) -> None:
    if len(pem) > MAX_CHAIN_SIZE or any(len(to_pem([one])) > MAX_CERTIFICATE_SIZE for one in chain):
        raise WrongCertificateError("it is larger than cert-manager reads")


def _listed(names: frozenset[tuple[str, str]]) -> str:
    shown = ", ".join(f"{kind} {value[:80]}" for kind, value in sorted(names)[:3])
    return shown + (f" and {len(names) - 3} more names" if len(names) > 3 else "")  # noqa: PLR2004 - as shown
