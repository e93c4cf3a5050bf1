"""Certificates that may exist at a provider without anybody having received them.

A call whose answer was lost may have signed. The request goes on without it, and the certificate, if there is one, is
looked for later and revoked. Revoking a certificate that somebody uses would be far worse than leaving one that nobody
uses, so the rule is: revoke only what was certainly not delivered, to any request.

- Nothing is revoked before the request's fate is settled (`settle`): until then its next pass may still adopt it.
- `find` goes by key and names, and two requests may share both (a private key that is used again). So a certificate
  that is known as another request's is left alone, so is one that was made long after our call, and nothing is looked
  for while another request with the same key is being signed.
- All of this is memory of one process, bounded in number and in age. What falls out is left alone, not revoked.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from issuer.authorities.base import SigningOrder
    from issuer.signing.plan import PlannedAuthority

GRACE: Final = 300.0
"""Seconds after a call in which the provider may still finish what nobody waits for any more."""
KEEP: Final = 86400.0
"""Seconds after which a suspicion is dropped."""
MOST: Final = 4096
"""Suspicions that are remembered; each holds a CSR."""
MOST_FATES: Final = 20_000
"""Fates and fingerprints that are remembered."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Suspicion:
    """What one request may have left, or has left, at one account.

    Attributes:
        order: what was asked for.
        planned: who was asked.
        issuer: kind and key of the issuer, to find the authority again after its configuration changed.
        account: at which account.
        sent: loop time at which the last call whose answer was lost was sent, or the record was made.
        sent_at: the same as wall time.
        lost: an answer was lost, so `find` has to look.
        looked: `find` has answered since `sent`.
        records: handles of certificates that exist for certain, with the fingerprint of the leaf ("" if unreadable).
    """

    order: SigningOrder
    planned: PlannedAuthority
    issuer: tuple[str, str]
    account: str
    sent: float
    sent_at: datetime
    lost: bool = False
    looked: bool = False
    records: dict[str, str] = field(default_factory=dict)


