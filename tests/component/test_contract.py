"""The contract with cert-manager, on the wire: what is written to a request, when, and what never is."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from issuer.api.meta import parse_time
from issuer.api.request import signer_of
from issuer.controllers.approval import PATIENCE
from issuer.sandbox import objects
from tests.component.harness import (
    BRISK,
    ended,
    events,
    message,
    one_authority,
    pending,
    signatures,
    told,
    two_authorities,
    warned_of,
)
from tests.component.rig import until

if TYPE_CHECKING:
    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

PLURAL = "certificaterequests"


async def approve(stage: Stage, name: str, *others: str) -> None:
    """Write Approved, and other conditions, as an approver would."""
    conditions = [
        {"type": type_, "status": "True", "reason": "Test", "message": "because", "lastTransitionTime": NOW}
        for type_ in ("Approved", *others)
    ]
    await stage.cluster.set_status(PLURAL, stage.namespace, name, {"conditions": conditions})


NOW = "2099-01-01T00:00:00Z"
"""An approval that no deadline of a test can have passed."""


def writes_to(stage: Stage, name: str) -> int:
    return sum(f"/{PLURAL}/{name}/status" in write.path for write in stage.cluster.writes)


async def test_nothing_is_written_before_an_approver_has_spoken(new_stage: NewStage) -> None:
    async with new_stage(approve=False) as stage:
        await two_authorities(stage)
        await stage.ask("first", "web")
        await stage.ask("second", "web")
        await approve(stage, "second")
        await ended(stage, "second")
        assert writes_to(stage, "first") == 0
        assert signatures(stage) == 1
        assert b"cdn_issuer_unapproved_requests 1.0" in stage.metrics.render()[0]


async def test_a_denied_request_ends_as_denied_even_if_it_was_approved(new_stage: NewStage) -> None:
    async with new_stage(approve=False) as stage:
        await two_authorities(stage)
        await stage.ask("denied", "web")
        await approve(stage, "denied", "Denied")
        request = await ended(stage, "denied")
        assert request.ready is not None
        assert (request.ready.status, request.ready.reason) == ("False", "Denied")
        assert request.status.failure_time
        assert "because" in message(request)
        assert signatures(stage) == 0


async def test_an_invalid_request_ends_as_failed(new_stage: NewStage) -> None:
    async with new_stage(approve=False) as stage:
        await two_authorities(stage)
        await stage.ask("invalid", "web")
        await approve(stage, "invalid", "InvalidRequest")
        request = await ended(stage, "invalid")
        assert request.ready is not None
        assert request.ready.reason == "Failed"
        assert request.status.failure_time


async def test_a_request_waits_for_its_issuer_and_is_signed_when_it_comes(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await stage.ask("early", "web")
        assert "does not exist" in message(await pending(stage, "early"))
        await told(stage, "early", "IssuerNotFound")
        await two_authorities(stage)
        assert signer_of(await ended(stage, "early")) == "edge"


async def test_a_request_for_a_cluster_issuer_reads_its_secrets_elsewhere(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await stage.apply(objects.ca_secret("central-ca", stage.options.cluster_resource_namespace))
        authority = {"name": "central", "ca": {"secretRef": {"name": "central-ca"}}}
        await stage.apply(objects.issuer("central", [authority]))
        await stage.ask("www", "central", kind="CDNClusterIssuer")
        assert signer_of(await ended(stage, "www")) == "central"


async def test_a_request_that_nobody_can_sign_fails_at_its_deadline_and_no_sooner(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await one_authority(stage, deadline="2s")
        stage.cdn.faults.set("status", status=503)
        await stage.ask("www", "alone")
        request = await ended(stage, "www")
        approved, failed = request.approved_at, parse_time(request.status.failure_time)
        assert approved is not None
        assert failed is not None
        assert failed - approved >= timedelta(seconds=2)
        assert "deadline of 2s" in message(request)
        assert "HTTP 503" in message(request) or "consecutive failures" in message(request)
        await warned_of(stage, "www", "DeadlineExceeded", message(request))


async def test_the_pending_condition_is_written_once_for_one_reason(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await one_authority(stage, deadline="3s")
        stage.cdn.faults.set("status", status=503)
        await stage.ask("www", "alone")
        await ended(stage, "www")
        attempts = stage.cdn.calls["POST /certificates"]
        assert attempts > 2
        assert writes_to(stage, "www") <= 3
        assert len(events(stage, "www")) <= 3


async def test_the_annotation_chooses_the_authorities(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        chosen, unknown = {"cdn-issuer.io/authorities": "backup"}, {"cdn-issuer.io/authorities": "publik"}
        await stage.ask("www", "web", annotations=chosen)
        await stage.ask("typo", "web", annotations=unknown)
        assert signer_of(await ended(stage, "www")) == "backup"
        assert "it has edge, backup" in message(await ended(stage, "typo"))
        assert signatures(stage) == 0


async def test_a_signed_request_says_who_signed_and_why_nobody_else_did(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        stage.cdn.faults.set("status", status=503)
        await stage.ask("www", "web")
        request = await ended(stage, "www")
        told_by = next(c for c in request.status.conditions if c.type == "cdn-issuer.io/Authority")
        assert (told_by.status, told_by.reason) == ("True", "FailedOver")
        assert told_by.message.startswith("backup signed; before it, edge: ")
        assert request.status.certificate
        assert stage.cluster.get(PLURAL, stage.namespace, "www")["status"]["ca"]


async def test_nothing_is_written_to_a_finished_request(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        await stage.ask("www", "web")
        await ended(stage, "www")
        written = writes_to(stage, "www")
        await stage.stop_controller()
        await stage.start_controller()
        await stage.apply(objects.issuer("web", [stage.backup()], namespace=stage.namespace))
        await stage.ask("later", "web")
        await ended(stage, "later")
        stage.program.request_controller.triggers.wake()
        await stage.ask("last", "web")
        await ended(stage, "last")
        assert writes_to(stage, "www") == written


async def test_a_request_of_another_issuer_is_not_touched(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        foreign = objects.certificate_request(
            "foreign", objects.signing_request(["x.example.com"]), namespace=stage.namespace, issuer="web"
        )
        foreign["spec"]["issuerRef"]["group"] = "cert-manager.io"
        await stage.apply(foreign)
        await stage.ask("www", "web")
        await ended(stage, "www")
        assert writes_to(stage, "foreign") == 0


async def test_an_issuer_shows_which_authority_cannot_sign_and_why(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        del stage.cdn.tokens["sandbox-token"]
        await stage.ask("www", "web")
        await ended(stage, "www")

        def shown() -> bool:
            status = stage.cluster.get("cdnissuers", stage.namespace, "web").get("status", {})
            return bool(status.get("active") == "backup")

        await stage.cluster.wait_for(shown)
        status = stage.cluster.get("cdnissuers", stage.namespace, "web")["status"]
        ready = next(c for c in status["conditions"] if c["type"] == "Ready")
        assert ready["status"] == "True"
        assert ready["observedGeneration"] == 1
        assert {a["name"]: a["state"] for a in status["authorities"]} == {"edge": "Unauthorized", "backup": "Available"}
        assert "edge is Unauthorized" in ready["message"]


async def test_an_issuer_that_has_never_signed_is_not_praised_and_is_once_it_has(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        await stage.cluster.wait_for(lambda: ready_of(stage, "web") == ("True", "NotSignedYet"))
        assert shown_of(stage, "web") == "edge has not signed yet; its check passed"
        assert "edge has not signed yet" in await told(stage, "web", "NotSignedYet")
        await stage.ask("www", "web")
        await ended(stage, "www")
        await stage.cluster.wait_for(lambda: ready_of(stage, "web") == ("True", "AuthoritiesAvailable"))
        assert shown_of(stage, "web") == "edge signs"
        assert await told(stage, "web", "AuthoritiesAvailable") == "edge signs"

        await stage.stop_controller()
        written, checked = issuer_version(stage, "web"), stage.cdn.calls["GET /user/tokens/verify"]
        await stage.start_controller()
        await until(lambda: stage.cdn.calls["GET /user/tokens/verify"] > checked)
        await asyncio.sleep(0.5)
        assert issuer_version(stage, "web") == written, "the next process knows that it has signed"


async def test_an_idle_issuer_whose_check_fails_says_so_in_its_condition_as_in_its_state(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        stage.cdn.faults.set("status", status=503)
        await one_authority(stage)
        await stage.cluster.wait_for(lambda: ready_of(stage, "alone") == ("True", "Degraded"))
        (edge,) = stage.cluster.get("cdnissuers", stage.namespace, "alone")["status"]["authorities"]
        assert edge["state"] == "Degraded"
        assert "HTTP 503" in edge["message"]
        assert shown_of(stage, "alone") == f"edge has not signed yet; its check failed: {edge['message']}"
        assert await told(stage, "alone", "Degraded") == shown_of(stage, "alone")


def ready_of(stage: Stage, name: str) -> tuple[str, str]:
    """Status and reason of an issuer's Ready condition."""
    ready = _ready(stage, name)
    return ready.get("status", ""), ready.get("reason", "")


