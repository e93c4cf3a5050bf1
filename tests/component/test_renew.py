"""`cdn-issuer renew`: which Certificates are issued again, and what is written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from issuer.cli.main import main
from issuer.sandbox.cluster import Fault
from tests.component.harness import BRISK, admin

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

FAILED = {"type": "Issuing", "status": "False", "reason": "Failed", "message": "no", "observedGeneration": 1}
READY = {"type": "Ready", "status": "True", "reason": "Ready", "message": "up to date", "observedGeneration": 1}


async def certificate(stage: Stage, name: str, *conditions: Any, group: str = "cdn-issuer.io") -> None:
    """A Certificate with some conditions, as cert-manager leaves it."""
    manifest = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": name, "namespace": stage.namespace},
        "spec": {
            "secretName": f"{name}-tls",
            "dnsNames": [f"{name}.example.com"],
            "issuerRef": {"group": group, "kind": "CDNIssuer", "name": "web"},
        },
    }
    await stage.apply(manifest)
    since = {"lastTransitionTime": "2026-11-27T12:00:00Z"}
    status = {"conditions": [{**one, **since} for one in conditions], "revision": 3}
    await stage.cluster.set_status("certificates", stage.namespace, name, status)


def issuing(stage: Stage, name: str) -> tuple[str, str]:
    conditions = stage.cluster.get("certificates", stage.namespace, name)["status"]["conditions"]
    found = next((one for one in conditions if one["type"] == "Issuing"), {"status": "", "reason": ""})
    return found["status"], found["reason"]


async def call(stage: Stage, folder: Path, *arguments: str) -> Result:
    """The command, as an admin, in a thread of its own: the API server may be on this loop."""
    line = ["renew", *arguments, "--kubeconfig", admin(stage, folder)]
    return await asyncio.to_thread(CliRunner().invoke, main, line)


@pytest.fixture
async def stage(new_stage: NewStage) -> Any:
    async with new_stage(BRISK, controlled=False) as stage:
        await certificate(stage, "failed", FAILED, READY)
        await certificate(stage, "well", READY)
        await certificate(stage, "under-way", {**FAILED, "status": "True", "reason": "Renewing"}, READY)
        await certificate(stage, "foreign", FAILED, group="other.example.com")
        yield stage


MANUAL = ("True", "ManuallyTriggered")


async def test_one_is_issued_again_and_nothing_else_of_it_changes(stage: Stage, tmp_path: Path) -> None:
    result = await call(stage, tmp_path, "well", "-n", stage.namespace)
    assert (result.exit_code, result.output) == (0, f"Certificate {stage.namespace}/well is issued again\n")
    assert issuing(stage, "well") == MANUAL
    status = stage.cluster.get("certificates", stage.namespace, "well")["status"]
    assert status["revision"] == 3
    assert [one["type"] for one in status["conditions"]] == ["Ready", "Issuing"]
    assert issuing(stage, "failed") == ("False", "Failed")


async def test_those_that_failed_are_found_and_those_of_others_left_alone(stage: Stage, tmp_path: Path) -> None:
    dry = await call(stage, tmp_path, "--failed", "-n", stage.namespace, "--dry-run")
    assert dry.output == f"Certificate {stage.namespace}/failed would be issued again\n"
    assert issuing(stage, "failed") == ("False", "Failed")
    await call(stage, tmp_path, "--failed", "-n", stage.namespace)
    assert issuing(stage, "failed") == MANUAL
    assert (issuing(stage, "well"), issuing(stage, "foreign")) == (("", ""), ("False", "Failed"))
    again = await call(stage, tmp_path, "--failed", "-n", stage.namespace)
    assert (again.exit_code, again.output) == (0, "no Certificate is to be renewed\n")


async def test_one_that_is_under_way_is_not_started_again(stage: Stage, tmp_path: Path) -> None:
    result = await call(stage, tmp_path, "--all", "-n", stage.namespace)
    assert result.exit_code == 0
    assert f"Certificate {stage.namespace}/under-way is being issued already" in result.output
    assert issuing(stage, "under-way") == ("True", "Renewing")
    assert issuing(stage, "well") == MANUAL


async def test_what_cannot_be_renewed_is_told_and_the_others_are(stage: Stage, tmp_path: Path) -> None:
    result = await call(stage, tmp_path, "absent", "foreign", "well", "-n", stage.namespace)
    assert result.exit_code == 1
    assert f"error: Certificate {stage.namespace}/absent does not exist" in result.output
    assert "foreign is of another issuer: use cmctl renew" in result.output
    assert issuing(stage, "well") == MANUAL


async def test_a_write_that_is_refused_is_told_in_one_line(stage: Stage, tmp_path: Path) -> None:
    stage.cluster.faults.add(Fault(kind="conflict", method="PATCH", path_contains="certificates"))
    result = await call(stage, tmp_path, "well", "-n", stage.namespace)
    assert result.exit_code == 1
    assert result.output.startswith(f"error: Certificate {stage.namespace}/well: ")
    assert issuing(stage, "well") == ("", "")


@pytest.mark.parametrize("arguments", [[], ["www", "--failed"], ["--failed", "--all"], ["www", "-A"]])
def test_what_is_meant_has_to_be_said(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["renew", *arguments, "--kubeconfig", "none"])
    assert result.exit_code in (1, 2)
