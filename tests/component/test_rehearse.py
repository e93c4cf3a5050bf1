"""`cdn-issuer rehearse`: it asks, the controller does it, and the command says how that went."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from issuer.cli.main import main
from issuer.sandbox import objects
from issuer.sandbox.cluster import Fault
from tests.component.harness import BRISK, QUICK, admin, at_work, ended, signatures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

REHEARSAL: dict[str, Any] = {"dnsNames": ["rehearsal.example.com"], "every": "720h"}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The controller is in this process too, and what it logs would be among the output of the command."""
    with capture_logs():
        yield


async def issuer(stage: Stage, **spec: Any) -> None:
    """An issuer that has signed, so that it is not due by itself; waits until it has a status."""
    await at_work(stage)
    authorities = [stage.edge(**QUICK), stage.backup()]
    await stage.apply(objects.issuer("web", authorities, namespace=stage.namespace, **spec))
    await stage.cluster.wait_for(lambda: len(status(stage)) == len(authorities))


def status(stage: Stage) -> dict[str, Any]:
    found = stage.cluster.get("cdnissuers", stage.namespace, "web").get("status", {})
    return {one["name"]: one for one in found.get("authorities", [])}


def annotated(stage: Stage) -> dict[str, str]:
    found: dict[str, str] = stage.cluster.get("cdnissuers", stage.namespace, "web")["metadata"].get("annotations", {})
    return found


async def call(stage: Stage, folder: Path, *arguments: str) -> Result:
    """The command, as an admin, in a thread of its own: the API server may be on this loop."""
    line = ["rehearse", *arguments, "--kubeconfig", admin(stage, folder)]
    return await asyncio.to_thread(CliRunner().invoke, main, line)


async def test_each_authority_is_rehearsed_once_and_the_command_says_how(new_stage: NewStage, tmp_path: Path) -> None:
    async with new_stage(BRISK) as stage:
        await issuer(stage, rehearsal=REHEARSAL)
        result = await call(stage, tmp_path, "web", "-n", stage.namespace)
        assert result.exit_code == 0, result.output
        lines = sorted(result.output.splitlines())
        about = f"CDNIssuer {stage.namespace}/web"
        assert [line.rpartition(" in ")[0] for line in lines] == [
            f"{about}: backup: Succeeded",
            f"{about}: edge: Succeeded",
        ]
        seen_to = {one["lastRehearsal"]["requestedAt"] for one in status(stage).values()}
        assert seen_to == {annotated(stage)["cdn-issuer.io/rehearse-at"]}
        await stage.program.rehearsals.look()
        assert signatures(stage) == 1, "it is seen to"


async def test_one_that_fails_is_told_with_its_words_and_in_the_exit_code(new_stage: NewStage, tmp_path: Path) -> None:
    async with new_stage(BRISK) as stage:
        await issuer(stage, rehearsal=REHEARSAL)
        stage.cdn.faults.set("status", status=503, methods=["POST"])
        result = await call(stage, tmp_path, "web", "-n", stage.namespace, "-o", "json")
        found = {one["authority"]: one for one in json.loads(result.stdout)}
        assert (result.exit_code, found["edge"]["result"], found["backup"]["result"]) == (1, "Failed", "Succeeded")
        assert "HTTP 503" in found["edge"]["message"]


async def test_only_the_authority_that_is_named_is_rehearsed(new_stage: NewStage, tmp_path: Path) -> None:
    async with new_stage(BRISK) as stage:
        await issuer(stage, rehearsal=REHEARSAL)
        result = await call(stage, tmp_path, "web", "-n", stage.namespace, "--authority", "backup")
        assert (result.exit_code, len(result.output.splitlines())) == (0, 1), result.output
        assert signatures(stage) == 0
        result = await call(stage, tmp_path, "web", "-n", stage.namespace, "--authority", "other")
        assert (result.exit_code, result.output.splitlines()[-1]) == (
            2,
            f"Error: CDNIssuer {stage.namespace}/web has no authority other; it has edge, backup",
        )


async def test_an_account_without_calls_left_is_spared_and_named(new_stage: NewStage, tmp_path: Path) -> None:
    async with new_stage(BRISK) as stage:
        await issuer(stage, rehearsal=REHEARSAL)
        stage.cdn.faults.set("rate-limited", seconds=600)
        await stage.ask("www", "web")
        await ended(stage, "www")  # by the backup
        await stage.cluster.wait_for(lambda: status(stage)["edge"]["state"] == "Degraded")
        asked = signatures(stage)
        result = await call(stage, tmp_path, "web", "-n", stage.namespace, "--authority", "edge", "--timeout", "3s")
        (line,) = result.output.splitlines()
        assert result.exit_code == 1
        assert line.startswith(f"CDNIssuer {stage.namespace}/web: edge: NotRehearsed: it is Degraded: rate-limited")
        assert signatures(stage) == asked


async def test_without_names_those_are_rehearsed_that_ask_for_it(new_stage: NewStage, tmp_path: Path) -> None:
    async with new_stage(BRISK) as stage:
        await issuer(stage)
        result = await call(stage, tmp_path, "-n", stage.namespace)
        assert (result.exit_code, "no CDNIssuer has spec.rehearsal" in result.output) == (1, True)
        result = await call(stage, tmp_path, "issuer/web", "-n", stage.namespace)
        (line,) = result.output.splitlines()
        assert result.exit_code == 1
        assert line.startswith(f"Error: CDNIssuer {stage.namespace}/web has no spec.rehearsal: add to its spec ")
        assert "cdn-issuer.io/rehearse-at" not in annotated(stage), "nothing is asked in vain"


async def test_a_patch_that_is_refused_is_told_in_one_line(new_stage: NewStage, tmp_path: Path) -> None:
    async with new_stage(BRISK, controlled=False) as stage:
        authorities = [stage.edge(**QUICK), stage.backup()]
        await stage.apply(objects.issuer("web", authorities, namespace=stage.namespace, rehearsal=REHEARSAL))
        stage.cluster.faults.add(Fault(kind="conflict", method="PATCH", path_contains="cdnissuers"))
        result = await call(stage, tmp_path, "web", "-n", stage.namespace)
        (line,) = result.output.splitlines()
        assert (result.exit_code, line.startswith(f"error: CDNIssuer {stage.namespace}/web: ")) == (1, True), line


async def test_that_nobody_does_it_is_told(new_stage: NewStage, tmp_path: Path) -> None:
    async with new_stage(BRISK, controlled=False) as stage:
        authorities = [stage.backup()]
        await stage.apply(objects.issuer("web", authorities, namespace=stage.namespace, rehearsal=REHEARSAL))
        result = await call(stage, tmp_path, "-n", stage.namespace, "--timeout", "1s")
        (line,) = result.output.splitlines()
        assert result.exit_code == 1
        assert "backup: NotRehearsed: the controller has not done it in time: see cdn-issuer doctor" in line


@pytest.mark.parametrize("arguments", [["web", "-A"], ["pod/web", "-n", "shop"]])
def test_what_is_meant_has_to_be_said(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["rehearse", *arguments])
    assert result.exit_code == 2
