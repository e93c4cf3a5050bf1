"""Failover: one pass over an issuer's list, from the first authority that can sign the order to the first that does.

Which failure lets the next one have its turn is the user's choice (`failover.on`); that an authority can never sign
such a request always does. Why each one did not sign goes along with the result, since a person will ask.

One that has accepted the request is asked first the next time: those before it in the list have had their turn, and if
they were asked again it would wait for them.

Nothing is terminal but every authority's no. One that refuses the request ends the pass; but where one before it in the
list was merely down, the request stays open for that one, and the refusal is remembered.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from issuer.authorities.errors import AuthorityError, InProgress, Rejected, Unavailable, Unsupported
from issuer.pki.certificate import InvalidCertificateError, load_chain, replaced_subject
from issuer.signing.attempt import ask
from issuer.signing.budget import Budget
from issuer.signing.failures import Queued, Withdrawn
from issuer.signing.observer import AccountUser
from issuer.signing.plan import Issued, NotIssued
from issuer.signing.trust import roots_of_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.authorities.base import SigningOrder
    from issuer.pki.verify import Verified
    from issuer.signing.context import EngineContext
    from issuer.signing.plan import IssuerPlan
    from issuer.signing.registry import AuthorityState

MAX_SUBJECT: Final = 120
"""Characters of a subject that a note quotes."""

log = structlog.get_logger(__name__)

Failures = dict[str, AuthorityError]
"""Why each authority did not sign, by its name."""


async def sign(
    engine: EngineContext,
    order: SigningOrder,
    plan: IssuerPlan,
    *,
    deadline: float,
    only: frozenset[str] | None,
    single_attempt: bool,
) -> Issued | NotIssued:
    """One pass over the list; the arguments are those of `FailoverEngine.sign`."""
    authorities = engine.registry.states(plan)
    allowed = [authority for authority in authorities if only is None or authority.name in only]
    failures: Failures = {}
    if not (active := [authority for authority in allowed if authority.planned.is_active]):
        failures = {one.name: Withdrawn(one.name, one.planned.common.state) for one in allowed}
        return _not_issued(plan, allowed, failures)
    allowed = active
    able = _able(order, allowed, failures)
    if (going_on := engine.ledger.accepted_by(order.uid)) is not None and going_on.authority in able:
        able = able[able.index(going_on.authority) :]
        failures.update(going_on.failures)
    with engine.ledger.signing(order):
        for index, authority in enumerate(able):
            if engine.clock() >= deadline:
                break
            try:
                if refusal := engine.ledger.refusal(order.uid, authority):
                    raise refusal
                budget = _budget(engine, plan, authority, able[index + 1 :], deadline)
                verified = await ask(engine, authority, order, budget, single_attempt=single_attempt)
            except AuthorityError as error:
                failures[authority.name] = _without_frames(error)
                if isinstance(error, InProgress):
                    engine.ledger.accepted(order.uid, authority, failures)
                    break
                engine.ledger.accepted(order.uid, None, failures)
                if isinstance(error, Rejected):
                    error.asked_for = (*order.csr.hostnames, *order.csr.ip_addresses)
                    engine.ledger.refused(order.uid, authority, error)
                if not isinstance(error, Unsupported) and error.cause not in plan.failover_on:
                    break
            else:
                issued = _issued(engine, order, plan, authorities, authority, verified, failures)
                if plan.trusts_all:
                    issued = replace(issued, ca=await roots_of_all(engine, authority, issued.ca, authorities))
                return issued
    return _not_issued(plan, allowed, failures)


def _without_frames(error: AuthorityError) -> AuthorityError:
    """The failure alone: it is kept while its request waits, and the frames that it came through hold a whole pass."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


def _able(order: SigningOrder, allowed: Sequence[AuthorityState], failures: Failures) -> list[AuthorityState]:
    """Those that may be able to sign the order; of the others the reason is noted."""
    able = []
    for authority in allowed:
        try:
            authority.planned.authority.supports(order)
        except Unsupported as error:
            failures[authority.name] = error
        else:
            able.append(authority)
    return able


