"""What the commands say of CertificateSigningRequests, staged on a real API server.

Nobody approves them but the test; cert-manager has no part in it.
"""

from __future__ import annotations

import asyncio
import json
import tarfile
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from issuer.inspection import signingrequests
from issuer.sandbox import objects
from tests.e2e import test_signing_requests
from tests.e2e.controller import Controller
from tests.e2e.inspecting import call, codes, findings, told
from tests.e2e.kubectl import BINARY, needs_kubectl
from tests.e2e.outage import add_issuer
from tests.e2e.signing import LEASE, PATH, READY
from tests.e2e.test_doctor import may_read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.signing import Signing

cluster = test_signing_requests.cluster
world = test_signing_requests.world

KIND = "CertificateSigningRequest"
NO_MORE = f"; Kubernetes never opens it again, so make another {KIND}"


async def test_one_that_is_signed_is_well_and_counts_where_everything_is_looked_at(world: Signing) -> None:
    await world.issuer()
    name = world.ask("one")
    await world.issued(name)
    result = await call(world, "doctor", "csr", name)
    assert (result.exit_code, result.output) == (0, "no problems\n")
    shown = (await call(world, "status", everywhere=True)).stdout.splitlines()
    assert shown[-1] == "CertificateSigningRequests: 0 unapproved, 0 waiting, 1 issued, 0 failed, 0 denied"
    lines = json.loads((await call(world, "status", "-o", "json", everywhere=True)).stdout)
    assert [one["requests"] for one in lines if one["object"] == f"CDNIssuer {world.namespace}/web"] == [{"issued": 1}]
    assert "CertificateSigningRequests" not in (await call(world, "status")).stdout


async def test_one_that_waits_for_a_person_says_what_to_type_and_a_denial_is_told(world: Signing) -> None:
    await world.issuer()
    waits, denied = world.ask("waits", approve=False), world.ask("denied", approve=False)
    (finding,) = await findings(world, "csr", waits)
    assert (finding["severity"], finding["code"]) == ("warning", "NotApprovedYet")
    assert finding["fix"] == f"kubectl certificate approve {waits}"
    world.judge(denied, "Denied", "not on a Friday")
    (finding,) = await findings(world, "csr", denied)
    assert (finding["code"], finding["object"]) == ("Denied", f"{KIND} {denied}")
    assert finding["sentence"] == "an approver has denied it: not on a Friday"
    listed = await findings(world, "certificatesigningrequests")
    assert {(one["object"], one["code"]) for one in listed} == {
        (f"{KIND} {waits}", "NotApprovedYet"),
        (f"{KIND} {denied}", "Denied"),
    }


@pytest.mark.parametrize(
    ("signer", "code", "sentence"),
    [
        ("cdnissuers/{}.absent", "IssuerMissing", "CDNIssuer absent does not exist in namespace {}"),
        ("cdnissuers/absent", "IssuerMissing", "spec.signerName cdnissuers.cdn-issuer.io/absent names no namespace: "),
        ("cdnclusterissuers/absent", "IssuerMissing", "CDNClusterIssuer absent does not exist"),
        ("cdnissuer/{}.web", "WrongKind", "spec.signerName cdnissuer.cdn-issuer.io/{}.web names no kind of cdn-iss"),
    ],
)
async def test_a_signer_that_leads_nowhere_is_told(world: Signing, signer: str, code: str, sentence: str) -> None:
    await world.issuer()
    name = world.ask("one", signer.format(world.namespace))
    (finding,) = await findings(world, "csr", name)
    assert (finding["severity"], finding["code"], finding["object"]) == ("error", code, f"{KIND} {name}")
    assert finding["sentence"].startswith(sentence.format(world.namespace))


async def test_one_that_waits_while_the_provider_is_down_says_what_it_said(world: Signing) -> None:
    await world.issuer()
    world.cdn.faults.set("status", status=503, methods=["POST"])
    name = world.ask("one")
    finding = await told(world, "AuthorityUnavailable", "csr", name)
    assert finding["sentence"].startswith("edge: HTTP 503 from ")
    assert finding["fix"] == f"kubectl describe cdnissuers --namespace {world.namespace} web"


