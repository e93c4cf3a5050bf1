"""Failed requests that nobody needs any more are deleted, and no others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from issuer.cli.main import main
from issuer.controllers.program import utc_now
from issuer.sandbox import objects
from issuer.sandbox.cluster import Fault
from tests.component.harness import BRISK, admin, at_work, ended, one_authority

if TYPE_CHECKING:
    from pathlib import Path

    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

CERTIFICATE = {
    "apiVersion": "cert-manager.io/v1",
    "kind": "Certificate",
    "name": "www",
    "uid": "0f6e",
    "controller": True,
}


BY_HAND = ("by-hand-1", "by-hand-2", "by-hand-3")


async def fail(
    stage: Stage, name: str, revision: int, *, owner: Any = CERTIFICATE, host: str = "a.example.org"
) -> None:
    """A request for a name that the provider refuses, as cert-manager makes it for a revision of a Certificate."""
    annotations = {"cert-manager.io/certificate-name": "www", "cert-manager.io/certificate-revision": str(revision)}
    manifest = objects.certificate_request(
        name, objects.signing_request([host]), namespace=stage.namespace, issuer="alone", annotations=annotations
    )
    if owner:
        manifest["metadata"]["ownerReferences"] = [owner]
    await stage.apply(manifest)
    await ended(stage, name)


async def clean_up(stage: Stage, *, hours: float) -> set[str]:
    """Have a round of clean-up so many hours later; the names of the requests that are left."""
    (controller,) = (one for one in stage.program.controllers if one.name == "cleanup")
    controller._now = lambda: utc_now() + timedelta(hours=hours)  # type: ignore[attr-defined]
    for chore in controller.chores:
        await chore.run()
    return set(stage.requests())


async def several(stage: Stage, **spec: Any) -> None:
    await at_work(stage)
    await one_authority(stage, **spec)
    for revision in range(1, 5):
        await fail(stage, f"www-{revision}", revision)
    for name in BY_HAND:
        await fail(stage, name, 1, owner=None)
    await fail(stage, "good", 5, host="www.example.com")


async def test_old_ones_are_deleted_the_newest_stay_and_nothing_else_is_touched(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await several(stage, cleanup={"failedAfter": "2h", "keep": 2})
        everything = {"www-1", "www-2", "www-3", "www-4", "good", *BY_HAND}
        assert await clean_up(stage, hours=1) == everything
        assert await clean_up(stage, hours=3) == everything - {"www-1", "www-2"}
        assert await clean_up(stage, hours=300) == everything - {"www-1", "www-2"}


async def test_one_that_has_changed_meanwhile_is_not_deleted(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await several(stage, cleanup={"failedAfter": "2h", "keep": 3})
        stage.cluster.faults.add(Fault(kind="race", method="DELETE", count=1))
        assert "www-1" in await clean_up(stage, hours=3)
        await stage.cluster.wait_for(lambda: _annotated(stage))
        assert "www-1" not in await clean_up(stage, hours=3)


async def call(*arguments: str) -> list[str]:
    """What the command says, without the log of the controller in this process."""
    done = await asyncio.to_thread(CliRunner().invoke, main, ["cleanup", *arguments])
    assert done.exit_code == 0, done.output
    return [line for line in done.output.splitlines() if line.startswith(("CertificateRequest ", "no "))]


async def test_the_command_shows_what_would_go_and_lets_it_go(new_stage: NewStage, tmp_path: Path) -> None:
    everything = {"www-1", "www-2", "www-3", "www-4", "good", *BY_HAND}
    async with new_stage(replace(BRISK, cleanup=False)) as stage:
        await several(stage, cleanup={"failedAfter": "2h", "keep": 2})
        namespace = stage.namespace
        where = ("-n", namespace, "--kubeconfig", admin(stage, tmp_path))
        assert await call(*where, "--dry-run") == ["no failed request is to be deleted"]
        for name in ("www-1", "www-2", "www-3", "www-4"):
            status = stage.cluster.get("certificaterequests", namespace, name)["status"]
            old = {**status, "failureTime": "2026-01-01T00:00:00Z"}
            await stage.cluster.set_status("certificaterequests", namespace, name, old)
        old_ones = [f"CertificateRequest {namespace}/www-{revision}" for revision in (1, 2)]
        assert [line.split(",")[0] for line in await call(*where, "--dry-run")] == old_ones
        assert set(stage.requests()) == everything
        assert [line.split(",")[0] for line in await call(*where)] == old_ones
        assert set(stage.requests()) == everything - {"www-1", "www-2"}


def _annotated(stage: Stage) -> bool:
    """Whether the controller has heard of the change."""
    found = next(one for one in stage.program.requests.items() if one.metadata.name == "www-1")
    seen = stage.cluster.get("certificaterequests", stage.namespace, "www-1")["metadata"]["resourceVersion"]
    return bool(found.metadata.resource_version == seen)


@pytest.mark.parametrize(("status", "left"), [(403, {"www-1", "www-2"}), (500, {"www-1"})])
async def test_a_deletion_that_is_refused_is_told_and_without_the_right_no_other_is_tried(
    new_stage: NewStage, status: int, left: set[str]
) -> None:
    async with new_stage(BRISK) as stage:
        await several(stage, cleanup={"failedAfter": "2h", "keep": 2})
        stage.cluster.faults.add(Fault(kind="error", method="DELETE", status=status, count=1))
        with capture_logs() as lines:
            assert await clean_up(stage, hours=3) == {"www-3", "www-4", "good", *BY_HAND, *left}
        assert [line["name"] for line in lines if line["event"] == "failed request not deleted"] == ["www-1"]
        assert await clean_up(stage, hours=3) == {"www-3", "www-4", "good", *BY_HAND}
