"""Each right of the controller is used, and each is missed: nothing is granted for nothing.

What is used is what the audit log says of a rich run. What is missed is seen by taking the rights away, one
at a time: the log names the verb and the resource, as whoever installed it has to be told.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
import pytest_asyncio
import yaml

from issuer.sandbox import objects
from issuer.sandbox.cluster import Fault
from tests.controlplane.fixtures import LOGS, STARTED, binaries, install
from tests.controlplane.plane import MERGE, ROOT, ControlPlane, path_of
from tests.controlplane.proxy import Proxy
from tests.e2e.bare import bare, create, fail, owned, speak
from tests.e2e.controller import ACCOUNT, NAMESPACE, Controller
from tests.e2e.delegating import cert_manager_issuer, stand_for
from tests.e2e.outage import add_issuer
from tests.e2e.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.controlplane.plane import Manifest
    from tests.e2e.world import Cluster

USER: Final = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
LEASES: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
SEEN: Final = 120.0
"""Seconds; a round of clean-up comes once a minute."""
ROLES: Final = ("ClusterRole", "Role")


class Right(NamedTuple):
    """One verb on one resource."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


def roles() -> list[Manifest]:
    """The roles of the controller, as they are shipped."""
    documents = list(yaml.safe_load_all((ROOT / "deploy" / "rbac.yaml").read_text()))
    bound = {
        one["roleRef"]["name"]
        for one in documents
        if one["kind"].endswith("Binding") and one["subjects"][0]["name"] == ACCOUNT
    }
    return [one for one in documents if one["kind"] in ROLES and one["metadata"]["name"] in bound]


def rights(role: Manifest) -> Iterator[Right]:
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield Right(group, resource, verb)


ALL: Final = sorted({right for role in roles() for right in rights(role)})


def without(role: Manifest, right: Right) -> Manifest:
    """The role with every rule split into single rights, and that one left out."""
    rules: list[dict[str, Any]] = []
    for rule in role["rules"]:
        for one in rights({"rules": [rule]}):
            if one != right:
                parts = {"apiGroups": [one.group], "resources": [one.resource], "verbs": [one.verb]}
                rules.append({**rule, **parts})
    return {**role, "rules": rules}


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster in which all is installed and nothing runs."""
    with ControlPlane(binaries(), keep_logs_in=LOGS, audited=True) as plane:
        request.config.stash[STARTED] = True
        install(plane)
        yield bare(plane)
        plane.failed |= request.session.testsfailed > 0


@pytest_asyncio.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    """A test's part of it, without a Lease that another test has left."""
    cluster.plane.call("DELETE", f"{LEASES}/cdn-issuer")
    world = World(cluster)
    await world.start()
    try:
        yield world
    finally:
        cluster.plane.apply_all(roles())
        await world.stop()


@contextlib.asynccontextmanager
async def controller(world: World, name: str) -> AsyncIterator[tuple[Controller, Proxy]]:
    """A controller behind a proxy of its own; it is started, and need not become ready."""
    link = Proxy(world.plane.url, world.plane.ssl_context(), lambda _path, _number: None)
    found = Controller(world.plane, name, url=await link.start())
    found.server.start()
    try:
        yield found, link
    finally:
        found.server.kill()
        await link.stop()


