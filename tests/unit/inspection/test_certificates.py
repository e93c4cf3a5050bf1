"""Of a Certificate: what time is left, what cert-manager waits for, what will hurt; and of what is installed."""

from __future__ import annotations

import pytest

from issuer.api import installed
from issuer.api.certmanager import CertManager
from issuer.authorities import registry
from issuer.inspection.findings import Finding, summary
from tests.unit.inspection.inspection_case import (
    APPROVED,
    BACKUP,
    ago,
    ahead,
    certificate,
    codes,
    condition,
    found,
    issuer,
    only,
    request,
)

ISSUED = request(APPROVED, condition("Ready", "True", "Issued"))
REFUSED = request(
    APPROVED,
    condition("Ready", "False", "Failed", "edge: no"),
    condition("cdn-issuer.io/Authority", "False", "Rejected", "edge Rejected"),
)


def test_a_certificate_that_is_well_has_nothing() -> None:
    status = {"notAfter": ahead(days=80), "renewalTime": ahead(days=50), "revision": 1}
    assert found(certificate(status=status), ISSUED, issuer()) == []


@pytest.mark.parametrize(
    ("attempts", "failed", "until"),
    [
        (1, ago(minutes=10), "2026-11-27T12:50:00Z"),
        (3, ago(minutes=10), "2026-11-27T15:50:00Z"),
        (6, ago(hours=1), "2026-11-28T19:00:00Z"),
        (40, ago(hours=1), "2026-11-28T19:00:00Z"),
    ],
)
def test_the_backoff_of_cert_manager_is_told_after_what_caused_it(attempts: int, failed: str, until: str) -> None:
    status = {"failedIssuanceAttempts": attempts, "lastFailureTime": failed}
    cause, consequence = found(certificate(status=status), REFUSED, issuer())
    assert (cause.code, consequence.code, consequence.severity) == ("Rejected", "InBackoff", "warning")
    assert f"does not try again before {until} unless it is told to" in consequence.sentence
    assert consequence.fix == "cmctl renew --namespace shop site"


def test_a_backoff_alone_is_the_problem() -> None:
    status = {"failedIssuanceAttempts": 1, "lastFailureTime": ago(minutes=59)}
    finding = only(certificate(status=status), issuer())
    assert (finding.severity, finding.code) == ("error", "InBackoff")


def test_while_it_is_being_issued_no_backoff_is_told() -> None:
    status = {
        "failedIssuanceAttempts": 2,
        "lastFailureTime": ago(minutes=9),
        "conditions": [condition("Issuing", "True", "ManuallyTriggered", since=ago(seconds=5))],
    }
    assert found(certificate(status=status), issuer()) == []


def test_a_wrong_reference_is_told_with_what_follows_from_it() -> None:
    typo = {"group": "cdn-issuer.io", "kind": "Typo", "name": "web"}
    assert codes(found(certificate(status={"notAfter": ago(minutes=1)}, ref=typo), issuer())) == [
        "WrongKind",
        "Expired",
    ]


def test_the_trouble_of_one_issuer_is_told_once_for_all_of_its_certificates() -> None:
    refused = {"name": "edge", "state": "Unauthorized", "message": "no"}
    assert codes(found(certificate(), certificate(), issuer(states=[refused]))) == ["CredentialRefused"]


def test_a_history_of_one_does_no_harm_where_no_cloudflare_signs() -> None:
    assert found(certificate({"revisionHistoryLimit": 1}), ISSUED, issuer(BACKUP)) == []


def test_a_backoff_that_is_over_is_none() -> None:
    status = {"failedIssuanceAttempts": 1, "lastFailureTime": ago(minutes=61)}
    assert found(certificate(status=status), issuer()) == []


@pytest.mark.parametrize(
    ("left", "severity", "code"),
    [({"days": 20}, "warning", "RenewalOverdue"), ({"hours": 70}, "error", "ExpiresSoon")],
)
def test_a_renewal_that_does_not_come_through_says_how_long_is_left(
    left: dict[str, float], severity: str, code: str
) -> None:
    status = {"notAfter": ahead(**left), "renewalTime": ago(hours=5)}
    finding = only(certificate(status=status), ISSUED, issuer())
    assert (finding.severity, finding.code) == (severity, code)
    assert "its renewal was due at 2026-11-27T07:00:00Z and has not come through" in finding.sentence


