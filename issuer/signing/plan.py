"""What the engine is given, and what it gives back.

A plan is an issuer as the engine sees it: who may sign, in which order, and when the next one is asked. A controller
builds it from a specification once and keeps it until the specification changes. A new plan for the same issuer takes
the place of the old one in the engine by itself; what is known of the accounts behind it stays.

One pass over a plan comes to a verified certificate, or to why there is none. The controller turns either into a
condition. Neither is an exception: "nobody could sign just now" is an ordinary result that the contract has a row for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from issuer.signing.failures import CutOff, NoTime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime, timedelta

    from cryptography import x509

    from issuer.api.issuer import AuthorityCommon
    from issuer.api.meta import ObjectKey
    from issuer.authorities.base import Authority
    from issuer.authorities.errors import AuthorityError, InProgress


@dataclass(frozen=True, slots=True)
class PlannedAuthority:
    """One authority and what the user configured around it.

    Attributes:
        authority: who signs.
        common: timeouts, retry, breaker and limits.
        roots: reads the configured roots, none if none are configured; raises `Unauthorized` or `Unavailable` like
            `Authority.session`, because the roots may be in a Secret too.
    """

    authority: Authority
    common: AuthorityCommon
    roots: Callable[[], Awaitable[tuple[x509.Certificate, ...]]]

    @property
    def name(self) -> str:
        """The authority's name in the issuer."""
        return self.authority.name

    @property
    def is_active(self) -> bool:
        """Whether it signs at all."""
        return self.common.state == "Active"


@dataclass(frozen=True, slots=True)
class IssuerPlan:
    """The authorities of one issuer, best first.

    Attributes:
        key: namespace and name of the issuer.
        kind: CDNIssuer or CDNClusterIssuer.
        authorities: in the order in which they are asked.
        failover_on: causes (`AuthorityError.cause`) after which the next one is asked.
        deadline: seconds that a request has from its approval.
        trusts_all: `status.ca` holds the roots of every authority, not of the signer alone.
    """

    key: ObjectKey
    kind: str
    authorities: tuple[PlannedAuthority, ...]
    failover_on: frozenset[str]
    deadline: float = 3600.0
    trusts_all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate that has passed verification.

    Attributes:
        authority: name of the one that signed.
        position: its index in the issuer's list; 0 is the first choice.
        certificate: for `status.certificate`, PEM.
        ca: for `status.ca`, PEM; may be empty.
        fingerprint: SHA-256 of the leaf in hex; what `FailoverEngine.settle` wants once it is delivered.
        not_after: end of its life.
        granted: how long it lives.
        requested: how long was asked for.
        passed_over: why each earlier authority of the list did not sign, in the order of the list.
        notes: what the authority gave otherwise than asked for, apart from the time; a clause for a person each.
    """

    authority: str
    position: int
    certificate: bytes
    ca: bytes
    fingerprint: str
    not_after: datetime
    granted: timedelta
    requested: timedelta
    passed_over: tuple[AuthorityError, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotIssued:
    """Nobody signed.

    Attributes:
        failures: what became of each authority that was looked at, in the order of the list.
        terminal: no later pass can help: the request is refused, or no authority can ever sign such a one.
        retry_in: seconds until one of the authorities may be asked again; 0: at once, after the caller's own backoff.
        attempted: at least one authority had its turn: it was asked, or is known to be unable just now. False if all
            the time went by in our own queues.
        accepted: one of them has accepted the request and has not signed yet; asked again, it goes on.
    """

    failures: tuple[AuthorityError, ...]
    terminal: bool
    retry_in: float
    attempted: bool
    accepted: InProgress | None = None

    def after(self, before: NotIssued | None) -> NotIssued:
        """This go, told with what an authority came to in the one before, where now it had too little time for a call.

        That there was too little is so for every request at its deadline; a person asks why there was one to meet.
        """
        known = {failure.authority: failure for failure in before.failures} if before else {}
        told = tuple(known.get(one.authority, one) if _had_no_time(one) else one for one in self.failures)
        return replace(self, failures=told)


def _had_no_time(failure: AuthorityError) -> bool:
    """Whether it says nothing of the authority: no call went out, or one that could hardly have ended."""
    return (isinstance(failure, NoTime) and failure.last is None) or (isinstance(failure, CutOff) and failure.is_short)