class Orphans:
    """The memory of suspicions, and the judge of what may be revoked."""

    def __init__(
        self, *, clock: Callable[[], float], now: Callable[[], datetime], most: int = MOST, most_fates: int = MOST_FATES
    ) -> None:
        self._clock = clock
        self._now = now
        self._most = most
        self._most_fates = most_fates
        self._entries: OrderedDict[str, dict[str, Suspicion]] = OrderedDict()
        self._count = 0
        self._fates: OrderedDict[str, str | None] = OrderedDict()
        self._owners: OrderedDict[str, tuple[set[str], float]] = OrderedDict()
        self._claims: OrderedDict[str, set[str]] = OrderedDict()
        self._forgot: float | None = None
        self._active: dict[bytes, dict[str, int]] = {}
        self._condemned: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def begin(self, order: SigningOrder) -> None:
        """A pass for this request begins: whatever it had left may be adopted now."""
        self._fates.pop(order.uid, None)
        uids = self._active.setdefault(order.csr.public_key, {})
        uids[order.uid] = uids.get(order.uid, 0) + 1

    def end(self, order: SigningOrder) -> None:
        """The pass is over."""
        uids = self._active[order.csr.public_key]
        uids[order.uid] -= 1
        if not uids[order.uid]:
            del uids[order.uid]
        if not uids:
            del self._active[order.csr.public_key]

    def lost(
        self, order: SigningOrder, planned: PlannedAuthority, issuer: tuple[str, str], account: str, sent: float
    ) -> None:
        """A call was sent at the loop time `sent` and its answer was lost."""
        entry = self._entry(order, planned, issuer, account)
        entry.lost, entry.looked = True, False
        entry.sent = sent
        entry.sent_at = self._now() - timedelta(seconds=max(0.0, self._clock() - entry.sent))

    def made(
        self,
        order: SigningOrder,
        planned: PlannedAuthority,
        issuer: tuple[str, str],
        account: str,
        handle: str,
        fingerprint: str,
    ) -> None:
        """A certificate of this request exists; without a handle nobody can do anything about it."""
        if handle:
            self._entry(order, planned, issuer, account).records[handle] = fingerprint

    def claim(self, uid: str, fingerprint: str) -> None:
        """This certificate is the result of that request.

        It may be the result of two: one with the same key may find it while the answer to the other is under way.
        """
        owners, _ = self._owners.pop(fingerprint, (set(), 0.0))
        self._owners[fingerprint] = (owners | {uid}, self._clock())
        while len(self._owners) > self._most_fates:
            _, (_, self._forgot) = self._owners.popitem(last=False)
        self._claims.setdefault(uid, set()).add(fingerprint)
        while len(self._claims) > self._most_fates:
            self._claims.popitem(last=False)

    def adopt(self, uid: str, handle: str, fingerprint: str) -> bool:
        """As `claim`, for a certificate that was found; False if it is another request's already.

        A record of another request that it was wrong is void from here on.
        """
        if self._owned_elsewhere(uid, fingerprint):
            return False
        self.claim(uid, fingerprint)
        for entry in [entry for entries in self._entries.values() for entry in entries.values()]:
            if handle in entry.records:
                if entry.order.uid == uid:
                    entry.records[handle] = fingerprint
                else:
                    self.cleared(entry, handle)
        return True

    def suspected(self, uid: str, account: str, authority: str) -> bool:
        """Whether an answer was lost there, so that a look comes before another call."""
        return any(
            entry.lost and (entry.account == account or entry.planned.name == authority)
            for entry in self._entries.get(uid, {}).values()
        )

    def settle(self, uid: str, delivered: str | None) -> None:
        """The fate of a request: the fingerprint of what it received, or None: it never receives anything."""
        self._fates.pop(uid, None)
        self._fates[uid] = delivered
        while len(self._fates) > self._most_fates:
            self._fates.popitem(last=False)
        for fingerprint in self._claims.pop(uid, set()) - {delivered}:
            owners, _ = self._owners.get(fingerprint, (set(), 0.0))
            owners.discard(uid)
        for entry in list(self._entries.get(uid, {}).values()):
            self._drop_delivered(entry)

    def due(self) -> Iterator[Suspicion]:
        """What can be looked into now: settled, no other request with the same key under way. Drops what is too old."""
        now = self._clock()
        for entry in [entry for entries in self._entries.values() for entry in entries.values()]:
            if now - entry.sent > KEEP:
                log.warning("a possible orphan was not cleared up in time", request=_name(entry))
                self.drop(entry)
            elif self._settled(entry):
                self._drop_delivered(entry)
                if entry.records or self.find_due(entry):
                    yield entry

    def find_due(self, entry: Suspicion) -> bool:
        """Whether to look for it now: once at first, and once the provider has certainly finished."""
        if not entry.lost or not self._settled(entry) or self._shared_key_busy(entry):
            return False
        return not entry.looked or self._clock() - entry.sent >= GRACE

    def condemn(self, entry: Suspicion, handle: str, fingerprint: str, made: datetime | None) -> bool:
        """Whether this certificate may be revoked now; if so nobody adopts it from here on.

        Args:
            entry: for whom it was found.
            handle: the provider's id of it.
            fingerprint: of its leaf; "" if that is unreadable, which only a record of our own may be.
            made: when its life begins; None for a record of our own.
        """
        uid = entry.order.uid
        if not handle or not self._settled(entry) or (fingerprint and fingerprint == self._fates[uid]):
            return False
        if fingerprint and self._owned_elsewhere(uid, fingerprint):
            return False
        if handle not in entry.records:
            if not fingerprint or self._shared_key_busy(entry):
                return False
            if self._forgot is not None and entry.sent <= self._forgot:
                return False
            if made is not None and made > entry.sent_at + timedelta(seconds=GRACE):
                return False
        self._condemned[handle] = None
        while len(self._condemned) > self._most_fates:
            self._condemned.popitem(last=False)
        return True

    def condemned(self, handle: str) -> bool:
        """Whether this certificate is revoked, or about to be; it must not be adopted."""
        return handle in self._condemned

    def cleared(self, entry: Suspicion, handle: str) -> None:
        """This certificate is revoked, or beyond our reach."""
        entry.records.pop(handle, None)
        self._drop_empty(entry)

    def looked(self, entry: Suspicion, sent: float) -> None:
        """`find` answered to a look that was sent at the loop time `sent`, and what it found is dealt with."""
        entry.looked = True
        if sent - entry.sent >= GRACE:
            entry.lost = False
        self._drop_empty(entry)

    def drop(self, entry: Suspicion) -> None:
        """Remember it no longer."""
        entries = self._entries.get(entry.order.uid, {})
        if entries.get(entry.account) is entry:
            del entries[entry.account]
            self._count -= 1
            if not entries:
                del self._entries[entry.order.uid]

    def _owned_elsewhere(self, uid: str, fingerprint: str) -> bool:
        owners, _ = self._owners.get(fingerprint, (set(), 0.0))
        return not owners <= {uid}

    def _settled(self, entry: Suspicion) -> bool:
        return entry.order.uid in self._fates

    def _shared_key_busy(self, entry: Suspicion) -> bool:
        return any(uid != entry.order.uid for uid in self._active.get(entry.order.csr.public_key, ()))

    def _drop_delivered(self, entry: Suspicion) -> None:
        """Drop the records of what somebody has received, be it another request with the same key."""
        for handle, leaf in list(entry.records.items()):
            owners, _ = self._owners.get(leaf, (set(), 0.0))
            if leaf and any(self._fates.get(uid) == leaf for uid in {*owners, entry.order.uid}):
                del entry.records[handle]
        self._drop_empty(entry)

    def _drop_empty(self, entry: Suspicion) -> None:
        if not entry.lost and not entry.records:
            self.drop(entry)

    def _entry(
        self, order: SigningOrder, planned: PlannedAuthority, issuer: tuple[str, str], account: str
    ) -> Suspicion:
        entries = self._entries.setdefault(order.uid, {})
        entry = entries.get(account)
        if entry is None:
            entry = entries[account] = Suspicion(order, planned, issuer, account, self._clock(), self._now())
            self._count += 1
            while self._count > self._most:
                oldest = next(iter(next(iter(self._entries.values())).values()))
                log.warning("too many possible orphans to remember, one is left alone", request=_name(oldest))
                self.drop(oldest)
        entry.order, entry.planned = order, planned
        return entry


def _name(entry: Suspicion) -> str:
    return f"{entry.order.namespace}/{entry.order.name}"
