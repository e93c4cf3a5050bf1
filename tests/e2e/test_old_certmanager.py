"""The incident with the cert-manager that it happened with: 1.9.1, its own controllers, and its backoff of an hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.controlplane.fixtures import install, started
from tests.e2e.certmanager import CertManager
from tests.e2e.controller import Controller
from tests.e2e.outage import DUE, RENEWED, add_issuer, fits, key_of, outage, serial_of
from tests.e2e.webhook import Webhook
from tests.e2e.world import Cluster, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

OLD = "1.9.1"
WAIT = 90.0
NAMES = tuple(f"site-{number}" for number in range(6))


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster with the old cert-manager and us; its webhook, which asks for the right to approve, is not there."""
    with started(request) as plane:
        install(plane, OLD)
        certmanager, controller = CertManager(plane, old=True), Controller(plane)
        try:
            certmanager.start()
            controller.start()
            yield Cluster(plane=plane, webhook=Webhook(plane), certmanager=certmanager, controller=controller)
        finally:
            controller.stop()
            certmanager.stop()


@pytest_asyncio.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    """A test's part of it."""
    world = World(cluster)
    await world.start()
    try:
        yield world
    finally:
        await world.stop()


def failed(world: World, name: str) -> bool:
    """Whether the last issuance of a Certificate has failed, as that version notes it."""
    certificate = world.get("certificates", name) or {}
    return "lastFailureTime" in certificate.get("status", {})


async def test_it_is_issued_and_renewed_with_a_fresh_key(world: World) -> None:
    await add_issuer(world)
    world.certificate(key={"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"}, **DUE)
    first = await world.ready()
    second = await world.ready(revision=2, timeout=RENEWED)
    assert serial_of(first) != serial_of(second)
    assert key_of(first) != key_of(second)
    assert fits(second)


async def test_what_failed_in_an_outage_is_issued_once_the_provider_is_back_and_nobody_types(world: World) -> None:
    await add_issuer(world, deadline="4s", recovery={"perMinute": 600})
    with outage(world):
        for name in NAMES:
            world.certificate(name)
        await world.until(lambda: sum(failed(world, name) for name in NAMES) >= len(NAMES) - 1, "they failed", WAIT)
    for name in NAMES:
        secret = await world.ready(name, timeout=WAIT)
        assert fits(secret)
        assert [one.serial for one in world.cdn.live(key_of(secret))] == [serial_of(secret)], "signed once"


async def test_with_a_fallback_nobody_notices(world: World) -> None:
    await add_issuer(world, backup=True)
    with outage(world):
        world.certificate()
        assert fits(await world.ready(timeout=WAIT))
    assert world.cdn.certificates == {}
