"""The ledger: what is suspected, who may adopt, and what may be revoked."""

from __future__ import annotations

from typing import Final

from tests.mutations.mutation import Mutation

_FILE: Final = "issuer/signing/ledger.py"
_TESTS: Final = ("unit/signing/test_ledger.py",)
_SUSPECTS: Final = ("unit/signing/test_engine_suspects.py",)

MUTATIONS: Final = (
    Mutation(
        "a turn in which nobody looked ends the suspicion of a former process",
        _FILE,
        old="        self._fates.pop(order.uid, None)\n        uids =",
        new="        self._fates.pop(order.uid, None)\n        self._former.pop(order.uid, None)\n        uids =",
        tests=_SUSPECTS,
    ),
    Mutation(
        "a look at one account ends the suspicion at all others",
        _FILE,
        old="        if account not in self._former.get(uid, {account: None}):",
        new="        if not self._former.get(uid, {account: None}):",
        tests=_TESTS,
    ),
    Mutation(
        "a refusal ends the suspicion of a former process",
        _FILE,
        old="        self._refusals.setdefault(uid, {})[authority] = refusal",
        new="        self._refusals.setdefault(uid, {})[authority] = refusal\n        self._former.pop(uid, None)",
        tests=_TESTS,
    ),
    Mutation(
        "one look ends the suspicion although the provider may still sign",
        _FILE,
        old="any(entry.is_open and entry.looked < self._fresh(entry) for",
        new="any(entry.is_open and entry.looked < entry.lost for",
        tests=_TESTS,
    ),
    Mutation(
        "a lost answer is suspected for no longer than the call",
        _FILE,
        old="return self.first_sent is not None and self.looked < self.sent + GRACE",
        new="return self.first_sent is not None and self.looked < self.sent",
        tests=_TESTS,
    ),
    Mutation(
        "a replaced credential makes a suspicion forgotten",
        _FILE,
        old="    return entry.account == account or (asked.kind, asked.issuer, asked.name) == (",
        new="    return entry.account == account or (asked.kind, asked.issuer, asked.name, 0) == (",
        tests=_TESTS,
    ),
    Mutation(
        "a look that began before the loss counts as one after it",
        _FILE,
        old="entry.looked, entry.failures = max(entry.looked, begun), 0",
        new="entry.looked, entry.failures = self._clock(), 0",
        tests=_TESTS,
    ),
    Mutation(
        "a certificate of another request is adopted",
        _FILE,
        old="if handle in self._orphaned or self._is_anothers(uid, fingerprint):",
        new="if handle in self._orphaned:",
        tests=_TESTS,
    ),
    Mutation(
        "a certificate that is being revoked is adopted",
        _FILE,
        old="if handle in self._orphaned or self._is_anothers(uid, fingerprint):",
        new="if self._is_anothers(uid, fingerprint):",
        tests=_TESTS,
    ),
    Mutation(
        "what an adopter has found is nobody's",
        _FILE,
        old="            return False\n        self.claim(uid, fingerprint)\n",
        new="            return False\n",
        tests=_TESTS,
    ),
    Mutation(
        "a record that another request has adopted stays a record of ours",
        _FILE,
        old="                    entry.made[handle] = fingerprint\n        return True",
        new="                    pass\n        return True",
        tests=_TESTS,
    ),
    Mutation(
        "a certificate is revoked before its request is settled",
        _FILE,
        old="        if not handle or uid not in self._fates or (",
        new="        if not handle or (",
        tests=_TESTS,
    ),
    Mutation(
        "a request is cleaned up before it is settled",
        _FILE,
        old="            elif entry.order.uid in self._fates:\n",
        new="            else:\n",
        tests=_TESTS,
    ),
    Mutation(
        "a delivered certificate is revoked",
        _FILE,
        old="or (fingerprint and fingerprint == self._fates[uid]):",
        new="or False:",
        tests=_TESTS,
    ),
    Mutation(
        "a certificate that belongs to another request is revoked",
        _FILE,
        old="        if fingerprint and self._is_anothers(uid, fingerprint):\n",
        new="        if False:\n",
        tests=_TESTS,
    ),
    Mutation(
        "a certificate that nobody could read is revoked although it was only found",
        _FILE,
        old="and not (fingerprint and begins and self._is_ours(",
        new="and not (begins and self._is_ours(",
        tests=_TESTS,
    ),
    Mutation(
        "a certificate that existed before our first call is revoked",
        _FILE,
        old="if entry.first_sent is None or handle in entry.before or self._is_key_busy(entry):",
        new="if entry.first_sent is None or self._is_key_busy(entry):",
        tests=_TESTS,
    ),
    Mutation(
        "what a look shows after our first call counts as older",
        _FILE,
        old="if handles and (entry := self._entry(order, authority, account)).first_sent is None:",
        new="if handles and (entry := self._entry(order, authority, account)):",
        tests=_TESTS,
    ),
    Mutation(
        "a certificate is revoked while a request with the same key is signed",
        _FILE,
        old="if entry.first_sent is None or handle in entry.before or self._is_key_busy(entry):",
        new="if entry.first_sent is None or handle in entry.before:",
        tests=_TESTS,
    ),
    Mutation(
        "a certificate is looked for to be revoked while a request with the same key is signed",
        _FILE,
        old="not entry.is_open or self._is_key_busy(entry):",
        new="not entry.is_open:",
        tests=_TESTS,
    ),
    Mutation(
        "a certificate of a former process is revoked",
        _FILE,
        old="max(entry.first_sent - CLOCK_SKEW, self._leading_since.replace(microsecond=0))",
        new="entry.first_sent - CLOCK_SKEW",
        tests=_TESTS,
    ),
    Mutation(
        "a certificate that began to live before our call is revoked",
        _FILE,
        old="max(entry.first_sent - CLOCK_SKEW, self._leading_since.replace(microsecond=0))",
        new="self._leading_since.replace(microsecond=0)",
        tests=_TESTS,
    ),
    Mutation(
        "a certificate that was made long after our call is revoked",
        _FILE,
        old="return earliest <= begins <= last_sent + timedelta(seconds=GRACE)",
        new="return earliest <= begins",
        tests=_TESTS,
    ),
    Mutation(
        "what is found is revoked although owners were forgotten",
        _FILE,
        old="if self._forgot is not None and entry.sent <= self._forgot:",
        new="if False:",
        tests=_TESTS,
    ),
    Mutation(
        "no second look comes after the provider has certainly finished",
        _FILE,
        old="return not entry.was_looked_for or self._clock() >= entry.sent + GRACE",
        new="return not entry.was_looked_for",
        tests=("unit/signing/test_engine_cleanup.py",),
    ),
    Mutation(
        "what another request with the same key received stays on the list of orphans",
        _FILE,
        old="for uid in {*owners, entry.order.uid}):",
        new="for uid in {entry.order.uid}):",
        tests=_TESTS,
    ),
    Mutation(
        "a clean-up that fails is tried again without a growing pause",
        _FILE,
        old="FIRST_PAUSE * 2.0 ** min(entry.failures, 16)",
        new="FIRST_PAUSE",
        tests=_TESTS,
    ),
    Mutation(
        "suspicions are kept without a bound",
        _FILE,
        old="            while self._count > self._most:",
        new="            while False:",
        tests=_TESTS,
    ),
    Mutation(
        "a suspicion is kept for ever",
        _FILE,
        old="if now - entry.noted > KEEP:",
        new="if False:",
        tests=_TESTS,
    ),
)
