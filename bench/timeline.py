"""The plot of the incident: a row for each issuer, seconds from left to right. Written as SVG by hand, no library.

It has a background of its own, light or dark as the reader's browser is, so that it can be read on either.
"""

from __future__ import annotations

from html import escape
from typing import Final

from msgspec import Struct, field

WIDTH: Final = 1000
LEFT: Final = 250
RIGHT: Final = 176
TOP: Final = 112
ROW: Final = 62
BAR: Final = 22
FOOT: Final = 44
STEP: Final = 10
"""Seconds between two marks of the axis."""
STYLE: Final = """
  text { font: 14px system-ui, "DejaVu Sans", sans-serif; fill: #1f2328; }
  .small { font-size: 12.5px; fill: #57606a; }
  .title { font-size: 17px; font-weight: 600; }
  .name, .end { font-weight: 600; }
  .ground { fill: #ffffff; stroke: #d0d7de; }
  .grid { stroke: #d8dee4; }
  .down { fill: #818b98; fill-opacity: 0.22; }
  .Pending, .Failed, .Issued { shape-rendering: crispEdges; }
  .Pending { fill: #e2a32b; }
  .Failed { fill: #d1413a; }
  .Issued { fill: #2f9e57; }
  .call { fill: #1f2328; stroke: #ffffff; stroke-width: 1.5; }
  .again { stroke: #1f2328; stroke-width: 2; }
"""
DARK: Final = """
  text { fill: #e6edf3; }
  .small { fill: #9da7b3; }
  .ground { fill: #0d1117; stroke: #30363d; }
  .grid { stroke: #262c34; }
  .down { fill: #9da7b3; fill-opacity: 0.2; }
  .Failed { fill: #e5534b; }
  .call { fill: #ffffff; stroke: #0d1117; }
  .again { stroke: #ffffff; }
"""


class Span(Struct):
    """The state of a request: `Asked` before its first answer, then the reason of its Ready condition."""

    state: str
    start: float
    end: float


class Row(Struct):
    """What was seen of one issuer; seconds since the renewal was due.

    Attributes:
        title: who.
        remark: how it is set up.
        calls: when it asked the provider for a signature.
        failures: when the Certificate counted a failed issuance.
        states: of the request for the renewal.
        requests: how many there were, by UID.
        renewed: when the Secret had the new certificate, if ever.
    """

    title: str
    remark: str
    calls: list[float] = field(default_factory=list)
    failures: list[float] = field(default_factory=list)
    states: list[Span] = field(default_factory=list)
    requests: int = 0
    renewed: float | None = None


class Measured(Struct):
    """One run.

    Attributes:
        outage: seconds until the provider answers again.
        backoff: seconds that cert-manager waits after a failed issuance.
        watched: seconds until nobody looked any longer.
        rows: one for each issuer.
    """

    outage: float
    backoff: float
    watched: float
    rows: list[Row]


def draw(measured: Measured) -> str:
    """The plot."""
    bottom = TOP + ROW * len(measured.rows)
    height = bottom + FOOT + 34
    title = "A renewal is due while the provider hangs: what becomes of it"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">',
        f"<style>{STYLE}@media (prefers-color-scheme: dark) {{{DARK}}}</style>",
        f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>',
        _text(20, 32, title, "title"),
        _text(
            20,
            54,
            f"Seconds since the renewal was due. After a failure cert-manager waits {measured.backoff:.0f} s here; "
            "by default it is an hour, then two, up to 32.",
            "small",
        ),
        *_outage(measured, bottom),
        *_axis(measured, bottom),
    ]
    for number, row in enumerate(measured.rows):
        parts += _row(measured, row, TOP + ROW * number)
    return "\n".join([*parts, *_legend(bottom + FOOT + 10), "</svg>\n"])


def _x(measured: Measured, seconds: float) -> float:
    return round(LEFT + seconds / measured.watched * (WIDTH - LEFT - RIGHT), 1)


