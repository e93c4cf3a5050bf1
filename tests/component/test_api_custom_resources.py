"""What both API servers make of CRDs: they come late, change, go; their schemas set, drop and refuse fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.component.api_client import CRDS, MERGE
from tests.component.api_objects import box, box_crd, causes, request
from tests.controlplane.fixtures import NEWEST, binaries
from tests.controlplane.plane import documents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.component.api_client import Api, Manifest

OURS = "fieldSelector=spec.issuerRef.group=cdn-issuer.io"
UNKNOWN = 'unknown field "spec.weight"'


async def test_a_resource_is_served_once_its_crd_is_there(api: Api) -> None:
    status, _, body = await api.call("GET", api.boxes)
    assert (status, body) == (404, "404 page not found\n")
    await api.install(box_crd(api))
    assert (await api.ask("GET", api.boxes))["kind"] == "BoxList"
    await api.ask("POST", api.boxes, box(api))
    version = await api.version(api.boxes)
    async with api.watch(api.boxes, f"resourceVersion={version}") as stream:
        await api.ask("DELETE", f"{api.boxes}/b")
        assert await stream.named() == ("DELETED", "b")


async def test_a_crd_says_that_it_is_established(api: Api) -> None:
    await api.install(box_crd(api))
    crd = await api.ask("GET", f"{CRDS}/boxes.{api.group}")
    conditions = {one["type"]: (one["status"], one["reason"]) for one in crd["status"]["conditions"]}
    assert conditions["Established"] == ("True", "InitialNamesAccepted")
    assert conditions["NamesAccepted"] == ("True", "NoConflicts")
    assert crd["status"]["storedVersions"] == ["v1"]
    assert crd["status"]["acceptedNames"]["kind"] == "Box"


async def test_a_crd_that_is_deleted_takes_its_objects_and_ends_their_watches(api: Api) -> None:
    await api.install(box_crd(api))
    for name in ("a", "b"):
        await api.ask("POST", api.boxes, box(api, name))
    version = await api.version(api.boxes)
    async with api.watch(api.boxes, f"resourceVersion={version}") as stream:
        await api.ask("DELETE", f"{CRDS}/boxes.{api.group}")
        events = await stream.rest()
    assert sorted((type_, obj["metadata"]["name"]) for type_, obj in events) == [("DELETED", "a"), ("DELETED", "b")]
    gone = await api.until(api.boxes, lambda answer: answer.status == 404)
    assert gone.body == "404 page not found\n"
    missing = await api.until(f"{CRDS}/boxes.{api.group}", lambda answer: answer.status == 404)
    assert missing.body["details"] == {
        "name": f"boxes.{api.group}",
        "group": "apiextensions.k8s.io",
        "kind": "customresourcedefinitions",
    }


async def test_a_crd_that_comes_back_has_none_of_its_objects(api: Api) -> None:
    await api.install(box_crd(api))
    await api.ask("POST", api.boxes, box(api))
    await api.ask("DELETE", f"{CRDS}/boxes.{api.group}")
    await api.until(f"{CRDS}/boxes.{api.group}", lambda answer: answer.status == 404)
    await api.install(box_crd(api))
    assert (await api.ask("GET", api.boxes))["items"] == []


async def test_a_crd_waits_for_the_finalizers_of_its_objects(api: Api) -> None:
    await api.install(box_crd(api))
    held = box(api)
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await api.ask("POST", api.boxes, held)
    await api.ask("DELETE", f"{CRDS}/boxes.{api.group}")
    marked = await api.until(f"{api.boxes}/b", lambda answer: "deletionTimestamp" in answer.body["metadata"])
    assert marked.status == 200
    status, _, body = await api.call("POST", api.boxes, box(api, "other"))
    assert (status, body["reason"]) == (403, "Forbidden")
    assert "create not allowed while custom resource definition is terminating" in body["message"]
    await api.ask("PATCH", f"{api.boxes}/b", {"metadata": {"finalizers": None}}, MERGE)
    await api.until(f"{CRDS}/boxes.{api.group}", lambda answer: answer.status == 404)


async def test_a_default_is_set_when_an_object_is_written(api: Api) -> None:
    crd = box_crd(
        api,
        material={"type": "string", "default": "wood"},
        lid={
            "type": "object",
            "default": {},
            "properties": {"open": {"type": "boolean", "default": False}, "hinges": {"type": "integer"}},
        },
    )
    await api.install(crd)
    made = await api.ask("POST", api.boxes, box(api))
    assert made["spec"] == {"size": 3, "material": "wood", "lid": {"open": False}}
    changed = await api.ask("PATCH", f"{api.boxes}/b", {"spec": {"material": None, "lid": {"hinges": 2}}}, MERGE)
    assert changed["spec"] == {"size": 3, "material": "wood", "lid": {"open": False, "hinges": 2}}


async def test_a_new_default_shows_when_an_object_of_before_is_read(api: Api) -> None:
    await api.install(box_crd(api))
    made = await api.ask("POST", api.boxes, box(api))
    await api.install(box_crd(api, material={"type": "string", "default": "wood"}))
    shown = await api.until(f"{api.boxes}/b", lambda answer: "material" in answer.body["spec"])
    assert shown.body["spec"] == {"size": 3, "material": "wood"}
    assert shown.body["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"], "nothing was written"
    assert shown.body["metadata"]["generation"] == 1
    listed = await api.ask("GET", api.boxes)
    assert listed["items"][0]["spec"]["material"] == "wood"
    async with api.watch(api.boxes) as stream:
        _, obj = await stream.next()
    assert obj["spec"]["material"] == "wood"


async def test_a_field_that_the_schema_does_not_know_is_dropped(api: Api) -> None:
    await api.install(box_crd(api))
    status, headers, body = await api.call("POST", api.boxes, {**box(api, weight=1), "extra": 1})
    assert (status, body["spec"]) == (201, {"size": 3})
    assert "extra" not in body
    warned = headers.get_list("Warning")
    assert f'299 - "{UNKNOWN.replace(chr(34), chr(92) + chr(34))}"' in warned
    assert len(warned) == 2


async def test_a_field_that_the_schema_keeps_unknown_is_kept(api: Api) -> None:
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    await api.install(box_crd(api, free=free))
    made = await api.ask("POST", api.boxes, box(api, free={"a": {"b": [1]}}))
    assert made["spec"]["free"] == {"a": {"b": [1]}}


async def test_unknown_fields_are_refused_told_or_passed_over_as_asked(api: Api) -> None:
    await api.install(box_crd(api))
    status, _, body = await api.call("POST", f"{api.boxes}?fieldValidation=Strict", box(api, weight=1))
    assert (status, body["reason"]) == (400, "BadRequest")
    assert f"strict decoding error: {UNKNOWN}" in body["message"]
    _, headers, _ = await api.call("POST", f"{api.boxes}?fieldValidation=Ignore", box(api, weight=1))
    assert headers.get_list("Warning") == []
    status, _, body = await api.call("PATCH", f"{api.boxes}/b?fieldValidation=Strict", {"spec": {"weight": 1}}, MERGE)
    assert (status, body["reason"]) == (422, "Invalid")
    assert UNKNOWN in body["message"]


@pytest.mark.parametrize(("method", "kind"), [("POST", "Create"), ("PUT", "Update"), ("PATCH", "Patch")])
async def test_a_wish_for_unknown_fields_that_is_none_is_refused(api: Api, method: str, kind: str) -> None:
    made = await api.ask("POST", api.requests, request())
    path = api.requests if method == "POST" else f"{api.requests}/r"
    content_type = MERGE if method == "PATCH" else "application/json"
    status, _, body = await api.call(method, f"{path}?fieldValidation=Often", made, content_type)
    assert (status, causes(body)) == (422, [("fieldValidation", "FieldValueNotSupported")])
    assert body["message"] == (
        f'{kind}Options.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Often": supported values: "", '
        '"Ignore", "Strict", "Warn"'
    )


async def test_unknown_fields_of_a_built_in_kind_are_told_too(api: Api) -> None:
    body: Manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "dat": {}}
    status, _, answer = await api.call("POST", f"{api.config_maps}?fieldValidation=Strict", body)
    assert (status, answer["reason"]) == (400, "BadRequest")
    assert 'strict decoding error: unknown field "dat"' in answer["message"]
    _, headers, made = await api.call("POST", api.config_maps, body)
    assert headers.get_list("Warning") == ['299 - "unknown field \\"dat\\""']
    assert "dat" not in made


async def test_a_null_is_dropped_where_the_schema_does_not_allow_it(api: Api) -> None:
    nullable = {"type": "string", "nullable": True}
    await api.install(box_crd(api, material={"type": "string", "default": "wood"}, owner=nullable))
    made = await api.ask("POST", api.boxes, box(api, material=None, colour=None, owner=None))
    assert made["spec"] == {"size": 3, "material": "wood", "owner": None}


async def test_a_table_has_the_columns_of_the_crd(api: Api) -> None:
    crd = box_crd(api)
    crd["spec"]["versions"][0]["additionalPrinterColumns"] = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Colour", "type": "string", "jsonPath": ".spec.colour"},
    ]
    await api.install(crd)
    await api.ask("POST", api.boxes, box(api))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = (await api.client.get(api.boxes, headers={"Accept": accept})).json()
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [one["name"] for one in table["columnDefinitions"]] == ["Name", "Size", "Colour"]
    (row,) = table["rows"]
    assert row["cells"][:2] == ["b", 3]
    assert not row["cells"][2]
    assert (row["object"]["kind"], row["object"]["metadata"]["name"]) == ("PartialObjectMetadata", "b")


async def test_types_are_looked_at(api: Api) -> None:
    await api.install(box_crd(api))
    status, _, body = await api.call("POST", api.boxes, box(api, size="3"))
    assert (status, causes(body)[0]) == (422, ("spec.size", "FieldValueTypeInvalid"))
    assert 'spec.size in body must be of type integer: "string"' in body["message"]


async def test_a_rule_may_compare_with_what_was(api: Api) -> None:
    rule = {"rule": "self == oldSelf", "message": "is never painted anew"}
    await api.install(box_crd(api, paint={"type": "string", "x-kubernetes-validations": [rule]}))
    await api.ask("POST", api.boxes, box(api, paint="red"))
    status, _, body = await api.call("PATCH", f"{api.boxes}/b", {"spec": {"paint": "blue"}}, MERGE)
    assert (status, causes(body)) == (422, [("spec.paint", "FieldValueInvalid")])
    assert 'spec.paint: Invalid value: "blue": is never painted anew' in body["message"]


async def test_a_crd_whose_rule_does_not_compile_is_refused(api: Api) -> None:
    crd = box_crd(api, paint={"type": "string", "x-kubernetes-validations": [{"rule": "self +"}]})
    status, _, body = await api.call("POST", CRDS, crd)
    assert (status, body["reason"]) == (422, "Invalid")


async def test_the_status_is_part_of_the_object_where_the_crd_does_not_take_it_apart(api: Api) -> None:
    crd = box_crd(api)
    del crd["spec"]["versions"][0]["subresources"]
    await api.install(crd)
    made = await api.ask("POST", api.boxes, {**box(api), "status": {"phase": "new"}})
    assert made["status"] == {"phase": "new"}
    patch = {"status": {"phase": "old"}}
    status, _, body = await api.call("PATCH", f"{api.boxes}/b/status", patch, MERGE)
    assert (status, body["reason"]) == (404, "NotFound")
    changed = await api.ask("PATCH", f"{api.boxes}/b", patch, MERGE)
    assert changed["metadata"]["generation"] == 2


@pytest.fixture
async def cert_manager_crds(api: Api) -> AsyncIterator[Any]:
    """Installs cert-manager's CRD of requests, as a version of it has it; the newest is put back afterwards."""

    async def install(version: str) -> None:
        crds = documents(*sorted((binaries() / "crds" / version).glob("*certificaterequests.yaml")))
        await api.install(crds[0])

    yield install
    await install(NEWEST)
    await api.until(f"{api.requests}?{OURS}", lambda answer: answer.status == 200)


