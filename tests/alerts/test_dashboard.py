"""The dashboard of the chart is as the code would write it now, and Grafana can load it."""

from __future__ import annotations

import json
import re

from tests.alerts import dashboard
from tests.alerts.prometheus import ROOT

FILE = ROOT / "deploy/chart/files/dashboard.json"
PANELS = [one for one in dashboard.dashboard()["panels"] if one["type"] != "row"]


def test_the_file_is_as_it_would_be_written_now() -> None:
    assert FILE.read_text() == dashboard.text(), "run `make dashboard`"


def test_it_asks_for_no_input_and_each_panel_for_the_data_source_of_the_variable() -> None:
    loaded = json.loads(FILE.read_text())
    assert "__inputs" not in loaded
    assert {one["datasource"]["uid"] for one in PANELS} == {"${datasource}"}
    names = {variable["name"] for variable in loaded["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", " ".join(query["expr"] for one in PANELS for query in one["targets"])))
    assert used - {"__rate_interval"} == names - {"datasource"}


def test_each_panel_says_what_is_seen_and_runbooks_that_it_names_are_there() -> None:
    runbooks = set(re.findall(r"^## (\w+)$", (ROOT / "docs/alerts.md").read_text(), re.MULTILINE))
    for panel in PANELS:
        assert panel["description"], panel["title"]
        named = re.findall(r"alerts\.md#(\w+)", panel["description"])
        assert set(named) <= {runbook.lower() for runbook in runbooks}, panel["title"]


def test_panels_do_not_overlap() -> None:
    places = [one["gridPos"] for one in dashboard.dashboard()["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < dashboard.COLUMNS
