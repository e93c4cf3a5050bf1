"""What the mock provider knows: its CA, the account's tokens and zones, and every certificate it ever signed."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from issuer.sandbox.pki import SmallCA, name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

BACKDATED: Final = timedelta(minutes=5)
"""How much earlier than now a leaf begins to be valid."""

_LEAF_SUBJECT: Final = name(O="CloudFlare, Inc.", OU="CloudFlare Origin CA", CN="CloudFlare Origin Certificate")


class OriginCA:
    """The two roots. Made when first needed: an RSA key takes a moment."""

    @cached_property
    def ecc(self) -> SmallCA:
        """Signs `origin-ecc`."""
        return SmallCA.with_ecc(self._subject("CloudFlare Origin SSL ECC Certificate Authority"))

    @cached_property
    def rsa(self) -> SmallCA:
        """Signs `origin-rsa`."""
        return SmallCA.with_rsa(self._subject("CloudFlare Origin SSL Certificate Authority"))

    @cached_property
    def stranger(self) -> ec.EllipticCurvePublicKey:
        """The key in a certificate that is not the caller's."""
        return ec.generate_private_key(ec.SECP256R1()).public_key()

    @staticmethod
    def _subject(unit: str) -> x509.Name:
        return name(C="US", O="CloudFlare, Inc.", OU=unit, L="San Francisco", ST="California")

    @property
    def roots_pem(self) -> str:
        """Both roots, as a user would put them into `caBundle`."""
        return (self.ecc.pem + self.rsa.pem).decode()


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Token:
    """An API token of the account.

    Attributes:
        status: `active`, `disabled` or `expired`.
        account_owned: it belongs to the account: it works, but `/user/tokens/verify` does not know it.
        reads_zones: it has the permission Zone / Zone / Read.
        edits_certificates: it has the permission Zone / SSL and Certificates / Edit.
    """

    status: str = "active"
    account_owned: bool = False
    reads_zones: bool = True
    edits_certificates: bool = True


@dataclass(slots=True)
class IssuedCertificate:
    """One record of the provider.

    Attributes:
        public_key: of the CSR, DER SubjectPublicKeyInfo; not of the certificate, if a fault made that a foreign one.
        certificate: PEM.
    """

    id: str
    csr: str
    certificate: str
    hostnames: tuple[str, ...]
    request_type: str
    requested_validity: int
    public_key: bytes
    serial: int
    created: datetime
    not_after: datetime
    zones: frozenset[str]
    revoked: bool = False


@dataclass(slots=True)
class Ledger:
    """The state behind the API, shared by all its connections."""

    now: Callable[[], datetime] = utc_now
    ca: OriginCA = field(default_factory=OriginCA)
    tokens: dict[str, Token] = field(default_factory=dict)
    zones: dict[str, str] = field(default_factory=dict)
    certificates: dict[str, IssuedCertificate] = field(default_factory=dict)
    _by_key: dict[bytes, list[IssuedCertificate]] = field(default_factory=dict)

    def add_zone(self, domain: str) -> str:
        """Make it a zone of the account; returns the zone's id, which is always the same for the same domain."""
        zone_id = hashlib.sha256(domain.encode()).hexdigest()[:32]
        self.zones[domain] = zone_id
        return zone_id

    def zone_of(self, hostname: str) -> str | None:
        """The id of the zone that a hostname is in."""
        labels = hostname.lower().removeprefix("*.").split(".")
        candidates = (".".join(labels[i:]) for i in range(len(labels)))
        return next((self.zones[domain] for domain in candidates if domain in self.zones), None)

    def sign(
        self,
        csr: str,
        public_key: CertificatePublicKeyTypes,
        *,
        certified_key: CertificatePublicKeyTypes | None = None,
        hostnames: Sequence[str],
        certified_names: Sequence[str] | None = None,
        request_type: str,
        days: int,
        age: timedelta = BACKDATED,
    ) -> IssuedCertificate:
        """Sign and enter a certificate. `certified_key`, `certified_names` and `age` are for a CA that errs."""
        ca = self.ca.rsa if request_type == "origin-rsa" else self.ca.ecc
        now = self.now().replace(microsecond=0)
        certificate = ca.sign(
            certified_key or public_key,
            subject=_LEAF_SUBJECT,
            hostnames=certified_names or hostnames,
            not_before=now - age,
            not_after=now + timedelta(days=days) if age == BACKDATED else now - timedelta(days=1),
        )
        zones = (self.zone_of(hostname) for hostname in hostnames)
        record = IssuedCertificate(
            id=secrets.token_hex(20),
            csr=csr,
            certificate=certificate.public_bytes(Encoding.PEM).decode(),
            hostnames=tuple(hostnames),
            request_type=request_type,
            requested_validity=days,
            public_key=public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            serial=certificate.serial_number,
            created=now,
            not_after=certificate.not_valid_after_utc,
            zones=frozenset(zone for zone in zones if zone),
        )
        self.certificates[record.id] = record
        self._by_key.setdefault(record.public_key, []).append(record)
        return record

    def live(self, public_key: bytes) -> tuple[IssuedCertificate, ...]:
        """Certificates that were signed for a CSR with this key (DER SubjectPublicKeyInfo) and not revoked."""
        return tuple(record for record in self._by_key.get(public_key, ()) if not record.revoked)

    def listed(self, zone_id: str | None) -> list[IssuedCertificate]:
        """What a list shows, in an order of no meaning (the provider documents none)."""
        records: Iterable[IssuedCertificate] = self.certificates.values()
        return sorted(
            (record for record in records if not record.revoked and (zone_id is None or zone_id in record.zones)),
            key=lambda record: record.id,
        )

    def duplicates(self) -> int:
        """How many certificates are live beyond the first for their key."""
        return sum(max(0, len(self.live(key)) - 1) for key in self._by_key)
