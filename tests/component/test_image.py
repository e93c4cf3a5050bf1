"""The Dockerfile, as far as it can be judged without building it."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

from issuer import __version__
from tests.component import image_steps
from tests.component.image_steps import ROOT, Instruction, instructions

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TESTED = PROJECT["tool"]["mypy"]["python_version"]
LAST = max(step.stage for step in instructions())


def of(name: str, stage: int | None = None) -> list[Instruction]:
    return [step for step in instructions() if step.name == name and stage in {None, step.stage}]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run(
        [hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "hadolint ignore" not in (ROOT / "Dockerfile").read_text()


def test_it_is_built_on_the_python_of_the_tests_pinned_by_digest_and_stands_on_nothing() -> None:
    bases = [step.text.split()[0] for step in of("FROM")]
    assert bases[1:] == ["build", "scratch", "scratch"]
    assert re.fullmatch(rf"python:{re.escape(TESTED)}\.\d+-slim-bookworm@sha256:[0-9a-f]{{64}}", bases[0])
    assert not of("RUN", LAST)


def test_the_standard_library_is_compiled_too() -> None:
    assert any(f" /usr/local/lib/python{TESTED} /opt/venv/lib" in step.text for step in of("RUN", 0))


def test_whatever_is_installed_is_a_wheel_with_a_known_hash_or_our_own() -> None:
    installs = [part for step in of("RUN") for part in step.text.split("&&") if re.search(r"\bpip\b.* install ", part)]
    assert len(installs) == 3
    for install in installs:
        words = set(install.split())
        assert words > {"--only-binary", ":all:", "--require-hashes"} or words > {"--no-index", "--no-deps"}


def test_it_runs_as_a_number_and_without_a_shell() -> None:
    assert [step.text for step in of("USER", LAST)] == ["65532:65532"]
    assert json.loads(of("ENTRYPOINT")[0].text) == ["/opt/venv/bin/cdn-issuer"]
    assert json.loads(of("CMD")[0].text) == ["run"]
    assert not of("HEALTHCHECK")
    assert not of("SHELL")


def test_nothing_is_written_to_the_image_as_its_user() -> None:
    steps = [step for step in instructions() if step.stage == LAST]
    user = steps.index(of("USER", LAST)[0])
    assert not [step for step in steps[user:] if step.name in {"RUN", "COPY", "ADD"}]
    assert "PYTHONDONTWRITEBYTECODE=1" in of("ENV", LAST)[0].text
    assert all("--chown" not in step.text for step in of("COPY"))


def test_the_label_says_the_version_of_the_package() -> None:
    assert f"VERSION={__version__}" in [step.text for step in of("ARG", LAST)]


def test_the_version_of_the_package_is_that_of_the_project() -> None:
    assert PROJECT["project"]["version"] == __version__


def test_the_port_is_the_default_of_the_command() -> None:
    assert [step.text for step in of("EXPOSE")] == ["8080"]
    assert 'default=":8080"' in (ROOT / "issuer/cli/run.py").read_text()


@pytest.mark.parametrize(
    "name", [".git", ".venv", "tests", "docs", "crds", "deploy", "deploy/chart", "Makefile", ".env", "kubeconfig"]
)
def test_what_is_not_needed_does_not_go_to_the_build(name: str) -> None:
    assert not image_steps.sent(name)


def test_what_is_copied_goes_to_the_build() -> None:
    names = [name for step in of("COPY", 0) for name in step.text.split()[:-1]]
    assert "issuer" in names
    assert all(image_steps.sent(name) for name in names)
    assert all((ROOT / name).exists() for name in names)
