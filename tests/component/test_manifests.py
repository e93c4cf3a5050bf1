"""`cdn-issuer manifests`: what it prints is what is in deploy/manifests, for another namespace and image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from issuer import __version__
from issuer.cli.main import main
from tests.controlplane.plane import ROOT

if TYPE_CHECKING:
    from click.testing import Result


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["manifests", *arguments])


def documents(text: str) -> dict[tuple[str, str], Any]:
    found = [one for one in yaml.safe_load_all(text) if one]
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in found}
    assert len(by_name) == len(found)
    return by_name


def container(found: dict[tuple[str, str], Any]) -> Any:
    (pod,) = [one["spec"]["template"]["spec"] for (kind, _), one in found.items() if kind == "Deployment"]
    return pod["containers"][0]


def test_it_is_what_lies_in_the_repository() -> None:
    result = call()
    assert result.exit_code == 0
    expected = documents((ROOT / "deploy" / "manifests" / "cluster.yaml").read_text())
    # The labels that the chart puts on its own objects are not on the CRDs of the code.
    printed = documents(result.stdout)
    assert printed.keys() == expected.keys()
    for name, one in printed.items():
        if name[0] == "CustomResourceDefinition":
            assert one["spec"] == expected[name]["spec"]
        else:
            assert one == expected[name]


def test_what_is_for_one_namespace_is_so_too() -> None:
    result = call("--single-namespace", "-n", "my-namespace", "--no-crds")
    expected = documents((ROOT / "deploy" / "manifests" / "namespace.yaml").read_text())
    assert documents(result.stdout) == {
        name: one for name, one in expected.items() if name[0] != "CustomResourceDefinition"
    }


@pytest.mark.parametrize(("scope", "there"), [([], "cdn-issuer-system"), (["--single-namespace"], "my-namespace")])
def test_another_namespace_and_image_are_everywhere(scope: list[str], there: str) -> None:
    result = call(*scope, "-n", "certs", "--image", "registry.example.com/cdn-issuer@sha256:0a", "--no-crds")
    assert (result.exit_code, result.stderr) == (0, "")
    assert there not in result.stdout
    found = documents(result.stdout)
    assert ("Namespace", "certs") in found
    assert {one["metadata"].get("namespace", "certs") for one in found.values()} == {"certs"}
    assert container(found)["image"] == "registry.example.com/cdn-issuer@sha256:0a"
    assert "--lease-namespace=certs" in container(found)["args"]


def test_the_approver_is_where_cert_manager_runs() -> None:
    found = documents(call("--cert-manager-namespace", "pki", "--no-crds").stdout)
    subjects = found["ClusterRoleBinding", "cdn-issuer-approver"]["subjects"]
    assert subjects == [{"kind": "ServiceAccount", "name": "cert-manager", "namespace": "pki"}]
    assert {one["metadata"].get("namespace") for one in found.values()} == {None, "cdn-issuer-system"}


def test_an_image_of_no_registry_is_warned_of() -> None:
    result = call()
    told = f"warning: the image is cdn-issuer:{__version__}, of no registry: name yours with --image\n"
    assert result.stderr == told


@pytest.mark.parametrize(
    "arguments",
    [["--image", 'x"\nkind: Secret'], ["--image", "a b"], ["--image", ""], ["-n", "No"], ["--single-namespace"]],
)
def test_wrong_usage_prints_nothing_to_apply(arguments: list[str]) -> None:
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
