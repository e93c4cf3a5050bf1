"""The sandbox's Kubernetes API, where the controller and its tests rely on it to be like the real one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from issuer.sandbox.cluster import Fault
from tests.unit.sandbox.cluster_case import JSON_PATCH, MERGE, REQUESTS, api, box, call, request

if TYPE_CHECKING:
    import aiohttp


async def test_a_created_object_gets_uid_version_and_generation() -> None:
    async with api() as (_, session):
        code, made = await call(session, "POST", REQUESTS, request())
        assert code == 201
        assert (made["kind"], made["metadata"]["generation"]) == ("CertificateRequest", 1)
        assert made["metadata"]["uid"]
        assert made["metadata"]["resourceVersion"]
        code, status = await call(session, "POST", REQUESTS, request())
        assert (code, status["reason"]) == (409, "AlreadyExists")


async def test_a_name_can_be_generated_and_a_namespace_has_to_exist() -> None:
    async with api() as (_, session):
        body = request() | {"metadata": {"generateName": "www-"}}
        names = {(await call(session, "POST", REQUESTS, body))[1]["metadata"]["name"] for _ in range(3)}
        assert len(names) == 3
        assert all(name.startswith("www-") for name in names)
        code, status = await call(session, "POST", REQUESTS.replace("web", "nowhere"), request())
        assert (code, status["reason"]) == (404, "NotFound")


async def test_a_stale_version_is_a_conflict_and_a_missing_one_is_not() -> None:
    async with api() as (_, session):
        _, made = await call(session, "POST", REQUESTS, request())
        fresh = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "status": {"ca": "eA=="}}
        path = f"{REQUESTS}/www/status"
        assert (await call(session, "PATCH", path, fresh, MERGE))[0] == 200
        code, status = await call(session, "PATCH", path, fresh | {"status": {"ca": "eQ=="}}, MERGE)
        assert (code, status["reason"]) == (409, "Conflict")
        assert (await call(session, "PATCH", path, {"status": {"ca": "eg=="}}, MERGE))[0] == 200


async def test_a_uid_in_a_patch_of_the_status_is_not_looked_at() -> None:
    async with api() as (_, session):
        await call(session, "POST", REQUESTS, request())
        patch = {"metadata": {"uid": "another"}, "status": {"ca": "eA=="}}
        code, patched = await call(session, "PATCH", f"{REQUESTS}/www/status", patch, MERGE)
        assert code == 200
        assert patched["metadata"]["uid"] != "another"


async def test_status_and_the_rest_are_written_apart() -> None:
    async with api() as (_, session):
        await call(session, "POST", REQUESTS, request() | {"status": {"ca": "eA=="}})
        _, got = await call(session, "GET", f"{REQUESTS}/www")
        assert "status" not in got
        both = {"spec": {"duration": "1h"}, "status": {"ca": "eA=="}}
        _, got = await call(session, "PATCH", f"{REQUESTS}/www/status", both, MERGE)
        assert got["status"] == {"ca": "eA=="}
        assert "duration" not in got["spec"]
        assert got["metadata"]["generation"] == 1
        _, got = await call(session, "PATCH", f"{REQUESTS}/www", both | {"status": {"ca": "eg=="}}, MERGE)
        assert got["status"] == {"ca": "eA=="}
        assert got["spec"]["duration"] == "1h"
        assert got["metadata"]["generation"] == 2


async def test_a_json_patch_is_applied_and_one_that_does_not_fit_is_refused() -> None:
    async with api() as (_, session):
        await call(session, "POST", REQUESTS, request())
        good = [{"op": "add", "path": "/metadata/labels", "value": {"a/b": "c"}}]
        assert (await call(session, "PATCH", f"{REQUESTS}/www", good, JSON_PATCH))[1]["metadata"]["labels"] == {
            "a/b": "c"
        }
        more = [{"op": "replace", "path": "/metadata/labels/a~1b", "value": "d"}]
        assert (await call(session, "PATCH", f"{REQUESTS}/www", more, JSON_PATCH))[1]["metadata"]["labels"] == {
            "a/b": "d"
        }
        bad = [{"op": "remove", "path": "/spec/nothing"}]
        assert (await call(session, "PATCH", f"{REQUESTS}/www", bad, JSON_PATCH))[0] == 422


async def test_a_list_in_pages_is_one_picture() -> None:
    async with api() as (cluster, session):
        for number in range(5):
            await call(session, "POST", REQUESTS, request(f"n{number}"))
        _, first = await call(session, "GET", f"{REQUESTS}?limit=2")
        await cluster.delete("certificaterequests", "web", "n4")
        found = [item["metadata"]["name"] for item in first["items"]]
        token = first["metadata"]["continue"]
        while token:
            _, page = await call(session, "GET", f"{REQUESTS}?limit=2&continue={token}")
            assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
            found += [item["metadata"]["name"] for item in page["items"]]
            token = page["metadata"].get("continue")
        assert found == ["n0", "n1", "n2", "n3", "n4"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("labelSelector=tier=web", ["a"]),
        ("labelSelector=tier!=web", ["b", "c"]),
        ("labelSelector=tier in (web,db)", ["a", "b"]),
        ("labelSelector=tier notin (web,db)", ["c"]),
        ("labelSelector=tier", ["a", "b"]),
        ("labelSelector=!tier", ["c"]),
        ("fieldSelector=metadata.name=b", ["b"]),
        ("fieldSelector=spec.issuerRef.group=cdn-issuer.io", ["a", "b", "c"]),
        ("fieldSelector=spec.issuerRef.name!=edge", []),
    ],
)
async def test_selectors(query: str, names: list[str]) -> None:
    async with api() as (_, session):
        for name, labels in (("a", {"tier": "web"}), ("b", {"tier": "db"}), ("c", {})):
            await call(session, "POST", REQUESTS, request(name, labels=labels))
        _, listed = await call(session, "GET", f"{REQUESTS}?{query}")
        assert [item["metadata"]["name"] for item in listed["items"]] == names


async def test_an_unknown_field_in_a_selector_is_refused_in_the_words_of_the_real_one() -> None:
    async with api() as (_, session):
        code, status = await call(session, "GET", f"{REQUESTS}?fieldSelector=spec.request=x")
        assert code == 400
        assert "field label not supported: spec.request" in status["message"]


async def watched(session: aiohttp.ClientSession, query: str, count: int) -> list[dict[str, Any]]:
    async with session.get(f"{REQUESTS}?watch=true&timeoutSeconds=5&{query}") as response:
        return [json.loads(await response.content.readline()) for _ in range(count)]


async def test_a_watch_tells_what_has_happened_since() -> None:
    async with api() as (cluster, session):
        _, listed = await call(session, "GET", REQUESTS)
        await call(session, "POST", REQUESTS, request())
        await call(session, "PATCH", f"{REQUESTS}/www", {"spec": {"duration": "1h"}}, MERGE)
        await cluster.delete("certificaterequests", "web", "www")
        events = await watched(session, f"resourceVersion={listed['metadata']['resourceVersion']}", 3)
        assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
        versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
        assert versions == sorted(set(versions))


async def test_a_watch_from_before_a_compaction_is_expired() -> None:
    async with api() as (cluster, session):
        _, listed = await call(session, "GET", REQUESTS)
        await call(session, "POST", REQUESTS, request())
        cluster.compact()
        since = listed["metadata"]["resourceVersion"]
        (event,) = await watched(session, f"resourceVersion={since}", 1)
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_a_finalizer_holds_a_deletion_up() -> None:
    async with api() as (_, session):
        await call(session, "POST", REQUESTS, request(finalizers=["example.com/hold"]))
        _, held = await call(session, "DELETE", f"{REQUESTS}/www")
        assert held["metadata"]["deletionTimestamp"]
        await call(session, "PATCH", f"{REQUESTS}/www", {"metadata": {"finalizers": None}}, MERGE)
        assert (await call(session, "GET", f"{REQUESTS}/www"))[0] == 404


async def test_a_deletion_with_another_uid_is_refused() -> None:
    async with api() as (_, session):
        await call(session, "POST", REQUESTS, request())
        code, _ = await call(session, "DELETE", f"{REQUESTS}/www", {"preconditions": {"uid": "another"}})
        assert code == 409


async def test_a_crd_adds_its_resource_with_defaults_and_takes_it_away_again() -> None:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 3}}}},
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "boxes.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "boxes", "kind": "Box"},
            "versions": [{"name": "v1", "served": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    boxes = "/apis/example.com/v1/namespaces/web/boxes"
    async with api() as (cluster, session):
        assert (await call(session, "GET", boxes))[0] == 404
        await cluster.apply(definition)
        _, made = await call(session, "POST", boxes, box() | {"spec": {}})
        assert made["spec"] == {"size": 3}
        await cluster.delete("customresourcedefinitions", "", "boxes.example.com")
        assert (await call(session, "GET", boxes))[0] == 404


async def test_both_kinds_of_event_show_the_same_objects() -> None:
    async with api() as (_, session):
        regarding = {"kind": "CertificateRequest", "namespace": "web", "name": "www", "uid": "u"}
        event = {
            "metadata": {"name": "e"},
            "regarding": regarding,
            "note": "signed",
            "reason": "Issued",
            "action": "Issued",
            "type": "Normal",
            "eventTime": "2026-11-25T01:04:34.000000Z",
            "reportingController": "cdn-issuer.io",
            "reportingInstance": "pod-1",
        }
        new, core = "/apis/events.k8s.io/v1/namespaces/web/events", "/api/v1/namespaces/web/events"
        assert (await call(session, "POST", new, event))[0] == 201
        _, listed = await call(session, "GET", f"{core}?fieldSelector=involvedObject.uid=u")
        assert [(one["apiVersion"], one["message"]) for one in listed["items"]] == [("v1", "signed")]
        _, got = await call(session, "GET", f"{new}/e")
        assert (got["apiVersion"], got["note"]) == ("events.k8s.io/v1", "signed")


async def test_a_fault_may_lose_the_answer_of_a_write_that_was_done() -> None:
    async with api() as (cluster, session):
        fault = cluster.faults.add(Fault(kind="error", method="POST", count=1, after=True))
        assert (await call(session, "POST", REQUESTS, request()))[0] == 500
        assert (await call(session, "GET", f"{REQUESTS}/www"))[0] == 200
        assert fault.hits == 1
        assert (await call(session, "POST", REQUESTS, request("next")))[0] == 201


async def test_a_table_has_the_columns_of_the_crd() -> None:
    async with api() as (_, session):
        await call(session, "POST", REQUESTS, request())
        accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
        _, table = await call(session, "GET", REQUESTS, headers=accept)
        assert [column["name"] for column in table["columnDefinitions"]][:2] == ["Name", "Approved"]
        assert table["rows"][0]["cells"][0] == "www"
