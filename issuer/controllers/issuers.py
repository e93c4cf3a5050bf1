"""The issuer controller: looks after every CDNIssuer and CDNClusterIssuer and says how it is.

Whether a credential is accepted is asked with a cheap authenticated call: on a change of the issuer, when a call was
refused, and every few minutes (sooner while something is wrong, since Secrets are not watched: the controller
only has the right to get it). Whether signing works is not asked here; that is known from real signatures alone, by the
breakers of the engine. Both go into one status, which is written only when it says something new.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from issuer.api import condition
from issuer.api.condition import READY, TRUE
from issuer.api.issuer import GROUP, PLURALS, VERSION, Issuer
from issuer.api.issuerstatus import AuthorityStatus, IssuerStatus
from issuer.api.meta import format_time, parse_time
from issuer.controllers.census import IssuerState, issuer_measures
from issuer.controllers.issuercache import IssuerId
from issuer.controllers.readiness import CAN_SIGN, WELL, WITHDRAWN, readiness
from issuer.controllers.rehearsals import with_rehearsal
from issuer.controllers.reporter import reference
from issuer.controllers.status import patch
from issuer.controllers.topics import AccountChanged, IssuerChanged, StatusDue
from issuer.kube.errors import ConflictError, KubeError, LeaseLostError, NotFoundError
from issuer.kube.queue import Priority, TryAgainError
from issuer.kube.rbac import Rule
from issuer.kube.resource import Resource
from issuer.observe.logs import get_logger
from issuer.observe.repeats import Repeats

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from issuer.api.issuerstatus import RehearsalStatus
    from issuer.controllers.installation import OtherControllers
    from issuer.controllers.issuercache import CachedIssuer, IssuerCache
    from issuer.controllers.topics import Topics
    from issuer.kube.client import KubeClient
    from issuer.kube.events import EventRecorder, EventType
    from issuer.kube.informer import Change, Informer
    from issuer.kube.queue import WorkQueue
    from issuer.observe.metrics import Measure, Metrics
    from issuer.signing.engine import FailoverEngine
    from issuer.signing.health import AuthorityHealth

log = get_logger(__name__)

RESOURCES: Final = {
    kind: Resource(GROUP, VERSION, plural, namespaced=kind == "CDNIssuer") for kind, plural in PLURALS.items()
}
CHECK_EVERY: Final = 300.0
CHECK_EVERY_WHEN_UNWELL: Final = 20.0
"""Seconds between two checks of an issuer's credentials, with jitter."""
SOON: Final = 0.5
"""Seconds in which several reasons to look at an issuer become one."""
ANSWER_EVERY: Final = 60.0
"""Seconds between two answers to another controller that writes over our status, so that it learns of us soon."""
ISSUERS_AT_A_TIME: Final = 1
"""Looks at one issuer at the same time."""
SHARE_OF_A_STOP: Final = 0.5
"""Of the time of a stop, for checks that are under way."""


