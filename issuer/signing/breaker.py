"""A circuit breaker: after some consecutive failures an account is left alone, then tried with exactly one call.

Consecutive failures are counted, not a rate over a window: a hanging API gives one failure a minute, which no rate
notices in a small cluster. The probe is a real signature, because an API may answer everything but signatures.

An `Admission` is the permission for one call, and the place to tell how it went. Results of calls that were admitted
before the breaker last opened or closed are ignored, good ones and bad ones: they tell how things were, the probe
tells how things are. A caller that is cancelled releases its admission, so a probe is never lost with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

JITTER: Final = 0.2
"""An open time is up to this share longer, so that breakers which opened together do not probe together."""

ACCEPTED: Final = 60.0
"""Seconds beyond its turn in which the request of an accepted probe must have come again."""


class BreakerState(StrEnum):
    """Closed lets everything through, open nothing, half-open is one probe under way."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """Consecutive failures that open it; seconds it stays open at first, and at most after failed probes."""

    failures: int = 3
    open_for: float = 30.0
    max_open_for: float = 300.0


class Breaker:
    """The breaker of one account.

    Attributes:
        settings: may be replaced at any time; they apply from the next opening on.
        state: open also when a probe is due that nobody has begun.
        failures: consecutive ones.
        open_until: loop time from which on a probe may go out.
    """

    def __init__(
        self,
        settings: BreakerSettings,
        *,
        clock: Callable[[], float],
        random: random.Random,
        changed: Callable[[BreakerState], None],
    ) -> None:
        self.settings = settings
        self.state = BreakerState.CLOSED
        self.failures = 0
        self.open_until = 0.0
        self._clock = clock
        self._random = random
        self._changed = changed
        self._era = 0
        self._open_for = 0.0
        self._accepted: tuple[str, float] | None = None

    @property
    def closed(self) -> bool:
        """Whether calls go out freely."""
        return self.state is BreakerState.CLOSED

    def permits(self, request: str = "") -> bool:
        """Whether `admit` would give an admission now, for a request."""
        if self.state is BreakerState.HALF_OPEN and self._accepted is not None:
            probe, until = self._accepted
            return request == probe or self._clock() >= until
        return self.closed or (self.state is BreakerState.OPEN and self._clock() >= self.open_until)

    def admit(self, request: str = "") -> Admission | None:
        """Permission for one call, or None. While it is open and a probe is due, the first to come is the probe.

        A probe that was accepted, and not signed yet, goes on when its request comes again.
        """
        if not self.permits(request):
            return None
        self._accepted = None
        if self.closed:
            return Admission(self, self._era, probe=False)
        admission = Admission(self, self._era, probe=True)
        self._become(BreakerState.HALF_OPEN)
        return admission

    def _wait_for(self, era: int, request: str, seconds: float) -> None:
        """The probe was accepted: nobody else is let through until its request comes again, or its time is up."""
        if era == self._era:
            self._accepted = request, self._clock() + seconds + ACCEPTED

    def _tell(self, era: int, *, probe: bool, good: bool | None) -> None:
        if era != self._era:
            return
        if probe:
            self._end_probe(good=good)
        elif good:
            self.failures = 0
        elif good is False:
            self.failures += 1
            if self.failures >= self.settings.failures:
                self._open(self.settings.open_for)

    def _end_probe(self, *, good: bool | None) -> None:
        if good:
            self._era += 1
            self.failures = 0
            self._become(BreakerState.CLOSED)
        elif good is False:
            self.failures += 1
            self._open(self._open_for * 2)
        else:
            self._become(BreakerState.OPEN)

    def _open(self, seconds: float) -> None:
        longest = max(self.settings.max_open_for, self.settings.open_for)
        self._open_for = min(seconds, longest)
        jittered = self._open_for * (1 + self._random.random() * JITTER)
        self.open_until = self._clock() + min(jittered, longest)
        self._era += 1
        self._become(BreakerState.OPEN)

    def _become(self, state: BreakerState) -> None:
        self.state = state
        self._changed(state)


class Admission:
    """Permission for one call; only the first word on how it went counts."""

    __slots__ = ("_breaker", "_era", "_told", "probe")

    def __init__(self, breaker: Breaker, era: int, *, probe: bool) -> None:
        self.probe = probe
        self._breaker = breaker
        self._era = era
        self._told = False

    @property
    def told(self) -> bool:
        """Whether it is known how the call went."""
        return self._told

    @property
    def valid(self) -> bool:
        """Whether the breaker is still as it was when it admitted this call."""
        return not self._told and self._era == self._breaker._era  # noqa: SLF001 - the two are one thing

    def succeeded(self) -> None:
        """It signed: the count starts again; a probe closes the breaker."""
        self._tell(good=True)

    def failed(self) -> None:
        """It is down: counts; a probe opens the breaker again, for twice as long."""
        self._tell(good=False)

    def accepted(self, request: str, seconds: float) -> None:
        """It accepted the request, and has so many seconds to sign it; a probe is under way until then."""
        if not self._told and self.probe:
            self._told = True
            self._breaker._wait_for(self._era, request, seconds)  # noqa: SLF001 - the two are one thing

    def answered(self) -> None:
        """It refused the request for the request's own sake, so it is alive: the count starts again.

        A probe that is refused proves nothing, since a refusal comes before the signing: the next call is the probe.
        """
        self._tell(good=None if self.probe else True)

    def release(self) -> None:
        """The call said nothing about up or down (cancelled, rate-limited, unauthorised): a probe may be made anew."""
        self._tell(good=None)

    def _tell(self, *, good: bool | None) -> None:
        if not self._told:
            self._told = True
            self._breaker._tell(self._era, probe=self.probe, good=good)  # noqa: SLF001 - the two are one thing
