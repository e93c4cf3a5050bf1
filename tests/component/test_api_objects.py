"""What both API servers do with one object: names, versions, the status apart, patches, deletion."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.component.api_client import JSON_PATCH, MERGE
from tests.component.api_objects import condition, config_map, issuer, lease, request, secret

if TYPE_CHECKING:
    from tests.component.api_client import Api


async def test_a_name_that_is_taken_is_a_conflict_of_its_own(api: Api) -> None:
    await api.ask("POST", api.config_maps, config_map())
    status, _, body = await api.call("POST", api.config_maps, config_map())
    assert (status, body["reason"]) == (409, "AlreadyExists")
    assert body["details"] == {"name": "c", "kind": "configmaps"}
    assert body["message"] == 'configmaps "c" already exists'


async def test_an_old_version_is_a_conflict_by_put(api: Api) -> None:
    old = await api.ask("POST", api.requests, request())
    await api.ask("PATCH", f"{api.requests}/r", {"metadata": {"labels": {"a": "b"}}}, MERGE)
    status, _, body = await api.call("PUT", f"{api.requests}/r", old)
    assert (status, body["reason"]) == (409, "Conflict")
    assert body["details"] == {"name": "r", "group": "cert-manager.io", "kind": "certificaterequests"}


async def test_an_old_version_is_a_conflict_by_a_merge_patch_of_the_status(api: Api) -> None:
    old = await api.ask("POST", api.requests, request())
    version = old["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "status": {"conditions": [condition()]}}
    first = await api.ask("PATCH", f"{api.requests}/r/status", patch, MERGE)
    assert first["metadata"]["resourceVersion"] != version
    status, _, body = await api.call("PATCH", f"{api.requests}/r/status", patch, MERGE)
    assert (status, body["reason"]) == (409, "Conflict")
    assert "the object has been modified" in body["message"]


async def test_a_patch_of_the_status_without_a_version_is_taken(api: Api) -> None:
    await api.ask("POST", api.requests, request())
    for message in ("one", "two"):
        patch = {"status": {"conditions": [condition(message=message)]}}
        answer = await api.ask("PATCH", f"{api.requests}/r/status", patch, MERGE)
        assert answer["status"]["conditions"][0]["message"] == message


async def test_a_uid_in_a_patch_of_the_status_of_a_custom_resource_is_not_looked_at(api: Api) -> None:
    made = await api.ask("POST", api.requests, request())
    patch = {"metadata": {"uid": "another"}, "status": {"conditions": [condition()]}}
    answer = await api.ask("PATCH", f"{api.requests}/r/status", patch, MERGE)
    assert answer["metadata"]["uid"] == made["metadata"]["uid"]
    assert answer["status"]["conditions"][0]["type"] == "Ready"


async def test_a_uid_of_another_object_is_a_conflict_by_put(api: Api) -> None:
    made = await api.ask("POST", api.config_maps, config_map())
    status, _, body = await api.call(
        "PUT", f"{api.config_maps}/c", {**made, "metadata": {**made["metadata"], "uid": "another"}}
    )
    assert (status, body["reason"]) == (409, "Conflict")
    assert "Precondition failed: UID in precondition: another" in body["message"]


async def test_a_write_that_changes_nothing_makes_no_version(api: Api) -> None:
    await api.ask("POST", api.requests, request())
    patch = {"status": {"conditions": [condition()]}}
    first = await api.ask("PATCH", f"{api.requests}/r/status", patch, MERGE)
    again = await api.ask("PATCH", f"{api.requests}/r/status", patch, MERGE)
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_the_status_is_not_written_with_the_object(api: Api) -> None:
    made = await api.ask("POST", api.issuers, {**issuer(), "status": {"active": "a"}})
    assert "status" not in made
    await api.ask("PATCH", f"{api.issuers}/i/status", {"status": {"active": "b"}}, MERGE)
    patch = {"spec": {"deadline": "11m"}, "status": {"active": "c"}}
    changed = await api.ask("PATCH", f"{api.issuers}/i", patch, MERGE)
    assert (changed["spec"]["deadline"], changed["status"]) == ("11m", {"active": "b"})
    replaced = await api.ask("PUT", f"{api.issuers}/i", {**changed, "status": {"active": "d"}})
    assert replaced["status"] == {"active": "b"}


async def test_the_object_is_not_written_with_the_status(api: Api) -> None:
    made = await api.ask("POST", api.issuers, issuer())
    patch = {
        "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
        "spec": {"deadline": "11m"},
        "status": {"active": "a"},
    }
    changed = await api.ask("PATCH", f"{api.issuers}/i/status", patch, MERGE)
    assert (changed["spec"], changed["status"]) == (made["spec"], {"active": "a"})
    assert "labels" not in changed["metadata"]
    assert "annotations" not in changed["metadata"]
    whole = {**changed, "spec": {**changed["spec"], "deadline": "11m"}, "status": {"active": "b"}}
    replaced = await api.ask("PUT", f"{api.issuers}/i/status", whole)
    assert (replaced["spec"], replaced["status"]) == (made["spec"], {"active": "b"})


async def test_the_generation_counts_changes_of_the_spec_alone(api: Api) -> None:
    found = [await api.ask("POST", api.issuers, issuer())]
    found += [await api.ask("PATCH", f"{api.issuers}/i/status", {"status": {"active": "a"}}, MERGE)]
    found += [await api.ask("PATCH", f"{api.issuers}/i", {"metadata": {"labels": {"a": "b"}}}, MERGE)]
    found += [await api.ask("PATCH", f"{api.issuers}/i", {"spec": {"deadline": "11m"}}, MERGE)]
    assert [one["metadata"]["generation"] for one in found] == [1, 1, 1, 2]


async def test_a_generated_name_begins_as_asked_and_is_never_the_same(api: Api) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}
    made = [(await api.ask("POST", api.config_maps, body))["metadata"]["name"] for _ in range(3)]
    assert len(set(made)) == 3
    assert all(name.startswith("made-") and len(name) == len("made-") + 5 for name in made)


async def test_a_null_in_a_merge_patch_takes_a_field_away(api: Api) -> None:
    await api.ask("POST", api.config_maps, config_map(labels={"a": "1", "b": "2"}, data={"x": "1", "y": "2"}))
    patch = {"metadata": {"labels": {"a": None}}, "data": {"x": None, "z": "3"}}
    answer = await api.ask("PATCH", f"{api.config_maps}/c", patch, MERGE)
    assert (answer["metadata"]["labels"], answer["data"]) == ({"b": "2"}, {"y": "2", "z": "3"})


async def test_a_merge_patch_replaces_a_list_whole(api: Api) -> None:
    await api.ask("POST", api.requests, request())
    for type_ in ("Approved", "Ready"):
        patch = {"status": {"conditions": [condition(type_)]}}
        answer = await api.ask("PATCH", f"{api.requests}/r/status", patch, MERGE)
        assert [one["type"] for one in answer["status"]["conditions"]] == [type_]


async def test_a_json_patch_is_applied_whole_or_not_at_all(api: Api) -> None:
    await api.ask("POST", api.config_maps, config_map(data={"x": "1"}))
    path = f"{api.config_maps}/c"
    change = {"op": "replace", "path": "/data/x", "value": "2"}
    status, _, body = await api.call(
        "PATCH", path, [change, {"op": "test", "path": "/data/x", "value": "3"}], JSON_PATCH
    )
    assert (status, body["reason"]) == (422, "Invalid")
    assert (await api.ask("GET", path))["data"] == {"x": "1"}
    answer = await api.ask("PATCH", path, [{"op": "test", "path": "/data/x", "value": "1"}, change], JSON_PATCH)
    assert answer["data"] == {"x": "2"}


async def test_a_patch_of_an_unknown_type_is_refused(api: Api) -> None:
    await api.ask("POST", api.config_maps, config_map())
    status, _, body = await api.call("PATCH", f"{api.config_maps}/c", {"data": {"x": "1"}}, "application/json")
    assert (status, body["reason"]) == (415, "UnsupportedMediaType")


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
async def test_a_deletion_is_refused_where_its_precondition_does_not_hold(api: Api, field: str) -> None:
    made = await api.ask("POST", api.requests, request())
    path, right = f"{api.requests}/r", made["metadata"][field]
    wrong = "1" if field == "resourceVersion" else "00000000-0000-4000-8000-000000000000"
    status, _, body = await api.call("DELETE", path, options(**{field: wrong}))
    assert (status, body["reason"]) == (409, "Conflict")
    name = "ResourceVersion" if field == "resourceVersion" else "UID"
    told = f"the {name} in the precondition ({wrong}) does not match the {name} in record ({right}). The object might"
    assert body["message"].startswith(
        f'Operation cannot be fulfilled on CertificateRequest.cert-manager.io "r": {told}'
    )
    assert body["details"] == {"name": "r", "group": "cert-manager.io", "kind": "CertificateRequest"}
    assert (await api.call("DELETE", path, options(**{field: right}))).status == 200
    assert (await api.call("GET", path)).status == 404


async def test_a_deletion_is_answered_with_a_status_that_names_the_object(api: Api) -> None:
    made = await api.ask("POST", api.config_maps, config_map())
    gone = await api.ask("DELETE", f"{api.config_maps}/c")
    assert (gone["kind"], gone["status"]) == ("Status", "Success")
    assert gone["details"] == {"name": "c", "kind": "configmaps", "uid": made["metadata"]["uid"]}


async def test_a_deletion_of_a_custom_resource_is_answered_in_the_same_way(api: Api) -> None:
    made = await api.ask("POST", api.requests, request())
    gone = await api.ask("DELETE", f"{api.requests}/r")
    details = {"name": "r", "group": "cert-manager.io", "kind": "certificaterequests", "uid": made["metadata"]["uid"]}
    assert (gone["kind"], gone["status"], gone["details"]) == ("Status", "Success", details)


async def test_a_namespace_that_is_deleted_is_shown_as_it_goes(api: Api) -> None:
    gone = await api.ask("DELETE", f"/api/v1/namespaces/{api.namespace}")
    assert (gone["kind"], gone["metadata"]["name"]) == ("Namespace", api.namespace)


async def test_built_in_objects_without_a_desired_state_have_no_generation(api: Api) -> None:
    for path, body in ((api.config_maps, config_map()), (api.secrets, secret()), (api.leases, lease())):
        made = await api.ask("POST", path, body)
        assert "generation" not in made["metadata"]


async def test_a_collection_is_deleted_by_selector(api: Api) -> None:
    for name, colour in (("a", "red"), ("b", "blue"), ("d", "red")):
        await api.ask("POST", api.config_maps, config_map(name, labels={"colour": colour}))
    gone = await api.ask("DELETE", f"{api.config_maps}?labelSelector=colour%3Dred")
    assert gone["kind"] == "ConfigMapList"
    assert sorted(one["metadata"]["name"] for one in gone["items"]) == ["a", "d"]
    assert [one["metadata"]["name"] for one in (await api.ask("GET", api.config_maps))["items"]] == ["b"]


async def test_a_finalizer_holds_a_deletion_up(api: Api) -> None:
    await api.ask("POST", api.requests, request(finalizers=["example.com/hold"]))
    path = f"{api.requests}/r"
    marked = await api.ask("DELETE", path)
    assert marked["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["generation"] == 2
    again = await api.ask("DELETE", path)
    assert again["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
    status, _, body = await api.call("PATCH", path, {"metadata": {"finalizers": ["example.com/hold", "a/b"]}}, MERGE)
    assert (status, body["reason"]) == (422, "Invalid"), "no finalizer is added to what is being deleted"
    await api.ask("PATCH", path, {"metadata": {"finalizers": None}}, MERGE)
    assert (await api.call("GET", path)).status == 404


async def test_string_data_of_a_secret_becomes_base64(api: Api) -> None:
    body = secret(data={"a": "QQ==", "b": "Qg=="}, stringData={"b": "x", "c": "y"})
    made = await api.ask("POST", api.secrets, body)
    assert made["data"] == {"a": "QQ==", "b": "eA==", "c": "eQ=="}
    assert "stringData" not in made
    assert made["type"] == "Opaque"
    patched = await api.ask("PATCH", f"{api.secrets}/s", {"stringData": {"a": "z"}}, MERGE)
    assert patched["data"] == {"a": "eg==", "b": "eA==", "c": "eQ=="}


async def test_data_of_a_secret_that_is_no_base64_is_refused(api: Api) -> None:
    status, _, body = await api.call("POST", api.secrets, secret(data={"a": "not base64!"}))
    assert (status, body["reason"]) == (400, "BadRequest")
    assert "illegal base64 data at input byte 3" in body["message"]


async def test_of_many_writers_of_one_version_one_wins(api: Api) -> None:
    made = await api.ask("POST", api.config_maps, config_map())
    answers = await asyncio.gather(
        *(api.call("PUT", f"{api.config_maps}/c", {**made, "data": {"by": str(n)}}) for n in range(5))
    )
    assert sorted(one.status for one in answers) == [200, 409, 409, 409, 409]


def options(**preconditions: str) -> dict[str, Any]:
    """DeleteOptions."""
    return {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
