"""cert-manager's webhook is in the way of every status write: what is signed while it is away is written afterwards.

A write that fails is repeated, a signature never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.component.rig import POST

if TYPE_CHECKING:
    from tests.e2e.world import World

RECOVERY = 60.0
"""Seconds for a webhook that is back, with cert-manager's own retries behind it."""


@pytest.mark.parametrize("how", ["stopped", "frozen"])
async def test_what_was_signed_while_the_webhook_is_away_is_delivered_once_it_is_back(world: World, how: str) -> None:
    await world.issuer()
    webhook = world.cluster.webhook
    world.cdn.faults.set("slow", seconds=1, methods=["POST"])
    world.certificate()
    await world.until(lambda: world.cdn.calls[POST] == 1, "a signature under way")
    try:
        webhook.server.stop() if how == "stopped" else webhook.server.freeze()
        await world.until(lambda: unwritten(world) > 0, "a status that could not be written")
        assert len(world.cdn.certificates) == 1
        assert world.condition("certificaterequests", "site-1", "Ready") == ("", "")
    finally:
        webhook.restart() if how == "stopped" else webhook.server.thaw()
    await world.ready(timeout=RECOVERY)
    assert world.cdn.calls[POST] == len(world.approved()) == 1


async def test_a_slow_webhook_makes_it_slow_and_nothing_else(world: World) -> None:
    await world.issuer()
    slowdown = world.cluster.webhook.slowdown
    slowdown.delay = 0.5
    try:
        world.certificate()
        await world.ready(timeout=RECOVERY)
    finally:
        slowdown.delay = 0.0
    assert world.cdn.calls[POST] == len(world.approved()) == 1
    assert unwritten(world) == 0


def unwritten(world: World) -> int:
    """How many status writes of this test have failed."""
    lines = world.cluster.controller.log(event="status not written")
    return sum(line["namespace"] == world.namespace for line in lines)
