"""What is known of one account: a provider's endpoint together with one credential.

An outage, a rate limit and a refused credential belong to the account, not to the issuer that happened to meet them,
so every issuer that uses an account shares this. Where they configure it differently the strictest wins: the lowest
limits, the fewest failures, the longest open times. Somebody who lowers a limit to protect the account must be able to
rely on it, whoever else uses it.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from issuer.authorities.errors import AuthorityError, RateLimited, Unauthorized, Unavailable
from issuer.signing.breaker import Breaker, BreakerSettings, BreakerState
from issuer.signing.limits import Limits, LimitSettings

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection
    from datetime import datetime

    from issuer.api.issuer import AuthorityCommon
    from issuer.signing.observer import Observer

COOL_DOWN: Final = 30.0
"""Seconds for which a refused credential is not tried again; doubled with each refusal..."""
MAX_COOL_DOWN: Final = 300.0
"""...up to this. Authentication errors of the reference provider come and go (origin-ca-api.md, code 10000)."""
PAUSE: Final = 1.0
"""Seconds without calls after a rate limit that names no time; doubled with each one in a row..."""
MAX_PAUSE: Final = 60.0
"""...up to this."""
_TICK: Final = 0.001
"""Seconds; a rate limit that lasts less than this is over, because timers of the event loop are no more exact."""
_PROBE_GUESS: Final = 5.0
"""Seconds until it is worth looking again while somebody else's probe is under way; its success wakes us sooner."""

log = structlog.get_logger(__name__)


class Account:
    """State of one account, shared by all issuers that use it.

    Attributes:
        name: `Session.account`.
        authority: the name under which it was used last, for metrics and logs.
        breaker: whether it is up.
        limits: how much it is asked.
        limited_until: loop time before which it wants no calls.
        refused_until: loop time before which a refused credential is not tried again.
        refusal: how it refused the credential; None while the credential counts as good.
        last_success: when it last signed, UTC.
        last_failure: when it last failed, UTC.
        last_error: how.
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
        self.authority = ""
        self.breaker = Breaker(BreakerSettings(), clock=clock, random=random, changed=self._breaker_changed)
        self.limits = Limits(LimitSettings(), clock=clock)
        self.limited_until = 0.0
        self.refused_until = 0.0
        self.refusal: Unauthorized | None = None
        self.last_success: datetime | None = None
        self.last_failure: datetime | None = None
        self.last_error: AuthorityError | None = None
        self.used = clock()
        self.awaited = False
        self._clock = clock
        self._now = now
        self._observer = observer
        self._limited_in_a_row = 0
        self._cool_down = 0.0
        self._blocked = asyncio.Event()

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

    def limited(self, retry_after: float | None) -> None:
        """It wants fewer calls, for `retry_after` seconds if it said so."""
        self._limited_in_a_row += 1
        guess = min(MAX_PAUSE, PAUSE * 2.0 ** min(self._limited_in_a_row - 1, 16))
        self.limited_until = max(self.limited_until, self._clock() + (guess if retry_after is None else retry_after))
        self.limits.send_away()

    def refused(self, refusal: Unauthorized) -> None:
        """It refused the credential. Calls that were under way together count as one refusal."""
        self.failed(refusal)
        if self._clock() >= self.refused_until:
            self._cool_down = min(MAX_COOL_DOWN, self._cool_down * 2 or COOL_DOWN)
            self.refused_until = self._clock() + self._cool_down
        self.refusal = refusal
        self.limits.send_away()
        self._observer.refused(self.name)

    def accepted(self) -> None:
        """It accepted the credential."""
        was_refused, self.refusal = self.refusal is not None or self.awaited, None
        self.awaited = False
        self.refused_until = self._cool_down = 0.0
        if was_refused:
            log.info("credential accepted again", authority=self.authority)
            self._observer.recovered(self.name)

    def succeeded(self) -> None:
        """It signed."""
        self.last_success = self._now()
        self._limited_in_a_row = 0
        self.accepted()

    def failed(self, error: AuthorityError) -> None:
        """It did not sign, and that is not the request's fault."""
        self.last_failure, self.last_error = self._now(), error

    def obstacle(self, name: str, *, patience: float = 0.0) -> AuthorityError | None:
        """Why no call may go out now, in the name of an authority, and until when; None if one may.

        Args:
            name: of the authority.
            patience: seconds for which a rate limit may be waited out.
        """
        if not self.breaker.permits:
            when = self.until(self.breaker.open_until)
            probing = self.breaker.state is BreakerState.HALF_OPEN
            hope = "one request is trying it now" if probing else f"it is tried again at {when}"
            return Unavailable(name, f"not asked after {self.failures}, {hope}{self.last_failure_told}")
        return self.reluctance(name, patience=patience)

    def reluctance(self, name: str, *, patience: float = 0.0) -> AuthorityError | None:
        """As `obstacle`, but without the breaker: for a call that has its admission already."""
        if self.refusal and self._clock() < self.refused_until:
            refusal, when = self.refusal, self.until(self.refused_until)
            return Unauthorized(
                name,
                f"{refusal.message} (tried again at {when})",
                status=refusal.status,
                code=refusal.code,
                trace_id=refusal.trace_id,
            )
        left = self.limited_for
        if left > max(0.0, patience):
            return RateLimited(name, f"it wants no calls until {self.until(self.limited_until)}", retry_after=left)
        return None

    @property
    def limited_for(self) -> float:
        """Seconds until it wants calls again; 0 if it does now."""
        left = self.limited_until - self._clock()
        return left if left >= _TICK else 0.0

    @property
    def failures(self) -> str:
        """How often it failed in a row, in words."""
        count = self.breaker.failures
        return "1 failure" if count == 1 else f"{count} failures in a row"

    @property
    def last_failure_told(self) -> str:
        """The end of a message that tells the last error; empty if it has not failed since it last signed."""
        return f"; the last: {self.last_error.told}" if self.breaker.failures and self.last_error else ""

    @property
    def free_in(self) -> float:
        """Seconds until it may be asked again, as far as is known now; 0 if it may be."""
        now = self._clock()
        blocks = [self.limited_for]
        if self.refusal:
            blocks.append(self.refused_until - now)
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
                await self._blocked.wait()
        except TimeoutError:
            return

    def until(self, loop_time: float) -> str:
        """A loop time as wall time for a person, to the second."""
        when = self._now() + timedelta(seconds=max(0.0, loop_time - self._clock()))
        return when.strftime("%H:%M:%SZ")

    def _breaker_changed(self, state: BreakerState) -> None:
        self._observer.breaker(self.name, self.authority, state)
        if state is BreakerState.CLOSED:
            self._blocked.clear()
            self._observer.recovered(self.name)
        else:
            self._blocked.set()
            self.limits.send_away()
