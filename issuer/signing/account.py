"""What is known of one account: a provider's endpoint together with one credential.

An outage, a rate limit and a refused credential belong to the account, not to the issuer that happened to meet them,
so every issuer that uses an account shares this. Where they configure it differently the strictest wins: the lowest
limits, the fewest failures, the longest open times. Somebody who lowers a limit to protect the account must be able to
rely on it, whoever else uses it.

A call goes out with a permit (`issuer.signing.permit`).

A credential that was refused is not tried again before its cool-down is over, and then by one call. What a signature
found only a signature takes back: a token that lives without the right to sign passes every cheap check. What a check
found is taken back by a check or by a signature.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from issuer.signing.breaker import Breaker, BreakerSettings, BreakerState
from issuer.signing.failures import BreakerOpen, CredentialRefused, LimitInForce
from issuer.signing.limits import Limits, LimitSettings
from issuer.signing.observer import AccountUser, BreakerChange

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection
    from datetime import datetime

    from issuer.api.issuer import AuthorityCommon
    from issuer.authorities.errors import AuthorityError, Unauthorized
    from issuer.signing.observer import Observer

COOL_DOWN: Final = 30.0
"""Seconds for which a refused credential is not tried again; doubled with each refusal..."""
MAX_COOL_DOWN: Final = 300.0
"""...up to this. Authentication errors of the reference provider come and go (origin-ca-api.md, code 10000)."""
PAUSE: Final = 1.0
"""Seconds without calls after a rate limit that names no time; doubled with each consecutive one..."""
MAX_PAUSE: Final = 60.0
"""...up to this."""
FADING: Final = 0.8
"""Share of what calls used to take that stays when one takes less."""
_TICK: Final = 0.001
"""Seconds; a rate limit that lasts less than this is over, because timers of the event loop are no more exact."""
TELL_EVERY: Final = 60.0
"""Seconds between two times that its issuers are told of a first failure: each writes its status then, and one account
may serve hundreds. Failing every other call is no news."""
_PROBE_GUESS: Final = 5.0
"""Seconds until it is worth looking again while somebody else's probe is under way; its success wakes us sooner."""
_MOST_WRONG: Final = 1000
"""Requests that are remembered for having got a wrong certificate."""

log = structlog.get_logger(__name__)


