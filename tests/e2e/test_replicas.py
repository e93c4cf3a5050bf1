"""Two replicas on a real Lease, as processes: whatever happens to the leader, nothing is lost or signed twice."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.component.rig import IN_FLIGHT, POST
from tests.controlplane.cluster import SYSTEM
from tests.e2e.replicas import LEASE, Site, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.controlplane.plane import ControlPlane
    from tests.e2e.replicas import Replica

COUNT = 30
LEASE_SECONDS = 3


@contextlib.asynccontextmanager
async def at_work(plane: ControlPlane) -> AsyncIterator[tuple[Site, Replica, Replica, list[str]]]:
    """Two replicas, of which the first leads and has signed a part of what was asked for."""
    async with Site(plane, "a", "b") as site:
        leader = await site.led()
        site.stage.cdn.latency = 0.3
        names = await site.ask(COUNT)
        await site.stage.cdn.until(lambda: len(site.stage.cdn.certificates) >= 5)
        other = "b" if leader == "a" else "a"
        yield site, site.replicas[leader], site.replicas[other], names


async def test_a_leader_that_is_killed_is_followed_by_the_other(faulty_plane: ControlPlane) -> None:
    async with at_work(faulty_plane) as (site, leader, other, names):
        await leader.end()
        await site.all_signed_once(names)
        assert site.holder == other.name


async def test_a_leader_that_was_frozen_past_its_lease_neither_calls_nor_writes_when_it_goes_on(
    faulty_plane: ControlPlane,
) -> None:
    """It is stopped while it waits for answers and has more to ask, so it would go on with a call at once."""
    async with Site(faulty_plane, "a", "b") as site:
        leader = site.replicas[await site.led()]
        other = site.replicas["b" if leader.name == "a" else "a"]
        site.stage.cdn.latency = 1.0
        names = await site.ask(COUNT)
        await site.stage.cdn.until(lambda: site.stage.cdn.calls[POST] == IN_FLIGHT)
        leader.controller.server.freeze()
        site.stage.cdn.latency = 0.1
        await until(lambda: site.holder == other.name)
        await site.all_signed_once(names)
        written = len(leader.link.writes)
        asked = len(site.stage.cdn.certificates)
        leader.controller.server.thaw()
        await until(lambda: leader.restarts > 0)
        await leader.ready()
        assert site.holder == other.name
        assert len(site.stage.cdn.certificates) == asked
        assert [w for w in leader.link.writes[written:] if "certificaterequests" in w.path] == []
        assert site.stage.cdn.ledger.duplicates() == 0


async def test_a_leader_that_alone_is_cut_off_leaves_its_work_to_the_other(faulty_plane: ControlPlane) -> None:
    async with at_work(faulty_plane) as (site, leader, other, names):
        leader.link.freeze()
        await until(lambda: site.holder == other.name)
        await site.all_signed_once(names)
        leader.link.thaw()
        await leader.ready()
        more = await site.ask(4, "more")
        await site.all_signed_once([*names, *more])
        assert site.holder == other.name


async def test_a_lease_that_is_deleted_is_made_again_and_nothing_is_signed_twice(faulty_plane: ControlPlane) -> None:
    async with at_work(faulty_plane) as (site, _leader, _other, names):
        site.plane.ask("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/{LEASE}")
        await site.all_signed_once(names)
        assert await site.led() in ("a", "b")


async def test_a_lease_that_is_deleted_is_not_taken_before_its_last_holder_has_ended(
    faulty_plane: ControlPlane,
) -> None:
    async with at_work(faulty_plane) as (site, leader, other, _):
        leader.link.freeze()
        renewed = site.lease_time("renewTime")
        site.plane.ask("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/{LEASE}")
        await until(lambda: site.holder == other.name)
        assert site.lease_time("acquireTime") - renewed >= timedelta(seconds=LEASE_SECONDS)


async def test_a_rolling_restart_in_the_middle_of_the_work_loses_nothing(faulty_plane: ControlPlane) -> None:
    async with at_work(faulty_plane) as (site, leader, other, names):
        for replica in (leader, other):
            restarts = replica.restarts
            await asyncio.to_thread(replica.controller.server.stop, 20)
            await until(lambda r=replica, n=restarts: r.restarts > n)  # type: ignore[misc]
            await replica.ready()
        await site.all_signed_once(names)
