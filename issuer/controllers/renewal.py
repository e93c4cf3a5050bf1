"""Which Certificates are to be issued again after an outage, and which of them is next. No clock, no network.

A request that failed in an outage leaves its Certificate in cert-manager's backoff of 1 h to 32 h. Such failures wait
here, in a line for each issuer and set of authorities that may sign:

    failed      a request of ours has Failed, with a cause that passes by itself (`request.OUTAGES`)
    probe       nothing was signed in this line since: one Certificate goes first, at most one at a time. Its new
                request is retried until its deadline, so it also finds out when the authority is back
    renewed     something was signed since it failed: it has its turn, the one that expires first before the others
    over        the request is gone or replaced, the Certificate was issued, changed or deleted

    a probe is signed               the rest follows, `perMinute` of an issuer
    a probe fails in an outage      a pause, doubled each time, then another Certificate is the probe
    a probe is refused              another one at once
    nothing is heard of a probe     after `PATIENCE` another one

*Never twice for one failure.* That an issuance was started shows on objects, not here: the Certificate says
Issuing=True until cert-manager has deleted the failed request or counted another failure. So who looks at both as the
API server has them (`judge`, `RecoveryController`) finds nothing to do, whichever process has done it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from issuer.api import certificate as api
from issuer.api.condition import FALSE, TRUE
from issuer.api.meta import ObjectKey
from issuer.controllers.decision import restriction
from issuer.controllers.issuercache import IssuerId, issuer_id
from issuer.controllers.memory import RequestId, identify

if TYPE_CHECKING:
    from issuer.api.certificate import Certificate
    from issuer.api.request import CertificateRequest, IssuerRef

PATIENCE: Final = 300.0
"""Seconds in which a probe has an approved request that has not ended, or another Certificate becomes the probe."""
FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 60.0
"""Seconds after a probe that failed, doubled with each."""
MOST: Final = 20_000
"""Certificates of which it is remembered that they were started."""
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


class Line(NamedTuple):
    """Whose signature proves that those who wait can be served: an issuer, and who may sign (empty: all)."""

    issuer: IssuerId
    only: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A request that failed in an outage, and its Certificate.

    Attributes:
        certificate: which Certificate.
        certificate_uid: its UID.
        request: the request.
        ref: the issuer as the request names it.
        line: where it waits.
        revision: the issuance that failed.
        failed_at: `failureTime` of the request, in whole seconds.
    """

    certificate: ObjectKey
    certificate_uid: str
    request: RequestId
    ref: IssuerRef
    line: Line
    revision: int
    failed_at: datetime


def failure_of(request: CertificateRequest) -> Failure | None:
    """What a request that failed in an outage leaves to be done; None: it did not, or no Certificate owns it."""
    owner, revision, failed_at = request.owner, request.revision, request.failed_at
    if not request.failed_by_outage or owner is None or revision is None or failed_at is None:
        return None
    return Failure(
        certificate=ObjectKey(request.metadata.namespace, owner.name),
        certificate_uid=owner.uid,
        request=identify(request),
        ref=request.issuer_ref,
        line=line_of(request),
        revision=revision,
        failed_at=failed_at,
    )


def line_of(request: CertificateRequest) -> Line:
    """The line of a request."""
    return Line(issuer_id(request.issuer_ref, request.metadata.namespace), restriction(request))


class Judgement(Enum):
    """What is to be done about a failure."""

    RENEW = "renew"
    LATER = "later"
    """It is being issued, or cert-manager has not taken the failure in yet: nothing now."""
    NEVER = "never"
    """It is no longer the state of the Certificate."""


def judge(failure: Failure, certificate: Certificate | None, now: datetime) -> Judgement:
    """Whether a Certificate, as the API server has it, may be issued again because of a failure.

    Not looked at here is whether the failed request is still there; see `RecoveryController`.
    """
    if certificate is None or certificate.metadata.uid != failure.certificate_uid:
        return Judgement.NEVER
    if certificate.metadata.deletion_timestamp or certificate.spec.issuer_ref != failure.ref:
        return Judgement.NEVER
    if certificate.revision + 1 != failure.revision:  # issued since, or the request is of another issuance
        return Judgement.NEVER
    issuing = certificate.issuing
    if issuing is None or issuing.status == TRUE or certificate.failed_at is None:
        return Judgement.LATER
    if issuing.status != FALSE or issuing.reason != api.REASON_FAILED:
        return Judgement.NEVER
    if issuing.observed_generation not in (None, certificate.metadata.generation):
        # Changed since it failed. Where the change matters cert-manager does not wait anyway.
        return Judgement.NEVER
    # Times of cert-manager are of another clock and say nothing here. It takes the failed request for one of the new
    # issuance unless Issuing, of which the time is ours as that of the failure is, changes in a later second.
    if now.replace(microsecond=0) <= failure.failed_at:
        return Judgement.LATER
    return Judgement.RENEW


