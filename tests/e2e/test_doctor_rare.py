"""What `cdn-issuer doctor` says of what is rare, or has to be brought about by hand, on a real control plane."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from issuer.api.meta import format_micro_time, format_time
from issuer.inspection import collection, requests
from issuer.pki.certificate import to_pem
from issuer.sandbox import objects
from tests.controlplane.plane import MERGE
from tests.e2e.controller import NAMESPACE
from tests.e2e.inspecting import call, codes, findings, told
from tests.unit.pki.pki_case import key, key_pem, make_ca

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.world import World

SITE = ("certificate", "site")
BACKUP = {"name": "backup", "ca": {"secretRef": {"name": "backup-ca"}}}
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"


@contextlib.contextmanager
def silent_controller(world: World) -> Iterator[None]:
    """One that holds its Lease and does nothing: what it would write is written by hand meanwhile."""
    world.cluster.controller.stop()
    held = {"holderIdentity": "silent", "renewTime": format_micro_time(datetime.now(UTC)), "leaseDurationSeconds": 3600}
    world.plane.ask("PATCH", f"{LEASES}/cdn-issuer", {"spec": held}, content_type=MERGE)
    try:
        yield
    finally:
        world.plane.ask("PATCH", f"{LEASES}/cdn-issuer", {"spec": {"holderIdentity": ""}}, content_type=MERGE)
        world.cluster.controller.start()


def write_status(world: World, plural: str, name: str, **status: Any) -> None:
    """Write what a controller would have written."""
    path = f"{world.path(plural, name)}/status"
    world.plane.ask("PATCH", path, {"status": status}, content_type=MERGE)


def condition(type_: str, status: str, reason: str, message: str) -> dict[str, str]:
    since = format_time(datetime.now(UTC))
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}


async def test_a_specification_that_is_nonsense_is_told_with_its_field(world: World) -> None:
    world.plane.apply(objects.issuer("web", [world.edge(caBundle="no certificate")], namespace=world.namespace))
    world.certificate()
    finding = await told(world, "InvalidSpec", *SITE)
    assert finding["object"] == f"CDNIssuer {world.namespace}/web"
    assert "spec.authorities[name=edge].caBundle: " in finding["sentence"]
    assert finding["fix"] == f"kubectl edit cdnissuers --namespace {world.namespace} web"
    assert codes(await findings(world, *SITE)) == ["InvalidSpec"]


@pytest.mark.parametrize(("alone", "severity"), [(True, "error"), (False, "warning")])
async def test_a_ca_that_has_ended_is_told(world: World, severity: str, *, alone: bool) -> None:
    now = datetime.now(UTC)
    root = make_ca("Old", signer=key("p256", "old"), start=now - timedelta(days=7), end=now - timedelta(minutes=1))
    data = {"tls.crt": to_pem([root.certificate]), "tls.key": key_pem(root.signer)}
    if not alone:
        await world.issuer()
    world.plane.apply(objects.secret("backup-ca", world.namespace, data))
    authorities = [BACKUP] if alone else [world.edge(), BACKUP]
    world.plane.apply(objects.issuer("web", authorities, namespace=world.namespace))
    finding = await told(world, "CAExpired", "issuer", "web")
    assert (finding["severity"], finding["object"]) == (severity, f"Secret {world.namespace}/backup-ca")
    assert finding["sentence"].startswith("the CA of authority backup has ended, at 20")


async def test_a_fallback_that_was_never_tried_is_a_note(world: World) -> None:
    await world.issuer(backup=True)
    finding = await told(world, "NeverRehearsed", "issuer", "web")
    assert finding["severity"] == "note"
    assert finding["sentence"].startswith("authority backup is a fallback that has never signed")
    assert codes(await findings(world, "issuer", "web")) == []


async def test_what_is_not_taken_up_is_told_although_a_controller_holds_its_lease(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "TAKEN_UP", timedelta(0))
    await world.issuer()
    with silent_controller(world):
        world.certificate()
        finding = await told(world, "NotTakenUp", *SITE)
        assert finding["object"] == f"CertificateRequest {world.namespace}/site-1"
        assert "no controller has said a word about it" in finding["sentence"]
        assert codes(await findings(world, *SITE)) == ["NotTakenUp"]
    await world.ready()


async def test_what_an_authority_has_accepted_and_not_signed_yet_is_a_note(world: World) -> None:
    await world.issuer()
    with silent_controller(world):
        world.certificate()
        await world.until(lambda: world.condition("certificaterequests", "site-1", "Approved")[0] == "True", "approval")
        found = world.get("certificaterequests", "site-1")
        assert found is not None
        told_of_it = [
            condition("Ready", "False", "Pending", "edge: accepted; retrying until 2026-11-28T12:00:00Z"),
            condition("cdn-issuer.io/Authority", "False", "InProgress", "edge: accepted"),
        ]
        write_status(world, "certificaterequests", "site-1", conditions=[*found["status"]["conditions"], *told_of_it])
        finding = await told(world, "InProgress", *SITE)
        assert finding["severity"] == "note"
        assert finding["sentence"].startswith("edge: accepted")
        assert codes(await findings(world, *SITE)) == []
    await world.ready()


async def test_an_issuer_that_is_not_ready_for_a_reason_of_another_version_is_told_in_its_words(world: World) -> None:
    await world.issuer()
    with silent_controller(world):
        write_status(
            world, "cdnissuers", "web", conditions=[condition("Ready", "False", "Paused", "somebody has paused it")]
        )
        finding = await told(world, "IssuerNotReady", "issuer", "web")
        assert (finding["object"], finding["sentence"]) == (
            f"CDNIssuer {world.namespace}/web",
            "somebody has paused it",
        )
        assert finding["fix"] == f"kubectl describe cdnissuers --namespace {world.namespace} web"


async def test_more_than_is_read_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "PAGE", 1)
    monkeypatch.setattr(collection, "MOST", 1)
    await world.issuer()
    world.certificate()
    world.certificate("other")
    await world.ready()
    await world.ready("other")
    finding = await told(world, "NotAll")
    assert finding["severity"] == "note"
    assert finding["sentence"] == "there are more than 1, and only so many were looked at; name a namespace"
    assert (await call(world, "doctor")).exit_code == 0
