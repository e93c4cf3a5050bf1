"""The controller as one program: what is wired to what, what leads, and how it stops.

Caches are kept warm on every replica; only the one that holds the Lease works. When the Lease is lost the program ends
rather than going on in some half state; Kubernetes starts it again. On a clean stop no new call goes to a CA, what was
sent is waited for and delivered, and the Lease is given up, so that the next replica takes over at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from issuer.api.issuer import CLUSTER_ISSUER_KIND, GROUP, ISSUER_KIND, Issuer
from issuer.api.meta import ObjectKey
from issuer.api.request import CertificateRequest
from issuer.authorities.base import AuthorityContext
from issuer.authorities.transport import SharedTransport
from issuer.controllers.book import IssuerBook, IssuerId
from issuer.controllers.delivery import RESOURCE, StatusWriter
from issuer.controllers.issuers import RESOURCES, IssuerController
from issuer.controllers.narrator import Narrator
from issuer.controllers.pace import Pace
from issuer.controllers.requests import RequestController, StoppingError
from issuer.controllers.signals import Signals
from issuer.kube.events import EventRecorder
from issuer.kube.informer import Informer
from issuer.kube.lease import LeaderElector
from issuer.kube.queue import WorkQueue
from issuer.kube.secrets import SecretCache
from issuer.observe.logs import get_logger
from issuer.observe.metrics import Snapshot
from issuer.signing.engine import FailoverEngine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from issuer.controllers.memory import RequestId
    from issuer.kube.client import KubeClient
    from issuer.observe.metrics import Metrics

_log = get_logger(__name__)

REQUESTS_PER_ISSUER: Final = 256
"""Requests of one issuer that are worked on at the same time; most of them wait for the limits of an authority."""
ISSUERS_AT_A_TIME: Final = 1
RESYNC_EVERY: Final = 60.0
"""Seconds between two looks for requests that nobody would look at again."""
SWEEP_EVERY: Final = 30.0
"""Seconds between two looks for certificates that nobody received."""
DRAIN_POLL: Final = 0.1
"""Seconds between two looks for what can be written while a stop waits for calls that are under way."""
EVENT_GRACE: Final = 3.0
"""Seconds that a stop waits for events to be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the controller runs.

    Attributes:
        namespaces: whose requests and issuers are served; empty for all.
        cluster_issuers: whether CDNClusterIssuers are served.
        cluster_resource_namespace: where the Secrets of CDNClusterIssuers are.
        leader_election: work only while holding the Lease.
        lease_namespace: where the Lease is.
        lease_name: its name.
        lease_duration: seconds after which a silent leader is replaced.
        renew_deadline: seconds after which a leader that cannot renew gives up.
        retry_period: seconds between two tries.
        identity: who we are in the Lease, unique.
        grace: seconds that a stop may take.
        allow_insecure_endpoints: authorities may be reached over plain http.
        pace: seconds between two tries at a request.
    """

    namespaces: Sequence[str] = ()
    cluster_issuers: bool = True
    cluster_resource_namespace: str = "cdn-issuer-system"
    leader_election: bool = True
    lease_namespace: str = "cdn-issuer-system"
    lease_name: str = "cdn-issuer"
    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0
    identity: str = "cdn-issuer"
    grace: float = 25.0
    allow_insecure_endpoints: bool = False
    pace: Pace = Pace()  # noqa: RUF009 - frozen


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Program:
    """The controller. Make it inside a running event loop, `run` it once."""

    def __init__(self, client: KubeClient, metrics: Metrics, options: Options) -> None:
        self._client = client
        self._options = options
        self._stopping = False
        self._leading = False
        chance = random.Random()
        self.transport = SharedTransport(self.may_call)
        self.elector = LeaderElector(
            client,
            options.lease_namespace,
            options.lease_name,
            options.identity,
            lease_duration=options.lease_duration,
            renew_deadline=options.renew_deadline,
            retry_period=options.retry_period,
        )
        self.events = EventRecorder(client, "cdn-issuer", options.identity, observer=metrics.event)
        namespaces = tuple(options.namespaces) or ("",)
        self.requests = Informer(
            client,
            RESOURCE,
            item=CertificateRequest,
            namespaces=namespaces,
            field_selector=f"spec.issuerRef.group={GROUP}",
            keep=lambda request: self.book.serves(request.spec.issuer_ref),
            lean=CertificateRequest.lean,
        )
        self.issuers = {ISSUER_KIND: Informer(client, RESOURCES[ISSUER_KIND], item=Issuer, namespaces=namespaces)}
        if options.cluster_issuers:
            self.issuers[CLUSTER_ISSUER_KIND] = Informer(client, RESOURCES[CLUSTER_ISSUER_KIND], item=Issuer)
        context = AuthorityContext(
            namespace="",
            secrets=SecretCache(client),
            transport=self.transport.handle,
            now=utc_now,
            allow_insecure_endpoints=options.allow_insecure_endpoints,
        )
        lookup = {kind: informer.get for kind, informer in self.issuers.items()}
        self.book = IssuerBook(lookup, context, options.cluster_resource_namespace)
        self.request_queue: WorkQueue[RequestId] = WorkQueue()
        self.issuer_queue: WorkQueue[IssuerId] = WorkQueue()
        signals = Signals(
            metrics,
            wake=lambda account: self._each_user(account, self.request_controller.triggers.wake),
            look_again=lambda account: self._each_user(account, self.issuer_controller.look_again),
        )
        self.engine = FailoverEngine(now=utc_now, random=chance, guard=self.may_call, observer=signals)
        self.request_controller = RequestController(
            requests=self.requests,
            book=self.book,
            engine=self.engine,
            queue=self.request_queue,
            writer=StatusWriter(client, utc_now),
            narrator=Narrator(self.events, metrics, utc_now),
            now=utc_now,
            random=chance,
            pace=options.pace,
            healed=metrics.resync,
        )
        self.issuer_controller = IssuerController(
            client=client,
            informers=self.issuers,
            book=self.book,
            engine=self.engine,
            queue=self.issuer_queue,
            events=self.events,
            metrics=metrics,
            now=utc_now,
            random=chance,
            awake=self.request_controller.triggers.wake,
        )
        for informer in self.issuers.values():
            informer.add_handler(self.issuer_controller.observe)
        metrics.watch(self._snapshot)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set.

        Raises:
            LeaseLostError: another replica may be leading now; nothing was written after that.
        """
        tasks = [asyncio.create_task(informer.run()) for informer in self._informers().values()]
        tasks.append(asyncio.create_task(self.events.run()))
        work = asyncio.create_task(self._work())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                delivering = asyncio.create_task(self._deliver())
                await asyncio.wait({work, delivering}, return_when=asyncio.FIRST_COMPLETED)
                tasks.append(delivering)
            for task in (work, *tasks):
                if task.done():
                    task.result()
        finally:
            await _cancel(work, stopped, *tasks)
            if self._options.leader_election:
                await self.elector.release()
            await self.transport.aclose()

    def trouble(self) -> str | None:
        """Why this replica is not healthy and should be restarted, or None (for /healthz)."""
        now = asyncio.get_running_loop().time()
        for name, informer in self._informers().items():
            if informer.is_stuck(now):
                return f"the watch of {name} is stuck: no attempt has ended for {now - informer.last_attempt:.0f} s"
        return None

    def unready(self) -> str | None:
        """Why this replica cannot work yet, or None (for /readyz)."""
        for name, informer in self._informers().items():
            if informer.resource_missing:
                return f"the API server knows no {name}; install the CRDs"
            if not informer.synced.is_set():
                return f"the cache of {name} is not filled yet"
        return None

    @property
    def is_leading(self) -> bool:
        """Whether this replica is the one that works."""
        return self._leading

    async def _work(self) -> None:
        if self._options.leader_election:
            await self.elector.lead(self._lead)
        else:
            await self._lead()

    async def _lead(self) -> None:
        """Reconcile until cancelled."""
        for informer in self._informers().values():
            await informer.synced.wait()
        if self._options.leader_election:
            # What the leader before has signed must be seen as unfinished, and so as suspect, and not come as news.
            await self.requests.refresh()
        self._leading = True
        self.issuer_controller.start()
        await self.request_controller.triggers.start()
        chores = (
            asyncio.create_task(self._chore(self.engine.sweep, SWEEP_EVERY)),
            asyncio.create_task(self._chore(self.request_controller.triggers.resync, RESYNC_EVERY)),
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.issuer_queue.run(self.issuer_controller.reconcile, per_lane=ISSUERS_AT_A_TIME))
                group.create_task(self.request_controller.run(per_lane=REQUESTS_PER_ISSUER))
            # Drained by `_deliver`, which still writes: the Lease is kept until it is done.
            await asyncio.Event().wait()
        finally:
            self._leading = False
            await _cancel(*chores)

    async def _chore(self, chore: Callable[[], Awaitable[object]], every: float) -> None:
        """Do something every so many seconds; a defect in it is told and must not end the work."""
        while True:
            await asyncio.sleep(every)
            try:
                await chore()
            except Exception:  # noqa: BLE001 - whatever it is
                _log.exception("a chore failed", chore=chore.__qualname__, retry_in=every)

    def _each_user(self, account: str, tell: Callable[[IssuerId], None]) -> None:
        for kind, key in self.engine.users(account):
            namespace, _, name = key.rpartition("/")
            tell(IssuerId(kind, ObjectKey(namespace, name)))

    async def _deliver(self) -> None:
        """Write what is signed, wait for the calls that are under way, and tell the events; all within the grace.

        What is signed is written first and beside the waiting, so that no call that hangs costs it its time.
        """
        _log.info("stopping", grace=self._options.grace)
        self._stopping = True
        if not self._leading:
            return
        grace = self._options.grace
        drains = {
            asyncio.create_task(self.issuer_queue.drain(grace / 2)),
            asyncio.create_task(self.request_queue.drain(grace * 0.8)),
        }
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while await self.request_controller.flush() or drains:
                    await asyncio.sleep(DRAIN_POLL)
                    drains = {drain for drain in drains if not drain.done()}
        await _cancel(*drains)
        await self.events.drain(EVENT_GRACE)

    def may_call(self) -> None:
        """Asked before each call to an authority.

        Raises:
            StoppingError: no new calls, the program is about to end.
            LeaseLostError: another replica may be working.
        """
        if self._stopping:
            raise StoppingError
        if self._options.leader_election:
            self.elector.check()

    def may_write(self) -> None:
        """Asked before each write to the API server but those of the Lease; who does not lead writes nothing.

        It depends on the Lease alone. Where this process is in its life is no matter: while it stops it has no new work
        any more, and still writes.

        Raises:
            LeaseLostError: another replica may be working.
        """
        if self._options.leader_election:
            self.elector.check()

    def _snapshot(self) -> Snapshot:
        """What the metrics count at each scrape."""
        now, loop_time = utc_now(), asyncio.get_running_loop().time()
        waiting = self.request_controller.unfinished()
        approved = [request.approved_at or now for request in waiting]
        return Snapshot(
            pending=len(waiting),
            oldest_pending_seconds=max(0.0, (now - min(approved)).total_seconds()) if approved else 0.0,
            unapproved=self.request_controller.unapproved(),
            queue_depth={"requests": self.request_queue.depth, "issuers": self.issuer_queue.depth},
            orphans=self.engine.orphans,
            leading=self._leading,
            watch_silence_seconds={
                name: loop_time - informer.last_contact
                for name, informer in self._informers().items()
                if informer.last_contact > float("-inf")
            },
        )

    def _informers(self) -> dict[str, Informer[Any]]:
        return {str(RESOURCE): self.requests} | {str(RESOURCES[kind]): found for kind, found in self.issuers.items()}


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
