"""The OpenAPI documents of the sandbox, where kubectl looks into them."""

from __future__ import annotations

import dataclasses
from typing import Any

from issuer.api import crd
from issuer.authorities import registry
from issuer.sandbox.cluster import openapi
from issuer.sandbox.cluster.kinds import BUILT_IN, Kind, from_crd

KINDS = (*BUILT_IN, *(kind for one in crd.definitions(registry.configs()) for kind in from_crd(one)))


def document(folder: str) -> dict[str, Any]:
    found = openapi.answer(f"/openapi/v3/{folder}", KINDS)
    assert found is not None
    return found


def documents() -> list[dict[str, Any]]:
    index = openapi.answer("/openapi/v3", KINDS)
    assert index is not None
    return [document(folder) for folder in index["paths"]]


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(inner) for inner in value.values()))
    return set().union(*(references(inner) for inner in value)) if isinstance(value, list) else set()


def test_the_index_has_a_document_for_each_group_and_version() -> None:
    index = openapi.answer("/openapi/v3", KINDS)
    assert index is not None
    assert set(index["paths"]) >= {"api/v1", "apis/cert-manager.io/v1", "apis/cdn-issuer.io/v1alpha1"}
    assert index["paths"]["api/v1"] == {"serverRelativeURL": "/openapi/v3/api/v1"}


def test_every_kind_has_a_schema_and_a_patch_that_is_validated_by_the_server() -> None:
    by_kind: dict[tuple[str, str, str], Kind] = {(one.group, one.version, one.kind): one for one in KINDS}
    patched, described = set(), set()
    for one in documents():
        for path in one["paths"].values():
            if "patch" in path:
                gvk = path["patch"]["x-kubernetes-group-version-kind"]
                asked = {parameter["name"] for parameter in path["patch"]["parameters"]}
                assert {"fieldValidation", "dryRun", "fieldManager", "force"} <= asked
                patched.add((gvk["group"], gvk["version"], gvk["kind"]))
        for schema in one["components"]["schemas"].values():
            for gvk in schema.get("x-kubernetes-group-version-kind", ()):
                described.add((gvk["group"], gvk["version"], gvk["kind"]))
    assert patched == set(by_kind)
    assert patched <= described


def test_no_reference_leads_nowhere() -> None:
    for one in documents():
        known = {f"#/components/schemas/{name}" for name in one["components"]["schemas"]}
        assert references(one) <= known


def test_the_schema_of_a_crd_is_the_one_that_it_brought() -> None:
    schemas = document("apis/cdn-issuer.io/v1alpha1")["components"]["schemas"]
    issuer = schemas["io.cdn-issuer.v1alpha1.CDNIssuer"]
    kind = next(one for one in KINDS if one.kind == "CDNIssuer")
    assert issuer["properties"]["spec"] == kind.schema["properties"]["spec"]
    assert issuer["required"] == ["spec"]


def test_a_resource_that_is_served_in_all_namespaces_is_found_by_both_paths() -> None:
    paths = document("apis/cdn-issuer.io/v1alpha1")["paths"]
    assert "get" in paths["/apis/cdn-issuer.io/v1alpha1/cdnissuers"]
    assert "patch" in paths["/apis/cdn-issuer.io/v1alpha1/namespaces/{namespace}/cdnissuers/{name}/status"]
    assert "post" in paths["/apis/cdn-issuer.io/v1alpha1/cdnclusterissuers"]


def test_what_is_no_document_is_none() -> None:
    for path in ("/openapi/v2", "/openapi/v3/apis/nobody.io/v1", "/openapi", "/api/v1"):
        assert openapi.answer(path, KINDS) is None


def test_a_schema_of_its_own_stands_over_what_is_told_of_a_kind_and_gets_its_texts() -> None:
    own = {"type": "object", "required": ["data"], "properties": {"data": {"type": "object", "maxProperties": 3}}}
    secret = next(one for one in BUILT_IN if one.kind == "Secret")
    found = openapi.answer("/openapi/v3/api/v1", [dataclasses.replace(secret, schema=own)])
    assert found is not None
    schema = found["components"]["schemas"]["io.k8s.api.core.v1.Secret"]
    assert schema["required"] == ["data"]
    assert schema["properties"]["data"]["maxProperties"] == 3
    assert schema["properties"]["data"]["description"]
    assert schema["properties"]["immutable"]["type"] == "boolean"
