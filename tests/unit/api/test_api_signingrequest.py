"""What a CertificateSigningRequest asks for, and of whom; and what of it is kept in memory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from issuer.api.request import IssuerRef
from issuer.api.signingrequest import SIGNERS, CertificateSigningRequest

GROUP = "cdn-issuer.io"
DURATION = "experimental.cert-manager.io/request-duration"
IS_CA = "experimental.cert-manager.io/request-is-ca"


def request(
    *conditions: dict[str, str], signer: str = "cdnissuers.cdn-issuer.io/shop.web", certificate: str = "", **fields: Any
) -> CertificateSigningRequest:
    document = {
        "metadata": {
            "name": "one",
            "uid": "u1",
            "resourceVersion": "7",
            "creationTimestamp": "2026-11-23T12:00:00Z",
            "annotations": fields.pop("annotations", {}),
        },
        "spec": {"request": "UEVN", "signerName": signer, "usages": ["server auth"], **fields},
        "status": {"conditions": conditions, **({"certificate": certificate} if certificate else {})},
    }
    return msgspec.json.decode(msgspec.json.encode(document), type=CertificateSigningRequest)


def condition(type_: str, status: str = "True", **fields: str) -> dict[str, str]:
    return {"type": type_, "status": status, **fields}


@pytest.mark.parametrize(
    ("signer", "kind", "namespace", "name"),
    [
        ("cdnissuers.cdn-issuer.io/shop.web", "CDNIssuer", "shop", "web"),
        ("cdnissuers.cdn-issuer.io/shop.web.example.com", "CDNIssuer", "shop", "web.example.com"),
        ("cdnissuers.cdn-issuer.io/shop.shop.web", "CDNIssuer", "shop", "shop.web"),
        ("cdnclusterissuers.cdn-issuer.io/shop.web", "CDNClusterIssuer", "", "shop.web"),
        ("cdnclusterissuers.cdn-issuer.io/web", "CDNClusterIssuer", "", "web"),
        ("cdnissuers.cdn-issuer.io/web", "CDNIssuer", "", "web"),
        ("cdnissuers.cdn-issuer.io/shop.", "CDNIssuer", "shop", ""),
        ("cdnissuers.cdn-issuer.io/", "CDNIssuer", "", ""),
    ],
)
def test_the_signer_is_an_issuer(signer: str, kind: str, namespace: str, name: str) -> None:
    found = request(signer=signer)
    assert found.issuer_ref == IssuerRef(name=name, kind=kind, group=GROUP)
    assert found.issuer_namespace == namespace


@pytest.mark.parametrize(
    "signer",
    [
        "",
        "kubernetes.io/kube-apiserver-client",
        "issuers.cert-manager.io/shop.web",
        "cdn-issuer.io/shop.web",
        "xcdnissuers.cdn-issuer.io/shop.web",
        "CDNIssuers.cdn-issuer.io/shop.web",
        "cdnissuers.cdn-issuer.io",
    ],
)
def test_any_other_signer_is_none_of_ours(signer: str) -> None:
    if signer == "cdnissuers.cdn-issuer.io":
        assert request(signer=signer).issuer_ref.name == ""
        return
    assert request(signer=signer).issuer_ref == IssuerRef()
    assert request(signer=signer).issuer_namespace == ""


def test_the_domains_are_plural_and_group() -> None:
    assert SIGNERS == {
        "cdnissuers.cdn-issuer.io": "CDNIssuer",
        "cdnclusterissuers.cdn-issuer.io": "CDNClusterIssuer",
    }


@pytest.mark.parametrize(
    ("fields", "duration", "field"),
    [
        ({}, None, "spec.expirationSeconds"),
        ({"expirationSeconds": 600}, "600s", "spec.expirationSeconds"),
        ({"annotations": {DURATION: "48h"}}, "48h", f"annotation {DURATION}"),
        ({"annotations": {DURATION: "48h"}, "expirationSeconds": 600}, "48h", f"annotation {DURATION}"),
        ({"annotations": {DURATION: ""}, "expirationSeconds": 600}, "", f"annotation {DURATION}"),
    ],
)
def test_the_annotation_for_the_duration_goes_first(fields: dict[str, Any], duration: str | None, field: str) -> None:
    found = request(**fields)
    assert (found.duration, found.duration_field) == (duration, field)


@pytest.mark.parametrize(("value", "wanted"), [("true", True), ("True", False), ("false", False), ("", False)])
def test_a_ca_is_asked_for_by_that_word_alone(value: str, wanted: bool) -> None:
    assert request(annotations={IS_CA: value}).wants_ca is wanted


def test_it_names_no_secret_whatever_its_annotations_say() -> None:
    annotations = {"experimental.cert-manager.io/private-key-secret-name": "ca-key"}
    assert request(annotations=annotations).key_secret is None


@pytest.mark.parametrize(
    ("found", "finished"),
    [
        (request(), False),
        (request(condition("Approved")), False),
        (request(condition("Approved"), condition("cdn-issuer.io/Ready", "False")), False),
        (request(condition("Approved"), certificate="UEVN"), True),
        (request(condition("Approved"), condition("Failed")), True),
        (request(condition("Denied")), True),
    ],
)
def test_it_has_ended_with_a_certificate_a_failure_or_a_denial(
    found: CertificateSigningRequest,
    finished: bool,
) -> None:
    assert found.is_finished is finished
    trimmed = found.trimmed()
    assert trimmed.is_finished is finished
    assert (trimmed.issuer_ref, trimmed.issuer_namespace) == (found.issuer_ref, found.issuer_namespace)
    assert (trimmed.metadata.key, trimmed.metadata.uid, trimmed.metadata.resource_version) == (("", "one"), "u1", "7")
    assert (trimmed.is_denied, trimmed.is_approved) == (found.is_denied, found.is_approved)
    assert (trimmed.encoded_csr == "") is finished
    assert not trimmed.status.certificate


def test_the_time_of_the_approval_is_that_of_its_condition_or_of_the_creation() -> None:
    when = "2026-11-23T12:05:00Z"
    told = request(condition("Approved", lastTransitionTime=when, lastUpdateTime=when))
    assert told.approved_at == datetime(2026, 11, 23, 12, 5, tzinfo=UTC)
    assert request(condition("Approved")).approved_at == datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    assert request().approved_at is None


def test_a_denial_is_told_in_the_approvers_words() -> None:
    assert request(condition("Denied", message="not on a Friday")).denial == "not on a Friday"
    assert request().denial == ""