@dataclass(slots=True)
class Waiting:
    """A Certificate that waits to be issued again.

    Attributes:
        failure: why.
        expires: when the certificate ends that is in use; None: not known, or there is none.
        is_known: `expires` was asked for.
        due: loop time before which it is not looked at again.
        probes: how often it was the probe in vain.
        looks: how often it was looked at.
    """

    failure: Failure
    expires: datetime | None = None
    is_known: bool = False
    due: float = float("-inf")
    probes: int = 0
    looks: int = 0

    @property
    def urgency(self) -> tuple[datetime, datetime]:
        """What expires first comes first; of what is not known, the one that failed first."""
        return self.expires or _LATEST, self.failure.failed_at


@dataclass(slots=True)
class Probe:
    """A Certificate whose issuance was started to see whether an authority signs."""

    certificate: ObjectKey
    since: float
    is_pending: bool = False
    """It has a request that is approved and has not ended."""


@dataclass(slots=True)
class _State:
    """One line."""

    waiting: dict[ObjectKey, Waiting] = field(default_factory=dict)
    signed_at: datetime | None = None
    probe: Probe | None = None
    pause: float = 0.0
    next_probe: float = float("-inf")


class Turn(NamedTuple):
    """Whose issuance is to be started now."""

    waiting: Waiting
    is_probe: bool


