"""What is a reason to look at a request: news of it or its issuer, its deadline, and a resync that trusts none of them.

Nothing is decided here. Each reason takes note in the memory and puts a look into the agenda; what is to be done about
it, `reconcile` finds out.

Whatever concerns many requests at once takes them from an index (`UNFINISHED`), so that a cluster full of finished ones
costs nothing, and `AT_A_TIME` in one turn of the event loop, so that the Lease is renewed and calls go on meanwhile.
"""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from issuer.controllers.decision import History, decisive, expiry
from issuer.controllers.memory import identify, issuer_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from issuer.controllers.agenda import Agenda
    from issuer.controllers.approval import ApprovalWatch
    from issuer.controllers.caches import RequestCaches
    from issuer.controllers.issuercache import IssuerCache, IssuerId
    from issuer.controllers.memory import RequestId, RequestMemory, RequestState
    from issuer.controllers.port import Request
    from issuer.kube.informer import Change, Informer
    from issuer.signing.plan import Issued, NotIssued

T = TypeVar("T")

WRITES: Final = "writes"
"""The lane of all writes: a result does not queue behind signing, nor signing behind an API server that hangs."""
UNFINISHED: Final = "unfinished by issuer"
"""The index of requests that have not ended by the issuer that they name (`issuers_waited_for`)."""
NEVER: Final = datetime.max.replace(tzinfo=UTC)
AT_A_TIME: Final = 100
"""Requests that are looked at before others have the event loop."""


