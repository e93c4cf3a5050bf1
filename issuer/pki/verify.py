"""The check that stands between an authority's answer and the user: a wrong certificate is no certificate.

cert-manager looks at the key and the end date of what an issuer returns, not at names, duration or chain. A provider
in trouble has answered with all kinds of things, so everything that can be known is checked here, and what passes is
written anew: bare PEM, leaf first, the order right, roots apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from issuer.pki import certificate as certificates
from issuer.pki.certificate import InvalidCertificateError, is_self_signed, load_chain, to_pem
from issuer.pki.foreign import parsing
from issuer.pki.path import CLOCK_SKEW, Path, Search

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from issuer.pki.csr import SigningRequest

MAX_CERTIFICATE: Final = 36_500
"""Bytes of one certificate in PEM; cert-manager reads no longer one (internal/pem)."""
MAX_CHAIN: Final = 95_000
"""Bytes of a chain in PEM; cert-manager reads no longer one (internal/pem)."""
MAX_ANSWER: Final = 2 * MAX_CHAIN
"""Bytes of an answer that are looked at, as there may be text around the blocks."""
MAX_SHOWN: Final = 5
"""Names that an error message lists."""
MAX_WAYS: Final = 16
"""Ways from the leaf to a root that are looked at to find all roots that it meets."""


class WrongCertificateError(ValueError):
    """The authority's answer is not the certificate that was asked for. The authority's failure, not the request's."""


class UntrustedError(WrongCertificateError):
    """It is what was asked for, but does not chain up to the configured roots: they or the authority are wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A certificate that may be given to the user.

    Attributes:
        certificate: for `status.certificate`: PEM, leaf first, up to the highest certificate that is not self-signed.
        ca: for `status.ca`: PEM of the configured roots it meets; without such, of what the authority gave; or empty.
        not_before: start of the leaf's validity, UTC.
        not_after: end of the leaf's validity, UTC.
        serial: of the leaf.
        fingerprint: SHA-256 of the leaf, hex.
    """

    certificate: bytes
    ca: bytes
    not_before: datetime
    not_after: datetime
    serial: int
    fingerprint: str


def verify(
    answer_chain: bytes,
    answer_ca: bytes,
    csr: SigningRequest,
    *,
    roots: Sequence[x509.Certificate],
    at_least: timedelta,
    now: datetime,
) -> Verified:
    """Check an answer against its request and put it in order.

    Args:
        answer_chain: PEM with the leaf in it; the order does not matter, and certificates that do not belong to the
            leaf's chain are left out.
        answer_ca: PEM of the roots as the authority knows them; may be empty. It proves nothing, so it is not checked
            against the chain; its certificates may complete the chain.
        csr: the request.
        roots: what the user configured; the chain must meet one of them. Empty: no such demand.
        at_least: how long the leaf must live from now on, less a tolerance of 1% and at least 5 minutes.
        now: the time, UTC.

    Raises:
        WrongCertificateError: with what is wrong, in words for a person.
        UntrustedError: nothing is wrong with it but that it meets none of the configured roots.
    """
    for what, text in (("chain", answer_chain), ("CA", answer_ca)):
        if len(text) > MAX_ANSWER:
            raise WrongCertificateError(f"the {what} in the answer is {len(text)} bytes long")
    try:
        chain = load_chain(answer_chain)
        authorities = load_chain(answer_ca) if answer_ca.strip() else ()
        leaf = _leaf(chain, csr)
        with parsing(InvalidCertificateError, "the certificate does not decode"):
            end = leaf.not_valid_after_utc
            verified_from, serial = leaf.not_valid_before_utc, leaf.serial_number
        _check_names(leaf, csr)
        _check_authority(leaf, csr)
        _check_validity(verified_from, end, at_least, now)
        path, met = _chain(leaf, (*chain, *authorities), roots, now)
        known = {*chain, *authorities}
        ordered = [leaf, *(above for above in path[1:] if above in known and not is_self_signed(above))]
        with parsing(InvalidCertificateError, "the chain does not decode"):
            result = Verified(
                certificate=to_pem(ordered),
                ca=to_pem(met if roots else dict.fromkeys(authorities)),
                not_before=verified_from,
                not_after=end,
                serial=serial,
                fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
            )
    except InvalidCertificateError as error:
        raise WrongCertificateError(f"the answer is no certificate: {error}") from error
    _check_sizes(result.certificate, ordered)
    return result


