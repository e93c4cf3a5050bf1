"""Watches and pages in the sandbox end as the real ones do: cut, too slow, or too old."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

from issuer.sandbox.cluster.feed import Feed
from issuer.sandbox.cluster.store import Happening, Stored
from tests.unit.sandbox.cluster_case import REQUESTS, api, call, request

RESOURCE = ("cert-manager.io", "certificaterequests")


def happening(revision: int) -> Happening:
    stored = Stored({}, b"{}", revision, {})
    return Happening(revision, "ADDED", RESOURCE, ("web", f"n{revision}"), stored, None)


async def test_a_watch_that_is_cut_ends_and_leaves_no_task_behind() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with api() as (cluster, session):
        async with session.get(f"{REQUESTS}?watch=true&resourceVersion=0") as response:
            tasks = len(asyncio.all_tasks())
            cluster.cut_watches()
            async with asyncio.timeout(2):
                assert await response.content.read() == b""
            await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) <= tasks
        gc.collect()
    assert complaints == []


async def test_a_feed_gives_what_waits_and_waits_where_nothing_does() -> None:
    feed = Feed(RESOURCE)
    feed.put(happening(1))
    feed.put(happening(2))
    assert [event.revision for event in await feed.take(10)] == [1, 2]
    asyncio.get_running_loop().call_later(0.01, feed.put, happening(3))
    async with asyncio.timeout(5):
        assert [event.revision for event in await feed.take(10)] == [3]
    assert await feed.take(0.01) == []
    assert not feed.closed


async def test_a_feed_that_is_closed_still_gives_what_waited() -> None:
    feed = Feed(RESOURCE)
    feed.put(happening(1))
    feed.close()
    feed.put(happening(2))
    assert [event.revision for event in await feed.take(10)] == [1]
    async with asyncio.timeout(5):
        assert await feed.take(10) == []


async def test_a_feed_that_nobody_reads_is_closed_and_keeps_nothing() -> None:
    feed = Feed(RESOURCE, limit=3)
    for revision in range(4):
        assert not feed.closed
        feed.put(happening(revision))
    assert (feed.closed, feed.waiting) == (True, 0)


async def test_the_watch_of_a_slow_reader_ends() -> None:
    async with api() as (cluster, session):
        cluster.watch_limit = 10
        async with session.get(f"{REQUESTS}?watch=true&resourceVersion=0") as response:
            manifest = request(namespace="web") | {"apiVersion": "cert-manager.io/v1", "kind": "CertificateRequest"}
            for number in range(11):  # nobody reads in between
                await cluster.apply(manifest | {"metadata": {"name": f"n{number}", "namespace": "web"}})
            async with asyncio.timeout(2):
                assert await response.content.read() == b""


async def filled(session: Any, count: int = 5) -> None:
    for number in range(count):
        await call(session, "POST", REQUESTS, request(f"n{number}"))


def names(page: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in page["items"]]


async def test_pages_are_of_one_picture_whatever_happens_in_between() -> None:
    async with api() as (cluster, session):
        await filled(session)
        _, first = await call(session, "GET", f"{REQUESTS}?limit=2")
        assert first["metadata"]["remainingItemCount"] == 3
        await call(session, "POST", REQUESTS, request("n30"))
        await cluster.set_status("certificaterequests", "web", "n2", {"ca": "eA=="})
        await cluster.delete("certificaterequests", "web", "n3")
        path = f"{REQUESTS}?limit=9&continue={first['metadata']['continue']}"
        for _ in range(2):  # a token may be used again
            _, second = await call(session, "GET", path)
            assert names(second) == ["n2", "n3", "n4"]
            assert "status" not in second["items"][0]
            assert second["metadata"] == {"resourceVersion": first["metadata"]["resourceVersion"]}


async def test_a_page_over_all_namespaces_goes_on_where_it_ended() -> None:
    async with api() as (_, session):
        await filled(session, 3)
        everywhere = REQUESTS.replace("/namespaces/web", "")
        await call(session, "POST", REQUESTS.replace("web", "default"), request("z"))
        _, first = await call(session, "GET", f"{everywhere}?limit=2")
        _, second = await call(session, "GET", f"{everywhere}?limit=2&continue={first['metadata']['continue']}")
        assert (names(first), names(second)) == (["z", "n0"], ["n1", "n2"])


async def test_a_selection_does_not_say_how_much_is_left() -> None:
    async with api() as (_, session):
        await filled(session)
        _, page = await call(session, "GET", f"{REQUESTS}?limit=2&labelSelector=!a")
        assert "remainingItemCount" not in page["metadata"]
        assert page["metadata"]["continue"]


async def test_a_token_from_before_a_compaction_is_expired_and_brings_one_that_is_not() -> None:
    async with api() as (cluster, session):
        await filled(session)
        _, first = await call(session, "GET", f"{REQUESTS}?limit=2")
        await cluster.delete("certificaterequests", "web", "n3")
        cluster.compact()
        path = f"{REQUESTS}?limit=2&continue="
        code, status = await call(session, "GET", path + first["metadata"]["continue"])
        assert (code, status["reason"]) == (410, "Expired")
        assert "inconsistent list" in status["message"]
        code, rest = await call(session, "GET", path + status["metadata"]["continue"])
        assert (code, names(rest)) == (200, ["n2", "n4"])
        assert int(rest["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])


async def test_a_token_that_is_none_is_a_bad_request() -> None:
    async with api() as (_, session):
        for token in ("gone", "e30", "%21"):
            code, status = await call(session, "GET", f"{REQUESTS}?limit=2&continue={token}")
            assert (code, status["reason"]) == (400, "BadRequest"), json.dumps(status)
