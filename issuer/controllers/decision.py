"""What happens to a certificate request: one pure function decides it, for every row of the contract.

`decide` sees the request, its issuer, the time, and what came of the last go at the authorities. It has no clock, no
network and no Kubernetes client, so a table of cases tests the whole contract (docs/architecture.md). The order of the
checks is cert-manager's: denied, invalid, not approved, finished, issuer, sign.

A terminal state is only given where no retry can help, or at the deadline: cert-manager waits 1 h to 32 h after a
failed request (`pkg/controller/certificates/trigger`), so failing early would prolong an outage.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from issuer.api import request as api
from issuer.api.duration import Duration, InvalidDurationError, human
from issuer.api.issuer import CLUSTER_ISSUER_KIND, GROUP, ISSUER_KIND
from issuer.controllers.causes import cause_of, event_of, final, reasons, summary
from issuer.pki import csr
from issuer.signing.failures import moment
from issuer.signing.plan import Issued, NotIssued

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.authorities.errors import AuthorityError
    from issuer.controllers.port import Request

DEFAULT_DEADLINE: Final = 3600.0
"""Seconds until a request is Failed whose issuer does not exist, or cannot say its own deadline, and never could."""
LATE_ISSUER: Final = timedelta(minutes=10)
"""How long an issuer that cannot be used may take to come, for a request that was past its deadline when it was first
seen: Certificates may have been applied hours before this controller was installed."""


KINDS: Final = (ISSUER_KIND, CLUSTER_ISSUER_KIND)

SIGNED: Final = "Signed"
FAILED_OVER: Final = "FailedOver"
PASSED_OVER: Final = "PassedOver"
"""Reasons of our condition on a request that was signed: by the first choice; by a later one, since an earlier could
not sign at the time; or since every earlier one never signs such a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerView:
    """What `decide` needs to know of an issuer.

    Attributes:
        title: how messages name it, `CDNIssuer default/edge`.
        problem: why it cannot be used at all, or None. Trouble of its authorities is not told here but by `NotIssued`.
        deadline: seconds from the approval.
        authorities: names in their order.
        ignored: what of its specification this version does not know.
        without_effect: what of it means nothing where it is, each in a clause.
    """

    title: str
    problem: str | None = None
    deadline: float = DEFAULT_DEADLINE
    authorities: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    without_effect: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing is to be done: finished, or being deleted."""


@dataclass(frozen=True, slots=True)
class AwaitApproval:
    """Nothing is written before an approver has spoken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pend:
    """Ready=False, reason Pending; the request is taken up again.

    Attributes:
        message: for the condition.
        cause: in a word, see `cause_of`.
        why: the same for the same reason, whatever the attempt; the condition is written when this changes.
        until: the end of the message.
        event: reason of the event.
        retry_in: least seconds until the next go; None to wait for a change of the issuer or for the deadline.
        expires: when the deadline is.
    """

    message: str
    cause: str
    why: str
    until: str
    event: str
    retry_in: float | None
    expires: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """Ready=False with failureTime: the end.

    Attributes:
        message: for the condition.
        event: reason of the event.
        cause: in a word, see `cause_of`.
        why: what each authority came to, in few words.
        reason: Failed or Denied.
    """

    message: str
    event: str
    cause: str
    why: str = ""
    reason: str = api.REASON_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """Ready=True with the certificate: the end."""

    issued: Issued
    message: str
    authority_reason: str
    authority_message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """Go through the authorities.

    Attributes:
        csr: parsed and checked.
        duration: how long the certificate should live.
        only: names of the authorities that may sign, or None for all.
        expires: when the deadline is.
        late: the deadline has passed before the first go: one attempt at each authority, then the end.
    """

    csr: csr.SigningRequest
    duration: timedelta
    expires: datetime
    only: frozenset[str] | None = None
    late: bool = False


