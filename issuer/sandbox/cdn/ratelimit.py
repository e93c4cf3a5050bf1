"""The provider's limit on calls: a window, and once it is overdrawn everything is blocked for a while."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimit:
    """1200 calls in 5 minutes for a user over all its tokens; one more, and 5 minutes of 429 follow.

    Attributes:
        calls: allowed in a window.
        window: seconds.
        block: seconds during which everything is refused after one call too many.
    """

    calls: int = 1200
    window: float = 300.0
    block: float = 300.0


class Meter:
    """Counts the calls of one user. `now` is a monotonic time in seconds."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._used = 0
        self._window_ends = -math.inf
        self._blocked_until = -math.inf

    def admit(self, now: float) -> bool:
        """Count a call; False if it is refused."""
        if now < self._blocked_until:
            return False
        if now >= self._window_ends:
            self._used, self._window_ends = 0, now + self.limit.window
        self._used += 1
        if self._used > self.limit.calls:
            self._blocked_until = self._window_ends = now + self.limit.block
            return False
        return True

    def headers(self, now: float) -> dict[str, str]:
        """The headers of the IETF draft, and Retry-After while blocked."""
        left = max(0, self.limit.calls - self._used)
        resets = max(0, math.ceil(self._window_ends - now))
        headers = {
            "Ratelimit": f'"default";r={left};t={resets}',
            "Ratelimit-Policy": f'"default";q={self.limit.calls};w={self.limit.window:.0f}',
        }
        if now < self._blocked_until:
            headers["Retry-After"] = str(math.ceil(self._blocked_until - now))
        return headers
