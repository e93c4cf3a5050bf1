"""What all component tests need: both API servers, and the event loop of production.

`new_stage` makes stages, `api` is an API server for plain HTTP: each test that asks for one runs on the sandbox and on
a real kube-apiserver. Where the two differ the sandbox is wrong.

A timer of uvloop is not one of asyncio's: it may fire a little early, and one that is due at once is a plain Handle.
Two faults that stopped the controller on a real API server were seen on no other loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from issuer.api import crd
from issuer.authorities import registry
from issuer.cli.run import LOOP_FACTORY
from issuer.cli.stage import Stage
from issuer.sandbox.cluster import Cluster
from tests.component.api_client import PATIENCE, Api
from tests.controlplane.cluster import RealCluster

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.component.harness import NewStage
    from tests.controlplane.plane import ControlPlane


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    """The loop factory that `cdn-issuer run` uses, for each test below this folder."""
    return {"uvloop": LOOP_FACTORY}


@pytest.fixture(params=["sandbox", "kube-apiserver"])
def new_stage(request: pytest.FixtureRequest) -> Iterator[NewStage]:
    """Makes stages on one of the two API servers; call it as `Stage` is called."""
    if request.param == "sandbox":
        yield Stage
        return
    plane = request.getfixturevalue("control_plane")
    made: list[RealCluster] = []

    def real(*args: Any, approve: bool = True, **fields: Any) -> Stage:
        made.append(RealCluster(plane, approve=approve))
        return Stage(*args, cluster=made[-1], **fields)

    yield real
    for cluster in made:
        cluster.wipe()


@pytest.fixture(params=["sandbox", "kube-apiserver"])
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """One of the two API servers with our CRDs in it, for plain HTTP."""
    if request.param == "sandbox":
        cluster = Cluster()
        await cluster.start()
        for document in crd.definitions(registry.configs()):
            await cluster.apply(document)
        client = httpx.AsyncClient(base_url=cluster.url, timeout=PATIENCE)
        try:
            async with client:
                yield await _with_namespace(Api(client, cluster.compact, real=False))
        finally:
            await cluster.stop()
        return
    plane: ControlPlane = request.getfixturevalue("control_plane")
    headers = {"Authorization": f"Bearer {plane.admin_token}"}
    async with httpx.AsyncClient(
        base_url=plane.url, verify=plane.ssl_context(), headers=headers, timeout=PATIENCE
    ) as client:
        api = await _with_namespace(Api(client, plane.compact, real=True))
        try:
            yield api
        finally:
            await api.clean()


async def _with_namespace(api: Api) -> Api:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": api.namespace}}
    await api.ask("POST", "/api/v1/namespaces", body)
    return api
