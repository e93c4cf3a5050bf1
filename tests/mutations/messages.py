"""What conditions, events and logs say."""

from __future__ import annotations

from typing import Final

from tests.mutations.mutation import Mutation

_DECISION: Final = "issuer/controllers/decision.py"
_ERRORS: Final = "issuer/authorities/errors.py"
_FAILURES: Final = "issuer/signing/failures.py"
_FAILOVER: Final = "issuer/signing/failover.py"
_READINESS: Final = "issuer/controllers/readiness.py"
_REPEATS: Final = "issuer/observe/repeats.py"

_DECISION_TESTS: Final = ("unit/controllers/test_decision.py",)
_CREDENTIALS: Final = ("unit/signing/test_engine_credentials.py",)

MUTATIONS: Final = (
    Mutation(
        "a request that failed at its deadline speaks of a next attempt",
        _DECISION,
        old='    known = final(failures) if failures else "no authority could be asked"\n',
        new='    known = _reasons(failures) if failures else "no authority could be asked"\n',
        tests=_DECISION_TESTS,
    ),
    Mutation(
        "an issuer that has never signed is praised",
        _READINESS,
        old="    if health.last_success:\n",
        new="    if True:\n",
        tests=("unit/controllers/test_readiness.py",),
    ),
    Mutation(
        "the reason of an issuer passes over what is wrong with its first authority",
        _READINESS,
        old="    if troubles or not _is_well(first):\n",
        new="    if troubles:\n",
        tests=("unit/controllers/test_readiness.py",),
    ),
    Mutation(
        "a Secret that may not be read counts as missing",
        _FAILURES,
        old="if is_missing and not isinstance(error.__cause__, SecretForbiddenError) else",
        new="if is_missing else",
        tests=_CREDENTIALS,
    ),
    Mutation(
        "a refusal does not name what was asked for",
        _FAILOVER,
        old="                    error.asked_for = (*order.csr.hostnames, *order.csr.ip_addresses)\n",
        new="",
        tests=("unit/signing/test_engine_failover.py",),
    ),
    Mutation(
        "a refusal names twice what the provider has named",
        _ERRORS,
        old="any(_is_word(name.lower(), said) for name in self.asked_for)",
        new="False",
        tests=("unit/authorities/test_errors.py",),
    ),
    Mutation(
        "each failed write is a line",
        _REPEATS,
        old="        if now - told < EVERY:\n",
        new="        if False:\n",
        tests=("unit/observe/test_repeats.py",),
    ),
)