def grow_old(world: World) -> None:
    """Four requests of one Certificate that failed days ago, one more than stay."""
    world.certificate("old", issuer="web")
    for revision in range(1, 5):
        name = f"old-{revision}"
        csr = objects.signing_request(["old.example.com"])
        request = objects.certificate_request(name, csr, namespace=world.namespace, issuer="web")
        metadata = owned(world, "old")
        metadata["annotations"]["cert-manager.io/certificate-revision"] = str(revision)
        create(world, request, {"name": name, "namespace": world.namespace, **metadata})
        ready = {"type": "Ready", "status": "False", "reason": "Failed", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        status = {"conditions": [ready], "failureTime": "2026-01-01T00:00:00Z"}
        path = f"{world.path('certificaterequests', name)}/status"
        world.plane.ask("PATCH", path, {"status": status}, content_type=MERGE)


async def ask_others(world: World) -> None:
    """An issuer of issuers, of which one is there and answers nothing, and its request that nobody approves."""
    absent = [stand_for("absent"), stand_for("gone", kind="ClusterIssuer")]
    cert_manager_issuer(world, "there", {"selfSigned": {}})
    local = {"name": "backup", "ca": {"secretRef": {"name": "others-ca"}}}
    world.plane.apply(objects.ca_secret("others-ca", world.namespace))
    authorities = [*absent, stand_for("there", turn="2s"), local]
    world.plane.apply(objects.issuer("others", authorities, namespace=world.namespace))
    csr = objects.signing_request(["others.example.com"])
    create(world, objects.certificate_request("others", csr, namespace=world.namespace, issuer="others"))
    speak(world, "others")
    await world.request_with("Issued", "others")


async def rich_run(world: World, link: Proxy) -> None:
    """All that a controller does in its life: both kinds of issuer, a write that is refused once, a repeated event, and
    an outage after which it has a Certificate issued again, and requests that failed long ago."""
    await world.issuer()
    grow_old(world)
    shared = await world.cluster_issuer()
    for name, issuer, kind in (("one", "web", "CDNIssuer"), ("two", shared, "CDNClusterIssuer")):
        if name == "two":
            link.faults.add(Fault(kind="conflict", method="PATCH", path_contains="certificaterequests", count=1))
        csr = objects.signing_request([f"{name}.example.com"])
        create(world, objects.certificate_request(name, csr, namespace=world.namespace, issuer=issuer, kind=kind))
        speak(world, name)
        await world.request_with("Issued", name)
    await add_issuer(world, "brief", deadline="4s")
    down = world.cdn.faults.set("status", status=503, methods=["POST"], paths=["/certificates"])
    world.certificate("late", issuer="brief")
    csr = objects.signing_request(["late.example.com"])
    late = objects.certificate_request("late-1", csr, namespace=world.namespace, issuer="brief")
    create(world, late, {"name": "late-1", "namespace": world.namespace, **owned(world, "late")})
    speak(world, "late-1")
    await world.request_with("Failed", "late-1")
    world.cdn.faults.clear(down)
    fail(world, "late")
    issuing = "RenewedAfterOutage"
    await world.until(lambda: world.condition("certificates", "late", "Issuing")[1] == issuing, issuing)
    await ask_others(world)
    web = world.plane.ask("GET", world.path("cdnissuers", "web"))
    secret = web["spec"]["authorities"][0]["cloudflare"]["apiTokenSecretRef"]
    for name in ("absent", "cloudflare") * 2:
        secret["name"] = name
        world.plane.apply({**web, "metadata": {"name": "web", "namespace": world.namespace}})
        ready = "True" if name == "cloudflare" else "False"
        await world.until(lambda ready=ready: world.condition("cdnissuers", "web", "Ready")[0] == ready, ready)  # type: ignore[misc]


async def test_every_right_is_used_and_nothing_else_is_asked_for(world: World) -> None:
    async with controller(world, "rich") as (found, link):
        await rich_run(world, link)

        def used() -> set[Right]:
            return {
                Right(
                    about.get("apiGroup", ""),
                    "/".join(filter(None, (about["resource"], about.get("subresource")))),
                    event["verb"],
                )
                for event in world.plane.audit(USER)
                if (about := event.get("objectRef")) and "resource" in about
            }

        await world.until(lambda: used() >= set(ALL), f"{set(ALL) - used()} used", SEEN)
        assert used() - set(ALL) == set()
        refused = [event for event in world.plane.audit(USER) if event["responseStatus"]["code"] == 403]
        assert refused == []
        assert [line["name"] for line in found.log(level="error")] == ["late-1"], "the one that was to fail"


@pytest.mark.parametrize("right", ALL, ids=str)
async def test_a_right_that_is_missing_is_named_in_the_log(world: World, right: Right) -> None:
    world.plane.apply_all(without(role, right) for role in roles())
    # In the API server's words, or in ours where those would not say enough.
    words = (
        f'cannot {right.verb} resource \\"{right.resource}\\"',
        f"verb {right.verb} on the resource {right.resource}",
    )

    def named() -> bool:
        text = found.server.log.read_text()
        return any(one in text for one in words)

    async with controller(world, f"without-{ALL.index(right)}") as (found, link):
        running = asyncio.create_task(rich_run(world, link))
        try:
            await world.until(named, f"{right} named", SEEN)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def test_the_roles_that_are_bound_are_all_there_is() -> None:
    kinds = [(role["kind"], role["metadata"]["name"]) for role in roles()]
    assert kinds == [
        ("ClusterRole", "cdn-issuer-issuer-refs"),
        ("ClusterRole", "cdn-issuer-controller"),
        ("Role", "cdn-issuer-leader"),
    ]
    assert path_of(roles()[2]).endswith("/roles/cdn-issuer-leader")
