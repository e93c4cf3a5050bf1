"""The failover engine: somebody of the list signs, or it is told why nobody did.

`sign` is one pass over the list; it is not a loop for ever. The caller keeps the request's deadline and comes again,
with a backoff of its own and not before `NotIssued.retry_in`. Each authority has its turn (`issuer.signing.turn`);
what is known of the accounts (`issuer.signing.account`) is shared by all passes, and so is the memory of what may
have been signed without anybody receiving it (`issuer.signing.orphans`).

The engine waits by the event loop's clock only; wall time comes in through `now`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from issuer.authorities.base import CallTimeouts
from issuer.authorities.errors import AuthorityError, RateLimited, Unauthorized
from issuer.pki.verify import verify as verify_certificate
from issuer.signing.calls import guarded, observed
from issuer.signing.health import AuthorityHealth, assess
from issuer.signing.limits import SentAwayError
from issuer.signing.orphans import Orphans
from issuer.signing.relay import Relay
from issuer.signing.seats import Seats
from issuer.signing.sweep import Sweep
from issuer.signing.turn import RESOLVE, Desk

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from datetime import datetime

    from issuer.authorities.base import SigningOrder
    from issuer.signing.calls import Verify
    from issuer.signing.observer import Observer
    from issuer.signing.outcome import Issued, NotIssued
    from issuer.signing.plan import IssuerPlan, PlannedAuthority
    from issuer.signing.sweep import Identify

CHECK_PATIENCE: Final = 10.0
"""Seconds that a check of a credential waits for our own limits."""


def identify(chain: bytes) -> tuple[str, datetime] | None:
    """Fingerprint (SHA-256, hex) and notBefore of the first certificate of a chain; None if there is none."""
    try:
        leaf = x509.load_pem_x509_certificate(chain)
    except ValueError:
        return None
    return leaf.fingerprint(hashes.SHA256()).hex(), leaf.not_valid_before_utc


class FailoverEngine:
    """Signs by the first authority of a list that can.

    Args:
        now: wall clock, UTC.
        random: for jitter.
        guard: raises if this process may not sign any more (the lease is lost); called right before each call that
            makes or revokes a certificate. What it raises comes out of `sign` and `sweep`.
        observer: hears of calls and changes.
        verify: checks an answer.
        identify: reads the leaf of a chain that was found.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        random: random.Random,
        guard: Callable[[], None],
        observer: Observer,
        verify: Verify = verify_certificate,
        identify: Identify = identify,
    ) -> None:
        self._now = now
        self._identify = identify
        self._observer = observer
        self._seats = Seats(clock=_loop_time, now=now, random=random, observer=observer)
        self._orphans = Orphans(clock=_loop_time, now=now)
        self._sweeping = False
        self._desk = Desk(
            seats=self._seats,
            orphans=self._orphans,
            observer=observer,
            verify=verify,
            guard=guard,
            now=now,
            clock=_loop_time,
            random=random,
        )

    def users(self, account: str) -> set[tuple[str, str]]:
        """Kind and key of each issuer that uses an account."""
        return self._seats.users(account)

    @property
    def orphans(self) -> int:
        """Requests, by account, that may have left a certificate behind, or whose certificate is not yet settled."""
        return len(self._orphans)

    async def sign(
        self,
        order: SigningOrder,
        plan: IssuerPlan,
        *,
        deadline: float,
        only: frozenset[str] | None = None,
        single_attempt: bool = False,
        suspect: bool = False,
    ) -> Issued | NotIssued:
        """One pass over the list.

        Args:
            order: what to sign.
            plan: who may sign.
            deadline: loop time at which this returns at the latest.
            only: names of the authorities that may sign this one; None: all of them.
            single_attempt: one attempt at each authority and no wait for a rate limit.
            suspect: a former process may have signed this already: look before the first call to each authority.

        Raises:
            Exception: what `guard` raises.
        """
        self._orphans.begin(order)
        try:
            seats = self._seats.seats(plan)
            relay = Relay(self._desk, order, plan, deadline=deadline, single_attempt=single_attempt, suspect=suspect)
            return await relay.run([seat for seat in seats if only is None or seat.planned.name in only], seats)
        finally:
            self._orphans.end(order)

    async def check(self, planned: PlannedAuthority) -> None:
        """Ask whether the credential is good and remember the answer for `states` and `sign`.

        A failure is remembered, not raised. An account whose breaker is open or that wants no calls is not asked.
        """
        seat = self._seats.seat(planned)
        begun = _loop_time()
        try:
            session = await guarded(planned, planned.authority.session, begun + RESOLVE)
            await guarded(planned, planned.roots, begun + RESOLVE)
        except AuthorityError as error:
            seat.error = error
            return
        account = self._seats.take(seat, session.account)
        self._seats.readable(seat, account)
        if not account.breaker.closed or account.limited_for:
            return
        try:
            slot = await account.limits.acquire(_loop_time() + CHECK_PATIENCE)
        except (TimeoutError, SentAwayError):
            return
        timeouts = planned.common.timeouts
        longest = timeouts.attempt.seconds
        calls = CallTimeouts(connect=min(longest, timeouts.connect.seconds), read=min(longest, timeouts.read.seconds))
        try:
            if account.breaker.closed:
                await observed(self._observer, seat, "check", lambda: session.check(calls), _loop_time() + longest)
                account.accepted()
        except Unauthorized as error:
            account.refused(error)
        except RateLimited as error:
            account.limited(error.retry_after)
        except AuthorityError as error:
            account.failed(error)
        finally:
            slot.release()

    def states(self, plan: IssuerPlan) -> tuple[AuthorityHealth, ...]:
        """How each authority of the plan is, from what is known."""
        now, loop_time = self._now(), _loop_time()
        return tuple(assess(seat, now=now, loop_time=loop_time) for seat in self._seats.seats(plan))

    def settle(self, uid: str, delivered_fingerprint: str | None) -> None:
        """Tell the fate of a request: the certificate it received (SHA-256 of the leaf), or None: it never will.

        Only from here on may certificates that were made for it, and are not that one, be revoked.
        """
        self._orphans.settle(uid, delivered_fingerprint)

    async def sweep(self) -> None:
        """Look for certificates that nobody received and revoke them; cheap if there is no suspicion."""
        if self._sweeping:
            return
        self._sweeping = True
        try:
            await Sweep(self._desk, self._identify).run()
        finally:
            self._sweeping = False

    def forget(self, plan: IssuerPlan) -> None:
        """The issuer is gone; its limits no longer count."""
        self._seats.forget(plan)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