class Backlog:
    """All Certificates that wait."""

    def __init__(self) -> None:
        self._lines: dict[Line, _State] = {}
        self._where: dict[ObjectKey, Line] = {}
        self._probes: dict[ObjectKey, Line] = {}
        self._renewed: dict[ObjectKey, tuple[str, int]] = {}
        """UID of the failed request for which an issuance was started, and how often it was a probe in vain."""
        self._next: dict[IssuerId, float] = {}

    def __len__(self) -> int:
        return len(self._where)

    def lines(self) -> list[Line]:
        """Those in which any Certificate waits; what is known of others is dropped."""
        self._lines = {line: state for line, state in self._lines.items() if state.waiting or state.probe}
        issuers = {line.issuer for line in self._lines}
        self._next = {issuer: due for issuer, due in self._next.items() if issuer in issuers}
        return [line for line, state in self._lines.items() if state.waiting]

    def waiting(self, line: Line) -> list[Waiting]:
        """Who waits in a line."""
        return list(self._lines[line].waiting.values()) if line in self._lines else []

    def seen(self, request: CertificateRequest, old: CertificateRequest | None, now: datetime, time: float) -> None:
        """A request is as it is now: a failure, a newer request than the one that failed, or a proof.

        Args:
            request: the request.
            old: as it was before; None: it is new here.
            now: wall time.
            time: loop time.
        """
        if request.is_finished and not request.failed_by_outage:
            # What has ended otherwise may have lost its owner (`CertificateRequest.trimmed`).
            if old is None or old.is_finished:
                return
            is_signed = request.ready is not None and request.ready.status == TRUE
            if is_signed and (state := self._lines.get(line_of(old))) is not None:
                state.signed_at = now
            if old.owner is not None:
                self._ended(ObjectKey(old.metadata.namespace, old.owner.name))
            return
        if request.owner is None:
            return
        certificate = ObjectKey(request.metadata.namespace, request.owner.name)
        if not request.is_finished:
            self.drop(certificate)
            if (line := self._probes.get(certificate)) is not None and (probe := self._lines[line].probe) is not None:
                if line_of(request) == line:
                    probe.is_pending = request.is_approved
                else:
                    self._end_probe(self._lines[line])
            return
        failure = failure_of(request)
        if failure is not None:
            self._failed(failure, time)

    def gone(self, request: CertificateRequest) -> None:
        """A request was deleted."""
        if request.owner is None:
            return
        certificate = ObjectKey(request.metadata.namespace, request.owner.name)
        waiting = self._find(certificate)
        if waiting is not None and waiting.failure.request.uid == request.metadata.uid:
            self.drop(certificate)
        if (line := self._probes.get(certificate)) is not None and (probe := self._lines[line].probe) is not None:
            probe.is_pending = False

    def drop(self, certificate: ObjectKey) -> None:
        """A Certificate waits no longer."""
        line = self._where.pop(certificate, None)
        if line is not None:
            self._lines[line].waiting.pop(certificate, None)

    def hasten(self, issuer: IssuerId) -> None:
        """An authority of an issuer is said to be back: the next probe need not wait."""
        for line, state in self._lines.items():
            if line.issuer == issuer:
                state.next_probe, state.pause = float("-inf"), 0.0

    def next(self, line: Line, time: float) -> Turn | None:
        """Whose turn it is in a line whose issuer can sign; None: nobody's now. The caller then says `started`."""
        state = self._lines.get(line)
        if state is None or time < self._next.get(line.issuer, float("-inf")):
            return None
        due = [one for one in state.waiting.values() if one.due <= time]
        if state.signed_at is not None:
            signed_at = state.signed_at.replace(microsecond=0)
            proven = [one for one in due if one.failure.failed_at < signed_at]
            if proven:
                return Turn(min(proven, key=lambda one: one.urgency), is_probe=False)
        probe = state.probe
        if probe is not None and not probe.is_pending and time - probe.since > PATIENCE:
            self._end_probe(state)
        if not due or state.probe is not None or time < state.next_probe:
            return None
        return Turn(min(due, key=lambda one: (one.probes, *one.urgency)), is_probe=True)

    def next_in(self, time: float) -> float:
        """Seconds until the rate lets the next one of any issuer go."""
        return min((due - time for due in self._next.values()), default=float("inf"))

    def started(self, turn: Turn, per_minute: int, time: float) -> None:
        """The issuance of a Certificate was started."""
        failure = turn.waiting.failure
        self.drop(failure.certificate)
        self._renewed[failure.certificate] = failure.request.uid, turn.waiting.probes + turn.is_probe
        if len(self._renewed) > MOST:
            del self._renewed[next(iter(self._renewed))]
        self._next[failure.line.issuer] = time + 60.0 / per_minute
        if turn.is_probe:
            self._state(failure.line).probe = Probe(failure.certificate, time)
            self._probes[failure.certificate] = failure.line

    def _failed(self, failure: Failure, time: float) -> None:
        certificate = failure.certificate
        uid, probes = self._renewed.get(certificate, ("", 0))
        if uid == failure.request.uid:
            return  # started for that one already; the cache has not heard of its end
        self._renewed.pop(certificate, None)
        waiting = self._find(certificate)
        if waiting is not None:
            if waiting.failure.request.uid == failure.request.uid or waiting.failure.failed_at > failure.failed_at:
                return
            self.drop(certificate)
        if (line := self._probes.get(certificate)) is not None:
            state = self._lines[line]
            state.pause = min(LONGEST_PAUSE, 2 * state.pause or FIRST_PAUSE)
            state.next_probe = time + state.pause
            self._end_probe(state)
        self._state(failure.line).waiting[certificate] = Waiting(failure, probes=probes)
        self._where[certificate] = failure.line

    def _ended(self, certificate: ObjectKey) -> None:
        """The newest request of a Certificate has ended otherwise than by an outage."""
        self.drop(certificate)
        self._renewed.pop(certificate, None)
        if (line := self._probes.get(certificate)) is not None:
            state = self._lines[line]
            state.pause, state.next_probe = 0.0, float("-inf")
            self._end_probe(state)

    def _end_probe(self, state: _State) -> None:
        if state.probe is not None:
            self._probes.pop(state.probe.certificate, None)
            state.probe = None

    def _find(self, certificate: ObjectKey) -> Waiting | None:
        line = self._where.get(certificate)
        return self._lines[line].waiting.get(certificate) if line is not None else None

    def _state(self, line: Line) -> _State:
        return self._lines.setdefault(line, _State())
