"""The ledger: for each request and account what was sent, what came, and what may exist without anybody knowing of it.

A provider without idempotency keys turns a lost answer into a certificate that nobody has. So of each request it is
kept, by UID and account:

    suspected   a certificate may exist: an answer was lost, or a former process may have been signing as we took over.
                Before the next POST for that request there comes a look; one that has answered ends it, and nothing
                else does: no failure, no turn in which nobody looked, no new credential. A provider may finish minutes
                after we gave up, so as long as it may, each POST has a look of its own right before it.
    made        a certificate exists for certain, since an answer of our own said so.
    delivered   the request is settled, with the fingerprint of what it received, or with nothing.
    orphaned    it exists, and nobody received it: clean-up revokes it.

    what happens                       suspected                              made
    POST answered                      -                                      noted, with its handle
    POST lost or cancelled             yes, since the loss                    -
    look found what it looked for      as before; it stops there              adopted, if it is good and nobody else's
    look answered, nothing found       a former process's: no more.           -
                                       Ours: until 5 minutes after the POST
    look failed                        as before                              -
    settled                            of a former process: dropped           whatever was not delivered is orphaned

Revoking a certificate that somebody uses would be far worse than leaving one that nobody uses. So only what this
process had made by a call of its own, and what certainly nobody received, is an orphan:

- Nothing is revoked before its request is settled; until then the next pass may still adopt it.
- A look goes by key and names, and two requests may share both (a private key that is used again). Of what is found,
  without a record of our own, is spared: what another request has, or has received, also from a former process; what
  existed before our first call was sent, as a look then showed, or as its begin of life says; what was made long after
  our last call; and everything, while another request with the same key is being signed, or where a former process may
  have signed: for the same request, if the look before our first call failed, or for another one with the same key.
- All of this is memory of one process, bounded in number and in age. What falls out is left alone, not revoked.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import structlog

from issuer.signing.entry import Entry
from issuer.signing.owners import Owners

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from issuer.authorities.base import SigningOrder
    from issuer.authorities.errors import AuthorityError, Rejected
    from issuer.signing.observer import AccountUser
    from issuer.signing.registry import AuthorityState

DATED_BACK: Final = timedelta(minutes=6)
"""How long before it was made a certificate may begin to live: the reference provider dates back by five minutes, its
times are whole seconds, and its clock may differ from ours."""
GRACE: Final = 300.0
"""Seconds after a call in which the provider may still finish what nobody waits for any more."""
FRESH: Final = 10.0
"""Seconds for which the answer to a look is good while the provider may still finish: one listing serves many."""
KEEP: Final = 86400.0
"""Seconds after which a suspicion is dropped."""
FIRST_PAUSE: Final = 30.0
"""Seconds until a clean-up that failed is tried again; doubled with each failure..."""
LONGEST_PAUSE: Final = 3600.0
"""...up to this."""
MOST: Final = 4096
"""Requests, by account, of which something is suspected; each holds a CSR."""
MOST_FATES: Final = 20_000
"""Requests and fingerprints that are remembered."""
MOST_FORMER: Final = 200_000
"""Requests that a former process may have signed. What falls out may be signed twice, so there is room for more than
there ever are: each leaves when it is settled."""

T = TypeVar("T")
K = TypeVar("K")

log = structlog.get_logger(__name__)


class Acceptance(NamedTuple):
    """A request that an authority signs later.

    Attributes:
        authority: which.
        failures: why those before it in the list did not sign, by name.
    """

    authority: AuthorityState
    failures: Mapping[str, AuthorityError]


class Ledger:
    """What is known of requests and certificates; the only judge of adoption and of revocation.

    Args:
        clock: loop time.
        now: wall clock, UTC.
        received: whether some request has received the certificate with a fingerprint, whoever had it signed.
        grace: seconds after a call in which the provider may still finish what nobody waits for any more.
        most: entries that are kept.
        most_fates: requests and fingerprints that are kept.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        received: Callable[[str], bool],
        grace: float = GRACE,
        most: int = MOST,
        most_fates: int = MOST_FATES,
    ) -> None:
        self._clock = clock
        self._now = now
        self._most = most
        self._most_fates = most_fates
        self._received = received
        self.grace = grace
        self._entries: OrderedDict[str, dict[str, Entry]] = OrderedDict()
        self._count = 0
        self._former: OrderedDict[str, dict[str, None]] = OrderedDict()
        self._former_keys: OrderedDict[bytes, set[str]] = OrderedDict()
        self._fates: OrderedDict[str, str | None] = OrderedDict()
        self._owners = Owners(clock=clock, most=most_fates)
        self._refusals: OrderedDict[str, dict[AuthorityState, Rejected]] = OrderedDict()
        self._accepted: OrderedDict[str, Acceptance] = OrderedDict()
        self._signing: dict[bytes, dict[str, int]] = {}
        self._orphaned: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def by_authority(self) -> Counter[AccountUser]:
        """How many entries there are of each authority that was asked last."""
        return Counter(entry.authority.user for entries in self._entries.values() for entry in entries.values())

    @contextmanager
    def signing(self, order: SigningOrder) -> Iterator[None]:
        """A pass for this request: whatever it had left may be adopted."""
        self._fates.pop(order.uid, None)
        if order.uid in self._former:
            self._former_keys.setdefault(order.csr.public_key, set()).add(order.uid)
            _shorten(self._former_keys, self._most_fates)
        uids = self._signing.setdefault(order.csr.public_key, {})
        uids[order.uid] = uids.get(order.uid, 0) + 1
        try:
            yield
        finally:
            uids[order.uid] -= 1
            if not uids[order.uid]:
                del uids[order.uid]
            if not uids:
                del self._signing[order.csr.public_key]

    def suspect(self, uid: str) -> None:
        """A former process may have been signing this request: look before the first POST, at each account."""
        self._former.setdefault(uid, {})
        _shorten(self._former, MOST_FORMER)

    def is_suspected(self, uid: str, authority: AuthorityState, account: str) -> bool:
        """Whether a look must come before the next POST there."""
        if self._is_formers(uid, account):
            return True
        found = [entry for entry in self._entries_of(uid) if entry.is_at(authority, account)]
        return any(entry.is_open and entry.looked < self._fresh(entry) for entry in found)

    def is_unseen(self, uid: str, authority: AuthorityState, account: str) -> bool:
        """Whether an answer was lost there and no look has answered since."""
        found = [entry for entry in self._entries_of(uid) if entry.is_at(authority, account)]
        return any(entry.first_sent is not None and not entry.was_looked_for for entry in found)

    def suspected_since(self, uid: str, authority: AuthorityState, account: str) -> float:
        """Loop time from which on a look may learn of it; 0 for what a former process did."""
        found = [entry for entry in self._entries_of(uid) if entry.is_open and entry.is_at(authority, account)]
        return max((self._fresh(entry) for entry in found), default=0.0)

    def lost(self, order: SigningOrder, authority: AuthorityState, account: str, sent: float) -> None:
        """A POST was sent at the loop time `sent`, and its answer is given up."""
        entry = self._entry(order, authority, account)
        entry.sent, entry.lost, entry.over = sent, self._clock(), sent + self.grace
        if entry.first_sent is None:
            entry.first_sent = self._now() - timedelta(seconds=max(0.0, self._clock() - sent))
            entry.is_blind = self._is_formers(order.uid, account)

    def looked(self, uid: str, authority: AuthorityState, account: str, begun: float) -> None:
        """A look that began at the loop time `begun` has answered, with all there is."""
        if (seen := self._former.get(uid)) is not None:
            seen[account] = None
        for entry in self._entries_of(uid):
            if entry.is_at(authority, account):
                entry.looked, entry.failures = max(entry.looked, begun), 0
                self._drop_empty(entry)

    def existed(self, order: SigningOrder, authority: AuthorityState, account: str, handles: set[str]) -> None:
        """What a look found before the first POST for that request went out: whoever made it, it was not that POST."""
        if handles and (entry := self._entry(order, authority, account)).first_sent is None:
            entry.before |= handles

    def made(self, order: SigningOrder, authority: AuthorityState, account: str, handle: str, fingerprint: str) -> None:
        """A certificate of this request exists; without a handle nobody can do anything about it."""
        if handle:
            self._entry(order, authority, account).made[handle] = fingerprint

    def claim(self, uid: str, fingerprint: str) -> None:
        """This certificate is the result of that request."""
        self._owners.claim(uid, fingerprint)

    def adopt(self, uid: str, handle: str, fingerprint: str) -> bool:
        """As `claim`, for a certificate that was found; False if it is another request's, or about to be revoked.

        Where another request has a record that it was wrong, it was not, for this one.
        """
        if handle in self._orphaned or self._is_anothers(uid, fingerprint):
            return False
        self.claim(uid, fingerprint)
        for entries in self._entries.values():
            for entry in entries.values():
                if handle in entry.made:
                    entry.made[handle] = fingerprint
        return True

    def refused(self, uid: str, authority: AuthorityState, refusal: Rejected) -> None:
        """This authority refuses that request, and would again."""
        self._refusals.setdefault(uid, {})[authority] = refusal
        _shorten(self._refusals, self._most_fates)

    def refusal(self, uid: str, authority: AuthorityState) -> Rejected | None:
        """How it refused the request; None if it has not."""
        return self._refusals.get(uid, {}).get(authority)

    def accepted(self, uid: str, authority: AuthorityState | None, failures: Mapping[str, AuthorityError]) -> None:
        """An authority has accepted the request, and takes its time; None: none that has is left.

        Args:
            uid: of the request.
            authority: which.
            failures: why those before it in the list did not sign, by name.
        """
        self._accepted.pop(uid, None)
        if authority is not None:
            self._accepted[uid] = Acceptance(authority, dict(failures))
            _shorten(self._accepted, self._most_fates)

    def accepted_by(self, uid: str) -> Acceptance | None:
        """Who has accepted the request, and has not signed yet."""
        return self._accepted.get(uid)

    def settle(self, uid: str, delivered: str | None) -> None:
        """The fate of a request: the fingerprint of what it received, or None: it never receives anything."""
        self._fates.pop(uid, None)
        self._fates[uid] = delivered
        _shorten(self._fates, self._most_fates)
        self._former.pop(uid, None)
        self._refusals.pop(uid, None)
        self._accepted.pop(uid, None)
        self._owners.settle(uid, delivered)
        for entry in self._entries_of(uid):
            self._drop_delivered(entry)

    def due(self) -> list[Entry]:
        """What can be cleaned up now: settled, and its time has come. Known certificates first, what failed last.

        Drops what is too old.
        """
        now, due = self._clock(), []
        for entry in [entry for entries in self._entries.values() for entry in entries.values()]:
            if now - entry.noted > KEEP:
                log.warning("a possible orphan was not cleaned up in time", **entry.fields)
                self.drop(entry)
            elif entry.order.uid in self._fates:
                self._drop_delivered(entry)
                if entry.due <= now and (entry.made or self.look_due(entry)):
                    due.append(entry)
        return sorted(due, key=lambda entry: (not entry.made, entry.failures, entry.due))

    def look_due(self, entry: Entry) -> bool:
        """Whether to look for it now: once soon, and once when the provider has certainly finished."""
        if entry.order.uid not in self._fates or not entry.is_open or self._is_key_busy(entry):
            return False
        return not entry.was_looked_for or self._clock() >= entry.over

    def orphaned(self, entry: Entry, handle: str, fingerprint: str, begins: datetime | None) -> bool:
        """Whether this certificate may be revoked now; if so nobody adopts it from here on.

        Args:
            entry: for whom it was found.
            handle: the provider's id of it.
            fingerprint: of its leaf; "" if that is unreadable, which only a record of our own may be.
            begins: of its life; None for a record of our own.
        """
        uid = entry.order.uid
        if not handle or uid not in self._fates or (fingerprint and fingerprint == self._fates[uid]):
            return False
        if fingerprint and self._is_anothers(uid, fingerprint):
            return False
        if handle not in entry.made and not (fingerprint and begins and self._is_ours(entry, handle, begins)):
            return False
        if fingerprint and self._received(fingerprint):
            return False
        self._orphaned[handle] = None
        _shorten(self._orphaned, self._most_fates)
        return True

    def cleared(self, entry: Entry, handle: str) -> None:
        """This certificate is revoked, or beyond our reach."""
        entry.made.pop(handle, None)
        self._drop_empty(entry)

    def failed(self, entry: Entry) -> None:
        """It could not be cleaned up; it is tried again, ever later."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(entry.failures, 16))
        entry.failures += 1
        entry.due = self._clock() + pause

    def drop(self, entry: Entry) -> None:
        """Remember it no longer."""
        entries = self._entries.get(entry.order.uid, {})
        if entries.get(entry.account) is entry:
            del entries[entry.account]
            self._count -= 1
            if not entries:
                del self._entries[entry.order.uid]

    def _is_ours(self, entry: Entry, handle: str, begins: datetime) -> bool:
        """Whether a certificate that a look found can only stem from a lost call of this request."""
        if entry.first_sent is None or entry.is_blind or handle in entry.before or self._is_key_busy(entry):
            return False
        if self._owners.forgotten is not None and entry.sent <= self._owners.forgotten:
            return False
        if self._former_keys.get(entry.order.csr.public_key, set()) - {entry.order.uid}:
            return False
        earliest = entry.first_sent - DATED_BACK
        return earliest <= begins <= self._now() + timedelta(seconds=entry.over - self._clock())

    def _is_formers(self, uid: str, account: str) -> bool:
        """Whether a former process may have signed it there, and no look has answered since."""
        seen = self._former.get(uid)
        return seen is not None and account not in seen

    def _fresh(self, entry: Entry) -> float:
        """Loop time from which on what was learnt of it counts."""
        return max(entry.lost, min(self._clock(), entry.over) - FRESH)

    def _is_anothers(self, uid: str, fingerprint: str) -> bool:
        return not self._owners.of(fingerprint) <= {uid}

    def _is_key_busy(self, entry: Entry) -> bool:
        return any(uid != entry.order.uid for uid in self._signing.get(entry.order.csr.public_key, ()))

    def _drop_delivered(self, entry: Entry) -> None:
        """Drop the records of what somebody has received, be it another request with the same key."""
        for handle, leaf in list(entry.made.items()):
            if leaf and any(self._fates.get(uid) == leaf for uid in {*self._owners.of(leaf), entry.order.uid}):
                del entry.made[handle]
        self._drop_empty(entry)

    def _drop_empty(self, entry: Entry) -> None:
        if entry.order.uid in self._fates and not entry.is_open and not entry.made:
            self.drop(entry)

    def _entries_of(self, uid: str) -> list[Entry]:
        return list(self._entries.get(uid, {}).values())

    def _entry(self, order: SigningOrder, authority: AuthorityState, account: str) -> Entry:
        entries = self._entries.setdefault(order.uid, {})
        entry = entries.get(account)
        if entry is None:
            entry = entries[account] = Entry(order, authority, account, self._clock())
            self._count += 1
            while self._count > self._most:
                oldest = next(iter(next(iter(self._entries.values())).values()))
                log.warning("too many possible orphans to remember, one is left alone", **oldest.fields)
                self.drop(oldest)
        entry.order, entry.authority, entry.noted = order, authority, self._clock()
        return entry


def _shorten(memory: OrderedDict[K, T], most: int) -> None:
    while len(memory) > most:
        memory.popitem(last=False)