Verdict = Pend | Fail | Issue
"""A decision that is written down."""
Decision = Leave | AwaitApproval | Verdict | Sign


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What this process has done for a request so far.

    Attributes:
        had_turn: its authorities were asked at least once.
        outcome: of the go that has just ended.
        last: of the last go that did not sign, for the message at the deadline.
        turns: goes at its authorities, by this process.
        seen: when the request was first seen, or None: now.
        known_deadline: of its issuer, in seconds, when that could last be read; None if it never could.
    """

    had_turn: bool = False
    seen: datetime | None = None
    known_deadline: float | None = None
    outcome: Issued | NotIssued | None = None
    last: NotIssued | None = None
    turns: int = 0


NOTHING_DONE: Final = History()


def decide(request: Request, issuer: IssuerView | None, now: datetime, history: History = NOTHING_DONE) -> Decision:
    """Decide what happens to a request; `issuer` is None if it does not exist."""
    if request.is_finished or request.metadata.deletion_timestamp:
        return Leave()
    if request.is_denied:
        return Fail(message=_denial(request), event="Denied", cause="Denied", reason=api.REASON_DENIED)
    if request.is_invalid:
        return _invalid("the request is marked as InvalidRequest, so it is not signed")
    if not request.is_approved:
        return AwaitApproval()
    if isinstance(history.outcome, Issued):
        return _issue(history.outcome)
    return _decide_approved(request, issuer, now, history)


def expiry(request: Request, issuer: IssuerView | None, now: datetime, history: History = NOTHING_DONE) -> datetime:
    """When an approved request is Failed at the latest.

    An issuer that is deleted, or cannot be read, for a moment must not fail what waits for it: the deadline that it
    last had counts on.
    """
    approved = request.approved_at or now
    if issuer is not None and issuer.problem is None:
        return approved + timedelta(seconds=issuer.deadline)
    known = history.known_deadline
    expires = approved + timedelta(seconds=DEFAULT_DEADLINE if known is None else known)
    seen = history.seen or now
    return expires if seen < expires or history.seen is None else seen + LATE_ISSUER


def decisive(request: Request) -> tuple[object, ...]:
    """All of a request that `decide` looks at, and that somebody else may change."""
    meta = request.metadata
    marks = (request.is_approved, request.is_denied, request.is_invalid, request.is_finished)
    return (
        meta.uid,
        *marks,
        meta.deletion_timestamp,
        request.authorities,
        request.issuer_ref,
    )


def _decide_approved(request: Request, issuer: IssuerView | None, now: datetime, history: History) -> Decision:
    signing_request = _parse_csr(request)
    if isinstance(signing_request, Fail):
        return signing_request
    duration = _parse_duration(request)
    if isinstance(duration, Fail):
        return duration
    expires = expiry(request, issuer, now, history)
    late = now >= expires
    if issuer is None or issuer.problem is not None:
        return _without_issuer(request, issuer, now, expires)
    only = _restriction(request, issuer.authorities)
    if isinstance(only, Fail):
        return only
    last = _telling(history)
    if last is not None and last.terminal:
        return Fail(
            message=final(last.failures),
            event=event_of(last.failures),
            cause=cause_of(last.failures),
            why=summary(last.failures),
        )
    if late and (history.had_turn or (last is not None and last.attempted)):
        failures = last.failures if last else ()
        return Fail(
            message=_overdue(issuer.deadline, failures),
            event="DeadlineExceeded",
            cause=cause_of(failures),
            why=summary(failures),
        )
    if isinstance(history.outcome, NotIssued):
        return _pend(last or history.outcome, request.approved_at or now, expires, history.turns)
    return Sign(csr=signing_request, duration=duration, only=only, expires=expires, late=late)


def _telling(history: History) -> NotIssued | None:
    """The newest go that says why: one that ran out of time before anybody was asked says nothing, if another did."""
    if isinstance(history.outcome, NotIssued) and (history.outcome.failures or history.last is None):
        return history.outcome
    return history.last


def _pend(outcome: NotIssued, since: datetime, expires: datetime, turns: int) -> Pend:
    """It waits. How often it was tried is said as of now, and is no reason to write the condition again."""
    tried = f", {turns} attempt{'' if turns == 1 else 's'}" if turns else ""
    until = f"retrying until {moment(expires)}"
    return Pend(
        message=f"{reasons(outcome.failures)}; pending since {moment(since)}{tried}; {until}",
        cause=cause_of(outcome.failures),
        why=summary(outcome.failures),
        until=until,
        event=event_of(outcome.failures),
        retry_in=outcome.retry_in,
        expires=expires,
    )


def _without_issuer(request: Request, issuer: IssuerView | None, now: datetime, expires: datetime) -> Decision:
    if issuer is None:
        event, problem = "IssuerNotFound", _missing(request)
    else:
        event, problem = "IssuerNotReady", f"{issuer.title} cannot be used: {issuer.problem}"
    if now >= expires:
        return Fail(
            message=f"not signed by the deadline: {problem}", event="DeadlineExceeded", cause=event, why=problem
        )
    until = f"waiting until {moment(expires)}"
    return Pend(
        message=f"{problem}; pending since {moment(request.approved_at or now)}; {until}",
        cause=event,
        why=problem,
        until=until,
        event=event,
        retry_in=None,
        expires=expires,
    )


def _missing(request: Request) -> str:
    ref = request.issuer_ref
    if ref.kind not in KINDS:
        wrong = f"issuerRef.kind {ref.kind or '(none)'} is no kind of {GROUP}; it has {' and '.join(KINDS)}"
        return f"{wrong}: {request.issuer_remedy}"
    namespace = request.issuer_namespace if ref.kind == ISSUER_KIND else ""
    where = f" in namespace {namespace}" if namespace else ""
    return f"{ref.kind} {ref.name} does not exist{where}: create it, or {request.issuer_remedy}"


def _parse_csr(request: Request) -> csr.SigningRequest | Fail:
    try:
        return csr.parse(request.encoded_csr, is_ca=request.wants_ca)
    except csr.InvalidRequestError as error:
        return _invalid(str(error))


def _parse_duration(request: Request) -> timedelta | Fail:
    text = request.duration
    if text is None:
        return timedelta(seconds=api.DEFAULT_DURATION)
    try:
        seconds = Duration(text).seconds
    except InvalidDurationError as error:
        return _invalid(f"{request.duration_field}: {error}")
    if seconds <= 0:
        return _invalid(f"{request.duration_field}: {text} must be longer than 0s")
    return timedelta(seconds=seconds)


def _restriction(request: Request, known: Sequence[str]) -> frozenset[str] | Fail | None:
    wanted = restriction(request)
    if unknown := sorted(wanted - set(known)):
        return _invalid(
            f"annotation {api.AUTHORITIES_ANNOTATION}: no authority {', '.join(map(repr, unknown))} "
            f"in the issuer; it has {', '.join(known)}"
        )
    return wanted or None


def restriction(request: Request) -> frozenset[str]:
    """Names of the authorities that may sign a request, as its annotation says; empty: all."""
    names = (name.strip() for name in (request.authorities or "").split(","))
    return frozenset(filter(None, names))


def _invalid(message: str) -> Fail:
    return Fail(message=message, event="InvalidRequest", cause="InvalidRequest")


def _issue(issued: Issued) -> Issue:
    passed_over = reasons(issued.passed_over) if issued.passed_over else ""
    lifetime = human(issued.granted.total_seconds())
    if abs(issued.granted - issued.requested) > timedelta(hours=1):
        lifetime += f" ({human(issued.requested.total_seconds())} asked for)"
    signed = f"signed by authority {issued.authority}, valid for {lifetime} until {moment(issued.not_after)}"
    return Issue(
        issued=issued,
        message="; ".join((signed, *issued.notes)),
        authority_reason=_authority_reason(issued.passed_over),
        authority_message=api.signer_message(issued.authority, passed_over),
    )


def _authority_reason(passed_over: Sequence[AuthorityError]) -> str:
    """Whether the first choice signed; if not, whether it could not at the time, or would never have."""
    if not passed_over:
        return SIGNED
    return FAILED_OVER if cause_of(passed_over) in api.OUTAGES else PASSED_OVER


def _denial(request: Request) -> str:
    said = f": {request.denial}" if request.denial else ""
    return f"the request was denied by an approver{said}"


def _overdue(deadline: float, failures: Sequence[AuthorityError]) -> str:
    known = final(failures) if failures else "no authority could be asked"
    return f"not signed within the deadline of {human(deadline)} after approval: {known}"
