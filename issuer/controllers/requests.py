"""The request controller: takes each certificate request to its end.

It reads from the informer's cache, lets `decide` say what happens, runs turns through the failover engine and hands
verdicts to the writer. What it remembers between two goes is keyed by UID and kept in `Progress`; a signed result
stays there until it is written, so that a lost write never leads to a second signature.

Each issuer has a lane of its own in the queue, so requests that wait for a dead authority hold up no other issuer. The
deadline is a timer apart from the queue: when it fires, the request moves to a second lane of its issuer, where it does
not wait behind requests that are still waiting for a CA.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from issuer.api.meta import ObjectKey  # noqa: TC001 - a field of a NamedTuple is evaluated
from issuer.api.request import AUTHORITIES_ANNOTATION
from issuer.authorities.base import SigningOrder
from issuer.controllers.approval import ApprovalWatch
from issuer.controllers.book import IssuerId, is_ours, issuer_id
from issuer.controllers.decision import (
    DEFAULT_DEADLINE,
    AwaitApproval,
    Fail,
    History,
    Issue,
    Leave,
    Pend,
    Turn,
    decide,
)
from issuer.controllers.delivery import Delivery
from issuer.kube.errors import KubeError, ServerError, UnreachableError
from issuer.kube.queue import Priority
from issuer.signing.outcome import NotIssued

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from datetime import datetime

    from issuer.api.request import CertificateRequest
    from issuer.controllers.book import IssuerBook
    from issuer.controllers.delivery import StatusWriter
    from issuer.controllers.narrator import Narrator
    from issuer.kube.informer import Change, Informer
    from issuer.kube.queue import WorkQueue
    from issuer.signing.engine import FailoverEngine
    from issuer.signing.outcome import Issued
    from issuer.signing.plan import IssuerPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds between two tries, doubled from the first to the largest, with jitter.

    Attributes:
        first: between two goes at the authorities.
        largest: the same.
        first_write: between two tries to write a result.
        largest_write: the same.
    """

    first: float = 2.0
    largest: float = 60.0
    first_write: float = 0.1
    largest_write: float = 15.0


class StoppingError(Exception):
    """The program is about to end: no new call goes to an authority."""


class RequestId(NamedTuple):
    """A request and no other that has, had or will have its name."""

    key: ObjectKey
    uid: str

    def __str__(self) -> str:
        return str(self.key)


@dataclass(slots=True)
class Progress:
    """What this process knows of an unfinished request beyond its object.

    Attributes:
        request: as it was last seen.
        suspect: another process may have signed for it before this one took over.
        had_turn: its authorities were asked at least once.
        turns: goes at its authorities.
        last: what came of the last go.
        verdict: decided and not yet written.
        writes: failed writes of it in a row.
        perhaps_written: one of them may have reached the API server.
        why: what the last written Pending condition was about.
        timer: the deadline.
    """

    request: CertificateRequest
    suspect: bool = False
    had_turn: bool = False
    turns: int = 0
    last: NotIssued | None = None
    verdict: Fail | Issue | None = None
    writes: int = 0
    perhaps_written: bool = False
    why: str | None = None
    timer: asyncio.Handle | None = None


