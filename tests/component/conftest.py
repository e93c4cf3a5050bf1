"""What all component tests need: both API servers, and the event loop of production.

`new_stage` makes stages: each test that asks for it runs on the sandbox and on a real kube-apiserver. Where the two
differ the sandbox is wrong.

A timer of uvloop is not one of asyncio's: it may fire a little early, and one that is due at once is a plain Handle.
Two faults that stopped the controller on a real API server were seen on no other loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from issuer.cli.run import LOOP_FACTORY
from issuer.cli.stage import Stage
from tests.controlplane.cluster import RealCluster

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator

    from tests.component.harness import NewStage


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
