"""Children: who is told of their end, and which of them are tidied up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from issuer.api.condition import Condition
from issuer.api.meta import ObjectKey, ObjectMeta, OwnerReference, format_time
from issuer.api.request import CertificateRequest, RequestStatus
from issuer.controllers import children
from issuer.controllers.children import ChildController
from issuer.controllers.topics import ChildChanged, Topics
from issuer.kube.errors import ConflictError, ForbiddenError, LeaseLostError, UnreachableError
from issuer.kube.informer import Change

if TYPE_CHECKING:
    from issuer.kube.resource import Resource

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
PENDING = Condition("Ready", "False", "Pending")


def child(
    name: str, *conditions: Condition, parent: str = "site-1", age: timedelta = timedelta(0)
) -> CertificateRequest:
    owners = (OwnerReference("CertificateRequest", parent, f"uid of {parent}"),) if parent else ()
    metadata = ObjectMeta(
        name=name,
        namespace="shop",
        uid=f"uid of {name}",
        resource_version="7",
        creation_timestamp=format_time(NOW - age),
        owner_references=owners,
    )
    return CertificateRequest(metadata, status=RequestStatus(conditions))


class World:
    """Children in a cache, and requests that have ended."""

    def __init__(self, *known: CertificateRequest, over: tuple[str, ...] = ()) -> None:
        self.known, self.over = list(known), over
        self.deleted: list[str] = []
        self.errors: list[Exception] = []
        self.told: list[str] = []
        topics = Topics()
        topics.subscribe(ChildChanged, lambda news: self.told.append(news.parent))
        self.controller = ChildController(
            client=cast("Any", self),
            children=cast("Any", self),
            is_over=self.is_over,
            topics=topics,
            now=lambda: NOW,
        )

    def add_handler(self, _: object) -> None:
        """As an informer."""

    def items(self) -> list[CertificateRequest]:
        return self.known

    def is_over(self, key: ObjectKey, uid: str) -> bool:
        assert key.namespace == "shop"
        assert uid == f"uid of {key.name}"
        return key.name in self.over

    async def delete(self, _resource: Resource, _namespace: str, name: str, *, body: bytes) -> bytes:
        assert b'"uid"' in body
        if self.errors:
            raise self.errors.pop(0)
        self.deleted.append(name)
        return b"{}"


@pytest.mark.parametrize(
    "conditions",
    [
        (Condition("Ready", "True", "Issued"),),
        (Condition("Ready", "False", "Failed"),),
        (Condition("Denied", "True"),),
        (Condition("InvalidRequest", "True"),),
    ],
)
async def test_the_request_is_told_that_its_child_has_ended(conditions: tuple[Condition, ...]) -> None:
    world = World()
    world.controller.observe(Change(child("a", PENDING), child("a", *conditions)))
    assert world.told == ["uid of site-1"]


async def test_news_on_the_way_are_none() -> None:
    world = World()
    world.controller.observe(Change(None, child("a")))
    world.controller.observe(Change(child("a"), child("a", Condition("Approved", "True"), PENDING)))
    assert world.told == []


async def test_a_child_that_we_have_deleted_does_not_end_the_pause_before_the_next_one() -> None:
    world = World()
    for before in (child("a", PENDING), child("a", Condition("Ready", "False", "Failed"))):
        world.controller.observe(Change(before, None))
    assert world.told == []


async def test_only_what_nobody_waits_for_is_deleted() -> None:
    world = World(
        child("waits", PENDING, parent="open"),
        child("left", PENDING, parent="ended"),
        child("signed", Condition("Ready", "True", "Issued"), parent="ended"),
        child("rehearsed", PENDING, parent="", age=timedelta(minutes=5)),
        child("forgotten", Condition("Ready", "True", "Issued"), parent="", age=timedelta(hours=2)),
        over=("ended",),
    )
    await world.controller.tidy()
    assert world.deleted == ["left", "forgotten"]


async def test_one_that_has_changed_is_passed_over_and_a_missing_right_ends_the_round() -> None:
    left = [child(name, PENDING, parent="ended") for name in "abc"]
    for error, deleted in (
        (ConflictError(409, "Conflict", "changed"), ["b", "c"]),
        (UnreachableError("no answer"), ["b", "c"]),
        (ForbiddenError(403, "Forbidden", "no right"), []),
    ):
        world = World(*left, over=("ended",))
        world.errors = [error]
        await world.controller.tidy()
        assert world.deleted == deleted
    world = World(*left, over=("ended",))
    world.errors = [LeaseLostError("lost")]
    with pytest.raises(LeaseLostError):
        await world.controller.tidy()


async def test_nothing_is_deleted_once_it_drains() -> None:
    world = World(child("left", PENDING, parent="ended"), over=("ended",))
    await world.controller.start()
    running = asyncio.create_task(world.controller.run())
    await world.controller.drain(1)
    await world.controller.tidy()
    await running
    assert world.deleted == []
    assert world.controller.measures() == ()
    assert not await world.controller.flush()


def test_one_that_has_ended_keeps_whose_it_is() -> None:
    ended = child("a", Condition("Ready", "True", "Issued", "a long story"), age=timedelta(hours=1))
    kept = children._ended(ended)
    assert kept.metadata.owner_references == ended.metadata.owner_references
    assert kept.metadata.created == ended.metadata.created
    assert kept.is_finished
