"""What a CertificateRequest says: its state, when it was approved, and what of it is kept in memory."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from msgspec.structs import replace

from issuer.api.condition import Condition
from issuer.api.meta import ObjectMeta, OwnerReference
from issuer.api.request import (
    AUTHORITIES_ANNOTATION,
    AUTHORITY_CONDITION,
    DEFAULT_DURATION,
    REVISION_ANNOTATION,
    CertificateRequest,
    IssuerRef,
    RequestSpec,
    RequestStatus,
    signer_message,
    signer_of,
)


def request(*conditions: Condition, certificate: str | None = None, duration: str | None = None) -> CertificateRequest:
    return CertificateRequest(
        metadata=ObjectMeta(name="shop-tls-1", namespace="web", uid="u1", creation_timestamp="2026-11-02T11:00:00Z"),
        spec=RequestSpec(request="Q1NS", duration=duration, usages=("server auth",)),
        status=RequestStatus(conditions=conditions, certificate=certificate),
    )


def approved(since: str | None = "2026-11-02T12:00:00Z", status: str = "True") -> Condition:
    return Condition("Approved", status, "cert-manager.io", "", since)


def ready(status: str, reason: str) -> Condition:
    return Condition("Ready", status, reason)


def test_a_request_is_read_from_the_json_of_the_api_server() -> None:
    read = msgspec.json.decode(
        b"""{"apiVersion": "cert-manager.io/v1", "kind": "CertificateRequest",
            "metadata": {"name": "shop-tls-1", "namespace": "web", "uid": "u1"},
            "spec": {"issuerRef": {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "edge"}, "request": "Q1NS",
                     "isCA": true, "duration": "2160h0m0s", "usages": ["server auth"], "username": "x"},
            "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Pending"}],
                       "ca": "Q0E=", "failureTime": "2026-11-02T12:00:00Z"}}""",
        type=CertificateRequest,
    )
    assert read.spec.issuer_ref == IssuerRef(name="edge", kind="CDNIssuer", group="cdn-issuer.io")
    assert (read.spec.is_ca, read.spec.request, read.spec.usages) == (True, "Q1NS", ("server auth",))
    assert read.status.failure_time == "2026-11-02T12:00:00Z"
    assert read.ready is not None
    assert read.ready.reason == "Pending"


def test_a_request_just_created_has_no_state() -> None:
    read = msgspec.json.decode(b'{"metadata": {"name": "x"}, "spec": {}}', type=CertificateRequest)
    assert read.ready is None
    assert (read.is_approved, read.is_denied, read.is_invalid, read.is_finished) == (False, False, False, False)


def test_approval_denial_and_invalidity_count_only_when_true() -> None:
    assert request(approved()).is_approved
    assert request(Condition("Denied", "True")).is_denied
    assert request(Condition("InvalidRequest", "True")).is_invalid
    none = request(approved(status="False"), Condition("Denied", "False"), Condition("InvalidRequest", "Unknown"))
    assert (none.is_approved, none.is_denied, none.is_invalid) == (False, False, False)


@pytest.mark.parametrize(
    ("status", "reason", "finished"),
    [
        ("True", "Issued", True),
        ("True", "", True),
        ("False", "Failed", True),
        ("False", "Denied", True),
        ("False", "Pending", False),
        ("False", "", False),
        ("Unknown", "Pending", False),
    ],
)
def test_issued_failed_and_denied_are_ends_and_pending_is_none(status: str, reason: str, *, finished: bool) -> None:
    assert request(approved(), ready(status, reason)).is_finished is finished


def test_the_time_of_the_approval_is_the_approvers() -> None:
    assert request(approved()).approved_at == datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize("since", [None, "", "soon"])
def test_an_approval_without_a_time_counts_from_the_creation(since: str | None) -> None:
    assert request(approved(since)).approved_at == datetime(2026, 11, 2, 11, tzinfo=UTC)


def test_what_is_not_approved_has_no_time_of_approval() -> None:
    assert request().approved_at is None
    assert request(approved(status="False")).approved_at is None


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        ("24h", 86400.0),
        ("2160h0m0s", DEFAULT_DURATION),
        (None, DEFAULT_DURATION),
        ("", DEFAULT_DURATION),
        ("a year", DEFAULT_DURATION),
        ("-1h", DEFAULT_DURATION),
        ("9" * 400 + "h", DEFAULT_DURATION),
    ],
)
def test_the_duration_is_cert_managers_default_where_none_can_be_read(duration: str | None, seconds: float) -> None:
    assert request(duration=duration).duration_seconds == seconds


@pytest.mark.parametrize("end", [ready("True", "Issued"), ready("False", "Failed"), ready("False", "Denied")])
def test_a_finished_request_keeps_only_who_it_is_and_that_it_has_ended(end: Condition) -> None:
    whole = request(approved(), end, certificate="Q0VSVA==")
    lean = whole.trimmed()
    assert (lean.spec.request, lean.status.certificate) == ("", None)
    for name in ("name", "namespace", "uid", "resource_version"):
        assert getattr(lean.metadata, name) == getattr(whole.metadata, name)
    assert lean.spec.issuer_ref == whole.spec.issuer_ref
    assert [(one.type, one.reason) for one in lean.status.conditions] == [(end.type, end.reason)]
    assert lean.is_finished


def test_a_request_under_way_keeps_its_csr() -> None:
    under_way = request(approved(), ready("False", "Pending"))
    assert under_way.trimmed() is under_way


def test_making_a_lean_request_lean_changes_nothing() -> None:
    lean = request(approved(), ready("True", "Issued"), certificate="Q0VSVA==").trimmed()
    assert lean.trimmed() == lean


def test_one_that_failed_in_an_outage_keeps_what_it_takes_to_have_its_certificate_issued_again() -> None:
    owners = (OwnerReference("Certificate", "site", "u", controller=True), OwnerReference("Other", "x", "y"))
    annotations = {REVISION_ANNOTATION: "7", AUTHORITIES_ANNOTATION: "edge", "else": "what"}
    failed = request(approved(), ready("False", "Failed"), Condition(AUTHORITY_CONDITION, "False", "Unavailable"))
    failed = replace(
        failed,
        metadata=replace(failed.metadata, owner_references=owners, annotations=annotations),
        status=replace(failed.status, failure_time="2026-11-27T12:00:00Z"),
    )
    lean = failed.trimmed()
    assert lean.metadata.owner_references == owners[:1]
    assert lean.metadata.annotations == {REVISION_ANNOTATION: "7", AUTHORITIES_ANNOTATION: "edge"}
    assert (lean.revision, lean.failed_at, lean.cause) == (7, failed.failed_at, "Unavailable")
    assert lean.trimmed() == lean
    conditions = (ready("False", "Failed"), Condition(AUTHORITY_CONDITION, "False", "Rejected"))
    refused = replace(failed, status=replace(failed.status, conditions=conditions)).trimmed()
    assert not refused.failed_by_outage
    assert (refused.owner, refused.revision, refused.failed_at) == (failed.owner, 7, failed.failed_at), "for clean-up"


def told(message: str, status: str = "True") -> Condition:
    return Condition(AUTHORITY_CONDITION, status, "Signed", message)


def test_the_signer_is_read_back_from_what_was_written() -> None:
    assert signer_of(request(told(signer_message("backup", "edge: Unavailable")))) == "backup"
    assert signer_of(request(told(signer_message("edge")))) == "edge"


def test_what_nobody_signed_has_no_signer() -> None:
    assert signer_of(request()) is None
    assert signer_of(request(told("edge signed", status="False"))) is None
