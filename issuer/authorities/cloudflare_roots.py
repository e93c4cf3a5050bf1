"""The roots of Cloudflare's Origin CA, which ship with this program.

The API returns a leaf alone, and no public trust store has its root. Who reads `ca.crt` needs one all the same, so
where the issuer configures no roots the shipped ones are given, for Cloudflare's own endpoint only.

They are given and never enforced: a certificate that meets none of them (Cloudflare may replace its CA at any time) is
delivered without `ca.crt`, as it would be without them. Roots that a chain must meet are those of `caBundle`.

Both end in August 2029. A warning in the log tells of it once a day, from a year before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

import structlog

from issuer.pki import certificate as certificates
from issuer.pki.certificate import InvalidCertificateError
from issuer.pki.path import Search

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date, datetime

    from cryptography import x509

    from issuer.pki.csr import SigningRequest

FILE: Final = "origin_ca_roots.pem"
"""Beside this module: the RSA root and the ECC root, as Cloudflare publishes them under "Origin CA certificates"."""

WARN_BEFORE: Final = timedelta(days=365)
"""How long before the first of them ends it is told: time to install a newer version."""

log = structlog.get_logger(__name__)


@cache
def shipped() -> tuple[x509.Certificate, ...]:
    """The roots in the package."""
    return certificates.load_chain(resources.files(__package__).joinpath(FILE).read_bytes())


@dataclass(frozen=True, slots=True)
class KnownRoots:
    """Roots that are given to users whose issuer configures none.

    Attributes:
        certificates: the roots.
        now: the wall clock, UTC.
    """

    certificates: tuple[x509.Certificate, ...]
    now: Callable[[], datetime]

    def met_by(self, chain: bytes, csr: SigningRequest) -> bytes:
        """PEM of those that the chain of an answer leads to; empty if it leads to none, or cannot be read."""
        try:
            pool = certificates.load_chain(chain)
            leaf = next(filter(lambda one: certificates.public_key(one) == csr.public_key, pool), None)
            ways = Search(pool=pool, roots=self.certificates, now=self.now()).ways(leaf) if leaf else ()
            return certificates.to_pem(dict.fromkeys(way[-1] for way in ways))
        except InvalidCertificateError:
            return b""

    @property
    def pem(self) -> bytes:
        """PEM of all that have not ended."""
        now = self.now()
        return certificates.to_pem(one for one in self.certificates if one.not_valid_after_utc > now)

    @property
    def end(self) -> datetime:
        """When the first of them ends, UTC."""
        return min(certificate.not_valid_after_utc for certificate in self.certificates)


class EndNotice:
    """Warns that shipped roots end, once a day for the whole process."""

    def __init__(self) -> None:
        self._told: date | None = None

    def look(self, roots: KnownRoots) -> None:
        """Warn, if it is time to and nobody has been warned today."""
        now = roots.now()
        if now < roots.end - WARN_BEFORE or self._told == now.date():
            return
        self._told = now.date()
        log.warning(
            "the Origin CA roots that ship with this version end; install a newer version, or set caBundle",
            ends=roots.end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
