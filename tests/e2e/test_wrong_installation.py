"""Installed wrong: CRDs of another version, or two releases for the same issuers. The controller says so."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.controlplane.fixtures import install, started
from tests.controlplane.plane import MERGE, ROOT, RefusedError, documents, path_of
from tests.e2e.bare import bare
from tests.e2e.controller import ACCOUNT, NAMESPACE, QUICK, Controller
from tests.e2e.inspecting import findings, told
from tests.e2e.test_late_crds import SEEN, crds, signs
from tests.e2e.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.e2e.world import Cluster


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster in which all is installed and nothing runs."""
    with started(request) as plane:
        install(plane)
        yield bare(plane)


@pytest_asyncio.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    """A test's part of it; the controller ends with the test."""
    world = World(cluster)
    await world.start()
    try:
        yield world
    finally:
        cluster.controller.stop()
        await world.stop()


def our_crds(*, older: bool) -> list[Any]:
    """Our CRDs, or those of a version that did not know `spec.trust`."""
    definitions = documents(*sorted((ROOT / "crds").glob("*.yaml")))
    for definition in definitions if older else ():
        for version in definition["spec"]["versions"]:
            del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["trust"]
    return definitions


def right_to_a_lease(name: str) -> list[Any]:
    """What a second release of the chart has for its own Lease."""
    group = "rbac.authorization.k8s.io"
    metadata = {"name": name, "namespace": NAMESPACE}
    rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [name]}
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [{**rule, "verbs": ["get", "update"]}],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
        },
    ]


async def test_older_crds_are_told_of_in_the_first_lines_and_by_the_probe_until_they_are_replaced(world: World) -> None:
    world.plane.apply_all(our_crds(older=True))
    controller = world.cluster.controller
    controller.server.start()
    await world.until(lambda: "lacks spec.trust;" in controller.unready(), "told", SEEN)
    (line,) = controller.log(event="CRDs of another version")
    assert "cdn-issuer crds | kubectl apply" in line["reason"]
    finding = await told(world, "OtherCRDs")
    assert "lacks spec.trust, which the API server drops without a word" in finding["sentence"]
    assert finding["fix"] == "cdn-issuer crds | kubectl apply --server-side -f -"
    await signs(world, "meanwhile")  # who installed it wrong is told, and the work goes on
    world.plane.apply_all(our_crds(older=False))
    await world.until(controller.is_ready, "ready", SEEN)


async def test_two_releases_at_the_same_issuers_are_told_of_by_both(world: World) -> None:
    first = world.cluster.controller
    first.start()
    await world.issuer("web")
    await world.issuer("api")
    world.plane.apply_all(right_to_a_lease("second"))
    second = Controller(world.plane, "second", flags=(*QUICK, "--lease-name", "second"))
    second.server.start()
    try:
        for one, other in ((first, "second"), (second, "cdn-issuer")):
            await world.until(
                lambda one=one, other=other: f"the Lease cdn-issuer-system/{other} serves" in one.unready(),  # type: ignore[misc]
                f"{other} told of",
                SEEN,
            )
            assert one.log(event="another controller serves the same issuers", level="warning")
        # Each answers the other once a minute, so which name is in which status changes; both names are in one look.
        for issuer, lease in (("web", "cdn-issuer"), ("api", "second")):
            status = {"status": {"controller": f"cdn-issuer-system/{lease}"}}
            world.plane.ask("PATCH", f"{world.path('cdnissuers', issuer)}/status", status, content_type=MERGE)
        finding = await told(world, "TwoControllers")
        assert "the Leases cdn-issuer-system/" in finding["sentence"]
    finally:
        second.stop()


async def test_a_cert_manager_that_is_too_old_or_missing_is_told_by_the_doctor(world: World) -> None:
    theirs = crds("cert-manager")
    (certificates,) = (crd for crd in theirs if crd["metadata"]["name"] == "certificates.cert-manager.io")
    older = copy.deepcopy(certificates)
    for version in older["spec"]["versions"]:
        del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["literalSubject"]
    try:
        world.plane.apply(older)
        assert "older than 1.9" in (await told(world, "CertManagerTooOld"))["sentence"]
        world.plane.call("DELETE", path_of(certificates))
        finding = await told(world, "MissingCRD")
        assert finding["sentence"].startswith(
            "the API server knows no certificates.cert-manager.io: cert-manager is not"
        )
    finally:
        world.plane.apply_all(theirs)
    await world.until(lambda: world.plane.call("GET", world.path("certificates")).is_success, "served", SEEN)
    assert await findings(world) == []


async def test_an_object_that_this_version_cannot_read_is_told_and_hides_no_other(world: World) -> None:
    """As after an upgrade of cert-manager whose fields have other types than any that was known."""
    (certificates,) = (one for one in crds("cert-manager") if one["spec"]["names"]["plural"] == "certificates")
    newer = copy.deepcopy(certificates)
    for version in newer["spec"]["versions"]:
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec["properties"]["secretName"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    world.certificate("readable")
    world.plane.apply(newer)
    try:
        metadata = {"name": "strange", "namespace": world.namespace}
        issuer = {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "web"}
        spec = {"secretName": {"of": "another type"}, "dnsNames": ["strange.example.com"], "issuerRef": issuer}
        manifest = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata, "spec": spec}
        await world.until(lambda: taken(world, manifest), "the newer CRD is served")
        finding = await told(world, "Unreadable")
        assert finding["severity"] == "error"
        assert finding["object"] == f"certificates {world.namespace}/strange"
        assert finding["sentence"].startswith("it holds what this program cannot read: ")
        assert finding["fix"] == f"kubectl get certificates --namespace {world.namespace} strange --output yaml"
        assert any(one["object"] == f"Certificate {world.namespace}/readable" for one in await findings(world))
    finally:
        world.plane.call("DELETE", world.path("certificates", "strange"))
        world.plane.apply(certificates)


def taken(world: World, manifest: dict[str, Any]) -> bool:
    try:
        world.plane.apply(manifest)
    except RefusedError:
        return False
    return True
