"""The Ready condition of an issuer, from how its authorities are: one pure function.

Ready is True while somebody may sign. The reason says how sure that is, and contradicts no state in
`status.authorities`:

    True    AuthoritiesAvailable   the first that can sign has signed, and nothing is wrong with any
            NotSignedYet           nothing is wrong with any, and the first that can sign has never signed
            Degraded               somebody may sign, but something is wrong with one of them
    False   NoAuthorityAvailable   none can sign now; requests wait
            NoActiveAuthority      each is Draining or Disabled, by the specification; requests wait
            InvalidSpec            the specification cannot be used
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from issuer.api.condition import FALSE, READY, TRUE, Condition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.controllers.decision import IssuerView
    from issuer.signing.health import AuthorityHealth

CAN_SIGN: Final = frozenset({"Available", "Degraded", "Untested", "Unknown"})
"""States in which an authority is asked."""
WITHDRAWN: Final = frozenset({"Draining", "Disabled"})
"""States of an authority that signs nothing by the issuer's own will, which is no trouble."""
WELL: Final = frozenset({"AuthoritiesAvailable", "NotSignedYet"})
"""Reasons that tell of no trouble."""


def readiness(view: IssuerView, healths: Sequence[AuthorityHealth]) -> Condition:
    """The Ready condition, without a time and a generation."""
    if view.problem is not None:
        return Condition(READY, FALSE, "InvalidSpec", view.problem)
    active = [health for health in healths if health.state not in WITHDRAWN]
    if healths and not active:
        states = ", ".join(f"{health.name} is {health.state}" for health in healths)
        return Condition(READY, FALSE, "NoActiveAuthority", f"no authority signs: {states}; set state: Active for one")
    first = next((health for health in healths if health.state in CAN_SIGN), None)
    troubles = [_trouble(health) for health in active if health is not first and not _is_well(health)]
    if first is None:
        return Condition(READY, FALSE, "NoAuthorityAvailable", "; ".join(("no authority can sign now", *troubles)))
    if troubles or not _is_well(first):
        reason = "Degraded"
    else:
        reason = "AuthoritiesAvailable" if first.last_success else "NotSignedYet"
    unknown = f"this version does not know, and ignores, {', '.join(view.ignored)}" if view.ignored else ""
    withdrawn = [f"{health.name} is {health.state}" for health in healths if health.state in WITHDRAWN]
    clauses = (_signer(first), *troubles, *withdrawn, *filter(None, (unknown,)), *view.without_effect)
    return Condition(READY, TRUE, reason, "; ".join(clauses))


def _is_well(health: AuthorityHealth) -> bool:
    return health.state == "Available" or (health.state == "Unknown" and not health.message)


def _signer(health: AuthorityHealth) -> str:
    """What is known of the first authority that can sign. One that never has is not praised."""
    if health.last_success:
        return f"{health.name} signs" if _is_well(health) else _trouble(health)
    if health.check == "failed":
        known = f"its check failed: {health.message}"
    elif not _is_well(health):
        known = f"it is {health.state}: {health.message}"
    else:
        known = "its check passed" if health.check == "passed" else "it was not checked yet"
    return f"{health.name} has not signed yet; {known}"


def _trouble(health: AuthorityHealth) -> str:
    return f"{health.name} is {health.state}: {health.message}"
