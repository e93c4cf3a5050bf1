"""The controller as one program: everything is made here and given to what needs it, and controllers are registered.

How they are run, led and stopped is the manager's. A controller more is its own module and one `add` at the end.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from issuer.api import installed
from issuer.api.issuer import CLUSTER_ISSUER_KIND, GROUP, ISSUER_KIND, Issuer
from issuer.api.request import CertificateRequest
from issuer.api.signingrequest import CertificateSigningRequest
from issuer.authorities import registry
from issuer.authorities.base import AuthorityContext
from issuer.authorities.transport import SharedTransport
from issuer.controllers.caches import RequestCaches
from issuer.controllers.certificatehealth import CertificateHealthController
from issuer.controllers.certificaterequests import RESOURCE, CertificateRequests
from issuer.controllers.certificates import CertificateCensus
from issuer.controllers.certificatesigningrequests import RESOURCE as SIGNING_REQUESTS
from issuer.controllers.certificatesigningrequests import CertificateSigningRequests
from issuer.controllers.children import ChildController, watch_children
from issuer.controllers.cleanup import CleanupController
from issuer.controllers.delegation import ClusterDelegation
from issuer.controllers.delivery import StatusWriter
from issuer.controllers.failback import FailbackController
from issuer.controllers.installation import InstalledCRDs, OtherControllers
from issuer.controllers.issuance import Issuances
from issuer.controllers.issuercache import IssuerCache, IssuerId
from issuer.controllers.issuers import RESOURCES, IssuerController
from issuer.controllers.manager import Manager
from issuer.controllers.observer import EngineObserver
from issuer.controllers.pace import Pace
from issuer.controllers.received import ReceivedCertificates
from issuer.controllers.recovery import RecoveryController
from issuer.controllers.rehearsals import RehearsalController
from issuer.controllers.reporter import RequestReporter
from issuer.controllers.requests import RequestController
from issuer.controllers.topics import Topics
from issuer.kube.events import EventRecorder
from issuer.kube.informer import Informer
from issuer.kube.lease import LeaderElector
from issuer.kube.queue import WorkQueue
from issuer.kube.secrets import SecretCache
from issuer.signing.engine import FailoverEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.api.meta import ObjectKey
    from issuer.controllers.memory import RequestId
    from issuer.controllers.port import RequestKind
    from issuer.kube.client import KubeClient
    from issuer.observe.metrics import Metrics

REQUESTS_PER_ISSUER: Final = 256
"""Requests of one issuer that are worked on at the same time; most of them wait for the limits of an authority."""


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
        recovery: whether Certificates are issued again whose requests failed in an outage.
        failback: whether Certificates are issued again that another authority should have signed.
        cleanup: whether failed requests are deleted that nobody needs any more.
        certificate_signing_requests: whether CertificateSigningRequests of Kubernetes are served.
        issuer_refs: whether other issuers of the cluster are asked (authorities of kind issuerRef).
        allow_insecure_endpoints: authorities may be reached over plain http.
        pace: seconds between two tries at a request.
        rehearsals: issuers that ask for it are rehearsed.
        certificate_health: whether Certificates of our issuers are watched for what is wrong with them.
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
    recovery: bool = True
    failback: bool = True
    cleanup: bool = True
    certificate_signing_requests: bool = False
    issuer_refs: bool = True
    allow_insecure_endpoints: bool = False
    pace: Pace = Pace()  # noqa: RUF009 - frozen
    rehearsals: bool = True
    certificate_health: bool = True


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Program(Manager):
    """The controller. Make it inside a running event loop, `run` it once."""

    def __init__(self, client: KubeClient, metrics: Metrics, options: Options) -> None:
        chance = random.Random()
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
        super().__init__(self.elector if options.leader_election else None, self.events, grace=options.grace)
        self.transport = SharedTransport(self.may_call)
        namespaces = tuple(options.namespaces) or ("",)
        certificates = CertificateCensus(self._has_request, utc_now)
        received = ReceivedCertificates(note=certificates.note)
        self.requests = Informer(
            client,
            RESOURCE,
            item=CertificateRequest,
            namespaces=namespaces,
            field_selector=f"spec.issuerRef.group={GROUP}",
            filter=lambda request: self.book.serves(request.issuer_ref),
            transform=received.transform,
        )
        kinds: list[RequestKind] = [CertificateRequests()]
        signing_requests: list[Informer[CertificateSigningRequest]] = []
        if options.certificate_signing_requests:
            kinds.append(CertificateSigningRequests())
            watched = Informer(
                client,
                SIGNING_REQUESTS,
                item=CertificateSigningRequest,
                filter=lambda request: self.book.serves(request.issuer_ref),
                transform=received.transform_signing_request,
            )
            signing_requests.append(watched)
        self._all_requests = RequestCaches(self.requests, *signing_requests)
        self.issuers = {ISSUER_KIND: Informer(client, RESOURCES[ISSUER_KIND], item=Issuer, namespaces=namespaces)}
        if options.cluster_issuers:
            self.issuers[CLUSTER_ISSUER_KIND] = Informer(client, RESOURCES[CLUSTER_ISSUER_KIND], item=Issuer)
        context = AuthorityContext(
            namespace="",
            secrets=SecretCache(client),
            transport=self.transport.handle,
            now=utc_now,
            allow_insecure_endpoints=options.allow_insecure_endpoints,
            delegation=ClusterDelegation(client, asyncio.get_running_loop().time) if options.issuer_refs else None,
        )
        lookup = {kind: informer.get for kind, informer in self.issuers.items()}
        self.book = IssuerCache(lookup, context, options.cluster_resource_namespace, self._unreadable)
        self.request_queue: WorkQueue[RequestId] = WorkQueue()
        self.issuer_queue: WorkQueue[IssuerId] = WorkQueue()
        topics = Topics()
        fields = installed.expected(registry.configs())
        self.crds = InstalledCRDs(client, {kind: fields[kind] for kind in self.issuers})
        lease = f"{options.lease_namespace}/{options.lease_name}"
        self.others = OtherControllers(
            lease if options.leader_election else options.identity, asyncio.get_running_loop().time
        )
        observer = EngineObserver(metrics, topics)
        self.engine = FailoverEngine(
            now=utc_now, random=chance, guard=self.may_call, observer=observer, received=received.__contains__
        )
        self.request_controller = RequestController(
            requests=self._all_requests,
            book=self.book,
            engine=self.engine,
            queue=self.request_queue,
            topics=topics,
            writer=StatusWriter(client, kinds, utc_now),
            reporter=RequestReporter(self.events, metrics, utc_now),
            now=utc_now,
            random=chance,
            pace=options.pace,
            per_issuer=REQUESTS_PER_ISSUER,
            healed=metrics.resync,
            certificates=certificates,
        )
        self.rehearsals = RehearsalController(
            informers=self.issuers,
            book=self.book,
            engine=self.engine,
            topics=topics,
            events=self.events,
            metrics=metrics,
            guard=self.may_call,
            now=utc_now,
            enabled=options.rehearsals,
        )
        issuances = Issuances(client, self.events, utc_now)
        failback = FailbackController(
            issuances=issuances,
            certificates=certificates,
            book=self.book,
            engine=self.engine,
            topics=topics,
            metrics=metrics,
        )
        self.issuer_controller = IssuerController(
            client=client,
            informers=self.issuers,
            book=self.book,
            engine=self.engine,
            queue=self.issuer_queue,
            topics=topics,
            events=self.events,
            metrics=metrics,
            now=utc_now,
            random=chance,
            others=self.others,
            rehearsed=self.rehearsals.last,
            left=failback.left,
        )
        self.add(self.issuer_controller, self.request_controller, self.rehearsals)
        if options.issuer_refs:
            self.add(
                ChildController(
                    client=client,
                    children=watch_children(client, namespaces),
                    is_over=self._is_over,
                    topics=topics,
                    now=utc_now,
                )
            )
        if options.failback:
            self.add(failback)
        if options.cleanup:
            self.add(
                CleanupController(client=client, requests=self.requests, book=self.book, metrics=metrics, now=utc_now)
            )
        if options.recovery:
            self.add(
                RecoveryController(
                    issuances=issuances,
                    requests=self.requests,
                    book=self.book,
                    engine=self.engine,
                    topics=topics,
                    metrics=metrics,
                    now=utc_now,
                )
            )
        if options.certificate_health:
            self.add(
                CertificateHealthController(
                    client=client,
                    namespaces=namespaces,
                    book=self.book,
                    census=certificates,
                    events=self.events,
                    now=utc_now,
                )
            )
        metrics.watch(self.snapshot)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set.

        Raises:
            LeaseLostError: another replica may be leading now; nothing was written after that.
        """
        comparing = asyncio.create_task(self.crds.run())
        try:
            await super().run(stop)
        finally:
            comparing.cancel()
            await asyncio.gather(comparing, return_exceptions=True)
            await self.transport.aclose()

    def unready(self) -> str | None:
        """Why this replica cannot work yet, or should not work as it is installed, or None (for /readyz)."""
        return super().unready() or self.crds.problem or self.others.problem()

    def _has_request(self, key: ObjectKey, uid: str) -> bool:
        found = self.requests.get(key)
        return found is not None and found.metadata.uid == uid

    def _is_over(self, key: ObjectKey, uid: str) -> bool:
        """Of the parent of a child, which is with it, or in no namespace."""
        found = (self._all_requests.get(key), self._all_requests.get(key._replace(namespace="")))
        return any(one is not None and one.metadata.uid == uid and one.is_finished for one in found)

    def _unreadable(self, issuer: IssuerId) -> str | None:
        informer = self.issuers.get(issuer.kind)
        found = informer.unreadable(issuer.key) if informer else None
        return found.reason if found else None