@pytest.mark.parametrize("version", ["1.9.1", "1.13.6"])
async def test_an_old_crd_of_requests_knows_no_selection_by_issuer(
    api: Api, cert_manager_crds: Any, version: str
) -> None:
    await cert_manager_crds(version)
    refused = await api.until(f"{api.requests}?{OURS}", lambda answer: answer.status == 400)
    assert refused.body["reason"] == "BadRequest"
    assert "field label not supported: spec.issuerRef.group" in refused.body["message"]
    watched = await api.call("GET", f"{api.requests}?watch=true&{OURS}")
    assert (watched.status, watched.body["message"]) == (400, refused.body["message"])
    await api.ask("POST", api.requests, request())
    by_name = await api.ask("GET", f"{api.requests}?fieldSelector=metadata.name=r")
    assert [one["metadata"]["name"] for one in by_name["items"]] == ["r"]


async def test_a_newer_crd_of_requests_brings_the_selection(api: Api, cert_manager_crds: Any) -> None:
    await cert_manager_crds("1.13.6")
    await api.until(f"{api.requests}?{OURS}", lambda answer: answer.status == 400)
    await api.ask("POST", api.requests, request("a"))
    await api.ask("POST", api.requests, request("b", group="example.com"))
    await cert_manager_crds(NEWEST)
    found = await api.until(f"{api.requests}?{OURS}", lambda answer: answer.status == 200)
    assert [one["metadata"]["name"] for one in found.body["items"]] == ["a"]


async def test_a_watch_ends_when_its_crd_changes_and_one_from_before_is_too_old(api: Api) -> None:
    """The server makes a new cache for the resource, whose history begins there."""
    await api.install(box_crd(api))
    version = await api.version(api.boxes)
    async with api.watch(api.boxes, f"resourceVersion={version}") as stream:
        await api.install(box_crd(api, ".spec.colour"))
        assert await stream.rest() == []
    await api.ask("POST", api.boxes, box(api))
    async with api.watch(api.boxes, f"resourceVersion={version}") as stream:
        (event,) = await stream.rest()
    assert (event[0], event[1]["code"], event[1]["reason"]) == ("ERROR", 410, "Expired")
    async with api.watch(api.boxes, f"resourceVersion={await api.version(api.boxes)}") as stream:
        await api.ask("DELETE", f"{api.boxes}/b")
        assert await stream.named() == ("DELETED", "b")
