"""Writes the Grafana dashboard of the chart: `python -m tests.alerts.dashboard`, which is `make dashboard`.

A panel is a line or a few in `panels`, and fifty in Grafana's JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from tests.alerts.panels import INSTALLED, ROWS, Panel

TITLE: Final = "cdn-issuer"
HEIGHT: Final = 8
COLUMNS: Final = 24
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
LEGEND: Final = {"displayMode": "list", "placement": "bottom", "showLegend": True}


def dashboard() -> dict[str, Any]:
    """What Grafana loads."""
    return {
        "annotations": {"list": []},
        "description": "Issuers, authorities, requests and certificates of cdn-issuer, and the controller itself.",
        "editable": True,
        "graphTooltip": 1,
        "links": [],
        "panels": _panels(),
        "refresh": "1m",
        "schemaVersion": 39,
        "tags": ["cdn-issuer", "cert-manager"],
        "templating": {"list": _variables()},
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "title": TITLE,
        "uid": "cdn-issuer",
    }


def _variables() -> list[dict[str, Any]]:
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    ready = f"cdn_issuer_issuer_ready{{{INSTALLED}}}"
    return [
        source,
        _variable("job", "Installation", "label_values(cdn_issuer_build_info, job)"),
        _variable("kind", "Kind", f"label_values({ready}, issuer_kind)"),
        _variable("namespace", "Namespace", f"label_values({ready}, issuer_namespace)"),
        _variable("issuer", "Issuer", f"label_values({ready}, issuer)"),
    ]


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    """All of them stands for those without a value too: cluster issuers have no namespace."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _panels() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    y = 0
    for row, panels in ROWS.items():
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
        made.append(
            {"id": len(made) + 1, "type": "row", "title": row, "collapsed": False, "gridPos": place, "panels": []}
        )
        x, y, height = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            height = max(height, HEIGHT // 2 if panel.kind == "stat" else HEIGHT)
            made.append(_panel(panel, len(made) + 1, {"h": height, "w": panel.width, "x": x, "y": y}))
            x += panel.width
        y += height
    return made


def _panel(panel: Panel, id_: int, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.bad_from is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.bad_from}]
        defaults |= {"color": {"mode": "thresholds"}, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.mappings:
        defaults["mappings"] = [{"type": "value", "options": panel.mappings}]
    options: dict[str, Any] = {}
    if panel.kind == "timeseries":
        options = {"legend": LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}}
    elif panel.kind == "stat":
        options = {
            "colorMode": "value" if panel.bad_from is not None else "none",
            "reduceOptions": {"calcs": ["lastNotNull"]},
        }
    elif panel.kind == "state-timeline":
        options = {"legend": LEGEND, "mergeValues": True, "showValue": "never"}
    made = {
        "id": id_,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [_target(panel, *query, chr(ord("A") + number)) for number, query in enumerate(panel.queries)],
    }
    if panel.kind == "table":
        shown = {"excludeByName": {"Time": True, "Value": True}}
        made["transformations"] = [{"id": "organize", "options": shown}]
    return made


def _target(panel: Panel, expression: str, legend: str, id_: str) -> dict[str, Any]:
    target: dict[str, Any] = {"refId": id_, "datasource": SOURCE, "expr": expression, "legendFormat": legend}
    if panel.kind == "table":
        return target | {"instant": True, "range": False, "format": "table"}
    return target | {"range": True, "instant": False}


def text() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
