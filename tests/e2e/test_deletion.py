"""What goes away, or is exchanged, while something is being signed: nothing is left stuck, nothing is signed twice.

kube-controller-manager runs: it deletes the requests of a deleted Certificate, and what is in a deleted namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from issuer.sandbox import objects
from tests.component.rig import POST

if TYPE_CHECKING:
    from tests.e2e.world import World

pytestmark = pytest.mark.usefixtures("collector")

CLEANED_UP = 60.0
"""Seconds in which a certificate that nobody received is revoked, while the provider answers."""
SECRET_SEEN = 60.0
"""Seconds in which a Secret's new content is used: it is kept for 30 s."""


def live(world: World) -> list[int]:
    """Serial numbers of the certificates at the provider that are not revoked."""
    return [record.serial for record in world.cdn.certificates.values() if not record.revoked]


def serial_of(secret: dict[str, bytes]) -> int:
    return x509.load_pem_x509_certificates(secret["tls.crt"])[0].serial_number


async def test_a_certificate_deleted_while_its_request_is_pending_is_never_signed(world: World) -> None:
    await world.issuer()
    world.cdn.faults.set("status", status=503, methods=["POST"])
    world.certificate()
    await world.request_with("Pending")
    world.delete("certificates", "site")
    await world.until(lambda: world.get("certificaterequests", "site-1") is None, "request collected")
    calls = world.cdn.calls[POST]
    world.cdn.faults.clear()
    await world.stays(lambda: world.cdn.calls[POST] <= calls + 1, "no more calls for it", 5)
    world.certificate("other")
    secret = await world.ready("other")
    assert live(world) == [serial_of(secret)]


async def test_a_request_deleted_while_it_is_signed_comes_again_and_one_certificate_is_left(world: World) -> None:
    await world.issuer()
    slow = world.cdn.faults.set("slow", seconds=2, methods=["POST"])
    world.certificate(revisionHistoryLimit=3)
    await world.until(lambda: world.cdn.calls[POST] == 1, "a signature under way")
    first = world.get("certificaterequests", "site-1")
    assert first is not None
    world.delete("certificaterequests", "site-1")
    world.cdn.faults.clear(slow)
    secret = await world.ready()
    (request,) = world.all("certificaterequests")
    assert request["metadata"]["uid"] != first["metadata"]["uid"]
    await world.until(lambda: len(world.cdn.certificates) == world.cdn.calls[POST], "the slow signature made")
    await world.until(lambda: live(world) == [serial_of(secret)], "one certificate left", CLEANED_UP)
    assert world.secret("site-tls") == secret, "the one that is in use was left alone"
    assert world.is_ready("site")


async def test_an_issuer_deleted_and_made_again_goes_on_with_what_waited(world: World) -> None:
    await world.issuer()
    world.cdn.faults.set("status", status=503, methods=["POST"])
    world.certificate()
    await world.request_with("Pending")
    world.delete("cdnissuers", "web")
    await world.until(lambda: any("IssuerNotFound" in e for e in events(world)), "told that the issuer is missing")
    world.cdn.faults.clear()
    await world.issuer()
    secret = await world.ready()
    assert live(world) == [serial_of(secret)]


async def test_a_rotated_token_is_used_without_anybody_touching_the_issuer(world: World) -> None:
    await world.issuer()
    token = world.cdn.tokens.pop("sandbox-token")
    world.certificate()
    await world.request_with("Pending")
    assert any("AuthorityUnauthorized" in event for event in events(world))
    world.cdn.tokens["fresh-token"] = token
    world.plane.apply(objects.secret("cloudflare", world.namespace, {"token": b"fresh-token"}))
    secret = await world.ready(timeout=SECRET_SEEN)
    assert live(world) == [serial_of(secret)]


async def test_a_namespace_deleted_with_pending_requests_is_gone_and_forgotten(world: World) -> None:
    await world.issuer()
    world.cdn.faults.set("status", status=503, methods=["POST"])
    for name in ("one", "two", "three"):
        world.certificate(name)
    for name in ("one", "two", "three"):
        await world.request_with("Pending", f"{name}-1")
    world.plane.call("DELETE", f"/api/v1/namespaces/{world.namespace}")
    await world.until(lambda: world.plane.call("GET", f"/api/v1/namespaces/{world.namespace}").is_error, "it is gone")
    world.cdn.faults.clear()
    calls = world.cdn.calls[POST]
    await world.stays(lambda: world.cdn.calls[POST] <= calls + 3, "no more calls for them", 5)
    assert live(world) == []
    assert world.cluster.controller.log(level="error", event="internal error") == []
    world.namespace = world.add_namespace()
    await world.issuer()
    world.certificate()
    secret = await world.ready()
    assert live(world) == [serial_of(secret)]


def events(world: World) -> list[str]:
    return world.events("CertificateRequest", "site-1")