def test_a_certificate_that_has_ended_is_told() -> None:
    finding = only(certificate(status={"notAfter": ago(minutes=1)}), ISSUED, issuer())
    assert (finding.code, finding.sentence) == (
        "Expired",
        "the certificate in Secret site-tls has ended at 2026-11-27T11:59:00Z",
    )


def test_a_certificate_for_which_no_request_is_made_blames_cert_manager() -> None:
    issuing = {"conditions": [condition("Issuing", "True", "DoesNotExist", since=ago(minutes=3))]}
    assert only(certificate(status=issuing), issuer()).code == "NoRequest"
    assert "has made no request" in only(certificate(status=issuing), issuer()).sentence
    assert "has not looked at it since" in only(certificate(status={"conditions": []}), issuer()).sentence
    assert found(certificate(status=issuing), request(APPROVED, age=5), issuer()) == []


@pytest.mark.parametrize("known", [None, CertManager(keeps_one=False), CertManager(keeps_one=True)])
@pytest.mark.parametrize("limit", [None, 1, 2])
def test_a_history_of_one_is_told_of_where_cloudflare_signs(limit: int | None, known: CertManager | None) -> None:
    findings = found(certificate({"revisionHistoryLimit": limit}), ISSUED, issuer(), cert_manager=known)
    hurts = limit == 1 or (limit is None and known is not None and known.keeps_one)
    assert codes(findings) == (["HistoryTooShort"] if hurts else [])


def test_a_key_that_is_never_rotated_is_told_of() -> None:
    finding = only(certificate({"privateKey": {"rotationPolicy": "Never"}}), ISSUED, issuer())
    assert (finding.severity, finding.code) == ("warning", "KeyNotRotated")


@pytest.mark.parametrize(
    ("duration", "told"),
    [
        ("1440h", "so it gets 90 days"),
        ("2160h0m0s", None),
        ("168h", None),
        ("200000h", "so it is not signed there"),
    ],
)
def test_a_duration_that_cloudflare_does_not_offer_is_told_of(duration: str, told: str | None) -> None:
    findings = found(certificate({"duration": duration}), ISSUED, issuer())
    assert codes(findings) == (["DurationNotOffered"] if told else [])
    assert told is None or findings[0].sentence.endswith(told)


def test_a_certificate_of_another_issuer_is_not_judged() -> None:
    other = {"group": "cert-manager.io", "kind": "Issuer", "name": "web"}
    finding = only(certificate({"revisionHistoryLimit": 1}, ref=other), issuer())
    assert (finding.severity, finding.code) == ("note", "NotOurs")


def test_crds_of_another_version_are_told_of_before_all_else() -> None:
    fields = installed.expected(registry.configs())
    older = {kind: names - {"spec.trust"} for kind, names in fields.items()}
    findings = found(certificate(), ISSUED, issuer(), served=older)
    assert codes(findings) == ["OtherCRDs", "OtherCRDs"]
    assert "lacks spec.trust, which the API server drops" in findings[0].sentence
    assert found(certificate(), ISSUED, issuer(), served=fields) == []


def test_a_cert_manager_that_is_too_old_is_told_of() -> None:
    assert only(certificate(), ISSUED, issuer(), cert_manager=CertManager(too_old=True)).code == "CertManagerTooOld"


def test_the_last_line_counts() -> None:
    one = Finding(severity="error", code="Denied", object="a", sentence="b")
    two = Finding(severity="warning", code="Denied", object="a", sentence="b")
    three = Finding(severity="note", code="Denied", object="a", sentence="b")
    assert summary([]) == summary([three]) == "no problems"
    assert summary([one, two, three]) == "1 problem, 1 warning"
    assert summary([one, one]) == "2 problems"
