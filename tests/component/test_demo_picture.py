"""What the demo draws fits a terminal of 80 by 24, and leaves no blanks in a file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from issuer.cli import picture
from issuer.cli.incident import PHASES, Phase

if TYPE_CHECKING:
    from rich.console import RenderableType

LONG = (
    "Invalid access token. Check that the Secret holds an API token that is active, not expired and not limited to "
    "other addresses (code 9109, HTTP 403, trace 8a2f3c)"
)
AUTHORITIES = [
    ("web/edge", "Open", "circuit breaker open after 3 consecutive failures, next attempt at 01:04:34Z"),
    ("web/backup", "Available", ""),
    ("doomed/edge", "Unauthorized", LONG),
    ("doomed/backup", "Available", ""),
    ("fragile/edge", "Open", LONG),
    ("fragile/second", "Misconfigured", LONG),
]
STORIES = (
    "the provider signs",
    "time-outs open the breaker, then 10 take 136ms; edge is back after 12 more",
    "the token is revoked: backup signs, no breaker opens",
    "a name in no zone of the account is Failed at once",
    "letsencrypt falls silent: zerossl signs",
    "Pending until the deadline of 6 s, then Failed",
    "request 12 probes edge and closes its breaker, the next 10 go to edge",
)
PLAYED = [
    Phase(title, requests=26, by_authority={"edge": 2, "backup": 17}, failed=5, pending=2, seconds=12.34, story=story)
    for title, story in zip(PHASES, STORIES, strict=True)
]
COUNTS = {"issued": 70, "pending": 2, "failed": 6}


def lines(drawn: RenderableType, width: int, height: int = 24) -> list[str]:
    """What a terminal of that size shows, or a file of that width."""
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(drawn, highlight=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def live(width: int) -> list[str]:
    return lines(picture.live(AUTHORITIES, PLAYED, COUNTS, width), width)


def test_at_80_by_24_the_whole_live_view_is_seen() -> None:
    shown = live(80)
    assert len(shown) <= 23  # the cursor is on the line below
    assert all(len(line) <= 80 for line in shown)
    assert [line.split()[:2] for line in shown[:6]] == [[name, state] for name, state, _ in AUTHORITIES]
    assert [line.split("  ")[0] for line in shown if line.startswith(tuple(PHASES))] == list(PHASES)
    assert shown[-1] == "issued 70   pending 2   failed 6"


@pytest.mark.parametrize("width", [80, 120, 143, 144, 200])
def test_every_story_is_whole(width: int) -> None:
    shown = "\n".join(live(width))
    assert all(story in shown for story in STORIES)
    assert all(story in "\n".join(lines(picture.phases(PLAYED, width), width)) for story in STORIES)


@pytest.mark.parametrize("width", [80, 120])
def test_a_message_that_is_cut_ends_with_an_ellipsis(width: int) -> None:
    messages = [line for line in live(width) if line.startswith(("doomed/edge", "fragile/"))]
    assert len(messages) == 3
    assert all(len(line) == width and line.endswith("…") for line in messages)
    assert all(line.endswith("(code 9109, HTTP 403, trace 8a2f3c)") for line in live(200) if "Invalid access" in line)


def test_on_a_wide_terminal_a_phase_has_one_line() -> None:
    shown = lines(picture.phases(PLAYED, 144), 144)
    assert len(shown) == 1 + len(PHASES)
    assert shown[0] == "phase               requests  by edge  by backup  failed  seconds  what happened"
    assert shown[2].split(maxsplit=7) == ["provider", "hangs", "26", "2", "17", "5", "12.3", STORIES[1]]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_ends_with_blanks(width: int) -> None:
    shown = [
        *lines(picture.introduction(width), width),
        *live(width),
        *lines(picture.phases(PLAYED, width), width),
        *lines(picture.outlook(width), width),
    ]
    assert [line for line in shown if line != line.rstrip() or len(line) > width] == []


def test_the_first_lines_say_what_is_simulated_and_what_the_names_mean() -> None:
    shown = " ".join(lines(picture.introduction(80), 80))
    assert "on a sandbox of Kubernetes and of the provider. Nothing leaves this machine." in shown
    for name in ("web", "doomed", "fragile", "edge", "backup"):
        assert name in shown


def test_the_last_line_says_what_to_try_next() -> None:
    shown = " ".join(lines(picture.outlook(80), 80))
    assert "make demo ARGS=--serve" in shown
    assert "README.md" in shown


def test_intro_result_and_outlook_fit_the_screen_together() -> None:
    parts = (picture.introduction(80), "", picture.phases(PLAYED, 80), "", picture.outlook(80))
    assert sum(len(lines(part, 80) or [""]) for part in parts) + 1 <= 24
