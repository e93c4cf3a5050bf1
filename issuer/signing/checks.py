"""Cheap calls that tell whether a credential is good, and the watch for one that has replaced a bad one.

What a check tells belongs to the account: issuers that share it share the answer, however many they are. It proves
nothing of signing, so it closes no breaker and takes back no refusal of a signature.

Secrets are not watched, since that needs the right to list them all. While an authority has no good credential, its
Secret is read every few seconds, so that requests which wait for a better one need not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from issuer.authorities.errors import AuthorityError, RateLimited, Unauthorized
from issuer.signing.attempt import RESOLVE
from issuer.signing.calls import observed, open_session, read_roots
from issuer.signing.limits import Priority, SentAwayError
from issuer.signing.permit import call_timeouts

if TYPE_CHECKING:
    from issuer.authorities.base import Session
    from issuer.signing.account import Account
    from issuer.signing.context import EngineContext
    from issuer.signing.plan import PlannedAuthority
    from issuer.signing.registry import AuthorityState

PATIENCE: Final = 10.0
"""Seconds that a check waits for our own limits."""
CHECK_EVERY: Final = 240.0
"""Seconds for which an answer is good."""
CHECK_EVERY_WHEN_UNWELL: Final = 15.0
"""The same, while something is wrong."""
WATCH_EVERY: Final = 5.0
"""Seconds between two looks for a replaced credential."""
MOST_READS: Final = 20
"""Secrets that are read in one of them, so that many issuers without one are no load."""


class Checks:
    """Asks whether credentials are good, and remembers the answers at the accounts."""

    def __init__(self, engine: EngineContext) -> None:
        self._engine = engine
        self._turn = 0

    async def check(self, planned: PlannedAuthority) -> None:
        """Ask, unless the account has been asked lately, or its breaker is open, or it wants no calls.

        A failure is remembered, not raised.
        """
        engine = self._engine
        authority = engine.registry.state(planned)
        until = engine.clock() + RESOLVE
        try:
            session, account = await open_session(engine.registry, authority, until)
            await read_roots(engine.registry, authority, until)
        except AuthorityError:
            return
        async with account.checking:
            is_unwell = account.check_refusal or account.check_error
            every = CHECK_EVERY_WHEN_UNWELL if is_unwell else CHECK_EVERY
            if engine.clock() - account.checked >= every and account.breaker.closed and not account.limited_for:
                await self._ask(authority, session, account)

    async def watch_credentials(self) -> None:
        """Read the Secrets of those that have no good credential; what has changed is told by the registry."""
        engine = self._engine
        authorities = engine.registry.without_credential()
        start = self._turn % max(1, len(authorities))
        self._turn = start + MOST_READS
        for authority in (authorities[start:] + authorities[:start])[:MOST_READS]:
            until = engine.clock() + RESOLVE
            try:
                await open_session(engine.registry, authority, until, fresh=True)
                await read_roots(engine.registry, authority, until)
            except AuthorityError:
                continue

    async def _ask(self, authority: AuthorityState, session: Session, account: Account) -> None:
        engine = self._engine
        try:
            slot = await account.limits.acquire(engine.clock() + PATIENCE, Priority.CHECK)
        except (TimeoutError, SentAwayError):
            return
        timeouts = authority.planned.common.timeouts
        longest = timeouts.attempt.seconds
        end = engine.clock() + longest
        account.checked = engine.clock()
        try:
            if account.breaker.closed:
                async with observed(engine.observer, authority, "check", end):
                    await session.check(call_timeouts(timeouts, slot, longest, end))
                account.check_accepted()
        except Unauthorized as error:
            account.check_refused(error)
        except RateLimited as error:
            account.limited(error.retry_after)
        except AuthorityError as error:
            account.check_failed(error)
        finally:
            slot.release()
