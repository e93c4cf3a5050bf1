"""How an attempt is repeated within a turn: tenacity, with strategies on our own clock and our own randomness.

tenacity's own strategies read `time.monotonic` and the global `random`; these are the same few lines on what is passed
in. Nothing is slept through in vain: a wait that does not fit into what is left of the turn ends the turn instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from issuer.signing.budget import LEAST

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from issuer.api.issuer import Retry
    from issuer.signing.budget import Budget


class FullJitter(wait_base):
    """Anything from 0 to a bound that doubles from `minBackoff` to `maxBackoff` (full jitter, AWS's term)."""

    def __init__(self, spec: Retry, random: random.Random) -> None:
        self._first = spec.min_backoff.seconds
        self._most = spec.max_backoff.seconds
        self._random = random

    def __call__(self, retry_state: RetryCallState) -> float:
        """Seconds before the next attempt."""
        bound = min(self._most, self._first * 2.0 ** (retry_state.attempt_number - 1))
        return self._random.uniform(0, bound)


class AskedToWait(wait_base):
    """What the authority asked for (Retry-After), read when the wait begins."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds

    def __call__(self, retry_state: RetryCallState) -> float:  # noqa: ARG002 - tenacity's protocol
        """Seconds before the next attempt."""
        return self._seconds()


class BudgetSpent(stop_base):
    """The next attempt would begin too late to be worth it."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def __call__(self, retry_state: RetryCallState) -> bool:
        """Whether to stop before sleeping."""
        return retry_state.upcoming_sleep + LEAST > self._budget.left


def retrying(
    spec: Retry,
    *,
    attempts: int,
    budget: Budget,
    asked: Callable[[], float],
    again: Callable[[BaseException], bool],
    sleep: Callable[[float], Awaitable[None]],
    random: random.Random,
) -> AsyncRetrying:
    """The loop of one turn; call it with the attempt. It raises the last attempt's own exception.

    Args:
        spec: backoff bounds.
        attempts: at most so many.
        budget: of the turn.
        asked: seconds for which the authority wants no call.
        again: whether an exception is worth another attempt.
        sleep: waits; may return early.
        random: for the jitter.
    """
    return AsyncRetrying(
        stop=stop_after_attempt(attempts) | BudgetSpent(budget),
        wait=FullJitter(spec, random) + AskedToWait(asked),
        retry=retry_if_exception(again),
        sleep=sleep,
        reraise=True,
    )
