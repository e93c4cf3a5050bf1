"""The whole: a real API server, cert-manager's controllers and webhook, and `cdn-issuer run`, each a process.

All tests here share them, and each has a namespace and a provider of its own. The control plane is not that of the
component tests: their controller would fight with this one for the Lease.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from issuer.cli.run import LOOP_FACTORY
from tests.controlplane.fixtures import install, started
from tests.e2e.certmanager import CertManager
from tests.e2e.collector import Collector
from tests.e2e.controller import Controller
from tests.e2e.webhook import Webhook
from tests.e2e.world import Cluster, World

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.controlplane.plane import ControlPlane


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    """The loop factory that `cdn-issuer run` uses, for each test below this folder."""
    return {"uvloop": LOOP_FACTORY}


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster in which cert-manager and cdn-issuer are installed and running."""
    with started(request) as plane, ExitStack() as stack:
        install(plane)
        webhook, certmanager, controller = Webhook(plane), CertManager(plane), Controller(plane)
        for server in (webhook, certmanager, controller):
            stack.callback(server.stop)
            server.start()
        yield Cluster(plane=plane, webhook=webhook, certmanager=certmanager, controller=controller)


@pytest.fixture(scope="module")
def collector(cluster: Cluster) -> Iterator[Collector]:
    """kube-controller-manager, for a module whose tests need what it deletes."""
    server = Collector(cluster.plane)
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    """A test's part of the cluster."""
    world = World(cluster)
    await world.start()
    try:
        yield world
    finally:
        await world.stop()


@pytest.fixture(scope="module")
def faulty_plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A control plane without cert-manager, for a module whose tests break it."""
    with started(request) as plane:
        install(plane)
        yield plane
