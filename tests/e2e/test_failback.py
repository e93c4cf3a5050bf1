"""Back to the first choice, and away from an authority that is to be distrusted: real cert-manager issues again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from issuer.sandbox import objects
from tests.e2e.outage import BREAKER, IMPATIENT, fits, leaf_of, outage
from tests.e2e.world import TOKEN

if TYPE_CHECKING:
    from tests.e2e.world import World

NAMES = ("site-0", "site-1", "site-2")
WAIT = 90.0
BRIEF = {"stableFor": "10s", "perMinute": 600}
LONGER = 12.0
"""Seconds in which a second issuance would have begun: more than there is between two looks."""


async def apply(world: World, *, edge: str = "Active", ready: str = "True", **spec: Any) -> None:
    """An issuer with the provider as `edge`, impatient, and a CA in process as `backup`."""
    world.plane.apply(objects.secret("cloudflare", world.namespace, {"token": TOKEN.encode()}))
    world.plane.apply(objects.ca_secret("backup-ca", world.namespace))
    first = world.edge(timeouts=IMPATIENT, circuitBreaker=BREAKER, state=edge)
    second = {"name": "backup", "ca": {"secretRef": {"name": "backup-ca"}}}
    world.plane.apply(objects.issuer("web", [first, second], namespace=world.namespace, **spec))
    await world.until(lambda: world.condition("cdnissuers", "web", "Ready")[0] == ready, "the issuer is taken up")


async def issue(world: World) -> dict[str, int]:
    """Certificates, and the serial of what each has received."""
    for name in NAMES:
        world.certificate(name)
    return {name: leaf_of(await world.ready(name, timeout=WAIT)).serial_number for name in NAMES}


def signed_by_edge(world: World, name: str) -> bool:
    leaf = leaf_of(world.secret(f"{name}-tls"))
    return any(one.serial == leaf.serial_number for one in world.cdn.certificates.values())


def state(world: World, authority: str) -> dict[str, Any]:
    issuer = world.get("cdnissuers", "web") or {}
    states = issuer.get("status", {}).get("authorities", [])
    return next((one for one in states if one["name"] == authority), {})


async def test_what_the_fallback_signed_goes_back_to_the_first_once_it_is_steady(world: World) -> None:
    await apply(world, failback={"mode": "WhenStable", **BRIEF})
    with outage(world):
        before = await issue(world)
        assert not any(signed_by_edge(world, name) for name in NAMES)
    # Nobody asks for anything else: one of them is the probe, and the others follow.

    def are_back() -> bool:
        return all(world.revision(name) == 2 and signed_by_edge(world, name) for name in NAMES)

    await world.until(are_back, "all are back at the first", WAIT)
    for name in NAMES:
        secret = world.secret(f"{name}-tls")
        assert fits(secret)
        assert leaf_of(secret).serial_number != before[name]
        assert sum("Failback" in event for event in world.events("Certificate", name)) == 1
        assert world.condition("certificaterequests", f"{name}-2", "cdn-issuer.io/Authority") == ("True", "Signed")
    await world.stays(are_back, "each once", LONGER)


async def test_what_a_draining_authority_signed_is_issued_again_by_the_others(world: World) -> None:
    await apply(world)
    before = await issue(world)
    assert all(signed_by_edge(world, name) for name in NAMES)
    await apply(world, edge="Draining", failback=BRIEF)
    world.certificate("new")
    await world.ready("new", timeout=WAIT)
    assert not signed_by_edge(world, "new"), "it signs nothing new"

    def is_drained() -> bool:
        told = state(world, "edge")
        return told.get("state") == "Draining" and told.get("certificatesLeft") == 0

    await world.until(is_drained, "nothing is left", WAIT)
    for name in NAMES:
        secret = await world.ready(name, timeout=WAIT)
        assert leaf_of(secret).serial_number != before[name]
        assert not signed_by_edge(world, name)
        assert world.revision(name) == 2
        assert sum("AuthorityDraining" in event for event in world.events("Certificate", name)) == 1
    await world.stays(lambda: all(world.revision(name) == 2 for name in NAMES), "each once", LONGER)


async def test_where_nobody_may_sign_a_request_waits_for_one_that_may(world: World) -> None:
    await apply(world)
    disabled = world.edge(state="Disabled")
    world.plane.apply(objects.issuer("web", [disabled], namespace=world.namespace))
    await world.until(
        lambda: world.condition("cdnissuers", "web", "Ready") == ("False", "NoActiveAuthority"), "it says so"
    )
    world.certificate("site")
    told = "edge: it signs nothing, since its state is Disabled"

    def says_so() -> bool:
        request = world.get("certificaterequests", "site-1") or {}
        return any(told in one["message"] for one in request.get("status", {}).get("conditions", []))

    await world.until(says_so, "the request says so")
    await apply(world)
    await world.ready("site", timeout=WAIT)
