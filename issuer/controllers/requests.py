"""The request controller: takes each certificate request to its end.

`reconcile` reads the request from the informer's cache and what this process knows of it from its memory, lets `decide`
say what happens, does that one thing, and says when to look again (`agenda`). A signed result stays in memory until it
is written, so that a lost write never leads to a second signature.

Each issuer has a lane of its own in the queue, so requests that wait for a dead authority hold up no other issuer.
Writes have theirs: a result does not queue behind signing, nor does signing wait for an API server that hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from issuer.controllers.agenda import LATEST, OVER, Agenda, Result
from issuer.controllers.approval import ApprovalWatch
from issuer.controllers.census import measures
from issuer.controllers.decision import AwaitApproval, Fail, Issue, Leave, Pend, Sign, decide
from issuer.controllers.delivery import Delivery, perhaps_applied
from issuer.controllers.issuercache import IssuerId
from issuer.controllers.manager import Chore, StoppingError
from issuer.controllers.memory import ENDED, RequestId, RequestMemory, RequestState, identify, issuer_of
from issuer.controllers.topics import AccountRecovered, ChildChanged, IssuerChanged
from issuer.controllers.triggers import WRITES, RequestTriggers, lane_of
from issuer.controllers.turns import Turns
from issuer.kube.errors import KubeError, LeaseLostError
from issuer.signing.checks import WATCH_EVERY

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from issuer.controllers.caches import RequestCaches
    from issuer.controllers.certificates import CertificateCensus
    from issuer.controllers.delivery import StatusWriter
    from issuer.controllers.issuercache import IssuerCache
    from issuer.controllers.pace import Pace
    from issuer.controllers.port import Request
    from issuer.controllers.reporter import RequestReporter
    from issuer.controllers.topics import Topics
    from issuer.kube.queue import WorkQueue
    from issuer.observe.metrics import Measure
    from issuer.signing.engine import FailoverEngine


LEAST: Final = timedelta(seconds=0.1)
"""A go at the authorities with less time than this is not begun."""
COUNT_EVERY: Final = 60.0
"""Seconds between two counts of certificates by the days that are left to them."""
RESYNC_EVERY: Final = 60.0
"""Seconds between two looks for requests that nobody would look at again."""
CLEAN_UP_EVERY: Final = 30.0
"""Seconds between two looks for certificates that nobody received."""
SHARE_OF_A_STOP: Final = 0.8
"""Of the time of a stop, for calls that are under way; the rest is for writing what came of them."""


class RequestController:
    """Reconciles certificate requests; a `Controller` of the manager.

    Args:
        per_issuer: requests of one issuer that are worked on at the same time.
        healed: see `RequestTriggers`.
        certificates: what is counted of those that requests have received; None: nothing is.

    Attributes:
        memory: what is known of each request that is not over.
        triggers: the reasons to look at a request, to be told of them.
    """

    name: Final = "requests"

    def __init__(
        self,
        *,
        requests: RequestCaches,
        book: IssuerCache,
        engine: FailoverEngine,
        queue: WorkQueue[RequestId],
        topics: Topics,
        writer: StatusWriter,
        reporter: RequestReporter,
        now: Callable[[], datetime],
        random: random.Random,
        pace: Pace,
        per_issuer: int,
        healed: Callable[[int], None] = lambda _: None,
        certificates: CertificateCensus | None = None,
    ) -> None:
        self._requests = requests
        self._book = book
        self._engine = engine
        self._writer = writer
        self._reporter = reporter
        self._now = now
        self._random = random
        self._pace = pace
        self._per_issuer = per_issuer
        self._certificates = certificates
        self._queue = queue
        self._agenda = Agenda(queue)
        self.memory = RequestMemory(_loop_time)
        self._turns = Turns(engine, pace, random, now, retried=reporter.retried)
        self._approvals = ApprovalWatch(reporter.unapproved)
        self.triggers = RequestTriggers(
            requests=requests,
            book=book,
            memory=self.memory,
            agenda=self._agenda,
            approvals=self._approvals,
            suspect=engine.suspect,
            now=now,
            healed=healed,
            expires=(lambda _: None) if certificates is None else certificates.expires,
        )

        self.rules = tuple(rule for kind in writer.kinds for rule in kind.rules)
        self.informers = self.fresh = requests.informers
        self.chores = (
            Chore("look for undelivered certificates", engine.clean_up, CLEAN_UP_EVERY),
            Chore("look for replaced credentials", engine.watch_credentials, WATCH_EVERY),
            Chore("look for lost requests", self.triggers.resync, RESYNC_EVERY),
            *(() if certificates is None else (Chore("count certificates", certificates.count, COUNT_EVERY),)),
        )
        topics.subscribe(IssuerChanged, lambda news: self.triggers.wake(news.id))
        topics.subscribe(AccountRecovered, self._recovered)
        topics.subscribe(ChildChanged, lambda news: self.triggers.wake_one(news.parent))

    @property
    def depth(self) -> int:
        """Requests that are due and wait for room in their lane."""
        return self._queue.depth

    async def start(self) -> None:
        """Take up what is unfinished."""
        await self.triggers.start()

    async def run(self) -> None:
        """Reconcile until the queue is drained."""
        await self._agenda.run(self.reconcile, per_lane=self._per_issuer)

    async def drain(self, grace: float) -> None:
        """Wait for the calls that are under way."""
        await self._queue.drain(grace * SHARE_OF_A_STOP)

    def measures(self) -> Iterable[Measure]:
        """Who waits, and for how long, and what may be left behind at a provider."""
        return (
            *measures(self.unfinished(), self.memory.unapproved, self._engine.suspected(), self._now()),
            *(self._certificates.measures() if self._certificates else ()),
        )

    def unfinished(self) -> list[Request]:
        """Approved requests of ours that are there and have not ended yet."""
        waiting = [state.request for state in self.memory.all() if state.request.is_approved]
        return [request for request in waiting if self._current(identify(request)) is not None]

    async def reconcile(self, id_: RequestId) -> Result:
        """Take one request a step further.

        Raises:
            KubeError: this replica leads no more, or the API server did not say whether a request has ended.
        """
        if (until := self.memory.ended_until(id_.uid)) is not None:
            return await self._contradicted(id_, until)
        state, request = self.memory.get(id_.uid), self._current(id_)
        try:
            if state is not None and state.verdict is not None:
                if state.is_writing:
                    return Result(look_again_at=_loop_time() + self._pace.first_write, lane=WRITES)
                return await self._deliver(state, state.verdict)
            if request is None or request.is_finished or request.metadata.deletion_timestamp:
                return await self._conclude(id_, state)
            if state is not None and state.pending is not None and state.write_due <= _loop_time():
                return await self._tell(state, state.pending)
            return await self._advance(request, state)
        except StoppingError:
            return Result(look_again_at=_loop_time() + LATEST, lane=lane_of(request, state) if request else WRITES)
        except KubeError:
            raise
        except Exception as error:
            request = request or (state.request if state else None)
            if request is None:
                raise
            return self._survive(request, error)

    async def flush(self) -> bool:
        """Write what is decided and not yet written, for a clean stop; whether anything is left to be written."""
        await asyncio.gather(*(self._flush(state) for state in self.memory.all()))
        return any(state.verdict is not None for state in self.memory.all())

    def _recovered(self, news: AccountRecovered) -> None:
        for kind, key in self._engine.users(news.account):
            self.triggers.wake(IssuerId.of(kind, key))

    async def _flush(self, state: RequestState) -> None:
        if state.verdict is not None and not state.is_writing:
            with contextlib.suppress(StoppingError):
                await self._deliver(state, state.verdict)

    async def _advance(self, request: Request, state: RequestState | None) -> Result:
        entry = self._book.find(issuer_of(request))
        view = entry.view if entry else None
        now = self._now()
        decision = decide(request, view, now, self.triggers.history(request, state))
        if isinstance(decision, AwaitApproval):
            delay = self._approvals.look(request, now)
            return OVER if delay is None else Result(look_again_at=_loop_time() + delay, lane=lane_of(request))
        if isinstance(decision, Leave) or (state := self.memory.note(request, now)) is None:
            return await self._conclude(identify(request), state)
        self._approvals.forget(request.metadata.uid)
        if isinstance(decision, Sign) and entry is not None and entry.plan is not None:
            if state.turn_due > _loop_time() and state.only == decision.only:
                return self._wait(state, state.turn_due, decision.expires, now)
            if not decision.late and decision.expires - now < LEAST:
                # A go that has no time says nothing. At the deadline one that never had any gets a whole attempt.
                return self._wait(state, math.inf, decision.expires, now)
            if not decision.late:
                self.triggers.expect(state)
            outcome = await self._turns.take(state, decision, entry.plan)
            request = state.request = self._current(state.id) or request
            now = self._now()
            decision = decide(request, view, now, self.triggers.history(request, state, outcome))
        match decision:
            case Pend():
                return self._pend(state, decision, now)
            case Fail() | Issue():
                state.verdict = decision
                return Result(look_again_at=_loop_time(), lane=WRITES)
            case _:
                return Result(look_again_at=_loop_time(), lane=lane_of(request, state))

    def _survive(self, request: Request, error: Exception) -> Result:
        """A defect of ours: try again as if the authorities were down, and end the request at its deadline."""
        self._reporter.crashed(request, error)
        now = self._now()
        state = self.memory.note(request, now)
        if state is None:
            return OVER
        self._turns.failed(state)
        left = (self.triggers.expiry(state, now) - now) / timedelta(seconds=1)
        if request.is_approved and left <= 0:
            message = (
                f"not signed by the deadline: an internal error ({type(error).__name__}); see the controller's log"
            )
            state.verdict = Fail(message=message, event="InternalError", cause="InternalError")
            return Result(look_again_at=_loop_time(), lane=WRITES)
        if request.is_approved:
            # The look at the deadline must not find that it has to wait for the end of this pause.
            state.turn_due = min(state.turn_due, _loop_time() + left)
            self.triggers.expect(state)
        return Result(look_again_at=state.turn_due, lane=lane_of(request, state))

    def _pend(self, state: RequestState, verdict: Pend, now: datetime) -> Result:
        """Say once why a request waits, and take it up again later."""
        if state.why == verdict.why or (state.why is None and _says(state.request, verdict)):
            state.why, state.pending = verdict.why, None
        else:
            state.pending, state.write_due, state.writes = verdict, -math.inf, 0
        return self._wait(state, _turn_due(state, verdict), verdict.expires, now)

    def _wait(self, state: RequestState, turn_due: float, expires: datetime, now: datetime) -> Result:
        """Look again for the next write or the next go at the authorities, whichever comes first.

        The alarm for the deadline is set from the `now` that has just decided: a second look at the clock may find the
        deadline passed, and then nobody would wake a request that was decided to wait for it.
        """
        left = (expires - now) / timedelta(seconds=1)
        if left > 0:
            self._agenda.expect(state.id, lane_of(state.request), _loop_time() + left)
        at = turn_due if state.pending is None else min(turn_due, state.write_due)
        return Result(look_again_at=at, lane=lane_of(state.request, state))

    async def _tell(self, state: RequestState, verdict: Pend) -> Result:
        """Write why a request waits; where that fails the write is repeated, and nothing else."""
        try:
            told = await self._writer.write(state.request, verdict)
        except KubeError as error:
            self._reporter.write_failed(state.request, verdict, error)
            state.write_due = _loop_time() + self._write_pause(state, error)
            return self._told(state, verdict)
        state.pending = None
        match told.delivery:
            case Delivery.WRITTEN:
                state.why = verdict.why
                self._reporter.pending(state.request, verdict)
                return self._told(state, verdict)
            case Delivery.CHANGED:
                assert told.latest is not None
                return await self._advance(told.latest, state)
            case _:
                return self._close(state.id, told.fingerprint)

    def _told(self, state: RequestState, verdict: Pend) -> Result:
        """Go on after a write. The alarm may have rung meanwhile, and the look it asked for has been this one."""
        now = self._now()
        if now >= verdict.expires:
            return Result(look_again_at=_loop_time(), lane=lane_of(state.request, state))
        return self._wait(state, _turn_due(state, verdict), verdict.expires, now)

    async def _deliver(self, state: RequestState, verdict: Fail | Issue) -> Result:
        """Write the end; it is kept and written again until it is delivered or has no one to go to."""
        request, state.is_writing = state.request, True
        try:
            told = await self._writer.write(request, verdict)
        except KubeError as error:
            state.perhaps_written |= perhaps_applied(error)
            self._reporter.write_failed(request, verdict, error)
            state.verdict = self._writer.refused(request, verdict, error) or verdict
            return Result(look_again_at=_loop_time() + self._write_pause(state, error), lane=WRITES)
        finally:
            state.is_writing = False
        if told.delivery is Delivery.CHANGED:
            assert told.latest is not None
            state.verdict = None
            return await self._advance(told.latest, state)
        if told.delivery is Delivery.WRITTEN:
            self._reporter.finished(request, verdict)
        else:
            self._reporter.dropped(request, verdict, told.delivery)
        fingerprint = told.fingerprint
        if told.delivery is Delivery.GONE and state.perhaps_written and isinstance(verdict, Issue):
            fingerprint = verdict.issued.fingerprint
        return self._close(state.id, fingerprint)

    async def _conclude(self, id_: RequestId, state: RequestState | None) -> Result:
        """A request has ended without us. Find out with which certificate, so that no other one stays alive."""
        if state is None:
            self.memory.close(id_.uid, lasting=False)
            return OVER
        try:
            delivered = await self._writer.delivered(id_.key, id_.uid)
        except LeaseLostError:
            raise
        except KubeError as error:
            self._reporter.unsettled(state.request, error)
            return Result(look_again_at=_loop_time() + self._write_pause(state, error), lane=WRITES)
        return self._close(id_, delivered)

    async def _contradicted(self, id_: RequestId, until: float) -> Result:
        """It has ended, and the cache may not know it yet. If that lasts, the API server itself says what is true."""
        request = self._current(id_)
        if request is None or request.is_finished:
            self.memory.close(id_.uid, lasting=False)
            return OVER
        if _loop_time() < until:
            return Result(look_again_at=until, lane=lane_of(request))
        latest = await self._writer.read(id_.key, id_.uid)
        is_over = latest is None or latest.is_finished
        self.memory.close(id_.uid, lasting=is_over)
        if latest is None or is_over:
            return Result(look_again_at=_loop_time() + ENDED, lane=lane_of(request))
        state = self.memory.note(latest, self._now())
        self._engine.suspect(id_.uid)
        return Result(look_again_at=_loop_time(), lane=lane_of(latest, state))

    def _close(self, id_: RequestId, delivered: str | None) -> Result:
        """Drop what is remembered of a request that has ended, with the fingerprint of the certificate it got."""
        known = self._current(id_)
        is_shown_open = known is not None and not known.is_finished
        self.memory.close(id_.uid, lasting=is_shown_open)
        self._approvals.forget(id_.uid)
        self._engine.settle(id_.uid, delivered)
        self._agenda.forget(id_)
        if known is not None and is_shown_open:
            return Result(look_again_at=_loop_time() + ENDED, lane=lane_of(known))
        return OVER

    def _write_pause(self, state: RequestState, error: KubeError) -> float:
        state.writes += 1
        return self._pace.write(state.writes, self._random, error)

    def _current(self, id_: RequestId) -> Request | None:
        """The request in the cache, unless another one has taken its name."""
        request = self._requests.get(id_.key)
        return request if request is not None and request.metadata.uid == id_.uid else None


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _says(request: Request, verdict: Pend) -> bool:
    """Whether a former process has written this already; how often it had tried by then is no matter."""
    return request.told_why == verdict.why and request.told.endswith(verdict.until)


def _turn_due(state: RequestState, verdict: Pend) -> float:
    """Loop time of the next go at the authorities; inf while there is nobody to ask."""
    return math.inf if verdict.retry_in is None else state.turn_due
