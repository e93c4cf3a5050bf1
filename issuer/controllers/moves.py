"""Which Certificates are to be issued again by another authority, and whether they can be. No clock, no network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from issuer.api.condition import TRUE
from issuer.api.request import signer_of
from issuer.authorities.errors import Unsupported
from issuer.controllers.decision import restriction
from issuer.controllers.orders import make_order
from issuer.pki import csr

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from issuer.api.certificate import Certificate
    from issuer.api.issuerstatus import State
    from issuer.api.meta import ObjectKey
    from issuer.api.request import CertificateRequest
    from issuer.authorities.base import SigningOrder
    from issuer.controllers.certificates import Held
    from issuer.controllers.issuercache import IssuerId
    from issuer.signing.health import AuthorityHealth
    from issuer.signing.plan import PlannedAuthority

STEADY: Final = frozenset({"Available", "Unknown"})
"""States of an authority that nothing is known against."""
EPOCH: Final = datetime.fromtimestamp(0, UTC)
UNTESTED: Final = "Untested"
MOST_DOUBLINGS: Final = 6
"""Of the time between two probes."""


class Why(Enum):
    """Why a Certificate is issued again; the value is the reason of the condition Issuing and of the event."""

    DRAINING = "AuthorityDraining"
    FAILBACK = "Failback"


class Due(NamedTuple):
    """A Certificate that is to be issued again, as the cache knows it."""

    certificate: ObjectKey
    held: Held
    why: Why

    @property
    def authority(self) -> str:
        """Who signed it."""
        return self.held.signer[3]


@dataclass(slots=True)
class Record:
    """How an authority has been of late.

    Attributes:
        last_failure: the last that is known, UTC.
        since: loop time at which it was first seen as it is now.
        state: as it was last seen.
        probes: issuances that were started to see whether it signs, since it last did.
    """

    last_failure: datetime | None
    since: float
    state: State
    probes: int = 0


class Steadiness:
    """Which authorities Certificates may go back to: those that nothing has been known against for a while.

    One whose breaker has been open is `Untested` until somebody asks it, and in a small cluster nobody may for weeks.
    So a single Certificate goes back to it as its probe, after the same time; after twice that where the first failed,
    and so on.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[IssuerId, str], Record] = {}

    def seen(self, issuer: IssuerId, healths: Iterable[AuthorityHealth], time: float) -> None:
        """Take note of how the authorities of an issuer are at a loop time."""
        for health in healths:
            key = (issuer, health.name)
            record = self._known.get(key)
            if record is None:
                record = self._known[key] = Record(health.last_failure, time, health.state)
            was = record.state in STEADY, record.state == UNTESTED, record.last_failure
            if was != (health.state in STEADY, health.state == UNTESTED, health.last_failure):
                record.since, record.last_failure = time, health.last_failure
            record.state = health.state
            if health.state in STEADY:
                record.probes = 0

    def went_back(self, issuer: IssuerId, authorities: Iterable[str], time: float) -> None:
        """A Certificate has gone back to these; it is the probe of those that are untested."""
        for authority in authorities:
            record = self._known.get((issuer, authority))
            if record is not None and record.state == UNTESTED:
                record.probes += 1
                record.since = time

    def is_steady(self, issuer: IssuerId, authority: str, seconds: float, time: float) -> bool:
        """Whether nothing has been known against it for so many seconds."""
        record = self._known.get((issuer, authority))
        return record is not None and record.state in STEADY and time - record.since >= seconds

    def is_probe_due(self, issuer: IssuerId, authority: str, seconds: float, time: float) -> bool:
        """Whether it is untested, and nobody has asked it for long enough."""
        record = self._known.get((issuer, authority))
        if record is None or record.state != UNTESTED:
            return False
        return time - record.since >= seconds * 2.0 ** min(record.probes, MOST_DOUBLINGS)

    def keep(self, issuers: Collection[IssuerId]) -> None:
        """Forget all others."""
        self._known = {key: record for key, record in self._known.items() if key[0] in issuers}


def judge(due: Due, request: CertificateRequest | None, certificate: Certificate | None) -> bool:
    """Whether the certificate in use is still the one that is to be replaced, and nobody is about to replace it."""
    if request is None or certificate is None or request.owner is None:
        return False
    if signer_of(request) != due.authority or certificate.metadata.uid != request.owner.uid:
        return False
    if certificate.metadata.deletion_timestamp or certificate.spec.issuer_ref != request.issuer_ref:
        return False
    if certificate.revision != request.revision or certificate.failed_at is not None:
        return False
    return certificate.issuing is None or certificate.issuing.status != TRUE


def successors(
    request: CertificateRequest, authorities: Sequence[PlannedAuthority], able: Collection[str]
) -> list[str]:
    """Names of those that would sign it now.

    Args:
        request: the request whose certificate is to be replaced.
        authorities: those that may take over, by the specification.
        able: names of those that can sign at all.
    """
    order = order_of(request)
    only = restriction(request)
    if order is None:
        return []
    return [
        one.name
        for one in authorities
        if one.is_active and one.name in able and (not only or one.name in only) and _supports(one, order)
    ]


def order_of(request: CertificateRequest) -> SigningOrder | None:
    """What would be asked of an authority; None if the CSR cannot be read any more."""
    try:
        parsed = csr.parse(request.encoded_csr, is_ca=request.wants_ca)
    except csr.InvalidRequestError:
        return None
    return make_order(request, parsed, timedelta(seconds=request.duration_seconds), EPOCH)


def message_of(due: Due, names: Sequence[str]) -> str:
    """What is said of it, on the condition and in the event."""
    others = " or ".join(names)
    if due.why is Why.DRAINING:
        return f"authority {due.authority}, which signed it, is Draining; issued again by {others}"
    return f"authority {due.authority} signed it while another could not, and {others} can again; issued again"


def _supports(one: PlannedAuthority, order: SigningOrder) -> bool:
    try:
        one.authority.supports(order)
    except Unsupported:
        return False
    return True
