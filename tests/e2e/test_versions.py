"""Older cert-managers: their CRDs, and requests and approvals as they wrote them.

1.9 gave a request a name with five random characters, 1.13 began to use the same names again. Neither can filter a
watch by issuer. None of their processes runs here.
"""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from cryptography import x509

from issuer.sandbox import objects
from tests.component.rig import POST
from tests.controlplane.fixtures import install, started
from tests.e2e.bare import bare, create, fail, owned, speak
from tests.e2e.outage import add_issuer, message_of, outage
from tests.e2e.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.controlplane.plane import Manifest
    from tests.e2e.world import Cluster

AUTHOR: dict[str, Any] = {
    "username": "system:serviceaccount:cert-manager:cert-manager",
    "uid": "3f0c9f0e-6a9e-4a53-8a5c-0d6f7a2d0001",
    "groups": ["system:serviceaccounts", "system:serviceaccounts:cert-manager", "system:authenticated"],
    "extra": {"authentication.kubernetes.io/pod-name": ["cert-manager-5d7f97b46d-abcde"]},
}
"""What the webhook of those versions wrote into each request."""
OURS = {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "web"}
NEW_NAMES = pytest.mark.parametrize("release", ["1.13.6"], indirect=True)


@pytest.fixture(scope="module", params=["1.9.1", "1.13.6"])
def release(request: pytest.FixtureRequest) -> Iterator[tuple[str, Cluster]]:
    """A cluster with the CRDs of an older cert-manager, and our controller."""
    with started(request) as plane:
        install(plane, request.param)
        cluster = bare(plane)
        try:
            cluster.controller.start()
            yield request.param, cluster
        finally:
            cluster.controller.stop()


@pytest_asyncio.fixture
async def world(release: tuple[str, Cluster]) -> AsyncIterator[World]:
    """A test's part of it, with an issuer that fails soon."""
    world = World(release[1])
    await world.start()
    try:
        await add_issuer(world, deadline="6s")
        yield world
    finally:
        await world.stop()


def ask(world: World, version: str, *, issuer: Manifest | None = None, approve: bool = True) -> str:
    """Make the request for the first revision of the Certificate `site`, as that version did; returns its name."""
    if world.get("certificates", "site") is None:
        world.certificate()
    manifest = objects.certificate_request(
        "site-1",
        objects.signing_request(["site.example.com"]),
        namespace=world.namespace,
        issuer="web",
    )
    manifest["spec"].update(AUTHOR, usages=["digital signature", "key encipherment"], issuerRef=issuer or OURS)
    metadata = manifest["metadata"]
    metadata.update(owned(world, "site"))
    if version == "1.9.1":
        metadata["generateName"] = metadata.pop("name").removesuffix("1")
    name = create(world, manifest)
    if approve:
        speak(world, name)
    return name


def leaf_of(request: Manifest) -> x509.Certificate:
    return x509.load_pem_x509_certificates(b64decode(request["status"]["certificate"]))[0]


async def test_where_the_server_cannot_filter_the_controller_does_and_signs_only_its_own(
    release: tuple[str, Cluster], world: World
) -> None:
    version, cluster = release
    selected = "/apis/cert-manager.io/v1/certificaterequests?fieldSelector=spec.issuerRef.group%3Dcdn-issuer.io"
    assert cluster.plane.call("GET", selected).status_code == 400
    assert "not filtered by the server, but here" in cluster.controller.server.log.read_text()
    foreign = ask(world, "1.9.1", issuer={"group": "cert-manager.io", "kind": "Issuer", "name": "web"})
    before = world.plane.ask("GET", world.path("certificaterequests", foreign))
    name = ask(world, version)
    assert (name == "site-1") is (version != "1.9.1")
    issued = await world.request_with("Issued", name)
    (record,) = world.cdn.certificates.values()
    assert leaf_of(issued).serial_number == record.serial
    assert issued["status"]["ca"]
    assert world.cdn.calls[POST] == 1
    assert world.condition("certificaterequests", name, "Approved") == ("True", "cert-manager.io"), "left as it was"
    assert world.plane.ask("GET", world.path("certificaterequests", foreign)) == before, "not touched"


async def test_one_that_nobody_approved_is_left_alone_until_somebody_does(
    release: tuple[str, Cluster], world: World
) -> None:
    name = ask(world, release[0], approve=False)
    other = ask(world, "1.9.1")
    await world.request_with("Issued", other)
    assert "status" not in world.plane.ask("GET", world.path("certificaterequests", name))
    speak(world, name)
    await world.request_with("Issued", name)
    assert world.cdn.calls[POST] == 2


async def test_one_that_nobody_can_sign_is_told_and_fails_at_its_deadline(
    release: tuple[str, Cluster], world: World
) -> None:
    with outage(world):
        name = ask(world, release[0])
        await world.request_with("Pending", name)
        await world.until(
            lambda: any("AuthorityUnavailable" in event for event in world.events("Certificate", "site")), "told"
        )
        failed = await world.request_with("Failed", name)
    assert failed["status"]["failureTime"]
    assert "edge" in message_of(failed)
    assert world.cdn.certificates == {}


async def test_a_denied_one_ends_so(release: tuple[str, Cluster], world: World) -> None:
    name = ask(world, release[0], approve=False)
    speak(world, name, "Denied", "No policy approved this request")
    denied = await world.request_with("Denied", name)
    assert denied["status"]["failureTime"]
    assert world.cdn.calls[POST] == 0


@NEW_NAMES
async def test_the_same_name_again_is_another_request(release: tuple[str, Cluster], world: World) -> None:
    first = await world.request_with("Issued", ask(world, release[0]))
    world.delete("certificaterequests", "site-1")
    assert ask(world, release[0]) == "site-1"
    second = await world.request_with("Issued", "site-1")
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    assert leaf_of(first).serial_number != leaf_of(second).serial_number
    assert world.cdn.calls[POST] == len(world.cdn.certificates) == 2


async def test_after_an_outage_its_issuance_is_started_again(release: tuple[str, Cluster], world: World) -> None:
    version, _ = release
    with outage(world):
        name = ask(world, version)
        await world.request_with("Failed", name)
        fail(world, "site")
    issuing = ("True", "RenewedAfterOutage")
    await world.until(lambda: world.condition("certificates", "site", "Issuing") == issuing, "started again")
    world.delete("certificaterequests", name)
    again = ask(world, version)
    assert (again == name) is (version != "1.9.1")
    await world.request_with("Issued", again)
    assert world.condition("certificates", "site", "Issuing") == issuing, "the rest is cert-manager's"
