"""The workflows, as far as they can be judged without running them; nothing here asks the network."""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.component.image_steps import ROOT
from tests.controlplane.fixtures import tool

WORKFLOWS = sorted((ROOT / ".github/workflows").iterdir())
EACH = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def uses(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Each action of a workflow, with what it is given."""
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    return [(step["uses"], step.get("with", {})) for job in jobs for step in job.get("steps", []) if "uses" in step]


def test_actionlint_finds_nothing() -> None:
    # What shellcheck finds depends on whether somebody has installed it.
    done = subprocess.run(
        [tool("actionlint"), "-no-color", "-shellcheck=", "-pyflakes=", *WORKFLOWS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_zizmor_finds_nothing() -> None:
    zizmor = Path(sysconfig.get_path("scripts")) / "zizmor"
    done = subprocess.run(
        [zizmor, "--offline", "--quiet", "--no-progress", "--no-config", "--color=never", ROOT / ".github"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    assert not [path for path in WORKFLOWS if "zizmor: ignore" in path.read_text()]


@EACH
def test_each_action_is_pinned_by_commit_beside_the_version_that_this_is(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if "uses:" in line and "./" not in line]
    assert lines
    for line in lines:
        assert re.search(r"uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_an_action_has_one_commit_in_all_workflows() -> None:
    pins = {action for path in WORKFLOWS for action, _ in uses(path)}
    assert len({action.partition("@")[0] for action in pins}) == len(pins)


@EACH
def test_no_job_has_a_right_that_it_does_not_name(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert job["permissions"], name
        written = {right for right, access in job["permissions"].items() if access == "write"}
        assert not written or path.name == "release.yaml"
    assert all(given["persist-credentials"] is False for action, given in uses(path) if "/checkout@" in action)


def test_the_image_gets_its_version_only_after_it_is_signed_and_attested() -> None:
    steps = yaml.safe_load((ROOT / ".github/workflows/release.yaml").read_text())["jobs"]["image"]["steps"]
    names = [step.get("name", step.get("uses")) for step in steps]
    order = ["Build, and push by digest", "See that it starts on each platform", "Sign", "Attest how it was built"]
    order += ["Attest what is in it", "Give it its version"]
    assert names[-len(order) :] == order
    bake = (ROOT / "docker-bake.hcl").read_text()
    assert "push-by-digest=true" in bake
    assert re.findall(r'"(linux/\w+)"', bake) == ["linux/amd64", "linux/arm64"]
