"""Of a CertificateSigningRequest: who has not approved it, what its signer's name leads to, how it has ended."""

from __future__ import annotations

import pytest

from issuer.api.meta import ObjectKey
from tests.unit.inspection.inspection_case import (
    APPROVED,
    BACKUP,
    EDGE,
    LEASE,
    ago,
    codes,
    condition,
    found,
    issuer,
    lease,
    only,
    request,
    signing_request,
)

WAITS = "edge: HTTP 503 from api; pending since 11:55; retrying until 12:55"
PENDING = condition("cdn-issuer.io/Ready", "False", "Pending", WAITS)
AGAIN = "kubectl get certificatesigningrequests www --output json | kubectl replace --force --filename -"
ANOTHER = "make another CertificateSigningRequest"
NO_MORE = f"; Kubernetes never opens it again, so {ANOTHER}"
NO_KIND = (
    "spec.signerName cdnissuer.cdn-issuer.io/shop.web names no kind of cdn-issuer.io, whose signers are those of "
    f"cdnissuers.cdn-issuer.io and cdnclusterissuers.cdn-issuer.io; it cannot be changed, so {ANOTHER}"
)
NO_NAMESPACE = (
    f"spec.signerName cdnissuers.cdn-issuer.io/web names no namespace: {ANOTHER} with the right spec.signerName, "
    "cdnissuers.cdn-issuer.io/NAMESPACE.NAME"
)
SHARED = "cdnclusterissuers.cdn-issuer.io/shared"


def cause(reason: str, message: str = "") -> dict[str, str]:
    return condition("cdn-issuer.io/Authority", "False", reason, message)


def approved(**since: float) -> dict[str, str]:
    return {**APPROVED, "lastTransitionTime": ago(**since)}


def failed(message: str, why: str, reason: str = "DeadlineExceeded") -> tuple[dict[str, str], ...]:
    ready = condition("cdn-issuer.io/Ready", "False", "Failed", message)
    return APPROVED, condition("Failed", "True", reason, message), ready, cause(why)


def test_one_that_waits_for_a_person_is_a_warning_with_what_to_type() -> None:
    finding = only(signing_request(), issuer())
    assert (finding.severity, finding.code, finding.object) == (
        "warning",
        "NotApprovedYet",
        "CertificateSigningRequest www",
    )
    assert finding.sentence.startswith("neither approved nor denied, 5m after it was made; ")
    assert finding.fix == "kubectl certificate approve www"


def test_a_denial_is_told_in_the_words_of_who_denied() -> None:
    finding = only(signing_request(condition("Denied", "True", "Policy", "not on a Friday")), issuer())
    assert (finding.code, finding.sentence) == ("Denied", "an approver has denied it: not on a Friday")


@pytest.mark.parametrize(
    ("signer", "code", "sentence"),
    [
        (
            "cdnissuer.cdn-issuer.io/shop.web",
            "WrongKind",
            NO_KIND,
        ),
        (
            "cdnissuers.cdn-issuer.io/web",
            "IssuerMissing",
            NO_NAMESPACE,
        ),
        (
            "cdnissuers.cdn-issuer.io/shop.wbe",
            "IssuerMissing",
            "CDNIssuer wbe does not exist in namespace shop",
        ),
        (
            "cdnclusterissuers.cdn-issuer.io/absent",
            "IssuerMissing",
            "CDNClusterIssuer absent does not exist",
        ),
    ],
)
def test_a_signer_that_leads_nowhere_is_told_once(signer: str, code: str, sentence: str) -> None:
    waits = condition("cdn-issuer.io/Ready", "False", "Pending", "it does not exist")
    finding = only(signing_request(APPROVED, waits, cause("IssuerNotFound"), signer=signer), issuer())
    assert (finding.severity, finding.code, finding.sentence) == ("error", code, sentence)


def test_a_signer_of_the_other_kind_is_a_hint() -> None:
    finding = only(signing_request(signer="cdnissuers.cdn-issuer.io/shop.shared"), issuer(name="shared", namespace=""))
    assert finding.code == "IssuerMissing"
    assert finding.fix == "kubectl delete certificatesigningrequests www", "another kind is another request"


def test_one_for_the_signer_of_somebody_else_is_no_problem_of_ours() -> None:
    finding = only(signing_request(APPROVED, signer="kubernetes.io/kubelet-serving"))
    assert (finding.severity, finding.code) == ("note", "NotOurs")


def test_what_waits_for_an_authority_says_what_the_authority_said() -> None:
    finding = only(signing_request(APPROVED, PENDING, cause("Unavailable")), issuer())
    assert (finding.code, finding.sentence) == ("AuthorityUnavailable", WAITS)
    assert finding.fix == "kubectl describe cdnissuers --namespace shop web"


def test_what_is_wrong_with_its_issuer_explains_why_it_waits() -> None:
    states = [{"name": "edge", "state": "Open", "message": "circuit breaker open"}]
    said = found(signing_request(APPROVED, PENDING, cause("Unavailable")), issuer(states=states))
    assert codes(said) == ["BreakerOpen"]


