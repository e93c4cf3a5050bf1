"""One go at one authority: read the credential, then ask until it signs, refuses, or the turn is used up.

A call whose answer was lost is followed by a look for what it may have
made, but only while the breaker lets calls through (or the call was the probe, then the look belongs to the probe):
an authority that is down is left alone, and the look is made up for when it is back.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from issuer.authorities.errors import AuthorityError, RateLimited, Rejected, Unauthorized, Unavailable
from issuer.pki.verify import WrongCertificateError
from issuer.signing.budget import LEAST, Budget
from issuer.signing.calls import CutOff, WrongCertificate, guarded, observed
from issuer.signing.entrance import Entrance, NotAdmittedError
from issuer.signing.retry import retrying

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from cryptography import x509

    from issuer.authorities.base import Session, Signed, SigningOrder
    from issuer.pki.verify import Verified
    from issuer.signing.account import Account
    from issuer.signing.breaker import Admission
    from issuer.signing.calls import Verify
    from issuer.signing.limits import Slot
    from issuer.signing.observer import Observer
    from issuer.signing.orphans import Orphans
    from issuer.signing.seats import Seat, Seats

RESOLVE: Final = 30.0
"""Seconds that reading a credential or the roots from the cluster may take."""

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What every turn works with."""

    seats: Seats
    orphans: Orphans
    observer: Observer
    verify: Verify
    guard: Callable[[], None]
    now: Callable[[], datetime]
    clock: Callable[[], float]
    random: random.Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a turn is about.

    Attributes:
        order: what to sign.
        issuer: kind and key of the issuer.
        deadline: loop time.
        shares: authorities that have to share the time until then.
        single_attempt: ask once, and do not wait for a rate limit.
        suspect: a former process may have signed: look before the first call.
    """

    order: SigningOrder
    issuer: tuple[str, str]
    deadline: float
    shares: int
    single_attempt: bool
    suspect: bool


class Turn:
    """One go. `run` may be awaited once."""

    def __init__(self, desk: Desk, seat: Seat, terms: Terms) -> None:
        self._desk = desk
        self._seat = seat
        self._terms = terms
        self._planned = seat.planned
        self._order = terms.order
        self._budget = Budget(
            seat.planned.common.timeouts, deadline=terms.deadline, shares=terms.shares, clock=desk.clock
        )
        self._entrance = Entrance(seat.planned.name, self._budget, clock=desk.clock, patient=not terms.single_attempt)
        self._session: Session
        self._account: Account
        self._roots: tuple[x509.Certificate, ...] = ()
        self._last: AuthorityError | None = None
        self._reread = False
        self._looked = False
        self._attempts = 0

    async def run(self) -> Verified:
        """Ask until there is a certificate that has passed verification.

        Raises:
            NotAdmittedError: it was not asked at all.
            AuthorityError: how the last attempt failed.
        """
        await self._resolve(fresh=False)
        self._entrance.turn_away(self._account)
        await self._read_roots()
        retry = self._planned.common.retry
        loop = retrying(
            retry,
            attempts=1 if self._terms.single_attempt else retry.attempts,
            budget=self._budget,
            asked=lambda: self._account.limited_for,
            again=self._worth_another,
            sleep=self._pause,
            random=self._desk.random,
        )
        try:
            return await loop(self._attempt)
        except NotAdmittedError:
            if self._last is not None:
                raise self._last from None
            raise

    async def _pause(self, seconds: float) -> None:
        await self._account.pause(seconds)

    def _worth_another(self, error: BaseException) -> bool:
        """A breaker that is not closed ends the turn: the next authority is better than a wait."""
        return isinstance(error, Unavailable | RateLimited) and self._account.breaker.closed

    async def _resolve(self, *, fresh: bool) -> None:
        planned = self._planned
        session = await self._read(lambda: planned.authority.session(fresh=fresh))
        self._session = session
        self._account = self._desk.seats.take(self._seat, session.account)

    async def _read_roots(self) -> None:
        """Before the first call, so that no certificate is made in vain."""
        self._roots = await self._read(self._planned.roots)
        self._desk.seats.readable(self._seat, self._account)

    async def _read(self, what: Callable[[], Awaitable[T]]) -> T:
        """Read something from the cluster; a failure is the authority's until it can be read."""
        try:
            return await guarded(self._planned, what, min(self._desk.clock() + RESOLVE, self._terms.deadline))
        except AuthorityError as error:
            self._seat.error = error
            raise

    async def _attempt(self) -> Verified:
        self._attempts += 1
        try:
            return await self._ask()
        except Unauthorized as error:
            if await self._other_credential(error):
                return await self._ask()
            raise

    async def _other_credential(self, error: Unauthorized) -> bool:
        """Whether the Secret has another credential by now; if not, the account is marked."""
        refused = self._account
        if not self._reread and refused.refusal is None:
            self._reread = True
            try:
                await self._resolve(fresh=True)
            except AuthorityError:
                refused.refused(error)
                raise
            if self._account is not refused:
                self._last = None
                return True
        refused.refused(error)
        return False

    async def _ask(self) -> Verified:
        admission, slot = await self._entrance.admitted(self._account)
        try:
            if self._lost_before() and (found := await self._look()):
                return found
            self._entrance.still_admitted(self._account, admission)
            self._desk.guard()
            return await self._sign(admission, slot)
        finally:
            admission.release()
            slot.release()

    async def _sign(self, admission: Admission, slot: Slot) -> Verified:
        sent = self._desk.clock()
        try:
            verified = await self._call_sign(slot)
        except asyncio.CancelledError:
            if self._planned.authority.remembers:
                self._lost(sent)
            raise
        except Unavailable as error:
            found = await self._adopt_after(error, admission, sent)
            if found is None:
                raise
            return found
        except AuthorityError as error:
            self._note(error, admission)
            raise
        admission.succeeded()
        self._account.succeeded()
        return verified

    async def _adopt_after(self, error: Unavailable, admission: Admission, sent: float) -> Verified | None:
        """Look for what a failed call may have made. The signing failed all the same, so the breaker counts it."""
        if not (error.ambiguous and self._planned.authority.remembers):
            self._note(error, admission)
            return None
        self._lost(sent)
        if not admission.probe:
            self._note(error, admission)
            return await self._look() if self._account.breaker.closed else None
        try:
            return await self._look()
        finally:
            self._note(error, admission)

    async def _call_sign(self, slot: Slot) -> Verified:
        end = self._budget.attempt_end()
        timeouts = self._budget.calls(end)

        async def sign() -> Verified:
            signed = await self._session.sign(self._order, timeouts)
            # The next call goes out before this answer is checked: a wait on the wire is worth more than our own work.
            slot.release()
            await asyncio.sleep(0)
            return self._verified(signed)

        return await observed(self._desk.observer, self._seat, "sign", sign, end)

    def _lost_before(self) -> bool:
        """Whether an earlier answer may have been lost here, in this process or in a former one."""
        if self._looked or not self._planned.authority.remembers:
            return False
        known = self._desk.orphans.suspected(self._order.uid, self._account.name, self._planned.name)
        if self._terms.suspect and not known:
            self._lost(self._desk.clock())
        return known or self._terms.suspect

    async def _look(self) -> Verified | None:
        """Look for a certificate that was made although its answer was lost; a failure of the look is no failure."""
        self._looked = True
        end = self._budget.look_end()
        if end - self._desk.clock() < LEAST:
            return None
        timeouts = self._budget.calls(end)
        self._account.limits.charge()
        try:
            found = await observed(
                self._desk.observer, self._seat, "find", lambda: self._session.find(self._order, timeouts), end
            )
        except RateLimited as error:
            self._account.limited(error.retry_after)
            return None
        except AuthorityError as error:
            log.info("could not look for a lost certificate", request=self._name, error=str(error))
            return None
        for signed in found:
            verified = self._adoptable(signed)
            if verified:
                log.info(
                    "adopted a certificate whose answer was lost", request=self._name, authority=self._planned.name
                )
                return verified
        return None

    def _adoptable(self, signed: Signed) -> Verified | None:
        """What was found, if it is good, and neither about to be revoked nor another request's."""
        orphans, uid = self._desk.orphans, self._order.uid
        if orphans.condemned(signed.handle):
            return None
        try:
            verified = self._check(signed)
        except WrongCertificateError:
            return None
        return verified if orphans.adopt(uid, signed.handle, verified.fingerprint) else None

    def _verified(self, signed: Signed) -> Verified:
        """Check what was just signed, and remember that it exists: if it is not delivered in the end, it is revoked."""
        try:
            verified = self._check(signed)
        except WrongCertificateError as error:
            self._made(signed.handle, "")
            raise WrongCertificate(
                self._planned.name, f"wrong certificate: {error}", trace_id=signed.trace_id
            ) from None
        if signed.handle:
            self._made(signed.handle, verified.fingerprint)
            self._desk.orphans.claim(self._order.uid, verified.fingerprint)
        return verified

    def _check(self, signed: Signed) -> Verified:
        return self._desk.verify(
            signed.chain,
            signed.ca,
            self._order.csr,
            roots=self._roots,
            at_least=min(self._order.duration, signed.promised),
            now=self._desk.now(),
        )

    def _made(self, handle: str, fingerprint: str) -> None:
        self._desk.orphans.made(self._order, self._planned, self._terms.issuer, self._account.name, handle, fingerprint)

    def _lost(self, sent: float) -> None:
        self._desk.orphans.lost(self._order, self._planned, self._terms.issuer, self._account.name, sent)

    def _note(self, error: AuthorityError, admission: Admission) -> None:
        """What a failed call says about the account."""
        self._last = error
        log.info(
            "attempt failed",
            request=self._name,
            authority=self._planned.name,
            attempt=self._attempts,
            cause=error.cause,
            error=str(error),
        )
        if isinstance(error, Unavailable):
            self._count(error, admission)
            self._account.failed(error)
        elif isinstance(error, RateLimited):
            self._account.failed(error)
            self._account.limited(error.retry_after)
        elif isinstance(error, Rejected):
            self._account.accepted()
            admission.answered()

    def _count(self, error: Unavailable, admission: Admission) -> None:
        if isinstance(error, CutOff) and not self._budget.fair(error.after):
            admission.release()
        else:
            admission.failed()

    @property
    def _name(self) -> str:
        return f"{self._order.namespace}/{self._order.name}"
