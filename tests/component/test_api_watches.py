"""What both API servers tell a watch: transitions, bookmarks, the beginning, the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.component.api_client import MERGE
from tests.component.api_objects import condition, config_map, request

if TYPE_CHECKING:
    from tests.component.api_client import Api

OURS = "fieldSelector=spec.issuerRef.group=cdn-issuer.io"
BEGINNING = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}


async def test_a_watch_tells_what_has_happened_since_a_version(api: Api) -> None:
    version = await api.version(api.requests)
    await api.ask("POST", api.requests, request())
    await api.ask("PATCH", f"{api.requests}/r/status", {"status": {"conditions": [condition()]}}, MERGE)
    await api.ask("DELETE", f"{api.requests}/r")
    async with api.watch(api.requests, f"resourceVersion={version}") as stream:
        events = [await stream.next() for _ in range(3)]
    assert [type_ for type_, _ in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(obj["metadata"]["resourceVersion"]) for _, obj in events]
    assert versions == sorted(set(versions)), "the deletion has a version of its own"
    assert events[2][1]["status"] == events[1][1]["status"], "it shows the last state"


@pytest.mark.parametrize("since", ["", "resourceVersion=0"])
async def test_a_watch_from_no_version_begins_with_what_is_there(api: Api, since: str) -> None:
    await api.ask("POST", api.requests, request("a"))
    async with api.watch(api.requests, since) as stream:
        assert await stream.named() == ("ADDED", "a")
        await api.ask("POST", api.requests, request("b"))
        assert await stream.named() == ("ADDED", "b")


async def test_a_watch_of_a_namespace_tells_nothing_of_another(api: Api) -> None:
    version = await api.version(api.config_maps)
    await api.ask("POST", "/api/v1/namespaces/default/configmaps", config_map(api.namespace))
    await api.ask("POST", api.config_maps, config_map("mine"))
    async with api.watch(api.config_maps, f"resourceVersion={version}") as stream:
        assert await stream.named() == ("ADDED", "mine")
    await api.ask("DELETE", f"/api/v1/namespaces/default/configmaps/{api.namespace}")


async def test_a_watch_of_one_name_is_that_of_no_other(api: Api) -> None:
    version = await api.version(api.config_maps)
    for name in ("a", "b"):
        await api.ask("POST", api.config_maps, config_map(name))
    async with api.watch(api.config_maps, f"resourceVersion={version}&fieldSelector=metadata.name=b") as stream:
        assert await stream.named() == ("ADDED", "b")


async def test_an_object_comes_into_a_selection_and_leaves_it(api: Api) -> None:
    """By a field, as the controller watches requests: added when it is ours, deleted when it is ours no more."""
    version = await api.version(api.requests)
    last = await api.ask("POST", api.requests, request(group="example.com"))
    for group in ("cdn-issuer.io", "cdn-issuer.io", "example.com"):
        patch = {"metadata": {"annotations": {"at": str(time.monotonic_ns())}}, "spec": {"issuerRef": {"group": group}}}
        last = await api.ask("PATCH", f"{api.requests}/r", patch, MERGE)
    async with api.watch(api.requests, f"resourceVersion={version}&{OURS}") as stream:
        events = [await stream.next() for _ in range(3)]
    assert [type_ for type_, _ in events] == ["ADDED", "MODIFIED", "DELETED"]
    gone = events[2][1]
    assert gone["spec"]["issuerRef"]["group"] == "cdn-issuer.io", "it is shown as it was while it was selected"
    assert gone["metadata"]["resourceVersion"] == last["metadata"]["resourceVersion"], "at the version of the change"


async def test_labels_select_in_a_watch_too(api: Api) -> None:
    version = await api.version(api.config_maps)
    await api.ask("POST", api.config_maps, config_map(labels={"mine": "no"}))
    await api.ask("PATCH", f"{api.config_maps}/c", {"metadata": {"labels": {"mine": "yes"}}}, MERGE)
    await api.ask("DELETE", f"{api.config_maps}/c")
    async with api.watch(api.config_maps, f"resourceVersion={version}&labelSelector=mine%3Dyes") as stream:
        assert await stream.named() == ("ADDED", "c")
        assert await stream.named() == ("DELETED", "c")


async def test_a_watch_from_a_forgotten_version_is_told_so_in_an_event_and_ends(api: Api) -> None:
    """A real server has a history of its own, which a compaction leaves: so it is a version before that."""
    await api.ask("POST", api.requests, request())
    api.compact()
    async with api.watch(api.requests, "resourceVersion=2") as stream:
        assert stream.response.status_code == 200
        (event,) = await stream.rest()
    type_, status = event
    assert type_ == "ERROR"
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert status["message"].startswith("too old resource version: 2 (")


async def test_a_watch_from_the_present_outlives_a_compaction(api: Api) -> None:
    await api.ask("POST", api.requests, request())
    version = await api.version(api.requests)
    api.compact()
    async with api.watch(api.requests, f"resourceVersion={version}") as stream:
        await api.ask("DELETE", f"{api.requests}/r")
        assert await stream.named() == ("DELETED", "r")


async def test_a_watch_with_its_beginning_says_where_that_ends(api: Api) -> None:
    for name in ("a", "b"):
        await api.ask("POST", api.requests, request(name))
    async with api.watch(api.requests, BEGINNING) as stream:
        assert sorted([await stream.named(), await stream.named()]) == [("ADDED", "a"), ("ADDED", "b")]
        type_, mark = await stream.next()
        assert (type_, mark["kind"], mark["apiVersion"]) == ("BOOKMARK", "CertificateRequest", "cert-manager.io/v1")
        assert mark["metadata"]["annotations"] == INITIAL_EVENTS_END
        assert (
            int(mark["metadata"]["resourceVersion"]) >= int(await api.version(f"{api.requests}?resourceVersion=0")) - 1
        )
        await api.ask("POST", api.requests, request("d"))
        assert await stream.named() == ("ADDED", "d")


async def test_a_beginning_where_nothing_is_ends_at_once(api: Api) -> None:
    await api.ask("POST", api.requests, request(group="example.com"))
    async with api.watch(api.requests, f"{BEGINNING}&{OURS}") as stream:
        type_, mark = await stream.next()
        assert (type_, mark["metadata"]["annotations"]) == ("BOOKMARK", INITIAL_EVENTS_END)


async def test_a_watch_can_go_on_from_a_bookmark(api: Api) -> None:
    async with api.watch(api.requests, BEGINNING) as stream:
        _, mark = await stream.next()
    await api.ask("POST", api.requests, request())
    async with api.watch(api.requests, f"resourceVersion={mark['metadata']['resourceVersion']}") as stream:
        assert await stream.named() == ("ADDED", "r")


async def test_a_bookmark_comes_before_the_end_though_nothing_that_is_selected_has_happened(api: Api) -> None:
    """A real server sends one about every minute, and one two seconds before the end."""
    version = await api.version(api.requests)
    query = f"{OURS}&allowWatchBookmarks=true&resourceVersion={version}"
    async with api.watch(api.requests, query, timeout=4) as stream:
        other = await api.ask("POST", api.requests, request(group="example.com"))
        type_, mark = await stream.next()
    assert (type_, mark["kind"], mark["apiVersion"]) == ("BOOKMARK", "CertificateRequest", "cert-manager.io/v1")
    assert int(mark["metadata"]["resourceVersion"]) >= int(other["metadata"]["resourceVersion"])
    assert "annotations" not in mark["metadata"]


@pytest.mark.parametrize(
    "query",
    [
        "sendInitialEvents=true",
        "resourceVersionMatch=NotOlderThan",
        "sendInitialEvents=true&resourceVersionMatch=Exact",
    ],
)
async def test_options_of_a_watch_that_do_not_go_together_are_refused(api: Api, query: str) -> None:
    status, _, body = await api.call("GET", f"{api.requests}?watch=true&{query}")
    assert (status, body["reason"]) == (422, "Invalid")
    assert body["message"].startswith('ListOptions.meta.k8s.io "" is invalid: ')


async def test_a_watch_ends_by_itself_when_its_time_is_up(api: Api) -> None:
    version = await api.version(api.requests)
    started = time.monotonic()
    async with api.watch(api.requests, f"resourceVersion={version}", timeout=1) as stream:
        assert await stream.rest() == []
    assert 0.9 <= time.monotonic() - started < 10


async def test_a_finalizer_shows_a_deletion_in_two_steps(api: Api) -> None:
    version = await api.version(api.requests)
    await api.ask("POST", api.requests, request(finalizers=["example.com/hold"]))
    await api.ask("DELETE", f"{api.requests}/r")
    await api.ask("PATCH", f"{api.requests}/r", {"metadata": {"finalizers": None}}, MERGE)
    async with api.watch(api.requests, f"resourceVersion={version}") as stream:
        events = [await stream.next() for _ in range(3)]
    assert [type_ for type_, _ in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert ["deletionTimestamp" in obj["metadata"] for _, obj in events] == [False, True, True]