@pytest.mark.parametrize(
    ("signer", "where"),
    [("cdnissuers.cdn-issuer.io/shop.web", "shop"), (SHARED, LEASE.namespace)],
)
def test_a_child_that_nobody_approved_is_shown_where_it_is(signer: str, where: str) -> None:
    conditions = (APPROVED, PENDING, cause("InProgress", "far NotApproved"))
    finding = only(signing_request(*conditions, signer=signer), issuer(), issuer(name="shared", namespace=""))
    assert finding.code == "ChildNotApproved"
    assert f" --namespace {where} " in finding.fix


def test_a_deadline_that_was_missed_is_to_be_asked_for_again() -> None:
    finding = only(signing_request(*failed("not signed within the deadline", "Unavailable")), issuer())
    assert (finding.code, finding.fix) == ("DeadlineExceeded", AGAIN)
    assert finding.sentence == f"not signed within the deadline{NO_MORE}"


@pytest.mark.parametrize("why", ["Rejected", "InvalidRequest", "Unsupported"])
def test_what_another_try_does_not_change_is_not_to_be_asked_for_again(why: str) -> None:
    finding = only(signing_request(*failed("no zone for it", why, f"Authority{why}")), issuer())
    assert (finding.code, finding.sentence) == (why, f"no zone for it{NO_MORE}")
    assert finding.fix == "kubectl delete certificatesigningrequests www"


def test_an_issuer_that_never_came_is_why_it_failed() -> None:
    finding = only(signing_request(*failed("not signed by the deadline: it does not exist", "IssuerNotFound")))
    assert (finding.code, finding.fix) == ("IssuerMissing", AGAIN)


def test_a_certificate_that_the_api_server_did_not_take_has_a_code_of_its_own() -> None:
    finding = only(signing_request(*failed("it is not taken", "CertificateRefused", "CertificateRefused")), issuer())
    assert (finding.code, finding.fix) == ("CertificateRefused", "kubectl describe certificatesigningrequests www")


def test_one_that_somebody_else_has_failed_was_refused() -> None:
    finding = only(signing_request(APPROVED, condition("Failed", "True", "Revoked")), issuer())
    assert (finding.code, finding.sentence) == ("Rejected", f"Revoked{NO_MORE}")


def test_one_that_is_signed_is_no_finding_whatever_has_become_of_its_issuer() -> None:
    assert found(signing_request(APPROVED, certificate="LS0t")) == []


def test_one_that_nobody_takes_up_beside_a_controller_at_work_names_the_flag_and_the_value() -> None:
    finding = only(signing_request(approved(minutes=3)), issuer())
    assert (finding.severity, finding.code) == ("error", "SigningRequestsOff")
    assert finding.sentence == (
        "approved 3m ago, and has not been taken up, though the controller is at work: it runs without "
        "--certificate-signing-requests (certificateSigningRequests.enabled of the chart), or else its log names the "
        "right that it lacks"
    )
    assert finding.fix == (
        "helm upgrade cdn-issuer deploy/chart --namespace cdn-issuer-system --reuse-values "
        "--set certificateSigningRequests.enabled=true"
    )


def test_the_release_is_where_its_lease_is() -> None:
    key = ObjectKey("elsewhere", "cdn-issuer")
    finding = only(signing_request(approved(minutes=3)), issuer(controller=str(key)), leases={key: lease(key=key)})
    assert " --namespace elsewhere " in finding.fix


@pytest.mark.parametrize(
    ("waited", "authorities", "told"),
    [
        (140.0, [EDGE], []),
        (160.0, [EDGE], ["SigningRequestsOff"]),
        (25.0, [BACKUP], []),
        (35.0, [BACKUP], ["SigningRequestsOff"]),
        (590.0, [{**EDGE, "name": f"edge{number}"} for number in range(6)], []),
        (610.0, [{**EDGE, "name": f"edge{number}"} for number in range(6)], ["SigningRequestsOff"]),
    ],
)
def test_silence_tells_nothing_before_each_authority_has_had_its_turn(
    waited: float, authorities: list[dict[str, object]], told: list[str]
) -> None:
    said = found(signing_request(approved(seconds=waited)), issuer(*authorities))
    assert codes([one for one in said if one.is_error]) == told


def test_whether_the_controller_runs_is_not_guessed_where_its_lease_may_not_be_read() -> None:
    finding = only(signing_request(approved(minutes=3)), issuer(), leases={})
    assert finding.code == "NotTakenUp"
    assert finding.sentence.endswith(
        "no controller runs, or it runs without --certificate-signing-requests "
        "(certificateSigningRequests.enabled of the chart)"
    )


def test_where_no_controller_runs_that_is_the_cause() -> None:
    assert codes(found(signing_request(approved(hours=1)), issuer(), leases={LEASE: None})) == ["NoController"]


def test_both_kinds_are_told_of_side_by_side() -> None:
    waiting = request(APPROVED, condition("Ready", "False", "Pending", WAITS), cause("Unavailable"), owner="")
    said = found(waiting, signing_request(APPROVED, PENDING, cause("Unavailable")), issuer())
    assert [one.object for one in said] == ["CertificateRequest shop/site-1", "CertificateSigningRequest www"]
