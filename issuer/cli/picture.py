"""What the demo shows: lines that fit a terminal of 80 by 24, and a file.

Text and no table of rich: a table pads its lines with blanks and wraps a sentence into a column of words. The live view
has a line for each authority first, since what they do is the point and a low terminal cuts the end off, then two lines
for each phase, or one where the terminal is wide.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.text import Text

from issuer.cli.incident import DEADLINE, PHASES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from issuer.cli.incident import Phase

WIDE: Final = 144
"""Columns from which a phase and its story have one line."""
INTRODUCTION: Final = f"""\
An outage of a CDN provider, played with the real controller on a sandbox of Kubernetes and of the provider. Nothing \
leaves this machine.
Issuer web: edge is the provider, backup a CA in a Secret. doomed: the same, with a token that is revoked. fragile: \
two accounts at the provider, no backup, a deadline of {DEADLINE:.0f} s. public: two other issuers of the cluster."""
NEXT: Final = "Next: `make demo ARGS=--serve` keeps the sandbox up for kubectl; see README.md."
_COLOURS: Final = {
    "Available": "green",
    "Degraded": "yellow",
    "Open": "red",
    "Unauthorized": "red",
    "SecretNotFound": "red",
    "Misconfigured": "red",
    "Untested": "dim",
    "Unknown": "dim",
}
_TITLE: Final = max(len(title) for title in PHASES)


def introduction(width: int) -> str:
    """What is simulated, and what the names mean."""
    return _wrapped(INTRODUCTION, width)


def outlook(width: int) -> str:
    """What to try next."""
    return _wrapped(NEXT, width)


def live(
    authorities: Iterable[tuple[str, str, str]], played: Sequence[Phase], counts: Mapping[str, int], width: int
) -> Group:
    """What is seen while it plays.

    Args:
        authorities: name, state and message of each.
        played: the phases so far.
        counts: requests by state.
        width: columns of the terminal.
    """
    told = "   ".join(f"{name} {count}" for name, count in counts.items())
    return Group(*_authorities(authorities), Text(""), phases(played, width), Text(told))


def phases(played: Sequence[Phase], width: int) -> Group:
    """A head, and for each phase its counts and its story."""
    head = Text(
        f"{'phase':<{_TITLE}}  requests  by edge  by backup  failed  seconds{'  what happened' * (width >= WIDE)}",
        style="bold",
    )
    return Group(head, *(line for phase in played for line in _phase(phase, width)))


def verdict(summary: dict[str, Any]) -> str:
    """All requests in one sentence."""
    return (
        f"{summary['requests']} requests: {summary['issued']} issued, {summary['failed']} failed as they should, "
        f"{summary['pending']} pending, {summary['duplicates']} signed twice"
    )


def mood(summary: dict[str, Any]) -> str:
    """The colour of the verdict."""
    return "bold red" if summary["pending"] or summary["duplicates"] else "bold green"


def _authorities(states: Iterable[tuple[str, str, str]]) -> Iterable[Text]:
    for name, state, message in states:
        line = Text(f"{name:<15}", no_wrap=True, overflow="ellipsis").append(state, style=_COLOURS.get(state, ""))
        yield line.append(f"{'':<{max(1, 14 - len(state))}}{message}", style="dim") if message else line


def _phase(phase: Phase, width: int) -> Iterable[Text]:
    counts = (
        f"{phase.title:<{_TITLE}}  {phase.requests:>8}  {phase.by_authority.get('edge', 0):>7}  "
        f"{phase.by_authority.get('backup', 0):>9}  {phase.failed:>6}  {phase.seconds:>7.1f}"
    )
    if width >= WIDE:
        yield Text(counts, no_wrap=True, overflow="ellipsis").append(f"  {phase.story}")
        return
    yield Text(counts, no_wrap=True, overflow="ellipsis")
    yield Text(f"  {phase.story}", style="dim", no_wrap=True, overflow="ellipsis")


def _wrapped(text: str, width: int) -> str:
    """Each paragraph in lines of that many columns, without blanks at their ends."""
    return "\n".join(textwrap.fill(paragraph, width, break_on_hyphens=False) for paragraph in text.splitlines())
