"""Many Certificates at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.e2e.world import read_condition

if TYPE_CHECKING:
    from tests.e2e.world import World

NAMESPACES = 10
EACH = 10
AGAIN = 10
"""Certificates for which cert-manager may make a second request: it does, now and then, when its cache is late."""


async def test_a_hundred_certificates_in_ten_namespaces_are_ready_and_each_request_signed_once(world: World) -> None:
    issuer = await world.cluster_issuer()
    namespaces = [world.namespace, *(world.add_namespace() for _ in range(NAMESPACES - 1))]
    wanted = {(namespace, f"site-{number}") for namespace in namespaces for number in range(EACH)}
    for namespace, name in sorted(wanted):
        hostname = f"{name}.{namespace}.example.com"
        world.certificate(name, [hostname], issuer=issuer, kind="CDNClusterIssuer", namespace=namespace)
        await asyncio.sleep(0)  # the provider is on this loop

    def ready() -> set[tuple[str, str]]:
        found = (item for namespace in namespaces for item in world.all("certificates", namespace=namespace))
        return {
            (item["metadata"]["namespace"], item["metadata"]["name"])
            for item in found
            if read_condition(item, "Ready")[0] == "True"
        }

    await world.until(lambda: ready() == wanted, "all Ready", 90)
    await world.signed_once()
    assert {record.hostnames for record in world.cdn.certificates.values()} == {
        (f"{name}.{namespace}.example.com",) for namespace, name in wanted
    }
    assert len(world.approved()) - NAMESPACES * EACH <= AGAIN
