"""CRDs in the sandbox: established, changed under the objects that there are, and deleted with all of them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.sandbox.cluster_case import BOXES, CRDS, MERGE, api, box, boxes, call

if TYPE_CHECKING:
    import aiohttp

NAME = "boxes.example.com"
SIZE: dict[str, Any] = {"properties": {"size": {"type": "integer"}}}
COLOUR: dict[str, Any] = {"properties": {"size": {"type": "integer"}, "colour": {"type": "string", "default": "red"}}}


async def heard(session: aiohttp.ClientSession, since: str) -> list[tuple[str, dict[str, Any]]]:
    """What a watch from a revision tells until it ends by itself."""
    async with session.get(f"{BOXES}?watch=true&resourceVersion={since}&timeoutSeconds=20") as response:
        lines = [json.loads(line) async for line in response.content]
    return [(line["type"], line["object"]) for line in lines]


async def test_a_crd_says_that_it_is_established() -> None:
    async with api() as (_, session):
        assert (await call(session, "POST", CRDS, boxes(SIZE)))[0] == 201
        _, crd = await call(session, "GET", f"{CRDS}/{NAME}")
        conditions = {one["type"]: (one["status"], one["reason"]) for one in crd["status"]["conditions"]}
        assert conditions == {
            "NamesAccepted": ("True", "NoConflicts"),
            "Established": ("True", "InitialNamesAccepted"),
        }
        assert crd["status"]["storedVersions"] == ["v1"]
        assert crd["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    "spec",
    [
        {"properties": {"size": {"type": "string", "pattern": "("}}},
        {"properties": {}, "x-kubernetes-validations": [{"rule": "self.size >"}]},
    ],
    ids=["pattern", "rule"],
)
async def test_a_crd_whose_schema_does_not_compile_is_refused(spec: dict[str, Any]) -> None:
    async with api() as (_, session):
        code, status = await call(session, "POST", CRDS, boxes(spec))
        assert (code, status["reason"]) == (422, "Invalid")
        assert "does not compile" in status["message"]
        assert (await call(session, "GET", f"{CRDS}/{NAME}"))[0] == 404


async def test_the_deletion_of_a_crd_is_heard_object_by_object_and_ends_the_watch() -> None:
    async with api() as (cluster, session):
        await cluster.apply(boxes(SIZE))
        for name in ("a", "b"):
            await call(session, "POST", BOXES, box(name))
        _, listed = await call(session, "GET", BOXES)
        watch = asyncio.create_task(heard(session, listed["metadata"]["resourceVersion"]))
        await asyncio.sleep(0.05)
        code, leaving = await call(session, "DELETE", f"{CRDS}/{NAME}")
        assert (code, "deletionTimestamp" in leaving["metadata"]) == (200, True)
        async with asyncio.timeout(5):
            events = await watch
        assert [(type_, obj["metadata"]["name"]) for type_, obj in events] == [("DELETED", "a"), ("DELETED", "b")]
        assert await call(session, "GET", BOXES) == (404, {"text": "404 page not found\n"})
        assert (await call(session, "GET", f"{CRDS}/{NAME}"))[0] == 404


async def test_a_finalizer_of_an_object_holds_its_crd_up() -> None:
    async with api() as (cluster, session):
        await cluster.apply(boxes(SIZE))
        await call(session, "POST", BOXES, box("a"))
        held = box("held")
        held["metadata"]["finalizers"] = ["example.com/hold"]
        await call(session, "POST", BOXES, held)
        await call(session, "DELETE", f"{CRDS}/{NAME}")
        _, crd = await call(session, "GET", f"{CRDS}/{NAME}")
        assert crd["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
        assert "Terminating" in [one["type"] for one in crd["status"]["conditions"]]
        _, listed = await call(session, "GET", BOXES)
        assert [one["metadata"]["name"] for one in listed["items"]] == ["held"]
        code, status = await call(session, "POST", BOXES, box("late"))
        assert (code, status["reason"]) == (403, "Forbidden")
        assert "custom resource definition is terminating" in status["message"]
        await call(session, "PATCH", f"{BOXES}/held", {"metadata": {"finalizers": None}}, MERGE)
        assert (await call(session, "GET", f"{CRDS}/{NAME}"))[0] == 404
        await cluster.apply(boxes(SIZE))
        assert (await call(session, "POST", BOXES, box("late")))[0] == 201


async def test_a_new_default_shows_on_objects_that_were_stored_before_it() -> None:
    async with api() as (cluster, session):
        await cluster.apply(boxes(SIZE))
        _, before = await call(session, "GET", BOXES)
        since_then = f"resourceVersion={before['metadata']['resourceVersion']}"
        _, made = await call(session, "POST", BOXES, box())
        await cluster.apply(boxes(COLOUR))
        _, got = await call(session, "GET", f"{BOXES}/b")
        assert got["spec"] == {"size": 3, "colour": "red"}
        assert got["metadata"] == made["metadata"], "nothing was written"
        _, listed = await call(session, "GET", BOXES)
        assert listed["items"][0]["spec"]["colour"] == "red"
        async with session.get(f"{BOXES}?watch=true&timeoutSeconds=5") as response:
            assert json.loads(await response.content.readline())["object"]["spec"]["colour"] == "red"
        async with session.get(f"{BOXES}?watch=true&timeoutSeconds=5&{since_then}") as response:
            assert json.loads(await response.content.readline())["object"]["code"] == 410


async def test_a_field_that_the_schema_has_lost_is_not_shown_and_comes_back_with_it() -> None:
    async with api() as (cluster, session):
        await cluster.apply(boxes(COLOUR))
        await call(session, "POST", BOXES, box() | {"spec": {"size": 3, "colour": "blue"}})
        await cluster.apply(boxes(SIZE))
        assert (await call(session, "GET", f"{BOXES}/b"))[1]["spec"] == {"size": 3}
        await cluster.apply(boxes(COLOUR))
        assert (await call(session, "GET", f"{BOXES}/b"))[1]["spec"] == {"size": 3, "colour": "blue"}
        await cluster.apply(boxes(SIZE))
        await call(session, "PATCH", f"{BOXES}/b", {"spec": {"size": 4}}, MERGE)
        await cluster.apply(boxes(COLOUR))
        assert (await call(session, "GET", f"{BOXES}/b"))[1]["spec"] == {"size": 4, "colour": "red"}


async def test_a_version_that_is_served_no_longer_is_gone() -> None:
    async with api() as (cluster, session):
        definition = boxes(SIZE)
        await cluster.apply(definition)
        assert (await call(session, "GET", BOXES))[0] == 200
        definition = boxes(SIZE)
        definition["spec"]["versions"][0]["name"] = "v2"
        await cluster.apply(definition)
        assert (await call(session, "GET", BOXES))[0] == 404
        assert (await call(session, "GET", BOXES.replace("v1", "v2")))[0] == 200
