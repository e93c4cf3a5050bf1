"""The certificates of a zone, page by page: read when a look needs them, and shared by all looks that may.

A look goes through the records of a zone, up to 2,000 of them, and every page is a call that the provider counts. After
a restart there may be hundreds of looks at once, so a page that was read is kept for a while: a look takes it if it was
read after what it looks for may have been made. Looks that come at the same time wait for the same page instead of
reading it each; and one that runs out of time has left its pages for the next.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from issuer.authorities.cloudflare_api import AnswerTooLong

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    from issuer.authorities.cloudflare_api import Reply

PAGE_SIZES: Final = (50, 10, 2)
"""Records in a page: the most that the provider allows; fewer where such a page is too long to be read."""
MAX_RECORDS: Final = 2000
"""Records that one look reads, so up to 40 pages, a thirtieth of the calls that a user has in five minutes."""
KEEP: Final = 300.0
"""Seconds for which a page is of use."""
FIELDS: Final = ("id", "certificate", "hostnames", "revoked_at")
"""What is kept of a record."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """Some records, and how many pages there are.

    Attributes:
        asked: loop time at which it was asked for.
        records: as the API gives them, but for what nobody reads.
        is_last: there were fewer than there could have been.
        total: pages in all, if the API says so.
    """

    asked: float
    records: list[dict[str, Any]]
    is_last: bool
    total: int | None


class Listing:
    """The pages of one zone (or of all an account's zones).

    Attributes:
        used: loop time of the last look.
    """

    def __init__(self) -> None:
        self.used = 0.0
        self._pages: dict[int, Page] = {}
        self._size = 0
        self._reading = asyncio.Lock()

    async def records(
        self, since: float, read: Callable[[int, int], Awaitable[Reply]]
    ) -> AsyncGenerator[dict[str, Any], None]:
        """All records, the newest among them first as far as that can be known.

        The provider documents no order of its records, so where there are more than one look reads, they are read from
        both ends inwards: whichever way they are sorted by age, the newest are among them.

        Args:
            since: loop time; pages that were asked for before are read again.
            read: reads a page, given its number (from 1) and its size.

        Raises:
            AuthorityError: as `read`.
        """
        seen = -1
        while seen != self._size:
            seen = self._size
            try:
                async with aclosing(self._sized(since, read)) as records:
                    async for record in records:
                        yield record
            except AnswerTooLong:
                if seen != self._size:
                    continue
                if self._size + 1 >= len(PAGE_SIZES):
                    raise
                self._size += 1
                self._pages.clear()
                log.info("a page of certificates is too long, smaller ones are read", size=PAGE_SIZES[self._size])

    async def _sized(
        self, since: float, read: Callable[[int, int], Awaitable[Reply]]
    ) -> AsyncGenerator[dict[str, Any], None]:
        size = PAGE_SIZES[self._size]
        first = await self._page(1, since, read)
        asked = first.asked
        for record in first.records:
            yield record
        if first.total is None and first.is_last:
            return
        for number in _further(first.total, MAX_RECORDS // size):
            # A record moves on to the next page when another one comes before it: no page may be older than the last.
            page = await self._page(number, asked, read)
            asked = page.asked
            for record in page.records:
                yield record
            if first.total is None and page.is_last:
                return

    async def _page(self, number: int, since: float, read: Callable[[int, int], Awaitable[Reply]]) -> Page:
        async with self._reading:
            page = self._pages.get(number)
            if page is None or page.asked < since:
                asked = asyncio.get_running_loop().time()
                size = PAGE_SIZES[self._size]
                reply = await read(number, size)
                found = reply.result if isinstance(reply.result, list) else []
                records = [{name: one.get(name) for name in FIELDS} for one in found if isinstance(one, dict)]
                page = self._pages[number] = Page(asked, records, len(found) < size, _total(reply, size))
                if number == 1 and page.total is not None and page.total * size > MAX_RECORDS:
                    log.warning("more certificates in the zone than one look reads", pages=page.total)
            return page


class Listings:
    """The listings of all zones, by account and zone; what is too old is forgotten."""

    def __init__(self) -> None:
        self._listings: dict[tuple[str, str], Listing] = {}

    def of(self, account: str, zone: str) -> Listing:
        """That of one zone; an empty zone stands for all that the account sees."""
        now = asyncio.get_running_loop().time()
        for key in [key for key, one in self._listings.items() if one.used < now - KEEP]:
            del self._listings[key]
        listing = self._listings.setdefault((account, zone), Listing())
        listing.used = now
        return listing


def _total(reply: Reply, size: int) -> int | None:
    """Pages there are, if the provider says so in a way that can be true."""
    total, count = reply.info.get("total_pages"), reply.info.get("total_count")
    if type(total) is int and total >= 0:
        return total
    return -(-count // size) if type(count) is int and count >= 0 else None


def _further(total: int | None, most: int) -> Iterator[int]:
    """The pages after the first, as many as one look may read: from both ends inwards, or one after the other."""
    if total is None or total <= most:
        yield from range(2, (most if total is None else total) + 1)
        return
    for front in range(1, most // 2 + 1):
        if front > 1:
            yield front
        yield total - front + 1
