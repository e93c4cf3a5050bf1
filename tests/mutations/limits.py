"""Time and number of calls: budget, limits, checks."""

from __future__ import annotations

from typing import Final

from tests.mutations.mutation import Mutation

_BUDGET: Final = "issuer/signing/budget.py"
_LIMITS: Final = "issuer/signing/limits.py"
_CHECKS: Final = "issuer/signing/checks.py"

_VERDICTS: Final = ("unit/signing/test_engine_verdicts.py",)
_CREDENTIALS: Final = ("unit/signing/test_engine_credentials.py",)
_LOST: Final = ("unit/signing/test_engine_lost_answers.py",)
_RETRY: Final = ("unit/signing/test_engine_retry.py",)
_TIME: Final = ("unit/signing/test_engine_time.py",)
_CALL_LIMITS: Final = ("unit/signing/test_call_limits.py",)
_ENGINE_LIMITS: Final = ("unit/signing/test_engine_limits.py",)

MUTATIONS: Final = (
    Mutation(
        "a hanging first authority eats the time of the second",
        _BUDGET,
        old="max(0.0, self.deadline - self._clock()) / self._shares",
        new="max(0.0, self.deadline - self._clock())",
        tests=("unit/signing/test_engine_failover.py",),
    ),
    Mutation(
        "a call is made with hardly any time",
        _BUDGET,
        old="return max(LEAST, min(needed, self.meant))",
        new="return 0.0",
        tests=_RETRY,
    ),
    Mutation(
        "a rate limit is waited out although no call fits in after it",
        _BUDGET,
        old="self._share() - self.meant)",
        new="self._share())",
        tests=_TIME,
    ),
    Mutation(
        "rate limits are waited out for longer than a turn in all",
        _BUDGET,
        old="        if limited:\n            self._waited += seconds\n",
        new="",
        tests=_RETRY,
    ),
    Mutation(
        "every call that was cut off counts as one that had its time",
        _BUDGET,
        old="return seconds >= FAIR * self.meant",
        new="return True",
        tests=_RETRY,
    ),
    Mutation(
        "a queue that is longer than a turn is waited for beside an idle authority",
        _BUDGET,
        old="(min(self._timeouts.turn.seconds, share) if self._crowd else share)",
        new="share",
        tests=_TIME,
    ),
    Mutation(
        "a queue is left after a turn although nobody else could sign",
        _BUDGET,
        old="(min(self._timeouts.turn.seconds, share) if self._crowd else share)",
        new="min(self._timeouts.turn.seconds, share)",
        tests=_TIME,
    ),
    Mutation(
        "a look goes on beyond the deadline",
        _BUDGET,
        old="min(self._clock() + max(LOOK_LEAST, LOOK_SHARE * self._turn), self.deadline)",
        new="self._clock() + max(LOOK_LEAST, LOOK_SHARE * self._turn)",
        tests=_LOST,
    ),
    Mutation(
        "a Secret that cannot be read takes all of the time",
        _BUDGET,
        old="self._clock() + READ_SHARE * self._share()",
        new="self._clock() + self.deadline",
        tests=_TIME,
    ),
    Mutation(
        "a call ends later than its turn",
        _BUDGET,
        old="return min(self._clock() + self._timeouts.attempt.seconds, self.end)",
        new="return self._clock() + self._timeouts.attempt.seconds",
        tests=_RETRY,
    ),
    Mutation(
        "other work starves behind signing",
        _LIMITS,
        old="        if others and self._passed_over >= SHARE - 1:\n            return others[0], False\n",
        new="",
        tests=_CALL_LIMITS,
    ),
    Mutation(
        "checks and looks go before signing",
        _LIMITS,
        old="        return (able[0], bool(others)) if able else None\n",
        new="        return (able[-1], bool(others)) if able else None\n",
        tests=_CALL_LIMITS,
    ),
    Mutation(
        "nobody can be sent away from the queue",
        _LIMITS,
        old="                    granted.set_result(False)\n",
        new="                    pass\n",
        tests=_CALL_LIMITS,
    ),
    Mutation(
        "who waits for a token with a place in hand is sent away",
        _LIMITS,
        old="            queue = self._queues[priority, True]\n",
        new="            queue = self._queues[priority, False]\n",
        tests=_CALL_LIMITS,
    ),
    Mutation(
        "who is cancelled just as its turn comes keeps its place",
        _LIMITS,
        old="                self._give_back(token=True, place=needs_place)\n",
        new="                pass\n",
        tests=_CALL_LIMITS,
    ),
    Mutation(
        "a further call on a slot takes no token",
        _LIMITS,
        old="await self._limits._wait(until, self._priority, needs_place=False)",
        new="await asyncio.sleep(0)",
        tests=_CALL_LIMITS,
    ),
    Mutation(
        "tokens are saved without a bound",
        _LIMITS,
        old="self._tokens = min(float(self._settings.burst), self._tokens + gained)",
        new="self._tokens += gained",
        tests=_CALL_LIMITS,
    ),
    Mutation(
        "places in flight are not limited",
        _LIMITS,
        old="if queue and (not needs_place or self.in_flight < self._settings.in_flight):",
        new="if queue:",
        tests=_CALL_LIMITS,
    ),
    Mutation(
        "a check that an open breaker kept back counts as made",
        _CHECKS,
        old=">= every and account.breaker.closed and not account.limited_for:",
        new=">= every and not account.limited_for:",
        tests=_CREDENTIALS,
    ),
    Mutation(
        "a check asks an account that wants no calls",
        _CHECKS,
        old="and account.breaker.closed and not account.limited_for:",
        new="and account.breaker.closed:",
        tests=_CREDENTIALS,
    ),
    Mutation(
        "each issuer of an account asks for itself",
        _CHECKS,
        old="            if engine.clock() - account.checked >= every and",
        new="            if",
        tests=_VERDICTS,
    ),
    Mutation(
        "all Secrets are read in one look",
        _CHECKS,
        old="(authorities[start:] + authorities[:start])[:MOST_READS]",
        new="(authorities[start:] + authorities[:start])",
        tests=_VERDICTS,
    ),
    Mutation(
        "a new plan of an issuer leaves the limits of the old one in force",
        "issuer/signing/registry.py",
        old="        if before is not None:\n            self._leave(before)\n",
        new="",
        tests=_ENGINE_LIMITS,
    ),
    Mutation(
        "requests that wait for a good credential hear of no rotation",
        "issuer/signing/registry.py",
        old="                    self._observer.recovered(account.name)\n        return account",
        new="                    pass\n        return account",
        tests=_CREDENTIALS,
    ),
    Mutation(
        "an account is forgotten while calls are under way",
        "issuer/signing/registry.py",
        old="and account.used < old and account.idle:",
        new="and account.used < old:",
        tests=_ENGINE_LIMITS,
    ),
)