def shown_of(stage: Stage, name: str) -> str:
    """The message of an issuer's Ready condition."""
    return _ready(stage, name).get("message", "")


def issuer_version(stage: Stage, name: str) -> str:
    version: str = stage.cluster.get("cdnissuers", stage.namespace, name)["metadata"]["resourceVersion"]
    return version


def _ready(stage: Stage, name: str) -> dict[str, str]:
    conditions = stage.cluster.get("cdnissuers", stage.namespace, name).get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == "Ready"), {})


def of_certificate(request: objects.Manifest, name: str) -> objects.Manifest:
    """The request as cert-manager makes it for a Certificate of that name."""
    owner: objects.Manifest = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "name": name,
        "uid": str(uuid.uuid4()),
    }
    owner |= {"controller": True, "blockOwnerDeletion": True}
    return request | {"metadata": request["metadata"] | {"ownerReferences": [owner]}}


async def test_the_certificate_is_told_why_its_request_waits(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await one_authority(stage)
        stage.cdn.faults.set("status", status=503)
        csr = objects.signing_request(["www.example.com"])
        made = objects.certificate_request("www-1", csr, namespace=stage.namespace, issuer="alone")
        await stage.apply(of_certificate(made, "www"))
        why = message(await pending(stage, "www-1"))
        await warned_of(stage, "www", "AuthorityUnavailable", f"CertificateRequest www-1: {why}")
        (about,) = {
            (event["involvedObject"]["kind"], event["involvedObject"]["apiVersion"])
            for event in stage.cluster.list("events")
            if event["involvedObject"]["name"] == "www"
        }
        assert about == ("Certificate", "cert-manager.io/v1")


async def test_a_request_that_no_approver_speaks_about_says_which_right_is_missing(new_stage: NewStage) -> None:
    async with new_stage(approve=False) as stage:
        await two_authorities(stage)
        await stage.cluster.wait_for(lambda: stage.program.is_leading)
        stage.program.request_controller._now = lambda: datetime.now(UTC) + timedelta(seconds=PATIENCE)
        await stage.ask("www", "web")
        assert "approve signers.cert-manager.io cdnissuers.cdn-issuer.io/*" in await told(stage, "www", "NotApproved")
        assert writes_to(stage, "www") == 0
