"""Durations in Go's notation."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer.api.duration import Duration, InvalidDurationError, human


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("90s", 90),
        ("1h30m", 5400),
        ("2160h0m0s", 2160 * 3600),
        ("500ms", 0.5),
        ("1.5h", 5400),
        ("1m1s1ms", 61.001),
        (".5s", 0.5),
        ("1.s", 1),
        ("1s1h", 3601),
        ("250us", 0.00025),
        ("250\N{MICRO SIGN}s", 0.00025),
        ("250\N{GREEK SMALL LETTER MU}s", 0.00025),
        ("1000000ns", 0.001),
    ],
)
def test_what_go_reads_is_read(text: str, seconds: float) -> None:
    assert Duration(text).seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1",
        "00",
        "s",
        "1y",
        "1d",
        "1w",
        "1H",
        "1 s",
        " 1s",
        "1s ",
        "1s\n",
        ".s",
        "1..5s",
        "1,5s",
        "1e3s",
        "+1s",
        "1s2",
    ],
)
def test_what_is_no_duration_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(InvalidDurationError) as caught:
        Duration(text)
    assert str(caught.value) == f"not a duration such as 90s, 1h30m or 500ms: {text!r}"


@pytest.mark.parametrize("text", ["-5s", "-0s", "-1h30m", "-"])
def test_a_negative_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidDurationError, match="a duration cannot be negative"):
        Duration(text)


def test_the_longest_duration_of_go_is_the_longest_here() -> None:
    assert Duration("2562047h47m16s").timedelta > timedelta(days=292 * 365)
    with pytest.raises(InvalidDurationError, match="cannot be longer than 292 years"):
        Duration("2562047h47m17s")


@pytest.mark.parametrize("text", ["9" * 400 + "h", "1h" * 50_000 + "1y", "9999999h" * 10_000])
def test_a_flood_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidDurationError) as caught:
        Duration(text)
    assert len(str(caught.value)) < 120


def test_a_duration_remembers_how_it_was_written() -> None:
    assert str(Duration("90s")) == "90s"
    assert repr(Duration("1m30s")) == "Duration('1m30s')"


def test_durations_are_compared_by_their_length() -> None:
    assert Duration("90s") == Duration("1m30s")
    assert len({Duration("90s"), Duration("1m30s")}) == 1
    assert Duration("1s") < Duration("1m") <= Duration("60s")
    assert Duration("1s") != "1s"


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_is_refused(text: str) -> None:
    try:
        parsed = Duration(text)
    except InvalidDurationError:
        return
    assert timedelta(0) <= parsed.timedelta


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0s"),
        (0, "0s"),
        (0.0001, "1ms"),
        (0.25, "250ms"),
        (0.9996, "1s"),
        (1, "1s"),
        (1.25, "1.2s"),
        (9.5, "9.5s"),
        (9.99, "10s"),
        (12.4, "12s"),
        (59.6, "1m"),
        (90, "1m30s"),
        (3600, "1h"),
        (3661, "1h1m"),
        (3605, "1h"),
        (86400 * 2 + 3600 * 4 + 59, "2d4h"),
        (86400 * 90, "90d"),
    ],
)
def test_a_person_reads_the_two_largest_units(seconds: float, said: str) -> None:
    assert human(seconds) == said
