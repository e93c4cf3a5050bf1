"""What is a reason to look at a request: news of it or its issuer, its deadline, and a resync that trusts none of them.

Nothing is decided here. Each reason takes note in the memory and puts a look into the agenda; what is to be done about
it, `reconcile` finds out.
"""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from issuer.controllers.decision import History, decisive, expiry
from issuer.controllers.memory import identify, issuer_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from issuer.api.request import CertificateRequest
    from issuer.controllers.agenda import Agenda
    from issuer.controllers.approval import ApprovalWatch
    from issuer.controllers.book import IssuerBook, IssuerId
    from issuer.controllers.memory import RequestId, RequestMemory, RequestState
    from issuer.kube.informer import Change, Informer
    from issuer.signing.plan import Issued, NotIssued

WRITES: Final = "writes"
"""The lane of all writes: a result does not queue behind signing, nor signing behind an API server that hangs."""
CLOCKS: Final = timedelta(seconds=2)
"""How far the API server's clock and ours may be apart, and its whole seconds from the truth."""
AT_A_TIME: Final = 1000
"""Requests that the resync looks at before it lets others have the loop."""


class RequestTriggers:
    """Reasons to look at requests.

    Args:
        suspect: told the UID of each request that a former process may have signed.
        healed: told how many requests a resync had to take up again because something had lost them.
    """

    def __init__(
        self,
        *,
        requests: Informer[CertificateRequest],
        book: IssuerBook,
        memory: RequestMemory,
        agenda: Agenda[RequestId],
        approvals: ApprovalWatch,
        suspect: Callable[[str], None],
        now: Callable[[], datetime],
        healed: Callable[[int], None],
    ) -> None:
        self._requests = requests
        self._book = book
        self._memory = memory
        self._agenda = agenda
        self._approvals = approvals
        self._suspect = suspect
        self._now = now
        self._healed = healed
        self._started: datetime | None = None

    def start(self) -> None:
        """Begin, with the cache as it is now.

        Whatever was approved before this moment may have been in the hands of another process, which may have had it
        signed: the first go looks for that at the provider before it asks for a certificate. Some of it is seen later,
        see `_meet`.
        """
        self._started = self._now()
        for request in self._requests.items():
            if self._concerns(request) and not request.is_finished:
                self._suspect(request.metadata.uid)
                self._schedule(request, self._memory.note(request, self._now()))

    def observe(self, change: Change[CertificateRequest]) -> None:
        """Take note of a change in the cache; our own writes of conditions are no reason to look again."""
        request = change.new or change.old
        if request is None or not self._concerns(request):
            return
        uid = request.metadata.uid
        if change.new is None or request.is_finished:
            self._approvals.forget(uid)
            state = self._memory.get(uid)
            if state is None or not self._started:
                self._memory.close(uid, lasting=False)
                return
        else:
            state = self._meet(request)
        if self._started and _matters(change):
            self._schedule(request, state)

    def wake(self, issuer: IssuerId | None = None) -> None:
        """Take up pending requests now: of one issuer that has changed or whose authority is back, or all."""
        for state in self._memory.all() if issuer is None else self._memory.of(issuer):
            state.turn_due = -math.inf
            self.expect(state)
            if self._started:
                self._agenda.wake(state.id, lane_of(state.request, state))

    async def resync(self) -> int:
        """Look for requests that nobody would look at again, and take them up; how many there were.

        There should be none, ever. But a defect that loses one would leave it Pending until the next restart, and that
        is what this program exists to prevent.
        """
        lost = 0
        for number, request in enumerate(self._requests.items(), 1):
            if self._concerns(request) and not request.is_finished:
                state = self._meet(request)
                lost += state is not None and self._heal(state)
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)
        lost += sum(self._heal(state) for state in self._memory.all())
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
        self, request: CertificateRequest, state: RequestState | None, outcome: Issued | NotIssued | None = None
    ) -> History:
        """What `decide` has to know of the past; `outcome` of a go that has just ended."""
        known = self._book.deadline(issuer_of(request))
        if state is None:
            return History(known_deadline=known)
        return History(
            had_turn=state.had_turn,
            last=state.last,
            outcome=outcome or state.issued,
            seen=state.seen,
            known_deadline=known,
        )

    def _meet(self, request: CertificateRequest) -> RequestState | None:
        """Take note of an unfinished request; one that is new to us may be old."""
        is_new = self._memory.get(request.metadata.uid) is None
        state = self._memory.note(request, self._now())
        if is_new and state is not None and self._started:
            approved = request.approved_at
            if approved is None or approved <= self._started + CLOCKS:
                self._suspect(request.metadata.uid)
        return state

    def _schedule(self, request: CertificateRequest, state: RequestState | None) -> None:
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

    def _concerns(self, request: CertificateRequest) -> bool:
        return self._book.serves(request.spec.issuer_ref)


def lane_of(request: CertificateRequest, state: RequestState | None = None) -> str:
    """Where a request is looked at: its issuer's lane, or that of the writes if there is one to do first."""
    return WRITES if state is not None and state.writes_next else str(issuer_of(request))


def _matters(change: Change[CertificateRequest]) -> bool:
    """Whether a change is more than what we write ourselves: the Ready condition and ours."""
    old, new = change.old, change.new
    return old is None or new is None or decisive(old) != decisive(new)
