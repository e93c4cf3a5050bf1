"""What is known of an account, and what may go out: permit, account, breaker."""

from __future__ import annotations

from typing import Final

from tests.mutations.mutation import Mutation

_PERMIT: Final = "issuer/signing/permit.py"
_ACCOUNT: Final = "issuer/signing/account.py"
_BREAKER: Final = "issuer/signing/breaker.py"

_VERDICTS: Final = ("unit/signing/test_engine_verdicts.py",)
_CREDENTIALS: Final = ("unit/signing/test_engine_credentials.py",)
_LOST: Final = ("unit/signing/test_engine_lost_answers.py",)
_ENGINE_BREAKER: Final = ("unit/signing/test_engine_breaker.py",)
_BREAKER_ALONE: Final = ("unit/signing/test_breaker.py",)
_RETRY: Final = ("unit/signing/test_engine_retry.py",)
_TIME: Final = ("unit/signing/test_engine_time.py",)
_ENGINE_LIMITS: Final = ("unit/signing/test_engine_limits.py",)
_NEWS: Final = ("unit/signing/test_engine_news.py",)

MUTATIONS: Final = (
    Mutation(
        "after the cool-down everybody tries a refused credential at once",
        _PERMIT,
        old="        account.trial = given\n",
        new="        pass\n",
        tests=_VERDICTS,
    ),
    Mutation(
        "a trial of a refused credential is never over",
        _PERMIT,
        old="        if account.trial is given:\n            account.trial = None\n",
        new="",
        tests=_CREDENTIALS,
    ),
    Mutation(
        "wrong certificates of one request count each time",
        _PERMIT,
        old="counts = account.is_first_wrong(self._uid)",
        new="counts = True",
        tests=_VERDICTS,
    ),
    Mutation(
        "an issuer's own wrong bundle opens the breaker of all",
        _PERMIT,
        old="if admission.told or isinstance(error, NotAsked | Untrusted):",
        new="if admission.told or isinstance(error, NotAsked):",
        tests=_VERDICTS,
    ),
    Mutation(
        "a call that our own deadline cut off too soon counts against the authority",
        _PERMIT,
        old="counts = self._budget.is_fair(error.after)",
        new="counts = True",
        tests=_RETRY,
    ),
    Mutation(
        "a call goes out although things have changed while it waited for its permit",
        _PERMIT,
        old="        given.begin()\n",
        new="",
        tests=_ENGINE_LIMITS,
    ),
    Mutation(
        "a token is gone although no call went out with it",
        _PERMIT,
        old="self._slot.release(unused=True)",
        new="self._slot.release()",
        tests=_ENGINE_LIMITS,
    ),
    Mutation(
        "the POST after a look takes no token",
        _PERMIT,
        old="            await self._slot.prepay(self._budget.end)\n",
        new="            self._slot._prepaid = True\n",
        tests=_LOST,
    ),
    Mutation(
        "nothing is checked between the look and the POST",
        _PERMIT,
        old="        self._budget.stand_still(self._account.clock() - begun)\n        self.check()\n",
        new="        self._budget.stand_still(self._account.clock() - begun)\n",
        tests=_LOST,
    ),
    Mutation(
        "a call goes out although the breaker has opened meanwhile",
        _PERMIT,
        old="        if not self._admission.valid:\n",
        new="        if False:\n",
        tests=_LOST,
    ),
    Mutation(
        "a call goes out in less time than calls take",
        _PERMIT,
        old="if self._budget.left < self._budget.least(account.usual):",
        new="if self._budget.left <= 0:",
        tests=_TIME,
    ),
    Mutation(
        "a probe waits behind calls that hang",
        _PERMIT,
        old="min(until, begun + PROBE_PATIENCE) if admission.probe else until",
        new="until",
        tests=_ENGINE_BREAKER,
    ),
    Mutation(
        "the probe is kept by whoever was turned away with it",
        _PERMIT,
        old="        if slot is None:\n            admission.release()\n",
        new="",
        tests=_ENGINE_BREAKER,
    ),
    Mutation(
        "a rate limit opens the breaker",
        _PERMIT,
        old="            account.failed(error)\n            admission.release()\n",
        new="            account.failed(error)\n            admission.failed()\n",
        tests=_RETRY,
    ),
    Mutation(
        "a refused credential opens the breaker",
        _PERMIT,
        old="            account.refused(error)\n            admission.release()\n",
        new="            account.refused(error)\n            admission.failed()\n",
        tests=_ENGINE_BREAKER,
    ),
    Mutation(
        "waiting for our own limits uses up the turn",
        _PERMIT,
        old="    finally:\n        budget.stand_still(account.clock() - begun)\n",
        new="    finally:\n",
        tests=_ENGINE_LIMITS,
    ),
    Mutation(
        "a check takes back what a signature has found",
        _ACCOUNT,
        old="        if signed:\n            self.refusal = None\n",
        new="        self.refusal = None\n",
        tests=_CREDENTIALS,
    ),
    Mutation(
        "a refused credential is tried again without a pause",
        _ACCOUNT,
        old="        if refusal and self.clock() < self.refused_until:\n",
        new="        if False and refusal:\n",
        tests=_CREDENTIALS,
    ),
    Mutation(
        "the pauses after refusals do not grow",
        _ACCOUNT,
        old="min(MAX_COOL_DOWN, self._cool_down * 2 or COOL_DOWN)",
        new="COOL_DOWN",
        tests=_CREDENTIALS,
    ),
    Mutation(
        "refusals of calls that were under way together count each",
        _ACCOUNT,
        old="        if self.clock() >= self.refused_until:\n",
        new="        if True:\n",
        tests=_CREDENTIALS,
    ),
    Mutation(
        "a request whose deadline is far waits for a rate limit of an hour",
        _ACCOUNT,
        old="        if left > max(0.0, patience):\n",
        new="        if False:\n",
        tests=_RETRY,
    ),
    Mutation(
        "the pauses after rate limits that name no time do not grow",
        _ACCOUNT,
        old="PAUSE * 2.0 ** min(self._consecutive_limits - 1, 16)",
        new="PAUSE",
        tests=_RETRY,
    ),
    Mutation(
        "who waits for a place stays although the breaker has opened",
        _ACCOUNT,
        old="            self._blocking.set()\n            self.limits.send_away()\n",
        new="            self._blocking.set()\n",
        tests=_ENGINE_BREAKER,
    ),
    Mutation(
        "who waits between two attempts stays although the breaker has opened",
        _ACCOUNT,
        old="            self._blocking.set()\n            self.limits.send_away()\n",
        new="            self.limits.send_away()\n",
        tests=_ENGINE_BREAKER,
    ),
    Mutation(
        "of issuers that share an account the laxest limit wins",
        _ACCOUNT,
        old="rate=min(one.requests_per_second for one in limits)",
        new="rate=max(one.requests_per_second for one in limits)",
        tests=_ENGINE_LIMITS,
    ),
    Mutation(
        "a half-open breaker lets a second probe through",
        _BREAKER,
        old="return self.closed or (self.state is BreakerState.OPEN and",
        new="return self.closed or (self.state is not BreakerState.CLOSED and",
        tests=_BREAKER_ALONE,
    ),
    Mutation(
        "a probe goes out before the open time is over",
        _BREAKER,
        old="and self._clock() >= self.open_until)",
        new="and True)",
        tests=_BREAKER_ALONE,
    ),
    Mutation(
        "results of calls from before the breaker opened count",
        _BREAKER,
        old="        if era != self._era:\n            return\n",
        new="",
        tests=_BREAKER_ALONE,
    ),
    Mutation(
        "a failed probe does not double the open time",
        _BREAKER,
        old="self._open(self._open_for * 2)",
        new="self._open(self._open_for)",
        tests=_BREAKER_ALONE,
    ),
    Mutation(
        "the jitter exceeds the longest open time",
        _BREAKER,
        old="self._clock() + min(jittered, longest)",
        new="self._clock() + jittered",
        tests=_BREAKER_ALONE,
    ),
    Mutation(
        "breakers that opened together probe together",
        _BREAKER,
        old="self._open_for * (1 + self._random.random() * JITTER)",
        new="self._open_for",
        tests=_BREAKER_ALONE,
    ),
    Mutation(
        "a refused request as the probe closes the breaker",
        _BREAKER,
        old="self._tell(good=None if self.probe else True)",
        new="self._tell(good=True)",
        tests=_BREAKER_ALONE,
    ),
    Mutation(
        "a probe that said nothing leaves the breaker half-open for ever",
        _BREAKER,
        old="        else:\n            self._become(BreakerState.OPEN)\n",
        new="",
        tests=_BREAKER_ALONE,
    ),
    Mutation(
        "an authority that fails now and then is told of at each failure",
        _ACCOUNT,
        old="        if is_first and self.clock() >= self._tell_again:\n",
        new="        if is_first:\n",
        tests=_NEWS,
    ),
    Mutation(
        "an authority that fails is told of at each failure",
        _ACCOUNT,
        old="        if is_first and self.clock() >= self._tell_again:\n",
        new="        if self.clock() >= self._tell_again:\n",
        tests=_NEWS,
    ),
    Mutation(
        "that an authority fails is told at its next check only",
        _ACCOUNT,
        old="            self._observer.failing(self.name)\n",
        new="",
        tests=_NEWS,
    ),
    Mutation(
        "an authority is Degraded since a deadline ended a call to it at once",
        _PERMIT,
        old="            if not (isinstance(error, CutOff) and error.is_short):\n",
        new="            if True:\n",
        tests=_TIME,
    ),
)