class IssuerController:
    """Reconciles issuers; a `Controller` of the manager. Publishes each that has changed or become usable."""

    name: Final = "issuers"
    rules: Final = (
        Rule((GROUP,), tuple(PLURALS.values()), ("list", "watch")),
        Rule((GROUP,), tuple(f"{plural}/status" for plural in PLURALS.values()), ("patch",)),
        Rule(("",), ("secrets",), ("get",)),
    )
    fresh: Final = ()
    chores: Final = ()

    def __init__(
        self,
        *,
        client: KubeClient,
        informers: Mapping[str, Informer[Issuer]],
        book: IssuerCache,
        engine: FailoverEngine,
        queue: WorkQueue[IssuerId],
        topics: Topics,
        events: EventRecorder,
        metrics: Metrics,
        now: Callable[[], datetime],
        random: random.Random,
        others: OtherControllers,
        rehearsed: Callable[[IssuerId, Issuer, str], RehearsalStatus | None] = lambda *_: None,
        left: Callable[[IssuerId, str], int | None] = lambda *_: None,
    ) -> None:
        self._client = client
        self._informers = informers
        self._book = book
        self._engine = engine
        self._queue = queue
        self._topics = topics
        self._events = events
        self._metrics = metrics
        self._now = now
        self._random = random
        self._others = others
        self._rehearsed = rehearsed
        self._left = left
        self._answered = float("-inf")
        """Loop time at which another controller was last answered with our own name."""
        self._checks: dict[IssuerId, tuple[int, float]] = {}
        self._usable: set[IssuerId] = set()
        """Issuers that were Ready when they were last looked at, whether or not their status could be written."""
        self._repeats = Repeats(_loop_time)
        self._started = False
        self.informers = tuple(informers.values())
        for informer in self.informers:
            informer.add_handler(self.observe)
        topics.subscribe(AccountChanged, self._account_changed)
        topics.subscribe(StatusDue, self._status_due)

    @property
    def depth(self) -> int:
        """Issuers that are due and wait for their turn."""
        return self._queue.depth

    async def run(self) -> None:
        """Reconcile until the queue is drained."""
        await self._queue.run(self.reconcile, per_lane=ISSUERS_AT_A_TIME)

    async def drain(self, grace: float) -> None:
        """Wait for the checks that are under way."""
        await self._queue.drain(grace * SHARE_OF_A_STOP)

    async def flush(self) -> bool:
        """Nothing is kept back: a status that is lost is written anew by the next leader."""
        return False

    def measures(self) -> Iterable[Measure]:
        """How issuers are, told by the replica that leads: no other asks their authorities."""
        return issuer_measures(self._known()) if self._started else ()

    def _known(self) -> Iterator[IssuerState]:
        for entry in self._book.entries():
            if self._informers[entry.id.kind].get(entry.id.key) is not None:
                healths = self._engine.states(entry.plan) if entry.plan else ()
                yield IssuerState(entry.id, readiness(entry.view, healths).status == TRUE, healths)

    async def start(self) -> None:
        """Begin, with the caches as they are now."""
        self._started = True
        for informer in self._informers.values():
            for issuer in informer.items():
                self._queue.add(_id(issuer), lane=str(_id(issuer)), priority=Priority.NEW)

    def observe(self, change: Change[Issuer]) -> None:
        """Take note of a change in the cache."""
        old, new = change.old, change.new
        issuer = new or old
        overwritten = self._others.observe(change)
        if issuer is None or not self._started:
            return
        if overwritten and _loop_time() - self._answered > ANSWER_EVERY:
            self._answered = _loop_time()
            self._queue.add_after(_id(issuer), SOON, lane=str(_id(issuer)))
        same = (
            old and new and (old.metadata.uid, old.metadata.generation) == (new.metadata.uid, new.metadata.generation)
        )
        if not same:
            self._queue.add(_id(issuer), lane=str(_id(issuer)), priority=Priority.NEW)
            self._topics.publish(IssuerChanged(_id(issuer)))

    def _account_changed(self, news: AccountChanged) -> None:
        """One of their authorities has changed its state: refresh the status of all issuers that use it."""
        for kind, key in self._engine.users(news.account):
            id_ = IssuerId.of(kind, key)
            self._queue.add_after(id_, SOON, lane=str(id_))

    def _status_due(self, news: StatusDue) -> None:
        self._queue.add_after(news.id, SOON, lane=str(news.id))

    async def reconcile(self, id_: IssuerId) -> None:
        """Check one issuer and write its status."""
        entry = self._book.find(id_)
        issuer = self._informers[id_.kind].get(id_.key)
        if entry is None or issuer is None:
            self._checks.pop(id_, None)
            self._usable.discard(id_)
            gone = self._book.drop(id_)
            if gone is not None and gone.plan is not None:
                self._engine.forget(gone.plan)
            self._metrics.forget_issuer(kind=id_.kind, namespace=id_.key.namespace, name=id_.key.name)
            return
        await self._check(entry)
        status = self._status(issuer, entry)
        await self._write(issuer, status)
        ready = condition.is_true(status.conditions, READY)
        if ready and id_ not in self._usable:
            self._usable.add(id_)
            if not condition.is_true(issuer.status.conditions, READY):
                self._topics.publish(IssuerChanged(id_))
        elif not ready:
            self._usable.discard(id_)
        states = self._engine.states(entry.plan) if entry.plan else ()
        well = ready and all(_is_served(health) for health in states)
        every = (CHECK_EVERY if well else CHECK_EVERY_WHEN_UNWELL) * self._random.uniform(0.8, 1.2)
        self._checks[id_] = (entry.generation, asyncio.get_running_loop().time() + every)
        self._queue.add_after(id_, every, lane=str(id_))

    async def _check(self, entry: CachedIssuer) -> None:
        """Ask every authority whether it takes our credential, if that is due; the engine remembers the answers."""
        generation, due = self._checks.get(entry.id, (-1, 0.0))
        if entry.plan is None or (generation == entry.generation and asyncio.get_running_loop().time() < due):
            return
        self._engine.states(entry.plan)  # which gives each its name, for what is told of the calls
        await asyncio.gather(*(self._engine.check(planned) for planned in entry.plan.authorities if planned.is_active))

    def _status(self, issuer: Issuer, entry: CachedIssuer) -> IssuerStatus:
        now, generation = self._now(), issuer.metadata.generation
        healths = _remembered(self._engine.states(entry.plan), issuer) if entry.plan else ()
        rehearsals = {one.name: self._rehearsed(entry.id, issuer, one.name) for one in healths if entry.rehearsal}
        healths = tuple(with_rehearsal(health, rehearsals.get(health.name)) for health in healths)
        ready = readiness(entry.view, healths)
        return IssuerStatus(
            conditions=condition.upsert(
                issuer.status.conditions, msgspec.structs.replace(ready, observed_generation=generation), now
            ),
            active=next((health.name for health in healths if health.state in CAN_SIGN), ""),
            authorities=tuple(self._authority_status(entry.id, health, rehearsals) for health in healths),
            controller=self._others.name,
        )

    def _authority_status(
        self, id_: IssuerId, health: AuthorityHealth, rehearsals: Mapping[str, RehearsalStatus | None]
    ) -> AuthorityStatus:
        return AuthorityStatus(
            name=health.name,
            state=health.state,
            message=health.message,
            last_success_time=format_time(health.last_success) if health.last_success else None,
            last_failure_time=format_time(health.last_failure) if health.last_failure else None,
            last_rehearsal=rehearsals.get(health.name),
            certificates_left=self._left(id_, health.name),
        )

    async def _write(self, issuer: Issuer, status: IssuerStatus) -> None:
        if _says(status) == _says(issuer.status):
            return
        namespace, name = issuer.metadata.key
        body = patch(issuer.metadata.resource_version, status)
        try:
            await self._client.patch(RESOURCES[issuer.kind], namespace, name, body, subresource="status")
        except (ConflictError, NotFoundError):
            self._queue.add_after(_id(issuer), SOON, lane=str(_id(issuer)))
            return
        except LeaseLostError:
            raise
        except KubeError as error:
            left_out = self._repeats.due(_id(issuer))
            if left_out is not None:
                log.warning(
                    "issuer status not written", **_id(issuer).fields, error=str(error), left_out=left_out or None
                )
            raise TryAgainError from error
        self._repeats.over(_id(issuer))
        ready = condition.find(status.conditions, READY)
        if ready and not condition.same_meaning(issuer.ready, ready):
            type_: EventType = "Normal" if ready.reason in WELL else "Warning"
            self._events.emit(
                reference(issuer.metadata, issuer.kind, RESOURCES[issuer.kind].api_version),
                type_,
                ready.reason,
                ready.message,
            )
            report = log.info if ready.status == TRUE else log.warning
            report(
                "issuer changed",
                **_id(issuer).fields,
                ready=ready.status == TRUE,
                reason=ready.reason,
                message=ready.message,
            )


def _is_served(health: AuthorityHealth) -> bool:
    """Whether nothing is to be hoped for from another check soon."""
    return health.state in WITHDRAWN or (health.state in CAN_SIGN and health.check != "failed")


def _remembered(healths: tuple[AuthorityHealth, ...], issuer: Issuer) -> tuple[AuthorityHealth, ...]:
    """With what a former process knew: when each authority last signed, unless the issuer has changed since."""
    ready = issuer.ready
    if ready is None or ready.observed_generation != issuer.metadata.generation:
        return healths
    known = {one.name: parse_time(one.last_success_time) for one in issuer.status.authorities}
    return tuple(replace(health, last_success=health.last_success or known.get(health.name)) for health in healths)


def _says(status: IssuerStatus) -> object:
    """What a status tells apart from times; a status is written when this changes."""
    return (
        [(c.type, c.status, c.reason, c.message, c.observed_generation) for c in status.conditions],
        status.active,
        [(a.name, a.state, a.message, a.last_rehearsal, a.certificates_left) for a in status.authorities],
        status.controller,
    )


def _id(issuer: Issuer) -> IssuerId:
    return IssuerId(issuer.kind, issuer.metadata.key)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