class RequestController:
    """Reconciles certificate requests."""

    def __init__(
        self,
        *,
        requests: Informer[CertificateRequest],
        book: IssuerBook,
        engine: FailoverEngine,
        queue: WorkQueue[RequestId],
        writer: StatusWriter,
        narrator: Narrator,
        now: Callable[[], datetime],
        random: random.Random,
        pace: Pace = Pace(),
    ) -> None:
        self._requests = requests
        self._book = book
        self._engine = engine
        self._queue = queue
        self._writer = writer
        self._narrator = narrator
        self._now = now
        self._random = random
        self._pace = pace
        self._approvals = ApprovalWatch(narrator.unapproved)
        self._progress: dict[str, Progress] = {}
        self._ended: set[str] = set()
        """UIDs of requests that have ended, until the cache knows it too: a watch is always a little late."""
        self._started = False

    def start(self) -> None:
        """Begin, with the cache as it is now.

        Whatever is approved and unfinished at this moment may have been in the hands of another process, which may have
        had it signed: the first go looks for that at the provider before it asks for a certificate.
        """
        self._started = True
        for request in self._requests.items():
            if self._concerns(request) and not request.is_finished:
                if request.is_approved:
                    self._progress[request.metadata.uid] = Progress(request, suspect=True)
                self._queue.add(_id(request), lane=_lane(request), priority=Priority.NEW)

    def observe(self, change: Change[CertificateRequest]) -> None:
        """Take note of a change in the cache; our own writes of conditions are no reason to look again."""
        request = change.new or change.old
        if request is not None and (change.new is None or request.is_finished):
            self._ended.discard(request.metadata.uid)
            self._approvals.forget(request.metadata.uid)
        if self._started and request is not None and self._concerns(request) and _matters(change):
            self._queue.add(_id(request), lane=_lane(request), priority=Priority.NEW)

    def wake(self, issuer: IssuerId | None = None) -> None:
        """Take up pending requests now: of one issuer that has changed, or all where an authority is back."""
        for request in self.unfinished():
            if issuer is None or issuer_id(request.spec.issuer_ref, request.metadata.namespace) == issuer:
                self._queue.add(_id(request), lane=_lane(request), priority=Priority.RETRY)

    def unfinished(self) -> list[CertificateRequest]:
        """Approved requests of ours that have not ended yet."""
        return [r for r in self._requests.items() if self._concerns(r) and r.is_approved and not r.is_finished]

    def unapproved(self) -> int:
        """How many requests of ours no approver has spoken about."""
        return sum(
            self._concerns(r) and not (r.is_approved or r.is_denied or r.is_finished) for r in self._requests.items()
        )

    async def reconcile(self, id_: RequestId) -> None:
        """Take one request a step further."""
        if id_.uid in self._ended:
            return
        progress = self._progress.get(id_.uid)
        if progress is not None and progress.verdict is not None:
            await self._write(progress, progress.verdict)
            return
        request = self._current(id_)
        if request is None or request.is_finished or request.metadata.deletion_timestamp:
            await self._conclude(id_)
            return
        progress = progress or Progress(request)
        progress.request = request
        try:
            await self._advance(request, progress)
        except StoppingError:
            return
        except KubeError:
            raise
        except Exception as error:  # noqa: BLE001 - a defect of ours must not keep a request from its end
            await self._survive(request, progress, error)

    async def flush(self) -> None:
        """Write what is decided and not yet written, until all of it is; for a clean stop, under a timeout."""
        while waiting := [progress for progress in self._progress.values() if progress.verdict is not None]:
            for progress in waiting:
                assert progress.verdict is not None
                await self._write(progress, progress.verdict)
            await asyncio.sleep(self._pace.first_write)

    async def _advance(self, request: CertificateRequest, progress: Progress) -> None:
        entry = self._book.find(issuer_id(request.spec.issuer_ref, request.metadata.namespace))
        view = entry.view if entry else None
        history = History(had_turn=progress.had_turn, last=progress.last)
        now = self._now()
        decision = decide(request, view, now, history)
        if isinstance(decision, AwaitApproval):
            if (delay := self._approvals.look(request, now)) is not None:
                self._again(request, delay)
            return
        self._approvals.forget(request.metadata.uid)
        if isinstance(decision, Leave):
            return
        self._progress[request.metadata.uid] = progress
        if isinstance(decision, Turn) and entry is not None and entry.plan is not None:
            self._set_timer(request, progress, decision.expires, now)
            outcome = await self._turn(request, progress, decision, entry.plan)
            history = History(had_turn=progress.had_turn, last=progress.last, outcome=outcome)
            request = self._current(_id(request)) or request
            now = self._now()
            decision = decide(request, view, now, history)
        match decision:
            case Pend():
                self._set_timer(request, progress, decision.expires, now)
                await self._pend(request, progress, decision)
            case Fail() | Issue():
                progress.request, progress.verdict = request, decision
                await self._write(progress, decision)
            case _:
                self._again(request, 0.0)

    async def _turn(
        self, request: CertificateRequest, progress: Progress, turn: Turn, plan: IssuerPlan
    ) -> Issued | NotIssued:
        """One go at the authorities; past the deadline, one attempt at each and no more."""
        deadline = self._loop_time(turn.expires)
        if turn.late:
            attempts = (planned.common.timeouts.attempt.seconds for planned in plan.authorities)
            deadline = asyncio.get_running_loop().time() + sum(attempts)
        outcome = await self._engine.sign(
            _order(request, turn),
            plan,
            deadline=deadline,
            only=turn.only,
            single_attempt=turn.late,
            suspect=progress.suspect,
        )
        progress.turns += 1
        if isinstance(outcome, NotIssued):
            if outcome.failures or progress.last is None:
                progress.last = outcome
            progress.had_turn |= outcome.attempted
            progress.suspect &= not outcome.attempted
        return outcome

    async def _survive(self, request: CertificateRequest, progress: Progress, error: Exception) -> None:
        """A defect of ours: try again as if the authorities were down, and end the request at its deadline."""
        self._narrator.crashed(request, error)
        self._progress[request.metadata.uid] = progress
        progress.turns += 1
        entry = self._book.find(issuer_id(request.spec.issuer_ref, request.metadata.namespace))
        deadline = timedelta(seconds=entry.view.deadline if entry else DEFAULT_DEADLINE)
        expires = (request.approved_at or self._now()) + deadline
        now = self._now()
        if now < expires:
            self._set_timer(request, progress, expires, now)
            self._again(request, self._pause(progress.turns))
            return
        message = f"not signed by the deadline: an internal error ({type(error).__name__}); see the controller's log"
        progress.verdict = Fail(message=message, event="InternalError")
        await self._write(progress, progress.verdict)

    async def _pend(self, request: CertificateRequest, progress: Progress, verdict: Pend) -> None:
        """Say once why a request waits, and take it up again later."""
        if verdict.retry_in is not None:
            self._again(request, max(verdict.retry_in, self._pause(progress.turns)))
        ready = request.ready
        if progress.why == verdict.why or (progress.why is None and ready and ready.message == verdict.message):
            progress.why = verdict.why
            return
        try:
            delivery, _ = await self._writer.write(request, verdict)
        except KubeError as error:
            self._narrator.write_failed(request, verdict, error)
            self._again(request, self._pause(1))
            return
        if delivery is Delivery.WRITTEN:
            progress.why = verdict.why
            self._narrator.pending(request, verdict)

    async def _write(self, progress: Progress, verdict: Fail | Issue) -> None:
        """Write a terminal verdict; it is kept and written again until it is delivered or has no one to go to."""
        request = progress.request
        try:
            delivery, delivered = await self._writer.write(request, verdict)
        except KubeError as error:
            progress.writes += 1
            progress.perhaps_written |= _perhaps_applied(error)
            self._narrator.write_failed(request, verdict, error)
            self._again(request, self._backoff(progress.writes, self._pace.first_write, self._pace.largest_write))
            return
        if delivery is Delivery.WRITTEN:
            self._narrator.finished(request, verdict)
        else:
            self._narrator.dropped(request, verdict, delivery)
        if delivery is Delivery.GONE and progress.perhaps_written and isinstance(verdict, Issue):
            delivered = verdict.issued.fingerprint
        self._forget(_id(request), delivered)

    async def _conclude(self, id_: RequestId) -> None:
        """A request has ended without us. Find out with which certificate, so that no other one stays alive."""
        if id_.uid in self._progress:
            delivered = await self._writer.delivered(id_.key, id_.uid)
            self._forget(id_, delivered)

    def _again(self, request: CertificateRequest, delay: float) -> None:
        self._queue.add_after(_id(request), delay, lane=_lane(request), priority=Priority.RETRY)

    def _pause(self, tries: int) -> float:
        """Seconds until the next go at the authorities."""
        return self._backoff(tries, self._pace.first, self._pace.largest)

    def _backoff(self, tries: int, first: float, largest: float) -> float:
        """Seconds, doubled with each try, between half and all of it by chance."""
        full = min(largest, first * 2.0 ** min(max(tries - 1, 0), 20))
        return full * self._random.uniform(0.5, 1.0)

    def _set_timer(self, request: CertificateRequest, progress: Progress, expires: datetime, now: datetime) -> None:
        """Wake the request at its deadline, whatever else happens to it.

        `now` is the time that has just decided. A second look at the clock may find the deadline passed, and then
        nobody would wake a request that was decided to wait for it: whatever was still to come at `now` gets a timer,
        one that is due at once if need be. On uvloop timers fire some milliseconds early, so that this is not rare.
        """
        if progress.timer is not None:
            progress.timer.cancel()
            progress.timer = None
        if now < expires:
            loop = asyncio.get_running_loop()
            progress.timer = loop.call_at(max(self._loop_time(expires), loop.time()), self._expire, request)

    def _expire(self, request: CertificateRequest) -> None:
        self._queue.add(_id(request), lane=f"{_lane(request)} deadline", priority=Priority.NEW)

    def _loop_time(self, when: datetime) -> float:
        return asyncio.get_running_loop().time() + (when - self._now()) / timedelta(seconds=1)

    def _concerns(self, request: CertificateRequest) -> bool:
        return is_ours(request.spec.issuer_ref)

    def _current(self, id_: RequestId) -> CertificateRequest | None:
        """The request in the cache, unless another one has taken its name."""
        request = self._requests.get(id_.key)
        return request if request is not None and request.metadata.uid == id_.uid else None

    def _forget(self, id_: RequestId, delivered: str | None) -> None:
        """Drop what is remembered of a request that has ended, with the fingerprint of the certificate it got."""
        progress = self._progress.pop(id_.uid, None)
        if progress is not None and progress.timer is not None:
            progress.timer.cancel()
        known = self._current(id_)
        if known is not None and not known.is_finished:
            self._ended.add(id_.uid)
        self._engine.settle(id_.uid, delivered)


