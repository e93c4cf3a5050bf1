"""The locks of the image (`make lock`): nothing but what CI installs, and a wheel of each for each platform."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.component.image_steps import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LOCKS = pytest.mark.parametrize("lock", ["runtime.lock", "tools.lock"])
PINNED = re.compile(r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)
GLIBC = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
"""What wheels for Debian 12 are tagged with here; its glibc is 2.36."""


def pins(text: str) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", text)}


def read(lock: str) -> str:
    return (ROOT / "deploy/image" / lock).read_text()


CONSTRAINTS = pins((ROOT / "constraints.txt").read_text())


@LOCKS
def test_a_lock_is_nothing_but_versions_and_their_hashes(lock: str) -> None:
    rest = PINNED.sub("", read(lock))
    assert [line for line in rest.splitlines() if line and not line.startswith("#")] == []
    assert len(PINNED.findall(read(lock))) > 20


@LOCKS
def test_the_versions_of_a_lock_are_those_of_ci(lock: str) -> None:
    here = pins(read(lock))
    assert here.items() - CONSTRAINTS.items() == {item for item in here.items() if item[0] not in CONSTRAINTS}
    if lock == "runtime.lock":
        assert set(here) <= set(CONSTRAINTS)


def test_the_locks_have_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = {
        "runtime.lock": project["project"]["dependencies"],
        "tools.lock": [*project["build-system"]["requires"], *_lines(ROOT / "deploy/image/tools.in")],
    }
    for lock, requirements in asked.items():
        for requirement in map(Requirement, requirements):
            assert requirement.specifier.contains(pins(read(lock))[canonicalize_name(requirement.name)]), requirement


@LOCKS
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_there_is_a_wheel_of_each_package_for_each_platform(lock: str, machine: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ["--dry-run", "--no-deps", "--ignore-installed", "--only-binary=:all:", "--python-version=3.11"]
    options += [f"--platform={glibc}_{machine}" for glibc in GLIBC]
    options += [f"--target={tmp_path / 'none'}", f"--report={report}", "--require-hashes"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", *options, "--requirement", ROOT / "deploy/image" / lock],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())["install"]
    assert {canonicalize_name(item["metadata"]["name"]) for item in found} == set(pins(read(lock)))


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
