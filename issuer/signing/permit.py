"""The permit: the permission for one signature at an account, and the one place where is noted what came of it.

To get one, a call waits for the end of a rate limit if that is soon, asks the breaker, and
queues for a token and a place in flight; after each wait all of it is looked at again, because the account may have
changed meanwhile. What is blocked turns it away at once, so that the next authority gets its chance.

What comes out of the call is noted in one place, `Permit.failed`:

    what came                   breaker          credential               limit
    signed                      closes           accepted                 over
    Unavailable                 counts           -                        -
      cut off too soon          -                -                        -
      wrong certificate         counts once a request; not at all where only an issuer's own roots are missed
    RateLimited                 -                -                        until Retry-After, or growing pauses
    Unauthorized                -                refused, cools down      -
    Rejected                    it is alive      accepted                 -
    Unsupported, InProgress     -                -                        -
    cancelled                   -                -                        -

An account whose credential was refused gives one permit when the cool-down is over, and no other until that is back.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from issuer.authorities.base import CallTimeouts
from issuer.authorities.errors import AuthorityError, RateLimited, Rejected, Unauthorized, Unavailable
from issuer.signing.failures import (
    BreakerOpen,
    CutOff,
    NotAsked,
    NoTime,
    PlacesTaken,
    QueueTooLong,
    Untrusted,
    WrongCertificate,
)
from issuer.signing.limits import SentAwayError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from issuer.api.issuer import Timeouts
    from issuer.signing.account import Account
    from issuer.signing.breaker import Admission
    from issuer.signing.budget import Budget
    from issuer.signing.limits import Slot

PROBE_PATIENCE: Final = 1.0
"""Seconds that a probe waits for a free place. Calls that hang since before the breaker opened may hold them all, and
the request is better off at the next authority than behind them."""


@asynccontextmanager
async def permit(
    account: Account, authority: str, uid: str, timeouts: Timeouts, budget: Budget, *, patient: bool = True
) -> AsyncIterator[Permit]:
    """Wait for the permission for one signature, and note what comes of it.

    Args:
        account: of which.
        authority: the name under which it is asked.
        uid: of the request.
        timeouts: of the authority.
        budget: of the turn; started when the first call is let through.
        patient: a rate limit that ends soon is waited out.

    Raises:
        AuthorityError: of `failures.NotAsked`: there is none in this turn. Or what the block raised.
    """
    while True:
        await _unblocked(account, authority, uid, budget, patient=patient)
        admission = account.breaker.admit(uid)
        if admission and (slot := await _slot(account, authority, admission, budget)):
            break
    given = Permit(account, authority, uid, admission, slot, budget, timeouts)
    if account.is_refused and account.trial is None:
        account.trial = given
    try:
        given.begin()
        yield given
    except AuthorityError as error:
        given.failed(error)
        raise
    finally:
        if account.trial is given:
            account.trial = None
        given.release()


async def _unblocked(account: Account, authority: str, uid: str, budget: Budget, *, patient: bool) -> None:
    """Wait for the end of a rate limit if that is soon; nobody waits with a probe."""
    while True:
        waits = patient and account.breaker.closed
        if blocked := account.blocked(authority, uid, patience=budget.patience if waits else 0.0):
            raise blocked
        if not account.limited_for:
            return
        begun = account.clock()
        await account.pause(account.limited_for)
        budget.stand_still(account.clock() - begun, limited=True)


async def _slot(account: Account, authority: str, admission: Admission, budget: Budget) -> Slot | None:
    """A token and a place in flight; None if we were sent away, so look at the account again."""
    begun, until, limits = account.clock(), budget.queue_until, account.limits
    slot = None
    try:
        slot = await limits.acquire(min(until, begun + PROBE_PATIENCE) if admission.probe else until)
    except SentAwayError:
        return None
    except TimeoutError:
        if admission.probe:
            raise PlacesTaken(authority) from None
        raise QueueTooLong(authority, waiting=limits.waiting, settings=limits.settings) from None
    finally:
        budget.stand_still(account.clock() - begun)
        if slot is None:
            admission.release()
    budget.start()
    return slot


class Permit:
    """The permission for one signature, and for the look that comes before it.

    Attributes:
        probe: whether it is the breaker's one probe.
    """

    def __init__(
        self,
        account: Account,
        authority: str,
        uid: str,
        admission: Admission,
        slot: Slot,
        budget: Budget,
        timeouts: Timeouts,
    ) -> None:
        self.probe = admission.probe
        self._account = account
        self._authority = authority
        self._uid = uid
        self._admission = admission
        self._slot = slot
        self._budget = budget
        self._timeouts = timeouts

    def begin(self) -> None:
        """As `check`, before anything went out with it.

        Raises:
            AuthorityError: of `failures.NotAsked`.
        """
        try:
            self.check()
        except AuthorityError:
            self._slot.release(unused=True)
            raise

    async def renew(self) -> None:
        """Make ready for the POST, after a look has used up what was there for it.

        Raises:
            AuthorityError: as `check`.
        """
        begun = self._account.clock()
        try:
            await self._slot.prepay(self._budget.end)
        except TimeoutError:
            limits = self._account.limits
            raise QueueTooLong(self._authority, waiting=limits.waiting, settings=limits.settings) from None
        self._budget.stand_still(self._account.clock() - begun)
        self.check()

    def check(self) -> None:
        """Whether the call may still go out; things may have changed during a wait.

        Raises:
            AuthorityError: of `failures.NotAsked`: it may not.
        """
        account = self._account
        if not self._admission.valid:
            last = account.recent_error
            blocked = account.blocked(self._authority)
            raise blocked or BreakerOpen(self._authority, failures=account.breaker.failures, until=None, last=last)
        if blocked := account.unwilling(self._authority, own=self):
            raise blocked
        if self._budget.left < self._budget.least(account.usual):
            raise NoTime(self._authority, last=account.recent_error)

    def timeouts(self, end: float) -> CallTimeouts:
        """The timeouts of a call that has to end at the loop time `end`."""
        return call_timeouts(self._timeouts, self._slot, end - self._account.clock(), end)

    def answered(self) -> None:
        """The answer is there; the next call may go out before it is checked."""
        self._slot.release()

    def accepted(self, seconds: float) -> None:
        """It has accepted the request, and has so many seconds to sign it. A probe goes on meanwhile."""
        self._admission.accepted(self._uid, seconds)

    def signed(self, seconds: float) -> None:
        """It signed, in so many seconds."""
        self._admission.succeeded()
        self._account.signed(seconds)

    def failed(self, error: AuthorityError) -> None:
        """Note what a failure says of the account; only the first one counts, and none that it is not to blame for."""
        account, admission = self._account, self._admission
        if admission.told or isinstance(error, NotAsked | Untrusted):
            return
        if isinstance(error, Unavailable):
            counts = error.counts
            if isinstance(error, CutOff):
                counts = self._budget.is_fair(error.after)
                error.is_short = not counts
            elif isinstance(error, WrongCertificate):
                counts = account.is_first_wrong(self._uid)
            if not (isinstance(error, CutOff) and error.is_short):
                account.failed(error)
            (admission.failed if counts else admission.release)()
        elif isinstance(error, RateLimited):
            account.limited(error.retry_after)
            account.failed(error)
            admission.release()
        elif isinstance(error, Unauthorized):
            account.refused(error)
            admission.release()
        elif isinstance(error, Rejected):
            account.accepted()
            admission.answered()

    def release(self) -> None:
        """Give everything back."""
        self._admission.release()
        self._slot.release()


def call_timeouts(timeouts: Timeouts, slot: Slot, seconds: float, end: float) -> CallTimeouts:
    """The timeouts of a call that has so many seconds, to the loop time `end`."""
    left = max(0.0, seconds)
    return CallTimeouts(
        connect=min(timeouts.connect.seconds, left),
        read=min(timeouts.read.seconds, left),
        token=lambda: slot.token(end),
    )
