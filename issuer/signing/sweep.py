"""Clearing up: look for certificates that nobody received, and revoke them.

Signing comes first: the sweep takes a place in flight only if one is free within a second, stops at an account at the
first failure, and does not touch one that is not well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import structlog

from issuer.authorities.base import CallTimeouts
from issuer.authorities.errors import AuthorityError, RateLimited, Rejected, Unavailable, Unsupported
from issuer.signing.calls import guarded, observed
from issuer.signing.limits import SentAwayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from issuer.authorities.base import Session, Signed
    from issuer.signing.account import Account
    from issuer.signing.orphans import Suspicion
    from issuer.signing.seats import Seat
    from issuer.signing.turn import Desk

PATIENCE: Final = 1.0
"""Seconds to wait for a place in flight."""
LONGEST: Final = 30.0
"""Seconds that one call of the sweep may take."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Identify(Protocol):
    """Reads fingerprint and begin of life from the leaf of a chain (PEM); None if it is unreadable."""

    def __call__(self, chain: bytes) -> tuple[str, datetime] | None:
        """The SHA-256 of the leaf in hex, and its notBefore."""
        ...


class Sweep:
    """One round through what may have been left behind."""

    def __init__(self, desk: Desk, identify: Identify) -> None:
        self._desk = desk
        self._identify = identify
        self._skip: set[str] = set()

    async def run(self) -> None:
        """Look at everything that is due, once; ends early, and quietly, where the guard allows no more calls."""
        for entry in list(self._desk.orphans.due()):
            if not self._allowed():
                return
            if entry.account in self._skip:
                continue
            try:
                await self._clear(entry)
            except AuthorityError as error:
                self._skip.add(entry.account)
                log.info("orphans are left for later", authority=entry.planned.name, error=str(error))
            except Exception as error:
                if self._allowed():
                    raise
                log.info("clearing up has stopped", error=str(error) or type(error).__name__)
                return

    def _allowed(self) -> bool:
        try:
            self._desk.guard()
        except Exception:  # noqa: BLE001 - whatever the guard raises, it says no
            return False
        return True

    async def _clear(self, entry: Suspicion) -> None:
        orphans = self._desk.orphans
        seat, session, account = await self._resolve(entry)
        for handle, fingerprint in list(entry.records.items()):
            if orphans.condemn(entry, handle, fingerprint, None):
                await self._revoke(entry, handle, (seat, session, account))
        if not orphans.find_due(entry):
            return
        sent = self._desk.clock()
        found = await self._find(entry, (seat, session, account))
        done = session.account == entry.account
        for signed in found:
            leaf = self._identify(signed.chain)
            if leaf and orphans.condemn(entry, signed.handle, *leaf):
                await self._revoke(entry, signed.handle, (seat, session, account))
        if done:
            orphans.looked(entry, sent)

    async def _resolve(self, entry: Suspicion) -> tuple[Seat, Session, Account]:
        """The authority as it is configured now; a rotated credential may be the only one that still works."""
        seats = self._desk.seats
        planned = seats.current(entry.issuer, entry.planned)
        seat = seats.seat(planned)
        session = await guarded(planned, planned.authority.session, self._desk.clock() + LONGEST)
        return seat, session, seats.take(seat, session.account)

    async def _find(self, entry: Suspicion, at: tuple[Seat, Session, Account]) -> tuple[Signed, ...]:
        seat, session, account = at
        return await self._call("find", seat, account, lambda timeouts: session.find(entry.order, timeouts))

    async def _revoke(self, entry: Suspicion, handle: str, at: tuple[Seat, Session, Account]) -> None:
        seat, session, account = at
        self._desk.guard()
        try:
            await self._call("revoke", seat, account, lambda timeouts: session.revoke(handle, timeouts))
        except (Rejected, Unsupported) as error:
            log.warning("an orphan cannot be revoked", authority=seat.planned.name, handle=handle, error=str(error))
        else:
            log.info("revoked a certificate that nobody received", authority=seat.planned.name, handle=handle)
        self._desk.orphans.cleared(entry, handle)

    async def _call(self, call: str, seat: Seat, account: Account, make: Callable[[CallTimeouts], Awaitable[T]]) -> T:
        clock, name = self._desk.clock, seat.planned.name
        if obstacle := self._obstacle(account, name):
            raise obstacle
        try:
            slot = await account.limits.acquire(clock() + PATIENCE)
        except (TimeoutError, SentAwayError):
            raise Unavailable(name, "busy") from None
        try:
            if obstacle := self._obstacle(account, name):
                raise obstacle
            timeouts = seat.planned.common.timeouts
            longest = min(LONGEST, timeouts.attempt.seconds)
            limits = CallTimeouts(
                connect=min(longest, timeouts.connect.seconds), read=min(longest, timeouts.read.seconds)
            )
            return await observed(self._desk.observer, seat, call, lambda: make(limits), clock() + longest)
        except RateLimited as error:
            account.limited(error.retry_after)
            raise
        finally:
            slot.release()

    @staticmethod
    def _obstacle(account: Account, name: str) -> AuthorityError | None:
        """Only an account that is well: the probe of an open breaker is a signature, not a look."""
        return account.obstacle(name) or (None if account.breaker.closed else Unavailable(name, "it is down"))
