"""Two replicas: one works, the other stands by, and never do both."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from issuer.api.request import signer_of
from issuer.controllers.program import Options, Program
from issuer.kube.client import KubeClient
from issuer.kube.errors import LeaseLostError
from issuer.observe.metrics import Metrics
from issuer.sandbox.cluster import Fault
from tests.component.harness import ended, live, signatures, two_authorities
from tests.component.rig import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

SHORT = Options(
    lease_duration=3.0, renew_deadline=2.0, retry_period=0.2, identity="first", allow_insecure_endpoints=True
)
LEASE = "cdn-issuer"


def holder(stage: Stage) -> str:
    leases = stage.cluster.list("leases")
    return str(leases[0]["spec"].get("holderIdentity") or "") if leases else ""


@asynccontextmanager
async def second_replica(stage: Stage) -> AsyncIterator[Program]:
    """Another controller on the same cluster, with its own client."""
    async with KubeClient(stage.cluster.access()) as client:
        program = Program(client, Metrics(), replace(SHORT, identity="second"))
        client.guard = program.may_write
        stop = asyncio.Event()
        running = asyncio.create_task(program.run(stop))
        try:
            yield program
        finally:
            stop.set()
            await asyncio.gather(running, return_exceptions=True)


async def test_only_the_holder_of_the_lease_works(new_stage: NewStage) -> None:
    async with new_stage(SHORT) as stage:
        await stage.cluster.wait_for(lambda: holder(stage) == "first")
        await two_authorities(stage)
        async with second_replica(stage) as second:
            await until(lambda: second.unready() is None)
            csr = await stage.ask("www", "web")
            await ended(stage, "www")
            assert holder(stage) == "first"
            assert not second.is_leading
            assert signatures(stage) == live(stage, csr) == 1


async def test_a_clean_stop_gives_the_lease_up(new_stage: NewStage) -> None:
    async with new_stage(SHORT) as stage:
        await stage.cluster.wait_for(lambda: holder(stage) == "first")
        await stage.stop_controller()
        assert holder(stage) == ""


async def test_the_other_replica_takes_over_from_one_that_was_killed_and_signs_nothing_twice(
    new_stage: NewStage,
) -> None:
    async with new_stage(SHORT) as stage, second_replica(stage) as second:
        await two_authorities(stage)
        await stage.ask("before", "web")
        await ended(stage, "before")
        stage.cdn.faults.set("hang-after", methods=["POST"], count=1)
        csr = await stage.ask("caught", "web")
        await stage.cdn.until(lambda: live(stage, csr) == 1)
        await stage.kill_controller()
        request = await ended(stage, "caught")
        assert holder(stage) == "second"
        assert second.is_leading
        assert signer_of(request) == "edge"
        assert live(stage, csr) == 1


async def test_a_leader_whose_lease_was_taken_writes_nothing_more_and_ends(new_stage: NewStage) -> None:
    async with new_stage(SHORT) as stage:
        await two_authorities(stage)
        await stage.cluster.wait_for(lambda: holder(stage) == "first")
        stage.cdn.faults.set("slow", seconds=0.3)
        lease = stage.cluster.get("leases", stage.options.lease_namespace, LEASE)
        await stage.cluster.apply(lease | {"spec": lease["spec"] | {"holderIdentity": "thief"}})
        assert isinstance(await stage.controller_ended(), LeaseLostError)
        written = len(stage.cluster.writes)
        await stage.ask("late", "web")
        assert len(stage.cluster.writes) == written
        assert signatures(stage) == 0


async def test_a_leader_that_cannot_reach_the_api_server_stops_before_its_lease_runs_out(new_stage: NewStage) -> None:
    async with new_stage(SHORT) as stage:
        await two_authorities(stage)
        await stage.cluster.wait_for(lambda: holder(stage) == "first")
        stage.cluster.faults.add(Fault(kind="hang", path_contains="/leases/"))
        assert isinstance(await stage.controller_ended(), LeaseLostError)
        assert not stage.program.is_leading


async def test_a_leader_that_was_stopped_past_its_lease_may_neither_call_nor_write_when_it_goes_on(
    new_stage: NewStage,
) -> None:
    async with new_stage(SHORT) as stage:
        await stage.cluster.wait_for(lambda: stage.program.is_leading)
        elector, program = stage.program.elector, stage.program
        program.may_write()
        program.may_call()
        elector._monotonic = lambda: time.monotonic() + SHORT.lease_duration  # as after SIGSTOP and SIGCONT
        for guard in (program.may_write, program.may_call):
            with pytest.raises(LeaseLostError):
                guard()
        await stage.controller_ended()
