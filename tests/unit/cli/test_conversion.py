"""What becomes of the objects of origin-ca-issuer, and what is said of each."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from issuer.api import crd, spec
from issuer.authorities import registry
from issuer.cli.conversion import ASSUMED, THEIR_GROUP, Conversion, convert
from tests.unit.api.admission import refusals

SCHEMAS = {
    one["spec"]["names"]["kind"]: one["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for one in crd.definitions(registry.configs())
}
TOKEN = {"tokenRef": {"name": "cf", "key": "token"}}
SERVICE_KEY = {"serviceKeyRef": {"name": "old", "key": "key"}}


def issuer(auth: Any = TOKEN, *, kind: str = "OriginIssuer", request_type: str = "OriginRSA", **metadata: Any) -> Any:
    place = {} if kind == "ClusterOriginIssuer" else {"namespace": "shop"}
    return {
        "apiVersion": f"{THEIR_GROUP}/v1",
        "kind": kind,
        "metadata": {"name": "prod", **place, **metadata},
        "spec": {"requestType": request_type, "auth": auth},
    }


def certificate(*, kind: str = "OriginIssuer", group: str = THEIR_GROUP, metadata: Any = None, **fields: Any) -> Any:
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": "web", "namespace": "shop", **(metadata or {})},
        "spec": {
            "secretName": "web-tls",
            "dnsNames": ["example.com"],
            "issuerRef": {"group": group, "kind": kind, "name": "prod"},
            **fields,
        },
    }


def ingress(**annotations: str) -> Any:
    given = {"issuer": "prod", "issuer-kind": "OriginIssuer", "issuer-group": THEIR_GROUP}
    written = {name.replace("_", "-"): value for name, value in annotations.items()}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "site",
            "namespace": "shop",
            "annotations": {f"cert-manager.io/{name}": value for name, value in {**given, **written}.items()},
        },
        "spec": {"tls": [{"hosts": ["example.com"], "secretName": "site-tls"}]},
    }


def only(result: Conversion) -> Any:
    (one,) = result.converted
    return one.manifest


def warnings(*documents: Any) -> list[str]:
    return [warning for one in convert(documents).converted for warning in one.warnings]


@pytest.mark.parametrize(("kind", "ours"), [("OriginIssuer", "CDNIssuer"), ("ClusterOriginIssuer", "CDNClusterIssuer")])
@pytest.mark.parametrize("auth", [TOKEN, SERVICE_KEY, {**SERVICE_KEY, **TOKEN}, {}, None, "nonsense"])
def test_an_issuer_becomes_one_of_ours_that_the_schema_and_the_controller_take(kind: str, ours: str, auth: Any) -> None:
    manifest = only(convert([issuer(auth, kind=kind)]))
    assert (manifest["apiVersion"], manifest["kind"]) == ("cdn-issuer.io/v1alpha1", ours)
    assert manifest["metadata"] == {"name": "prod", **({} if ours == "CDNClusterIssuer" else {"namespace": "shop"})}
    assert refusals(SCHEMAS[ours], manifest["spec"]) == []
    read = spec.parse(msgspec.json.encode(manifest["spec"]), registry.KINDS)
    assert [authority.kind for authority in read.authorities] == ["cloudflare"]
    assert (read.ignored, read.without_effect) == ((), ())


@pytest.mark.parametrize(
    ("auth", "reference", "said"),
    [
        (TOKEN, TOKEN["tokenRef"], []),
        ({**SERVICE_KEY, **TOKEN}, TOKEN["tokenRef"], []),
        (SERVICE_KEY, SERVICE_KEY["serviceKeyRef"], ["service key, which Cloudflare takes no longer"]),
        ({}, ASSUMED, ["it names no Secret"]),
        ({"tokenRef": {"name": "", "key": "x"}}, ASSUMED, ["it names no Secret"]),
    ],
)
def test_the_secret_stays_and_a_service_key_has_to_be_replaced_by_a_token(
    auth: Any, reference: Any, said: list[str]
) -> None:
    (authority,) = only(convert([issuer(auth)]))["spec"]["authorities"]
    assert authority == {"name": "cloudflare", "cloudflare": {"apiTokenSecretRef": reference}}
    told = warnings(issuer(auth))
    assert len(told) == len(said)
    assert all(part in warning for part, warning in zip(said, told, strict=True))
    assert all("Zone / SSL and Certificates / Edit" in warning for warning in told)


def test_a_cluster_issuer_tells_where_its_secret_has_to_be() -> None:
    (told,) = warnings(issuer(kind="ClusterOriginIssuer"))
    assert told.startswith("Secret cf has to be in the cluster resource namespace of cdn-issuer")


def test_what_the_server_wrote_is_taken_off_and_what_people_wrote_stays() -> None:
    noise: dict[str, Any] = {
        "uid": "u",
        "resourceVersion": "1",
        "generation": 2,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
    }
    people = {"labels": {"team": "web"}, "annotations": {"example.com/note": "kept"}}
    last = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    written = {**noise, "labels": people["labels"], "annotations": {**people["annotations"], **last}}
    for document in (issuer(finalizers=["a/b"], **written), certificate(metadata=written)):
        before = copy.deepcopy(document)
        manifest = only(convert([{**document, "status": {"conditions": []}}]))
        assert manifest["metadata"] == {"name": before["metadata"]["name"], "namespace": "shop", **people}
        assert "status" not in manifest
        assert document == before, "the input is left alone"


OWNED: dict[str, Any] = {
    "labels": {"team": "web", "app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "shop"},
    "annotations": {"meta.helm.sh/release-name": "shop", "argocd.argoproj.io/tracking-id": "shop:x"},
}


def test_an_issuer_has_no_mark_by_which_a_tool_would_take_it_for_its_own_and_delete_it() -> None:
    manifest = only(convert([issuer(**OWNED)]))
    assert manifest["metadata"] == {"name": "prod", "namespace": "shop", "labels": {"team": "web"}}


def test_what_a_tool_looks_after_keeps_its_marks_and_is_told_to_be_changed_at_its_source() -> None:
    site = ingress()
    site["metadata"] |= {**OWNED, "annotations": {**site["metadata"]["annotations"], **OWNED["annotations"]}}
    for document in (certificate(metadata=OWNED), site):
        manifest = only(convert([document]))
        assert manifest["metadata"]["labels"] == OWNED["labels"]
        assert manifest["metadata"]["annotations"].items() >= OWNED["annotations"].items()
        assert warnings(document) == [
            "it is looked after by Argo CD, Helm: change its source too, or it is changed back"
        ]


def test_a_certificate_names_our_issuer_and_stays_otherwise_as_it_is() -> None:
    theirs = certificate(usages=["server auth"], privateKey={"algorithm": "RSA", "size": 4096}, renewBefore="360h")
    manifest = only(convert([theirs]))
    assert manifest["spec"].pop("issuerRef") == {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "prod"}
    del theirs["spec"]["issuerRef"]
    assert manifest == theirs
    cluster = only(convert([certificate(kind="ClusterOriginIssuer")]))
    assert cluster["spec"]["issuerRef"]["kind"] == "CDNClusterIssuer"


@pytest.mark.parametrize("kind", ["Ingress", "Gateway", "Route"])
def test_annotations_name_our_issuer(kind: str) -> None:
    theirs = {**ingress(), "kind": kind}
    manifest = only(convert([theirs]))
    assert manifest["metadata"]["annotations"] == {
        "cert-manager.io/issuer": "prod",
        "cert-manager.io/issuer-kind": "CDNIssuer",
        "cert-manager.io/issuer-group": "cdn-issuer.io",
    }
    assert manifest["spec"] == theirs["spec"]
    assert "keep one of the two" in warnings(ingress(cluster_issuer="x"))[0]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, []),
        ({"duration": "2160h"}, []),
        ({"duration": "131400h0m0s"}, []),
        ({"duration": "2400h"}, ["will be for 365 days; origin-ca-issuer asked for the nearest, 90"]),
        ({"duration": "25h30m"}, ["will be for 7 days"]),
        ({"duration": "150000h"}, ["signs for 5475 days at the most"]),
        ({"duration": "soon"}, ["duration 'soon' is no duration"]),
        ({"duration": {"hours": 1}}, ["is no duration"]),
        ({"duration": "999999999h999999999h"}, ["at the most"]),
        ({"isCA": True}, ["certificates of CAs"]),
        ({"usages": ["server auth", "code signing"]}, ["signs for no code signing"]),
        ({"ipAddresses": ["192.0.2.1"], "uris": ["spiffe://a"]}, ["ipAddresses, uris: origin-ca-issuer passed over"]),
        ({"privateKey": {"algorithm": "ECDSA"}}, ["its key is ECDSA, and the requestType of its issuer was OriginRSA"]),
        ({"privateKey": {"algorithm": "Ed25519"}}, ["no Ed25519 keys"]),
    ],
)
def test_what_will_be_different_for_a_certificate_is_said(fields: dict[str, Any], said: list[str]) -> None:
    told = warnings(issuer(), certificate(**fields))
    assert len(told) == len(said)
    assert all(part in warning for part, warning in zip(said, told, strict=True)), told


def test_the_same_is_said_of_an_ingress_whose_annotations_ask_for_it() -> None:
    assert warnings(issuer(), ingress()) == []
    told = warnings(
        issuer(),
        ingress(
            duration="2400h", private_key_algorithm="ECDSA", usages="server auth, code signing", ip_sans="192.0.2.1"
        ),
    )
    parts = ["its key is ECDSA", "ipAddresses: origin-ca-issuer", "signs for no code signing", "will be for 365 days"]
    assert len(told) == len(parts)
    assert all(part in warning for part, warning in zip(parts, told, strict=True)), told


def test_the_request_type_that_counts_is_that_of_the_issuer_which_is_named() -> None:
    ecc = issuer(request_type="OriginECC", kind="ClusterOriginIssuer")
    assert not [one for one in warnings(ecc, certificate()) if "its key is" in one]
    (told,) = [one for one in warnings(certificate(kind="ClusterOriginIssuer"), ecc) if "its key is" in one]
    assert "its key is RSA, and the requestType of its issuer was OriginECC" in told


def test_lists_are_taken_apart_at_any_depth_and_with_the_kind_that_they_imply() -> None:
    bare = {name: value for name, value in issuer().items() if name not in {"apiVersion", "kind"}}
    typed = {"apiVersion": f"{THEIR_GROUP}/v1", "kind": "OriginIssuerList", "items": [bare]}
    result = convert([{"apiVersion": "v1", "kind": "List", "items": [typed, certificate(), None]}])
    assert [one.title for one in result.converted] == ["CDNIssuer shop/prod", "Certificate shop/web"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            {**certificate(metadata={"uid": "u"}), "kind": "CertificateRequest"},
            "CertificateRequest shop/web cannot be changed",
        ),
        (
            certificate(metadata={"ownerReferences": [{"kind": "Ingress", "name": "site", "controller": True}]}),
            "Certificate shop/web is made by Ingress site: convert that",
        ),
        (certificate(kind="Issuer"), "Certificate shop/web names"),
        (ingress(issuer_kind="Issuer"), "Ingress shop/site names"),
        ({"kind": "ClusterRole", "metadata": {"name": "r"}, "rules": [{"apiGroups": [THEIR_GROUP]}]}, "ClusterRole r"),
    ],
)
def test_what_names_their_group_and_cannot_be_converted_is_told_and_left_out(document: Any, said: str) -> None:
    result = convert([document])
    assert not result.converted
    (told,) = result.by_hand
    assert told.startswith(said)


@pytest.mark.parametrize(
    "document",
    [
        None,
        "text",
        [1],
        {"kind": ["x"]},
        certificate(group="cert-manager.io", kind="Issuer"),
        {"kind": "Secret", "metadata": {"name": "s", "annotations": {"cert-manager.io/issuer-group": THEIR_GROUP}}},
    ],
)
def test_what_has_nothing_to_do_with_it_is_left_out_in_silence(document: Any) -> None:
    result = convert([document])
    assert (result.converted, result.by_hand) == ([], [])


def test_a_certificate_request_that_is_a_template_is_converted() -> None:
    template = {**certificate(), "kind": "CertificateRequest"}
    assert only(convert([template]))["spec"]["issuerRef"]["group"] == "cdn-issuer.io"


@pytest.mark.parametrize("nonsense", [None, 1, "x", [], [{}], {"name": []}, {"group": THEIR_GROUP, "kind": ["a"]}])
def test_nonsense_in_an_object_stops_nothing(nonsense: Any) -> None:
    for document in (issuer(), certificate(), ingress()):
        for field in ("metadata", "spec"):
            convert([{**document, field: nonsense}])
    for field in ("issuerRef", "privateKey", "usages", "duration"):
        convert([certificate(**{field: nonsense})])
    convert([{**ingress(), "metadata": {"annotations": nonsense, "ownerReferences": nonsense}}])
