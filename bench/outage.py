"""`python -m bench.outage`: the outage that `tests/alerts` plays, drawn from what Prometheus scraped of it.

It needs Prometheus (Debian's package `prometheus`) and takes about a minute; it writes docs/outage.svg, on a ground of
its own, so that it can be read on a light and on a dark page.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import uvloop
from matplotlib.figure import Figure

from issuer.observe import logs
from tests.alerts.outage import Marks, play
from tests.alerts.prometheus import MINUTE, ROOT, SCRAPE, Prometheus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SVG: Final = ROOT / "docs" / "outage.svg"
WINDOW: Final = "3s"
"""Over which rates are taken."""
ISSUERS: Final = 'issuer=~"web|alone"'
"""The issuers that are drawn; others of the outage lose a token and a Secret."""
GREEN, RED, YELLOW, BLUE, GREY = "#2f9e57", "#d1413a", "#e2a32b", "#3b73c5", "#57606a"
COLOURS: Final = {"edge": BLUE, "backup": GREEN, "ok": GREEN, "unavailable": RED, "web": BLUE, "alone": RED}
BREAKER: Final = {"closed": GREEN, "half-open": YELLOW, "open": RED}
STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cdn-issuer",
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "text.color": "#1f2328",
    "axes.edgecolor": "#d0d7de",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "path.simplify_threshold": 0.5,
}
Lines = dict[str, list[tuple[float, float]]]


class Scraped:
    """What Prometheus has of the outage, by seconds since its beginning."""

    def __init__(self, prometheus: Prometheus, marks: Marks) -> None:
        self._prometheus = prometheus
        self.marks = marks
        self.start, self.end = marks.mistakes - marks.outage, marks.ended - marks.outage
        self.back = marks.recovery - marks.outage

    async def lines(self, expression: str, label: str, step: float = 2 * SCRAPE) -> Lines:
        """The values of an expression, by a label of its series."""
        found = await self._prometheus.query_range(expression, self.marks.mistakes, self.marks.ended, step)
        return {
            one["metric"].get(label, ""): [
                (moment - self.marks.outage, float(value)) for moment, value in one["values"]
            ]
            for one in found
        }


async def draw(scraped: Scraped) -> Figure:
    """Five rows over the same seconds: calls, who signed, who waits, the breaker, the alerts."""
    calls = 'cdn_issuer_authority_calls_total{issuer="web",authority="edge",call="sign"}'
    issued = 'cdn_issuer_requests_total{issuer="web",outcome="issued"}'
    figure = Figure(figsize=(9, 8.2), layout="constrained", facecolor="white")
    rows = figure.subplots(5, 1, sharex=True, height_ratios=[2, 2, 2, 0.7, 3.2])
    _curves(
        rows[0],
        "Calls a second to the provider (edge), by outcome",
        await scraped.lines(f"sum by (result) (rate({calls}[{WINDOW}]))", "result"),
    )
    _curves(
        rows[1],
        "Certificates a second of the issuer with a backup, by signer",
        await scraped.lines(f"sum by (authority) (rate({issued}[{WINDOW}]))", "authority"),
    )
    _curves(
        rows[2],
        "Requests that wait, by issuer: web has a backup, alone has none",
        await scraped.lines(
            'sum by (issuer) (cdn_issuer_pending_requests{issuer=~"web|alone"})'
            ' or 0 * sum by (issuer) (cdn_issuer_issuer_ready{issuer=~"web|alone"})',
            "issuer",
        ),
    )
    breaker = await scraped.lines('cdn_issuer_breaker_state{issuer="web",authority="edge"}', "state", SCRAPE)
    _bars(rows[3], "Circuit breaker of the provider", {"edge": breaker})
    firing = await scraped.lines(f'max by (alertname) (ALERTS{{alertstate="firing",{ISSUERS}}})', "alertname", SCRAPE)
    pending = await scraped.lines(f'max by (alertname) (ALERTS{{alertstate="pending",{ISSUERS}}})', "alertname", SCRAPE)
    names = sorted(firing, key=lambda name: -firing[name][0][0])
    alerts = {
        name.removeprefix("CDNIssuer"): {"pending": pending.get(name, []), "firing": firing[name]} for name in names
    }
    _bars(rows[4], f"Alerts: pending, firing (a minute of the rules takes {MINUTE} s here)", alerts)
    for axes in rows:
        axes.axvspan(0, scraped.back, color="#818b98", alpha=0.16, linewidth=0, zorder=0)
        axes.tick_params(length=2)
    rows[0].text(scraped.back / 2, rows[0].get_ylim()[1], "the provider answers 503", ha="center", va="top", color=GREY)
    rows[-1].set_xlabel("seconds since the outage began", color=GREY)
    rows[-1].set_xlim(scraped.start, scraped.end)
    return figure


def _curves(axes: Axes, title: str, lines: Lines) -> None:
    axes.set_title(title)
    for name, points in sorted(lines.items()):
        axes.plot(*zip(*points, strict=True), label=name, color=COLOURS.get(name, GREY), linewidth=1.6)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _bars(axes: Axes, title: str, rows: dict[str, Lines]) -> None:
    """A row for each name, with a bar while a state is there."""
    axes.set_title(title)
    colours = BREAKER | {"pending": YELLOW, "firing": RED}
    shown = set()
    for place, states in enumerate(rows.values()):
        for state, points in states.items():
            label = None if state in shown else state
            shown.add(state)
            spans = _spans([moment for moment, _ in points])
            axes.broken_barh(spans, (place - 0.36, 0.72), facecolors=colours[state], label=label, linewidth=0, zorder=2)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _spans(moments: list[float]) -> list[tuple[float, float]]:
    """Begin and length of each run of scrapes without a gap."""
    spans: list[tuple[float, float]] = []
    for moment in moments:
        if spans and moment - sum(spans[-1]) < SCRAPE / 2:
            spans[-1] = (spans[-1][0], moment + SCRAPE - spans[-1][0])
        else:
            spans.append((moment, SCRAPE))
    return spans


async def _main() -> None:
    logs.configure("console", "critical")
    with tempfile.TemporaryDirectory(prefix="cdn-issuer-") as directory:
        async with Prometheus(Path(directory)) as prometheus:
            marks = await play(prometheus, with_stop=False)
            with mpl.rc_context(STYLE):
                figure = await draw(Scraped(prometheus, marks))
                figure.savefig(SVG, metadata={"Date": None, "Creator": None})
                SVG.write_text(re.sub(r"(\.\d\d)\d+", r"\1", SVG.read_text()))  # a hundredth of a point is enough
    print(f"{SVG.relative_to(ROOT)}: {SVG.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    uvloop.run(_main())
