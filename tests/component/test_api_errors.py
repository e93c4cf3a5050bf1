"""How both API servers say no: missing objects, missing resources, names and sizes that cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.component.api_client import MERGE
from tests.component.api_objects import causes, config_map, event, request, secret

if TYPE_CHECKING:
    from tests.component.api_client import Api


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_a_missing_object_is_named_in_the_details(api: Api, method: str) -> None:
    body = {"PUT": request(), "PATCH": {"metadata": {"labels": {}}}}.get(method)
    content_type = MERGE if method == "PATCH" else "application/json"
    status, _, answer = await api.call(method, f"{api.requests}/r", body, content_type)
    assert (status, answer["kind"], answer["status"]) == (404, "Status", "Failure")
    assert (answer["reason"], answer["code"]) == ("NotFound", 404)
    assert answer["details"] == {"name": "r", "group": "cert-manager.io", "kind": "certificaterequests"}
    assert answer["message"] == 'certificaterequests.cert-manager.io "r" not found'


async def test_a_missing_built_in_object_has_no_group(api: Api) -> None:
    status, _, body = await api.call("GET", f"{api.secrets}/s")
    assert (status, body["details"]) == (404, {"name": "s", "kind": "secrets"})
    assert body["message"] == 'secrets "s" not found'


@pytest.mark.parametrize("path", ["/apis/coordination.k8s.io/v1/nothings", "/api/v1/nothings"])
async def test_a_missing_resource_of_a_built_in_group_names_no_object(api: Api, path: str) -> None:
    status, _, body = await api.call("GET", path)
    assert (status, body["reason"]) == (404, "NotFound")
    assert body["message"] == "the server could not find the requested resource"
    assert body["details"] == {}


@pytest.mark.parametrize(
    "path",
    [
        "/apis/cert-manager.io/v1/nothings",
        "/apis/cert-manager.io/v9/certificaterequests",
        "/apis/nobody.example.com/v1/things",
        "/nothing",
    ],
)
async def test_a_path_that_nobody_knows_is_answered_in_plain_text(api: Api, path: str) -> None:
    status, headers, body = await api.call("GET", path)
    assert (status, body) == (404, "404 page not found\n")
    assert headers["Content-Type"].startswith("text/plain")


async def test_a_method_that_a_resource_lacks_is_refused(api: Api) -> None:
    status, _, body = await api.call("POST", f"{api.config_maps}/c", config_map())
    assert (status, body["reason"]) == (405, "MethodNotAllowed")


async def test_an_object_for_a_namespace_that_is_not_there_is_refused(api: Api) -> None:
    path = api.requests.replace(api.namespace, "nowhere")
    status, _, body = await api.call("POST", path, request())
    assert (status, body["reason"]) == (404, "NotFound")
    assert body["message"] == 'namespaces "nowhere" not found'


async def test_an_object_of_another_namespace_than_the_path_is_refused(api: Api) -> None:
    status, _, body = await api.call("POST", api.requests, request(namespace="default"))
    assert (status, body["reason"]) == (400, "BadRequest")
    assert "the namespace of the provided object does not match the namespace sent on the request" in body["message"]


async def test_an_object_of_another_name_than_the_path_is_refused(api: Api) -> None:
    made = await api.ask("POST", api.requests, request())
    status, _, body = await api.call(
        "PUT", f"{api.requests}/r", {**made, "metadata": {**made["metadata"], "name": "other"}}
    )
    assert (status, body["reason"]) == (400, "BadRequest")
    assert "the name of the object (other) does not match the name on the URL (r)" in body["message"]


@pytest.mark.parametrize("body", ["{", "[]", '"text"'])
async def test_a_body_that_is_no_object_is_refused(api: Api, body: str) -> None:
    response = await api.client.post(api.config_maps, content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["reason"]) == (400, "BadRequest")


async def test_an_object_of_another_kind_is_refused(api: Api) -> None:
    for wrong in ({"kind": "Secret"}, {"apiVersion": "v2"}):
        status, _, body = await api.call("POST", api.config_maps, {**config_map(), **wrong})
        assert (status, body["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("Upper", "a lowercase RFC 1123 subdomain"),
        ("under_score", "a lowercase RFC 1123 subdomain"),
        ("-dash", "a lowercase RFC 1123 subdomain"),
        ("a..b", "a lowercase RFC 1123 subdomain"),
        ("a" * 254, "must be no more than 253"),
    ],
)
async def test_a_name_that_is_no_subdomain_is_refused(api: Api, name: str, word: str) -> None:
    for path, body in ((api.requests, request(name)), (api.config_maps, config_map(name))):
        status, _, answer = await api.call("POST", path, body)
        assert (status, answer["reason"]) == (422, "Invalid")
        assert ("metadata.name", "FieldValueInvalid") in causes(answer)
        assert word in answer["message"]


async def test_a_name_of_253_signs_is_taken_with_dots_in_it(api: Api) -> None:
    name = ".".join(["a" * 62] * 4) + ".b"
    assert len(name) == 253
    await api.ask("POST", api.requests, request(name))
    assert (await api.ask("GET", f"{api.requests}/{name}"))["metadata"]["name"] == name


async def test_an_object_without_a_name_is_refused(api: Api) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}
    status, _, answer = await api.call("POST", api.config_maps, body)
    assert (status, answer["reason"]) == (422, "Invalid")
    assert "name or generateName is required" in answer["message"]


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"labels": {"a b": "c"}}, "metadata.labels"),
        ({"labels": {"a": "b c"}}, "metadata.labels"),
        ({"labels": {"a": "b" * 64}}, "metadata.labels"),
        ({"annotations": {"a b": "c"}}, "metadata.annotations"),
        ({"annotations": {"a": "x" * (256 * 1024)}}, "metadata.annotations"),
        ({"finalizers": ["a b"]}, "metadata.finalizers"),
    ],
)
async def test_metadata_has_a_form(api: Api, metadata: dict[str, Any], field: str) -> None:
    status, _, body = await api.call("POST", api.requests, request(**metadata))
    assert (status, body["reason"]) == (422, "Invalid")
    assert {one for one, _ in causes(body)} == {field}


async def test_a_label_that_is_no_text_does_not_decode(api: Api) -> None:
    status, _, body = await api.call(
        "POST", api.config_maps, {**config_map(), "metadata": {"name": "c", "labels": {"a": 1}}}
    )
    assert (status, body["reason"]) == (400, "BadRequest")


async def test_a_body_of_more_than_three_mebibytes_is_not_read(api: Api) -> None:
    body = config_map(data={"x": "x" * (3 * 1024 * 1024)})
    status, _, answer = await api.call("POST", api.config_maps, body)
    assert (status, answer["reason"]) == (413, "RequestEntityTooLarge")


async def test_an_object_that_etcd_does_not_take_is_an_error_of_the_server(api: Api) -> None:
    """A custom resource has no limit of its own; one mebibyte and a half is etcd's."""
    big = request()
    big["spec"]["request"] = "eHh4" * (400 * 1024)
    status, _, body = await api.call("POST", api.requests, big)
    assert (status, body["code"], body["message"]) == (500, 500, "etcdserver: request is too large")


