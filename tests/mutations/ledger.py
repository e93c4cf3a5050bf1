"""The ledger: what is suspected, who may adopt, and what may be revoked."""

from __future__ import annotations

from typing import Final

from tests.mutations.mutation import Mutation

_FILE: Final = "issuer/signing/ledger.py"
_ENTRY: Final = "issuer/signing/entry.py"
_TESTS: Final = ("unit/signing/test_ledger.py",)
_SUSPECTS: Final = ("unit/signing/test_engine_suspects.py",)

MUTATIONS: Final = (
    Mutation(
        "a turn in which nobody looked ends the suspicion of a former process",
        _FILE,
        old="        uids = self._signing.setdefault",
        new="        self._former.pop(order.uid, None)\n        uids = self._signing.setdefault",
        tests=_SUSPECTS,
    ),
    Mutation(
        "a look at one account ends the suspicion at all others",
        _FILE,
        old="return seen is not None and account not in seen",
        new="return seen is not None and not seen",
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
        _ENTRY,
        old="return self.first_sent is not None and self.looked < self.over",
        new="return self.first_sent is not None and self.looked < self.sent",
        tests=_TESTS,
    ),
    Mutation(
        "a replaced credential makes a suspicion forgotten",
        _ENTRY,
        old="return self.account == account or self.authority.full_name == authority.full_name",
        new="return self.account == account",
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
        old="if entry.first_sent is None or entry.is_blind or handle in entry.before or self._is_key_busy(entry):",
        new="if entry.first_sent is None or entry.is_blind or self._is_key_busy(entry):",
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
        old="if entry.first_sent is None or entry.is_blind or handle in entry.before or self._is_key_busy(entry):",
        new="if entry.first_sent is None or entry.is_blind or handle in entry.before:",
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
        "a certificate that somebody has received from a former process is revoked",
        _FILE,
        old="if fingerprint and self._received(fingerprint):",
        new="if False:",
        tests=_TESTS,
    ),
    Mutation(
        "what a former process may have made is revoked although nobody looked before our call",
        _FILE,
        old="if entry.first_sent is None or entry.is_blind or handle",
        new="if entry.first_sent is None or handle",
        tests=_TESTS,
    ),
    Mutation(
        "what a former process may have made for another request with the same key is revoked",
        _FILE,
        old="if self._former_keys.get(entry.order.csr.public_key, set()) - {entry.order.uid}:",
        new="if False:",
        tests=_TESTS,
    ),
    Mutation(
        "a certificate that began to live before our call is revoked",
        _FILE,
        old="return earliest <= begins <= ",
        new="return begins <= ",
        tests=_TESTS,
    ),
    Mutation(
        "a certificate that was made long after our call is revoked",
        _FILE,
        old="return earliest <= begins <= self._now() + timedelta(seconds=entry.over - self._clock())",
        new="return earliest <= begins",
        tests=_TESTS,
    ),
    Mutation(
        "what is found is revoked although owners were forgotten",
        _FILE,
        old="if self._owners.forgotten is not None and entry.sent <= self._owners.forgotten:",
        new="if False:",
        tests=_TESTS,
    ),
    Mutation(
        "no second look comes after the provider has certainly finished",
        _FILE,
        old="return not entry.was_looked_for or self._clock() >= entry.over",
        new="return not entry.was_looked_for",
        tests=("unit/signing/test_engine_cleanup.py",),
    ),
    Mutation(
        "what another request with the same key received stays on the list of orphans",
        _FILE,
        old="for uid in {*self._owners.of(leaf), entry.order.uid}):",
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
