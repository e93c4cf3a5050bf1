"""The Dockerfile as data: its instructions, and a way to run those that build without a container engine."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
STANDARD_LIBRARY: Final = re.compile(r"/usr/local/lib/python3\.\d+ ")
MADE: Final = {"/opt/venv": "venv", "/opt/tools": "tools", "/rootfs": "rootfs", "/sbom.cdx.json": "sbom.cdx.json"}
"""What the steps make outside their working directory, and where it goes here."""


@dataclass(frozen=True, slots=True)
class Built:
    """What the image is made of: its environment, its root with that environment in it, and its SBOM."""

    environment: Path
    root: Path
    sbom: Path


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction; `stage` counts from 0."""

    stage: int
    name: str
    text: str


def instructions() -> list[Instruction]:
    """All instructions of the Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found, stage = [], -1
    for line in filter(None, joined.splitlines()):
        name, _, text = line.partition(" ")
        stage += name == "FROM"
        found.append(Instruction(stage, name, text.strip()))
    return found


def sent(path: str) -> bool:
    """Whether .dockerignore lets that file or directory of the top level go to the build; the last match decides."""
    allowed = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#") and fnmatch.fnmatch(path, line.removeprefix("!")):
            allowed = line.startswith("!")
    return allowed


def build(directory: Path) -> Built:
    """Do all that the Dockerfile does, below `directory`.

    `python` is that of a fresh environment, as in the base image; nothing of the tests' own is seen. The root is made
    of the system that this runs on, so there is none where that is not Debian or one of its descendants.
    """
    source, base = directory / "src", directory / "base"
    source.mkdir()
    venv.create(base, with_pip=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment |= {"PATH": f"{base / 'bin'}:/usr/bin:/bin", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for step in instructions():
        if step.name == "COPY" and step.stage == 0:
            _copy(step.text, source)
        elif step.name == "RUN":
            # The standard library of this machine is not ours to write to.
            command = STANDARD_LIBRARY.sub("", step.text)
            if shutil.which("dpkg-query") is None:
                command = command.partition(" && python image/rootfs.py ")[0]
            for path, name in MADE.items():
                command = re.sub(rf"(?<!\S){re.escape(path)}\b", str(directory / name), command)
            done = subprocess.run(
                ["/bin/sh", "-ec", command], cwd=source, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{step.text}\n{done.stdout}\n{done.stderr}"
    return Built(*(directory / name for name in ("venv", "rootfs", "sbom.cdx.json")))


def _copy(arguments: str, target: Path) -> None:
    *names, where = arguments.split()
    for name in names:
        assert sent(name), f".dockerignore keeps {name} back"
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / where, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target / where)
