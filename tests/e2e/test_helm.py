"""A release as Helm itself handles it: installed before cert-manager, upgraded, rolled back, uninstalled.

No kubelet runs its Deployment; a pod is made of what the API server has of it.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from issuer.sandbox import objects
from tests.chart.helm import CHART, Helm, HelmError
from tests.controlplane.fixtures import NEWEST, started
from tests.controlplane.plane import ControlPlane, documents, path_of
from tests.controlplane.process import free_port
from tests.e2e.certmanager import CertManager
from tests.e2e.controller import NAMESPACE
from tests.e2e.kubectl import BINARY, needs_kubectl
from tests.e2e.pod import QUICK, Pod
from tests.e2e.webhook import Webhook
from tests.e2e.world import Cluster, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

OLDER: Final = Path(__file__).parents[1] / "upgrade" / "older"
SEEN: Final = 60.0
OURS: Final = f"{NAMESPACE}/cdn-issuer"
CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(params=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest, tmp_path: Path) -> Helm:
    return Helm.required(request.param, tmp_path)


@pytest.fixture
def plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A cluster in which nothing is installed yet."""
    with started(request) as plane:
        yield plane


class Release:
    """A release of Helm's, by its name and namespace."""

    def __init__(self, plane: ControlPlane, helm: Helm, name: str = "cdn-issuer", namespace: str = NAMESPACE) -> None:
        self.plane = plane
        self.name = name
        self.namespace = namespace
        self.port = free_port()
        self._helm = helm.on(plane.kubeconfig("admin", plane.admin_token))

    def install(self, *values: str, chart: Path = CHART) -> str:
        """What Helm prints."""
        return self._put("install", *values, chart=chart, further=("--create-namespace",))

    def upgrade(self, *values: str, chart: Path = CHART) -> str:
        return self._put("upgrade", *values, chart=chart)

    def rollback(self, revision: int) -> None:
        self._helm.run("rollback", self.name, str(revision), "--namespace", self.namespace)

    def uninstall(self) -> str:
        return self._helm.run("uninstall", self.name, "--namespace", self.namespace)

    def pod(self) -> Pod:
        """One pod of its Deployment, as the API server has it; not started."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{self.name}"
        return Pod(self.plane, self.plane.ask("GET", path))

    def _put(self, verb: str, *values: str, chart: Path, further: tuple[str, ...] = ()) -> str:
        sets = [part for value in (QUICK, f"service.port={self.port}", *values) for part in ("--set", value)]
        return self._helm.run(verb, self.name, chart, "--namespace", self.namespace, *further, *sets)


def install_cert_manager(plane: ControlPlane) -> None:
    """Its CRDs, and the ServiceAccount that the chart lets approve."""
    plane.apply_all(documents(*sorted((plane.binaries / "crds" / NEWEST).glob("*.yaml"))))
    plane.apply(objects.namespace("cert-manager"))
    account = {"name": "cert-manager", "namespace": "cert-manager"}
    plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})


@contextmanager
def running(plane: ControlPlane, pod: Pod) -> Iterator[Cluster]:
    """cert-manager runs, and the pod until it ends; it is started by the test."""
    with ExitStack() as stack:
        webhook, certmanager = Webhook(plane), CertManager(plane)
        for server in (webhook, certmanager):
            stack.callback(server.stop)
            server.start()
        stack.callback(pod.stop)
        yield Cluster(plane=plane, webhook=webhook, certmanager=certmanager, controller=pod)


@asynccontextmanager
async def world_of(cluster: Cluster) -> AsyncIterator[World]:
    world = World(cluster)
    await world.start()
    try:
        yield world
    finally:
        await world.stop()


def commands(notes: str) -> str:
    """The part of NOTES.txt that is to be pasted, without what waits for a real provider."""
    _, _, rest = notes.partition("Next, make an issuer")
    _, _, rest = rest.partition(":\n")
    lines = [line.removeprefix("  ") for line in rest.splitlines()]
    return "\n".join(line for line in lines if " wait --for" not in line)


@needs_kubectl
def test_a_release_that_comes_before_cert_manager_waits_for_it_and_its_notes_can_be_pasted(
    plane: ControlPlane, helm: Helm, tmp_path: Path
) -> None:
    release = Release(plane, helm)
    notes = release.install()
    assert "cert-manager is not installed in this cluster yet" in notes
    pod = release.pod()
    pod.server.start()
    try:
        pod.server.wait_until(lambda: "install the CRDs of cert-manager.io" in pod.unready(), SEEN)
        assert [line for line in pod.log(level="warning") if "certificaterequests" in str(line)]
        install_cert_manager(plane)
        pod.server.wait_until(pod.is_ready, SEEN)
    finally:
        pod.stop()
    assert BINARY is not None
    kubeconfig = str(plane.kubeconfig("admin", plane.admin_token))
    plane.apply(objects.namespace("default"))
    shell = f'kubectl() {{ {shlex.quote(BINARY)} --kubeconfig {shlex.quote(kubeconfig)} "$@"; }}\n{commands(notes)}\n'
    done = subprocess.run(
        ["bash", "-ec", shell], env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "cdnissuer.cdn-issuer.io/web created" in done.stdout
    assert "cert-manager is not installed" not in release.upgrade()


def older_chart(folder: Path) -> Path:
    """The chart with the CRDs of an older version."""
    chart = folder / "older"
    shutil.copytree(CHART, chart)
    for path in OLDER.glob("*.yaml"):
        shutil.copy(path, chart / "files" / "crds" / path.name)
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**about, "version": "0.0.9"}))
    return chart


def served_crd(plane: ControlPlane) -> Any:
    found = plane.ask("GET", f"{CRDS}/cdnissuers.cdn-issuer.io")
    return found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]


async def test_objects_of_an_older_version_are_served_after_the_upgrade_and_after_the_way_back(
    plane: ControlPlane, helm: Helm, tmp_path: Path
) -> None:
    install_cert_manager(plane)
    release = Release(plane, helm)
    release.install(chart=older_chart(tmp_path))
    plane.wait_served(documents(CHART / "files" / "crds" / "cdn-issuer.io_cdnissuers.yaml")[0])
    assert "trust" not in served_crd(plane)["spec"]["properties"]
    pod = release.pod()
    with running(plane, pod) as cluster:
        async with world_of(cluster) as world:
            # Made under the older CRD, which fills in all of its defaults, those of a `ca` too.
            pod.server.start()
            await world.issuer("old", backup=True)
            assert world.plane.ask("GET", world.path("cdnissuers", "old"))["spec"]["authorities"][1]["timeouts"]
            world.certificate("before", issuer="old")
            await world.ready("before")
            await world.until(lambda: "of another version" in pod.unready(), "told", SEEN)

            release.upgrade()
            await world.until(lambda: "trust" in served_crd(plane)["spec"]["properties"], "the new CRD", SEEN)
            pod.stop()
            pod.start()
            world.certificate("after", issuer="old")
            await world.ready("after")
            await world.issuer("new", backup=True, trust="All")
            world.certificate("new", issuer="new")
            await world.ready("new")
            await world.until(
                lambda: controllers(world) == {"old": OURS, "new": OURS}, "the status says who wrote it", SEEN
            )

            release.rollback(1)
            await world.until(lambda: "trust" not in served_crd(plane)["spec"]["properties"], "the old CRD", SEEN)
            pod.stop()
            pod.server.start()
            await world.until(lambda: "of another version and lacks" in pod.unready(), "told", SEEN)
            for issuer in ("old", "new"):
                world.certificate(f"back-{issuer}", issuer=issuer)
                await world.ready(f"back-{issuer}")
            assert [line for line in pod.log(level="error") if "not ready" not in line["event"]] == []


def controllers(world: World) -> dict[str, str]:
    """Who looks after each issuer of the test, by their status."""
    return {one["metadata"]["name"]: one["status"].get("controller", "") for one in world.all("cdnissuers")}


def test_an_uninstallation_leaves_issuers_and_nothing_else_unless_it_is_told_to(
    plane: ControlPlane, helm: Helm
) -> None:
    install_cert_manager(plane)
    first = Release(plane, helm)
    first.install()
    plane.wait_served(documents(CHART / "files" / "crds" / "cdn-issuer.io_cdnissuers.yaml")[0])
    issuer = objects.issuer("web", [{"name": "local", "ca": {"secretRef": {"name": "ca"}}}], namespace="default")
    plane.apply(issuer)

    second = Release(plane, helm, "second", "elsewhere")
    with pytest.raises(HelmError, match=r"crds\.enabled: the CRDs belong to the release cdn-issuer in the namespace"):
        second.install()
    second.install("crds.enabled=false")
    second.uninstall()

    first.uninstall()
    assert plane.call("GET", path_of(issuer)).is_success
    assert left(plane) == []

    first.install("issuers[0].name=more,issuers[0].spec.authorities[0].name=local", values_of_ca())
    assert plane.call("GET", path_of(issuer)).is_success
    assert plane.call("GET", "/apis/cdn-issuer.io/v1alpha1/namespaces/cdn-issuer-system/cdnissuers/more").is_success
    first.upgrade("crds.keep=false")
    first.uninstall()
    gone = f"{CRDS}/cdnissuers.cdn-issuer.io"
    first_try = plane.call("GET", gone)
    assert first_try.status_code == 404 or "deletionTimestamp" in first_try.json()["metadata"]


def values_of_ca() -> str:
    return "issuers[0].spec.authorities[0].ca.secretRef.name=ca"


def left(plane: ControlPlane) -> list[str]:
    """Objects of any release that are there but for CRDs."""
    paths = [
        "/apis/apps/v1/deployments",
        "/api/v1/services",
        "/api/v1/serviceaccounts",
        "/apis/policy/v1/poddisruptionbudgets",
        *(
            f"/apis/rbac.authorization.k8s.io/v1/{plural}"
            for plural in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")
        ),
    ]
    query = "?labelSelector=app.kubernetes.io/name%3Dcdn-issuer"
    return [item["metadata"]["name"] for path in paths for item in plane.ask("GET", f"{path}{query}")["items"]]
