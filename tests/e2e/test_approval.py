"""Who may approve, what is denied, what a user sees of it; and that our own rights suffice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.component.rig import POST
from tests.e2e.approver import no_right_to_approve

if TYPE_CHECKING:
    from tests.e2e.world import World

RETRIED = 60.0
"""Seconds in which cert-manager's approver tries again what was refused to it."""


async def test_the_rights_that_are_shipped_suffice_for_a_signature_and_a_failover(world: World) -> None:
    def refused() -> float:
        return world.cluster.controller.metric("cdn_issuer_kube_api_calls_total", code="403")

    before = refused()
    await world.issuer(backup=True)
    world.certificate("one")
    await world.ready("one")
    world.cdn.faults.set("status", status=503, methods=["POST"])
    world.certificate("two")
    await world.ready("two")
    await world.until(lambda: any("authority edge" in event for event in told(world, "one-1")), "an event")
    await world.until(lambda: any("authority backup" in event for event in told(world, "two-1")), "an event")
    assert refused() == before


async def test_a_denied_request_ends_so_and_the_certificate_tells_it(world: World) -> None:
    await world.issuer()
    with no_right_to_approve(world.cluster):
        world.certificate()
        await world.until(lambda: world.get("certificaterequests", "site-1") is not None, "a request")
        world.deny("site-1")
        request = await world.request_with("Denied")
        assert request["status"]["failureTime"]
        assert "not on a Friday" in ready_message(request["status"]["conditions"])
        await world.until(
            lambda: world.condition("certificates", "site", "Issuing") == ("False", "Policy"), "told by the Certificate"
        )
        certificate = world.get("certificates", "site")
        assert certificate is not None
        assert certificate["status"]["failedIssuanceAttempts"] >= 1
        assert world.cdn.calls[POST] == 0
        await world.until(
            lambda: any("not on a Friday" in e for e in world.events("CertificateRequest", "site-1")), "an event"
        )
    await world.ready(timeout=RETRIED)
    await world.signed_once()


async def test_what_waited_for_the_approver_s_role_is_signed_once_the_role_is_there(world: World) -> None:
    await world.issuer()
    with no_right_to_approve(world.cluster):
        world.certificate()
        await world.until(lambda: world.get("certificaterequests", "site-1") is not None, "a request")
        await world.stays(lambda: world.condition("certificaterequests", "site-1", "Approved")[0] == "", "waits", 3)
        assert world.condition("certificaterequests", "site-1", "Ready") == ("", ""), "nothing is written before"
        assert world.cluster.controller.metric("cdn_issuer_unapproved_requests") == 1
    await world.ready(timeout=RETRIED)
    assert world.cdn.calls[POST] == len(world.approved()) == 1


async def test_a_request_that_nobody_may_approve_says_within_a_minute_which_right_is_missing(world: World) -> None:
    await world.issuer()
    with no_right_to_approve(world.cluster):
        world.certificate("first")
        world.certificate("second")
        for kind, name in (
            ("CertificateRequest", "first-1"),
            ("Certificate", "first"),
            ("CertificateRequest", "second-1"),
        ):
            await world.until(
                lambda kind=kind, name=name: any(  # type: ignore[misc]
                    "approve signers.cert-manager.io cdnissuers.cdn-issuer.io/*" in event
                    for event in world.events(kind, name)
                ),
                f"an event about {kind} {name} that names the missing right",
                60,
            )
        lines = world.cluster.controller.log(event="request not approved")
        assert len([line for line in lines if line["namespace"] == world.namespace]) == 1, "one line for each issuer"


def told(world: World, request: str) -> list[str]:
    return world.events("CertificateRequest", request)


def ready_message(conditions: list[dict[str, str]]) -> str:
    return next(one["message"] for one in conditions if one["type"] == "Ready")
