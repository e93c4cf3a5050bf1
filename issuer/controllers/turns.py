"""A request's turns: one go at its authorities each, and when the next one is due."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from issuer.controllers.orders import make_order
from issuer.signing.plan import Issued, NotIssued

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from datetime import datetime

    from issuer.controllers.decision import Sign
    from issuer.controllers.memory import RequestState
    from issuer.controllers.pace import Pace
    from issuer.controllers.port import Request
    from issuer.signing.engine import FailoverEngine
    from issuer.signing.plan import IssuerPlan


class Turns:
    """Gives requests their turns, and notes in their state what came of each.

    Args:
        engine: asks the authorities.
        pace: how long to wait between two turns of a request.
        random: spreads these waits.
        now: wall clock, UTC.
        retried: told of each turn but a request's first.
    """

    def __init__(
        self,
        engine: FailoverEngine,
        pace: Pace,
        random: random.Random,
        now: Callable[[], datetime],
        *,
        retried: Callable[[Request], None],
    ) -> None:
        self._engine = engine
        self._pace = pace
        self._random = random
        self._now = now
        self._retried = retried

    async def take(self, state: RequestState, turn: Sign, plan: IssuerPlan) -> Issued | NotIssued:
        """One go at the authorities; past the deadline, one attempt at each and no more."""
        request, now = state.request, asyncio.get_running_loop().time
        deadline = now() + (turn.expires - self._now()) / timedelta(seconds=1)
        if turn.late:
            deadline = now() + sum(planned.common.timeouts.attempt.seconds for planned in plan.authorities)
        outcome = await self._engine.sign(
            make_order(request, turn.csr, turn.duration, turn.expires),
            plan,
            deadline=deadline,
            only=turn.only,
            single_attempt=turn.late,
        )
        state.turns += 1
        if state.turns > 1:
            self._retried(request)
        state.only = turn.only
        if isinstance(outcome, Issued):
            state.issued = outcome
            return outcome
        outcome = outcome.after(state.last)
        if outcome.failures or state.last is None:
            state.last = outcome
        state.had_turn |= outcome.attempted
        pause = 0.0 if outcome.accepted else self._pace.turn(state.turns, self._random)
        state.turn_due = now() + max(outcome.retry_in, pause)
        return outcome

    def failed(self, state: RequestState) -> None:
        """A defect of ours ended it: the next one is as far away as after an outage."""
        state.turns += 1
        state.turn_due = asyncio.get_running_loop().time() + self._pace.turn(state.turns, self._random)
