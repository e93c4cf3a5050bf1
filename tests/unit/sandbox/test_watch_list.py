"""A list and a watch in one, and which queries of lists and watches are refused."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest

from issuer.sandbox.cluster import StatusError, listoptions
from tests.unit.sandbox.cluster_case import REQUESTS, api, call, request
from tests.unit.sandbox.test_cluster_api import watched

FORBIDDEN = "resourceVersionMatch: Forbidden:"
UNSUPPORTED = "resourceVersionMatch: Unsupported value:"
WATCH_LIST = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"


async def test_a_watch_list_sends_what_is_there_then_says_so_then_goes_on() -> None:
    async with api() as (cluster, session):
        for name in ("a", "b"):
            await call(session, "POST", REQUESTS, request(name))
        first, second, end = await watched(session, WATCH_LIST, 3)
        assert [(one["type"], one["object"]["metadata"]["name"]) for one in (first, second)] == [
            ("ADDED", "a"),
            ("ADDED", "b"),
        ]
        assert end["type"] == "BOOKMARK"
        assert end["object"]["kind"] == "CertificateRequest"
        assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        version = end["object"]["metadata"]["resourceVersion"]
        await cluster.delete("certificaterequests", "web", "a")
        (gone,) = await watched(session, f"resourceVersion={version}", 1)
        assert (gone["type"], gone["object"]["metadata"]["name"]) == ("DELETED", "a")


async def test_a_watch_list_obeys_selectors_and_ends_its_beginning_where_nothing_is() -> None:
    async with api() as (_, session):
        await call(session, "POST", REQUESTS, request("a"))
        (end,) = await watched(session, f"{WATCH_LIST}&fieldSelector=metadata.name=b", 1)
        assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_list_goes_on_in_the_same_stream() -> None:
    async with api() as (_, session), session.get(f"{REQUESTS}?watch=true&timeoutSeconds=5&{WATCH_LIST}") as response:
        assert b"BOOKMARK" in await response.content.readline()
        await call(session, "POST", REQUESTS, request("a"))
        assert b"ADDED" in await response.content.readline()


async def test_a_watch_without_initial_events_sends_only_what_happens_then() -> None:
    query = "watch=true&timeoutSeconds=5&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
    async with api() as (_, session):
        await call(session, "POST", REQUESTS, request("a"))
        async with session.get(f"{REQUESTS}?{query}") as response:
            await call(session, "POST", REQUESTS, request("b"))
            assert b'"name":"b"' in await response.content.readline()


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (
            "watch=1&sendInitialEvents=true",
            f"{FORBIDDEN} sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            "watch=1&resourceVersionMatch=NotOlderThan",
            f"{FORBIDDEN} resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (
            "watch=1&sendInitialEvents=true&resourceVersionMatch=Exact",
            (
                f"[{FORBIDDEN} sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
                f', {UNSUPPORTED} "Exact": supported values: "NotOlderThan"]'
            ),
        ),
        ("sendInitialEvents=true", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"),
        (
            "resourceVersionMatch=Exact",
            f"{FORBIDDEN} resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersion=5&resourceVersionMatch=Newest",
            f'{UNSUPPORTED} "Newest": supported values: "Exact", "NotOlderThan", ""',
        ),
    ],
)
def test_wrong_combinations_are_refused_in_the_words_of_the_real_one(query: str, told: str) -> None:
    with pytest.raises(StatusError) as caught:
        listoptions.check(dict(parse_qsl(query)))
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert caught.value.message == f'ListOptions.meta.k8s.io "" is invalid: {told}'


@pytest.mark.parametrize(
    "query",
    [
        "",
        "watch=1",
        "watch=1&resourceVersion=5",
        f"watch=1&{WATCH_LIST}",
        "resourceVersion=0&resourceVersionMatch=NotOlderThan",
    ],
)
def test_what_clients_ask_is_not_refused(query: str) -> None:
    listoptions.check(dict(parse_qsl(query)))


async def test_a_refused_watch_is_an_answer_and_no_stream() -> None:
    async with api() as (_, session):
        code, status = await call(session, "GET", f"{REQUESTS}?watch=true&sendInitialEvents=true")
        assert (code, status["reason"]) == (422, "Invalid")
