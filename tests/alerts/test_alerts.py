"""Each alert fires when it should, is quiet when it should be, and clears: promtool plays a value a minute."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from issuer.observe.families import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/chart/files/alerts.yaml"
RUNBOOKS = ROOT / "docs/alerts.md"
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]

POD = 'job="cdn-issuer",namespace="cdn",pod="a"'
WHO = f'{POD},issuer_kind="CDNIssuer",issuer_namespace="shop",issuer="web"'
EDGE = f'{WHO},authority="edge"'
FAILED = f'cdn_issuer_requests_total{{{WHO},outcome="failed",authority="",cause="%s"}}'
STATE = f'cdn_issuer_authority_state{{{EDGE},state="%s"}}'
READY = f"cdn_issuer_issuer_ready{{{WHO}}}"
POSITION = f"cdn_issuer_issuer_active_position{{{WHO}}}"
FAILOVERS = f'cdn_issuer_failovers_total{{{WHO},from="edge",to="backup",cause="unavailable"}}'
USED = f"cdn_issuer_authority_rate_limit_used_ratio{{{EDGE}}}"
PENDING = f"cdn_issuer_oldest_pending_request_age_seconds{{{WHO}}}"
EXPIRY = f"cdn_issuer_failing_renewal_expires_in_seconds{{{WHO}}}"
CHAIN = f'cdn_issuer_certificate_findings{{{POD},finding="%s"}}'
UNAPPROVED = f"cdn_issuer_unapproved_requests{{{POD}}}"
LEADER = f"cdn_issuer_leader{{{POD}}}"
OTHER_POD = 'cdn_issuer_leader{job="cdn-issuer",namespace="cdn",pod="b"}'
OTHER_RELEASE = 'cdn_issuer_leader{job="cdn-issuer",namespace="elsewhere",pod="c"}'
SILENCE = f'cdn_issuer_watch_silence_seconds{{{POD},resource="cdnissuers"}}'
REHEARSED = f"cdn_issuer_last_rehearsal_success{{{EDGE}}}"
HEALED = f"cdn_issuer_resync_healed_total{{{POD}}}"


class Case(NamedTuple):
    """Series that make an alert fire at one minute and be clear at another; series with which it never fires."""

    fires: dict[str, str]
    at: int
    clear: int
    quiet: list[dict[str, str]]


CASES = {
    "CDNIssuerRequestsFailedByOutage": Case(
        {FAILED % "unavailable": "_x9 1x60"},
        12,
        40,
        [{FAILED % c: "_x9 1+1x60"} for c in ("invalidrequest", "rejected")],
    ),
    "CDNIssuerChainExpires": Case(
        {CHAIN % "ChainExpires": "2x20 0x30"},
        18,
        30,
        [{CHAIN % "ChainExpires": "0x60", CHAIN % "KeyNotRotated": "9x60"}, {CHAIN % "ChainEndsFirst": "1x60"}],
    ),
    "CDNIssuerRehearsalFailed": Case({REHEARSED: "1x5 0x20 1x30"}, 15, 30, [{REHEARSED: "1x60"}, {REHEARSED: "_x60"}]),
    "CDNIssuerRequestPending": Case({PENDING: "0+60x30 _x30"}, 25, 40, [{PENDING: "0+60x14 0+60x14 0+60x14"}]),
    "CDNIssuerRequestsUnapproved": Case({UNAPPROVED: "2x20 0x30"}, 18, 30, [{UNAPPROVED: "2x10 0x5 2x10 0x20"}]),
    "CDNIssuerAuthorityDown": Case(
        {
            # Between two probes it is Untested for a moment.
            STATE % "Open": "1 1 1 stale " * 5 + "stale",
            STATE % "Untested": "_ _ _ 1 stale _ _ 1 stale _ _ 1 stale _ _ 1 stale _ _ 1 stale",
            STATE % "Available": "_x19 1x30",
        },
        15,
        22,
        [{STATE % "Open": "1 1 stale", STATE % "Available": "_ _ 1x50"}, {STATE % "Untested": "1x60"}],
    ),
    "CDNIssuerCredentialRefused": Case(
        {STATE % "SecretNotFound": "1x10 stale", STATE % "Available": "_x10 1x20"},
        8,
        15,
        [{STATE % "Degraded": "1x60"}],
    ),
    "CDNIssuerNoAuthorityAvailable": Case(
        {READY: "0x20 1x30", STATE % "Open": "1x20 stale", STATE % "Available": "_x20 1x30"},
        10,
        24,
        [{READY: "0x60"}, {READY: "1x60", STATE % "Open": "1x60"}],
    ),
    "CDNIssuerIssuingFromFallback": Case(
        {POSITION: "1x90 0x60", FAILOVERS: "_x5 1x150"},
        80,
        110,
        [{POSITION: "1x90"}, {POSITION: "1x30 0x60", FAILOVERS: "1x90"}],
    ),
    "CDNIssuerRateLimitNearlyUsed": Case({USED: "0.98x20 0.3x20"}, 15, 25, [{USED: "0.98x5 0.5x5 0.98x5 0.5x40"}]),
    "CDNIssuerCertificateExpiresSoon": Case(
        {EXPIRY: "90000x30 stale"}, 20, 35, [{EXPIRY: "900000x60"}, {EXPIRY: "90000x5 stale"}]
    ),
    "CDNIssuerNoLeader": Case(
        {LEADER: "0x10 1x30"},
        6,
        15,
        [{LEADER: "1x60"}, {LEADER: "1x10 0 0 1x40"}, {LEADER: "1x20 stale", OTHER_POD: "0x20 1x40"}],
    ),
    "CDNIssuerWatchStale": Case({SILENCE: "0+60x20 0x20"}, 15, 25, [{SILENCE: "90x60"}]),
    "CDNIssuerHealedLook": Case({HEALED: "0x5 1x120"}, 7, 80, [{HEALED: "3x120"}]),
}


def promtool() -> str:
    return shutil.which("promtool") or pytest.skip("promtool is not installed: Debian's package prometheus has it")


def firing(tmp_path: Path, alert: str, series: dict[str, str], minutes: dict[int, int]) -> None:
    """Ask that at each of these minutes so many alerts fire."""
    asked = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": asked, "eval_time": f"{at}m", "exp_samples": [{"labels": "{}", "value": number}]}
            for at, number in minutes.items()
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run(
        [promtool(), "test", "rules", str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", CASES)
def test_it_fires_and_clears(alert: str, tmp_path: Path) -> None:
    case = CASES[alert]
    firing(tmp_path, alert, case.fires, {case.at: 1, case.clear: 0})


@pytest.mark.parametrize("state", ["IssuerNotFound", "IssuerNotReady"])
def test_an_issuer_that_an_authority_stands_for_and_that_cannot_sign_is_down_as_well(
    state: str, tmp_path: Path
) -> None:
    series = {STATE % state: "1x20 stale", STATE % "Available": "_x20 1x30"}
    firing(tmp_path, "CDNIssuerAuthorityDown", series, {15: 1, 40: 0})


@pytest.mark.parametrize(("alert", "series"), [(alert, one) for alert, case in CASES.items() for one in case.quiet])
def test_it_does_not_fire(alert: str, series: dict[str, str], tmp_path: Path) -> None:
    firing(tmp_path, alert, series, dict.fromkeys((5, 15, 30, 50), 0))


def test_an_installation_that_is_gone_is_missed_beside_another_one(tmp_path: Path) -> None:
    series = {LEADER: "1x10 stale _x20 1x20", OTHER_RELEASE: "1x60"}
    firing(tmp_path, "CDNIssuerNoLeader", series, {8: 0, 20: 1, 40: 0})


def test_where_nothing_was_ever_scraped_there_is_no_leader(tmp_path: Path) -> None:
    firing(tmp_path, "CDNIssuerNoLeader", {UNAPPROVED: "0x60"}, {8: 1, 20: 1})


def test_two_installations_that_are_gone_are_two_alerts(tmp_path: Path) -> None:
    series = {LEADER: "1x10 stale", OTHER_RELEASE: "1x10 stale"}
    firing(tmp_path, "CDNIssuerNoLeader", series, {8: 0, 20: 2, 60: 2})


def test_promtool_accepts_the_rules() -> None:
    assert (
        subprocess.run([promtool(), "check", "rules", RULES], capture_output=True, check=False, timeout=60).returncode
        == 0
    )


def test_each_alert_has_cases_a_severity_and_a_runbook() -> None:
    assert {rule["alert"] for rule in ALERTS} == set(CASES)
    headings = re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in ALERTS]
    for rule in ALERTS:
        assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_alerts_ask_for_metrics_and_labels_that_there_are() -> None:
    known = {family.name: set(family.labels) for family in FAMILIES}
    for rule in ALERTS:
        for name, matchers in re.findall(r"(cdn_issuer_\w+)(?:\{([^}]*)\})?", rule["expr"]):
            assert name in known, rule["alert"]
            assert set(re.findall(r"(\w+)\s*(?:=~|!=|=)", matchers)) <= known[name], rule["alert"]


def test_what_the_documentation_says_of_alerts_is_there() -> None:
    named = set(re.findall(r"CDNIssuer[A-Z]\w+", " ".join(family.look for family in FAMILIES)))
    assert named <= set(CASES)
