"""How the sandbox's API says no: a missing object, a missing resource and a missing page are three answers."""

from __future__ import annotations

import pytest

from tests.unit.sandbox.cluster_case import BOXES, LEASES, MERGE, REQUESTS, SECRETS, api, boxes, call, request


async def test_a_missing_object_is_named_in_the_details() -> None:
    async with api() as (_, session):
        code, status = await call(session, "GET", f"{REQUESTS}/www")
        assert code == 404
        assert status["details"] == {"name": "www", "group": "cert-manager.io", "kind": "certificaterequests"}
        _, status = await call(session, "GET", f"{SECRETS}/s")
        assert status["details"] == {"name": "s", "kind": "secrets"}
        _, status = await call(session, "POST", SECRETS.replace("web", "nowhere"), {"metadata": {"name": "s"}})
        assert status["details"] == {"name": "nowhere", "kind": "namespaces"}


async def test_a_missing_resource_of_a_built_in_group_has_empty_details() -> None:
    async with api() as (_, session):
        for path in ("/api/v1/namespaces/web/things", "/apis/coordination.k8s.io/v1/things/x", f"{LEASES}/l/status"):
            code, status = await call(session, "GET", path)
            assert (code, status["reason"], status["details"]) == (404, "NotFound", {})
            assert status["message"] == "the server could not find the requested resource"


@pytest.mark.parametrize("path", [BOXES, f"{BOXES}/b", "/apis/cert-manager.io/v2/issuers", "/apis/x", "/nonsense"])
async def test_a_path_that_nobody_knows_is_answered_in_plain_text(path: str) -> None:
    async with api() as (_, session):
        assert await call(session, "GET", path) == (404, {"text": "404 page not found\n"})


async def test_a_subresource_that_a_custom_resource_lacks_is_a_missing_object() -> None:
    async with api() as (cluster, session):
        definition = boxes({"properties": {}})
        del definition["spec"]["versions"][0]["subresources"]
        await cluster.apply(definition)
        code, status = await call(session, "PATCH", f"{BOXES}/b/status", {}, MERGE)
        assert (code, status["details"]) == (404, {"name": "b", "group": "example.com", "kind": "boxes"})


async def test_conflicts_name_the_object_in_the_details() -> None:
    async with api() as (_, session):
        await call(session, "POST", REQUESTS, request())
        details = {"name": "www", "group": "cert-manager.io", "kind": "certificaterequests"}
        code, status = await call(session, "POST", REQUESTS, request())
        assert (code, status["details"]) == (409, details)
        stale = {"metadata": {"resourceVersion": "1"}, "spec": {"duration": "1h"}}
        code, status = await call(session, "PATCH", f"{REQUESTS}/www", stale, MERGE)
        assert (code, status["details"]) == (409, details)


async def test_an_object_of_another_place_is_refused() -> None:
    async with api() as (_, session):
        code, status = await call(session, "POST", REQUESTS, request(namespace="default"))
        assert code == 400
        assert "does not match the namespace sent on the request" in status["message"]
        await call(session, "POST", REQUESTS, request())
        code, status = await call(session, "PUT", f"{REQUESTS}/www", request("other"))
        assert code == 400
        assert status["message"] == "the name of the object (other) does not match the name on the URL (www)"
