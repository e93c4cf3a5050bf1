"""The incident of the mission with real cert-manager: the provider hangs while a renewal is due. Nobody types a thing.

Three configurations of ours go through it here; `test_naive.py` shows what an issuer of the old kind makes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.component.rig import POST
from tests.e2e.outage import (
    DUE,
    RENEWED,
    add_issuer,
    attempts,
    backoff,
    fits,
    key_of,
    message_of,
    outage,
    requests_by_uid,
    seconds_between,
    serial_of,
)

if TYPE_CHECKING:
    from tests.controlplane.plane import Manifest
    from tests.e2e.world import World

PAUSE = 5.0
"""Seconds of cert-manager's backoff, where the next attempt is waited for."""
RETRIED = 60.0
"""Seconds between two goes at an authority, at the most, and some."""


async def test_one_authority_a_renewal_waits_for_the_provider_in_the_same_request(world: World) -> None:
    await add_issuer(world)
    world.certificate(**DUE)
    old = await world.ready()
    with outage(world):
        waiting = await world.request_with("Pending", "site-2", timeout=RENEWED)
        assert "edge" in message_of(waiting)
        assert "retrying until" in message_of(waiting)
        for kind, name in (("CertificateRequest", "site-2"), ("Certificate", "site")):
            await world.until(lambda k=kind, n=name: told(world, k, n, "AuthorityUnavailable"), f"told {kind}")  # type: ignore[misc]
        calls = world.cdn.calls[POST]
        await world.until(lambda: uses(world, old) and world.cdn.calls[POST] >= calls + 2, "retried", RETRIED)
        await world.stays(lambda: uses(world, old) and reason(world) == "Pending", "Pending, the old one in use", 3)
        asked = set(requests_by_uid(world))
    new = await issued_anew(world, old)
    assert requests_by_uid(world)[waiting["metadata"]["uid"]] == "site-2"
    assert set(requests_by_uid(world)) == asked, "no request was made in place of the one that waited"
    signed = world.cdn.live(key_of(new))
    assert [record.serial for record in signed] == [serial_of(new)], "signed once"
    assert attempts(world) == 0


async def test_a_deadline_within_the_outage_fails_the_request_and_the_next_one_is_issued(world: World) -> None:
    with backoff(world.cluster, PAUSE):
        await add_issuer(world, deadline="4s", recovery={"renewAfterOutage": False})
        world.certificate(**DUE)
        old = await world.ready()
        with outage(world):
            failed = await world.request_with("Failed", "site-2", timeout=RENEWED)
            assert "edge" in message_of(failed)
            ended = failed["status"]["failureTime"]
            await world.until(lambda: attempts(world) >= 1, "the Certificate counts the failure")
            assert world.condition("certificates", "site", "Issuing") == ("False", "Failed")
            assert uses(world, old)
        new = await issued_anew(world, old)
        issued = world.plane.ask("GET", world.path("certificaterequests", "site-2"))
        assert issued["metadata"]["uid"] != failed["metadata"]["uid"]
        began = issued["metadata"]["creationTimestamp"]
        assert seconds_between(ended, began) >= PAUSE - 1, "not before its backoff is over"
        assert [record.serial for record in world.cdn.live(key_of(new))] == [serial_of(new)]


async def test_two_authorities_the_second_signs_in_the_outage_and_the_first_afterwards(world: World) -> None:
    await add_issuer(world, backup=True)
    world.certificate(**DUE)
    old = await world.ready()
    assert signed_by_edge(world, old)
    with outage(world):
        new = await world.ready(revision=2, timeout=RENEWED)
        assert not signed_by_edge(world, new)
        request = world.plane.ask("GET", world.path("certificaterequests", "site-2"))
        assert world.condition("certificaterequests", "site-2", "cdn-issuer.io/Authority") == ("True", "FailedOver")
        assert "backup signed; before it, edge" in message_of(request, "cdn-issuer.io/Authority")
        await world.until(lambda: told(world, "CertificateRequest", "site-2", "authority backup"), "told the request")
        await world.until(lambda: state(world) == "Open", "the breaker is open", RENEWED)
        await world.until(lambda: told(world, "CDNIssuer", "web", "edge is Open"), "told the issuer")
    await world.until(lambda: signed_by_edge(world, world.secret("site-tls")) and renewed(world, 3), "edge", RENEWED)
    newest = f"site-{world.revision('site')}"
    assert world.condition("certificaterequests", newest, "cdn-issuer.io/Authority") == ("True", "Signed")
    await world.until(lambda: state(world) == "Available", "the breaker is closed")
    assert attempts(world) == 0


async def issued_anew(world: World, old: dict[str, bytes]) -> dict[str, bytes]:
    """Wait until the Secret has a new certificate; at every look before, it has the old one with its key."""

    def is_new() -> bool:
        now = world.secret("site-tls")
        assert fits(now), "a certificate that does not belong to its key"
        return serial_of(now) != serial_of(old)

    await world.until(is_new, "a new certificate", RETRIED)
    return await world.ready(revision=2)


def uses(world: World, old: dict[str, bytes]) -> bool:
    """Whether the Secret has what it had."""
    now = world.secret("site-tls")
    return fits(now) and serial_of(now) == serial_of(old)


def reason(world: World) -> str:
    return world.condition("certificaterequests", "site-2", "Ready")[1]


def told(world: World, kind: str, name: str, what: str) -> bool:
    """Whether an event of that object says it, as a Reason or in words."""
    return any(what in event for event in world.events(kind, name))


def renewed(world: World, revision: int) -> bool:
    return world.revision("site") >= revision


def signed_by_edge(world: World, secret: dict[str, bytes]) -> bool:
    return serial_of(secret) in {record.serial for record in world.cdn.certificates.values()}


def state(world: World) -> str:
    """What the issuer says of `edge`."""
    issuer: Manifest = world.get("cdnissuers", "web") or {}
    authorities: list[dict[str, Any]] = issuer.get("status", {}).get("authorities", [])
    return next((str(one["state"]) for one in authorities if one["name"] == "edge"), "")
