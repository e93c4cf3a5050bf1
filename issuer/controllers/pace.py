"""How long to wait between two tries at the same thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from issuer.kube.errors import ThrottledError

if TYPE_CHECKING:
    import random

    from issuer.kube.errors import KubeError

LONGEST_RETRY_AFTER: Final = 60.0
"""Seconds; an API server that asks for more is not obeyed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds between two tries, doubled from the first to the largest, with jitter.

    Attributes:
        first: between two goes at the authorities.
        largest: the same.
        first_write: between two tries to write a result.
        largest_write: the same.
    """

    first: float = 2.0
    largest: float = 60.0
    first_write: float = 0.1
    largest_write: float = 15.0

    def turn(self, tries: int, random: random.Random) -> float:
        """Seconds until the next go at the authorities, after so many."""
        return _backoff(tries, self.first, self.largest, random)

    def write(self, tries: int, random: random.Random, error: KubeError) -> float:
        """Seconds until the next try to write, after so many that failed; no less than the API server asks for."""
        asked = error.retry_after if isinstance(error, ThrottledError) else None
        pause = _backoff(tries, self.first_write, self.largest_write, random)
        return max(pause, min(asked or 0.0, LONGEST_RETRY_AFTER))


def _backoff(tries: int, first: float, largest: float, random: random.Random) -> float:
    """Doubled with each try, between half and all of it by chance."""
    full = min(largest, first * 2.0 ** min(max(tries - 1, 0), 20))
    return full * random.uniform(0.5, 1.0)
