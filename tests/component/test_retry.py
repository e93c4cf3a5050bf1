"""`cdn-issuer retry`: what has failed is issued again, and nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from issuer.cli.main import main
from issuer.inspection.signingrequests import again
from issuer.sandbox import objects
from tests.component.harness import AUTHORITY, BRISK, admin
from tests.component.test_renew import FAILED, MANUAL, READY, certificate, issuing

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

SINCE = "2026-11-27T12:00:00Z"


async def request(stage: Stage, name: str, cause: str, *, of: str | None, reason: str = "Failed") -> None:
    """A request of a Certificate, ended for a cause; it is the issuance after the last one that succeeded."""
    owner: list[Any] = []
    if of is not None:
        uid = stage.cluster.get("certificates", stage.namespace, of)["metadata"]["uid"]
        kind = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "controller": True}
        owner = [{**kind, "name": of, "uid": uid, "blockOwnerDeletion": True}]
    csr = objects.signing_request([f"{name}.example.com"])
    manifest = objects.certificate_request(
        name,
        csr,
        namespace=stage.namespace,
        issuer="web",
        annotations={"cert-manager.io/certificate-revision": "4"},
    )
    manifest["metadata"]["ownerReferences"] = owner
    await stage.apply(manifest)
    conditions = [
        {"type": "Ready", "status": "False", "reason": reason, "message": "no", "lastTransitionTime": SINCE},
        {"type": AUTHORITY, "status": "False", "reason": cause, "message": "no", "lastTransitionTime": SINCE},
    ]
    status = {"conditions": conditions, "failureTime": SINCE}
    await stage.cluster.set_status("certificaterequests", stage.namespace, name, status)


async def failed(stage: Stage, name: str, cause: str) -> None:
    """A Certificate whose last issuance failed, with its request."""
    await certificate(stage, name, FAILED, READY)
    found = stage.cluster.get("certificates", stage.namespace, name)["status"]
    await stage.cluster.set_status("certificates", stage.namespace, name, {**found, "lastFailureTime": SINCE})
    await request(stage, f"{name}-4", cause, of=name)


async def call(stage: Stage, folder: Path, *arguments: str) -> Result:
    """The command, as an admin, in a thread of its own: the API server may be on this loop."""
    line = ["retry", *arguments, "-n", stage.namespace, "--kubeconfig", admin(stage, folder)]
    return await asyncio.to_thread(CliRunner().invoke, main, line)


@pytest.fixture
async def stage(new_stage: NewStage) -> Any:
    async with new_stage(BRISK, approve=False, controlled=False) as stage:
        await failed(stage, "outage", "Unavailable")
        await failed(stage, "refused", "Rejected")
        await certificate(stage, "well", READY)
        await certificate(stage, "foreign", FAILED, group="other.example.com")
        yield stage


async def test_what_an_outage_has_left_is_retried_and_what_was_refused_is_not(stage: Stage, tmp_path: Path) -> None:
    about = f"Certificate {stage.namespace}"
    dry = await call(stage, tmp_path, "--all-failed", "--dry-run")
    assert (dry.exit_code, dry.stdout) == (0, f"{about}/outage would be issued again\n")
    assert f"1 failed for another cause, or only now ({stage.namespace}/refused)" in dry.stderr
    assert issuing(stage, "outage") == ("False", "Failed")
    result = await call(stage, tmp_path, "--all-failed")
    assert (result.exit_code, result.stdout) == (0, f"{about}/outage is issued again\n")
    assert issuing(stage, "outage") == MANUAL
    assert issuing(stage, "refused") == ("False", "Failed")
    again = await call(stage, tmp_path, "--all-failed")
    assert (again.exit_code, again.stdout) == (0, "no Certificate is to be retried\n")


async def test_any_cause_is_retried_if_that_is_wanted(stage: Stage, tmp_path: Path) -> None:
    result = await call(stage, tmp_path, "--all-failed", "--any-cause")
    assert result.exit_code == 0
    assert issuing(stage, "outage") == issuing(stage, "refused") == MANUAL
    assert (issuing(stage, "well"), issuing(stage, "foreign")) == (("", ""), ("False", "Failed"))


@pytest.mark.parametrize("name", ["refused", "refused-4", "cr/refused-4", "certificate/refused"])
async def test_one_that_is_named_is_retried_whichever_of_its_objects_is_named(
    name: str, stage: Stage, tmp_path: Path
) -> None:
    result = await call(stage, tmp_path, name)
    assert (result.exit_code, result.output) == (0, f"Certificate {stage.namespace}/refused is issued again\n")
    assert issuing(stage, "refused") == MANUAL
    assert issuing(stage, "outage") == ("False", "Failed")


async def test_a_certificate_and_its_request_are_one(stage: Stage, tmp_path: Path) -> None:
    result = await call(stage, tmp_path, "outage", "outage-4")
    assert result.output == f"Certificate {stage.namespace}/outage is issued again\n"


async def test_what_cannot_be_retried_is_told_and_the_others_are(stage: Stage, tmp_path: Path) -> None:
    await request(stage, "alone", "Unavailable", of=None)
    await request(stage, "pending", "Unavailable", of="well", reason="Pending")
    names = ("well", "foreign", "absent", "cr/absent", "cert/absent", "alone", "pending", "csr/www", "outage")
    result = await call(stage, tmp_path, *names)
    about, another = f"{stage.namespace}/", "whoever made it has to make another"
    never = "until its deadline the controller tries by itself, and Kubernetes opens none again that has ended"
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"error: Certificate {about}well has not failed: cdn-issuer renew issues it again all the same",
        f"error: Certificate {about}foreign is of another issuer: use cmctl renew",
        f"error: neither a Certificate nor a CertificateRequest {about}absent exists",
        f"error: CertificateRequest {about}absent does not exist",
        f"error: Certificate {about}absent does not exist",
        f"error: CertificateRequest {about}alone belongs to no Certificate that exists: {another}",
        f"error: CertificateRequest {about}pending has not failed: see cdn-issuer doctor certificaterequest pending",
        f"error: CertificateSigningRequest www is not retried: {never}; to make another: {again('www')}",
    ]
    assert issuing(stage, "outage") == MANUAL
    assert issuing(stage, "well") == ("", "")


@pytest.mark.parametrize("arguments", [[], ["www", "--all-failed"], ["www", "--any-cause"], ["pod/www"], ["www", "-A"]])
def test_what_is_meant_has_to_be_said(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["retry", *arguments])
    assert result.exit_code == 2
