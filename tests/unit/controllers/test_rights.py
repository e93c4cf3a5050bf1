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
    (role,) = (one for one in documents if one["metadata"]["name"] == "cdn-issuer-controller" and "rules" in one)
    assert spread(role["rules"]) == await needed(Options())


async def test_requests_are_deleted_by_clean_up_alone() -> None:
    cleanup = await needed(Options()) - await needed(Options(cleanup=False))
    assert cleanup == {("cert-manager.io", "certificaterequests", "delete")}


async def test_certificates_are_the_business_of_recovery_and_failback_alone() -> None:
    assert await needed(Options(recovery=False)) == await needed(Options(failback=False)) == await needed(Options())
    recovery = await needed(Options()) - await needed(Options(recovery=False, failback=False))
    assert recovery == {
        ("cert-manager.io", "certificates", "get"),
        ("cert-manager.io", "certificates/status", "patch"),
    }
