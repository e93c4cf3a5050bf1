"""A leader that is told to stop: what is signed is delivered, and nothing is written by one that leads no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from issuer.kube.errors import LeaseLostError
from issuer.sandbox import objects
from issuer.sandbox.cluster import Fault
from tests.component.known_faults import REQUESTS, hurried, led
from tests.component.rig import request, status_writes, until

if TYPE_CHECKING:
    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

STATUS = f"/{REQUESTS}/one/status"
LEASE: dict[str, Any] = {
    "leader_election": True,
    "lease_duration": 1.0,
    "renew_deadline": 0.7,
    "retry_period": 0.1,
}
"""A Lease that is lost, and taken over, within a second or two."""


async def add_local_issuer(stage: Stage) -> None:
    await stage.apply(objects.issuer("local", [stage.backup()], namespace=stage.namespace))


async def test_a_stopping_leader_that_loses_its_lease_writes_nothing_more(new_stage: NewStage) -> None:
    async with new_stage(hurried(**LEASE, grace=5.0)) as stage:
        await add_local_issuer(stage)
        await led(stage)
        refused = stage.cluster.faults.add(Fault(kind="error", status=500, method="PATCH", path_contains=STATUS))
        await stage.ask("one", "local")
        await until(lambda: refused.hits > 0)
        program = stage.program
        stopping = asyncio.create_task(stage.stop_controller())
        await asyncio.sleep(0.1)
        lease = stage.cluster.get("leases", stage.options.lease_namespace, stage.options.lease_name)
        spec = {**lease["spec"], "holderIdentity": "another", "leaseDurationSeconds": 3600}
        metadata = {**lease["metadata"], "resourceVersion": ""}
        await stage.apply({**lease, "metadata": metadata, "spec": spec})
        await until(lambda: not program.elector.is_leading)
        stage.cluster.faults.remove(refused)
        (end,) = await asyncio.gather(stopping, return_exceptions=True)
        assert end is None or isinstance(end, LeaseLostError)
        assert 200 not in status_writes(stage, "one")
        assert request(stage, "one").ready is None
