"""After an outage that no deadline outlived: real cert-manager with its real backoff, and nobody types a thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.outage import add_issuer, attempts, backoff, fits, key_of, outage, seconds_between, serial_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.controlplane.plane import Manifest
    from tests.e2e.world import World

HOUR = 3600.0
NAMES = tuple(f"site-{number}" for number in range(8))
WAIT = 90.0
LONGER = 8.0
"""Seconds in which the first would have been renewed."""


@pytest.fixture
def _patient(world: World) -> Iterator[None]:
    """cert-manager with the backoff that it has: an hour at the least."""
    with backoff(world.cluster, HOUR):
        yield


pytestmark = pytest.mark.usefixtures("_patient")


async def fail_all(world: World, names: Sequence[str]) -> dict[str, Manifest]:
    """Certificates whose requests fail at their deadline while the provider hangs; returns the first ones that did."""
    failed: dict[str, Manifest] = {}

    def is_failed(name: str) -> bool:
        found = world.get("certificaterequests", f"{name}-1")
        if found is not None and "failureTime" in found.get("status", {}):
            failed.setdefault(name, found)
        return name in failed and attempts(world, name) >= 1

    for name in names:
        world.certificate(name)
    await world.until(lambda: sum(map(is_failed, names)) == len(names), "all have failed", WAIT)
    return failed


def renewals(world: World, name: str) -> int:
    return sum("RenewedAfterOutage" in event for event in world.events("Certificate", name))


def backlog(world: World, name: str) -> float:
    return world.cluster.controller.metric(
        f"cdn_issuer_{name}", issuer_kind="CDNIssuer", issuer_namespace=world.namespace, issuer="web"
    )


async def test_all_that_failed_is_issued_once_the_provider_is_back(world: World) -> None:
    await add_issuer(world, deadline="4s", recovery={"perMinute": 600})
    with outage(world):
        failed = await fail_all(world, NAMES)
        assert backlog(world, "certificates_awaiting_renewal") >= len(NAMES) - 1, "all but a probe wait"
    for name in NAMES:
        secret = await world.ready(name, timeout=WAIT)
        assert fits(secret)
        assert attempts(world, name) == 0
        assert renewals(world, name) >= 1
        request = world.plane.ask("GET", world.path("certificaterequests", f"{name}-1"))
        assert request["metadata"]["uid"] != failed[name]["metadata"]["uid"], "cert-manager replaced the failed one"
        ended, began = failed[name]["status"]["failureTime"], request["metadata"]["creationTimestamp"]
        assert seconds_between(ended, began) < WAIT, "within the backoff of an hour"
        signed = [one.serial for one in world.cdn.live(key_of(secret))]
        assert signed == [serial_of(secret)], "signed once"
    await world.until(lambda: backlog(world, "certificates_awaiting_renewal") == 0, "nobody waits")


async def test_one_goes_first_and_the_others_stay_until_it_is_signed(world: World) -> None:
    await add_issuer(world, deadline="4s", recovery={"perMinute": 600})
    with outage(world):
        failed = await fail_all(world, NAMES[:4])

        def started() -> int:
            found = (world.get("certificaterequests", f"{name}-1") for name in failed)
            return sum(
                one is None or (one["metadata"]["uid"] not in uids and "failureTime" not in one.get("status", {}))
                for one in found
            )

        uids = {one["metadata"]["uid"] for one in failed.values()}
        await world.until(lambda: started() == 1, "a probe", WAIT)
        await world.stays(lambda: started() <= 1, "one at a time", LONGER)
    for name in failed:
        await world.ready(name, timeout=WAIT)


async def test_what_was_refused_or_changed_is_left_alone(world: World) -> None:
    await add_issuer(world, deadline="4s", recovery={"perMinute": 600})
    world.certificate("refused", ["host.elsewhere.test"])
    with outage(world):
        await fail_all(world, ["site"])
    await world.ready("site", timeout=WAIT)
    await world.until(lambda: attempts(world, "refused") == 1, "refused", WAIT)
    await world.stays(lambda: attempts(world, "refused") == 1, "not tried again", LONGER)
    assert renewals(world, "refused") == 0


async def test_an_issuer_may_do_without(world: World) -> None:
    await add_issuer(world, deadline="4s", recovery={"renewAfterOutage": False})
    with outage(world):
        failed = await fail_all(world, ["site"])
    still = failed["site"]["metadata"]["uid"]
    path = world.path("certificaterequests", "site-1")
    await world.stays(lambda: world.plane.ask("GET", path)["metadata"]["uid"] == still, "left alone", LONGER)
    await add_issuer(world, deadline="4s")
    await world.ready("site", timeout=WAIT)


async def test_a_restart_in_between_renews_nothing_twice(world: World) -> None:
    await add_issuer(world, deadline="4s", recovery={"perMinute": 60})
    controller = world.cluster.controller
    with outage(world):
        await fail_all(world, NAMES)
    await world.until(lambda: any(world.is_ready(name) for name in NAMES), "the first is signed", WAIT)
    controller.server.kill()
    before = {name: renewals(world, name) for name in NAMES if world.is_ready(name)}
    controller.start()
    for name in NAMES:
        secret = await world.ready(name, timeout=WAIT)
        assert [one.serial for one in world.cdn.live(key_of(secret))] == [serial_of(secret)], "signed once"
    assert {name: renewals(world, name) for name in before} == before
    assert all(world.revision(name) == 1 for name in NAMES)
