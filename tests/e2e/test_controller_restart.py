"""The controller goes away and comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from tests.component.rig import POST

if TYPE_CHECKING:
    from tests.e2e.world import World


async def test_a_certificate_made_for_a_controller_that_was_killed_is_adopted_by_the_next(world: World) -> None:
    await world.issuer()
    controller = world.cluster.controller
    world.cdn.faults.set("hang-after", methods=["POST"], count=1)
    world.certificate()
    await world.until(lambda: len(world.cdn.certificates) == 1, "a certificate whose answer is lost")
    controller.server.kill()
    await world.stays(lambda: world.condition("certificaterequests", "site-1", "Ready") == ("", ""), "unfinished", 1)
    controller.start()
    secret = await world.ready()
    (record,) = world.cdn.certificates.values()
    assert x509.load_pem_x509_certificates(secret["tls.crt"])[0].serial_number == record.serial
    assert not record.revoked
    assert world.cdn.calls[POST] == 1


async def test_certificates_made_while_no_controller_runs_are_signed_once_one_does(world: World) -> None:
    await world.issuer()
    assert world.cluster.controller.stop() == 0
    try:
        world.certificate("one")
        world.certificate("two")
        await world.until(lambda: is_approved(world, "one-1") and is_approved(world, "two-1"), "both approved")
    finally:
        world.cluster.controller.start()
    await world.ready("one")
    await world.ready("two")
    await world.signed_once()
    assert world.cdn.calls[POST] == 2


def is_approved(world: World, request: str) -> bool:
    return world.condition("certificaterequests", request, "Approved")[0] == "True"
