"""Clean-up: find the certificates that nobody received, and revoke them.

It comes last at the account's limits, takes a place only if one is free within a second, and leaves an account alone
that is not well. What fails is tried again ever later, and holds nothing else up: of an account only what is the
account's own trouble ends the round, or several failures in it.
"""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from issuer.authorities.errors import AuthorityError, RateLimited, Rejected, Unauthorized, Unsupported
from issuer.signing.calls import observed, open_session
from issuer.signing.failures import BreakerOpen, CutOff, NotAsked, QueueTooLong
from issuer.signing.limits import Priority, SentAwayError
from issuer.signing.permit import call_timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from issuer.authorities.base import CallTimeouts, Session
    from issuer.signing.account import Account
    from issuer.signing.context import EngineContext
    from issuer.signing.entry import Entry
    from issuer.signing.registry import AuthorityState

PATIENCE: Final = 1.0
"""Seconds to wait for a place in flight."""
LONGEST: Final = 30.0
"""Seconds that one operation may take."""
MOST_FAILURES: Final = 3
"""Failures at an account after which the rest of it is left for the next round."""

log = structlog.get_logger(__name__)


def identify(chain: bytes) -> tuple[str, datetime] | None:
    """Fingerprint (SHA-256, hex) and notBefore of the first certificate of a chain; None if there is none."""
    try:
        leaf = x509.load_pem_x509_certificate(chain)
    except ValueError:
        return None
    return leaf.fingerprint(hashes.SHA256()).hex(), leaf.not_valid_before_utc


class Cleanup:
    """The chore.

    Args:
        identify: reads fingerprint and begin of life from the leaf of a chain; None if it is unreadable.
    """

    def __init__(
        self, engine: EngineContext, identify: Callable[[bytes], tuple[str, datetime] | None] = identify
    ) -> None:
        self._engine = engine
        self._identify = identify
        self._is_running = False

    async def run(self) -> None:
        """One round; ends early, and quietly, where the guard allows no more calls. Only one at a time."""
        if self._is_running:
            return
        self._is_running = True
        try:
            await self._round()
        finally:
            self._is_running = False

    async def _round(self) -> None:
        failures: Counter[str] = Counter()
        for entry in self._engine.ledger.due():
            if failures[entry.account] >= MOST_FAILURES:
                continue
            try:
                self._engine.guard()
                await self._clean_up(entry)
            except AuthorityError as error:
                if not isinstance(error, NotAsked):
                    self._engine.ledger.failed(entry)
                failures[entry.account] += MOST_FAILURES if _is_the_accounts(error) else 1
                log.info("an orphan is left for later", **entry.fields, error=str(error))
            except Exception as error:
                if self._may_call():
                    raise
                log.info("cleaning up has stopped", error=str(error) or type(error).__name__)
                return

    async def _clean_up(self, entry: Entry) -> None:
        """Revoke what is known to be an orphan, and look for what may be one.

        Raises:
            AuthorityError: something is left to be done.
        """
        engine, ledger = self._engine, self._engine.ledger
        # As it is configured now; a rotated credential may be the only one that still works.
        authority = engine.registry.current(entry.authority)
        session, account = await open_session(engine.registry, authority, engine.clock() + LONGEST)
        for handle, fingerprint in list(entry.made.items()):
            if ledger.orphaned(entry, handle, fingerprint, None):
                await self._revoke(entry, handle, authority, session, account)
        if not ledger.look_due(entry):
            return
        begun = engine.clock()
        orphans: list[str] = []
        async with self._call("find", authority, account) as timeouts:
            async for signed in session.find(entry.order, timeouts, since=max(entry.lost, min(begun, entry.over))):
                leaf = self._identify(signed.chain)
                if leaf and ledger.orphaned(entry, signed.handle, *leaf):
                    # Whatever becomes of the look, this one is known from here on.
                    ledger.made(entry.order, authority, entry.account, signed.handle, leaf[0])
                    orphans.append(signed.handle)
        for handle in orphans:
            await self._revoke(entry, handle, authority, session, account)
        ledger.looked(entry.order.uid, authority, account.name, begun)

    async def _revoke(
        self, entry: Entry, handle: str, authority: AuthorityState, session: Session, account: Account
    ) -> None:
        self._engine.guard()
        try:
            async with self._call("revoke", authority, account) as timeouts:
                await session.revoke(handle, timeouts)
        except (Rejected, Unsupported) as error:
            log.warning("an orphan cannot be revoked", **entry.fields, handle=handle, error=str(error))
            self._engine.observer.orphan(authority.issuer, authority.name, "unrevocable")
        else:
            log.info("revoked a certificate that nobody received", **entry.fields, handle=handle)
            self._engine.observer.orphan(authority.issuer, authority.name, "revoked")
        self._engine.ledger.cleared(entry, handle)

    @asynccontextmanager
    async def _call(self, call: str, authority: AuthorityState, account: Account) -> AsyncIterator[CallTimeouts]:
        """A block that makes calls, with a place in flight; only at an account that is well."""
        clock = self._engine.clock
        _check(account, authority.name)
        try:
            slot = await account.limits.acquire(clock() + PATIENCE, Priority.CLEAN_UP)
        except (TimeoutError, SentAwayError):
            limits = account.limits
            raise QueueTooLong(authority.name, waiting=limits.waiting, settings=limits.settings) from None
        try:
            _check(account, authority.name)
            timeouts = authority.planned.common.timeouts
            end = clock() + LONGEST
            async with observed(self._engine.observer, authority, call, end):
                yield call_timeouts(timeouts, slot, min(LONGEST, timeouts.attempt.seconds), end)
        except RateLimited as error:
            if not isinstance(error, NotAsked):
                account.limited(error.retry_after)
            raise
        finally:
            slot.release()

    def _may_call(self) -> bool:
        try:
            self._engine.guard()
        except Exception:  # noqa: BLE001 - whatever the guard raises, it says no
            return False
        return True


def _check(account: Account, authority: str) -> None:
    """The probe of an open breaker is a signature, not a look."""
    if blocked := account.blocked(authority):
        raise blocked
    if not account.breaker.closed:
        raise BreakerOpen(authority, failures=account.breaker.failures, until=None, last=account.last_error)


def _is_the_accounts(error: AuthorityError) -> bool:
    """Whether everything else at this account would fail as well."""
    return isinstance(error, RateLimited | Unauthorized | CutOff | NotAsked)
