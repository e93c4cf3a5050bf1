"""The incident with an issuer of the old kind: what cert-manager makes of a request that fails at the first error.

This is where the project comes from: neither restarting cert-manager nor renewing by hand helps, deleting the request
does (cert-manager issue 9327).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.component.rig import POST
from tests.controlplane.plane import MERGE
from tests.e2e.naive import REF, Naive, now
from tests.e2e.outage import DUE, RENEWED, attempts, backoff, fits, outage, seconds_between, serial_of

if TYPE_CHECKING:
    from tests.controlplane.plane import Manifest
    from tests.e2e.world import World

SPEC: dict[str, Any] = {"issuerRef": REF, **DUE}
REUSED: Manifest = {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Never"}
ROTATED: Manifest = {**REUSED, "rotationPolicy": "Always"}
PAUSE = 8.0
"""Seconds of cert-manager's backoff, where they are counted."""


async def test_without_failure_time_and_with_a_reused_key_it_is_stuck_until_the_request_is_deleted(
    world: World,
) -> None:
    with backoff(world.cluster, 2) as certmanager:
        async with Naive(world, failure_time=False):
            world.certificate(key=REUSED, **SPEC)
            old = await world.ready()
            with outage(world):
                failed = await world.request_with("Failed", "site-2", timeout=RENEWED)
                assert "failureTime" not in failed["status"]
                await world.until(lambda: attempts(world) >= 1, "the Certificate counts the failure")
            calls = world.cdn.calls[POST]

            def is_stuck() -> bool:
                """Every attempt meets the old request, whose failure it takes for its own."""
                request = world.get("certificaterequests", "site-2")
                assert request is not None
                same = request["metadata"]["uid"] == failed["metadata"]["uid"]
                return same and world.cdn.calls[POST] == calls and world.secret("site-tls") == old

            async def fails_again(times: int) -> None:
                before = attempts(world)
                await world.until(lambda: is_stuck() and attempts(world) >= before + times, "failed again")

            await fails_again(2)
            await renew_by_hand(world)
            await fails_again(1)
            certmanager.stop()
            certmanager.start()
            await fails_again(1)
            world.delete("certificaterequests", "site-2")
            new = await world.ready(revision=2)
            assert serial_of(new) != serial_of(old)


async def test_without_failure_time_and_with_a_new_key_it_waits_for_the_backoff(world: World) -> None:
    await waits_for_the_backoff(world, ROTATED, failure_time=False)


async def test_with_failure_time_it_waits_for_the_whole_backoff_although_the_provider_is_back(world: World) -> None:
    await waits_for_the_backoff(world, REUSED, failure_time=True)


async def waits_for_the_backoff(world: World, key: Manifest, *, failure_time: bool) -> None:
    with backoff(world.cluster, PAUSE):
        async with Naive(world, failure_time=failure_time):
            world.certificate(key=key, **SPEC)
            old = await world.ready()
            with outage(world):
                failed = await world.request_with("Failed", "site-2", timeout=RENEWED)
            ended = last_failure(await counted(world))
            calls = world.cdn.calls[POST]
            await world.stays(lambda: world.cdn.calls[POST] == calls, "nothing asked of a provider that is back", 4)
            new = await world.ready(revision=2)
            issued = world.plane.ask("GET", world.path("certificaterequests", "site-2"))
            began = issued["metadata"]["creationTimestamp"]
            assert seconds_between(ended, began) >= PAUSE - 1
            assert issued["metadata"]["uid"] != failed["metadata"]["uid"]
            assert fits(new)
            assert serial_of(new) != serial_of(old)


async def counted(world: World) -> Manifest:
    """The Certificate, as it is seen to count a failure: a moment later it may be issued."""
    seen: list[Manifest] = []

    def is_counted() -> bool:
        found = world.get("certificates", "site")
        if found is not None and "lastFailureTime" in found.get("status", {}):
            seen.append(found)
        return bool(seen)

    await world.until(is_counted, "it counts a failure")
    return seen[0]


def last_failure(certificate: Manifest) -> str:
    return str(certificate["status"]["lastFailureTime"])


async def renew_by_hand(world: World) -> None:
    """What `cmctl renew` does, once no issuance is under way."""
    issuing = {
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "by hand",
        "lastTransitionTime": now(),
    }
    await world.until(lambda: world.condition("certificates", "site", "Issuing")[0] == "False", "not issuing")
    certificate = world.plane.ask("GET", world.path("certificates", "site"))
    others = [one for one in certificate["status"]["conditions"] if one["type"] != "Issuing"]
    path = f"{world.path('certificates', 'site')}/status"
    world.plane.ask("PATCH", path, {"status": {"conditions": [*others, issuing]}}, content_type=MERGE)
