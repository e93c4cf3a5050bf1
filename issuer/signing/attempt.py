"""One authority's turn: its attempts, until it signs, refuses, or the time is used up.

Each attempt needs a permit of the account (`Account.permit`). The calls of a turn, and what a failure of each does:

    session, roots   the authority cannot sign until they can be read; nothing is asked
    look             nothing is known, and the suspicion stays; the POST goes out all the same
    POST             noted by the permit. Answered: nothing is left. Lost: the ledger suspects a certificate

A look goes out right before the POST that follows a lost one, not after the loss: what the provider signs during our
backoff is found that way. Only where no POST follows, because the next authority has its turn, one look more is made at
the end; and the look after a lost probe belongs to the probe. An account whose breaker is open is left alone: its look
is made up for when it is back.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.wait import wait_base

from issuer.authorities.errors import AuthorityError, InProgress, RateLimited, Unauthorized, Unavailable
from issuer.pki.verify import UntrustedError, WrongCertificateError
from issuer.signing.budget import LEAST
from issuer.signing.calls import observed, open_session, read_roots
from issuer.signing.failures import CutOff, NotAsked, TooSlow, Untrusted, WrongCertificate
from issuer.signing.limits import Priority, SentAwayError
from issuer.signing.permit import call_timeouts, permit

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

    from cryptography import x509

    from issuer.api.issuer import Retry
    from issuer.authorities.base import CallTimeouts, Session, Signed, SigningOrder
    from issuer.pki.verify import Verified
    from issuer.signing.account import Account
    from issuer.signing.budget import Budget
    from issuer.signing.context import EngineContext
    from issuer.signing.permit import Permit
    from issuer.signing.registry import AuthorityState

RESOLVE: Final = 30.0
"""Seconds that reading a credential or the roots from the cluster may take."""
LOOK_PATIENCE: Final = 1.0
"""Seconds that the look before a failover waits for a place."""

log = structlog.get_logger(__name__)


class FullJitter(wait_base):
    """Anything from 0 to a bound that doubles from `minBackoff` to `maxBackoff` (full jitter, AWS's term).

    tenacity's own strategy reads the global `random`.
    """

    def __init__(self, spec: Retry, random: random.Random) -> None:
        self._first = spec.min_backoff.seconds
        self._most = spec.max_backoff.seconds
        self._random = random

    def __call__(self, retry_state: RetryCallState) -> float:
        """Seconds before the next attempt."""
        bound = min(self._most, self._first * 2.0 ** (retry_state.attempt_number - 1))
        return self._random.uniform(0, bound)


async def ask(
    engine: EngineContext, authority: AuthorityState, order: SigningOrder, budget: Budget, *, single_attempt: bool
) -> Verified:
    """Give one authority its turn.

    Args:
        engine: what it works with.
        authority: who is asked.
        order: what to sign.
        budget: the time it has.
        single_attempt: ask once, and do not wait for the end of a rate limit.

    Raises:
        AuthorityError: how the last attempt failed; of `failures.NotAsked` if it was not asked at all.
        Exception: what the guard raises.
    """
    turn = Turn(engine, authority, order, budget, single_attempt=single_attempt)
    await turn.open()
    try:
        async for attempt in turn.attempts():
            with attempt:
                async with turn.permit() as permit:
                    if turn.is_suspected and (found := await turn.look(permit)):
                        return found
                    await permit.renew()
                    engine.guard()
                    return await turn.post(permit)
    except AuthorityError as error:
        if found := await turn.look_before_failover(error):
            return found
        raise turn.telling(error) from None
    raise AssertionError("the loop returns or raises")


class Turn:
    """What the attempts of one turn share: the session, the account, the roots."""

    def __init__(
        self,
        engine: EngineContext,
        authority: AuthorityState,
        order: SigningOrder,
        budget: Budget,
        *,
        single_attempt: bool,
    ) -> None:
        self._engine = engine
        self._authority = authority
        self._planned = authority.planned
        self._order = order
        self._budget = budget
        self._is_patient = not single_attempt
        self._attempts_left = 1 if single_attempt else self._planned.common.retry.attempts
        self._attempts = 0
        self._session: Session
        self._account: Account
        self._roots: tuple[x509.Certificate, ...] = ()
        self._backoff = FullJitter(self._planned.common.retry, engine.random)
        self._has_reread = False
        self._has_new_credential = False
        self._last: AuthorityError | None = None

    async def open(self) -> None:
        """Read the credential and the roots, before anything is asked, so that no certificate is made in vain.

        Raises:
            AuthorityError: they cannot be read, or the account is blocked, or what it signs meets none of the roots.
        """
        await self._read_credential(fresh=False)
        if blocked := self._account.blocked(self._authority.name, self._order.uid, patience=self._patience):
            raise blocked
        if self._account.is_refused:
            # The cool-down is over: whoever tries the credential next takes what is in the Secret by then.
            await self._read_credential(fresh=True)
            self._has_reread = True
        self._roots = await read_roots(self._engine.registry, self._authority, self._read_until)
        if (why := self._authority.untrusted) and self._authority.is_untrusted(self._order.uid, self._roots):
            raise why

    def attempts(self) -> AsyncRetrying:
        """The loop of the turn. It raises the last attempt's own exception."""
        return AsyncRetrying(
            stop=self._is_over,
            wait=self._wait,
            retry=retry_if_exception(self._is_worth_another),
            sleep=self._pause,
            reraise=True,
        )

    @asynccontextmanager
    async def permit(self) -> AsyncIterator[Permit]:
        """A permit for an attempt; once a turn, a refusal is answered by reading the Secret again.

        Raises:
            AuthorityError: how the attempt failed; of `failures.NotAsked` if there was none in this turn.
        """
        self._attempts += 1
        self._has_new_credential = False
        refused = self._account
        try:
            async with permit(
                refused,
                self._authority.name,
                self._order.uid,
                self._planned.common.timeouts,
                self._budget,
                patient=self._is_patient,
            ) as given:
                yield given
        except NotAsked as error:
            raise self._last or error from None
        except AuthorityError as error:
            self._last = self.telling(error)
            if isinstance(error, Unauthorized) and not self._has_reread:
                self._has_reread = True
                await self._read_credential(fresh=True)
                self._has_new_credential = self._account is not refused
            raise

    def telling(self, error: AuthorityError) -> AuthorityError:
        """The failure that says why: an attempt before, if this one was cut off by the deadline right away."""
        is_short = isinstance(error, CutOff) and error.is_short
        return self._last if is_short and self._last is not None and self._last.cause == error.cause else error

    @property
    def is_suspected(self) -> bool:
        """Whether a certificate may exist there already."""
        return self._planned.authority.remembers and self._engine.ledger.is_suspected(
            self._order.uid, self._authority, self._account.name
        )

    async def post(self, permit: Permit) -> Verified:
        """Have it sign, once.

        Raises:
            AuthorityError: it did not, or something else than what was asked for.
        """
        clock, ledger, account = self._engine.clock, self._engine.ledger, self._account
        sent, end = clock(), self._budget.attempt_end()
        try:
            async with observed(self._engine.observer, self._authority, "sign", end):
                signed = await self._session.sign(self._order, permit.timeouts(end))
                # The next call goes out before this answer is checked: a wait on the wire is worth more than our work.
                permit.answered()
                await asyncio.sleep(0)
                verified = self._verified(signed)
        except asyncio.CancelledError:
            if self._planned.authority.remembers:
                ledger.lost(self._order, self._authority, account.name, sent)
            raise
        except InProgress as error:
            raise self._patient_with(error, permit) from None
        except AuthorityError as error:
            self._log(error, clock() - sent)
            if not (isinstance(error, Unavailable) and error.ambiguous and self._planned.authority.remembers):
                raise
            ledger.lost(self._order, self._authority, account.name, sent)
            if not (permit.probe and (found := await self.look(permit))):
                raise
            # It has signed and cannot say so: that is no success of the probe.
            permit.failed(error)
            return found
        permit.signed(clock() - sent)
        self._authority.untrusted = None
        return verified

    async def look(self, permit: Permit) -> Verified | None:
        """Look for a certificate that was made although its answer was lost."""
        end = self._budget.look_end()
        return await self._look(permit.timeouts(end), end)

    async def look_before_failover(self, error: AuthorityError) -> Verified | None:
        """Look once more for what a lost call has made, since another authority is about to sign."""
        account, budget = self._account, self._budget
        is_unseen = self._engine.ledger.is_unseen(self._order.uid, self._authority, account.name)
        if not (isinstance(error, Unavailable) and is_unseen and account.breaker.closed):
            return None
        end = budget.look_end()
        if account.limited_for or end - self._engine.clock() < LEAST:
            return None
        try:
            slot = await account.limits.acquire(min(end, self._engine.clock() + LOOK_PATIENCE), Priority.LOOK)
        except (TimeoutError, SentAwayError):
            return None
        try:
            if account.blocked(self._authority.name):
                return None
            timeouts = self._planned.common.timeouts
            return await self._look(call_timeouts(timeouts, slot, end - self._engine.clock(), end), end)
        finally:
            slot.release()

    async def _look(self, timeouts: CallTimeouts, end: float) -> Verified | None:
        """Look for a certificate that was made although its answer was lost; a failure of the look is no failure."""
        engine, order, account = self._engine, self._order, self._account
        begun = engine.clock()
        if end - begun < LEAST:
            return None
        since = engine.ledger.suspected_since(order.uid, self._authority, account.name)
        others: set[str] = set()

        found: Verified | None = None
        try:
            async with (
                observed(engine.observer, self._authority, "find", end),
                aclosing(self._session.find(order, timeouts, since=since)) as certificates,
            ):
                async for signed in certificates:
                    if found := self._adoptable(signed):
                        break
                    others.add(signed.handle)
        except AuthorityError as error:
            if isinstance(error, RateLimited):
                account.limited(error.retry_after)
            log.info("could not look for a lost certificate", **self._fields, error=str(error), trace_id=error.trace_id)
            return None
        finally:
            engine.ledger.existed(order, self._authority, account.name, others)
        if found is None:
            engine.ledger.looked(order.uid, self._authority, account.name, begun)
            return None
        # It stopped at its match: of what else there may be it says nothing.
        log.info("adopted a certificate whose answer was lost", **self._fields)
        engine.observer.adopted(self._authority.issuer, self._authority.name)
        return found

    def _adoptable(self, signed: Signed) -> Verified | None:
        """What was found, if it is good, and neither about to be revoked nor another request's."""
        try:
            verified = self._check(signed)
        except WrongCertificateError:
            return None
        return verified if self._engine.ledger.adopt(self._order.uid, signed.handle, verified.fingerprint) else None

    def _verified(self, signed: Signed) -> Verified:
        """Check what was just signed, and remember that it exists: if it is not delivered in the end, it is revoked."""
        ledger, name = self._engine.ledger, self._authority.name
        try:
            verified = self._check(signed)
        except WrongCertificateError as error:
            ledger.made(self._order, self._authority, self._account.name, signed.handle, "")
            if not isinstance(error, UntrustedError):
                raise WrongCertificate(name, str(error), trace_id=signed.trace_id) from None
            untrusted = Untrusted(name, str(error), trace_id=signed.trace_id)
            self._authority.distrust(self._order.uid, self._roots, untrusted)
            raise untrusted from None
        if signed.handle:
            ledger.made(self._order, self._authority, self._account.name, signed.handle, verified.fingerprint)
            ledger.claim(self._order.uid, verified.fingerprint)
        return verified

    def _check(self, signed: Signed) -> Verified:
        return self._engine.verify(
            signed.chain,
            signed.ca,
            self._order.csr,
            roots=self._roots,
            at_least=min(self._order.duration, signed.promised),
            now=self._engine.now(),
        )

    def _patient_with(self, error: InProgress, permit: Permit) -> AuthorityError:
        """The acceptance, or that it has lasted for longer than a turn."""
        turn = self._planned.common.timeouts.turn.seconds
        left = turn - (self._engine.now() - error.since).total_seconds()
        if left > 0:
            permit.accepted(left)
            return error
        return TooSlow(self._authority.name, accepted=error.since, turn=turn, said=error.message)

    def _is_worth_another(self, error: BaseException) -> bool:
        """Whether to try again; not while the breaker is open, since the next authority is better than a wait."""
        if self._has_new_credential:
            return True
        if isinstance(error, NotAsked | Untrusted) or not self._account.breaker.closed:
            return False
        return (isinstance(error, Unavailable) and error.again) or (
            isinstance(error, RateLimited) and self._account.limited_for <= self._patience
        )

    def _is_over(self, state: RetryCallState) -> bool:
        """Whether the attempts or the time are used up: the next one would begin too late to end within the turn."""
        if self._has_new_credential:
            return False
        self._attempts_left -= 1
        least = self._budget.least(self._account.usual)
        return self._attempts_left <= 0 or state.upcoming_sleep + least > self._budget.left

    def _wait(self, state: RetryCallState) -> float:
        return 0.0 if self._has_new_credential else self._backoff(state)

    async def _pause(self, seconds: float) -> None:
        cause = self._last.cause if self._last else ""
        self._engine.observer.retry(self._authority.issuer, self._authority.name, cause)
        await self._account.pause(seconds)

    async def _read_credential(self, *, fresh: bool) -> None:
        self._session, self._account = await open_session(
            self._engine.registry, self._authority, self._read_until, fresh=fresh
        )

    @property
    def _read_until(self) -> float:
        """Reading from the cluster has its share of the time, not all of it."""
        return min(self._engine.clock() + RESOLVE, self._budget.read_until)

    @property
    def _patience(self) -> float:
        return self._budget.patience if self._is_patient and self._account.breaker.closed else 0.0

    @property
    def _fields(self) -> dict[str, str]:
        """Which request, and at which authority of which issuer, for the log."""
        return {"namespace": self._order.namespace, "name": self._order.name, **self._authority.user.fields}

    def _log(self, error: AuthorityError, seconds: float) -> None:
        log.info(
            "attempt failed",
            **self._fields,
            attempt=self._attempts,
            seconds=round(seconds, 3),
            cause=error.cause,
            error=str(error),
            trace_id=error.trace_id,
        )
