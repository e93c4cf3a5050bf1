"""The informer against a source that plays a script, on fake time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from issuer.api.meta import ObjectKey
from issuer.kube.errors import (
    ApiError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    ServerError,
    ThrottledError,
    UnreachableError,
)
from tests.unit.kube.informer_case import (
    Script,
    Silence,
    Step,
    Thing,
    bookmark,
    error_event,
    event,
    informer_of,
    page,
    running,
    thing,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from issuer.kube.informer import Change
    from issuer.kube.resource import Resource
    from tests.unit.kube.log_case import Lines


pytestmark = pytest.mark.looptime


async def test_a_list_comes_in_pages_and_the_watch_goes_on_from_it() -> None:
    source = Script(
        [page(thing("a", 1), next_="more"), page(thing("b", 2), version=100)],
        [[event("ADDED", thing("c", 101)), event("MODIFIED", thing("a", 102)), event("DELETED", thing("b", 103))]],
    )
    informer = informer_of(source)
    async with running(informer) as changes:
        await informer.synced.wait()
        await asyncio.sleep(0.1)
        assert changes == [("added", "a@a"), ("added", "b@b"), ("added", "c@c"), ("changed", "a@a"), ("deleted", "b@b")]
        assert {item.metadata.name for item in informer.items()} == {"a", "c"}
        assert len(informer) == 2
        assert informer.get(ObjectKey("ns", "b")) is None
        found = informer.get(ObjectKey("ns", "a"))
        assert found is not None
        assert found.metadata.resource_version == "102"
    assert source.query(0) == {"limit": "500"}
    assert source.query(1) == {"limit": "500", "continue": "more"}
    watch = source.query(2)
    assert (watch["watch"], watch["allowWatchBookmarks"], watch["resourceVersion"]) == ("1", "true", "100")
    assert 300 <= int(watch["timeoutSeconds"]) <= 600


async def test_other_tasks_get_a_turn_between_two_pages() -> None:
    source = Script([page(next_="1"), page(next_="2"), page(next_="3"), page()], [])
    informer = informer_of(source)
    seen: list[int] = []

    async def watcher() -> None:
        while not informer.synced.is_set():
            seen.append(len(source.queries))
            await asyncio.sleep(0)

    async with running(informer):
        await watcher()
    assert {1, 2, 3} <= set(seen)


async def test_a_watch_that_ends_in_order_is_followed_by_one_from_the_last_bookmark() -> None:
    source = Script([page()], [[60.0, bookmark(150), 240.0], [Silence]])
    async with running(informer_of(source)):
        await asyncio.sleep(301)
        assert source.verbs() == ["list", "watch", "watch"]
        assert source.query(2)["resourceVersion"] == "150"
        assert source.queries[2][0] == pytest.approx(300, abs=0.01)


async def test_a_broken_connection_is_watched_again_without_a_list() -> None:
    source = Script([page()], [[event("ADDED", thing("a", 120)), UnreachableError("reset")], [Silence]])
    async with running(informer_of(source)):
        await asyncio.sleep(5)
        assert source.verbs() == ["list", "watch", "watch"]
        assert source.query(2)["resourceVersion"] == "120"


async def test_a_half_open_connection_is_given_up_after_the_inactivity_timeout() -> None:
    source = Script([page()], [[event("ADDED", thing("a", 120)), Silence], [event("ADDED", thing("b", 130)), Silence]])
    async with running(informer_of(source, inactivity=120.0)) as changes:
        await asyncio.sleep(119)
        assert changes == [("added", "a@a")]
        await asyncio.sleep(3)
        assert changes == [("added", "a@a"), ("added", "b@b")]


@pytest.mark.parametrize(
    "gone", [[error_event(410, "Expired")], GoneError(410, "Expired", "old"), [error_event(500, "InternalError")]]
)
async def test_a_410_and_any_error_event_mean_a_new_list_that_notices_deletions(
    gone: list[Step] | Exception,
) -> None:
    source = Script(
        [page(thing("a", 1), thing("b", 2)), page(thing("b", 2), thing("c", 3), version=200)], [gone, [Silence]]
    )
    informer = informer_of(source)
    async with running(informer) as changes:
        await asyncio.sleep(5)
        assert source.verbs() == ["list", "watch", "list", "watch"]
        assert source.query(3)["resourceVersion"] == "200"
        # `b` has not changed, so nothing is said of it.
        assert changes == [("added", "a@a"), ("added", "b@b"), ("added", "c@c"), ("deleted", "a@a")]


async def test_a_namesake_with_a_new_uid_is_a_deletion_and_an_addition() -> None:
    source = Script(
        [page(thing("a", 1, uid="one")), page(thing("a", 7, uid="two"), version=8)],
        [GoneError(410, "Expired", "old"), [event("MODIFIED", thing("a", 9, uid="three"))]],
    )
    async with running(informer_of(source)) as changes:
        await asyncio.sleep(5)
        assert changes == [
            ("added", "a@one"),
            ("deleted", "a@one"),
            ("added", "a@two"),
            ("deleted", "a@two"),
            ("added", "a@three"),
        ]


async def test_the_late_word_of_a_namesakes_end_deletes_nothing() -> None:
    source = Script([page(thing("a", 5, uid="two"))], [[event("DELETED", thing("a", 4, uid="one")), Silence]])
    informer = informer_of(source)
    async with running(informer) as changes:
        await asyncio.sleep(1)
        assert changes == [("added", "a@two")]
        assert len(informer) == 1


async def test_a_list_that_breaks_off_between_two_pages_deletes_nothing() -> None:
    first = page(thing("a", 1), thing("b", 2))
    source = Script(
        [first, page(thing("a", 1), next_="more"), UnreachableError("reset"), first],
        [GoneError(410, "Expired", "old"), [Silence]],
    )
    async with running(informer_of(source)) as changes:
        await asyncio.sleep(5)
        assert changes == [("added", "a@a"), ("added", "b@b")]
        assert source.query(4) == {"limit": "500"}


async def test_a_continue_token_that_has_expired_begins_the_list_anew() -> None:
    source = Script([page(thing("a", 1), next_="old"), GoneError(410, "Expired", "x"), page(thing("b", 2))], [])
    async with running(informer_of(source)) as changes:
        await asyncio.sleep(5)
        assert changes == [("added", "a@a"), ("added", "b@b"), ("deleted", "a@a")]


async def test_a_refused_field_selector_is_given_up_and_objects_are_filtered_here() -> None:
    source = Script(
        [
            InvalidError(400, "BadRequest", "field label not supported"),
            page(thing("a", 1, group="ours"), thing("b", 2, group="theirs")),
        ],
        [[event("ADDED", thing("c", 3, group="theirs")), event("ADDED", thing("d", 4, group="ours"))]],
    )
    informer = informer_of(source, field_selector="spec.group=ours", filter=lambda item: item.spec.group == "ours")
    async with running(informer) as changes:
        await asyncio.sleep(0.1)
        assert changes == [("added", "a@a"), ("added", "d@d")]
    assert [query.get("fieldSelector") for _, _, query in source.queries[:3]] == ["spec.group=ours", None, None]
    assert source.queries[1][0] == pytest.approx(0, abs=0.01)


async def test_a_field_selector_that_is_served_goes_with_every_list_and_watch() -> None:
    source = Script([page()], [])
    async with running(informer_of(source, field_selector="a=b")):
        await asyncio.sleep(1)
    assert [query["fieldSelector"] for _, _, query in source.queries] == ["a=b", "a=b"]


async def test_an_object_that_is_kept_no_more_is_told_as_deleted() -> None:
    source = Script([page(thing("a", 1, size=1))], [[event("MODIFIED", thing("a", 2, size=0)), Silence]])
    async with running(informer_of(source, filter=lambda item: item.spec.size > 0)) as changes:
        await asyncio.sleep(1)
        assert changes == [("added", "a@a"), ("deleted", "a@a")]


async def test_only_what_lean_leaves_is_cached() -> None:
    def lean(item: Thing) -> Thing:
        return msgspec.structs.replace(item, spec=msgspec.structs.replace(item.spec, fat=""))

    source = Script([page(thing("a", 1, fat="x" * 999))], [[event("ADDED", thing("b", 2, fat="x" * 999)), Silence]])
    informer = informer_of(source, transform=lean)
    async with running(informer):
        await asyncio.sleep(1)
        assert [item.spec.fat for item in informer.items()] == ["", ""]


@pytest.mark.parametrize("line", [b"<html>503</html>", b"{}", b'{"type":"ADDED","object":7}', b"[1]"])
async def test_a_line_that_no_api_server_writes_means_a_new_list(line: bytes) -> None:
    source = Script([page()], [[line], [Silence]])
    async with running(informer_of(source)):
        await asyncio.sleep(5)
        assert source.verbs() == ["list", "watch", "list", "watch"]


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"metadata":{},"items":7}', b'{"metadata":{},"items":[7]}'])
async def test_a_page_that_cannot_be_read_is_asked_for_again(body: bytes) -> None:
    source = Script([body, page(thing("a", 1))], [])
    informer = informer_of(source)
    async with running(informer) as changes:
        await asyncio.sleep(5)
        assert changes == [("added", "a@a")]
        assert source.verbs() == ["list", "list", "watch"]


async def test_a_null_list_is_an_empty_one() -> None:
    source = Script([b'{"metadata":{"resourceVersion":"1"},"items":null}'], [])
    informer = informer_of(source)
    async with running(informer):
        await asyncio.sleep(1)
        assert informer.synced.is_set()


@pytest.mark.parametrize(
    "error",
    [
        UnreachableError("refused"),
        ServerError(503, "", "html"),
        ThrottledError(429, "", "text"),
        ForbiddenError(403, "Forbidden", "no"),
        NotFoundError(404, "", "404 page not found"),
        GoneError(410, "Expired", "x"),
        InvalidError(400, "BadRequest", "no"),
        ApiError(302, "", "x"),
    ],
)
async def test_an_error_that_stays_is_never_a_hot_loop(error: Exception) -> None:
    on_list = Script([error], [])
    on_watch = Script([page()], [error] * 1000)
    cut = Script([page()], [[bookmark(5)] for _ in range(2000)])
    async with running(informer_of(on_list)), running(informer_of(on_watch)), running(informer_of(cut)):
        await asyncio.sleep(300)
    assert 10 <= len(on_list.queries) < 30
    assert 10 <= len(on_watch.queries) < 60
    assert len(cut.queries) < 1300


async def test_retry_after_is_waited_for() -> None:
    source = Script([ThrottledError(429, "", "x", retry_after=50.0), page()], [])
    async with running(informer_of(source)):
        await asyncio.sleep(49)
        assert len(source.queries) == 1
        await asyncio.sleep(2)
        assert source.verbs() == ["list", "list", "watch"]


async def test_a_retry_after_of_an_hour_is_waited_for_a_minute() -> None:
    source = Script([ThrottledError(429, "", "x", retry_after=3600.0), page()], [])
    async with running(informer_of(source)):
        await asyncio.sleep(62)
        assert source.verbs() == ["list", "list", "watch"]


async def test_a_410_after_refused_connections_is_listed_again_at_once() -> None:
    refused = [UnreachableError("refused")] * 8
    source = Script([page()], [*refused, GoneError(410, "Expired", "old")])
    async with running(informer_of(source)):
        await asyncio.sleep(300)
        gone = source.verbs().index("list", 1)
        assert source.queries[gone][0] == source.queries[gone - 1][0]


async def test_a_429_neither_inherits_nor_lengthens_the_backoff_of_refused_connections() -> None:
    refused, throttled = UnreachableError("refused"), ThrottledError(429, "", "x", retry_after=1.0)
    source = Script([page()], [*[refused] * 8, throttled, [Silence]])
    async with running(informer_of(source)):
        await asyncio.sleep(300)
    at = [time for time, verb, _ in source.queries if verb == "watch"]
    assert at[9] - at[8] == pytest.approx(1.0)
    source = Script([page()], [*[throttled] * 5, refused])
    async with running(informer_of(source)):
        await asyncio.sleep(100)
    at = [time for time, verb, _ in source.queries if verb == "watch"]
    assert at[6] - at[5] <= 0.5


async def test_a_resource_that_is_missing_is_said_once_and_found_later(lines: Lines) -> None:
    source = Script([NotFoundError(404, "", "404 page not found")] * 5 + [page(thing("a", 1))], [])
    informer = informer_of(source)
    async with running(informer) as changes:
        await asyncio.sleep(2)
        missing = [informer.resource_missing]
        assert not informer.synced.is_set()
        await informer.synced.wait()
        missing.append(informer.resource_missing)
        assert changes == [("added", "a@a")]
    assert missing == [True, False]
    assert [line["log_level"] for line in lines if "is the CRD installed" in line["event"]] == ["warning"]


async def test_a_resource_that_goes_missing_deletes_nothing() -> None:
    source = Script(
        [page(thing("a", 1)), NotFoundError(404, "", "starting"), page(thing("a", 1))],
        [GoneError(410, "Expired", "x"), [Silence]],
    )
    async with running(informer_of(source)) as changes:
        await asyncio.sleep(10)
        assert source.verbs() == ["list", "watch", "list", "list", "watch"]
        assert changes == [("added", "a@a")]


async def test_a_missing_right_is_said_with_the_resource_and_the_namespace(lines: Lines) -> None:
    source = Script([ForbiddenError(403, "Forbidden", "no")], [])
    async with running(informer_of(source, namespaces=("team",))):
        await asyncio.sleep(1)
    line = lines[0]
    assert (line["event"], line["log_level"]) == ("no right to list and watch", "warning")
    assert (line["resource"], line["namespace"]) == ("things.example.org", "team")


async def test_a_stuck_watch_can_be_told_from_outside() -> None:
    loop = asyncio.get_running_loop()
    informer = informer_of(Script([page()], [[1e6]]), inactivity=100.0, watch_timeout=(100.0, 200.0))
    assert not informer.is_stuck(loop.time() + 1e9)
    async with running(informer):
        await informer.synced.wait()
        await asyncio.sleep(299)
        assert not informer.is_stuck(loop.time())
        await asyncio.sleep(2)
        assert informer.is_stuck(loop.time())


async def test_an_api_server_that_is_away_is_silent_but_nothing_is_stuck() -> None:
    loop = asyncio.get_running_loop()
    source = Script([page()], [UnreachableError("refused")] * 1000)
    informer = informer_of(source, inactivity=100.0, watch_timeout=(100.0, 200.0))
    async with running(informer):
        await asyncio.sleep(5000)
        assert not informer.is_stuck(loop.time())
        assert loop.time() - informer.last_contact > 4000


async def test_a_quiet_cluster_without_bookmarks_is_not_stuck() -> None:
    loop = asyncio.get_running_loop()
    informer = informer_of(Script([page()], []), inactivity=100.0, watch_timeout=(100.0, 200.0))
    async with running(informer):
        await asyncio.sleep(5000)
        assert not informer.is_stuck(loop.time())


async def test_one_stuck_namespace_counts_for_all() -> None:
    loop = asyncio.get_running_loop()

    class OneHangs(Script):
        async def list(
            self, resource: Resource, namespace: str = "", *, query: Mapping[str, str] | None = None
        ) -> bytes:
            if namespace == "two":
                await asyncio.sleep(1e6)
            return await super().list(resource, namespace, query=query)

    informer = informer_of(OneHangs([page()], []), namespaces=("one", "two"))
    async with running(informer):
        await asyncio.sleep(informer.stale_after + 1)
        assert not informer.synced.is_set()
        assert informer.is_stuck(loop.time())


async def test_namespaces_are_listed_each_on_its_own() -> None:
    class ByNamespace(Script):
        async def list(
            self, resource: Resource, namespace: str = "", *, query: Mapping[str, str] | None = None
        ) -> bytes:
            return page(thing("a", 1, namespace=namespace))

    informer = informer_of(ByNamespace([page()], []), namespaces=("one", "two"))
    async with running(informer):
        await informer.synced.wait()
        assert {item.metadata.key for item in informer.items()} == {ObjectKey("one", "a"), ObjectKey("two", "a")}
        assert informer.get(ObjectKey("one", "a")) is not None
        assert informer.get(ObjectKey("three", "a")) is None


async def test_a_handler_that_fails_does_not_end_the_watch(lines: Lines) -> None:
    def broken(_: Change[Thing]) -> None:
        raise RuntimeError("bug")

    source = Script([page(thing("a", 1), thing("b", 2))], [])
    informer = informer_of(source)
    informer.add_handler(broken)
    async with running(informer) as changes:
        await asyncio.sleep(1)
        assert changes == [("added", "a@a"), ("added", "b@b")]
    assert [(line["namespace"], line["name"]) for line in lines if line["log_level"] == "error"] == [
        ("ns", "a"),
        ("ns", "b"),
    ]
