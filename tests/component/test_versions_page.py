"""docs/versions.md promises what the project asks for, and calls tested what the tests run."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml

from tests.chart.helm import KUBERNETES
from tests.component.image_steps import ROOT
from tests.controlplane.build import CERT_MANAGER_CRDS

PAGE = (ROOT / "docs/versions.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NUMBER = re.compile(r"\d+(?:\.\d+)+")


def cells(row: str) -> list[str]:
    """The cells of a row but for its name."""
    (line,) = re.findall(rf"(?m)^\| {re.escape(row)} \| (.*) \|$", PAGE)
    return [str(cell) for cell in line.split(" | ")]


def required(module: str, package: str) -> str:
    """The version of a Go module that the tests build."""
    text = (ROOT / "tests/controlplane" / module / "go.mod").read_text()
    (version,) = re.findall(rf"(?m)^(?:require|\t)\s*{re.escape(package)} v(\S+)", text)
    return str(version)


def minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def test_kubernetes() -> None:
    supported, tested, _ = cells("Kubernetes")
    chart = yaml.safe_load((ROOT / "deploy/chart/Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">= {NUMBER.findall(supported)[0]}.0-0"
    servers = {minor(required(module, "k8s.io/kubernetes")) for module in ("apiserver", "controllermanager")}
    assert NUMBER.findall(tested) == [*servers, minor(KUBERNETES)]


def test_cert_manager() -> None:
    supported, tested, _ = cells("cert-manager")
    assert set(NUMBER.findall(tested)) == set(CERT_MANAGER_CRDS)
    assert required("certmanager", "github.com/cert-manager/cert-manager") == NUMBER.findall(tested)[0]
    assert required("certmanager19", "github.com/cert-manager/cert-manager") == NUMBER.findall(tested)[1]
    oldest = min(CERT_MANAGER_CRDS, key=lambda version: [int(part) for part in version.split(".")])
    assert NUMBER.findall(supported) == [minor(oldest)]


def test_helm() -> None:
    supported, tested, _ = cells("Helm")
    built = [minor(required(f"helm{major}", f"helm.sh/helm/v{major}")) for major in (3, 4)]
    assert NUMBER.findall(supported) == NUMBER.findall(tested) == built


def test_python() -> None:
    supported, tested, _ = cells("Python")
    assert PROJECT["project"]["requires-python"] == f">={NUMBER.findall(supported)[0]}"
    assert NUMBER.findall(tested) == [PROJECT["tool"]["mypy"]["python_version"]]


@pytest.mark.parametrize("workflow", ["ci", "release"])
def test_python_of_the_workflows(workflow: str) -> None:
    steps = yaml.safe_load((ROOT / f".github/workflows/{workflow}.yaml").read_text())["jobs"]["test"]["steps"]
    (version,) = [step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")]
    assert version == PROJECT["tool"]["mypy"]["python_version"]


def test_platforms() -> None:
    supported = cells("platforms of the image")[0]
    assert re.findall(r'"(linux/\w+)"', (ROOT / "docker-bake.hcl").read_text()) == supported.split(", ")


def test_where_vulnerabilities_are_reported_it_is_said_how_long_there_are_fixes() -> None:
    assert "docs/versions.md" in (ROOT / "SECURITY.md").read_text()
