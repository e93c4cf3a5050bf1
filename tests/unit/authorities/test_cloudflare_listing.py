"""The pages of a zone: shared by looks that may, read again by those that may not."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from issuer.authorities.cloudflare_api import AnswerTooLong, Reply
from issuer.authorities.cloudflare_listing import KEEP, Listing, Listings

pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


class Zone:
    """So many records, and how its pages are read; one that is longer than `longest` cannot be."""

    def __init__(self, count: int, *, longest: int = 50) -> None:
        self.ids = [f"c{number}" for number in range(count)]
        self.longest = longest
        self.listing = Listing()
        self.read: list[tuple[int, int]] = []

    async def answer(self, page: int, size: int) -> Reply:
        self.read.append((page, size))
        await asyncio.sleep(1)
        if size > self.longest:
            raise AnswerTooLong("edge", ambiguous=False, status=200, trace_id=None)
        shown = [{"id": id_} for id_ in self.ids[(page - 1) * size : page * size]]
        return Reply(result=shown, info={"total_count": len(self.ids)}, status=200, trace_id=None)

    async def look(self, since: float, most: int = 10_000) -> list[Any]:
        found: list[Any] = []
        async with aclosing(self.listing.records(since, self.answer)) as records:
            async for record in records:
                found.append(record["id"])
                if len(found) == most:
                    break
        return found


async def test_a_page_that_was_read_after_the_loss_serves_the_next_look_too() -> None:
    zone = Zone(120)
    assert await zone.look(now()) == zone.ids
    assert await zone.look(0.0) == zone.ids
    assert zone.read == [(1, 50), (2, 50), (3, 50)]


async def test_a_record_that_has_moved_on_to_a_page_that_was_read_before_is_not_missed() -> None:
    zone = Zone(120)
    begun = now()
    await zone.look(begun)
    zone.ids.insert(0, "new")
    del zone.listing._pages[1]
    assert await zone.look(begun) == zone.ids


async def test_a_page_from_before_the_loss_is_read_again() -> None:
    zone = Zone(10)
    await zone.look(now())
    zone.ids.insert(0, "late")
    assert await zone.look(now()) == zone.ids
    assert zone.read == [(1, 50), (1, 50)]


async def test_looks_at_the_same_time_wait_for_the_same_pages() -> None:
    zone = Zone(120)
    assert await asyncio.gather(*(zone.look(now()) for _ in range(20))) == [zone.ids] * 20
    assert len(zone.read) == 3


async def test_a_look_that_ends_early_has_left_its_pages_for_the_next() -> None:
    zone, begun = Zone(120), now()
    await zone.look(begun, most=60)
    await zone.look(begun)
    assert zone.read == [(1, 50), (2, 50), (3, 50)]


async def test_where_a_page_is_too_long_smaller_ones_are_read_from_then_on() -> None:
    zone = Zone(25, longest=10)
    assert await zone.look(now()) == zone.ids
    assert await zone.look(now()) == zone.ids
    assert zone.read == [(1, 50), *[(page, 10) for page in (1, 2, 3)] * 2]


async def test_where_the_smallest_page_is_too_long_the_look_fails() -> None:
    zone = Zone(25, longest=1)
    with pytest.raises(AnswerTooLong):
        await zone.look(now())
    assert [size for _, size in zone.read] == [50, 10, 2]


async def test_each_zone_of_an_account_has_a_listing_that_is_forgotten_after_a_while() -> None:
    listings = Listings()
    one = listings.of("account", "zone")
    assert listings.of("account", "other") is not one
    await asyncio.sleep(KEEP - 1)
    assert listings.of("account", "zone") is one
    await asyncio.sleep(KEEP + 1)
    assert listings.of("account", "zone") is not one
