"""One line a minute for each object, with how many were left out."""

from __future__ import annotations

from issuer.observe import repeats
from issuer.observe.repeats import MOST, Repeats


class Clock:
    time = 1000.0

    def __call__(self) -> float:
        return self.time


def told(lines: Repeats, clock: Clock, seconds: range, key: str = "a") -> list[tuple[int, int]]:
    """When a line was due, and how many were left out before it."""
    found = []
    for second in seconds:
        clock.time = 1000.0 + second
        if (left_out := lines.due(key)) is not None:
            found.append((second, left_out))
    return found


def test_the_first_is_told_at_once_and_then_one_a_minute_with_what_was_left_out() -> None:
    clock = Clock()
    assert told(Repeats(clock), clock, range(0, 130, 10)) == [(0, 0), (60, 5), (120, 5)]


def test_each_object_has_lines_of_its_own() -> None:
    clock = Clock()
    lines = Repeats(clock)
    assert [lines.due(key) for key in ("a", "b", "a", "b")] == [0, 0, None, None]


def test_after_it_went_well_the_next_failure_is_told_at_once() -> None:
    clock = Clock()
    lines = Repeats(clock)
    assert (lines.due("a"), lines.due("a")) == (0, None)
    lines.over("a")
    lines.over("unknown")
    assert lines.due("a") == 0


def test_what_is_remembered_is_bounded() -> None:
    clock = Clock()
    lines = Repeats(clock)
    for number in range(MOST + 10):
        lines.due(number)
    assert len(lines._told) == MOST
    assert lines.due(MOST + 9) is None
    assert repeats.EVERY == 60.0
