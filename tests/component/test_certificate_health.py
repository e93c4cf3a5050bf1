"""Certificates are watched, what is wrong with one is told once, and none of it holds up anything else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from issuer.controllers import certificatehealth as module
from issuer.controllers.certificatehealth import CertificateHealthController
from issuer.sandbox.cluster import Fault
from tests.component.harness import BRISK, at_work, ended, events, one_authority, told
from tests.controlplane.cluster import RealCluster

if TYPE_CHECKING:
    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

NEVER: dict[str, Any] = {"privateKey": {"rotationPolicy": "Never"}}
SHORT: dict[str, Any] = {"revisionHistoryLimit": 1}
STRANGE: tuple[dict[str, Any], ...] = (
    {"revisionHistoryLimit": "one"},
    {"privateKey": ["Never"]},
    {"secretName": {"name": 3}},
    {"issuerRef": "alone"},
    {"issuerRef": {"group": "cdn-issuer.io", "kind": "Typo", "name": "alone"}, **NEVER},
    {"privateKey": None, "revisionHistoryLimit": None},
)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.05)


async def certificate(stage: Stage, name: str, *, issuer: dict[str, str] | None = None, **spec: Any) -> None:
    """One for the issuer `alone`, set up as the documents say."""
    usual = {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "alone"}
    wanted = {
        "secretName": f"{name}-tls",
        "dnsNames": [f"{name}.example.com"],
        "issuerRef": issuer or usual,
        "revisionHistoryLimit": 2,
        "privateKey": {"rotationPolicy": "Always"},
        **spec,
    }
    metadata = {"name": name, "namespace": stage.namespace}
    await stage.apply({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata, "spec": wanted})


def controller(stage: Stage) -> CertificateHealthController:
    (found,) = (one for one in stage.program.controllers if isinstance(one, CertificateHealthController))
    return found


def counted(stage: Stage) -> dict[str, float]:
    """What the metric says of the cluster."""
    page = stage.metrics.render()[0].decode()
    lines = [line for line in page.splitlines() if line.startswith("cdn_issuer_certificate_findings{")]
    found = {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in lines}
    return {finding: number for finding, number in found.items() if number}


def reasons(stage: Stage, name: str) -> list[str]:
    return sorted(reason for _, reason, _ in events(stage, name))


async def counts(stage: Stage, **findings: int) -> None:
    await stage.cluster.wait_for(lambda: counted(stage) == findings)


async def test_what_is_wrong_is_told_once_and_counted_until_it_is_put_right(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await at_work(stage)
        await one_authority(stage)
        await certificate(stage, "both", **NEVER, **SHORT)
        await certificate(stage, "fine")
        await certificate(stage, "other", issuer={"group": "cert-manager.io", "kind": "Issuer", "name": "ca"}, **NEVER)
        await counts(stage, KeyNotRotated=1, HistoryTooShort=1)
        assert (await told(stage, "both", "KeyNotRotated")).endswith("set spec.privateKey.rotationPolicy to Always")
        assert (await told(stage, "both", "HistoryTooShort")).endswith("set spec.revisionHistoryLimit to 2")
        for _ in range(3):
            await controller(stage).look()
        await certificate(stage, "late", **NEVER)
        assert await told(stage, "late", "KeyNotRotated")
        assert reasons(stage, "both") == ["HistoryTooShort", "KeyNotRotated"]
        assert reasons(stage, "fine") == reasons(stage, "other") == []
        await certificate(stage, "both")
        await counts(stage, KeyNotRotated=1)
        await stage.cluster.delete("certificates", stage.namespace, "late")
        await counts(stage)


async def test_the_next_process_tells_it_no_second_time(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await at_work(stage)
        await one_authority(stage)
        await certificate(stage, "both", **NEVER, **SHORT)
        await told(stage, "both", "KeyNotRotated")
        await told(stage, "both", "HistoryTooShort")
        await stage.stop_controller()
        await stage.start_controller()
        await certificate(stage, "late", **NEVER, **SHORT)
        await counts(stage, KeyNotRotated=2, HistoryTooShort=2)
        await told(stage, "late", "KeyNotRotated")
        await stage.stop_controller()  # which writes each event that waits
        assert reasons(stage, "both") == ["HistoryTooShort", "KeyNotRotated"]


async def test_strange_certificates_cost_nobody_else_anything(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        if isinstance(stage.cluster, RealCluster):
            pytest.skip("cert-manager's CRD refuses them")
        await at_work(stage)
        await one_authority(stage)
        with capture_logs() as lines:
            for number, spec in enumerate(STRANGE):
                await certificate(stage, f"strange-{number}", **spec)
            await certificate(stage, "known", **NEVER)
            await told(stage, "known", "KeyNotRotated")
            await counts(stage, KeyNotRotated=1)
        unread = {line["name"] for line in lines if line["event"] == "an object exists but cannot be read"}
        assert unread == {"strange-0", "strange-1", "strange-2"}, "of the fourth the server does not tell us"
        await stage.ask("www", "alone")
        assert (await ended(stage, "www")).status.certificate


def is_complaint(line: Any) -> bool:
    """Whether a line of the log tells that Certificates cannot be had."""
    return line["log_level"] != "info" and "certificates.cert-manager.io" in str(line)


@pytest.mark.parametrize("status", [403, 500])
async def test_who_may_not_list_certificates_signs_all_the_same(new_stage: NewStage, status: int) -> None:
    async with new_stage(BRISK, controlled=False) as stage:
        fault = Fault(kind="error", method="GET", path_contains="v1/certificates", status=status)
        stage.cluster.faults.add(fault)
        with capture_logs() as lines:
            await stage.start_controller()
            await stage.cluster.wait_for(lambda: stage.program.is_leading, timeout=10)
            await one_authority(stage)
            await stage.ask("www", "alone")
            assert (await ended(stage, "www")).status.certificate
            await stage.cluster.wait_for(lambda: any(is_complaint(line) for line in lines))
        assert stage.program.unready() is None
        assert counted(stage) == {}


async def test_switched_off_it_watches_nothing(new_stage: NewStage) -> None:
    async with new_stage(replace(BRISK, certificate_health=False)) as stage:
        await at_work(stage)
        await one_authority(stage)
        await certificate(stage, "www", **NEVER)
        await stage.ask("www-1", "alone")
        await ended(stage, "www-1")
        assert [path for _, path in stage.cluster.calls if path.split("?")[0].endswith("/certificates")] == []
        assert "certificate_findings" not in stage.metrics.render()[0].decode()
        assert reasons(stage, "www") == []