async def test_what_is_wrong_with_its_secret_is_the_one_cause_of_what_waits(world: Signing) -> None:
    world.plane.apply(objects.issuer("web", [world.edge()], namespace=world.namespace))
    name = world.ask("one")
    await world.until(lambda: world.told(name, READY)[:2] == ("False", "Pending"), "Pending")
    await told(world, "SecretMissing", "csr", name)
    assert codes(await findings(world, "csr", name)) == ["SecretMissing"]


@needs_kubectl
async def test_one_that_has_failed_is_made_again_by_the_command_that_is_told(world: Signing, tmp_path: Path) -> None:
    await add_issuer(world, deadline="4s")
    fault = world.cdn.faults.set("status", status=503, methods=["POST"])
    name = world.ask("one")
    await world.failed(name)
    (finding,) = [one for one in await findings(world, "csr", name) if one["object"] == f"{KIND} {name}"]
    assert finding["code"] == "DeadlineExceeded"
    assert finding["sentence"].startswith("not signed within the deadline of 4s after approval: edge: HTTP 503 from ")
    assert finding["sentence"].endswith(NO_MORE)
    retried = await call(world, "retry", f"csr/{name}")
    assert (retried.exit_code, retried.stdout) == (1, "")
    (line,) = retried.stderr.splitlines()
    assert line.startswith(f"error: {KIND} {name} is not retried: ")
    assert line.endswith(finding["fix"]), "the same command"
    first = world.plane.ask("GET", f"{PATH}/{name}")["metadata"]["uid"]
    world.cdn.faults.clear(fault)
    await shell(world, finding["fix"], tmp_path)
    finding = await told(world, "NotApprovedYet", "csr", name)
    await shell(world, finding["fix"], tmp_path)
    await world.issued(name)
    assert world.plane.ask("GET", f"{PATH}/{name}")["metadata"]["uid"] != first


async def test_what_no_authority_can_sign_is_not_to_be_made_again(world: Signing) -> None:
    await world.issuer()
    name = world.ask("one", annotations={"cdn-issuer.io/authorities": "nobody"})
    await world.failed(name)
    (finding,) = await findings(world, "csr", name)
    assert (finding["code"], finding["fix"]) == ("InvalidRequest", f"kubectl delete certificatesigningrequests {name}")
    assert finding["sentence"].startswith("annotation cdn-issuer.io/authorities: no authority 'nobody' in the issuer")


async def test_a_controller_without_the_flag_is_why_nobody_takes_it_up(
    world: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signingrequests, "TAKEN_UP", timedelta(seconds=2))
    world.controller.server.kill()
    world.plane.call("DELETE", LEASE)
    world.controller = Controller(world.plane, f"off-{world.namespace}")
    world.controller.start()
    await world.issuer()
    name = world.ask("one")
    finding = await told(world, "SigningRequestsOff", "csr", name)
    assert "it runs without --certificate-signing-requests (certificateSigningRequests.enabled" in finding["sentence"]
    assert finding["fix"].endswith(
        " --namespace cdn-issuer-system --reuse-values --set certificateSigningRequests.enabled=true"
    )
    reader = may_read(world)
    grant(world, "get")
    said = await findings(world, "csr", name, kubeconfig=reader)
    assert codes(said) == ["NotTakenUp"], "who may not read the Lease does not know whether it runs"
    world.controller.stop()
    assert codes(await findings(world, "csr", name)) == ["NoController"]


