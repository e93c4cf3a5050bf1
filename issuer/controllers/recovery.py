"""After an outage: Certificates whose requests failed in it are issued again, and nobody types a command.

What waits, and whose turn it is, `renewal` says; here it is looked up and written. Each start of an issuance is three
calls, in this order:

    GET the Certificate        and judge it (`renewal.judge`): it may have been issued, changed or deleted meanwhile
    GET the failed request     it must still be there, with its UID, and Failed by an outage
    PATCH the Certificate's    condition Issuing=True, as `cmctl renew` writes it, to the version that was judged
    status

If the request was replaced after the first call, the third is refused (409); if before, the second shows it. See
`issuance`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from issuer.controllers.census import MAX_SHOWN, labels_of
from issuer.controllers.issuance import RULES
from issuer.controllers.issuercache import IssuerId
from issuer.controllers.readiness import CAN_SIGN
from issuer.controllers.renewal import Backlog, Judgement, judge
from issuer.controllers.topics import AccountRecovered, IssuerChanged
from issuer.kube.errors import ConflictError, KubeError, LeaseLostError, NotFoundError
from issuer.observe import families
from issuer.observe.logs import get_logger
from issuer.observe.metrics import Measure
from issuer.observe.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from issuer.api.issuer import Recovery
    from issuer.api.request import CertificateRequest
    from issuer.controllers.issuance import Issuances
    from issuer.controllers.issuercache import IssuerCache
    from issuer.controllers.renewal import Failure, Line, Turn, Waiting
    from issuer.controllers.topics import Topics
    from issuer.kube.informer import Change, Informer
    from issuer.observe.metrics import Metrics
    from issuer.signing.engine import FailoverEngine

log = get_logger(__name__)

REASON: Final = "RenewedAfterOutage"
"""Of the condition Issuing, and of the event."""
TICK: Final = 1.0
"""Seconds between two looks while any Certificate waits."""
SHORTEST_TICK: Final = 0.05
LATER: Final = 5.0
LATEST: Final = 60.0
"""Seconds until a Certificate is looked at again that cannot be renewed at the moment, doubled with each look."""
AT_A_TIME: Final = 20
"""Certificates whose expiry is asked for at the same time."""
MOST_ASKED: Final = 400
"""Certificates of a line whose expiry is asked for before the next renewal; more are asked for after it."""


class RecoveryController:
    """Starts issuances again that failed in an outage; a `Controller` of the manager.

    Args:
        issuances: starts them.
        requests: the informer of CertificateRequests.
        now: the time, UTC.
    """

    name: Final = "recovery"
    rules: Final = RULES
    fresh: Final = ()
    chores: Final = ()

    def __init__(
        self,
        *,
        issuances: Issuances,
        requests: Informer[CertificateRequest],
        book: IssuerCache,
        engine: FailoverEngine,
        topics: Topics,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._issuances = issuances
        self._book = book
        self._engine = engine
        self._metrics = metrics
        self._now = now
        self._backlog = Backlog()
        self._repeats = Repeats(_loop_time)
        self._news = asyncio.Event()
        self._started = self._is_stopping = False
        self._working = asyncio.Lock()
        self.informers: tuple[Informer[Any], ...] = (requests,)
        requests.add_handler(self.observe)
        topics.subscribe(AccountRecovered, self._recovered)
        topics.subscribe(IssuerChanged, lambda news: self._hasten(news.id))

    @property
    def depth(self) -> int:
        """Certificates that wait."""
        return len(self._backlog)

    async def start(self) -> None:
        """Begin. What failed is known from the cache already: every replica takes note of it."""
        self._started = True

    async def run(self) -> None:
        """Renew until drained."""
        while not self._is_stopping:
            self._news.clear()
            for line in self._backlog.lines():
                try:
                    async with self._working:
                        await self._serve(line)
                except LeaseLostError:
                    raise
                except Exception as error:
                    # A defect with one line must not keep the others from being served.
                    log.exception("recovery failed", **line.issuer.fields, error=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._news.wait()

    async def drain(self, grace: float) -> None:
        """Begin no renewal more, and let the one that is under way end."""
        self._is_stopping = True
        self._news.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace), self._working:
                pass

    async def flush(self) -> bool:
        """Nothing is kept back: what was not renewed shows on the objects."""
        return False

    def measures(self) -> Iterable[Measure]:
        """How many wait, by issuer."""
        if not self._started:
            return []
        found: dict[IssuerId, int] = {}
        for line in self._backlog.lines():
            found[line.issuer] = found.get(line.issuer, 0) + len(self._backlog.waiting(line))
        most = sorted(found.items(), key=lambda item: -item[1])[:MAX_SHOWN]
        return [Measure(families.AWAITING_RENEWAL, number, labels_of(issuer)) for issuer, number in most]

    def observe(self, change: Change[CertificateRequest]) -> None:
        """Take note of a change in the cache."""
        old, new = change.old, change.new
        if new is not None:
            self._backlog.seen(new, old, self._now(), _loop_time())
            if len(self._backlog):
                self._news.set()
        elif old is not None:
            self._backlog.gone(old)

    def _recovered(self, news: AccountRecovered) -> None:
        for kind, key in self._engine.users(news.account):
            self._hasten(IssuerId.of(kind, key))

    def _hasten(self, issuer: IssuerId) -> None:
        self._backlog.hasten(issuer)
        self._news.set()

    def _pause(self) -> float | None:
        """Seconds until the next look; None: until there is news."""
        if not len(self._backlog):
            return None
        return max(SHORTEST_TICK, min(TICK, self._backlog.next_in(_loop_time())))

    async def _serve(self, line: Line) -> None:
        """Renew the one of a line whose turn it is, if anybody's."""
        recovery = self._recovery(line)
        if recovery is None or self._is_stopping:
            return
        unknown = [one for one in self._backlog.waiting(line) if not one.is_known and one.due <= _loop_time()]
        for first in range(0, min(len(unknown), MOST_ASKED), AT_A_TIME):
            await asyncio.gather(*(self._look(waiting) for waiting in unknown[first : first + AT_A_TIME]))
        turn = self._backlog.next(line, _loop_time())
        if turn is not None:
            await self._renew(turn, recovery.per_minute)

    async def _look(self, waiting: Waiting) -> None:
        """Find out when the certificate ends that is in use. All else is looked at when it is renewed."""
        waiting.is_known = True
        try:
            certificate = await self._issuances.certificate(waiting.failure.certificate)
        except LeaseLostError:
            raise
        except KubeError as error:
            self._not_renewed(waiting.failure, error)
            return
        waiting.expires = certificate.expires if certificate else None

    def _recovery(self, line: Line) -> Recovery | None:
        """How a line is to be served; None: not at all, or nobody can sign now."""
        entry = self._book.find(line.issuer)
        if entry is None or entry.plan is None or not entry.recovery.renew_after_outage:
            return None
        healths = self._engine.states(entry.plan)
        able = {health.name for health in healths if health.state in CAN_SIGN}
        return entry.recovery if (able & line.only if line.only else able) else None

    async def _renew(self, turn: Turn, per_minute: int) -> None:
        failure = turn.waiting.failure
        turn.waiting.due = _loop_time() + min(LATEST, LATER * 2.0 ** min(turn.waiting.looks, 10))
        turn.waiting.looks += 1
        try:
            certificate = await self._issuances.certificate(failure.certificate)
            judgement = judge(failure, certificate, self._now())
            if judgement is Judgement.RENEW and not await self._is_there(failure):
                judgement = Judgement.NEVER
            if judgement is Judgement.NEVER:
                self._backlog.drop(failure.certificate)
            if judgement is not Judgement.RENEW or certificate is None:
                self._news.set()
                return
            await self._issuances.start(certificate, REASON, _message(turn))
        except LeaseLostError:
            raise
        except (ConflictError, NotFoundError):
            return  # it has changed since it was judged
        except KubeError as error:
            self._not_renewed(failure, error)
            return
        self._repeats.over(failure.certificate)
        self._backlog.started(turn, per_minute, _loop_time())
        self._tell(turn)

    def _not_renewed(self, failure: Failure, error: KubeError) -> None:
        left_out = self._repeats.due(failure.certificate)
        if left_out is not None:
            log.warning("certificate not renewed", **_fields(failure), error=str(error), left_out=left_out or None)

    async def _is_there(self, failure: Failure) -> bool:
        """Whether the request that failed is still there and still says so.

        Raises:
            KubeError: the API server did not say.
        """
        request = await self._issuances.request(failure.request.key, failure.request.uid)
        return request is not None and request.failed_by_outage

    def _tell(self, turn: Turn) -> None:
        failure = turn.waiting.failure
        issuer = failure.line.issuer
        self._metrics.renewed(issuer_kind=issuer.kind, issuer_namespace=issuer.key.namespace, issuer=issuer.key.name)
        log.info("certificate renewed after an outage", **_fields(failure), probe=turn.is_probe)


def _message(turn: Turn) -> str:
    name = turn.waiting.failure.request.key.name
    if turn.is_probe:
        return f"CertificateRequest {name} failed in an outage; issued again to see whether it is over"
    return f"CertificateRequest {name} failed in an outage, which is over; issued again"


def _fields(failure: Failure) -> dict[str, str]:
    namespace, name = failure.certificate
    request = failure.request.key.name
    return {"namespace": namespace, "certificate": name, "request": request, **failure.line.issuer.fields}


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
