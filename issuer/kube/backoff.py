"""Waiting longer after each failure, with jitter, so that a thousand clients do not come back at the same moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


class Backoff:
    """Seconds to wait: doubled from `minimum` to `maximum`, of which the upper half is random.

    Half stays fixed (full jitter may be nearly nothing), so there is never a hot loop.
    """

    __slots__ = ("_failures", "_maximum", "_minimum", "_random")

    def __init__(self, minimum: float, maximum: float, random: random.Random) -> None:
        self._minimum = minimum
        self._maximum = maximum
        self._random = random
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many consecutive failures there were."""
        return self._failures

    def next(self) -> float:
        """Count one more failure; how many seconds to wait before the next try."""
        delay = min(self._maximum, self._minimum * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return delay * (0.5 + 0.5 * self._random.random())

    def reset(self) -> None:
        """Something has worked: start from `minimum` again."""
        self._failures = 0
