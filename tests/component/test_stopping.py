"""A leader that is told to stop: what is signed is delivered, and nothing is written by one that leads no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from issuer.controllers.pace import Pace
from issuer.kube.errors import LeaseLostError
from issuer.sandbox import objects
from issuer.sandbox.cluster import Fault
from tests.component.quick import PATIENT, REQUESTS, hurried, led, ready_issuers, reason
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


async def test_a_stop_delivers_what_is_signed_while_checks_and_turns_hang(new_stage: NewStage) -> None:
    pace = Pace(first=0.05, largest=0.2, first_write=20, largest_write=20)
    async with new_stage(hurried(pace=pace, grace=1.5)) as stage:
        await add_local_issuer(stage)
        await stage.apply(objects.issuer("web", [stage.edge(**PATIENT)], namespace=stage.namespace))
        await led(stage)
        await until(lambda: ready_issuers(stage) == 2)
        await asyncio.sleep(0.3)  # becoming ready has results written again too
        refused = stage.cluster.faults.add(Fault(kind="error", status=500, method="PATCH", path_contains=STATUS))
        await stage.ask("one", "local")
        await until(lambda: refused.hits > 0)
        stage.cdn.faults.set("hang")
        await stage.ask("two", "web")
        await until(lambda: stage.cdn.hanging == 1)
        other = {"cloudflare": {**stage.edge()["cloudflare"], "apiTokenSecretRef": {"name": "other", "key": "token"}}}
        await stage.apply(objects.secret("other", stage.namespace, {"token": b"other"}))
        await stage.apply(objects.issuer("other", [stage.edge(**PATIENT, **other)], namespace=stage.namespace))
        await until(lambda: stage.cdn.hanging == 2)
        stage.cluster.faults.remove(refused)
        await stage.stop_controller()
        assert reason(request(stage, "one")) == "Issued"
