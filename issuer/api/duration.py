"""Durations as Go and Kubernetes write them: `90s`, `1h30m`, `500ms`.

Kubernetes serialises `metav1.Duration` with Go's `time.Duration.String`, and cert-manager's users write durations by
hand in the same notation. There is no day and no year in it: `1y` is refused rather than guessed at.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import total_ordering
from typing import Final

PATTERN: Final = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
"""What a duration in one of our CRDs looks like; a subset of Go's notation without sign, `us` and `ns`."""
MAX_LENGTH: Final = 32
"""Characters of a duration in one of our CRDs."""

_GO_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_SECONDS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "\u00b5s": 1e-6,  # micro sign
    "\u03bcs": 1e-6,  # small letter mu
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_GO_MAX: Final = (2**63 - 1) / 1e9
"""Seconds that a Go duration can hold: 292 years. What is longer would not even fit a timedelta."""


class InvalidDurationError(ValueError):
    """The text is no duration in Go's notation, or a negative one, or longer than one in Go can be."""


@total_ordering
class Duration:
    """A non-negative span of time that remembers how it was written.

    Raises:
        InvalidDurationError: the text is not in Go's notation (`time.ParseDuration`), is negative, or too long for Go.
    """

    __slots__ = ("seconds", "text")

    def __init__(self, text: str) -> None:
        self.text: Final = text
        self.seconds: Final[float] = _parse(text)

    @property
    def timedelta(self) -> timedelta:
        """The same span for arithmetic with datetimes."""
        return timedelta(seconds=self.seconds)

    def __eq__(self, other: object) -> bool:
        return self.seconds == other.seconds if isinstance(other, Duration) else NotImplemented

    def __lt__(self, other: Duration) -> bool:
        return self.seconds < other.seconds

    def __hash__(self) -> int:
        return hash(self.seconds)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Duration({self.text!r})"


def human(seconds: float) -> str:
    """Write a span of seconds for a person, in the largest two units: `2d4h`, `1m30s`, `0s`."""
    if seconds <= 0:
        return "0s"
    if seconds < 0.9995:  # noqa: PLR2004 - what is longer rounds to a second
        return f"{max(1, round(seconds * 1000))}ms"
    if seconds < 10:  # noqa: PLR2004 - where a tenth of a second makes a difference
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    left = round(seconds)
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return "".join(parts[:2])


def _parse(text: str) -> float:
    if text == "0":
        return 0.0
    if text.startswith("-"):
        raise InvalidDurationError(f"a duration cannot be negative: {text[:40]!r}")
    total, end = 0.0, 0
    for part in _GO_PART.finditer(text):
        if part.start() != end:
            break
        total += float(part[1]) * _SECONDS[part[2]]
        end = part.end()
    if not text or end != len(text):
        raise InvalidDurationError(f"not a duration such as 90s, 1h30m or 500ms: {text[:40]!r}")
    if total > _GO_MAX:
        raise InvalidDurationError(f"a duration cannot be longer than 292 years: {text[:40]!r}")
    return total
