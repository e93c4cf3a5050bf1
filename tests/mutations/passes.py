"""One pass over a list, one authority's turn, the call itself, and the clean-up after all of them."""

from __future__ import annotations

from typing import Final

from tests.mutations.mutation import Mutation

_FAILOVER: Final = "issuer/signing/failover.py"
_ATTEMPT: Final = "issuer/signing/attempt.py"
_CALLS: Final = "issuer/signing/calls.py"
_CLEANUP: Final = "issuer/signing/cleanup.py"
_PLAN: Final = "issuer/signing/plan.py"

_FAILOVER_TESTS: Final = ("unit/signing/test_engine_failover.py",)
_VERDICTS: Final = ("unit/signing/test_engine_verdicts.py",)
_LOST: Final = ("unit/signing/test_engine_lost_answers.py",)
_BREAKER: Final = ("unit/signing/test_engine_breaker.py",)
_CREDENTIALS: Final = ("unit/signing/test_engine_credentials.py",)
_IN_PROGRESS: Final = ("unit/signing/test_engine_in_progress.py",)
_SUSPECTS: Final = ("unit/signing/test_engine_suspects.py",)
_TIME: Final = ("unit/signing/test_engine_time.py",)
_CLEANUP_TESTS: Final = ("unit/signing/test_engine_cleanup.py",)

