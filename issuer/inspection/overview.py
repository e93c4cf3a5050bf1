"""What there is and how it is: issuers, authorities, requests by state, and what is left of certificates. Pure."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from issuer.api import condition
from issuer.api.condition import READY
from issuer.api.issuer import GROUP
from issuer.api.issuerstatus import RehearsalStatus
from issuer.api.meta import format_time
from issuer.api.request import REASON_DENIED
from issuer.api.signingrequest import CertificateSigningRequest
from issuer.inspection.findings import title
from issuer.inspection.snapshot import issuer_key, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from issuer.api.issuer import Issuer
    from issuer.api.request import CertificateRequest
    from issuer.inspection.snapshot import Certificate, Snapshot

STATES = ("unapproved", "waiting", "issued", "failed", "denied")
"""Of requests, in the order of their way."""


class AuthorityLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One authority, as the controller sees it.

    Attributes:
        name: in the issuer's list.
        state: whether it can sign.
        message: what is wrong with it, or empty.
        last_success_time: when it last signed.
        last_failure_time: when it last failed.
        last_rehearsal: how its last rehearsal went, if there was one.
    """

    name: str
    state: str
    message: str = ""
    last_success_time: str | None = None
    last_failure_time: str | None = None
    last_rehearsal: RehearsalStatus | None = None


class IssuerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One issuer.

    Attributes:
        object: which one, as findings name it.
        ready: True, False, or Unknown where no controller has said.
        reason: of that.
        message: of that.
        since: when it became so.
        active: the authority that would sign now.
        authorities: all of them.
        requests: how many of its requests, of either kind, are in which state; those in none are left out.
    """

    object: str
    ready: str
    reason: str
    message: str
    since: str | None
    active: str
    authorities: list[AuthorityLine]
    requests: dict[str, int]


class CertificateLine(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of one certificate.

    Attributes:
        object: the Certificate.
        ends: when, or None where there is none yet.
        left: whole seconds until then; negative where it has ended, None where there is none.
        ready: whether cert-manager calls it Ready.
    """

    object: str
    ends: str | None
    left: int | None
    ready: str

    def is_under(self, seconds: float) -> bool:
        """Whether less is left; of one that was never issued nothing is."""
        return self.left is None or self.left < seconds


def issuers(snapshot: Snapshot) -> list[IssuerLine]:
    """All issuers, by name."""
    counted: dict[object, Counter[str]] = {}
    for request in snapshot.requests:
        key = issuer_key(request.issuer_ref, request.metadata.namespace)
        counted.setdefault(key, Counter())[state_of(request)] += 1
    for signing_request in snapshot.signing_requests:
        key = issuer_key(signing_request.issuer_ref, signing_request.issuer_namespace)
        counted.setdefault(key, Counter())[state_of(signing_request)] += 1
    lines = [_line(issuer, counted.get(key, Counter())) for key, issuer in snapshot.issuers.items()]
    return sorted(lines, key=lambda line: line.object)


def state_of(request: CertificateRequest | CertificateSigningRequest) -> str:
    """One of `STATES`."""
    if isinstance(request, CertificateSigningRequest):
        return _state_of(request)
    if request.is_denied or (request.ready is not None and request.ready.reason == REASON_DENIED):
        return "denied"
    if request.is_finished:
        return "issued" if condition.is_true(request.status.conditions, READY) else "failed"
    return "waiting" if request.is_approved else "unapproved"


def _state_of(request: CertificateSigningRequest) -> str:
    if request.is_denied:
        return "denied"
    if request.is_finished:
        return "issued" if request.failure is None else "failed"
    return "waiting" if request.is_approved else "unapproved"


def requests(snapshot: Snapshot) -> dict[str, int]:
    """How many requests of our group are in which state."""
    counted = Counter(state_of(request) for request in snapshot.requests if request.issuer_ref.group == GROUP)
    return {state: counted[state] for state in STATES}


def signing_requests(snapshot: Snapshot) -> dict[str, int]:
    """How many CertificateSigningRequests for signers of our group are in which state."""
    counted = Counter(map(state_of, snapshot.signing_requests))
    return {state: counted[state] for state in STATES}


def certificates(found: Iterable[Certificate], now: datetime) -> list[CertificateLine]:
    """Those for our issuers, the one with the least time left first."""
    lines = [_left(one, now) for one in found if one.spec.issuer_ref.group == GROUP]
    return sorted(lines, key=lambda line: (line.left is not None, line.left or 0, line.object))


def _line(issuer: Issuer, counted: Counter[str]) -> IssuerLine:
    ready, status = issuer.ready, issuer.status
    return IssuerLine(
        object=title(*key_of(issuer)),
        ready=ready.status if ready else condition.UNKNOWN,
        reason=ready.reason if ready else "NoController",
        message=ready.message if ready else "no controller has looked at it",
        since=ready.last_transition_time if ready else None,
        active=status.active,
        authorities=[
            AuthorityLine(
                name=one.name,
                state=one.state,
                message=one.message,
                last_success_time=one.last_success_time,
                last_failure_time=one.last_failure_time,
                last_rehearsal=one.last_rehearsal,
            )
            for one in status.authorities
        ],
        requests={state: counted[state] for state in STATES if counted[state]},
    )


def _left(certificate: Certificate, now: datetime) -> CertificateLine:
    ends = certificate.status.ends
    ready = condition.find(certificate.status.conditions, READY)
    return CertificateLine(
        object=title("Certificate", *certificate.metadata.key),
        ends=format_time(ends) if ends else None,
        left=(ends - now) // timedelta(seconds=1) if ends else None,
        ready=ready.status if ready else condition.UNKNOWN,
    )
