"""An issuer as the engine sees it: who may sign, in which order, and when the next one is asked.

A controller builds a plan from a specification once and keeps it until the specification changes. A new plan for the
same issuer takes the place of the old one in the engine by itself; what is known of the accounts behind it stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cryptography import x509

    from issuer.api.issuer import AuthorityCommon
    from issuer.api.meta import ObjectKey
    from issuer.authorities.base import Authority


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


@dataclass(frozen=True, slots=True)
class IssuerPlan:
    """The authorities of one issuer, best first.

    Attributes:
        key: namespace and name of the issuer.
        kind: CDNIssuer or CDNClusterIssuer.
        authorities: in the order in which they are asked.
        failover_on: causes (`AuthorityError.cause`) after which the next one is asked.
    """

    key: ObjectKey
    kind: str
    authorities: tuple[PlannedAuthority, ...]
    failover_on: frozenset[str]
