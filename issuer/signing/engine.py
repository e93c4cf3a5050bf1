"""The failover engine, as the rest of the program sees it.

`sign` is one pass over a list (`failover.sign`), in which each authority has a turn (`attempt.ask`) and each call needs
a permit of its account (`Account.permit`). It is not a loop for ever: the caller keeps the request's deadline and comes
again, with a backoff of its own and not before `NotIssued.retry_in`. What is known of the accounts is shared by all
passes (`AccountRegistry`), and so is what may have been signed without anybody receiving it (`Ledger`). `checks` and
`clean_up` are chores.

The engine waits by the event loop's clock only; wall time comes in through `now`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from issuer.pki.verify import verify as verify_certificate
from issuer.signing import cleanup, failover
from issuer.signing.checks import Checks
from issuer.signing.context import EngineContext
from issuer.signing.health import AuthorityHealth, assess
from issuer.signing.ledger import Ledger
from issuer.signing.registry import AccountRegistry

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Mapping
    from datetime import datetime
    from typing import Any

    from issuer.authorities.base import SigningOrder
    from issuer.signing.calls import Verify
    from issuer.signing.observer import AccountUser, Observer
    from issuer.signing.plan import Issued, IssuerPlan, NotIssued, PlannedAuthority


class FailoverEngine:
    """Signs by the first authority of a list that can.

    Args:
        now: wall clock, UTC.
        random: for jitter.
        guard: raises if this process may not sign any more (the lease is lost); called right before each call that
            makes or revokes a certificate. What it raises comes out of `sign`.
        observer: hears of calls and changes.
        verify: checks an answer.
        received: whether some request in the cluster has received the certificate with a fingerprint (SHA-256 of the
            leaf, in hex), whoever had it signed: such a one is never revoked.
        identify: reads the leaf of a chain that was found, see `Cleanup`.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        random: random.Random,
        guard: Callable[[], None],
        observer: Observer,
        received: Callable[[str], bool] = lambda _: False,
        verify: Verify = verify_certificate,
        identify: Callable[[bytes], tuple[str, datetime] | None] = cleanup.identify,
    ) -> None:
        self._now = now
        self._registry = AccountRegistry(clock=_loop_time, now=now, random=random, observer=observer)
        self._ledger = Ledger(clock=_loop_time, now=now, received=received)
        self._context = EngineContext(
            registry=self._registry,
            ledger=self._ledger,
            observer=observer,
            verify=verify,
            guard=guard,
            now=now,
            clock=_loop_time,
            random=random,
        )
        self._cleanup = cleanup.Cleanup(self._context, identify)
        self._checks = Checks(self._context)

    def suspect(self, uid: str) -> None:
        """A former process may have signed this request already: look before the first call to each authority.

        Once is enough; until a look has answered nothing makes the engine forget it.
        """
        self._ledger.suspect(uid)

    def sign(
        self,
        order: SigningOrder,
        plan: IssuerPlan,
        *,
        deadline: float,
        only: frozenset[str] | None = None,
        single_attempt: bool = False,
    ) -> Coroutine[Any, Any, Issued | NotIssued]:
        """One pass over the list.

        Args:
            order: what to sign.
            plan: who may sign.
            deadline: loop time at which this returns at the latest.
            only: names of the authorities that may sign this one; None: all of them.
            single_attempt: one attempt at each authority and no wait for a rate limit.

        Raises:
            Exception: what `guard` raises.
        """
        return failover.sign(self._context, order, plan, deadline=deadline, only=only, single_attempt=single_attempt)

    async def check(self, planned: PlannedAuthority) -> None:
        """Ask whether the credential is good, if nobody has lately, and remember the answer for `states` and `sign`."""
        await self._checks.check(planned)

    async def watch_credentials(self) -> None:
        """Look whether a bad credential has been replaced; to be called every few seconds (`checks.WATCH_EVERY`)."""
        await self._checks.watch_credentials()

    async def clean_up(self) -> None:
        """Look for certificates that nobody received and revoke them; cheap if there is no suspicion."""
        await self._cleanup.run()

    def states(self, plan: IssuerPlan) -> tuple[AuthorityHealth, ...]:
        """How each authority of the plan is, from what is known."""
        now = self._now()
        return tuple(assess(authority, now=now) for authority in self._registry.states(plan))

    def users(self, account: str) -> set[tuple[str, str]]:
        """Kind and key of each issuer that uses an account."""
        return self._registry.users(account)

    @property
    def orphans(self) -> int:
        """Requests, by account, that may have left a certificate behind, or whose certificate is not yet settled."""
        return len(self._ledger)

    def suspected(self) -> Mapping[AccountUser, int]:
        """The same by authority."""
        return self._ledger.by_authority()

    def settle(self, uid: str, delivered_fingerprint: str | None) -> None:
        """Tell the fate of a request: the certificate it received (SHA-256 of the leaf), or None: it never will.

        Only from here on may certificates that were made for it, and are not that one, be revoked.
        """
        self._ledger.settle(uid, delivered_fingerprint)

    def forget(self, plan: IssuerPlan) -> None:
        """The issuer is gone; its limits no longer count."""
        self._registry.forget(plan)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
