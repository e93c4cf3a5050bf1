"""What the controllers say that they need is what the Role in deploy/ gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from issuer.controllers.program import Options, Program
from issuer.kube.client import KubeClient
from issuer.observe.metrics import Metrics

ROLES = Path(__file__).parents[3] / "deploy" / "rbac.yaml"


def spread(rules: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """Each single right: group, resource, verb."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


async def needed(options: Options) -> set[tuple[str, str, str]]:
    """What all controllers say that they need."""
    async with KubeClient.for_url("http://127.0.0.1:1") as client:
        program = Program(client, Metrics(), options)
        await program.transport.aclose()
        return spread([rule.manifest() for rule in program.rules()])


async def test_the_role_of_the_controller_gives_what_all_controllers_need_and_no_more() -> None:
    documents = yaml.safe_load_all(ROLES.read_text())
    roles = {one["metadata"]["name"]: spread(one["rules"]) for one in documents if "rules" in one}
    assert roles["cdn-issuer-controller"] == await needed(Options(issuer_refs=False))
    assert roles["cdn-issuer-controller"] | roles["cdn-issuer-issuer-refs"] == await needed(Options())


async def test_requests_of_ours_are_deleted_by_clean_up_alone() -> None:
    cleanup = await needed(Options(issuer_refs=False)) - await needed(Options(cleanup=False, issuer_refs=False))
    assert cleanup == {("cert-manager.io", "certificaterequests", "delete")}


async def test_certificates_are_issued_again_by_recovery_and_failback_alone() -> None:
    assert await needed(Options(recovery=False)) == await needed(Options(failback=False)) == await needed(Options())
    recovery = await needed(Options()) - await needed(Options(recovery=False, failback=False))
    assert recovery == {
        ("cert-manager.io", "certificates", "get"),
        ("cert-manager.io", "certificates/status", "patch"),
    }


async def test_signing_requests_of_kubernetes_are_served_on_demand_alone() -> None:
    group = "certificates.k8s.io"
    watched = {(group, "certificatesigningrequests", verb) for verb in ("get", "list", "watch")}
    written = {(group, "certificatesigningrequests/status", "patch"), (group, "signers", "sign")}
    served = await needed(Options(certificate_signing_requests=True))
    assert served - await needed(Options()) == watched | written


async def test_certificates_are_watched_for_their_health_alone() -> None:
    health = await needed(Options()) - await needed(Options(certificate_health=False))
    assert health == {("cert-manager.io", "certificates", "list"), ("cert-manager.io", "certificates", "watch")}