class RequestTriggers:
    """Reasons to look at requests.

    Args:
        suspect: told the UID of each request that a former process may have signed.
        healed: told how many requests a resync had to take up again because something had lost them.
        expires: when the certificate ends that a request is to take the place of; None: not known.
    """

    def __init__(
        self,
        *,
        requests: Informer[Any] | RequestCaches,
        book: IssuerCache,
        memory: RequestMemory,
        agenda: Agenda[RequestId],
        approvals: ApprovalWatch,
        suspect: Callable[[str], None],
        now: Callable[[], datetime],
        healed: Callable[[int], None],
        expires: Callable[[Request], datetime | None] = lambda _: None,
    ) -> None:
        self._requests = requests
        self._book = book
        self._memory = memory
        self._agenda = agenda
        self._approvals = approvals
        self._suspect = suspect
        self._now = now
        self._healed = healed
        self._expires = expires
        self._started: datetime | None = None
        self._woken: dict[str, None] = {}
        """UIDs of requests that were woken and are not in the agenda yet, in that order."""
        self._waking: asyncio.Handle | None = None
        requests.add_index(UNFINISHED, issuers_waited_for)
        requests.add_handler(self.observe)

    async def start(self) -> None:
        """Begin, with the cache as it is now.

        Whatever was approved before this moment may have been in the hands of another process, which may have had it
        signed: the first go looks for that at the provider before it asks for a certificate. Some of it is seen later,
        see `_meet`.
        """
        self._started = self._now()
        async for request in self._unfinished():
            if request.is_approved:
                self._suspect(request.metadata.uid)
            self._schedule(request, self._memory.note(request, self._now()))

    def observe(self, change: Change[Request]) -> None:
        """Take note of a change in the cache; our own writes of conditions are no reason to look again.

        A request that is new to the memory is looked at in any case: what would have been the reason may have got lost.
        """
        request = change.new or change.old
        if request is None or not self._concerns(request):
            return
        uid = request.metadata.uid
        state = known = self._memory.get(uid)
        if change.new is None or request.is_finished:
            self._approvals.forget(uid)
            if state is None or not self._started:
                self._memory.close(uid, lasting=False)
                return
        else:
            state = self._meet(request)
        if self._started and (_matters(change) or state is not known):
            self._schedule(request, state)

    def wake(self, issuer: IssuerId | None = None) -> None:
        """Take up pending requests now: of one issuer that has changed or whose authority is back, or all.

        They may have their turn from this moment on, and go into the agenda some at a time: a page of issuers that have
        all changed wakes thousands. Of one issuer those come first whose present certificate ends first.
        """
        for one in self._requests.index_values(UNFINISHED) if issuer is None else (issuer,):
            for request in sorted(self._requests.by_index(UNFINISHED, one), key=self._urgency):
                if (state := self._memory.get(request.metadata.uid)) is not None:
                    state.turn_due = -math.inf
                    self._wake_soon(request.metadata.uid)

    def wake_one(self, uid: str) -> None:
        """Take up a pending request now."""
        if (state := self._memory.get(uid)) is not None:
            state.turn_due = -math.inf
            self._wake_soon(uid)

    async def resync(self) -> int:
        """Look for requests that nobody would look at again, and take them up; how many there were.

        There should be none, ever. But a defect that loses one would leave it Pending until the next restart, and that
        is what this program exists to prevent.
        """
        lost = 0
        async for request in self._unfinished():
            state = self._meet(request)
            lost += state is not None and self._heal(state)
        async for state in _in_turns(self._memory.all()):
            if self._memory.get(state.request.metadata.uid) is state:
                lost += self._heal(state)
        async for id_ in _in_turns(self._memory.waiting()):
            shown = self._requests.get(id_.key)
            is_gone = shown is None or shown.metadata.uid != id_.uid or shown.is_finished
            if is_gone and self._memory.get(id_.uid) is None:
                self._approvals.forget(id_.uid)
                self._memory.close(id_.uid, lasting=False)
        self._healed(lost)
        return lost

    def expect(self, state: RequestState) -> None:
        """Have the request looked at at its deadline, whatever else happens to it."""
        if (deadline := self._deadline(state)) is not None:
            self._agenda.expect(state.id, lane_of(state.request), deadline)

    def expiry(self, state: RequestState, now: datetime) -> datetime:
        """When an approved request is Failed at the latest."""
        entry = self._book.find(issuer_of(state.request))
        return expiry(state.request, entry.view if entry else None, now, self.history(state.request, state))

    def history(
        self, request: Request, state: RequestState | None, outcome: Issued | NotIssued | None = None
    ) -> History:
        """What `decide` has to know of the past; `outcome` of a go that has just ended."""
        known = self._book.deadline(issuer_of(request))
        if state is None:
            return History(known_deadline=known)
        return History(
            had_turn=state.had_turn,
            last=state.last,
            outcome=outcome or state.issued,
            turns=state.turns,
            seen=state.seen,
            known_deadline=known,
        )

    def _urgency(self, request: Request) -> datetime:
        return self._expires(request) or NEVER

    def _meet(self, request: Request) -> RequestState | None:
        """Take note of an unfinished request; one that is new to us may be old."""
        is_new = self._memory.get(request.metadata.uid) is None
        state = self._memory.note(request, self._now())
        if is_new and state is not None and self._started:
            approved = request.approved_at
            # Times of approvals are whole seconds; one of the second in which we began is seen by us alone.
            if approved is None or approved < self._started.replace(microsecond=0):
                self._suspect(request.metadata.uid)
        return state

    async def _unfinished(self) -> AsyncIterator[Request]:
        """Every request of ours that has not ended, as it is at the moment when it is its turn."""
        by_issuer = (self._requests.by_index(UNFINISHED, issuer) for issuer in self._requests.index_values(UNFINISHED))
        async for request in _in_turns(chain.from_iterable(by_issuer)):
            now = self._requests.get(request.metadata.key)
            if now is not None and not now.is_finished and self._concerns(now):
                yield now

    def _wake_soon(self, uid: str) -> None:
        self._woken.setdefault(uid)
        if self._waking is None:
            self._waking = asyncio.get_running_loop().call_soon(self._wake_some)

    def _wake_some(self) -> None:
        for uid in list(islice(self._woken, AT_A_TIME)):
            del self._woken[uid]
            if (state := self._memory.get(uid)) is not None and self._started:
                self.expect(state)
                self._agenda.wake(state.id, lane_of(state.request, state))
        self._waking = asyncio.get_running_loop().call_soon(self._wake_some) if self._woken else None

    def _schedule(self, request: Request, state: RequestState | None) -> None:
        if state is not None:
            self.expect(state)
        self._agenda.changed(identify(request), lane_of(request, state))

    def _heal(self, state: RequestState) -> bool:
        return self._agenda.heal(state.id, lane_of(state.request, state), self._deadline(state))

    def _deadline(self, state: RequestState) -> float | None:
        """Loop time of the deadline, if it has one that is still to come."""
        if not state.request.is_approved:
            return None
        now = self._now()
        left = (self.expiry(state, now) - now) / timedelta(seconds=1)
        return asyncio.get_running_loop().time() + left if left > 0 else None

    def _concerns(self, request: Request) -> bool:
        return self._book.serves(request.issuer_ref)


def issuers_waited_for(request: Request) -> tuple[IssuerId, ...]:
    """Of the index `UNFINISHED`: the issuer that a request names, unless it has ended."""
    return () if request.is_finished else (issuer_of(request),)


def lane_of(request: Request, state: RequestState | None = None) -> str:
    """Where a request is looked at: its issuer's lane, or that of the writes if there is one to do first."""
    return WRITES if state is not None and state.writes_next else str(issuer_of(request))


def _matters(change: Change[Request]) -> bool:
    """Whether a change is more than what we write ourselves: the Ready condition and ours."""
    old, new = change.old, change.new
    return old is None or new is None or decisive(old) != decisive(new)


async def _in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """Each of them, with a turn for everybody else after every so many."""
    for number, item in enumerate(items, 1):
        yield item
        if number % AT_A_TIME == 0:
            await asyncio.sleep(0)
