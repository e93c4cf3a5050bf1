"""One pass over a list of authorities: each has its turn until one signs, or a failure ends the pass.

Which failure lets the next one have its turn is the user's choice (`failover.on`); that an authority can never sign
such a request always does. Why each one did not sign goes along with the result, since a person will ask.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from issuer.authorities.errors import AuthorityError, Rejected, Unavailable, Unsupported
from issuer.signing.entrance import NotAdmittedError
from issuer.signing.outcome import Issued, NotIssued
from issuer.signing.turn import Terms, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.authorities.base import SigningOrder
    from issuer.pki.verify import Verified
    from issuer.signing.plan import IssuerPlan
    from issuer.signing.seats import Seat
    from issuer.signing.turn import Desk

log = structlog.get_logger(__name__)


class Relay:
    """One pass. `run` may be awaited once."""

    def __init__(
        self,
        desk: Desk,
        order: SigningOrder,
        plan: IssuerPlan,
        *,
        deadline: float,
        single_attempt: bool,
        suspect: bool,
    ) -> None:
        self._desk = desk
        self._order = order
        self._plan = plan
        self._deadline = deadline
        self._single_attempt = single_attempt
        self._suspect = suspect
        self._failures: dict[str, AuthorityError] = {}
        self._free_in: list[float] = []
        self._attempted = False

    async def run(self, allowed: Sequence[Seat], all_seats: Sequence[Seat]) -> Issued | NotIssued:
        """Ask the allowed ones in turn; `all_seats` is the whole list, for the position of the one that signs."""
        able = self._able(allowed)
        for index, seat in enumerate(able):
            if self._desk.clock() >= self._deadline:
                break
            verified = await self._turn(seat, able[index + 1 :])
            if verified:
                return self._issued(seat, all_seats, verified)
            failure = self._failures[seat.planned.name]
            if not isinstance(failure, Unsupported) and failure.cause not in self._plan.failover_on:
                return self._not_issued(allowed, ended=True)
        return self._not_issued(allowed, ended=False)

    async def _turn(self, seat: Seat, later: Sequence[Seat]) -> Verified | None:
        terms = Terms(
            order=self._order,
            issuer=(self._plan.kind, str(self._plan.key)),
            deadline=self._deadline,
            shares=1 + self._could_follow(later),
            single_attempt=self._single_attempt,
            suspect=self._suspect,
        )
        try:
            verified = await Turn(self._desk, seat, terms).run()
        except NotAdmittedError as error:
            self._attempted |= error.asked
            self._failures[seat.planned.name] = error.failure
        except AuthorityError as error:
            self._attempted = True
            self._failures[seat.planned.name] = error
        else:
            return verified
        if not isinstance(self._failures[seat.planned.name], Rejected | Unsupported):
            self._free_in.append(seat.account.free_in if seat.account and not seat.error else 0.0)
        return None

    def _able(self, allowed: Sequence[Seat]) -> list[Seat]:
        able = []
        for seat in allowed:
            try:
                seat.planned.authority.supports(self._order)
            except Unsupported as error:
                self._failures[seat.planned.name] = error
            else:
                able.append(seat)
        return able

    def _could_follow(self, later: Sequence[Seat]) -> int:
        """How many of the later ones could sign if this one is down."""
        if Unavailable.__name__ not in self._plan.failover_on:
            return 0
        return sum(not (seat.account and seat.account.obstacle(seat.planned.name)) for seat in later)

    def _issued(self, seat: Seat, all_seats: Sequence[Seat], verified: Verified) -> Issued:
        position = next(index for index, other in enumerate(all_seats) if other is seat)
        passed_over = tuple(
            self._failures[other.planned.name] for other in all_seats[:position] if other.planned.name in self._failures
        )
        failed = next((failure for failure in passed_over if not isinstance(failure, Unsupported)), None)
        name = seat.planned.name
        if failed:
            log.info("failed over", request=f"{self._order.namespace}/{self._order.name}", to=name, cause=failed.cause)
            self._desk.observer.failover(str(self._plan.key), failed.authority, name, failed.cause)
        lifetime = verified.not_after - verified.not_before
        return Issued(
            authority=name,
            position=position,
            certificate=verified.certificate,
            ca=verified.ca,
            fingerprint=verified.fingerprint,
            not_after=verified.not_after,
            granted=max(lifetime, timedelta(0)),
            requested=self._order.duration,
            passed_over=passed_over,
        )

    def _not_issued(self, allowed: Sequence[Seat], *, ended: bool) -> NotIssued:
        names = [seat.planned.name for seat in allowed]
        failures = tuple(self._failures[name] for name in names if name in self._failures)
        refused = (
            bool(failures)
            and len(failures) == len(names)
            and all(isinstance(failure, Rejected | Unsupported) for failure in failures)
        )
        rejected = ended and any(isinstance(failure, Rejected) for failure in failures)
        return NotIssued(
            failures=failures,
            terminal=rejected or refused,
            retry_in=min(self._free_in, default=0.0),
            attempted=self._attempted,
        )
