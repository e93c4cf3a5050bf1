"""How long one go at one authority (a turn) may take, and every call in it.

The clock of a turn starts when its first call is let through, and stands still while we wait for our own limits or for
the end of a rate limit: a busy but healthy authority must not look like one that is down. The deadline of the request
never stands still.

If others of the list could still sign, a turn gets no more than its share of what is left until the deadline.
Otherwise a hanging primary with a short deadline would eat the time in which the next one could have signed. With the
defaults (a turn of 2 minutes, a deadline of 1 hour) the share is far longer than the turn and does nothing.

A call that cannot end in its time is worse than none: it is cut off, perhaps leaves a certificate that nobody receives,
and says nothing of the authority. So a call goes out only if there is time for as long as calls took lately, or, where
that is not known, for a quarter of what it is meant to get. One that was cut off sooner counts against nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.api.issuer import Timeouts

LEAST: Final = 0.1
"""Seconds. A call with less time than this is never made."""
FAIR: Final = 0.25
"""Share of what it is meant to get that a call needs to say anything of the authority."""
MARGIN: Final = 1.5
"""A call is given at least so many times what calls took lately."""
READ_SHARE: Final = 0.5
"""Share of the time that reading a Secret may take."""
LOOK_SHARE: Final = 0.1
"""Share of a turn that looking for a certificate after a lost answer may take..."""
LOOK_LEAST: Final = 1.0
"""...but this many seconds at least, where the deadline allows."""


class Budget:
    """The time of one turn. All times are loop times in seconds.

    Args:
        timeouts: as configured.
        deadline: of the request.
        whole: seconds that a request of this issuer has from its approval to its deadline.
        shares: how many authorities, this one included, have to share what is left until then.
        crowd: a later authority is idle, so it is not waited for our own limits for longer than a turn.
        clock: loop time.
        waited: hears of each wait: its seconds, and whether it was for the end of the provider's rate limit.
    """

    def __init__(
        self,
        timeouts: Timeouts,
        *,
        deadline: float,
        whole: float,
        shares: int,
        crowd: bool,
        clock: Callable[[], float],
        waited: Callable[[float, bool], None] = lambda _seconds, _limited: None,
    ) -> None:
        self._timeouts = timeouts
        self._clock = clock
        self._turn = timeouts.turn.seconds
        self._shares = shares
        self._crowd = crowd
        self._hear = waited
        self._end: float | None = None
        self._waited = 0.0
        self.deadline = deadline
        self.meant = min(timeouts.attempt.seconds, timeouts.turn.seconds, whole / shares)

    @property
    def queue_until(self) -> float:
        """How long to wait for our own limits. Nobody fails at its deadline in a queue while another one could sign."""
        share = self._share()
        return self._clock() + (min(self._timeouts.turn.seconds, share) if self._crowd else share)

    @property
    def read_until(self) -> float:
        """How long reading from the cluster may take."""
        return self._clock() + READ_SHARE * self._share()

    @property
    def patience(self) -> float:
        """Seconds for which a rate limit is worth waiting: then a whole call must still fit."""
        return min(self._timeouts.turn.seconds - self._waited, self._share() - self.meant)

    def start(self) -> None:
        """The first call goes out, or would if the authority had not asked us to wait."""
        if self._end is None:
            self._turn = min(self._turn, self._share())
            self._end = self._clock() + self._turn

    def stand_still(self, seconds: float, *, limited: bool = False) -> None:
        """So long we waited for our own limits, or, if `limited`, for the end of a rate limit."""
        if seconds > 0:
            self._hear(seconds, limited)
        if limited:
            self._waited += seconds
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

    def least(self, usual: float | None) -> float:
        """Seconds that a call needs, if calls took `usual` seconds lately; None: not known."""
        needed = FAIR * self.meant if usual is None else MARGIN * usual
        return max(LEAST, min(needed, self.meant))

    def attempt_end(self) -> float:
        """When an attempt that begins now has to be over."""
        return min(self._clock() + self._timeouts.attempt.seconds, self.end)

    def is_fair(self, seconds: float) -> bool:
        """Whether a call that was cut off after so many seconds had a fair chance."""
        return seconds >= FAIR * self.meant

    def look_end(self) -> float:
        """When a look that begins now has to be over. A turn that is used up still allows it, the deadline not."""
        return min(self._clock() + max(LOOK_LEAST, LOOK_SHARE * self._turn), self.deadline)

    def _share(self) -> float:
        return max(0.0, self.deadline - self._clock()) / self._shares
