"""A real Prometheus scrapes a whole controller through an outage: the right alerts fire and clear, a typo fires none.

`test_alerts` plays each alert with series that are made up; here none is. So a name, a label or a value that the
controller does not know is found here, in the rules and in the dashboard.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from issuer.cli.run import LOOP_FACTORY
from tests.alerts.outage import MISTAKES, NO_LEADER, PLAYED, Marks, play
from tests.alerts.panels import ROWS
from tests.alerts.prometheus import RULES, SCRAPE, Prometheus, hurried, installed

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not installed(), reason="Prometheus is not installed: Debian's package prometheus has it"),
]

ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
PANELS = {f"{row} / {panel.title}": panel for row, panels in ROWS.items() for panel in panels}
SELECTOR = re.compile(r"\b(?:cdn_issuer_|process_)\w+(?:\{[^}]*\})?|\bALERTS\{[^}]*\}")


class Played:
    """What Prometheus knows after the outage, asked from tests that are not async."""

    def __init__(self, runner: asyncio.Runner, prometheus: Prometheus, marks: Marks) -> None:
        self._runner = runner
        self.prometheus = prometheus
        self.marks = marks

    def ask(self, question: Coroutine[Any, Any, list[Any]]) -> list[Any]:
        return self._runner.run(question)

    def alerts(self, start: float, end: float, state: str = "firing|pending") -> set[tuple[str, str, str]]:
        """Name, issuer and state of each alert that there was between two moments."""
        expression = f'ALERTS{{alertstate=~"{state}"}}'
        found = self.ask(self.prometheus.query_range(expression, start, end, SCRAPE))
        labels = [one["metric"] for one in found]
        return {(one["alertname"], one.get("issuer", ""), one["alertstate"]) for one in labels}

    def firing(self, start: float, end: float) -> set[tuple[str, str]]:
        return {(name, issuer) for name, issuer, _ in self.alerts(start, end, "firing")}

    def missing(self, expressions: list[str]) -> set[str]:
        """Selectors that select nothing of all that was scraped."""
        selectors = {found for one in expressions for found in SELECTOR.findall(one)}
        assert selectors
        return {one for one in selectors if not self.ask(self.prometheus.series(one))}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    with asyncio.Runner(loop_factory=LOOP_FACTORY) as runner:
        prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"))
        runner.run(prometheus.__aenter__())
        try:
            yield Played(runner, prometheus, runner.run(play(prometheus)))
        finally:
            runner.run(prometheus.__aexit__(None, None, None))


def test_mistakes_in_requests_fire_no_alert_and_begin_none(played: Played) -> None:
    marks = played.marks
    refused = 'cdn_issuer_requests_total{issuer="web",outcome="failed"}'
    causes = played.ask(played.prometheus.query_range(refused, marks.mistakes, marks.outage, SCRAPE))
    assert sum(float(one["values"][-1][1]) for one in causes) == len(MISTAKES)
    assert played.alerts(marks.mistakes, marks.outage) == set()


def test_an_outage_fires_the_alerts_of_those_whom_it_hits(played: Played) -> None:
    fired = played.firing(played.marks.outage, played.marks.stopped)
    assert {name for name, _ in fired} == set(PLAYED)
    issuers = {alert: {issuer for name, issuer in fired if name == alert} for alert in PLAYED}
    assert issuers["CDNIssuerRequestsFailedByOutage"] == {"alone"}
    assert issuers["CDNIssuerRequestPending"] == {"alone", "vault"}
    assert issuers["CDNIssuerAuthorityDown"] == {"web", "alone"}
    assert issuers["CDNIssuerCredentialRefused"] == {"doomed", "vault"}
    assert issuers["CDNIssuerNoAuthorityAvailable"] == {"alone", "vault"}
    assert issuers["CDNIssuerIssuingFromFallback"] == {"web", "doomed"}
    assert issuers["CDNIssuerCertificateExpiresSoon"] == {"vault"}


def test_all_is_quiet_once_the_provider_is_back(played: Played) -> None:
    assert played.firing(played.marks.stopped, played.marks.stopped) == set()


def test_a_controller_that_stops_is_missed_until_it_leads_again(played: Played) -> None:
    assert (NO_LEADER, "") in played.firing(played.marks.stopped, played.marks.ended)
    assert (NO_LEADER, "") not in played.firing(played.marks.outage, played.marks.stopped)
    assert played.firing(played.marks.ended, played.marks.ended) == set()


def test_each_rule_can_be_evaluated_on_what_was_scraped(played: Played) -> None:
    rules = played.ask(played.prometheus.rules())
    assert {rule["name"] for rule in rules} == {rule["alert"] for rule in ALERTS}
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []


def test_each_selector_of_each_alert_selects_something_that_was_scraped(played: Played) -> None:
    assert played.missing([rule["expr"] for rule in ALERTS]) == set()


@pytest.mark.parametrize("panel", PANELS)
def test_each_query_of_the_dashboard_returns_data(panel: str, played: Played) -> None:
    for query, legend in PANELS[panel].queries:
        asked = re.sub(r"\$(?:job|kind|namespace|issuer)\b", ".*", query.replace("$__rate_interval", "3s"))
        found = played.ask(played.prometheus.query_range(asked, played.marks.began, played.marks.ended, 1))
        shown = [series["metric"] for series in found if any(value != "NaN" for _, value in series["values"])]
        assert shown, asked
        for label in re.findall(r"\{\{(\w+)\}\}", legend):
            assert any(label in one for one in shown), label
        assert played.missing([asked]) == set()


def test_hurried_rules_are_the_shipped_ones_but_for_durations() -> None:
    durations = re.compile(r"(?:\d+[mhd]|\d+ms)\b")
    shipped, short = (durations.sub("T", text) for text in (RULES.read_text(), hurried(RULES.read_text())))
    differing = [lines for lines in zip(shipped.splitlines(), short.splitlines(), strict=True) if lines[0] != lines[1]]
    assert len(differing) == 1
    assert "oldest_pending_request_age_seconds" in differing[0][0]
