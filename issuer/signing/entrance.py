"""What a call has to get past before it goes out: the account's state, the breaker, a token and a place in flight.

The breaker comes before the queue, so that while it is half open exactly one call waits for a place, and everybody
else moves on at once. After each wait all of it is looked at again, because the account may have changed meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from issuer.authorities.errors import AuthorityError, RateLimited, Unavailable
from issuer.signing.budget import LEAST
from issuer.signing.limits import SentAwayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.signing.account import Account
    from issuer.signing.breaker import Admission
    from issuer.signing.budget import Budget
    from issuer.signing.limits import Slot

PROBE_PATIENCE: Final = 1.0
"""Seconds that a probe waits for a free place. Calls that hang since before the breaker opened may hold them all, and
the request is better off at the next authority than behind them."""


class NotAdmittedError(Exception):
    """No call was made.

    Attributes:
        failure: why, as an error of the authority.
        asked: False if it was only our own queue that took too long.
    """

    def __init__(self, failure: AuthorityError, *, asked: bool) -> None:
        super().__init__(failure)
        self.failure = failure
        self.asked = asked


class Entrance:
    """The way in for the calls of one turn.

    Args:
        name: of the authority.
        budget: of the turn; it is started when the first call gets in.
        clock: loop time.
        patient: a rate limit that ends within the turn is waited out.
    """

    def __init__(self, name: str, budget: Budget, *, clock: Callable[[], float], patient: bool) -> None:
        self._name = name
        self._budget = budget
        self._clock = clock
        self._patient = patient

    def turn_away(self, account: Account) -> None:
        """End the turn before it has begun while the breaker is open: in an outage that is what most turns come to.

        Raises:
            NotAdmittedError: it is open.
        """
        if not account.breaker.permits and (obstacle := account.obstacle(self._name)):
            raise NotAdmittedError(obstacle, asked=True)

    async def admitted(self, account: Account) -> tuple[Admission, Slot]:
        """Wait until a call may go out.

        Raises:
            NotAdmittedError: it may not, in this turn.
        """
        while True:
            await self._unobstructed(account)
            admission = account.breaker.admit()
            if admission and (slot := await self._slot(account, admission)):
                return admission, slot

    def still_admitted(self, account: Account, admission: Admission) -> None:
        """Whether a call may go out after a wait.

        Raises:
            NotAdmittedError: it may not.
        """
        obstacle = account.reluctance(self._name) if admission.valid else account.obstacle(self._name)
        if obstacle or not admission.valid:
            failure = obstacle or Unavailable(self._name, "it went down and came back meanwhile")
            raise NotAdmittedError(failure, asked=True)
        if self._budget.left < LEAST:
            message = f"no time left for it before the deadline{account.last_failure_told}"
            raise NotAdmittedError(Unavailable(self._name, message), asked=False)

    async def _unobstructed(self, account: Account) -> None:
        """Wait for the end of a rate limit if the turn is long enough; nobody waits with a probe."""
        while True:
            patient = self._patient and account.breaker.closed
            obstacle = account.obstacle(self._name, patience=self._budget.left - LEAST if patient else 0.0)
            if obstacle:
                raise NotAdmittedError(obstacle, asked=True)
            if not account.limited_for:
                return
            self._budget.start()
            await account.pause(account.limited_for)

    async def _slot(self, account: Account, admission: Admission) -> Slot | None:
        """A token and a place in flight; None if we were sent away, so look at the account again."""
        begun = self._clock()
        until = self._budget.queue_until
        slot = None
        try:
            slot = await account.limits.acquire(min(until, begun + PROBE_PATIENCE) if admission.probe else until)
        except SentAwayError:
            return None
        except TimeoutError:
            raise NotAdmittedError(self._queued_in_vain(account, admission), asked=admission.probe) from None
        finally:
            self._budget.queued(self._clock() - begun)
            if slot is None:
                admission.release()
        self._budget.start()
        try:
            self.still_admitted(account, admission)
        except NotAdmittedError:
            admission.release()
            slot.release(unused=True)
            raise
        return slot

    def _queued_in_vain(self, account: Account, admission: Admission) -> AuthorityError:
        limits = account.limits
        if admission.probe:
            return Unavailable(self._name, "all its places are taken by calls from before it went down")
        return RateLimited(
            self._name,
            f"its turn did not come in time: {limits.waiting} more wait for our own limits"
            f" ({limits.settings.rate:g} calls a second, {limits.settings.in_flight} under way at a time)",
        )
