"""What is counted of requests and of issuers at a scrape: pure functions from what is known to samples.

Where there are more issuers than are told apart (`MAX_SHOWN`), those with trouble come first; the others are left out,
and it is said how many.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from issuer.controllers.memory import issuer_of
from issuer.controllers.readiness import CAN_SIGN
from issuer.observe import families
from issuer.observe.metrics import Measure, issuer_labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from issuer.controllers.issuercache import IssuerId
    from issuer.controllers.port import Request
    from issuer.signing.health import AuthorityHealth
    from issuer.signing.observer import AccountUser

MAX_SHOWN: Final = 1000
"""Issuers whose state, and whose waiting requests, have series of their own."""


class IssuerState(NamedTuple):
    """How one issuer is."""

    id: IssuerId
    is_ready: bool
    healths: Sequence[AuthorityHealth]


def measures(
    unfinished: Sequence[Request], unapproved: int, suspected: Mapping[AccountUser, int], now: datetime
) -> Iterator[Measure]:
    """Who waits and for how long, and what may be left behind at a provider.

    Args:
        unfinished: approved requests that have not ended.
        unapproved: requests that no approver has spoken about.
        suspected: certificates that may exist at a provider and were not delivered, by authority.
        now: the time.
    """
    yield Measure(families.UNAPPROVED, unapproved)
    ages: dict[tuple[str, str, str], list[float]] = {}
    for request in unfinished:
        age = max(0.0, (now - (request.approved_at or now)) / timedelta(seconds=1))
        ages.setdefault(labels_of(issuer_of(request)), []).append(age)
    longest_first = sorted(ages.items(), key=lambda item: -max(item[1]))
    for labels, found in longest_first[:MAX_SHOWN]:
        yield Measure(families.PENDING, len(found), labels)
        yield Measure(families.OLDEST_PENDING, max(found), labels)
    for user, number in suspected.items():
        yield Measure(families.SUSPECTED_ORPHANS, number, (*issuer_labels(user.issuer), user.authority))


def issuer_measures(issuers: Iterable[IssuerState]) -> Iterator[Measure]:
    """How issuers and their authorities are."""
    known = sorted(issuers, key=_is_well)
    for state in known[:MAX_SHOWN]:
        labels = labels_of(state.id)
        yield Measure(families.ISSUER_READY, float(state.is_ready), labels)
        able = [position for position, health in enumerate(state.healths) if health.state in CAN_SIGN]
        if able:
            yield Measure(families.ACTIVE_POSITION, able[0], labels)
        for health in state.healths:
            yield Measure(families.AUTHORITY_STATE, 1, (*labels, health.name, health.state))
            if health.breaker is not None:
                yield Measure(families.BREAKER_STATE, 1, (*labels, health.name, health.breaker.value))
            if health.limit_used is not None:
                yield Measure(families.LIMIT_USED, health.limit_used, (*labels, health.name))
    yield Measure(families.ISSUERS_LEFT_OUT, max(0, len(known) - MAX_SHOWN))


def labels_of(id_: IssuerId) -> tuple[str, str, str]:
    """The labels of an issuer."""
    return id_.kind, id_.key.namespace, id_.key.name


def _is_well(issuer: IssuerState) -> bool:
    return issuer.is_ready and all(health.state == "Available" for health in issuer.healths)
