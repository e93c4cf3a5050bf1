"""What Prometheus would read: names, units, values, and that series come to an end."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from issuer import __version__
from issuer.observe import families, labels
from issuer.observe import metrics as module
from issuer.observe.metrics import Measure, Metrics, Snapshot

BASE_UNITS = ("_seconds", "_bytes", "_ratio", "_total", "_info")
WHO = ("CDNIssuer", "shop", "web")
ISSUER = dict(zip(families.ISSUER, WHO, strict=True))

CALM = Snapshot(
    measures=[
        Measure(families.PENDING, 3, WHO),
        Measure(families.OLDEST_PENDING, 42.5, WHO),
        Measure(families.UNAPPROVED, 2),
        Measure(families.SUSPECTED_ORPHANS, 1, (*WHO, "edge")),
        Measure(families.LAST_REHEARSAL, 1, (*WHO, "edge")),
        Measure(families.ISSUER_READY, 1, WHO),
        Measure(families.ACTIVE_POSITION, 0, WHO),
        Measure(families.AUTHORITY_STATE, 1, (*WHO, "edge", "Available")),
        Measure(families.BREAKER_STATE, 1, (*WHO, "edge", "closed")),
        Measure(families.LIMIT_USED, 0.25, (*WHO, "edge")),
        Measure(families.ISSUERS_LEFT_OUT, 0),
        Measure(families.CERTIFICATES, 4, (*WHO, "edge", "30")),
        Measure(families.FAILING_RENEWAL, 86400.0, WHO),
        Measure(families.AWAITING_RENEWAL, 3, WHO),
        Measure(families.TO_MOVE, 2, (*WHO, "edge", "draining")),
    ],
    queue_depth={"requests": 7, "issuers": 0},
    leading=True,
    watch_silence_seconds={"certificaterequests.cert-manager.io": 1.5},
)


def pending(number: int) -> Snapshot:
    first, *others = CALM.measures
    return dataclasses.replace(CALM, measures=[dataclasses.replace(first, value=number), *others])


def used() -> Metrics:
    """Metrics of which every method has been called."""
    metrics = Metrics()
    finish(metrics)
    metrics.authority_call(issuer="shop/web", authority="edge", call="sign", result="Unavailable", seconds=5.0)
    at = {"issuer": "shop/web", "authority": "edge"}
    metrics.retried(**at, cause="Unavailable")
    metrics.waited(**at, limit="own", seconds=1.5)
    metrics.breaker_opened(**at)
    metrics.adopted(**at)
    metrics.orphan(**at, outcome="revoked")
    metrics.cleaned_up(kind="CDNIssuer", namespace="shop", name="web")
    metrics.rehearsed(**at, result="Succeeded")
    metrics.request_retried(issuer_kind="CDNIssuer", issuer_namespace="shop", issuer="web")
    metrics.renewed(issuer_kind="CDNIssuer", issuer_namespace="shop", issuer="web")
    metrics.moved(issuer_kind="CDNIssuer", issuer_namespace="shop", issuer="web", why="draining")
    metrics.write_failed("Pend")
    metrics.written_late()
    metrics.result_dropped("gone")
    metrics.failover(issuer="shop/web", from_="edge", to="backup", cause="Unavailable")
    metrics.api_call("patch", "certificaterequests.cert-manager.io", 200, 0.02)
    metrics.loop_lag(0.25)
    metrics.event("written")
    metrics.watch(lambda: CALM)
    return metrics


def finish(
    metrics: Metrics, issuer: str = "web", outcome: str = "issued", *, cause: str = "Unavailable", seconds: float = 0.3
) -> None:
    metrics.request_finished(
        issuer_kind="CDNIssuer",
        issuer_namespace="shop",
        issuer=issuer,
        outcome=outcome,
        cause="" if outcome == "issued" else cause,
        authority="edge" if outcome == "issued" else "",
        seconds=seconds,
    )


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    page, _ = metrics.render()
    found = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((f"cdn_issuer_{name}", frozenset(labels.items())))


def test_every_name_has_help_a_prefix_and_a_base_unit() -> None:
    families = list(text_string_to_metric_families(used().render()[0].decode()))
    ours = [family for family in families if not family.name.startswith(("process_", "python_"))]
    assert len(ours) > 15
    for family in ours:
        name = family.name + "_total" * (family.type == "counter")
        assert re.fullmatch(r"cdn_issuer_[a-z_]+[a-z]", name)
        assert family.documentation.endswith((".", "others."))
        assert not re.search(r"_(milliseconds|minutes|ms|count|sum|bucket)$", name)
        if family.type in {"counter", "histogram"}:
            assert name.endswith(("_total", "_seconds")), name
        elif family.type == "gauge":
            assert name.endswith(BASE_UNITS) or name.removeprefix("cdn_issuer_") in PLAIN, name


PLAIN = {
    "certificates_awaiting_renewal",
    "certificates_awaiting_move",
    "authority_state",
    "breaker_state",
    "certificates",
    "issuer_active_position",
    "issuer_ready",
    "issuers_left_out",
    "last_rehearsal_success",
    "leader",
    "pending_requests",
    "queue_depth",
    "suspected_orphans",
    "unapproved_requests",
}
"""Counts and states, which have no unit."""


def test_what_is_exported_is_what_is_declared() -> None:
    declared = {family.name: family for family in families.FAMILIES}
    exported = {
        family.name + "_total" * (family.type == "counter"): family
        for family in text_string_to_metric_families(used().render()[0].decode())
        if family.name.startswith("cdn_issuer_")
    }
    assert set(exported) == set(declared)
    for name, family in exported.items():
        assert (family.type, family.documentation) == (declared[name].kind, declared[name].help)
        labels = {frozenset(sample.labels) - {"le"} for sample in family.samples}
        assert labels == {frozenset(declared[name].labels)}, name


def test_nothing_is_said_of_when_a_series_began() -> None:
    assert "_created" not in used().render()[0].decode()
    page, _ = used().render("application/openmetrics-text;version=1.0.0")
    assert "_created" not in page.decode()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_has_nothing_to_say_of_the_page() -> None:
    page, _ = used().render()
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.decode() + done.stderr.decode()) == (0, "")


def test_no_series_is_labelled_by_a_request() -> None:
    names = {label for _, pairs in samples(used()) for label, _ in pairs}
    assert names.isdisjoint({"request", "uid", "certificate", "name", "hostname"})


def test_issuers_have_the_same_labels_everywhere_so_that_series_can_be_joined() -> None:
    for name, pairs in samples(used()):
        found = dict(pairs)
        if "issuer" in found:
            who = (found["issuer_kind"], found["issuer_namespace"], found["issuer"])
            assert who == ("CDNIssuer", "shop", "web"), name


def test_an_issuer_without_a_namespace_is_a_cluster_issuer_and_an_unknown_one_is_none() -> None:
    metrics = Metrics()
    metrics.failover(issuer="web", from_="edge", to="backup", cause="RateLimited")
    metrics.authority_call(issuer="", authority="edge", call="check", result="ok", seconds=0.1)
    who = {"issuer_kind": "CDNClusterIssuer", "issuer_namespace": "", "issuer": "web"}
    nobody = {"issuer_kind": "", "issuer_namespace": "", "issuer": ""}
    assert value(metrics, "failovers_total", **who, **{"from": "edge", "to": "backup", "cause": "ratelimited"}) == 1
    assert value(metrics, "authority_calls_total", **nobody, authority="edge", call="check", result="ok") == 1


def test_a_finished_request_counts_by_outcome_and_authority_and_lands_in_its_bucket() -> None:
    metrics = Metrics()
    finish(metrics, seconds=0.3)
    finish(metrics, outcome="failed", seconds=3600)
    who = {"issuer_kind": "CDNIssuer", "issuer_namespace": "shop", "issuer": "web"}
    assert value(metrics, "requests_total", **who, outcome="issued", cause="", authority="edge") == 1
    assert value(metrics, "requests_total", **who, outcome="failed", cause="unavailable", authority="") == 1
    issued, failed = {"outcome": "issued", "authority": "edge"}, {"outcome": "failed", "authority": ""}
    assert value(metrics, "request_duration_seconds_bucket", **issued, le="0.25") == 0
    assert value(metrics, "request_duration_seconds_bucket", **issued, le="0.5") == 1
    assert value(metrics, "request_duration_seconds_sum", **failed) == 3600


def test_a_mistake_in_a_request_and_an_outage_are_told_apart() -> None:
    metrics = Metrics()
    for cause in ("InvalidRequest", "Unavailable", "Unavailable"):
        finish(metrics, outcome="failed", cause=cause)
    by_cause = {
        dict(pairs)["cause"]: n for (name, pairs), n in samples(metrics).items() if name == "cdn_issuer_requests_total"
    }
    assert by_cause == {"invalidrequest": 1, "unavailable": 2}


def test_time_to_the_end_is_told_apart_from_50_ms_to_a_day() -> None:
    assert (families.TO_THE_END[0], families.TO_THE_END[-1]) == (0.05, 86400)
    assert list(families.TO_THE_END) == sorted(set(families.TO_THE_END))


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ("ok", "ok"),
        ("Unavailable", "unavailable"),
        ("RateLimited", "ratelimited"),
        ("WrongCertificate", "wrongcertificate"),
    ],
)
def test_a_call_counts_by_its_result_in_lower_case(result: str, shown: str) -> None:
    metrics = Metrics()
    metrics.authority_call(issuer="shop/web", authority="edge", call="sign", result=result, seconds=0.2)
    found = [dict(pairs)["result"] for name, pairs in samples(metrics) if name == "cdn_issuer_authority_calls_total"]
    assert found == [shown]


def test_the_series_of_an_issuer_that_is_gone_are_removed_and_those_of_others_stay() -> None:
    metrics = used()
    finish(metrics, issuer="other")
    metrics.forget_issuer(kind="CDNIssuer", namespace="shop", name="web")
    metrics.watch(lambda: dataclasses.replace(CALM, measures=[]))
    left = {dict(pairs)["issuer"] for _, pairs in samples(metrics) if "issuer" in dict(pairs)}
    assert left == {"other"}


def test_issuers_that_do_not_exist_cannot_make_series_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MAX_NAMED", 3)
    metrics = Metrics()
    for number in range(10):
        finish(metrics, issuer=f"typo-{number}", outcome="failed")
    assert requests_of(metrics) == {"typo-0": 1, "typo-1": 1, "typo-2": 1, labels.THE_REST: 7}
    assert value(metrics, "labels_cut_total", label="issuer") == 7
    metrics.forget_issuer(kind="CDNIssuer", namespace="shop", name="typo-1")
    finish(metrics, issuer="unlucky", outcome="failed")
    assert "unlucky" in {dict(pairs).get("issuer") for _, pairs in samples(metrics)}


def test_issuers_that_do_not_exist_take_no_place_from_those_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MAX_NAMED", 3)
    monkeypatch.setattr(labels, "MAX_ISSUERS", 2)
    metrics = Metrics()
    finish(metrics, issuer="named-first", outcome="failed")
    for number in range(10):
        finish(metrics, issuer=f"typo-{number}", outcome="failed")
    for name in ("named-first", "real", "one-too-many"):
        metrics.authority_call(issuer=f"shop/{name}", authority="edge", call="sign", result="ok", seconds=1)
    finish(metrics, issuer="real", outcome="failed")
    assert requests_of(metrics)["real"] == 1
    called = {dict(pairs)["issuer"] for name, pairs in samples(metrics) if name == "cdn_issuer_authority_calls_total"}
    assert called == {"named-first", "real", labels.THE_REST}
    finish(metrics, issuer="typo-9", outcome="failed")
    assert requests_of(metrics)[labels.THE_REST] == 8


def test_an_issuer_that_is_gone_leaves_its_place_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MAX_ISSUERS", 1)
    metrics = Metrics()
    for name in ("first", "late"):
        metrics.authority_call(issuer=f"shop/{name}", authority="edge", call="sign", result="ok", seconds=1)
    assert "late" not in {dict(pairs).get("issuer") for _, pairs in samples(metrics)}
    metrics.forget_issuer(kind="CDNIssuer", namespace="shop", name="first")
    metrics.authority_call(issuer="shop/late", authority="edge", call="sign", result="ok", seconds=1)
    assert "late" in {dict(pairs).get("issuer") for _, pairs in samples(metrics)}


def test_names_of_authorities_have_an_end_and_the_log_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MAX_AUTHORITIES", 2)
    metrics = Metrics()
    with capture_logs() as lines:
        for number in range(5):
            metrics.adopted(issuer="shop/web", authority=f"edge-{number}")
    found = {dict(pairs)["authority"] for name, pairs in samples(metrics) if name.endswith("adopted_total")}
    assert found == {"edge-0", "edge-1", labels.THE_REST}
    assert value(metrics, "labels_cut_total", label="authority") == 3
    assert [line["label"] for line in lines] == ["authority"]


def requests_of(metrics: Metrics) -> dict[str, float]:
    """Requests that have ended, by the name of their issuer."""
    return {
        dict(pairs)["issuer"]: number
        for (name, pairs), number in samples(metrics).items()
        if name == "cdn_issuer_requests_total"
    }


def test_events_are_counted_as_written_or_lost_by_the_reason() -> None:
    metrics = Metrics()
    assert {reason: value(metrics, "events_dropped_total", reason=reason) for reason in module.EVENT_LOSSES} == {
        "silenced": 0,
        "queue_full": 0,
        "failed": 0,
        "stopped": 0,
    }
    for outcome in ("written", "written", "queue_full"):
        metrics.event(outcome)
    assert value(metrics, "events_written_total") == 2
    assert value(metrics, "events_dropped_total", reason="queue_full") == 1


def test_what_waits_is_asked_for_at_each_scrape() -> None:
    metrics, number = Metrics(), 5
    metrics.watch(lambda: pending(number))
    assert value(metrics, "pending_requests", **ISSUER) == 5
    number = 6
    assert value(metrics, "pending_requests", **ISSUER) == 6
    assert value(metrics, "oldest_pending_request_age_seconds", **ISSUER) == 42.5
    assert value(metrics, "unapproved_requests") == 2
    assert value(metrics, "suspected_orphans", **ISSUER, authority="edge") == 1
    assert value(metrics, "leader") == 1
    assert value(metrics, "queue_depth", queue="requests") == 7
    assert value(metrics, "watch_silence_seconds", resource="certificaterequests.cert-manager.io") == 1.5


def test_before_a_program_watches_there_is_a_page_without_its_figures() -> None:
    metrics = Metrics()
    assert value(metrics, "pending_requests", **ISSUER) is None
    assert value(metrics, "event_loop_lag_seconds") == 0


def test_a_program_that_starts_again_replaces_the_figures_of_the_one_before() -> None:
    metrics = Metrics()
    metrics.watch(lambda: pending(1))
    metrics.watch(lambda: pending(2))
    assert value(metrics, "pending_requests", **ISSUER) == 2


def test_calls_to_the_kubernetes_api_count_by_verb_resource_and_code() -> None:
    metrics = Metrics()
    metrics.api_call("patch", "certificaterequests", 409, 0.02)
    metrics.api_call("patch", "certificaterequests", "UnreachableError", 10.0)
    calls = {"verb": "patch", "resource": "certificaterequests"}
    assert value(metrics, "kube_api_calls_total", **calls, code="409") == 1
    assert value(metrics, "kube_api_calls_total", **calls, code="UnreachableError") == 1
    assert value(metrics, "kube_api_call_duration_seconds_count", verb="patch") == 2


def test_two_controllers_in_one_process_do_not_share_figures() -> None:
    first, second = Metrics(), Metrics()
    finish(first)
    assert not [name for name, _ in samples(second) if name.startswith("cdn_issuer_requests")]


def test_the_page_tells_the_build_the_process_and_the_platform() -> None:
    names = {name for name, _ in samples(Metrics())}
    assert {"process_resident_memory_bytes", "process_open_fds", "python_info"} <= names
    versions = [dict(pairs)["version"] for name, pairs in samples(Metrics()) if name == "cdn_issuer_build_info"]
    assert versions == [__version__]


def test_the_page_comes_in_the_format_that_the_scrape_asks_for() -> None:
    assert used().render()[1].startswith("text/plain; version=0.0.4")
    page, content_type = used().render("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert page.decode().endswith("# EOF\n")