async def test_who_may_read_one_namespace_is_told_of_the_right_only_where_it_matters(world: Signing) -> None:
    await world.issuer()
    name = world.ask("one", approve=False)
    reader = may_read(world)
    result = await call(world, "doctor", "csr", name, kubeconfig=reader)
    assert result.exit_code == 1
    assert result.output.splitlines()[0] == (
        "error: Cluster: you may not get certificatesigningrequests.certificates.k8s.io, so they were not looked at "
        "[MissingRight]"
    )
    assert "signing" not in (await call(world, "doctor", kubeconfig=reader)).output
    assert "signing" not in (await call(world, "status", kubeconfig=reader)).output
    grant(world, "get")
    (finding, *notes) = await findings(world, "csr", name, kubeconfig=reader)
    assert finding["code"] == "NotApprovedYet"
    assert {one["code"] for one in notes} <= {"MissingRight"}
    assert codes(await findings(world, "csr", kubeconfig=reader)) == ["MissingRight"]
    everywhere = await call(world, "status", kubeconfig=reader, everywhere=True)
    assert "note: you may not list certificatesigningrequests.certificates.k8s.io" in everywhere.stderr


async def test_what_is_not_there_or_is_for_another_signer_is_said_to_be_so(world: Signing) -> None:
    finding = (await findings(world, "csr", "nothing"))[0]
    assert (finding["code"], finding["object"]) == ("NotFound", f"{KIND} nothing")
    foreign = objects.certificate_signing_request("x", objects.signing_request(["a.example.com"]), signer="x/y")
    foreign["metadata"]["name"] = name = f"foreign.{world.namespace}"
    foreign["spec"]["signerName"] = "example.org/web"
    world.plane.ask("POST", PATH, foreign)
    (finding,) = await findings(world, "csr", name)
    assert (finding["severity"], finding["code"]) == ("note", "NotOurs")


async def test_a_bundle_holds_what_was_said_and_neither_csr_nor_certificate_nor_who_asked(
    world: Signing, tmp_path: Path
) -> None:
    await world.issuer()
    signed, waits = world.ask("signed"), world.ask("waits", approve=False)
    await world.issued(signed)
    await world.until(lambda: world.events_of(signed) == ["CertificateIssued"], "an event")
    for arguments, everywhere, names in (
        ((), True, {signed, waits}),
        (("csr", signed), False, {signed}),
        ((), False, set()),
    ):
        file = tmp_path / "bundle.tar.gz"
        await call(world, "doctor", *arguments, "--bundle", str(file), everywhere=everywhere)
        content = unpacked(file)
        found = {one["metadata"]["name"]: one for one in content["certificatesigningrequests.json"]}
        assert set(found) == names
        if signed in found:
            told_by = {one["reason"] for one in content["events.json"] if one["about"]["name"] == signed}
            assert told_by == {"CertificateIssued"}
            told_of = {one["type"] for one in found[signed]["status"]["conditions"]}
            assert told_of == {"Approved", "cdn-issuer.io/Ready", "cdn-issuer.io/Authority"}
            assert found[signed]["spec"]["signerName"] == f"cdnissuers.cdn-issuer.io/{world.namespace}.web"
        made = world.plane.ask("GET", f"{PATH}/{signed}")
        text = json.dumps(content["certificatesigningrequests.json"])
        for secret in (made["spec"]["request"], made["status"]["certificate"], made["spec"]["username"]):
            assert secret not in text
        assert not {"request", "certificate", "username", "groups", "uid", "extra"} & {
            key for one in found.values() for part in ("spec", "status") for key in one[part]
        }


def unpacked(file: Path) -> dict[str, Any]:
    with tarfile.open(file) as archive:
        found = {entry.name: archive.extractfile(entry) for entry in archive}
        return {name.rpartition("/")[2]: json.loads(body.read()) for name, body in found.items() if body}


def grant(world: Signing, verb: str) -> None:
    """A right to CertificateSigningRequests for who may read the namespace of the test."""
    rbac, name = "rbac.authorization.k8s.io", f"reader-{world.namespace}"
    rule = {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"], "verbs": [verb]}
    role = {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": [rule]}
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": world.namespace}
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
        "subjects": [subject],
    }
    world.plane.apply_all([role, binding])


async def shell(world: Signing, command: str, home: Path) -> None:
    """What the doctor tells, as an admin types it."""
    assert BINARY is not None
    kubeconfig = world.plane.kubeconfig("admin", world.plane.admin_token)
    process = await asyncio.create_subprocess_shell(
        command.replace("kubectl ", f"{BINARY} --kubeconfig {kubeconfig} "),
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
