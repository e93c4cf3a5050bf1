"""The steps of the image, without a container engine: its Dockerfile is clean, and the wheel alone runs the command."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], cwd=cwd, text=True, capture_output=True, check=False)


def test_the_dockerfile_is_clean() -> None:
    result = run(Path(sys.executable).parent / "hadolint", "Dockerfile")
    assert result.returncode == 0, result.stdout


def test_the_dockerfile_runs_as_a_number_and_without_a_shell() -> None:
    last_stage = (ROOT / "Dockerfile").read_text().split("\nFROM ")[-1]
    assert "\nUSER 65532:65532\n" in last_stage
    assert '\nENTRYPOINT ["/opt/venv/bin/cdn-issuer"]\n' in last_stage
    assert "RUN" not in last_stage


@pytest.mark.timeout(300)
def test_the_wheel_in_an_empty_environment_runs_the_command(tmp_path: Path) -> None:
    built = run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT)
    assert built.returncode == 0, built.stderr[-2000:]
    (wheel,) = tmp_path.glob("cdn_issuer-*.whl")
    venv.create(tmp_path / "empty", with_pip=True)
    binaries = tmp_path / "empty" / "bin"
    installed = run(binaries / "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel)
    assert installed.returncode == 0, installed.stderr[-2000:]
    nowhere = tmp_path / "elsewhere"
    nowhere.mkdir()
    answer = run(binaries / "cdn-issuer", "run", "--help", cwd=nowhere)
    assert answer.returncode == 0, answer.stderr
    assert "--lease-name" in answer.stdout
    started = run(binaries / "cdn-issuer", "run", "--kubeconfig", nowhere / "none", cwd=nowhere)
    assert started.returncode == 1
    assert "Traceback" not in started.stderr