class Account:
    """State of one account, shared by all issuers that use it.

    Attributes:
        name: `Session.account`.
        user: who used it last, for metrics and logs.
        breaker: whether it is up.
        limits: how much it is asked.
        limited_until: loop time before which it wants no calls.
        refused_until: loop time before which a refused credential is not tried again.
        refusal: how it refused the credential to a signature; None while that counts as good.
        check_refusal: the same, to a check.
        check_error: what else was wrong in the last check; None if nothing was.
        check_passed: the last check found nothing wrong.
        usual: seconds that a signature took lately; None if none is known.
        last_success: when it last signed, UTC.
        last_failure: when it last failed, UTC.
        last_error: how.
        trial: the call that tries a refused credential again; None while there is none.
        checked: loop time of the last check.
        checking: held by whoever checks.
        used: loop time of the last use.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        random: random.Random,
        observer: Observer,
    ) -> None:
        self.name = name
        self.user = AccountUser()
        self.breaker = Breaker(BreakerSettings(), clock=clock, random=random, changed=self._breaker_changed)
        self.limits = Limits(LimitSettings(), clock=clock)
        self.limited_until = 0.0
        self.refused_until = 0.0
        self.refusal: Unauthorized | None = None
        self.check_refusal: Unauthorized | None = None
        self.check_error: AuthorityError | None = None
        self.check_passed = False
        self.usual: float | None = None
        self.last_success: datetime | None = None
        self.last_failure: datetime | None = None
        self.last_error: AuthorityError | None = None
        self.checked = float("-inf")
        self.checking = asyncio.Lock()
        self.used = clock()
        self.clock = clock
        self._now = now
        self._observer = observer
        self._consecutive_limits = 0
        self._cool_down = 0.0
        self._is_well = True
        self._tell_again = float("-inf")
        self.trial: object | None = None
        self._wrong: dict[str, None] = {}
        self._blocking = asyncio.Event()
        self._opens_when = now()

    def configure(self, specs: Collection[AuthorityCommon]) -> None:
        """Take the strictest of what the issuers that share this account say."""
        breakers = [spec.circuit_breaker for spec in specs]
        limits = [spec.limits for spec in specs]
        self.breaker.settings = BreakerSettings(
            failures=min(b.consecutive_failures for b in breakers),
            open_for=max(b.open_for.seconds for b in breakers),
            max_open_for=max(b.max_open_for.seconds for b in breakers),
        )
        strictest = LimitSettings(
            rate=min(one.requests_per_second for one in limits),
            burst=min(one.burst for one in limits),
            in_flight=min(one.in_flight for one in limits),
        )
        if strictest != self.limits.settings:
            self.limits.settings = strictest

    def blocked(self, authority: str, uid: str = "", *, patience: float = 0.0) -> AuthorityError | None:
        """Why no call may go out now, in the name of an authority; None if one may.

        Args:
            authority: its name.
            uid: of the request that it would be for.
            patience: seconds for which a rate limit may be waited out.
        """
        if not self.breaker.permits(uid):
            probing = self.breaker.state is BreakerState.HALF_OPEN
            until = None if probing else self._opens_when
            return BreakerOpen(authority, failures=self.breaker.failures, until=until, last=self.recent_error)
        return self.unwilling(authority, patience=patience)

    def limited(self, retry_after: float | None) -> None:
        """It wants fewer calls, for `retry_after` seconds if it said so."""
        self._consecutive_limits += 1
        guess = min(MAX_PAUSE, PAUSE * 2.0 ** min(self._consecutive_limits - 1, 16))
        self.limited_until = max(self.limited_until, self.clock() + (guess if retry_after is None else retry_after))
        self.limits.send_away()

    def refused(self, refusal: Unauthorized) -> None:
        """It refused the credential to a signature. Calls that were under way together count as one refusal."""
        self._refused(refusal)
        self.refusal = refusal

    def check_refused(self, refusal: Unauthorized) -> None:
        """It refused the credential to a check."""
        self._refused(refusal)
        self.check_refusal = refusal
        self.check_passed = False

    def check_accepted(self) -> None:
        """It accepted the credential for a check, which says nothing of signing."""
        self.check_error = None
        self.check_passed = True
        self._accept(signed=False)

    def check_failed(self, error: AuthorityError) -> None:
        """A check found something wrong but the credential; that holds until the next one."""
        self.error(error)
        self.check_error = error
        self.check_passed = False

    def accepted(self) -> None:
        """It accepted the credential for a signature, or refused the request for its own sake."""
        self._accept(signed=True)

    def error(self, error: AuthorityError) -> None:
        """It did not do what it was asked, and that is not the request's fault."""
        self.last_failure, self.last_error = self._now(), error

    def failed(self, error: AuthorityError) -> None:
        """It did not sign. The first failure since it signed is told, long before a breaker has counted enough."""
        is_first = self._is_well
        self._is_well = False
        self.error(error)
        if is_first and self.clock() >= self._tell_again:
            self._tell_again = self.clock() + TELL_EVERY
            self._observer.failing(self.name)

    @property
    def limited_for(self) -> float:
        """Seconds until it wants calls again; 0 if it does now."""
        left = self.limited_until - self.clock()
        return left if left >= _TICK else 0.0

    @property
    def limited_when(self) -> datetime:
        """When it wants calls again, UTC."""
        return self._when(self.limited_until)

    @property
    def opens_when(self) -> datetime:
        """When an open breaker lets a probe through, or did, UTC; the same at each look, to the microsecond."""
        return self._opens_when

    @property
    def is_untested(self) -> bool:
        """The breaker's open time is over, and nobody has come since."""
        return self.breaker.state is BreakerState.OPEN and self.breaker.permits()

    @property
    def is_refused(self) -> bool:
        """It has refused the credential, to a signature or to a check."""
        return self.refusal is not None or self.check_refusal is not None

    @property
    def free_in(self) -> float:
        """Seconds until it may be asked again, as far as is known now; 0 if it may be."""
        now = self.clock()
        blocks = [self.limited_for]
        if self.is_refused:
            blocks.append(_PROBE_GUESS if self.trial else self.refused_until - now)
        if self.breaker.state is BreakerState.HALF_OPEN:
            blocks.append(_PROBE_GUESS)
        elif not self.breaker.closed:
            blocks.append(self.breaker.open_until - now)
        return max(0.0, *blocks)

    @property
    def idle(self) -> bool:
        """Nothing is under way and nobody waits."""
        return not self.limits.in_flight and not self.limits.waiting

    async def pause(self, seconds: float) -> None:
        """Sleep, but no longer than the breaker stays closed."""
        try:
            async with asyncio.timeout(seconds):
                await self._blocking.wait()
        except TimeoutError:
            return

    def unwilling(self, authority: str, *, patience: float = 0.0, own: object | None = None) -> AuthorityError | None:
        """As `blocked`, but without the breaker: for a call that has its permit already."""
        refusal = self.refusal or self.check_refusal
        if refusal and self.trial not in (None, own):
            return CredentialRefused(authority, refusal, until=None)
        if refusal and self.clock() < self.refused_until:
            return CredentialRefused(authority, refusal, until=self._when(self.refused_until))
        left = self.limited_for
        if left > max(0.0, patience):
            return LimitInForce(authority, until=self._when(self.limited_until), seconds=left)
        return None

    @property
    def recent_error(self) -> AuthorityError | None:
        """How it failed the last time, if it has not signed since."""
        return self.last_error if self.breaker.failures else None

    def _refused(self, refusal: Unauthorized) -> None:
        self.error(refusal)
        if self.clock() >= self.refused_until:
            self._cool_down = min(MAX_COOL_DOWN, self._cool_down * 2 or COOL_DOWN)
            self.refused_until = self.clock() + self._cool_down
        self.limits.send_away()
        self._observer.refused(self.name)

    def _accept(self, *, signed: bool) -> None:
        was_refused = self.check_refusal is not None or (signed and self.refusal is not None)
        self.check_refusal = None
        if signed:
            self.refusal = None
        if self.refusal is None:
            self.refused_until = self._cool_down = 0.0
        if was_refused and self.refusal is None:
            log.info("credential accepted again", **self.user.fields)
            self._observer.recovered(self.name)

    def signed(self, seconds: float) -> None:
        """It signed, in so many seconds."""
        self.usual = seconds if self.usual is None else max(seconds, FADING * self.usual + (1 - FADING) * seconds)
        is_first, self.last_success = self.last_success is None, self._now()
        self._consecutive_limits = 0
        self._is_well = True
        self._wrong.clear()
        self._accept(signed=True)
        if is_first:
            self._observer.proven(self.name)

    def is_first_wrong(self, uid: str) -> bool:
        """Whether this request has not had a wrong certificate before; three of one request prove no more than one."""
        is_first = uid not in self._wrong
        self._wrong[uid] = None
        if len(self._wrong) > _MOST_WRONG:
            del self._wrong[next(iter(self._wrong))]
        return is_first

    def _when(self, loop_time: float) -> datetime:
        """A loop time as wall time."""
        return self._now() + timedelta(seconds=loop_time - self.clock())

    def _breaker_changed(self, state: BreakerState) -> None:
        if state is BreakerState.OPEN:
            self._opens_when = self._when(self.breaker.open_until)
        self._observer.breaker(
            BreakerChange(
                account=self.name,
                user=self.user,
                state=state,
                failures=self.breaker.failures,
                error=self.recent_error,
                next_probe=self._opens_when if state is BreakerState.OPEN else None,
            )
        )
        if state is BreakerState.CLOSED:
            self._blocking.clear()
            self._observer.recovered(self.name)
        else:
            self._blocking.set()
            self.limits.send_away()
