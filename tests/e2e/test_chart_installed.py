"""The chart on a real API server: its objects are applied, and the controller runs by the Deployment's own words.

The kubelet's part is done here: a token of the ServiceAccount that the chart makes, the flags and variables of the
container, and nothing else but where the API server is.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest

from issuer.sandbox import objects
from tests.chart.helm import Helm
from tests.controlplane import build
from tests.controlplane.fixtures import NAMESPACES, NEWEST, started
from tests.controlplane.plane import ROOT, ControlPlane, documents, path_of
from tests.controlplane.process import free_port
from tests.e2e.certmanager import CertManager
from tests.e2e.controller import NAMESPACE
from tests.e2e.pod import QUICK, Pod
from tests.e2e.webhook import Webhook
from tests.e2e.world import Cluster, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.controlplane.plane import Manifest

VALUES: Final = ROOT / "tests" / "chart" / "values"
MONITORING: Final = ("servicemonitors", "podmonitors", "prometheusrules")
"""Kinds of Prometheus Operator that the chart makes."""
APPLY: Final = "application/apply-patch+yaml"


class Release(Pod):
    """The chart, applied under a name in a namespace, and one pod of it."""

    def __init__(self, plane: ControlPlane, helm: Helm, name: str, namespace: str, *values: str) -> None:
        port = free_port()
        sets = [part for value in (QUICK, f"service.port={port}", *values) for part in ("--set", value)]
        self.objects = helm.objects(*sets, release=name, namespace=namespace)
        self.warnings = [warning for one in self.objects if (warning := server_side_apply(plane, one))]
        super().__init__(plane, next(one for one in self.objects if one["kind"] == "Deployment"))


def server_side_apply(plane: ControlPlane, manifest: Manifest) -> str:
    """Apply as `kubectl apply --server-side` does, unknown fields refused; returns what the API server warns of."""
    path = f"{path_of(manifest)}?fieldManager=helm&fieldValidation=Strict"
    answer = plane.call("PATCH", path, manifest, content_type=APPLY)
    assert answer.is_success, f"{path}: {answer.text}"
    if manifest["kind"] == "CustomResourceDefinition":
        plane.wait_served(manifest)
    return str(answer.headers.get("Warning", ""))


@pytest.fixture(scope="module", params=["helm4"])
def helm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm.required(request.param, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, helm: Helm) -> Iterator[Cluster]:
    """A cluster with cert-manager, and the chart with nothing but its own values; its pod is not started yet."""
    with started(request) as plane, ExitStack() as stack:
        operator = (
            build.operator_crds(plane.binaries) / f"monitoring.coreos.com_{plural}.yaml" for plural in MONITORING
        )
        plane.apply_all(documents(*sorted((plane.binaries / "crds" / NEWEST).glob("*.yaml")), *operator))
        for name in NAMESPACES:
            namespace = objects.namespace(name)
            if name == NAMESPACE:
                modes = ("enforce", "warn")
                namespace["metadata"]["labels"] = {f"pod-security.kubernetes.io/{one}": "restricted" for one in modes}
            plane.apply(namespace)
        account = {"name": "cert-manager", "namespace": "cert-manager"}
        plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        release = Release(plane, helm, "cdn-issuer", NAMESPACE)
        webhook, certmanager = Webhook(plane), CertManager(plane)
        for server in (webhook, certmanager):
            stack.callback(server.stop)
            server.start()
        yield Cluster(plane=plane, webhook=webhook, certmanager=certmanager, controller=release)


async def test_the_chart_as_it_is_issues_a_certificate(world: World) -> None:
    release = world.cluster.controller
    assert isinstance(release, Release)
    assert release.warnings == [], "Pod Security warns of nothing"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "namespace": NAMESPACE}, "spec": release.spec}
    server_side_apply(world.plane, pod)
    release.start()
    try:
        await world.issuer()
        world.certificate()
        assert "tls.crt" in await world.ready()
        shared = await world.cluster_issuer()
        world.certificate("other", issuer=shared, kind="CDNClusterIssuer")
        assert "tls.crt" in await world.ready("other")
        assert release.log(level="error") == []
    finally:
        assert release.stop() == 0


async def test_a_release_for_one_namespace_issues_there_and_has_no_right_elsewhere(world: World, helm: Helm) -> None:
    own = f"scope.namespaces={{{world.namespace}}}"
    release = Release(
        world.plane, helm, "small", world.namespace, own, "scope.clusterIssuers=false", "crds.enabled=false"
    )
    elsewhere = world.add_namespace()
    token = world.plane.token(world.namespace, release.spec["serviceAccountName"])
    for namespace, status in ((elsewhere, 403), (NAMESPACE, 403), (world.namespace, 404)):
        path = world.path("secrets", "none", namespace=namespace)
        assert world.plane.call("GET", path, token=token).status_code == status, namespace
    release.start()
    try:
        await world.issuer()
        world.certificate()
        assert "tls.crt" in await world.ready()
        assert release.log(level="error") == []
    finally:
        assert release.stop() == 0


@pytest.mark.parametrize(
    "values", ["monitoring.yaml", "podmonitor.yaml", "placement.yaml", "issuers.yaml", "namespaces.yaml"]
)
def test_objects_of_other_values_are_taken_by_the_api_server(cluster: Cluster, helm: Helm, values: str) -> None:
    for name in ("web", "shop", "shared", "monitoring"):
        cluster.plane.apply(objects.namespace(name))
    for one in helm.objects(
        "--values", VALUES / values, "--set", "crds.enabled=false", release="try", namespace=NAMESPACE
    ):
        server_side_apply(cluster.plane, one)