def _budget(
    engine: EngineContext,
    plan: IssuerPlan,
    authority: AuthorityState,
    later: Sequence[AuthorityState],
    deadline: float,
) -> Budget:
    """The time of a turn: shared with those that could follow, and without a long queue if one of them is idle."""
    could_follow = [other for other in later if not (other.account and other.account.blocked(other.name))]
    if Unavailable.cause not in plan.failover_on:
        could_follow = []

    def waited(seconds: float, limited: bool) -> None:  # noqa: FBT001 - a callback
        engine.observer.waited(authority.issuer, authority.name, "provider" if limited else "own", seconds)

    return Budget(
        authority.planned.common.timeouts,
        deadline=deadline,
        whole=plan.deadline,
        shares=1 + len(could_follow),
        crowd=any(other.account is None or not other.account.limits.waiting for other in could_follow),
        clock=engine.clock,
        waited=waited,
    )


def _issued(
    engine: EngineContext,
    order: SigningOrder,
    plan: IssuerPlan,
    authorities: Sequence[AuthorityState],
    signer: AuthorityState,
    verified: Verified,
    failures: Failures,
) -> Issued:
    position = authorities.index(signer)
    passed_over = tuple(failures[other.name] for other in authorities[:position] if other.name in failures)
    failed = next((failure for failure in passed_over if not isinstance(failure, Unsupported)), None)
    if failed:
        user = AccountUser(failed.authority, plan.kind, str(plan.key))
        log.info(
            "failed over",
            namespace=order.namespace,
            name=order.name,
            **user.fields,
            to=signer.name,
            cause=failed.cause,
        )
        engine.observer.failover(str(plan.key), failed.authority, signer.name, failed.cause)
    return Issued(
        authority=signer.name,
        position=position,
        certificate=verified.certificate,
        ca=verified.ca,
        fingerprint=verified.fingerprint,
        not_after=verified.not_after,
        granted=max(verified.not_after - verified.not_before, timedelta(0)),
        requested=order.duration,
        passed_over=passed_over,
        notes=_notes(order, verified),
    )


def _notes(order: SigningOrder, verified: Verified) -> tuple[str, ...]:
    """What is otherwise than asked for, read from the certificate itself: it may be one that was found."""
    try:
        replaced = replaced_subject(order.csr, load_chain(verified.certificate)[0]) if order.csr.subject else None
    except InvalidCertificateError:
        return ()
    if replaced is None:
        return ()
    asked, given = replaced
    return (f"its subject is {given[:MAX_SUBJECT]!r}, where {asked[:MAX_SUBJECT]!r} was asked for",)


def _not_issued(plan: IssuerPlan, allowed: Sequence[AuthorityState], failures: Failures) -> NotIssued:
    asked = [authority for authority in allowed if authority.name in failures]
    found = tuple(failures[authority.name] for authority in asked)
    accepted = next((failure for failure in found if isinstance(failure, InProgress)), None)
    open_ = [authority for authority in asked if not _is_final(failures[authority.name])]
    has_ended = any(isinstance(failure, Rejected) and failure.cause not in plan.failover_on for failure in found)
    free_in = [authority.account.free_in if authority.account and not authority.error else 0.0 for authority in open_]
    return NotIssued(
        failures=found,
        terminal=bool(found) and not open_ and (has_ended or len(asked) == len(allowed)),
        retry_in=accepted.look_again_in if accepted else min(free_in, default=0.0),
        attempted=any(_has_had_turn(failure) for failure in found),
        accepted=accepted,
    )


def _has_had_turn(failure: AuthorityError) -> bool:
    """Whether it was asked, or is known to be unable just now."""
    return not isinstance(failure, Queued) and (not isinstance(failure, Unsupported) or failure.for_now)


def _is_final(failure: AuthorityError) -> bool:
    """Whether asking that authority again cannot help."""
    return isinstance(failure, Rejected) or (isinstance(failure, Unsupported) and not failure.for_now)