def tolerance(at_least: timedelta) -> timedelta:
    """How much shorter than asked for a certificate may live: clocks differ, and CAs date back."""
    return max(timedelta(minutes=5), at_least / 100)


def _leaf(chain: Path, csr: SigningRequest) -> x509.Certificate:
    """The certificate with the request's key, which may not be the first one of a careless answer."""
    for candidate in chain:
        try:
            if certificates.public_key(candidate) == csr.public_key:
                return candidate
        except InvalidCertificateError:
            continue
    raise WrongCertificateError("the certificate is for another key than the request's")


def _check_names(leaf: x509.Certificate, csr: SigningRequest) -> None:
    if missing := certificates.missing(csr, leaf):
        raise WrongCertificateError(f"the certificate lacks {_listed(missing)}")
    if unasked := certificates.unasked(csr, leaf):
        raise WrongCertificateError(f"the certificate is also for {_listed(unasked)}, which nobody asked for")


def _check_authority(leaf: x509.Certificate, csr: SigningRequest) -> None:
    with parsing(InvalidCertificateError, "the certificate's extensions do not decode"):
        try:
            is_authority = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_authority = False
    if is_authority and not csr.is_ca:
        raise WrongCertificateError("the certificate is one of a CA, which nobody asked for")
    if csr.is_ca and not is_authority:
        raise WrongCertificateError("the certificate is not one of a CA, which was asked for")


def _check_validity(start: datetime, end: datetime, at_least: timedelta, now: datetime) -> None:
    if start > now + CLOCK_SKEW:
        raise WrongCertificateError(f"the certificate is not valid before {start:%Y-%m-%dT%H:%M:%SZ}")
    if end <= now:
        raise WrongCertificateError(f"the certificate expired at {end:%Y-%m-%dT%H:%M:%SZ}")
    if end - now < at_least - tolerance(at_least):
        raise WrongCertificateError(
            f"the certificate ends at {end:%Y-%m-%dT%H:%M:%SZ}, sooner than {at_least} from now"
        )


def _chain(
    leaf: x509.Certificate, pool: Path, roots: Sequence[x509.Certificate], now: datetime
) -> tuple[Path, dict[x509.Certificate, None]]:
    """The first way up, and the roots that any way meets."""
    search = Search(pool=pool, roots=roots, now=now)
    ways = [way for way, _ in zip(search.ways(leaf), range(MAX_WAYS), strict=False)]
    because = f": {search.dead_ends[0]}" if search.dead_ends else ""
    if roots and not ways:
        raise UntrustedError(f"the certificate does not chain up to the configured roots{because}")
    if len(ways[0]) == 1 and search.dead_ends:
        raise WrongCertificateError(f"the chain in the answer is broken{because}")
    return ways[0], dict.fromkeys(way[-1] for way in ways) if roots else {}


def _check_sizes(pem: bytes, ordered: Sequence[x509.Certificate]) -> None:
    longest = max(len(to_pem([certificate])) for certificate in ordered)
    if longest > MAX_CERTIFICATE or len(pem) > MAX_CHAIN:
        raise WrongCertificateError(
            f"cert-manager reads no certificate longer than {MAX_CERTIFICATE} bytes and no chain longer than "
            f"{MAX_CHAIN}; these are {longest} and {len(pem)}"
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:80]) for name in names[:MAX_SHOWN])
    return shown if len(names) <= MAX_SHOWN else f"{shown} and {len(names) - MAX_SHOWN} more"
