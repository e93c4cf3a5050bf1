"""One replica hands over to the other at the worst moment: while the provider signs, or with a write under way.

`test_leadership` shows who leads; here it is counted what that costs: one signature a request, as the provider counts
them, and no write by a replica that leads no more.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from issuer.api.request import signer_of
from issuer.kube.errors import LeaseLostError
from issuer.sandbox.cluster import Fault
from tests.component.rig import (
    LEASE_SECONDS,
    POST,
    REVOKE,
    add_issuer,
    holder,
    live,
    options,
    request,
    status_writes,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from issuer.cli.stage import Replica, Stage
    from tests.component.harness import NewStage


@asynccontextmanager
async def two_replicas(new_stage: NewStage) -> AsyncIterator[tuple[Stage, Replica, Replica]]:
    """A stage, the replica that leads, and the one that stands by."""
    async with new_stage(options(), controlled=False) as stage:
        first = stage.replica(options(identity="first"))
        await until(lambda: first.program.is_leading)
        second = stage.replica(options(identity="second"))
        await add_issuer(stage)
        try:
            yield stage, first, second
        finally:
            for replica in (first, second):
                if not replica.running.done():
                    await replica.stop()


async def give_away(stage: Stage, identity: str, seconds: int = 3600) -> None:
    """Write somebody else into the Lease, as a careless person with kubectl would."""
    lease = stage.cluster.get("leases", stage.options.lease_namespace, stage.options.lease_name)
    spec = {**lease["spec"], "holderIdentity": identity, "leaseDurationSeconds": seconds}
    await stage.apply({**lease, "metadata": {**lease["metadata"], "resourceVersion": ""}, "spec": spec})


async def test_the_one_that_stands_by_has_its_caches_filled_and_does_nothing(new_stage: NewStage) -> None:
    async with two_replicas(new_stage) as (stage, first, second):
        await until(lambda: second.program.unready() is None)
        names = [f"one-{number}" for number in range(10)]
        for name in names:
            await stage.ask(name, "web")
        await stage.finished(names)
        assert (first.program.is_leading, second.program.is_leading) == (True, False)
        assert stage.cdn.calls[POST] == len(names)
        assert all(status_writes(stage, name) == [200] for name in names)


async def test_the_other_leads_within_the_time_of_the_lease_after_a_kill(new_stage: NewStage) -> None:
    async with two_replicas(new_stage) as (stage, first, second):
        await until(lambda: second.program.unready() is None)
        killed = time.monotonic()
        await first.kill()
        assert holder(stage) == "first", "it had no time to give the Lease up"
        await until(lambda: second.program.is_leading)
        took = time.monotonic() - killed
        assert took <= LEASE_SECONDS + 2, "the Lease, the steps between two looks, and a slow machine"
        assert holder(stage) == "second"


async def test_the_other_leads_at_once_after_a_clean_stop(new_stage: NewStage) -> None:
    async with two_replicas(new_stage) as (_, first, second):
        await until(lambda: second.program.unready() is None)
        await first.stop()
        began = time.monotonic()
        await until(lambda: second.program.is_leading)
        assert time.monotonic() - began < LEASE_SECONDS - 1


@pytest.mark.parametrize("way", ["kill", "stop"])
async def test_a_crowd_of_requests_is_signed_once_each_across_a_handover(new_stage: NewStage, way: str) -> None:
    async with two_replicas(new_stage) as (stage, first, _):
        stage.cdn.latency = 0.2
        names = [f"one-{number}" for number in range(40)]
        for name in names:
            await stage.ask(name, "web")
        await stage.cdn.until(lambda: len(stage.cdn.certificates) >= 10)
        await (first.kill() if way == "kill" else first.stop())
        await stage.finished(names)
        assert all(signer_of(request(stage, name)) == "edge" for name in names)
        assert stage.cdn.ledger.duplicates() == 0
        await until(lambda: all(200 in status_writes(stage, name) for name in names))
        assert all(status_writes(stage, name).count(200) == 1 for name in names)


async def test_a_leader_whose_lease_is_taken_while_the_provider_signs_writes_nothing_after_that(
    new_stage: NewStage,
) -> None:
    async with new_stage(options(identity="first")) as stage:
        await add_issuer(stage)
        await until(lambda: stage.program.is_leading)
        stage.cdn.faults.set("slow", seconds=1.5, methods=["POST"], paths=["/certificates"])
        csr = await stage.ask("one", "web")
        await stage.cdn.until(lambda: stage.cdn.calls[POST] == 1)
        await give_away(stage, "thief")
        assert isinstance(await stage.controller_ended(), LeaseLostError)
        written = len(stage.cluster.writes)
        await stage.cdn.until(lambda: len(live(stage, csr)) == 1)
        assert not request(stage, "one").is_finished
        assert len(stage.cluster.writes) == written
        assert holder(stage) == "thief", "it does not release what it does not hold"


async def test_the_next_leader_adopts_what_was_signed_for_the_one_that_lost_its_lease(new_stage: NewStage) -> None:
    async with two_replicas(new_stage) as (stage, first, second):
        stage.cdn.faults.set("slow", seconds=1.0, methods=["POST"], paths=["/certificates"], count=1)
        csr = await stage.ask("one", "web")
        await stage.cdn.until(lambda: stage.cdn.calls[POST] == 1)
        await give_away(stage, "thief", 3)
        await until(first.running.done)
        assert isinstance(first.running.exception(), LeaseLostError)
        await stage.finished(["one"])
        assert second.program.is_leading
        assert signer_of(request(stage, "one")) == "edge"
        assert len(live(stage, csr)) == 1
        assert stage.cdn.calls[POST] == 1
        await second.program.engine.clean_up()
        assert stage.cdn.calls[REVOKE] == 0


async def test_a_leader_cut_off_from_the_api_server_with_a_result_in_hand_leaves_it_to_the_next(
    new_stage: NewStage,
) -> None:
    async with two_replicas(new_stage) as (stage, first, second):
        stage.cluster.faults.add(Fault(kind="hang", method="PATCH", path_contains="/certificaterequests/one"))
        csr = await stage.ask("one", "web")
        await until(lambda: len(live(stage, csr)) == 1)
        await give_away(stage, "thief", 3)
        await until(first.running.done)
        assert isinstance(first.running.exception(), LeaseLostError)
        stage.cluster.faults.clear()
        await stage.finished(["one"])
        assert second.program.is_leading
        assert stage.cdn.calls[POST] == 1
        await until(lambda: 200 in status_writes(stage, "one"))
        assert status_writes(stage, "one").count(200) == 1
