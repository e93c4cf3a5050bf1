"""What is decided of a CertificateSigningRequest, what is written on it, and what a later process reads of it."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from issuer.api import condition
from issuer.api.request import AUTHORITY_CONDITION
from issuer.api.signingrequest import FAILED, READY_CONDITION, CertificateSigningRequest
from issuer.controllers.certificaterequests import CertificateRequests
from issuer.controllers.certificatesigningrequests import RULES, CertificateSigningRequests
from issuer.controllers.decision import AwaitApproval, Fail, Issue, IssuerView, Leave, Pend, Sign, Verdict, decide
from issuer.controllers.memory import RequestMemory, issuer_of
from issuer.sandbox.objects import certificate_signing_request, signing_request
from tests.unit.controllers.test_certificaterequests import FAIL, ISSUE, NOW, PEND
from tests.unit.controllers.test_certificaterequests import REQUEST as CERTIFICATE_REQUEST

KIND = CertificateSigningRequests()
ISSUER = IssuerView(title="CDNIssuer shop/web", authorities=("edge",))
CSR = signing_request(["www.example.com"])
APPROVED = {
    "type": "Approved",
    "status": "True",
    "reason": "Test",
    "message": "fine",
    "lastUpdateTime": "2026-11-23T11:59:00Z",
    "lastTransitionTime": "2026-11-23T11:59:00Z",
}
FOREIGN = {**APPROVED, "type": "example.org/Seen", "message": "seen", "lastUpdateTime": "2026-11-23T11:58:00Z"}


def request(
    *conditions: dict[str, str], signer: str = "cdnissuers/shop.web", annotations: Any = None, **fields: Any
) -> CertificateSigningRequest:
    manifest = certificate_signing_request("www", CSR, signer=signer, annotations=annotations)
    manifest["metadata"] |= {"uid": "u2", "resourceVersion": "7", "creationTimestamp": "2026-11-23T11:50:00Z"}
    manifest["spec"] |= fields
    return KIND.decode(msgspec.json.encode({**manifest, "status": {"conditions": conditions}}))


REQUEST = request(APPROVED, FOREIGN)


def body(verdict: Verdict, found: CertificateSigningRequest = REQUEST) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(KIND.patch(found, verdict, NOW))
    return written


def written(verdict: Verdict, found: CertificateSigningRequest = REQUEST) -> CertificateSigningRequest:
    """The request after the write."""
    document = json.loads(msgspec.json.encode(found))
    document["status"] |= body(verdict, found)["status"]
    return KIND.decode(json.dumps(document).encode())


def test_what_is_asked_for_is_signed_once_it_is_approved() -> None:
    assert isinstance(decide(request(), ISSUER, NOW), AwaitApproval)
    decision = decide(REQUEST, ISSUER, NOW)
    assert isinstance(decision, Sign)
    assert decision.duration == timedelta(days=7)
    assert decision.csr.dns_names == ("www.example.com",)
    assert not decision.csr.is_ca
    assert str(issuer_of(REQUEST)) == "CDNIssuer shop/web"


def test_one_without_a_duration_gets_the_default_of_cert_manager() -> None:
    decision = decide(request(APPROVED, expirationSeconds=None), ISSUER, NOW)
    assert isinstance(decision, Sign)
    assert decision.duration == timedelta(days=90)


def test_a_denial_is_an_end_to_which_nothing_is_to_be_said() -> None:
    assert isinstance(decide(request({**APPROVED, "type": "Denied"}), ISSUER, NOW), Leave)


@pytest.mark.parametrize("value", ["", "two days", "-1h", "0s"])
def test_a_duration_that_makes_no_sense_is_told_by_its_annotation(value: str) -> None:
    annotation = "experimental.cert-manager.io/request-duration"
    decision = decide(request(APPROVED, annotations={annotation: value}), ISSUER, NOW)
    assert isinstance(decision, Fail)
    assert decision.message.startswith(f"annotation {annotation}: ")


@pytest.mark.parametrize(
    ("signer", "told"),
    [
        ("cdnissuers/shop.web", "CDNIssuer web does not exist in namespace shop: create it, or make another"),
        ("cdnissuers/web", "CDNIssuer web does not exist: create it, or make another"),
        ("cdnissuers/web", "with the right spec.signerName, cdnissuers.cdn-issuer.io/NAMESPACE.NAME; pending since"),
        ("cdnclusterissuers/web", "with the right spec.signerName, cdnclusterissuers.cdn-issuer.io/NAME; pending"),
    ],
)
def test_an_issuer_that_is_missing_is_told_with_how_it_is_named(signer: str, told: str) -> None:
    decision = decide(request(APPROVED, signer=signer), None, NOW)
    assert isinstance(decision, Pend)
    assert told in decision.message


def test_a_failure_is_the_condition_of_kubernetes_with_our_text() -> None:
    found = written(FAIL)
    failed = condition.find(found.status.conditions, FAILED)
    assert failed is not None
    assert (failed.status, failed.reason, failed.message) == ("True", "DeadlineExceeded", FAIL.message)
    assert found.is_finished
    assert found.told == FAIL.message
    assert found.told_why == FAIL.why
    assert "certificate" not in body(FAIL)["status"]


def test_one_that_waits_says_why_and_has_not_ended() -> None:
    found = written(PEND)
    assert not found.is_finished
    assert (found.told, found.told_why) == (PEND.message, PEND.why)
    assert condition.find(found.status.conditions, FAILED) is None


def test_once_it_is_signed_all_is_in_one_write() -> None:
    found = written(ISSUE, written(PEND))
    assert found.is_finished
    assert KIND.certificate(found) == b"chain"
    assert set(body(ISSUE)["status"]) == {"conditions", "certificate"}, "there is no place for the CA"
    ready, by = (condition.find(found.status.conditions, type_) for type_ in (READY_CONDITION, AUTHORITY_CONDITION))
    assert ready is not None
    assert by is not None
    assert (ready.status, ready.reason) == ("True", "Issued")
    assert (by.status, by.message) == ("True", "edge signed")
    assert found.told_why == ""


@pytest.mark.parametrize("verdict", [PEND, FAIL, ISSUE])
def test_conditions_of_others_stay_to_the_letter_and_ours_have_every_time(verdict: Verdict) -> None:
    sent = body(verdict)
    assert sent["metadata"] == {"resourceVersion": "7"}
    assert sent["status"]["conditions"][:2] == [APPROVED, FOREIGN]
    for one in sent["status"]["conditions"][2:]:
        assert one["lastUpdateTime"] == one["lastTransitionTime"] == "2026-11-23T12:00:00Z"


def test_a_verdict_is_recognised_by_what_it_says() -> None:
    assert KIND.carries(written(FAIL), FAIL)
    assert KIND.carries(written(ISSUE), ISSUE)
    assert not KIND.carries(written(ISSUE), FAIL)
    assert not KIND.carries(written(FAIL), ISSUE)


def test_a_certificate_that_is_no_base64_is_none() -> None:
    found = REQUEST
    assert KIND.certificate(found) is None
    document = json.loads(msgspec.json.encode(found))
    document["status"]["certificate"] = "ä"
    assert KIND.certificate(KIND.decode(json.dumps(document).encode())) is None


def test_each_kind_takes_its_own_requests_only() -> None:
    with pytest.raises(TypeError, match="CertificateRequest"):
        KIND.certificate(CERTIFICATE_REQUEST)
    with pytest.raises(TypeError, match="CertificateSigningRequest"):
        CertificateRequests().certificate(REQUEST)


def test_the_rights_name_the_signers_and_no_others() -> None:
    *_, sign = (rule.manifest() for rule in RULES)
    assert sign == {
        "apiGroups": ["certificates.k8s.io"],
        "resources": ["signers"],
        "resourceNames": ["cdnissuers.cdn-issuer.io/*", "cdnclusterissuers.cdn-issuer.io/*"],
        "verbs": ["sign"],
    }


def test_one_that_waits_for_a_person_is_no_reason_for_an_alarm() -> None:
    memory = RequestMemory(lambda: 0.0)
    memory.note(request(), NOW)
    assert memory.unapproved == 0
    assert len(memory.waiting()) == 1
    memory.note(CERTIFICATE_REQUEST, NOW)
    assert memory.unapproved == 1


def test_the_csr_is_handed_on_as_it_is() -> None:
    assert REQUEST.encoded_csr == b64encode(CSR).decode()
    assert REQUEST.usages == ("digital signature", "server auth")
    assert isinstance(ISSUE, Issue)