def _text(x: float, y: float, text: str, class_: str = "", anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" class="{class_}" text-anchor="{anchor}">{escape(text)}</text>'


def _outage(measured: Measured, bottom: float) -> list[str]:
    start, end = _x(measured, 0), _x(measured, measured.outage)
    return [
        f'<rect class="down" x="{start}" y="{TOP - 28}" width="{end - start}" height="{bottom - TOP + 28}"/>',
        _text((start + end) / 2, TOP - 10, f"provider hangs, {measured.outage:.0f} s", "small", "middle"),
        _text(end + 8, TOP - 10, "provider is back", "small"),
    ]


def _axis(measured: Measured, bottom: float) -> list[str]:
    parts = []
    for seconds in range(0, int(measured.watched) + 1, STEP):
        x = _x(measured, seconds)
        parts.append(f'<line class="grid" x1="{x}" y1="{TOP}" x2="{x}" y2="{bottom}"/>')
        parts.append(_text(x, bottom + 20, f"{seconds} s", "small", "middle"))
    return parts


def _row(measured: Measured, row: Row, top: float) -> list[str]:
    middle = top + ROW / 2
    parts = [
        f'<line class="grid" x1="20" y1="{top}" x2="{WIDTH - 20}" y2="{top}"/>',
        _text(20, middle - 3, row.title, "name"),
        _text(20, middle + 15, row.remark, "small"),
    ]
    for span in row.states:
        start, end = _x(measured, span.start), _x(measured, _until(measured, row, span))
        state = "Pending" if span.state == "Asked" else span.state
        parts.append(
            f'<rect class="{state}" x="{start}" y="{middle - BAR / 2}" width="{max(end - start, 2):.1f}" '
            f'height="{BAR}"/>'
        )
    parts += [f'<circle class="call" cx="{_x(measured, seconds)}" cy="{middle}" r="5"/>' for seconds in row.calls]
    for seconds in _again(row):
        x = _x(measured, seconds)
        parts.append(f'<path class="again" d="M{x - 5} {middle - 5}l10 10m0 -10l-10 10"/>')
    end = WIDTH - RIGHT + 14
    if row.renewed is None:
        return [*parts, _text(end, middle - 3, "not renewed", "end"), _text(end, middle + 15, "still stuck", "small")]
    late = row.renewed - measured.outage
    when = f"{late:.1f} s after the outage" if late > 0 else "during the outage"
    return [*parts, _text(end, middle - 3, f"{row.renewed:.1f} s", "end"), _text(end, middle + 15, when, "small")]


def _until(measured: Measured, row: Row, span: Span) -> float:
    """A state that nothing follows lasts to the end of the plot."""
    return measured.watched if span is row.states[-1] else span.end


def _again(row: Row) -> list[float]:
    """Failures of the Certificate without a call to the provider since the one before."""
    return [
        later
        for earlier, later in zip(row.failures, row.failures[1:], strict=False)
        if not any(earlier < call <= later for call in row.calls)
    ]


def _legend(y: float) -> list[str]:
    parts, x = [], 20.0
    for state, words in (
        ("Pending", "Pending: being tried"),
        ("Failed", "Failed: nothing is tried"),
        ("Issued", "Issued"),
    ):
        parts.append(f'<rect class="{state}" x="{x}" y="{y - 11}" width="22" height="14"/>')
        parts.append(_text(x + 30, y, words, "small"))
        x += 50 + 6.6 * len(words)
    parts.append(f'<circle class="call" cx="{x + 6}" cy="{y - 4}" r="5"/>')
    parts.append(_text(x + 18, y, "call to the provider", "small"))
    x += 164
    parts.append(f'<path class="again" d="M{x} {y - 9}l10 10m0 -10l-10 10"/>')
    parts.append(_text(x + 18, y, "the same failed request is met again", "small"))
    return parts
