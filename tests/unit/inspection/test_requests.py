"""Of a request: who has not approved it, which issuer is not there, what an authority said."""

from __future__ import annotations

import pytest

from tests.unit.inspection.inspection_case import (
    APPROVED,
    ago,
    certificate,
    codes,
    condition,
    found,
    issuer,
    only,
    request,
)

PENDING = condition("Ready", "False", "Pending", "edge: HTTP 503 from api; pending since 11:55; retrying until 12:55")

MISSES = "issuerRef.kind CDNIssuer is of the group cdn-issuer.io, but issuerRef.group"


def failed(message: str, cause: str) -> tuple[dict[str, str], ...]:
    told = condition("cdn-issuer.io/Authority", "False", cause, "edge Rejected 1010")
    return APPROVED, condition("Ready", "False", "Failed", message), told


def test_a_request_that_nobody_may_approve_names_the_right_and_how_to_give_it() -> None:
    finding = only(certificate(), request(), issuer(), may_approve={"cdnissuers": False})
    assert (finding.code, finding.object) == ("NotApproved", "CertificateRequest shop/site-1")
    assert finding.sentence == (
        "nobody has approved it: cert-manager's approver lacks the right to approve signers.cert-manager.io "
        "cdnissuers.cdn-issuer.io/*"
    )
    assert finding.fix.startswith("kubectl create clusterrolebinding cdn-issuer-approver ")


def test_a_request_that_waits_for_an_approver_who_may_blames_no_right() -> None:
    finding = only(certificate(), request(), issuer(), may_approve={"cdnissuers": True})
    assert finding.sentence.startswith(
        "neither approved nor denied for 5m: cert-manager's approver may, so it does not"
    )
    assert finding.fix == "kubectl get pods --namespace cert-manager"


def test_where_nobody_knows_what_the_approver_may_both_ways_are_told() -> None:
    finding = only(certificate(), request(), issuer())
    assert "needs the right to approve signers.cert-manager.io cdnissuers.cdn-issuer.io/*" in finding.sentence
    assert "CertificateRequestPolicy has to select the request" in finding.sentence


def test_a_request_that_has_just_been_made_is_no_problem_yet() -> None:
    finding = only(certificate(), request(age=5), issuer())
    assert (finding.severity, finding.code) == ("warning", "NotApprovedYet")


def test_a_denial_is_told_in_the_words_of_who_denied() -> None:
    denied = condition("Denied", "True", "Policy", "not on a Friday")
    finding = only(certificate(), request(denied), issuer())
    assert (finding.code, finding.sentence) == ("Denied", "an approver has denied it: not on a Friday")


@pytest.mark.parametrize(
    ("ref", "code", "sentence"),
    [
        (
            {"group": "cdn-issuer.io", "kind": "ClusterIssuer", "name": "web"},
            "WrongKind",
            "issuerRef.kind ClusterIssuer is no kind of cdn-issuer.io, which has CDNIssuer and CDNClusterIssuer",
        ),
        (
            {"kind": "CDNIssuer", "name": "web"},
            "WrongGroup",
            f"{MISSES} is missing, which means cert-manager.io",
        ),
        (
            {"group": "cert-manager.io", "kind": "CDNIssuer", "name": "web"},
            "WrongGroup",
            f"{MISSES} is cert-manager.io",
        ),
        (
            {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "wbe"},
            "IssuerMissing",
            "CDNIssuer wbe does not exist in namespace shop",
        ),
        (
            {"group": "cdn-issuer.io", "kind": "CDNClusterIssuer", "name": "web"},
            "IssuerMissing",
            "CDNClusterIssuer web does not exist; there is a CDNIssuer of that name",
        ),
    ],
)
def test_a_wrong_issuer_ref_is_told_once_of_the_certificate(ref: dict[str, str], code: str, sentence: str) -> None:
    finding = only(certificate(ref=ref), request(APPROVED, PENDING, ref=ref), issuer())
    assert (finding.code, finding.object, finding.sentence) == (code, "Certificate shop/site", sentence)


def test_an_issuer_of_another_namespace_is_no_hint() -> None:
    finding = only(certificate(), issuer(namespace="other"))
    assert finding.sentence == "CDNIssuer web does not exist in namespace shop"


def test_an_issuer_that_may_not_be_read_is_not_called_missing() -> None:
    waiting = found(certificate(), request(APPROVED, PENDING), unread=frozenset({"CDNIssuer"}))
    assert codes(waiting) == ["Waiting"]


def test_what_waits_for_an_authority_says_what_the_authority_said() -> None:
    told = condition("cdn-issuer.io/Authority", "False", "Unavailable", "edge Unavailable")
    finding = only(certificate(), request(APPROVED, PENDING, told), issuer())
    assert (finding.code, finding.sentence) == ("AuthorityUnavailable", PENDING["message"])
    assert finding.fix == "kubectl describe cdnissuers --namespace shop web"


def test_a_refusal_is_to_be_mended_in_the_certificate() -> None:
    finding = only(certificate(), request(*failed("edge: no zone for it (code 1010)", "Rejected")), issuer())
    assert (finding.code, finding.sentence) == ("Rejected", "edge: no zone for it (code 1010)")
    assert finding.fix == "kubectl edit certificates --namespace shop site"


def test_a_deadline_that_was_missed_is_to_be_tried_again() -> None:
    finding = only(certificate(), request(*failed("not signed within the deadline", "Unavailable")), issuer())
    assert (finding.code, finding.fix) == ("DeadlineExceeded", "cmctl renew --namespace shop site")


def test_only_the_newest_request_counts() -> None:
    old = request(*failed("an outage", "Unavailable"), age=9000)
    new = request(APPROVED, condition("Ready", "True", "Issued"), name="site-2", age=10)
    assert found(certificate(), new, old, issuer()) == []


def test_a_request_that_nobody_takes_up_is_told() -> None:
    finding = only(certificate(), request({**APPROVED, "lastTransitionTime": ago(minutes=11)}), issuer())
    assert finding.code == "NotTakenUp"
    assert "none that serves the namespace shop" in finding.sentence


def test_a_request_that_no_certificate_owns_is_looked_at_for_itself() -> None:
    ref = {"group": "cdn-issuer.io", "kind": "Typo", "name": "web"}
    finding = only(request(APPROVED, PENDING, ref=ref, owner=""), issuer())
    assert (finding.code, finding.object) == ("WrongKind", "CertificateRequest shop/site-1")
    assert finding.fix == "kubectl delete certificaterequests --namespace shop site-1"


def test_a_request_of_another_issuer_is_left_alone() -> None:
    ref = {"group": "cert-manager.io", "kind": "Issuer", "name": "web"}
    assert found(request(APPROVED, PENDING, ref=ref)) == []
