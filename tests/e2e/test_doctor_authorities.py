"""What `cdn-issuer doctor` says of authorities that are not well, other issuers of the cluster among them."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from issuer.sandbox import objects
from tests.e2e.delegating import UNAPPROVED, cert_manager_issuer, children, install_other, issuer_of, stand_for
from tests.e2e.inspecting import codes, findings, told
from tests.e2e.kubectl import BINARY, needs_kubectl
from tests.e2e.world import read_condition

if TYPE_CHECKING:
    from tests.controlplane.plane import Manifest
    from tests.e2e.world import Cluster, World

SITE = ("certificate", "site")
WEB = ("issuer", "web")


@pytest.fixture(autouse=True, scope="module")
def _other(cluster: Cluster) -> None:
    install_other(cluster.plane, UNAPPROVED, approved=False)


async def test_an_issuer_that_an_authority_stands_for_and_does_not_exist_is_told_with_those_there_are(
    world: World,
) -> None:
    cert_manager_issuer(world, "letsencrypt", {"selfSigned": {}})
    world.plane.apply(objects.issuer("web", [stand_for("lets-encrypt")], namespace=world.namespace))
    finding = await told(world, "OtherIssuerMissing", *WEB)
    assert finding["severity"] == "error"
    assert finding["sentence"].startswith(
        f"authority lets-encrypt: Issuer.cert-manager.io lets-encrypt does not exist in namespace {world.namespace}; "
    )
    assert finding["sentence"].endswith("; there are letsencrypt")
    assert finding["fix"] == f"kubectl edit cdnissuers --namespace {world.namespace} web"


async def test_an_issuer_that_an_authority_stands_for_and_is_not_ready_is_told_in_its_own_words(world: World) -> None:
    cert_manager_issuer(world, "broken", {"ca": {"secretName": "absent"}})
    world.plane.apply(objects.issuer("web", [stand_for("broken")], namespace=world.namespace))
    finding = await told(world, "OtherIssuerNotReady", *WEB)
    assert "absent" in finding["sentence"]
    assert finding["fix"] == f"kubectl describe issuer.cert-manager.io --namespace {world.namespace} broken"


def is_approved(request: Manifest) -> bool:
    return read_condition(request, "Approved")[0] == "True"


@needs_kubectl
async def test_a_request_that_was_made_of_another_issuer_and_is_not_approved_is_told_with_the_right(
    world: World, tmp_path: Path
) -> None:
    world.plane.apply(
        {
            "apiVersion": "unapproved.example.com/v1",
            "kind": "OtherIssuer",
            "metadata": {"name": "other", "namespace": world.namespace},
        }
    )
    await issuer_of(world, stand_for("other", turn="1h", **UNAPPROVED), deadline="2h")
    world.certificate()
    finding = await told(world, "ChildNotApproved", *SITE)
    assert "right to approve for the signer otherissuers.unapproved.example.com/*" in finding["sentence"]
    done = await asyncio.to_thread(
        subprocess.run,
        ["sh", "-c", finding["fix"]],
        env={
            "PATH": f"{Path(str(BINARY)).parent}:/usr/bin:/bin",
            "HOME": str(tmp_path),  # kubectl keeps a cache there; without a home, where it is called
            "KUBECONFIG": str(world.plane.kubeconfig("admin", world.plane.admin_token)),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    try:
        world.cluster.webhook.restart()  # it remembers what it was told of rights
        await world.until(lambda: is_approved(children(world)[0]), "the child is approved")
    finally:
        for kind in ("clusterrolebindings", "clusterroles"):
            path = f"/apis/rbac.authorization.k8s.io/v1/{kind}/approve-otherissuers.unapproved.example.com"
            world.plane.ask("DELETE", path)


async def test_a_secret_that_holds_something_else_is_told(world: World) -> None:
    world.plane.apply(objects.secret("backup-ca", world.namespace, {"tls.crt": b"none", "tls.key": b"none"}))
    backup = {"name": "backup", "ca": {"secretRef": {"name": "backup-ca"}}}
    world.plane.apply(objects.issuer("web", [backup], namespace=world.namespace))
    finding = await told(world, "Misconfigured", *WEB)
    assert finding["fix"].startswith(f"kubectl create secret tls backup-ca --namespace {world.namespace} ")


async def test_a_provider_that_has_failed_a_moment_ago_is_degraded_before_its_breaker_opens(world: World) -> None:
    await world.issuer(breaker={"consecutiveFailures": 50, "openFor": "60s", "maxOpenFor": "60s"})
    world.cdn.faults.set("status", status=503, methods=["POST"])
    world.certificate()
    finding = await told(world, "AuthorityDegraded", *WEB)
    assert finding["sentence"].startswith("authority edge: ")
    assert "503" in finding["sentence"]


async def test_a_breaker_whose_time_is_over_waits_for_a_request_that_probes(world: World) -> None:
    await world.issuer(breaker={"consecutiveFailures": 1, "openFor": "2s", "maxOpenFor": "2s"})
    world.cdn.faults.set("status", status=503, methods=["POST"])
    world.certificate()
    await told(world, "BreakerOpen", *WEB)
    world.delete("certificates", "site")
    world.delete("certificaterequests", "site-1")
    finding = await told(world, "BreakerUntested", *WEB)
    assert finding["sentence"].startswith("authority edge: ")


async def test_a_request_that_was_made_just_now_may_still_be_approved(world: World) -> None:
    await world.issuer()
    approver = world.cluster.certmanager.server
    approver.freeze()
    try:
        csr = objects.signing_request(["site.example.com"])
        world.plane.apply(objects.certificate_request("one", csr, namespace=world.namespace, issuer="web"))
        finding = await told(world, "NotApprovedYet", "certificaterequest", "one")
        assert finding["severity"] == "warning"
        assert finding["fix"].startswith(f"kubectl wait certificaterequests --namespace {world.namespace} one ")
    finally:
        approver.thaw()
    await world.request_with("Issued", "one")


async def test_a_certificate_of_another_issuer_is_none_of_our_business(world: World) -> None:
    cert_manager_issuer(world, "own", {"selfSigned": {}})
    spec = {"secretName": "theirs", "dnsNames": ["site.example.com"], "issuerRef": {"name": "own", "kind": "Issuer"}}
    world.plane.apply(
        {
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": {"name": "site", "namespace": world.namespace},
            "spec": spec,
        }
    )
    finding = await told(world, "NotOurs", *SITE)
    assert finding["severity"] == "note"
    assert codes(await findings(world, *SITE)) == []
