"""The command as a pod runs it: a real process, its ports, its signals, its exit codes.

Everything else about the controller is tested within one process; what a kubelet relies on is seen only from outside.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp

from issuer import __version__
from issuer.api.request import signer_of
from tests.component.rig import POST, add_issuer, holder, live, options, request, until
from tests.controlplane.process import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

START = 30.0
"""Seconds that a process may take to start on a busy machine."""


class Controller:
    """`python -m issuer run` as a process, told about the stage by a kubeconfig."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body; status 0 while nobody listens."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
                session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
            ):
                return answer.status, await answer.text()
        except aiohttp.ClientConnectionError:
            return 0, ""

    async def until_ready(self) -> None:
        async with asyncio.timeout(START):
            while (await self.get("/readyz"))[0] != 200:
                assert self.process.returncode is None, "it ended before it was ready"

    async def ended(self, timeout: float = START) -> tuple[int, list[dict[str, Any]]]:
        """Exit code and log, a JSON object a line."""
        async with asyncio.timeout(timeout):
            printed, told = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, [json.loads(line) for line in (printed + told).splitlines()]


@asynccontextmanager
async def running(stage: Stage, home: Path, *flags: str, **environment: str) -> AsyncIterator[Controller]:
    kubeconfig = home / "kubeconfig"
    kubeconfig.write_text(stage.cluster.kubeconfig())
    port = free_port()
    defaults = {"--kubeconfig": str(kubeconfig), "--listen": f"127.0.0.1:{port}"}
    arguments = [part for pair in defaults.items() if pair[0] not in flags for part in pair]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "issuer", "run", "--allow-insecure-endpoints", *arguments, *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        yield Controller(process, port)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def staged(new_stage: NewStage) -> Stage:
    """A cluster and a provider; the controller comes as a process."""
    return new_stage(options(), controlled=False)


async def counted(controller: Controller, sample: str) -> None:
    """Wait for a sample: a request is counted a moment after its status can be seen."""
    async with asyncio.timeout(10):
        while not re.search(sample, (await controller.get("/metrics"))[1], re.MULTILINE):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def test_a_process_signs_answers_its_probes_and_stops_cleanly(new_stage: NewStage, tmp_path: Path) -> None:
    async with staged(new_stage) as stage, running(stage, tmp_path) as controller:
        await controller.until_ready()
        assert (await controller.get("/healthz"))[0] == 200
        await add_issuer(stage)
        csr = await stage.ask("one", "web")
        await stage.finished(["one"])
        await counted(controller, r'^cdn_issuer_\w*requests\w*\{.*authority="edge".*\} 1\.0$')
        assert (await controller.get("/elsewhere"))[0] == 404
        assert holder(stage)

        controller.process.send_signal(signal.SIGTERM)
        code, log = await controller.ended()
        assert code == 0
        (started,) = [line for line in log if line["event"] == "starting"]
        assert log[0] == started
        assert (started["version"], started["scope"], started["cluster_issuers"]) == (__version__, "cluster", True)
        assert started["listen"] == f"127.0.0.1:{controller.port}"
        assert started["lease"] == "cdn-issuer-system/cdn-issuer"
        assert started["cluster_resource_namespace"] == "cdn-issuer-system"
        assert started["identity"]
        (filled,) = [line for line in log if line["event"] == "caches filled"]
        assert sum(count for name, count in filled["objects"].items() if "certificaterequests" in name) == 0
        issued = next(line for line in log if line["event"] == "request issued")
        assert (issued["namespace"], issued["name"]) == (stage.namespace, "one")
        assert (issued["issuer_kind"], issued["issuer_namespace"], issued["issuer"]) == (
            "CDNIssuer",
            stage.namespace,
            "web",
        )
        assert {"request", "passed_over", "certificate"}.isdisjoint(issued)
        assert [line for line in log if None in line.values()] == []
        assert log[-1]["event"] == "stopped"
        assert holder(stage) == ""
        assert len(live(stage, csr)) == 1


async def test_sigterm_waits_for_what_is_in_flight_but_no_longer(new_stage: NewStage, tmp_path: Path) -> None:
    async with staged(new_stage) as stage, running(stage, tmp_path, "--grace", "10") as controller:
        await add_issuer(stage)
        stage.cdn.faults.set("slow", seconds=1.5, methods=["POST"], paths=["/certificates"])
        await stage.ask("one", "web")
        async with asyncio.timeout(START):
            await stage.cdn.until(lambda: stage.cdn.calls[POST] == 1)
        began = time.monotonic()
        controller.process.send_signal(signal.SIGTERM)
        code, _ = await controller.ended()
        assert code == 0
        assert time.monotonic() - began < 10
        assert signer_of(request(stage, "one")) == "edge"
        assert holder(stage) == ""


