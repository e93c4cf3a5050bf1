"""What `kubectl describe` tells a person: of a certificate, of one that another authority signed, of one that waits.

The Certificate itself says nothing of authorities: cert-manager copies only failures to it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.e2e.kubectl import describe, needs_kubectl

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.world import World

pytestmark = needs_kubectl

NINETY_DAYS = r"valid for 90d until \d{4}-\d\d-\d\d"
DOWN = r"edge: HTTP 503 from [^;]*trace [0-9a-f]{16}-SBX"
"""What was wrong with edge, with what its provider's support asks for."""
BREAKER = {"consecutiveFailures": 2, "openFor": "60s", "maxOpenFor": "60s"}


async def test_describe_tells_who_signed_and_until_when(world: World, tmp_path: Path) -> None:
    await world.issuer()
    world.certificate()
    await world.ready()
    await told(world, "CertificateRequest", "site-1", "CertificateIssued")

    status, events = parts(await describe(world, tmp_path, "certificate", "site"))
    assert "Certificate is up to date and has not expired" in status
    assert 'Created new CertificateRequest resource "site-1"' in events
    assert "The certificate has been successfully issued" in events

    status, events = parts(await describe(world, tmp_path, "certificaterequest", "site-1"))
    assert re.search(rf"Message: signed by authority edge, {NINETY_DAYS}.* Reason: Issued Status: True", status)
    assert "Message: edge signed Reason: Signed Status: True Type: cdn-issuer.io/Authority" in status
    assert re.search(rf"Normal CertificateIssued \S+ cdn-issuer signed by authority edge, {NINETY_DAYS}", events)

    await told(world, "CDNIssuer", "web", "AuthoritiesAvailable")
    status, events = parts(await describe(world, tmp_path, "cdnissuer", "web"))
    assert "Name: edge State: Available" in status
    assert "Message: edge signs" in status
    assert re.search(r"Normal AuthoritiesAvailable \S+ cdn-issuer edge signs", events)


async def test_describe_tells_who_signed_instead_of_whom_and_why(world: World, tmp_path: Path) -> None:
    await world.issuer(backup=True, breaker=BREAKER)
    world.cdn.faults.set("status", status=503, methods=["POST"])
    world.certificate()
    await world.ready()
    await told(world, "CertificateRequest", "site-1", "CertificateIssued")

    status, events = parts(await describe(world, tmp_path, "certificate", "site"))
    assert "Certificate is up to date and has not expired" in status
    assert "The certificate has been successfully issued" in events

    status, events = parts(await describe(world, tmp_path, "certificaterequest", "site-1"))
    assert re.search(rf"Message: signed by authority backup, {NINETY_DAYS}", status)
    assert re.search(rf"Message: backup signed; before it, {DOWN}.* Reason: FailedOver Status: True", status)
    assert re.search(rf"Normal CertificateIssued \S+ cdn-issuer signed by authority backup, .*{DOWN}", events)

    await world.until(lambda: any("edge is Open" in event for event in world.events("CDNIssuer", "web")), "told")
    status, events = parts(await describe(world, tmp_path, "cdnissuer", "web"))
    assert "Active: backup" in status
    assert re.search(
        r"Message: circuit breaker open after 2 consecutive failures.*HTTP 503.* Name: edge State: Open", status
    )
    assert "Name: backup State: Available" in status
    assert re.search(r"Warning \S+ \S+ cdn-issuer .*edge is Open", events)


async def test_describe_tells_why_a_request_waits_and_how_long(world: World, tmp_path: Path) -> None:
    await world.issuer(breaker=BREAKER)
    world.cdn.faults.set("status", status=503, methods=["POST"])
    world.certificate()
    await world.request_with("Pending")
    await told(world, "CertificateRequest", "site-1", "AuthorityUnavailable")

    status, events = parts(await describe(world, tmp_path, "certificaterequest", "site-1"))
    until = r"retrying until \d{4}-\d\d-\d\d"
    assert re.search(rf"Message: {DOWN}.*; {until}.* Reason: Pending Status: False Type: Ready", status)
    assert re.search(rf"Warning AuthorityUnavailable \S+ cdn-issuer {DOWN}.*; {until}", events)

    await world.until(lambda: world.condition("cdnissuers", "web", "Ready")[0] == "False", "told by the issuer")
    status, events = parts(await describe(world, tmp_path, "cdnissuer", "web"))
    assert re.search(
        r"Message: circuit breaker open after 2 consecutive failures.*HTTP 503.* Name: edge State: Open", status
    )
    assert "no authority can sign now; edge is Open" in status
    assert re.search(r"Warning NoAuthorityAvailable \S+ cdn-issuer no authority can sign now; edge is Open", events)


async def told(world: World, kind: str, name: str, reason: str) -> None:
    """Wait until an event is there: it is written after the status that it is about."""
    await world.until(lambda: any(e.startswith(f"{reason}:") for e in world.events(kind, name)), f"event {reason}")


def parts(described: str) -> tuple[str, str]:
    """The status and the events."""
    status, _, events = described.partition(" Status: ")[2].partition(" Events: ")
    return status, events
