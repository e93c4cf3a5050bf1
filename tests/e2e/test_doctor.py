"""What `cdn-issuer doctor` says of each thing that can be wrong, staged on a real control plane."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from issuer.api.meta import format_time
from issuer.inspection import certificates
from issuer.pki.certificate import to_pem
from issuer.sandbox import objects
from tests.controlplane.plane import MERGE
from tests.e2e.approver import no_right_to_approve
from tests.e2e.inspecting import call, codes, findings, told
from tests.e2e.world import TOKEN
from tests.unit.pki.pki_case import key, key_pem, make_ca

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.world import World

BREAKER = {"consecutiveFailures": 2, "openFor": "60s", "maxOpenFor": "60s"}
SITE = ("certificate", "site")


async def without_waiting(world: World, *authorities: Any) -> None:
    """An issuer that will not be Ready."""
    world.plane.apply(objects.issuer("web", authorities or [world.edge()], namespace=world.namespace))
    world.certificate()


async def test_where_all_is_well_the_doctor_says_so(world: World) -> None:
    await world.issuer()
    world.certificate(revisionHistoryLimit=2)
    await world.ready()
    result = await call(world, "doctor")
    assert (result.exit_code, result.output) == (0, "no problems\n")
    assert await findings(world, *SITE) == []
    assert await findings(world, "issuer", "web") == []


async def test_a_secret_that_is_missing_is_the_one_cause_of_what_waits(world: World) -> None:
    await without_waiting(world)
    await world.request_with("Pending")
    finding = await told(world, "SecretMissing", *SITE)
    assert f"Secret {world.namespace}/cloudflare" in finding["sentence"]
    assert finding["fix"].startswith(f"kubectl create secret generic cloudflare --namespace {world.namespace} ")
    assert codes(await findings(world, *SITE)) == ["SecretMissing"]
    result = await call(world, "doctor")
    assert result.exit_code == 1
    assert result.output.splitlines()[0].startswith(f"error: CDNIssuer {world.namespace}/web: authority edge: ")
    assert result.output.splitlines()[-1] == "1 problem, 1 warning", result.output


async def test_a_secret_without_its_key_is_told(world: World) -> None:
    world.plane.apply(objects.secret("cloudflare", world.namespace, {"api-token": b"x"}))
    await without_waiting(world)
    finding = await told(world, "KeyMissing", *SITE)
    assert "token" in finding["sentence"]


async def test_a_credential_that_is_refused_is_told(world: World) -> None:
    world.plane.apply(objects.secret("cloudflare", world.namespace, {"token": b"yesterday"}))
    await without_waiting(world)
    finding = await told(world, "CredentialRefused", *SITE, of="CDNIssuer ")
    assert finding["sentence"].startswith("authority edge: ")
    assert "create secret generic cloudflare" in finding["fix"]


async def test_an_open_breaker_is_told_with_what_opened_it(world: World) -> None:
    await world.issuer(breaker=BREAKER)
    world.cdn.faults.set("status", status=503, methods=["POST"])
    world.certificate()
    finding = await told(world, "BreakerOpen", *SITE)
    assert finding["severity"] == "error"
    assert "circuit breaker open after 2 consecutive failures" in finding["sentence"]
    assert "HTTP 503" in finding["sentence"]


async def test_a_fallback_that_signs_makes_a_breaker_a_warning_and_is_warned_of_itself(world: World) -> None:
    await world.issuer(backup=True, breaker=BREAKER)
    world.cdn.faults.set("status", status=503, methods=["POST"])
    world.certificate()
    await world.ready()
    finding = await told(world, "BreakerOpen", *SITE)
    assert finding["severity"] == "warning"
    said = await findings(world, *SITE)
    assert codes(said) == []
    (fallback,) = [one for one in said if one["code"] == "FallbackNotTrusted"]
    assert "Full (strict) mode" in fallback["sentence"]


async def test_a_rate_limit_is_told(world: World) -> None:
    await world.issuer()
    world.cdn.faults.set("rate-limited", seconds=600, methods=["POST"])
    world.certificate()
    finding = await told(world, "RateLimited", *SITE, of="CertificateRequest ")
    assert "HTTP 429" in finding["sentence"]


async def test_a_refusal_of_the_provider_is_told_and_until_when_cert_manager_waits(world: World) -> None:
    await world.issuer()
    world.cdn.faults.set("rejected", code=1010, message="this zone is not yours", methods=["POST"])
    world.certificate()
    finding = await told(world, "Rejected", *SITE)
    assert "this zone is not yours" in finding["sentence"]
    assert finding["fix"] == f"kubectl edit certificates --namespace {world.namespace} site"
    waits = await told(world, "InBackoff", *SITE)
    assert "cert-manager does not try again before 20" in waits["sentence"]
    assert waits["fix"] == f"cmctl renew --namespace {world.namespace} site"


@pytest.mark.parametrize(
    ("ref", "code", "sentence"),
    [
        ({"kind": "ClusterIssuer"}, "WrongKind", "issuerRef.kind ClusterIssuer is no kind of cdn-issuer.io"),
        ({"group": "cdn-issuers.io"}, "WrongGroup", "but issuerRef.group is cdn-issuers.io"),
        ({"name": "wbe"}, "IssuerMissing", "CDNIssuer wbe does not exist in namespace"),
        ({"kind": "CDNClusterIssuer"}, "IssuerMissing", "there is a CDNIssuer of that name"),
    ],
)
async def test_an_issuer_ref_that_leads_nowhere_is_told(
    world: World, ref: dict[str, str], code: str, sentence: str
) -> None:
    await world.issuer()
    world.certificate(issuerRef={"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "web", **ref})
    finding = await told(world, code, *SITE)
    assert finding["object"] == f"Certificate {world.namespace}/site"
    assert sentence in finding["sentence"]


async def test_a_missing_right_to_approve_is_told_at_once_and_a_denial_in_its_own_words(world: World) -> None:
    await world.issuer()
    with no_right_to_approve(world.cluster):
        world.certificate()
        finding = await told(world, "NotApproved", *SITE)
        assert "lacks the right to approve signers.cert-manager.io cdnissuers.cdn-issuer.io/*" in finding["sentence"]
        assert "clusterrolebinding cdn-issuer-approver" in finding["fix"]
        world.deny("site-1")
        await world.request_with("Denied")
        denied = await told(world, "Denied", *SITE)
        assert denied["sentence"] == "an approver has denied it: not on a Friday"


async def test_a_controller_that_is_gone_is_the_cause_of_what_waits(world: World) -> None:
    await world.issuer()
    controller = world.cluster.controller
    controller.stop()
    try:
        world.certificate()
        finding = await told(world, "NoController", *SITE)
        assert finding["sentence"] == (
            "no controller runs: the last one has given its Lease cdn-issuer-system/cdn-issuer up"
        )
        assert codes(await findings(world, *SITE)) == ["NoController"]
    finally:
        controller.start()
    await world.ready()


async def test_a_controller_that_is_frozen_is_told_by_its_lease(world: World) -> None:
    await world.issuer()
    server = world.cluster.controller.server
    server.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(4)
        finding = await told(world, "NoController", "issuer", "web")
        assert (
            "no controller runs: cdn-issuer has not renewed its Lease cdn-issuer-system/cdn-issuer for"
            in (finding["sentence"])
        )
    finally:
        server.kill()
        world.cluster.controller.start()


async def test_what_will_hurt_is_a_warning(world: World) -> None:
    await world.issuer()
    world.certificate(key={"rotationPolicy": "Never", "algorithm": "ECDSA", "size": 256}, duration="1000h")
    await world.ready()
    said = await findings(world, *SITE)
    assert codes(said, "warning") == ["HistoryTooShort", "KeyNotRotated", "DurationNotOffered"]
    assert "revisionHistoryLimit 1 (the default)" in said[0]["sentence"]
    assert said[2]["sentence"].startswith("spec.duration 1000h is none that Cloudflare offers")
    assert said[2]["sentence"].endswith("so it gets 90 days")


async def test_the_commands_that_are_told_mend_it(world: World) -> None:
    await world.issuer()
    world.certificate()
    await world.ready()
    (finding,) = await findings(world, *SITE)
    assert finding["fix"].endswith("""--type merge --patch '{"spec":{"revisionHistoryLimit":2}}'""")


async def test_a_ca_about_to_end_is_told(world: World) -> None:
    now = datetime.now(UTC)
    root = make_ca(
        "Old", signer=key("p256", "old"), start=now - timedelta(days=7), end=now + timedelta(days=20, minutes=30)
    )
    data = {"tls.crt": to_pem([root.certificate]), "tls.key": key_pem(root.signer)}
    world.plane.apply(objects.secret("backup-ca", world.namespace, data))
    backup = {"name": "backup", "ca": {"secretRef": {"name": "backup-ca"}}}
    world.plane.apply(objects.issuer("web", [backup], namespace=world.namespace))
    finding = await told(world, "CAExpires", "issuer", "web")
    assert finding["object"] == f"Secret {world.namespace}/backup-ca"
    assert finding["sentence"].startswith("the CA of authority backup ends in 20d, at ")


async def test_who_may_read_one_namespace_is_told_the_cause_and_what_was_not_looked_at(world: World) -> None:
    await without_waiting(world)
    await world.request_with("Pending")
    reader = may_read(world)
    finding = await told(world, "SecretMissing", *SITE, kubeconfig=reader)
    assert finding["severity"] == "error"
    said = await findings(world, *SITE, kubeconfig=reader)
    rights = {one["sentence"] for one in said if one["code"] == "MissingRight"}
    assert rights == {
        f"you may not get secrets in namespace {world.namespace}, so they were not looked at",
        "you may not get leases.coordination.k8s.io in namespace cdn-issuer-system, so they were not looked at",
    }


async def test_who_may_read_nothing_is_told_which_right_is_missing(world: World) -> None:
    await world.issuer()
    nobody = may_read(world, resources=["configmaps"])
    result = await call(world, "doctor", kubeconfig=nobody)
    assert result.exit_code == 1
    assert f"you may not list certificates.cert-manager.io in namespace {world.namespace}" in result.output
    assert f"--namespace {world.namespace} --verb list --resource certificates.cert-manager.io" in result.output


async def test_what_is_not_there_is_said_to_be_so(world: World) -> None:
    await world.issuer()
    for kind, title in (
        ("certificate", "Certificate"),
        ("certificaterequest", "CertificateRequest"),
        ("issuer", "CDNIssuer"),
    ):
        finding = await told(world, "NotFound", kind, "nothing")
        assert (finding["object"], finding["sentence"]) == (f"{title} {world.namespace}/nothing", "it does not exist")


async def test_an_api_server_that_refuses_the_credential_is_told_in_one_line(world: World) -> None:
    kubeconfig = world.plane.kubeconfig("stranger", "no-such-token")
    result = await call(world, "doctor", kubeconfig=kubeconfig)
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith("Error: the API server refuses your credential (HTTP 401")


async def test_an_issuer_of_the_whole_cluster_is_looked_at_with_its_secret_and_its_controller(world: World) -> None:
    name = await world.cluster_issuer()
    world.certificate(issuer=name, kind="CDNClusterIssuer", revisionHistoryLimit=2)
    await world.ready()
    assert await findings(world, *SITE) == []
    assert await findings(world, "clusterissuer", name) == []
    world.cdn.faults.set("unauthorized")
    world.certificate("late", issuer=name, kind="CDNClusterIssuer", revisionHistoryLimit=2)
    finding = await told(world, "CredentialRefused", "certificate", "late", of="CDNClusterIssuer ")
    assert finding["object"] == f"CDNClusterIssuer {name}"
    assert finding["fix"].startswith(f"kubectl create secret generic {name} --namespace cdn-issuer-system ")
    everywhere = await call(world, "doctor", everywhere=True)
    assert everywhere.exit_code == 1
    assert f"error: CDNClusterIssuer {name}: authority edge: " in everywhere.output


async def test_an_authority_that_is_down_is_told_in_its_own_words(world: World) -> None:
    await world.issuer()
    world.cdn.faults.set("status", status=503, methods=["POST"])
    world.certificate()
    finding = await told(world, "AuthorityUnavailable", *SITE, of="CertificateRequest ")
    assert finding["sentence"].startswith("edge: HTTP 503 from ")
    assert "; retrying until 20" in finding["sentence"]


async def test_a_deadline_that_was_missed_is_told_with_why(world: World) -> None:
    world.plane.apply(objects.secret("cloudflare", world.namespace, {"token": TOKEN.encode()}))
    world.cdn.faults.set("status", status=503, methods=["POST"])
    edge = world.edge(timeouts={"connect": "2s", "read": "2s", "attempt": "2s", "turn": "2s"})
    world.plane.apply(objects.issuer("web", [edge], namespace=world.namespace, deadline="2s"))
    world.certificate()
    finding = await told(world, "DeadlineExceeded", *SITE)
    assert finding["sentence"].startswith("not signed within the deadline of 2s after approval: edge: HTTP 503 from ")
    assert finding["fix"] == f"cmctl renew --namespace {world.namespace} site"


async def test_what_no_authority_can_sign_is_to_be_mended_in_the_certificate(world: World) -> None:
    await world.issuer()
    world.certificate(ipAddresses=["192.0.2.1"])
    finding = await told(world, "Unsupported", *SITE)
    assert "Cloudflare's Origin CA signs no IP addresses, and the request has 192.0.2.1" in finding["sentence"]
    assert finding["fix"] == f"kubectl edit certificates --namespace {world.namespace} site"


async def test_a_cert_manager_that_stands_still_and_time_that_runs_out_are_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "REQUESTED", timedelta(seconds=1))
    await world.issuer()
    world.certificate()
    await world.ready()
    server = world.cluster.certmanager.server
    server.freeze()
    try:
        world.certificate("late")
        finding = await told(world, "NoRequest", "certificate", "late")
        assert finding["sentence"].startswith("cert-manager has not looked at it since 20")
        now = datetime.now(UTC)
        for left, code in ((timedelta(days=20), "RenewalOverdue"), (timedelta(hours=5), "ExpiresSoon")):
            ends(world, now + left, due=now - timedelta(hours=1))
            finding = await told(world, code, *SITE)
            assert "and has not come through; the certificate in Secret site-tls ends in " in finding["sentence"]
        ends(world, now - timedelta(minutes=1), due=now - timedelta(hours=1))
        finding = await told(world, "Expired", *SITE)
        assert finding["sentence"].startswith("the certificate in Secret site-tls has ended at 20")
    finally:
        server.thaw()
    await world.ready("late")


def ends(world: World, when: datetime, *, due: datetime) -> None:
    """Write what cert-manager would have written of a certificate that ends then."""
    status = {"notAfter": format_time(when), "renewalTime": format_time(due)}
    world.plane.ask("PATCH", f"{world.path('certificates', 'site')}/status", {"status": status}, content_type=MERGE)


def may_read(world: World, resources: list[str] | None = None) -> Path:
    """A kubeconfig of somebody who may read what is in the namespace and no Secrets."""
    rbac, name = "rbac.authorization.k8s.io", "reader"
    metadata = {"name": name, "namespace": world.namespace}
    rule = {
        "apiGroups": ["cert-manager.io", "cdn-issuer.io"],
        "resources": resources or ["certificates", "certificaterequests", "cdnissuers"],
        "verbs": ["get", "list"],
    }
    role = {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]}
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", **metadata}],
    }
    world.plane.apply_all([{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}, role, binding])
    return world.plane.kubeconfig(f"reader-{world.namespace}", world.plane.token(world.namespace, name))
