"""Reasons to look at requests that concern many at once: by index, some at a time, and none is forgotten."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from issuer.api.issuer import GROUP
from issuer.api.meta import ObjectKey
from issuer.api.request import CertificateRequest
from issuer.controllers.agenda import Agenda
from issuer.controllers.approval import ApprovalWatch
from issuer.controllers.certificaterequests import RESOURCE
from issuer.controllers.issuercache import IssuerCache, IssuerId
from issuer.controllers.memory import RequestId, RequestMemory
from issuer.controllers.triggers import AT_A_TIME, RequestTriggers
from issuer.kube.informer import Change, Informer
from issuer.kube.queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    from issuer.kube.reflector import Source

pytestmark = pytest.mark.looptime

WEB = IssuerId("CDNIssuer", ObjectKey("shop", "web"))
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Listed:
    """A source of one page and of no news."""

    def __init__(self, *requests: dict[str, Any]) -> None:
        self._page = json.dumps({"metadata": {"resourceVersion": "9"}, "items": requests}).encode()

    async def list(self, *_: Any, **__: Any) -> bytes:
        return self._page

    async def stream(self, *_: Any, **__: Any) -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(1e9)
        yield b""


class Book:
    """Knows no issuer, and serves them all."""

    def find(self, _: IssuerId) -> None:
        return None

    def deadline(self, _: IssuerId) -> float | None:
        return None

    def serves(self, _: object) -> bool:
        return True


class Walked(Informer[CertificateRequest]):
    """An informer whose objects may be found, and not walked over."""

    def items(self) -> Iterable[CertificateRequest]:
        raise AssertionError("walked over all requests")


class Case:
    def __init__(self, *requests: dict[str, Any]) -> None:
        self.informer = Walked(cast("Source", Listed(*requests)), RESOURCE, item=CertificateRequest)
        self.memory = RequestMemory(asyncio.get_running_loop().time)
        self.queue: WorkQueue[RequestId] = WorkQueue()
        self.healed: list[int] = []
        self.suspected: list[str] = []
        self.triggers = RequestTriggers(
            requests=self.informer,
            book=cast("IssuerCache", Book()),
            memory=self.memory,
            agenda=Agenda(self.queue),
            approvals=ApprovalWatch(lambda *_: None),
            suspect=self.suspected.append,
            now=lambda: NOW,
            healed=self.healed.append,
        )

    @property
    def due(self) -> int:
        return self.queue.depth

    def look_at_all(self) -> None:
        """As a controller does: nothing is due any more, and each has a look in an hour."""
        for state in self.memory.all():
            self.queue._forget(state.id, self.queue._waiting[state.id])
            self.queue.add_after(state.id, 3600, lane="later")
            state.turn_due = asyncio.get_running_loop().time() + 3600


@asynccontextmanager
async def started(*requests: dict[str, Any]) -> AsyncIterator[Case]:
    case = Case(*requests)
    task = asyncio.create_task(case.informer.run())
    try:
        await case.informer.synced.wait()
        await case.triggers.start()
        yield case
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def requests(prefix: str, count: int, issuer: str, ready: str = "") -> list[dict[str, Any]]:
    conditions = [{"type": "Approved", "status": "True", "lastTransitionTime": NOW.isoformat()}]
    if ready:
        conditions.append({"type": "Ready", "status": "False", "reason": ready})
    return [
        {
            "metadata": {"namespace": "shop", "name": f"{prefix}-{number}", "uid": f"{prefix}-{number}"},
            "spec": {"issuerRef": {"group": GROUP, "kind": "CDNIssuer", "name": issuer}},
            "status": {"conditions": conditions},
        }
        for number in range(count)
    ]


async def test_a_start_takes_up_what_is_unfinished_and_suspects_it() -> None:
    async with started(
        *requests("a", 3, "web"), *requests("b", 2, "api"), *requests("old", 50, "web", "Failed")
    ) as case:
        assert case.due == 5
        assert sorted(case.suspected) == ["a-0", "a-1", "a-2", "b-0", "b-1"]


async def test_what_was_not_approved_at_the_start_is_not_suspected() -> None:
    """Nobody signs what is not approved, so no former process has."""
    (manifest,) = requests("a", 1, "web")
    manifest["status"]["conditions"] = []
    async with started(manifest) as case:
        assert case.suspected == []


async def test_what_was_approved_before_the_start_and_is_seen_later_is_suspected_too() -> None:
    async with started() as case:
        hour, second, minute = timedelta(hours=1), timedelta(seconds=1), timedelta(minutes=1)
        for uid, approved in (
            ("old", NOW - hour),
            ("a second before", NOW - second),
            ("at once", NOW),
            ("young", NOW + minute),
        ):
            (manifest,) = requests(uid, 1, "web")
            manifest["status"]["conditions"][0]["lastTransitionTime"] = approved.isoformat()
            seen = msgspec.convert(manifest, CertificateRequest)
            case.triggers.observe(Change(None, seen))
            case.triggers.observe(Change(seen, seen))
        assert case.suspected == ["old-0", "a second before-0"]


async def test_a_condition_that_we_write_ourselves_hurries_nothing() -> None:
    async with started(*requests("a", 1, "web")) as case:
        case.look_at_all()
        before, after = (
            msgspec.convert(requests("a", 1, "web", ready)[0], CertificateRequest) for ready in ("", "Pending")
        )
        case.triggers.observe(Change(before, after))
        assert case.due == 0
        denied = requests("a", 1, "web", "Pending")[0]
        denied["status"]["conditions"].append({"type": "Denied", "status": "True"})
        case.triggers.observe(Change(after, msgspec.convert(denied, CertificateRequest)))
        assert case.due == 1


async def test_a_request_that_has_ended_is_not_taken_up_again_while_the_cache_is_late() -> None:
    async with started(*requests("a", 1, "web")) as case:
        case.memory.close("a-0", lasting=True)
        seen = msgspec.convert(requests("a", 1, "web")[0], CertificateRequest)
        case.triggers.observe(Change(seen, seen))
        assert case.memory.get("a-0") is None


async def test_a_wake_is_for_the_requests_of_one_issuer() -> None:
    async with started(*requests("a", 3, "web"), *requests("b", 2, "api")) as case:
        case.look_at_all()
        case.triggers.wake(WEB)
        await asyncio.sleep(1)
        assert case.due == 3
        assert sorted(id_.uid for id_ in case.queue._waiting if case.queue._waiting[id_].is_ready) == [
            "a-0",
            "a-1",
            "a-2",
        ]


async def test_those_whose_certificate_ends_first_are_woken_first() -> None:
    async with started(*requests("a", 4, "web")) as case:
        case.look_at_all()
        ends = {"a-1": 9, "a-3": 2, "a-2": 5}
        case.triggers._expires = lambda request: (
            datetime(2026, 12, day, tzinfo=UTC) if (day := ends.get(request.metadata.uid)) else None
        )
        case.triggers.wake(WEB)
        assert list(case.triggers._woken) == ["a-3", "a-2", "a-1", "a-0"]


async def test_a_wake_of_thousands_leaves_the_loop_to_others_in_between() -> None:
    async with started(*requests("a", 7 * AT_A_TIME, "web")) as case:
        case.look_at_all()
        case.triggers.wake(WEB)
        assert all(state.turn_due < 0 for state in case.memory.all())
        turns = [case.due]
        while case.due < 7 * AT_A_TIME:
            await asyncio.sleep(0)
            turns.append(case.due)
        assert max(later - earlier for earlier, later in pairwise(turns)) <= AT_A_TIME


async def test_a_request_that_ends_before_its_turn_to_be_woken_is_passed_over() -> None:
    async with started(*requests("a", 2 * AT_A_TIME, "web")) as case:
        case.look_at_all()
        case.triggers.wake()
        for state in case.memory.all()[AT_A_TIME:]:
            case.memory.close(state.request.metadata.uid, lasting=False)
        await asyncio.sleep(1)
        assert case.due == AT_A_TIME


async def test_a_resync_heals_what_was_lost_and_lets_others_have_the_loop() -> None:
    async with started(*requests("a", 3 * AT_A_TIME, "web"), *requests("old", 50, "web", "Failed")) as case:
        for state in case.memory.all()[:5]:
            case.queue._forget(state.id, case.queue._waiting[state.id])
        resync, turns = asyncio.create_task(case.triggers.resync()), 0
        while not resync.done():
            turns += 1
            await asyncio.sleep(0)
        assert resync.result() == 5
        assert case.healed == [5]
        assert turns > 3


async def test_an_unapproved_request_whose_deletion_nobody_told_is_forgotten_by_the_resync() -> None:
    async with started() as case:
        (manifest,) = requests("a", 1, "web")
        manifest["status"]["conditions"] = []
        case.triggers.observe(Change(None, msgspec.convert(manifest, CertificateRequest)))
        assert case.memory.unapproved == 1
        await case.triggers.resync()
        assert case.memory.unapproved == 0


async def test_an_unapproved_request_that_is_still_there_is_not_forgotten_by_the_resync() -> None:
    (manifest,) = requests("a", 1, "web")
    manifest["status"]["conditions"] = []
    async with started(manifest) as case:
        await case.triggers.resync()
        assert case.memory.unapproved == 1


async def test_a_replica_that_only_follows_sets_no_alarms_when_an_issuer_changes() -> None:
    case = Case()
    (manifest,) = requests("a", 1, "web")
    seen = msgspec.convert(manifest, CertificateRequest)
    case.informer._parts[""]._put(seen)
    case.triggers.wake(WEB)
    await asyncio.sleep(1)
    case.informer._parts[""]._drop(seen.metadata)
    await asyncio.sleep(2 * 3600)
    assert case.due == 0


async def test_a_request_whose_approval_nobody_told_is_looked_at_with_its_next_news() -> None:
    async with started() as case:
        (manifest,) = requests("a", 1, "web")
        seen = msgspec.convert(manifest, CertificateRequest)
        case.triggers.observe(Change(seen, seen))
        assert case.due == 1
        case.look_at_all()
        case.triggers.observe(Change(seen, seen))
        assert case.due == 0


async def test_a_resync_takes_up_what_the_memory_has_lost_and_what_the_cache_shows_no_more() -> None:
    async with started(*requests("a", 2, "web")) as case:
        forgotten = case.memory.all()[0]
        case.memory.close(forgotten.request.metadata.uid, lasting=False)
        case.queue._forget(forgotten.id, case.queue._waiting[forgotten.id])
        case.memory.note(msgspec.convert(requests("deleted", 1, "web")[0], CertificateRequest), NOW)
        assert await case.triggers.resync() == 2
        assert sorted(state.request.metadata.uid for state in case.memory.all()) == ["a-0", "a-1", "deleted-0"]
        assert case.due == 3
