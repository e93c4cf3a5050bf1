"""What is in a bundle, and what is told where something may not be read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from issuer.inspection.bundle import clean, gather
from issuer.inspection.reader import Reader, Target
from issuer.kube.errors import ForbiddenError
from tests.unit.inspection.inspection_case import NOW
from tests.unit.inspection.test_reader import Api

if TYPE_CHECKING:
    from issuer.kube.client import KubeClient


SHOP = Target("all", "shop")


async def bundled(api: Api, target: Target = SHOP) -> dict[str, Any]:
    client = cast("KubeClient", api)
    snapshot = await Reader(client, lambda: NOW).read(target)
    return await gather(client, snapshot, [])


async def test_what_may_not_be_read_is_told_and_the_rest_is_there() -> None:
    api = Api()
    for verb, plural in (("list", "events"), ("get", "customresourcedefinitions"), ("list", "cdnclusterissuers")):
        api.refused[verb, plural] = ForbiddenError(403, "Forbidden", "no")
    found = await bundled(api)
    told = [one["sentence"] for one in found["findings.json"]]
    assert [sentence.partition(", so")[0] for sentence in told] == [
        "you may not list cdnclusterissuers.cdn-issuer.io",
        "you may not list events in namespace shop",
        "you may not get customresourcedefinitions.apiextensions.k8s.io",
    ]
    assert found["certificates.json"] == []


async def test_what_is_not_named_is_not_in_it() -> None:
    canary = "canary-8f14e45fceea167a"
    ref = {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "web"}
    metadata = {"name": "www", "namespace": "shop", "labels": {"note": canary}, "managedFields": [canary]}
    keystores = {"jks": {"create": True, "password": canary}}
    certificate = {"metadata": metadata, "spec": {"issuerRef": ref, "keystores": keystores, "dnsNames": ["www.a"]}}
    spec = {"issuerRef": ref, "request": canary, "username": canary, "extra": {"a": [canary]}}
    request = {"metadata": metadata, "spec": spec, "status": {"certificate": canary, "ca": canary}}
    pod = {"metadata": metadata, "involvedObject": {"kind": "Pod", "name": "x"}, "message": canary}
    found = await bundled(Api(certificates=[certificate], certificaterequests=[request], events=[pod]))
    assert found["certificates.json"][0]["spec"] == {"dnsNames": ["www.a"], "issuerRef": ref}
    assert found["certificaterequests.json"][0]["spec"] == {"issuerRef": ref}
    assert canary not in json.dumps(found)


async def test_of_a_signing_request_there_are_its_signer_and_its_conditions_and_nobody_who_made_it() -> None:
    canary = "canary-8f14e45fceea167a"
    annotations = {"experimental.cert-manager.io/request-duration": "48h", "example.com/note": canary}
    metadata = {"name": "www", "uid": "1", "labels": {"note": canary}, "annotations": annotations}
    who = {"username": canary, "groups": [canary], "uid": canary, "extra": {"a": [canary]}}
    told = {"type": "cdn-issuer.io/Ready", "status": "False", "reason": "Pending", "message": "Bearer abcdef"}
    spec = {"signerName": "cdnissuers.cdn-issuer.io/shop.web", "request": canary, "usages": ["server auth"], **who}
    own = {"metadata": metadata, "spec": spec, "status": {"certificate": canary, "conditions": [told]}}
    foreign = {**own, "metadata": {"name": "node"}, "spec": {**spec, "signerName": "kubernetes.io/kubelet-serving"}}
    events = [
        {
            "metadata": {"name": name, "namespace": "default"},
            "involvedObject": {"kind": "CertificateSigningRequest", "name": name},
        }
        for name in ("www", "node")
    ]
    found = await bundled(Api(certificatesigningrequests=[own, foreign], events=events), Target())
    (shown,) = found["certificatesigningrequests.json"]
    assert shown["metadata"]["annotations"] == {"experimental.cert-manager.io/request-duration": "48h"}
    assert shown["spec"] == {"signerName": spec["signerName"], "usages": ["server auth"], "expirationSeconds": None}
    assert [(one["type"], one["message"]) for one in shown["status"]["conditions"]] == [
        ("cdn-issuer.io/Ready", "[redacted]")
    ]
    assert "certificate" not in shown["status"]
    assert [one["about"]["name"] for one in found["events.json"]] == ["www"]
    assert canary not in json.dumps(found)
    api = Api(certificatesigningrequests=[own, foreign], events=events)
    named = await bundled(api, Target("certificatesigningrequest", "elsewhere", "www"))
    assert named["certificatesigningrequests.json"] == [shown]
    assert named["events.json"] == found["events.json"], "those about what is in no namespace are in default"
    assert {space for verb, plural, space, _ in api.reads if plural == "events"} == {"shop", "default"}
    others = await bundled(api, Target("certificatesigningrequest", "elsewhere", "node"))
    assert others["certificatesigningrequests.json"] == others["events.json"] == []


def test_what_looks_like_a_secret_is_taken_out_wherever_it_is() -> None:
    told = clean({"a": ["https://me:pass@example.com", {"b": "Bearer abcdef"}], "secretName": "www-tls", "n": 1})
    assert told == {"a": ["https://[redacted]@example.com", {"b": "[redacted]"}], "secretName": "www-tls", "n": 1}
