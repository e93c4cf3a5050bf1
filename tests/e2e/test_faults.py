"""What goes wrong between the controller and the API server: everything is signed in the end, and nothing twice.

The controller is a process under the rights of `deploy/`, started again when it ends, as a kubelet does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from issuer.sandbox.cluster import Fault
from tests.e2e.replicas import Site, until

if TYPE_CHECKING:
    from tests.controlplane.plane import ControlPlane

REQUESTS = "/certificaterequests"
COUNT = 20

LINK_FAULTS: dict[str, dict[str, Any]] = {
    "latency": {"kind": "latency", "seconds": 0.4, "count": 200},
    "429 burst": {"kind": "throttle", "seconds": 1, "count": 40},
    "500 burst": {"kind": "error", "status": 500, "count": 40},
    "answers lost": {"kind": "cut", "after": True, "count": 30, "path_contains": REQUESTS},
    "connections cut": {"kind": "cut", "count": 30},
    "409 storm": {"kind": "conflict", "method": "PATCH", "path_contains": REQUESTS, "count": 60},
    "410": {"kind": "gone", "method": "GET", "path_contains": "watch=1", "count": 6},
    "silence": {"kind": "hang", "count": 12},
}


@pytest.mark.parametrize("name", LINK_FAULTS)
async def test_a_bad_link_delays_and_loses_nothing(faulty_plane: ControlPlane, name: str) -> None:
    async with Site(faulty_plane, "one") as site:
        await site.led()
        replica = site.replicas["one"]
        before = await site.ask(COUNT // 2, "before")
        fault = replica.link.faults.add(Fault(**LINK_FAULTS[name]))
        replica.link.cut_watches()
        during = await site.ask(COUNT // 2, "during")
        await until(lambda: fault.hits > 0)
        await site.all_signed_once([*before, *during])


async def test_watches_that_are_cut_again_and_again_are_opened_again(faulty_plane: ControlPlane) -> None:
    async with Site(faulty_plane, "one") as site:
        link, names = site.replicas["one"].link, []
        for number in range(5):
            await until(lambda: link.watches >= 3)
            link.cut_watches()
            names += await site.ask(4, f"round-{number}")
        await site.all_signed_once(names)


async def test_a_half_open_link_ends_the_leader_and_the_next_process_goes_on(faulty_plane: ControlPlane) -> None:
    async with Site(faulty_plane, "one") as site:
        await site.led()
        site.stage.cdn.latency = 0.2
        replica, names = site.replicas["one"], await site.ask(COUNT)
        await site.stage.cdn.until(lambda: len(site.stage.cdn.certificates) >= 3)
        replica.link.freeze()
        await until(lambda: replica.restarts > 0)
        replica.link.thaw()
        await site.all_signed_once(names)


async def test_history_that_was_compacted_is_listed_anew(faulty_plane: ControlPlane) -> None:
    async with Site(faulty_plane, "one") as site:
        await site.led()
        link = site.replicas["one"].link
        first = await site.ask(4, "first")
        await site.all_signed_once(first)
        blind = link.faults.add(Fault(kind="error", method="GET", path_contains="watch=1"))
        link.cut_watches()
        await until(lambda: blind.hits > 0)
        second = await site.ask(4, "second")
        site.plane.compact()
        link.faults.remove(blind)
        await site.all_signed_once([*first, *second])


async def test_an_api_server_that_is_killed_and_started_again_finds_its_requests_signed_once(
    faulty_plane: ControlPlane,
) -> None:
    async with Site(faulty_plane, "one") as site:
        await site.led()
        site.stage.cdn.latency = 0.2
        names = await site.ask(COUNT)
        await site.stage.cdn.until(lambda: len(site.stage.cdn.certificates) >= 3)
        site.plane.apiserver.kill()
        await asyncio.to_thread(site.plane.start_apiserver)
        await site.all_signed_once(names)


async def test_an_api_server_that_is_frozen_for_a_while_is_waited_for(faulty_plane: ControlPlane) -> None:
    async with Site(faulty_plane, "one") as site:
        await site.led()
        site.stage.cdn.latency = 0.2
        replica, names = site.replicas["one"], await site.ask(COUNT)
        await site.stage.cdn.until(lambda: len(site.stage.cdn.certificates) >= 3)
        site.plane.apiserver.freeze()
        try:
            await until(lambda: replica.restarts > 0)
        finally:
            site.plane.apiserver.thaw()
        await site.all_signed_once(names)


async def test_a_controller_that_starts_before_its_api_server_waits_for_it(faulty_plane: ControlPlane) -> None:
    async with Site(faulty_plane) as site:
        await site.add("one", is_cut_off=True)
        replica = site.replicas["one"]
        await until(lambda: bool(replica.link.calls) or replica.restarts > 0)
        replica.link.faults.clear()
        await replica.ready()
        assert replica.restarts == 0


async def test_a_token_that_was_revoked_is_replaced_by_the_one_in_its_file(faulty_plane: ControlPlane) -> None:
    async with Site(faulty_plane, "one") as site:
        await site.led()
        await site.all_signed_once(await site.ask(2, "before"))
        site.revoke_tokens()
        names = await site.ask(4, "between")
        await until(lambda: 401 in site.replicas["one"].link.refused)
        site.renew_token("one")
        await site.all_signed_once(names)


async def test_a_404_that_does_not_name_the_request_proves_nothing(faulty_plane: ControlPlane) -> None:
    async with Site(faulty_plane, "one") as site:
        await site.led()
        fault = Fault(kind="error", status=404, method="PATCH", path_contains=REQUESTS, count=1)
        site.replicas["one"].link.faults.add(fault)
        names = await site.ask(1)
        await until(lambda: fault.hits > 0)
        await site.stage.finished(names, 15)
