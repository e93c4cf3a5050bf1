"""How long one go at one authority (a turn) may take, and every call in it.

The clock of a turn starts when its first call is let through, and stands still while we queue at our own limits: a
busy but healthy authority must not look like one that is down. The deadline of the request never stands still.

If others of the list could still sign, a turn gets no more than its share of what is left until the deadline.
Otherwise a hanging primary with a short deadline would eat the time in which the next one could have signed. With the
defaults (a turn of 2 minutes, a deadline of 1 hour) the share is far longer than the turn and does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from issuer.authorities.base import CallTimeouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.api.issuer import Timeouts

LEAST: Final = 0.1
"""Seconds. A call with less time than this is not made: it would end in a timeout and perhaps leave a certificate."""
LOOK_SHARE: Final = 0.1
"""Share of a turn that looking for a certificate after a lost answer may take..."""
LOOK_LEAST: Final = 1.0
"""...but this many seconds at least, where the deadline allows."""


class Budget:
    """The time of one turn. All times are loop times in seconds.

    Args:
        timeouts: as configured.
        deadline: of the request.
        shares: how many authorities, this one included, have to share what is left until then.
        clock: loop time.
    """

    def __init__(self, timeouts: Timeouts, *, deadline: float, shares: int, clock: Callable[[], float]) -> None:
        self._timeouts = timeouts
        self._clock = clock
        self._turn = timeouts.turn.seconds
        self._shares = shares
        self._end: float | None = None
        self.deadline = deadline

    @property
    def queue_until(self) -> float:
        """How long to wait for our own limits. Nobody fails at its deadline in a queue while another one could sign."""
        return self._clock() + self._share()

    def start(self) -> None:
        """The first call goes out, or would if the authority had not asked us to wait."""
        if self._end is None:
            self._turn = min(self._turn, self._share())
            self._end = self._clock() + self._turn

    def queued(self, seconds: float) -> None:
        """We waited for our own limits; not the authority's fault."""
        if self._end is not None:
            self._end += seconds

    @property
    def end(self) -> float:
        """When the turn ends; before `start`, when it would end if it began now."""
        end = self._clock() + min(self._turn, self._share()) if self._end is None else self._end
        return min(end, self.deadline)

    @property
    def left(self) -> float:
        """Seconds of the turn that are left, not negative."""
        return max(0.0, self.end - self._clock())

    def attempt_end(self) -> float:
        """When an attempt that begins now has to be over."""
        return min(self._clock() + self._timeouts.attempt.seconds, self.end)

    def fair(self, seconds: float) -> bool:
        """Whether a call that was cut off after so many seconds had a fair chance.

        One that the deadline cut to less than a quarter of the configured attempt says nothing about the authority.
        """
        return seconds >= self._timeouts.attempt.seconds / 4

    def look_end(self) -> float:
        """When a look that begins now has to be over. A turn that is used up still allows it, the deadline not."""
        return min(self._clock() + max(LOOK_LEAST, LOOK_SHARE * self._turn), self.deadline)

    def calls(self, end: float) -> CallTimeouts:
        """The timeouts of a call that ends at `end`."""
        left = max(0.0, end - self._clock())
        return CallTimeouts(
            connect=min(self._timeouts.connect.seconds, left), read=min(self._timeouts.read.seconds, left)
        )

    def _share(self) -> float:
        return max(0.0, self.deadline - self._clock()) / self._shares
