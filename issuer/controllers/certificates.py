"""How many certificates are out, who signed them, how long they live, and which renewals do not come through.

Known is what the cache of requests has shown: of each Certificate, the newest certificate that a request of it carries,
and the newest request that has failed since. A request that no Certificate owns counts by its own name.

The cache keeps neither certificates nor annotations of finished requests, so this is taken in passing, when a request
comes in (`note`). Once a minute a chore counts, in slices, since there may be tens of thousands; what Prometheus gets
is the last count. Records whose requests are gone from the cache are dropped by it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from issuer.api.meta import ObjectKey
from issuer.api.request import CERTIFICATE_NAME_ANNOTATION, REASON_FAILED, signer_of
from issuer.controllers.census import MAX_SHOWN, labels_of
from issuer.controllers.issuercache import issuer_id
from issuer.observe import families
from issuer.observe.metrics import Measure
from issuer.pki.validity import not_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from issuer.api.meta import ObjectMeta
    from issuer.api.request import CertificateRequest
    from issuer.controllers.port import Request

MOST: Final = 200_000
"""Certificates that are known; of more the oldest are not counted."""
SLICE: Final = 1000
"""Records that are counted before others have their turn: about a millisecond."""
DAYS: Final = ("expired", *map(str, families.DAYS_LEFT))
"""Values of the label, in the order of time."""

Issuer = tuple[str, str, str]
Signer = tuple[str, str, str, str]
"""Kind, namespace and name of the issuer, and the authority."""


class Carrier(NamedTuple):
    """The request that something was read from."""

    key: ObjectKey
    uid: str
    created: datetime | None

    def is_before(self, other: Carrier) -> bool:
        """Whether it was made before another one; False where that is not known."""
        return self.created is not None and other.created is not None and self.created < other.created


class Held(NamedTuple):
    """A certificate that a request carries."""

    signer: Signer
    expires: datetime
    carrier: Carrier


@dataclass(slots=True)
class Record:
    """One Certificate.

    Attributes:
        held: its newest certificate; None: none is known.
        waiting: the newest of its requests that has none: it waits, or has failed.
    """

    held: Held | None = None
    waiting: Carrier | None = None


class CertificateCensus:
    """What is known of certificates that requests have received.

    Args:
        exists: whether the cache still holds a request.
        now: the time, UTC.
    """

    def __init__(self, exists: Callable[[ObjectKey, str], bool], now: Callable[[], datetime]) -> None:
        self._exists = exists
        self._now = now
        self._records: dict[ObjectKey, Record] = {}
        self._names: dict[Signer, Signer] = {}
        self._measures: tuple[Measure, ...] = ()

    def note(self, request: CertificateRequest, leaf: bytes | None) -> None:
        """Take note of a request as it comes in, with the leaf that it carries (DER), if it does."""
        meta = request.metadata
        expires = not_after(leaf) if leaf is not None else None
        if expires is None and not _is_unserved(request):
            return
        record = self._record(_subject(meta))
        carrier = Carrier(meta.key, meta.uid, meta.created)
        if expires is None:
            if record.waiting is None or not carrier.is_before(record.waiting):
                record.waiting = carrier
            return
        if record.held is None or record.held.expires <= expires:
            signer = (*labels_of(issuer_id(request.issuer_ref, meta.namespace)), signer_of(request) or "")
            record.held = Held(self._names.setdefault(signer, signer), expires, carrier)
        if record.waiting is not None and record.waiting.uid == carrier.uid:
            record.waiting = None

    def held(self) -> list[tuple[ObjectKey, Held]]:
        """The newest certificate of each Certificate, those of requests that no Certificate made left out."""
        found = ((key, record.held) for key, record in self._records.items())
        return [(key, held) for key, held in found if held is not None and held.carrier.key != key]

    def expires(self, request: Request) -> datetime | None:
        """When the certificate ends that a request is to take the place of; None: not known, or there is none."""
        record = self._records.get(_subject(request.metadata))
        return record.held.expires if record is not None and record.held is not None else None

    def _record(self, key: ObjectKey) -> Record:
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = Record()
            if len(self._records) > MOST:
                del self._records[next(iter(self._records))]
        return record

    async def count(self) -> None:
        """Count them, and drop those whose requests are gone."""
        now = self._now()
        bounds = [timedelta(days=days) for days in families.DAYS_LEFT]
        found: Counter[tuple[Signer, str]] = Counter()
        failing: dict[Issuer, float] = {}
        for number, (key, record) in enumerate(list(self._records.items()), 1):
            if number % SLICE == 0:
                await asyncio.sleep(0)
            held, waiting = self._tidy(key, record)
            if held is None:
                continue
            left = held.expires - now
            found[held.signer, DAYS[bisect_right(bounds, left)]] += 1
            if waiting is not None and not waiting.is_before(held.carrier):
                kind, namespace, name, _ = held.signer
                issuer = (kind, namespace, name)
                failing[issuer] = min(left / timedelta(seconds=1), failing.get(issuer, float("inf")))
        self._names = {signer: signer for signer, _ in found}
        self._measures = tuple(_told(found, failing))

    def _tidy(self, key: ObjectKey, record: Record) -> tuple[Held | None, Carrier | None]:
        """What of a record is still in the cluster.

        cert-manager may delete the request of the present certificate as soon as there is a newer one
        (`revisionHistoryLimit`), so that certificate counts for as long as its renewal waits.
        """
        if record.waiting is not None and not self._is_there(record.waiting):
            record.waiting = None
        if record.held is not None and record.waiting is None and not self._is_there(record.held.carrier):
            record.held = None
        if record.held is None and record.waiting is None:
            self._records.pop(key, None)
        return record.held, record.waiting

    def _is_there(self, carrier: Carrier) -> bool:
        return self._exists(carrier.key, carrier.uid)

    def measures(self) -> tuple[Measure, ...]:
        """The last count."""
        return self._measures


def _subject(meta: ObjectMeta) -> ObjectKey:
    """Which Certificate a request is for; the request itself if none owns it."""
    owner = meta.annotation(CERTIFICATE_NAME_ANNOTATION)
    return ObjectKey(meta.namespace, owner) if owner else meta.key


def _told(found: Counter[tuple[Signer, str]], failing: dict[Issuer, float]) -> Iterator[Measure]:
    for (signer, days), number in found.most_common(MAX_SHOWN):
        yield Measure(families.CERTIFICATES, number, (*signer, days))
    for issuer, seconds in sorted(failing.items(), key=lambda item: item[1])[:MAX_SHOWN]:
        yield Measure(families.FAILING_RENEWAL, seconds, issuer)


def _is_unserved(request: CertificateRequest) -> bool:
    """Whether it is approved and has no certificate: it waits for one, or has failed."""
    ready = request.ready
    return request.is_approved and (not request.is_finished or (ready is not None and ready.reason == REASON_FAILED))
