"""The policies of docs/security.md, as they stand there, on a real API server."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from issuer.authorities.cloudflare import DEFAULT_ENDPOINT
from issuer.sandbox import objects
from tests.controlplane.plane import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.controlplane.plane import ControlPlane, Manifest

PATIENCE = 30.0
"""Seconds until a policy is in force, or no longer: each API server reads it when it hears of it."""
NAMESPACE = "policies"
API = "/apis/admissionregistration.k8s.io/v1"
PLURALS = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}


def policies() -> list[Manifest]:
    """What the page says to apply."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/security.md").read_text(), re.MULTILINE | re.DOTALL)
    found = [one for block in blocks for one in yaml.safe_load_all(block)]
    return [one for one in found if one["kind"] in PLURALS]


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The API server with the policies in force; without them afterwards, as other tests need it."""
    control_plane.apply(objects.namespace(NAMESPACE))
    assert len(policies()) == 4
    for one in policies():
        control_plane.ask("POST", f"{API}/{PLURALS[one['kind']]}", one)
    elsewhere = cloudflare(endpoint="https://elsewhere.example.com")
    try:
        until(lambda: refused(created(control_plane, elsewhere)))
        until(lambda: refused(created(control_plane, cloudflare(secret="any"))))
        yield control_plane
    finally:
        for one in policies():
            control_plane.ask("DELETE", f"{API}/{PLURALS[one['kind']]}/{one['metadata']['name']}")
        until(lambda: created(control_plane, elsewhere).status_code == 201)
        until(lambda: created(control_plane, cloudflare(secret="any")).status_code == 201)


@pytest.mark.parametrize("endpoint", [None, DEFAULT_ENDPOINT])
def test_an_issuer_at_the_provider_with_a_secret_that_is_meant_for_it_is_taken(
    plane: ControlPlane, endpoint: str | None
) -> None:
    answer = created(plane, cloudflare(endpoint=endpoint), ca("issuer-backup"))
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://elsewhere.example.com",
        "https://api.cloudflare.com.example.com/client/v4",
        "https://api.cloudflare.com@example.com/client/v4",
        "https://api.cloudflare.com/client/v4/",
        "https://169.254.169.254/client/v4",
    ],
)
def test_an_issuer_with_another_endpoint_is_refused_wherever_it_is_in_the_list(
    plane: ControlPlane, endpoint: str
) -> None:
    for authorities in ([cloudflare(endpoint=endpoint)], [ca("issuer-ca"), cloudflare(endpoint=endpoint)]):
        answer = created(plane, *authorities)
        assert answer.status_code == 422
        assert f"cloudflare.endpoint has to be {DEFAULT_ENDPOINT}" in answer.json()["message"]


def test_an_issuer_with_a_secret_of_somebody_else_is_refused(plane: ControlPlane) -> None:
    for authority in (cloudflare(secret="database"), ca("root-of-all")):
        answer = created(plane, authority)
        assert answer.status_code == 422
        assert "only use Secrets whose names begin with issuer-" in answer.json()["message"]


def cloudflare(*, endpoint: str | None = None, secret: str = "issuer-cloudflare") -> Manifest:
    config: dict[str, Any] = {"apiTokenSecretRef": {"name": secret, "key": "token"}}
    if endpoint:
        config["endpoint"] = endpoint
    return {"name": "edge", "cloudflare": config}


def ca(secret: str) -> Manifest:
    return {"name": "backup", "ca": {"secretRef": {"name": secret}}}


def created(plane: ControlPlane, *authorities: Manifest) -> httpx.Response:
    """The answer to a dry run: nothing is left behind."""
    issuer = objects.issuer("web", list(authorities), namespace=NAMESPACE)
    path = f"/apis/cdn-issuer.io/v1alpha1/namespaces/{NAMESPACE}/cdnissuers?dryRun=All"
    return plane.call("POST", path, issuer)


def refused(answer: httpx.Response) -> bool:
    return answer.status_code == 422


def until(condition: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "the policy did not change what the API server does"
        time.sleep(0.2)
