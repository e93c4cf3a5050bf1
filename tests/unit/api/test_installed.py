"""The fields of CRDs, as the API server has them and as the code has them."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from issuer.api import crd, installed
from issuer.authorities import registry
from issuer.sandbox.cluster import openapi
from issuer.sandbox.cluster.kinds import from_crd

EXPECTED = installed.expected(registry.configs())


def document(*definitions: Any) -> Any:
    """What an API server with these CRDs has at `installed.OPENAPI`; the sandbox's is held to a real one elsewhere."""
    return msgspec.json.encode(
        openapi.answer(installed.OPENAPI, [kind for one in definitions for kind in from_crd(one)])
    )


def test_the_crds_of_this_version_have_what_it_expects() -> None:
    assert installed.served(document(*crd.definitions(registry.configs()))) == EXPECTED
    assert {"spec.authorities[].cloudflare.apiTokenSecretRef.name", "status.controller"} <= EXPECTED["CDNIssuer"]


def test_a_field_that_is_missing_is_named_with_all_that_is_in_it() -> None:
    old = copy.deepcopy(crd.definitions(registry.configs()))
    schema = old[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    del schema["spec"]["properties"]["authorities"]["items"]["properties"]["timeouts"]
    del schema["status"]["properties"]["active"]
    served = installed.served(document(*old))
    missing = EXPECTED["CDNIssuer"] - served["CDNIssuer"]
    assert len(missing) > 2
    assert installed.outermost(missing) == ["spec.authorities[].timeouts", "status.active"]
    assert served["CDNClusterIssuer"] == EXPECTED["CDNClusterIssuer"]


@pytest.mark.parametrize("other", [{}, {"components": {}}, {"components": {"schemas": {"io.example.Thing": {}}}}])
def test_a_document_without_our_kinds_has_none(other: Any) -> None:
    assert installed.served(msgspec.json.encode(other)) == {}


@pytest.mark.parametrize(
    "other", [b"", b"[]", b"null", b'{"components": null}', b'{"components": {"schemas": {"a": {"properties": 1}}}}']
)
def test_what_is_no_such_document_is_told_as_that(other: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        installed.served(other)


def test_a_field_is_not_within_another_that_begins_like_it() -> None:
    assert installed.outermost(["spec.ca", "spec.caBundle", "spec.ca.key", "spec.list[].a", "spec.list"]) == [
        "spec.ca",
        "spec.caBundle",
        "spec.list",
    ]
