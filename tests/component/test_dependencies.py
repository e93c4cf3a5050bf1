"""docs/dependencies.md names the packages of pyproject.toml and of the image's tools."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.controlplane.build import EVERYTHING

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TOOLS = [line for line in (ROOT / "deploy/image/tools.in").read_text().splitlines() if not line.startswith("#")]
RUN_TIME, DEVELOPMENT, PLANE, IMAGE = re.findall(
    r"(?m)^## .*\n((?:(?!## ).*\n?)*)", (ROOT / "docs/dependencies.md").read_text()
)


def named(section: str) -> set[str]:
    """The first column of the section's table; a cell may name several, or all that begin alike (`types-*`)."""
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("|")][2:]
    return {name.strip() for row in rows for name in row.split(",")}


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        (RUN_TIME, PROJECT["dependencies"]),
        (DEVELOPMENT, PROJECT["optional-dependencies"]["dev"]),
        (IMAGE, TOOLS),
        (PLANE, sorted(EVERYTHING.values())),
    ],
    ids=["run time", "development", "image", "control plane"],
)
def test_each_dependency_has_a_line_that_says_why_and_each_line_a_dependency(section: str, wanted: list[str]) -> None:
    packages = {re.split(r"[<>=!~ \[]", requirement)[0] for requirement in wanted}
    patterns = named(section)
    assert {package for package in packages if not any(fnmatch(package, pattern) for pattern in patterns)} == set()
    assert {pattern for pattern in patterns if not any(fnmatch(package, pattern) for package in packages)} == set()
