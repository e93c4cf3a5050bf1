"""Of an issuer: its Secrets, its authorities, its controller."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from issuer.api.meta import ObjectKey
from issuer.inspection.snapshot import SecretView
from tests.unit.inspection.inspection_case import (
    APPROVED,
    BACKUP,
    EDGE,
    LEASE,
    NOW,
    ago,
    certificate,
    codes,
    condition,
    found,
    issuer,
    lease,
    only,
    request,
)

NOT_READY = condition("Ready", "False", "NoAuthorityAvailable", "no authority can sign now")
PENDING = (APPROVED, condition("Ready", "False", "Pending", "edge: waits"))
CLOUDFLARE = ObjectKey("shop", "cloudflare")
CA = ObjectKey("shop", "backup-ca")


def state(name: str, state: str, message: str) -> dict[str, str]:
    return {"name": name, "state": state, "message": message}


@pytest.mark.parametrize(
    ("of_authority", "code", "fix"),
    [
        (
            "SecretNotFound",
            "SecretMissing",
            "kubectl create secret generic cloudflare --namespace shop --from-file=token",
        ),
        ("Unauthorized", "CredentialRefused", "kubectl create secret generic cloudflare --namespace shop"),
        ("Misconfigured", "Misconfigured", "kubectl create secret generic cloudflare --namespace shop"),
        ("Open", "BreakerOpen", "kubectl describe cdnissuers --namespace shop web"),
    ],
)
def test_the_state_of_an_authority_is_the_cause_and_the_request_that_waits_is_no_second_problem(
    of_authority: str, code: str, fix: str
) -> None:
    broken = issuer(states=[state("edge", of_authority, "so it is")], ready=NOT_READY)
    finding = only(certificate(), request(*PENDING), broken)
    assert (finding.severity, finding.code, finding.sentence) == ("error", code, "authority edge: so it is")
    assert finding.fix.startswith(fix)


def signed(name: str) -> dict[str, str]:
    """An authority that has signed."""
    return {"name": name, "state": "Available", "lastSuccessTime": ago(hours=1)}


def test_a_fallback_that_nobody_tried_is_told_unless_it_is_rehearsed() -> None:
    untried = {"name": "backup", "state": "Available"}
    states = [signed("backup"), {**untried, "name": "edge"}]
    findings = found(issuer(BACKUP, EDGE, states=states), subjects=True)
    (told,) = (one for one in findings if one.code == "NeverRehearsed")
    assert (told.severity, told.object) == ("note", "CDNIssuer shop/web")
    assert told.sentence.startswith(
        "authority edge is a fallback that has never signed; give the issuer spec.rehearsal"
    )
    assert told.fix.startswith("kubectl patch cdnissuers --namespace shop web --type merge --patch")
    assert "NeverRehearsed" not in codes(found(issuer(EDGE, states=[{**untried, "name": "edge"}]), subjects=True))


def test_an_authority_that_is_down_is_a_warning_while_another_signs() -> None:
    states = [state("edge", "Open", "circuit breaker open"), signed("backup")]
    findings = found(issuer(EDGE, BACKUP, states=states), subjects=True)
    assert [(one.severity, one.code) for one in findings] == [
        ("warning", "BreakerOpen"),
        ("warning", "FallbackNotTrusted"),
    ]


def test_a_rate_limit_has_a_word_of_its_own() -> None:
    limited = [state("edge", "Degraded", "rate-limited until 2026-11-27T12:05:00Z")]
    assert only(issuer(states=limited), subjects=True).code == "RateLimited"


def test_a_secret_that_lacks_its_key_is_told_of_before_the_controller_has_said_so() -> None:
    finding = only(issuer(), subjects=True, secrets={CLOUDFLARE: SecretView(frozenset({"api-token"}))})
    assert (finding.code, finding.object) == ("KeyMissing", "Secret shop/cloudflare")
    assert finding.sentence == "authority edge: Secret shop/cloudflare has no key token"


def test_a_secret_that_is_not_there_is_told_once() -> None:
    broken = issuer(states=[state("edge", "SecretNotFound", "Secret shop/cloudflare does not exist")], ready=NOT_READY)
    assert codes(found(broken, subjects=True, secrets={CLOUDFLARE: None})) == ["SecretMissing"]
    assert codes(found(issuer(), subjects=True, secrets={CLOUDFLARE: None})) == ["SecretMissing"]


@pytest.mark.parametrize(
    ("left", "severity", "code", "sentence"),
    [
        (timedelta(days=29), "warning", "CAExpires", "the CA of authority backup ends in 29d, at 2026-12-26T12:00:00Z"),
        (timedelta(days=-1), "error", "CAExpired", "the CA of authority backup has ended, at 2026-11-26T12:00:00Z"),
    ],
)
def test_a_ca_about_to_end_is_told_of(left: timedelta, severity: str, code: str, sentence: str) -> None:
    view = SecretView(frozenset({"tls.crt", "tls.key"}), NOW + left)
    finding = only(issuer(BACKUP), subjects=True, secrets={CA: view})
    assert (finding.severity, finding.code) == (severity, code)
    assert finding.sentence.startswith(sentence)


def test_a_ca_with_time_left_is_none() -> None:
    view = SecretView(frozenset({"tls.crt", "tls.key"}), NOW + timedelta(days=31))
    assert found(issuer(BACKUP), subjects=True, secrets={CA: view}) == []


def test_a_ca_that_comes_first_is_no_fallback() -> None:
    assert found(issuer(BACKUP, EDGE), subjects=True) == []


def test_of_two_accounts_the_first_is_the_one_that_is_kept() -> None:
    finding = only(issuer(EDGE, {**EDGE, "name": "second"}, BACKUP), subjects=True)
    assert finding.fix.endswith("cdn-issuer.io/authorities=edge")


def test_where_the_secrets_of_a_cluster_issuer_are_is_a_guess_and_nothing_is_called_missing_there() -> None:
    assert found(issuer(namespace=""), subjects=True, secrets={ObjectKey(LEASE.namespace, "cloudflare"): None}) == []


def test_a_fallback_that_the_edge_refuses_is_told_with_what_keeps_it_out() -> None:
    finding = only(issuer(EDGE, BACKUP), subjects=True)
    assert finding.sentence == (
        "what authority backup, a CA of your own, signs in place of edge is refused by Cloudflare's edge in Full "
        "(strict) mode; Certificates of origins behind it have to leave it out"
    )
    assert finding.fix == "kubectl annotate certificates --namespace shop NAME cdn-issuer.io/authorities=edge"


def test_a_specification_that_cannot_be_used_is_all_that_is_told() -> None:
    invalid = condition("Ready", "False", "InvalidSpec", "spec.authorities: 1 to 8 are needed")
    finding = only(certificate(), request(*PENDING), issuer(ready=invalid))
    assert (finding.code, finding.sentence) == ("InvalidSpec", "spec.authorities: 1 to 8 are needed")


def test_a_lease_that_nobody_renews_is_a_missing_controller_and_the_cause_of_all() -> None:
    findings = found(
        certificate(),
        request({**APPROVED, "lastTransitionTime": ago(minutes=11)}),
        issuer(),
        leases={LEASE: lease(renewed=90)},
        stale=frozenset({LEASE}),
    )
    assert codes(findings) == ["NoController"]
    assert findings[0].sentence == (
        "no controller runs: pod-1 has not renewed its Lease cdn-issuer-system/cdn-issuer for 1m30s"
    )


@pytest.mark.parametrize(
    ("held", "told"),
    [(None, "its Lease cdn-issuer-system/cdn-issuer does not exist"), (lease(holder=""), "has given its Lease")],
)
def test_a_lease_without_a_holder_is_a_missing_controller(held: object, told: str) -> None:
    finding = only(issuer(), subjects=True, leases={LEASE: held})
    assert finding.code == "NoController"
    assert told in finding.sentence


def test_an_issuer_that_nobody_has_ever_looked_at_has_no_controller() -> None:
    finding = only(issuer(controller="", states=[], conditions=[]), subjects=True)
    assert (finding.code, finding.object) == ("NoController", "CDNIssuer shop/web")
    assert found(issuer(controller="", states=[], conditions=[], age=5), subjects=True) == []


def test_two_controllers_in_one_namespace_are_told_of() -> None:
    other = ObjectKey("cdn-issuer-system", "second")
    both = {LEASE: lease(), other: lease(key=other)}
    web, api = issuer(), issuer(name="api", controller=str(other))
    finding = only(web, api, subjects=True, leases=both)
    assert finding.code == "TwoControllers"
    assert "cdn-issuer-system/cdn-issuer (which wrote the status of CDNIssuer shop/web)" in finding.sentence
    assert "TwoControllers" not in codes(
        found(web, api, subjects=True, leases={**both, other: lease(key=other, holder="")})
    )
    apart = issuer(name="api", namespace="other", controller=str(other))
    assert found(web, apart, subjects=True, leases=both) == []


OTHER = {"name": "edge", "issuerRef": {"name": "letsencrypt", "kind": "ClusterIssuer"}}


@pytest.mark.parametrize(
    ("of_authority", "code", "fix"),
    [
        ("IssuerNotFound", "OtherIssuerMissing", "kubectl edit cdnissuers --namespace shop web"),
        (
            "IssuerNotReady",
            "OtherIssuerNotReady",
            "kubectl describe clusterissuer.cert-manager.io --namespace shop letsencrypt",
        ),
    ],
)
def test_an_issuer_that_an_authority_stands_for_is_what_is_to_be_looked_at(
    of_authority: str, code: str, fix: str
) -> None:
    broken = issuer(OTHER, states=[state("edge", of_authority, "it is away")], ready=NOT_READY)
    finding = only(certificate(), request(*PENDING), broken)
    assert (finding.severity, finding.code, finding.sentence) == ("error", code, "authority edge: it is away")
    assert finding.fix == fix


def test_an_issuer_without_an_active_authority_is_told() -> None:
    none = condition("Ready", "False", "NoActiveAuthority", "no authority signs: edge is Disabled")
    told = codes(found(issuer(states=[{"name": "edge", "state": "Disabled"}], ready=none), subjects=True))
    assert "NoActiveAuthority" in told
    assert "IssuerNotReady" not in told


def test_a_child_that_nobody_approves_is_told() -> None:
    waits = condition("Ready", "False", "Pending", "edge: CertificateRequest shop/site-1-abc is not approved")
    why = condition("cdn-issuer.io/Authority", "False", "InProgress", "edge InProgress NotApproved")
    findings = found(certificate(), request(APPROVED, waits, why), issuer(OTHER, states=[signed("edge")]))
    (told,) = (one for one in findings if one.code == "ChildNotApproved")
    assert told.severity == "error"
    assert told.sentence == "edge: CertificateRequest shop/site-1-abc is not approved"
    given = json.loads(told.fix.removeprefix("echo '").removesuffix("' | kubectl apply -f -"))
    role, binding = given["items"]
    assert role["rules"][0]["resourceNames"] == ["clusterissuers.cert-manager.io/*"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"] == "approve-clusterissuers.cert-manager.io"