async def test_secrets_and_config_maps_have_a_mebibyte(api: Api) -> None:
    status, _, body = await api.call("POST", api.secrets, secret(stringData={"x": "x" * (1024 * 1024 + 1)}))
    assert (status, body["reason"]) == (422, "Invalid")
    assert ("data", "FieldValueTooLong") in causes(body)
    status, _, body = await api.call("POST", api.config_maps, config_map(data={"x": "x" * (1024 * 1024 + 1)}))
    assert (status, body["reason"]) == (422, "Invalid")
    assert [reason for _, reason in causes(body)] == ["FieldValueTooLong"]


async def test_an_event_of_another_namespace_than_its_object_is_refused(api: Api) -> None:
    regarding = {"kind": "CertificateRequest", "namespace": "elsewhere", "name": "r"}
    status, _, body = await api.call("POST", api.core_events, core(api, involvedObject=regarding))
    assert (status, body["reason"]) == (422, "Invalid")
    assert causes(body) == [("involvedObject.namespace", "FieldValueInvalid")]


def core(api: Api, **fields: Any) -> dict[str, Any]:
    """An Event as core/v1 has it, with as little as it takes."""
    new = event(api)
    head = {"apiVersion": "v1", "kind": "Event", "metadata": new["metadata"], "involvedObject": new["regarding"]}
    return {**head, "reason": "Signed", "message": "told", "type": "Normal", **fields}
