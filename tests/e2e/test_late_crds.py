"""CRDs that come after the controller, and that go while it runs: it says what is missing, waits, and goes on.

Deleting a CRD deletes its objects, so what is signed afterwards belongs to objects that were made anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
import pytest_asyncio

from issuer.sandbox import objects
from tests.component.rig import POST
from tests.controlplane.fixtures import NAMESPACES, NEWEST, binaries, started
from tests.controlplane.plane import ROOT, documents, path_of
from tests.e2e.bare import bare, create, speak
from tests.e2e.outage import add_issuer, outage
from tests.e2e.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.controlplane.plane import Manifest
    from tests.e2e.world import Cluster

SEEN: Final = 60.0
"""Seconds in which a controller finds CRDs that were missing, or misses them."""


def crds(side: str) -> list[Manifest]:
    """The CRDs of `cert-manager`, or `ours`."""
    folder = ROOT / "crds" if side == "ours" else binaries() / "crds" / NEWEST
    return documents(*sorted(folder.glob("*.yaml")))


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster without any CRD, but with what `deploy/` has."""
    with started(request) as plane:
        plane.apply_all(objects.namespace(name) for name in NAMESPACES)
        plane.apply_all(documents(ROOT / "deploy" / "rbac.yaml"))
        yield bare(plane)


@pytest_asyncio.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    """A test's part of it; the controller ends with the test, and with it every CRD."""
    world = World(cluster)
    await world.start()
    try:
        yield world
    finally:
        cluster.controller.stop()
        for side in ("ours", "cert-manager"):
            await remove(world, side)
        await world.stop()


async def remove(world: World, side: str) -> None:
    """Delete the CRDs of one side, with all of their objects, and wait until they are gone."""
    for crd in crds(side):
        world.plane.call("DELETE", path_of(crd))
    paths = [path_of(crd) for crd in crds(side)]
    await world.until(lambda: all(world.plane.call("GET", path).status_code == 404 for path in paths), "gone", SEEN)


async def complains(world: World, plural: str) -> None:
    """Wait until the readiness probe says that a kind of object is missing."""
    controller = world.cluster.controller
    await world.until(lambda: plural in controller.unready(), f"{plural} missed", SEEN)
    assert controller.server.returncode is None


def ask(world: World, name: str) -> None:
    """Make a request, and approve it."""
    csr = objects.signing_request([f"{name}.example.com"])
    create(world, objects.certificate_request(name, csr, namespace=world.namespace, issuer="web"))
    speak(world, name)


async def signs(world: World, name: str) -> None:
    """Have a request signed, by an issuer that is made anew if need be."""
    await add_issuer(world)
    ask(world, name)
    await world.request_with("Issued", name)


@pytest.mark.parametrize(
    ("first", "late", "missing"),
    [
        ("ours", "cert-manager", "certificaterequests"),
        ("cert-manager", "ours", "cdnissuers"),
    ],
)
async def test_crds_that_are_installed_late_are_waited_for(world: World, first: str, late: str, missing: str) -> None:
    world.plane.apply_all(crds(first))
    world.cluster.controller.server.start()
    await complains(world, missing)
    world.plane.apply_all(crds(late))
    await world.until(world.cluster.controller.is_ready, "ready", SEEN)
    await signs(world, "www")
    assert world.cdn.calls[POST] == 1


async def test_a_cluster_without_any_crd_is_waited_for_too(world: World) -> None:
    world.cluster.controller.server.start()
    await world.until(lambda: "install the CRDs" in world.cluster.controller.unready(), "told", SEEN)
    for side in ("ours", "cert-manager"):
        world.plane.apply_all(crds(side))
    await world.until(world.cluster.controller.is_ready, "ready", SEEN)
    await signs(world, "www")


@pytest.mark.parametrize(("side", "missing"), [("cert-manager", "certificaterequests"), ("ours", "cdnissuers")])
async def test_crds_that_are_deleted_and_installed_again_work_again(world: World, side: str, missing: str) -> None:
    for one in ("ours", "cert-manager"):
        world.plane.apply_all(crds(one))
    controller = world.cluster.controller
    controller.start()
    await signs(world, "before")
    pid = controller.server.pid
    with outage(world):
        ask(world, "waiting")
        await world.request_with("Pending", "waiting")
        await remove(world, side)
        await complains(world, missing)
    world.plane.apply_all(crds(side))
    await world.until(controller.is_ready, "ready", SEEN)
    if side == "ours":
        await signs(world, "after")
        await world.request_with("Issued", "waiting", timeout=SEEN)
    else:
        ask(world, "after")  # the issuer is still there; it says that edge is down until something is signed
        await world.request_with("Issued", "after")
        assert world.get("certificaterequests", "waiting") is None, "it went with its CRD"
    assert world.cdn.ledger.duplicates() == 0
    assert (controller.server.pid, controller.server.returncode) == (pid, None), "never started again"
    assert [line for line in controller.log(level="error") if world.namespace in str(line)] == []
