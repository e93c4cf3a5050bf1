"""Lines that would be repeated with each attempt: one a minute for each object, with a count of what was left out.

A write that is refused is tried again within seconds, for minutes, for thousands of objects at once. The first failure
is told at once; after that a line a minute says that it goes on, and how often it has failed since the last line.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

EVERY: Final = 60.0
"""Seconds between two lines about the same object."""
MOST: Final = 10_000
"""Objects that are remembered."""


class Repeats:
    """Says whether it is time for another line about an object.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def due(self, key: Hashable) -> int | None:
        """None: leave this line out. Otherwise how many were left out since the last one about this object."""
        now = self._clock()
        told, left_out = self._told.get(key, (float("-inf"), 0))
        if now - told < EVERY:
            self._told[key] = told, left_out + 1
            return None
        self._told[key] = now, 0
        self._told.move_to_end(key)
        if len(self._told) > MOST:
            self._told.popitem(last=False)
        return left_out

    def over(self, key: Hashable) -> None:
        """It goes well again: the next failure is told at once."""
        self._told.pop(key, None)
