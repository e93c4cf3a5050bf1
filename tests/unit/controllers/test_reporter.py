"""What the log says of requests: fields to filter by, and no flood while writes fail."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from issuer.api.meta import ObjectMeta
from issuer.api.request import CertificateRequest, IssuerRef, RequestSpec
from issuer.api.signingrequest import CertificateSigningRequest, SigningRequestSpec
from issuer.controllers.decision import Fail
from issuer.controllers.delivery import Delivery
from issuer.controllers.reporter import RequestReporter
from issuer.kube.errors import ServerError
from issuer.observe.metrics import Metrics

if TYPE_CHECKING:
    from issuer.kube.events import EventRecorder, ObjectReference

pytestmark = pytest.mark.looptime

FAIL = Fail(message="no", event="AuthorityRejected", cause="Rejected")
ERROR = ServerError(500, "InternalError", "etcd is away")


class NoEvents:
    def emit(self, *_: Any) -> None:
        pass


def reporter() -> RequestReporter:
    events: EventRecorder = NoEvents()  # type: ignore[assignment]
    return RequestReporter(events, Metrics(), lambda: datetime.now(UTC))


def request(name: str = "www-1", kind: str = "CDNIssuer", **annotations: str) -> CertificateRequest:
    meta = ObjectMeta(name=name, namespace="shop", uid=f"uid-{name}", annotations=annotations)
    return CertificateRequest(meta, RequestSpec(IssuerRef("web", kind, "cdn-issuer.io")))


@pytest.mark.parametrize(
    ("kind", "issuer"),
    [
        ("CDNIssuer", {"issuer_kind": "CDNIssuer", "issuer_namespace": "shop", "issuer": "web"}),
        ("CDNClusterIssuer", {"issuer_kind": "CDNClusterIssuer", "issuer": "web"}),
    ],
)
async def test_a_request_and_its_issuer_are_named_by_fields(kind: str, issuer: dict[str, str]) -> None:
    with capture_logs() as lines:
        reporter().finished(request(kind=kind), FAIL)
    (line,) = lines
    who = {"namespace": "shop", "name": "www-1", "uid": "uid-www-1", **issuer}
    said = {"event": "request failed", "log_level": "error", "reason": "AuthorityRejected", "message": "no"}
    assert line == who | said | {"seconds": 0.0}


async def test_one_in_no_namespace_is_named_by_its_kind_and_its_events_are_about_it() -> None:
    told: list[ObjectReference] = []

    class Events:
        def emit(self, regarding: ObjectReference, *_: Any) -> None:
            told.append(regarding)

    meta = ObjectMeta(name="www-1", uid="u")
    signed = CertificateSigningRequest(meta, SigningRequestSpec(signer_name="cdnissuers.cdn-issuer.io/shop.web"))
    metrics = Metrics()
    with capture_logs() as lines:
        RequestReporter(Events(), metrics, lambda: datetime.now(UTC)).finished(signed, FAIL)  # type: ignore[arg-type]
    (line,) = lines
    assert (line["kind"], line["name"], line["issuer_namespace"]) == ("CertificateSigningRequest", "www-1", "shop")
    assert "namespace" not in line
    (about,) = told
    assert (about.api_version, about.kind, about.namespace, about.name) == (
        "certificates.k8s.io/v1",
        "CertificateSigningRequest",
        "",
        "www-1",
    )
    (counted_line,) = counted(metrics, "requests_total")
    assert 'issuer_namespace="shop"' in counted_line


async def test_writes_that_fail_again_and_again_are_one_line_a_minute_for_each_request() -> None:
    report = reporter()
    with capture_logs() as lines:
        for _ in range(13):
            report.write_failed(request(), FAIL, ERROR)
            report.write_failed(request("other"), FAIL, ERROR)
            await asyncio.sleep(10)
        report.finished(request(), FAIL)
        report.write_failed(request(), FAIL, ERROR)
    told = [(line["name"], line["left_out"]) for line in lines if line["event"] == "status not written"]
    assert told == [
        ("www-1", None),
        ("other", None),
        ("www-1", 5),
        ("other", 5),
        ("www-1", 5),
        ("other", 5),
        ("www-1", None),
    ]


def counted(metrics: Metrics, name: str) -> list[str]:
    page = metrics.render()[0].decode()
    return [line for line in page.splitlines() if line.startswith(f"cdn_issuer_{name}")]


async def test_a_failure_counts_by_its_cause_and_a_write_that_came_late_once() -> None:
    metrics, events = Metrics(), NoEvents()
    report = RequestReporter(events, metrics, lambda: datetime.now(UTC))  # type: ignore[arg-type]
    for _ in range(3):
        report.write_failed(request(), FAIL, ERROR)
    report.finished(request(), FAIL)
    report.finished(request("prompt"), FAIL)
    assert counted(metrics, "late_writes_total") == ["cdn_issuer_late_writes_total 1.0"]
    assert counted(metrics, "status_write_failures_total") == [
        'cdn_issuer_status_write_failures_total{verdict="fail"} 3.0'
    ]
    (line,) = counted(metrics, "requests_total")
    assert 'cause="rejected"' in line
    assert line.endswith(" 2.0")


async def test_a_late_write_that_has_no_one_to_go_to_is_a_dropped_result_and_no_late_one() -> None:
    metrics, events = Metrics(), NoEvents()
    report = RequestReporter(events, metrics, lambda: datetime.now(UTC))  # type: ignore[arg-type]
    report.write_failed(request(), FAIL, ERROR)
    report.dropped(request(), FAIL, Delivery.GONE)
    assert counted(metrics, "late_writes_total") == ["cdn_issuer_late_writes_total 0.0"]
    assert counted(metrics, "dropped_results_total") == [
        f'cdn_issuer_dropped_results_total{{reason="{Delivery.GONE.value}"}} 1.0'
    ]
    assert not report._late
