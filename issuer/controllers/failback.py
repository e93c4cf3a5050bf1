"""Certificates that another authority should have signed are issued again, a few a minute.

There are two reasons (`Why`):

    Draining    by the specification its signer is to be rid of: a CA that is to be distrusted, a key that leaked
    Failback    a later authority signed, and nothing has been known against an earlier one for `failback.stableFor`

Who signed what is known from the requests that the cache has seen (`CertificateCensus`). Every few seconds all of them
are looked at, and those that are due make a line for each issuer, what expires first in front. Before an issuance is
started the request and the Certificate are read from the API server and judged (`judge`): the certificate in use must
still be that request's, and somebody else must be able to sign such a one, or the next would be the same again.

No Certificate is touched that is being issued, or whose last issuance failed: that is cert-manager's, or recovery's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Final

from issuer.api import condition
from issuer.api.request import AUTHORITY_CONDITION
from issuer.controllers.census import MAX_SHOWN, labels_of
from issuer.controllers.decision import PASSED_OVER
from issuer.controllers.issuance import RULES
from issuer.controllers.issuercache import issuer_id
from issuer.controllers.manager import Chore
from issuer.controllers.moves import Due, Steadiness, Why, judge, message_of, successors
from issuer.controllers.readiness import CAN_SIGN
from issuer.controllers.topics import IssuerChanged, StatusDue
from issuer.kube.errors import ConflictError, KubeError, LeaseLostError, NotFoundError
from issuer.observe import families
from issuer.observe.logs import get_logger
from issuer.observe.metrics import Measure
from issuer.observe.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from issuer.api.request import CertificateRequest
    from issuer.controllers.certificates import CertificateCensus
    from issuer.controllers.issuance import Issuances
    from issuer.controllers.issuercache import CachedIssuer, IssuerCache, IssuerId
    from issuer.controllers.topics import Topics
    from issuer.observe.metrics import Metrics
    from issuer.signing.engine import FailoverEngine

log = get_logger(__name__)

LOOK_EVERY: Final = 10.0
"""Seconds between two looks at all Certificates."""
SLICE: Final = 1000
"""Certificates that are looked at before the event loop has a turn."""
AGAIN: Final = 600.0
"""Seconds until a Certificate is looked at again that could not be issued again, or was."""
NEVER: Final = float("inf")
"""Its signer is the first choice for it, whatever the order of the list."""


class FailbackController:
    """Has Certificates issued again by another authority; a `Controller` of the manager."""

    name: Final = "failback"
    rules: Final = RULES
    fresh: Final = ()
    informers: Final = ()

    def __init__(
        self,
        *,
        issuances: Issuances,
        certificates: CertificateCensus,
        book: IssuerCache,
        engine: FailoverEngine,
        topics: Topics,
        metrics: Metrics,
    ) -> None:
        self._issuances = issuances
        self._certificates = certificates
        self._book = book
        self._engine = engine
        self._topics = topics
        self._metrics = metrics
        self._steadiness = Steadiness()
        self._repeats = Repeats(_loop_time)
        self._lines: dict[IssuerId, list[Due]] = {}
        self._next: dict[IssuerId, float] = {}
        self._tried: dict[str, float] = {}
        """UID of the request that a Certificate has: loop time before which it is not looked at again."""
        self._left: Counter[tuple[IssuerId, str]] = Counter()
        self._news = asyncio.Event()
        self._is_stopping = False
        self._working = asyncio.Lock()
        self.chores = (Chore("failback", self.look, LOOK_EVERY),)
        topics.subscribe(IssuerChanged, self._issuer_changed)

    @property
    def depth(self) -> int:
        """Certificates that are to be issued again."""
        return sum(map(len, self._lines.values()))

    def left(self, issuer: IssuerId, authority: str) -> int | None:
        """Certificates whose present certificate an authority signed that is Draining; None: it is not, or not yet."""
        return self._left.get((issuer, authority))

    async def start(self) -> None:
        """The look at what there is begins by itself."""

    async def run(self) -> None:
        """Start issuances until drained."""
        while not self._is_stopping:
            self._news.clear()
            for issuer in list(self._lines):
                try:
                    async with self._working:
                        await self._serve(issuer)
                except LeaseLostError:
                    raise
                except Exception as error:
                    # A defect with one issuer must not keep the others from being served.
                    log.exception("failback failed", **issuer.fields, error=type(error).__name__)
                    self._next[issuer] = _loop_time() + LOOK_EVERY
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._news.wait()

    async def drain(self, grace: float) -> None:
        """Start nothing more, and let what is under way end."""
        self._is_stopping = True
        self._news.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace), self._working:
                pass

    async def flush(self) -> bool:
        """Nothing is kept back: who signed what shows on the objects."""
        return False

    def measures(self) -> Iterable[Measure]:
        """How many are to be issued again, by who signed them."""
        found: Counter[tuple[str, ...]] = Counter()
        for issuer, line in self._lines.items():
            found.update((*labels_of(issuer), due.authority, due.why.name.lower()) for due in line)
        return [Measure(families.TO_MOVE, number, labels) for labels, number in found.most_common(MAX_SHOWN)]

    async def look(self) -> None:
        """Find out which Certificates are due."""
        entries = {labels_of(entry.id): entry for entry in self._book.entries() if _is_asked(entry)}
        ids = {entry.id for entry in entries.values()}
        self._steadiness.keep(ids)
        targets = {labels: self._earlier(entry) for labels, entry in entries.items()}
        left = Counter({(entry.id, name): 0 for entry in entries.values() for name in _draining(entry)})
        lines: dict[IssuerId, list[Due]] = {}
        seen: set[str] = set()
        for number, (certificate, held) in enumerate(self._certificates.held() if entries else (), 1):
            if number % SLICE == 0:
                await asyncio.sleep(0)
            entry = entries.get(held.signer[:3])
            why = targets[held.signer[:3]].get(held.signer[3]) if entry is not None else None
            if entry is None or why is None:
                continue
            if why is Why.DRAINING:
                left[entry.id, held.signer[3]] += 1
            seen.add(held.carrier.uid)
            if why is Why.DRAINING or self._tried.get(held.carrier.uid) != NEVER:
                lines.setdefault(entry.id, []).append(Due(certificate, held, why))
        for line in lines.values():
            line.sort(key=lambda due: due.held.expires)
        changed = {key for key in left | self._left if left.get(key) != self._left.get(key)}
        self._left, self._lines = left, lines
        self._tried = {uid: due for uid, due in self._tried.items() if due > _loop_time() and uid in seen}
        for issuer in {issuer for issuer, _ in changed}:
            self._topics.publish(StatusDue(issuer))
        self._news.set()

    def _issuer_changed(self, news: IssuerChanged) -> None:
        """What could not be issued again by its old specification may be by the new one."""
        self._next.pop(news.id, None)
        for due in self._lines.get(news.id, ()):
            self._tried.pop(due.held.carrier.uid, None)

    def _earlier(self, entry: CachedIssuer) -> Mapping[str, Why]:
        """The authorities whose Certificates are to be issued again, and why."""
        assert entry.plan is not None
        found: dict[str, Why] = {}
        now, failback = _loop_time(), entry.failback
        self._steadiness.seen(entry.id, self._engine.states(entry.plan), now)
        earlier: list[str] = []
        for one in entry.plan.authorities:
            if one.common.state == "Draining":
                found[one.name] = Why.DRAINING
            elif failback.mode == "WhenStable" and self._ready(entry, earlier, now):
                found[one.name] = Why.FAILBACK
            if one.is_active:
                earlier.append(one.name)
        return found

    def _ready(self, entry: CachedIssuer, names: Sequence[str], now: float) -> list[str]:
        """Those of these authorities that Certificates may go back to; where none is, those of which a probe is due."""
        id_, seconds = entry.id, entry.failback.stable_for.seconds
        steady = [name for name in names if self._steadiness.is_steady(id_, name, seconds, now)]
        return steady or [name for name in names if self._steadiness.is_probe_due(id_, name, seconds, now)]

    def _pause(self) -> float | None:
        """Seconds until the next look; None: until there is news."""
        moments = [self._next.get(issuer, 0.0) for issuer, line in self._lines.items() if line]
        return max(0.05, min(moments) - _loop_time()) if moments else None

    async def _serve(self, issuer: IssuerId) -> None:
        """Start the issuance of the first of a line that can be started, if its time has come."""
        line = self._lines.get(issuer, [])  # a look may have replaced them meanwhile
        while line and not self._is_stopping and _loop_time() >= self._next.get(issuer, 0.0):
            due = line.pop(0)
            entry = self._book.find(issuer)
            if entry is None or entry.plan is None or not _is_asked(entry):
                line.clear()
                return
            uid = due.held.carrier.uid
            if self._tried.get(uid, 0.0) > _loop_time():
                continue
            # Whatever comes of it: one that cannot be read must not be the first of its line again and again.
            self._tried[uid] = _loop_time() + AGAIN
            try:
                is_started = await self._move(due, entry)
            except LeaseLostError:
                raise
            except (ConflictError, NotFoundError):
                self._tried.pop(uid, None)
                continue  # it has changed since it was judged; the next look finds it if it is still due
            except KubeError as error:
                self._tried.pop(uid, None)
                self._next[issuer] = _loop_time() + LOOK_EVERY
                left_out = self._repeats.due(issuer)
                if left_out is not None:
                    log.warning("failback waits", **_fields(due, entry), error=str(error), left_out=left_out or None)
                return
            if is_started:
                self._repeats.over(issuer)
                self._next[issuer] = _loop_time() + 60.0 / entry.failback.per_minute

    async def _move(self, due: Due, entry: CachedIssuer) -> bool:
        """Start the issuance of one; whether it was.

        Raises:
            KubeError: the API server did not say, or did not take it.
        """
        request = await self._issuances.request(due.held.carrier.key, due.held.carrier.uid)
        names = self._successors(due, request, entry)
        if request is None or not names:
            return False
        certificate = await self._issuances.certificate(due.certificate)
        if certificate is None or not judge(due, request, certificate):
            return False
        await self._issuances.start(certificate, due.why.value, message_of(due, names))
        if due.why is Why.FAILBACK:
            self._steadiness.went_back(entry.id, names, _loop_time())
        kind, namespace, name = labels_of(entry.id)
        why = due.why.name.lower()
        self._metrics.moved(issuer_kind=kind, issuer_namespace=namespace, issuer=name, why=why)
        log.info(
            "certificate issued again by another authority", **_fields(due, entry), why=why, signed_by=due.authority
        )
        return True

    def _successors(self, due: Due, request: CertificateRequest | None, entry: CachedIssuer) -> list[str]:
        """Who is to sign it instead; nobody if the same would come of it."""
        if (
            request is None
            or entry.plan is None
            or issuer_id(request.issuer_ref, request.metadata.namespace) != entry.id
        ):
            return []
        authorities = entry.plan.authorities
        if due.why is Why.DRAINING:
            able = {health.name for health in self._engine.states(entry.plan) if health.state in CAN_SIGN}
            return successors(request, authorities, able)
        told = condition.find(request.status.conditions, AUTHORITY_CONDITION)
        if told is not None and told.reason == PASSED_OVER:
            self._tried[due.held.carrier.uid] = NEVER
            return []
        position = next((i for i, one in enumerate(authorities) if one.name == due.authority), 0)
        earlier = authorities[:position]
        return successors(request, earlier, self._ready(entry, [one.name for one in earlier], _loop_time()))


def _is_asked(entry: CachedIssuer) -> bool:
    """Whether an issuer has Certificates issued again at all."""
    return entry.plan is not None and (entry.failback.mode == "WhenStable" or bool(_draining(entry)))


def _draining(entry: CachedIssuer) -> list[str]:
    return [one.name for one in entry.plan.authorities if one.common.state == "Draining"] if entry.plan else []


def _fields(due: Due, entry: CachedIssuer) -> dict[str, str]:
    return {"namespace": due.certificate.namespace, "certificate": due.certificate.name, **entry.id.fields}


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
