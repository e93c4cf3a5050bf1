"""The commands that look at a cluster, as a person calls them: in the same process, with a kubeconfig."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from click.testing import CliRunner

from issuer.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from tests.e2e.world import World

Told = dict[str, Any]
PATIENCE: Final = 60.0
"""Seconds in which what was staged has to show."""


async def call(world: World, *arguments: str, kubeconfig: Path | None = None, everywhere: bool = False) -> Result:
    """Call `cdn-issuer` for the namespace of the test; it has an event loop of its own."""
    path = kubeconfig or world.plane.kubeconfig("admin", world.plane.admin_token)
    where = ["--all-namespaces"] if everywhere else ["--namespace", world.namespace]
    command, *rest = arguments
    return await asyncio.to_thread(CliRunner().invoke, main, [command, "--kubeconfig", str(path), *where, *rest])


async def findings(world: World, *about: str, kubeconfig: Path | None = None) -> list[Told]:
    """What the doctor says; its exit code is compared with that."""
    result = await call(world, "doctor", "--output", "json", *about, kubeconfig=kubeconfig)
    assert result.exit_code in (0, 1), result.output
    told: list[Told] = json.loads(result.stdout)
    assert result.exit_code == int(any(one["severity"] == "error" for one in told)), result.output
    return told


async def told(world: World, code: str, *about: str, of: str = "", kubeconfig: Path | None = None) -> Told:
    """Ask the doctor until it says something.

    Args:
        world: where.
        code: of the finding.
        about: what the doctor is asked about.
        of: how its object begins. A request and its issuer may both have a finding of the same code, the request first.
        kubeconfig: of somebody else than the admin.

    Raises:
        AssertionError: it does not; the text says what it said last.
    """
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        said = await findings(world, *about, kubeconfig=kubeconfig)
        for one in said:
            if one["code"] == code and one["object"].startswith(of):
                return one
        assert asyncio.get_running_loop().time() < deadline, f"{code} {of} is not among {said}\n{world.seen()}"
        await asyncio.sleep(0.5)


def codes(said: list[Told], severity: str = "error") -> list[str]:
    return [one["code"] for one in said if one["severity"] == severity]