async def test_sigterm_ends_it_within_the_grace_though_the_provider_hangs(new_stage: NewStage, tmp_path: Path) -> None:
    async with staged(new_stage) as stage, running(stage, tmp_path, "--grace", "2") as controller:
        await add_issuer(stage)
        stage.cdn.faults.set("hang", methods=["POST"])
        await stage.ask("one", "web")
        async with asyncio.timeout(START):
            await stage.cdn.until(lambda: stage.cdn.hanging > 0)
        began = time.monotonic()
        controller.process.send_signal(signal.SIGTERM)
        code, _ = await controller.ended()
        assert code == 0
        assert time.monotonic() - began < 2 + 5, "the grace, the events, and a slow machine"
        assert not request(stage, "one").is_finished
        assert holder(stage) == ""


async def test_sigterm_ends_a_process_that_stands_by(new_stage: NewStage, tmp_path: Path) -> None:
    async with staged(new_stage) as stage:
        first = stage.replica(options(identity="first"))
        await until(lambda: first.program.is_leading)
        async with running(stage, tmp_path) as controller:
            await controller.until_ready()
            controller.process.send_signal(signal.SIGTERM)
            code, _ = await controller.ended(10)
        assert code == 0
        assert holder(stage) == "first", "it gives up nothing that it does not hold"
        await first.stop()


async def test_a_process_whose_lease_is_taken_away_ends_with_exit_code_1(new_stage: NewStage, tmp_path: Path) -> None:
    async with (
        staged(new_stage) as stage,
        running(
            stage, tmp_path, "--lease-duration", "3", "--renew-deadline", "2", "--retry-period", "0.3"
        ) as controller,
    ):
        await until(lambda: bool(holder(stage)), START)
        lease = stage.cluster.get("leases", stage.options.lease_namespace, "cdn-issuer")
        spec = {**lease["spec"], "holderIdentity": "thief", "leaseDurationSeconds": 3600}
        await stage.apply({**lease, "metadata": {**lease["metadata"], "resourceVersion": ""}, "spec": spec})
        code, log = await controller.ended()
        assert code == 1
        (told,) = [line for line in log if line["level"] == "error"]
        assert "lease lost" in told["event"]
        assert holder(stage) == "thief"


async def test_a_taken_port_is_told_in_one_line(new_stage: NewStage, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        async with staged(new_stage) as stage, running(stage, tmp_path, "--listen", where) as controller:
            code, log = await controller.ended()
        assert code == 1
        (told,) = log
        assert told["level"] == "error"
        assert told["event"] == "cannot listen"
        assert where in told["error"]


async def test_an_unreachable_api_is_waited_for_and_told_in_one_line(new_stage: NewStage, tmp_path: Path) -> None:
    nobody = tmp_path / "nobody"
    url = f"http://127.0.0.1:{free_port()}"
    async with staged(new_stage) as stage:
        nobody.write_text(stage.cluster.kubeconfig().replace(stage.api_url, url))
        async with running(stage, tmp_path, "--kubeconfig", str(nobody)) as controller:
            async with asyncio.timeout(START):
                while (await controller.get("/healthz"))[0] != 200:
                    assert controller.process.returncode is None
            assert (await controller.get("/readyz"))[0] != 200
            assert controller.process.stderr is not None
            assert json.loads(await controller.process.stderr.readline())["event"] == "starting"
            first = json.loads(await controller.process.stderr.readline())
            controller.process.terminate()
            code, log = await controller.ended()
    assert code == 0
    assert (first["level"], first["event"]) == ("error", "no Kubernetes API, waiting for it")
    assert url in json.dumps(first)
    assert log[-1]["event"] == "stopped"
    assert {told["event"] for told in log} <= {"not ready", "stopped"}


async def test_a_kubeconfig_that_is_not_there_is_told_in_one_line(new_stage: NewStage, tmp_path: Path) -> None:
    async with (
        staged(new_stage) as stage,
        running(stage, tmp_path, "--kubeconfig", str(tmp_path / "nowhere")) as controller,
    ):
        code, log = await controller.ended()
    assert code == 1
    (told,) = log
    assert told["event"] == "no Kubernetes API"
    assert "nowhere" in told["error"]


async def test_every_option_can_come_from_the_environment(new_stage: NewStage, tmp_path: Path) -> None:
    async with (
        staged(new_stage) as stage,
        running(
            stage, tmp_path, CDN_ISSUER_RUN_IDENTITY="from-the-environment", CDN_ISSUER_RUN_LEASE_DURATION="77"
        ) as controller,
    ):
        await controller.until_ready()
        await stage.cluster.wait_for(lambda: bool(stage.cluster.list("leases")), START)
        (lease,) = stage.cluster.list("leases")
        assert lease["spec"]["leaseDurationSeconds"] == 77
        assert lease["spec"]["holderIdentity"] == "from-the-environment"


async def test_the_demo_prints_one_json_object_and_ends_well() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "issuer", "demo", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(100):
        printed, told = await process.communicate()
    assert process.returncode == 0, told.decode()
    summary = json.loads(printed)
    assert summary["duplicates"] == 0
    assert summary["pending"] == 0
    assert summary["requests"] == summary["issued"] + summary["failed"]
    assert summary["by_authority"]["edge"] > 0
    assert summary["by_authority"]["backup"] > 0