def _perhaps_applied(error: KubeError) -> bool:
    """Whether a failed write may have reached the API server all the same."""
    return isinstance(error, ServerError) or (isinstance(error, UnreachableError) and error.sent)


def _matters(change: Change[CertificateRequest]) -> bool:
    """Whether a change is more than what we write ourselves: the Ready condition and ours."""
    old, new = change.old, change.new
    if old is None or new is None:
        return True
    return _decisive(old) != _decisive(new)


def _decisive(request: CertificateRequest) -> tuple[object, ...]:
    meta = request.metadata
    marks = (request.is_approved, request.is_denied, request.is_invalid, request.is_finished)
    return (meta.uid, *marks, meta.deletion_timestamp, meta.annotation(AUTHORITIES_ANNOTATION), request.spec.issuer_ref)


def _id(request: CertificateRequest) -> RequestId:
    return RequestId(request.metadata.key, request.metadata.uid)


def _lane(request: CertificateRequest) -> str:
    return str(issuer_id(request.spec.issuer_ref, request.metadata.namespace))


def _order(request: CertificateRequest, turn: Turn) -> SigningOrder:
    meta = request.metadata
    return SigningOrder(
        uid=meta.uid,
        namespace=meta.namespace,
        name=meta.name,
        created=meta.created or turn.expires,
        csr=turn.csr,
        duration=turn.duration,
        usages=request.spec.usages,
    )