MUTATIONS: Final = (
    Mutation(
        "an attempt that the deadline ends at once hides the one before",
        _ATTEMPT,
        old="        raise turn.telling(error) from None\n",
        new="        raise\n",
        tests=_TIME,
    ),
    Mutation(
        "a go that the deadline ends at once hides the one before",
        _PLAN,
        old=" or (isinstance(failure, CutOff) and failure.is_short)\n",
        new="\n",
        tests=_TIME,
    ),
    Mutation(
        "a call that had a fair chance is told as the failure before it",
        _PLAN,
        old="(isinstance(failure, CutOff) and failure.is_short)\n",
        new="isinstance(failure, CutOff)\n",
        tests=_TIME,
    ),
    Mutation(
        "a later one's refusal ends the request while the first is merely down",
        _FAILOVER,
        old="terminal=bool(found) and not open_ and (",
        new="terminal=bool(found) and (",
        tests=_VERDICTS,
    ),
    Mutation(
        "a refusal is not remembered, so that it is asked for again",
        _FAILOVER,
        old="                    engine.ledger.refused(order.uid, authority, error)\n",
        new="                    pass\n",
        tests=_VERDICTS,
    ),
    Mutation(
        "one that cannot sign for now ends the request",
        _FAILOVER,
        old="(isinstance(failure, Unsupported) and not failure.for_now)",
        new="isinstance(failure, Unsupported)",
        tests=_VERDICTS,
    ),
    Mutation(
        "a rejected request is offered to the next one",
        _FAILOVER,
        old="                if not isinstance(error, Unsupported) and error.cause not in plan.failover_on:\n"
        "                    break\n",
        new="",
        tests=_FAILOVER_TESTS,
    ),
    Mutation(
        "one that can never sign it ends the pass",
        _FAILOVER,
        old="if not isinstance(error, Unsupported) and error.cause not in",
        new="if error.cause not in",
        tests=_VERDICTS,
    ),
    Mutation(
        "the request's word on who may sign is not heard",
        _FAILOVER,
        old="if only is None or authority.name in only]",
        new="]",
        tests=_FAILOVER_TESTS,
    ),
    Mutation(
        "authorities are asked after the deadline",
        _FAILOVER,
        old="            if engine.clock() >= deadline:\n                break\n",
        new="",
        tests=("unit/signing/test_engine_retry.py",),
    ),
    Mutation(
        "a queue is left for an authority that is down",
        _FAILOVER,
        old="for other in later if not (other.account and other.account.blocked(other.name))]",
        new="for other in later]",
        tests=("unit/signing/test_engine_time.py",),
    ),
    Mutation(
        "a pass is not told to the ledger, so that what it may adopt can be revoked",
        _FAILOVER,
        old="    with engine.ledger.signing(order):\n",
        new="    if True:\n",
        tests=_CLEANUP_TESTS,
    ),
    Mutation(
        "a second POST goes out without a look",
        _ATTEMPT,
        old="                    if turn.is_suspected and (found := await turn.look(permit)):\n"
        "                        return found\n",
        new="",
        tests=_LOST,
    ),
    Mutation(
        "a failover comes without a look",
        _ATTEMPT,
        old="        if found := await turn.look_before_failover(error):\n            return found\n",
        new="",
        tests=_LOST,
    ),
    Mutation(
        "a look before a failover waits for a place as long as it likes",
        _ATTEMPT,
        old="min(end, self._engine.clock() + LOOK_PATIENCE), Priority.LOOK",
        new="float('inf'), Priority.LOOK",
        tests=_LOST,
    ),
    Mutation(
        "a look that fails counts as one that has answered",
        _ATTEMPT,
        old='            log.info("could not look for a lost certificate", **self._fields, error=str(error), '
        "trace_id=error.trace_id)\n",
        new="            engine.ledger.looked(order.uid, self._authority, account.name, begun)\n",
        tests=_SUSPECTS,
    ),
    Mutation(
        "a look does not tell what existed before our first call",
        _ATTEMPT,
        old="            engine.ledger.existed(order, self._authority, account.name, others)\n",
        new="            pass\n",
        tests=_CLEANUP_TESTS,
    ),
    Mutation(
        "a rate limit that a look meets is not heeded",
        _ATTEMPT,
        old="            if isinstance(error, RateLimited):\n                account.limited(error.retry_after)\n",
        new="",
        tests=_LOST,
    ),
    Mutation(
        "what was lost by a cancelled call is not suspected",
        _ATTEMPT,
        old="        except asyncio.CancelledError:\n            if self._planned.authority.remembers:\n",
        new="        except asyncio.CancelledError:\n            if False:\n",
        tests=_LOST,
    ),
    Mutation(
        "an answer that was lost is not suspected",
        _ATTEMPT,
        old="ledger.lost(self._order, self._authority, account.name, sent)\n            if not",
        new="pass\n            if not",
        tests=_LOST,
    ),
    Mutation(
        "a call that was never sent is suspected",
        _ATTEMPT,
        old="isinstance(error, Unavailable) and error.ambiguous and self._planned.authority.remembers",
        new="isinstance(error, Unavailable) and self._planned.authority.remembers",
        tests=_LOST,
    ),
    Mutation(
        "a probe whose answer was lost is not looked for",
        _ATTEMPT,
        old="if not (permit.probe and (found := await self.look(permit))):",
        new="if True:",
        tests=_LOST,
    ),
    Mutation(
        "a probe that signed and could not say so closes the breaker",
        _ATTEMPT,
        old="            permit.failed(error)\n            return found\n",
        new="            permit.signed(0.0)\n            return found\n",
        tests=_LOST,
    ),
    Mutation(
        "a POST goes out without asking the guard",
        _ATTEMPT,
        old="                    engine.guard()\n",
        new="",
        tests=_BREAKER,
    ),
    Mutation(
        "the Secret is not read again after a refusal",
        _ATTEMPT,
        old="if isinstance(error, Unauthorized) and not self._has_reread:",
        new="if False:",
        tests=_CREDENTIALS,
    ),
    Mutation(
        "the Secret is read again after every refusal of a turn",
        _ATTEMPT,
        old="            if isinstance(error, Unauthorized) and not self._has_reread:\n"
        "                self._has_reread = True\n",
        new="            if isinstance(error, Unauthorized):\n",
        tests=_CREDENTIALS,
    ),
    Mutation(
        "a trial after the cool-down goes out with the credential of before",
        _ATTEMPT,
        old="        if self._account.is_refused:\n",
        new="        if False:\n",
        tests=_VERDICTS,
    ),
    Mutation(
        "a request whose certificate met no root is signed again and again",
        _ATTEMPT,
        old="self._authority.is_untrusted(self._order.uid, self._roots):",
        new="False:",
        tests=_VERDICTS,
    ),
    Mutation(
        "what another request has received is adopted",
        _ATTEMPT,
        old="        return verified if self._engine.ledger.adopt(",
        new="        return verified if True or self._engine.ledger.adopt(",
        tests=_SUSPECTS,
    ),
    Mutation(
        "a wrong certificate is not remembered, so that nobody revokes it",
        _ATTEMPT,
        old='            ledger.made(self._order, self._authority, self._account.name, signed.handle, "")\n',
        new="",
        tests=_CLEANUP_TESTS,
    ),
    Mutation(
        "a signed certificate is not remembered, so that nobody revokes it",
        _ATTEMPT,
        old="ledger.made(self._order, self._authority, self._account.name, signed.handle, verified.fingerprint)",
        new="pass",
        tests=_CLEANUP_TESTS,
    ),
    Mutation(
        "one that has accepted a request may take for ever",
        _ATTEMPT,
        old="        if left > 0:\n            permit.accepted(left)\n",
        new="        if True:\n            permit.accepted(left)\n",
        tests=_IN_PROGRESS,
    ),
    Mutation(
        "a late first turn makes as many attempts as any other",
        _ATTEMPT,
        old="1 if single_attempt else self._planned.common.retry.attempts",
        new="self._planned.common.retry.attempts",
        tests=("unit/signing/test_engine_retry.py",),
    ),
    Mutation(
        "a retry begins with less time than calls take",
        _ATTEMPT,
        old="return self._attempts_left <= 0 or state.upcoming_sleep + least > self._budget.left",
        new="return self._attempts_left <= 0",
        tests=("unit/signing/test_engine_time.py", "unit/signing/test_engine_retry.py"),
    ),
    Mutation(
        "a call that hangs is never cut off",
        _CALLS,
        old="        async with asyncio.timeout_at(until):\n",
        new="        if True:\n",
        tests=("unit/signing/test_engine_retry.py::test_a_hanging_call_is_cut_off_after_the_attempt_time",),
    ),
    Mutation(
        "a call that was cut off left nothing behind",
        _CALLS,
        old="raise CutOff(planned.name, ambiguous=planned.authority.remembers, after=after) from None",
        new="raise CutOff(planned.name, ambiguous=False, after=after) from None",
        tests=_LOST,
    ),
    Mutation(
        "a defect of one authority's module ends the pass",
        _CALLS,
        old="        raise InternalError(planned.name, error, ambiguous=planned.authority.remembers) from error\n",
        new="        raise\n",
        tests=_FAILOVER_TESTS,
    ),
    Mutation(
        "a lost lease that is found on the wire counts as a failure of the authority",
        _CALLS,
        old="        raise error.reason from None\n",
        new="        raise InternalError(planned.name, error, ambiguous=True) from None\n",
        tests=_BREAKER,
    ),
    Mutation(
        "an orphan that cannot be looked for ends the round",
        _CLEANUP,
        old="failures[entry.account] += MOST_FAILURES if _is_the_accounts(error) else 1",
        new="failures[entry.account] += MOST_FAILURES",
        tests=_CLEANUP_TESTS,
    ),
    Mutation(
        "a round goes on at an account that is limited",
        _CLEANUP,
        old="failures[entry.account] += MOST_FAILURES if _is_the_accounts(error) else 1",
        new="failures[entry.account] += 0",
        tests=_CLEANUP_TESTS,
    ),
    Mutation(
        "what could not be cleaned up is tried again in every round",
        _CLEANUP,
        old="                self._engine.ledger.failed(entry)\n",
        new="",
        tests=_CLEANUP_TESTS,
    ),
    Mutation(
        "a certificate is revoked without asking the guard",
        _CLEANUP,
        old="        self._engine.guard()\n        try:\n            async with self._call(",
        new="        try:\n            async with self._call(",
        tests=_CLEANUP_TESTS,
    ),
    Mutation(
        "a round begins without asking the guard",
        _CLEANUP,
        old="                self._engine.guard()\n                await self._clean_up(entry)\n",
        new="                await self._clean_up(entry)\n",
        tests=_CLEANUP_TESTS,
    ),
    Mutation(
        "what may not be revoked is revoked with the rest of what was found",
        _CLEANUP,
        old="                if leaf and ledger.orphaned(entry, signed.handle, *leaf):\n",
        new="                if leaf:\n",
        tests=_CLEANUP_TESTS,
    ),
    Mutation(
        "a record of ours is revoked although it may have been delivered",
        _CLEANUP,
        old="            if ledger.orphaned(entry, handle, fingerprint, None):\n",
        new="            if True:\n",
        tests=_CLEANUP_TESTS,
    ),
    Mutation(
        "what a look has found is lost where the look fails afterwards",
        _CLEANUP,
        old="                    ledger.made(entry.order, authority, entry.account, signed.handle, leaf[0])\n",
        new="",
        tests=_CLEANUP_TESTS + _SUSPECTS,
    ),
    Mutation(
        "an account that is down is cleaned up",
        _CLEANUP,
        old="    if not account.breaker.closed:\n",
        new="    if False:\n",
        tests=_CLEANUP_TESTS,
    ),
    Mutation(
        "a clean-up waits for a place as long as it likes",
        _CLEANUP,
        old="slot = await account.limits.acquire(clock() + PATIENCE, Priority.CLEAN_UP)",
        new="slot = await account.limits.acquire(float('inf'), Priority.CLEAN_UP)",
        tests=_CLEANUP_TESTS,
    ),
    Mutation(
        "a clean-up goes before signing",
        _CLEANUP,
        old="Priority.CLEAN_UP)",
        new="Priority.SIGN)",
        tests=_CLEANUP_TESTS,
    ),
    Mutation(
        "two rounds of clean-up run beside one another",
        _CLEANUP,
        old="        if self._is_running:\n            return\n",
        new="",
        tests=_CLEANUP_TESTS,
    ),
    Mutation(
        "a clean-up uses the credential of before",
        _CLEANUP,
        old="authority = engine.registry.current(entry.authority)",
        new="authority = entry.authority",
        tests=_CLEANUP_TESTS,
    ),
)
