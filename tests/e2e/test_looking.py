"""`cdn-issuer status`, `check` and `version` on a real control plane, and as a plugin of kubectl."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

from issuer import __version__
from tests.e2e.inspecting import call
from tests.e2e.kubectl import BINARY, needs_kubectl
from tests.e2e.test_doctor import BREAKER, may_read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.world import World


async def test_status_shows_who_signs_who_does_not_and_what_waits(world: World) -> None:
    await world.issuer(backup=True, breaker=BREAKER)
    world.certificate("one")
    await world.ready("one")
    world.cdn.faults.set("status", status=503, methods=["POST"])
    world.certificate("two")
    await world.ready("two")
    await world.until(lambda: world.condition("cdnissuers", "web", "Ready")[1] == "Degraded", "told by the issuer")
    shown = (await call(world, "status")).stdout.splitlines()
    issuer = next(line.split() for line in shown if line.startswith(f"CDNIssuer {world.namespace}/web   True"))
    assert issuer[2:4] == ["True", "Degraded"]
    assert issuer[-3:] == ["backup", "0", "0"]
    edge = next(line for line in shown if "   edge   " in line)
    assert "   Open   " in edge
    assert edge.count(" ago") == 2
    assert shown[-1] == "requests: 0 unapproved, 0 waiting, 2 issued, 0 failed, 0 denied"
    wide = (await call(world, "status", "-o", "wide")).stdout
    assert "circuit breaker open after 2 consecutive failures" in wide
    (line,) = json.loads((await call(world, "status", "-o", "json")).stdout)
    assert [one["state"] for one in line["authorities"]] == ["Open", "Available"]
    assert line["requests"] == {"issued": 2}
    assert (await call(world, "status", "-o", "name")).stdout == "cdnissuer.cdn-issuer.io/web\n"


async def test_status_of_an_empty_namespace_says_so(world: World) -> None:
    result = await call(world, "status")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, f"no issuers in namespace {world.namespace}")


async def test_status_goes_on_without_a_right_and_names_it(world: World) -> None:
    await world.issuer()
    result = await call(world, "status", kubeconfig=may_read(world))
    assert result.exit_code == 0
    assert f"CDNIssuer {world.namespace}/web" in result.stdout
    assert result.stderr == "note: you may not list cdnclusterissuers.cdn-issuer.io, so they were not looked at\n"


async def test_status_watches_until_it_is_interrupted(world: World) -> None:
    await world.issuer()
    kubeconfig = world.plane.kubeconfig("admin", world.plane.admin_token)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "issuer", "status", "--watch", "-o", "name", "-n", world.namespace),
        *("--kubeconfig", str(kubeconfig)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        for _ in range(2):
            assert await process.stdout.readline() == b"cdnissuer.cdn-issuer.io/web\n"
            assert await process.stdout.readline() == b"\n"
        process.send_signal(signal.SIGINT)
        _, complained = await process.communicate()
    assert (process.returncode, complained) == (130, b"")


async def test_check_fails_for_what_ends_soon_and_for_what_was_never_issued(world: World) -> None:
    await world.issuer()
    assert (await call(world, "check")).output == "no certificates of ours\n"
    world.certificate("week", duration="168h", renewBefore="24h")
    world.certificate("year", duration="8760h")
    await world.ready("week")
    await world.ready("year")
    result = await call(world, "check", "--fail-under", "6d")
    assert (result.exit_code, result.output) == (0, "all 2 certificates have 6d or more left\n")
    result = await call(world, "check", "--fail-under", "14d")
    lines = result.output.splitlines()
    assert (result.exit_code, len(lines)) == (1, 3)
    assert lines[1].startswith(f"{world.namespace}/week   6d23h")
    assert lines[2] == "1 of 2 certificates has less than 14d left"
    world.certificate("never", issuer="nobody")
    result = await call(world, "check", "--fail-under", "6d", "-o", "json")
    (never,) = json.loads(result.stdout)
    assert (result.exit_code, never["object"], never["left"]) == (1, f"Certificate {world.namespace}/never", None)


async def test_check_fails_where_certificates_cannot_be_read(world: World) -> None:
    result = await call(world, "check", kubeconfig=may_read(world, resources=["configmaps"]))
    assert result.exit_code == 1
    missing = f"you may not list certificates.cert-manager.io in namespace {world.namespace}"
    assert result.output == f"error: {missing}, so they were not looked at\n"


@needs_kubectl
async def test_kubectl_finds_the_plugin(world: World, tmp_path: Path) -> None:
    await world.issuer()
    script = tmp_path / "kubectl-cdn_issuer"
    script.write_text(f"#!{sys.executable}\nfrom issuer.cli.main import plugin\nplugin()\n")
    script.chmod(0o755)
    kubeconfig = world.plane.kubeconfig("admin", world.plane.admin_token)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "KUBECONFIG": str(kubeconfig)}

    async def kubectl(*arguments: str) -> tuple[int | None, str]:
        assert BINARY is not None
        process = await asyncio.create_subprocess_exec(
            *(BINARY, "cdn-issuer", *arguments),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        return process.returncode, printed.decode()

    code, printed = await kubectl("version")
    assert (code, printed.split(" (")[0]) == (0, f"cdn-issuer {__version__}")
    assert await kubectl("doctor", "-n", world.namespace) == (0, "no problems\n")
    code, printed = await kubectl("doctor", "nonsense")
    assert code == 2
    assert printed.startswith("Usage: kubectl cdn-issuer doctor ")
