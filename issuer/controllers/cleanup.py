"""Failed requests of ours that nobody needs any more are deleted: old ones, of which the newest of a Certificate stay.

cert-manager deletes the requests of former issuances (`revisionHistoryLimit`), and before 1.18 it does so only if told
to. Those that failed stay beside them, day after day of an outage. What it looks at is the newest request of an
issuance, so the newest of each Certificate always stays; so does every request that no Certificate made, since somebody
else did and may want to read it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from issuer.controllers.certificaterequests import RESOURCE
from issuer.controllers.deletion import delete_options
from issuer.controllers.issuercache import issuer_id
from issuer.controllers.manager import Chore
from issuer.kube.errors import ConflictError, ForbiddenError, KubeError, LeaseLostError, NotFoundError
from issuer.kube.rbac import Rule
from issuer.observe.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from issuer.api.issuer import Cleanup
    from issuer.api.request import CertificateRequest
    from issuer.controllers.issuercache import CachedIssuer, IssuerCache, IssuerId
    from issuer.kube.client import KubeClient
    from issuer.kube.informer import Informer
    from issuer.observe.metrics import Measure, Metrics

log = get_logger(__name__)

EVERY: Final = 60.0
"""Seconds between two rounds."""
MOST: Final = 50
"""Requests that are deleted in one round: after a long outage it takes a few."""
PAUSE: Final = 0.05
"""Seconds between two deletions."""
SLICE: Final = 1000
"""Requests that are looked at before the event loop has a turn."""


def expendable(failed: Iterable[CertificateRequest], spec: Cleanup, now: datetime) -> list[CertificateRequest]:
    """Which of the failed requests of one Certificate may go, oldest first: a pure function."""
    newest_first = sorted(failed, key=_age, reverse=True)
    before = now - timedelta(seconds=spec.failed_after.seconds)
    old = [one for one in newest_first[spec.keep :] if one.failed_at is not None and one.failed_at < before]
    return old[::-1]


def _age(request: CertificateRequest) -> tuple[int, float]:
    failed_at = request.failed_at
    return request.revision or 0, failed_at.timestamp() if failed_at else 0.0


class CleanupController:
    """Deletes failed requests; a `Controller` of the manager.

    Args:
        requests: the informer of CertificateRequests.
        now: the time, UTC.
    """

    name: Final = "cleanup"
    rules: Final = (Rule((RESOURCE.group,), (RESOURCE.plural,), ("delete",)),)
    fresh: Final = ()
    depth: Final = 0

    def __init__(
        self,
        *,
        client: KubeClient,
        requests: Informer[CertificateRequest],
        book: IssuerCache,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._requests = requests
        self._book = book
        self._metrics = metrics
        self._now = now
        self._stopping = asyncio.Event()
        self.informers = (requests,)
        self.chores = (Chore("clean-up of failed requests", self.clean_up, EVERY),)

    async def start(self) -> None:
        """A chore begins by itself."""

    async def run(self) -> None:
        """There is no queue: a chore looks for what may go."""
        await self._stopping.wait()

    async def drain(self, grace: float) -> None:  # noqa: ARG002 - a deletion takes no time
        """Delete nothing more."""
        self._stopping.set()

    async def flush(self) -> bool:
        """Nothing is kept back."""
        return False

    def measures(self) -> tuple[Measure, ...]:
        """What is deleted is counted as it happens."""
        return ()

    async def clean_up(self) -> None:
        """One round. Without the right to delete it ends at the first request, so that the log has a line a minute."""
        deleted = 0
        for id_, requests in (await self._failed()).items():
            entry = self._book.find(id_)
            if entry is None or entry.plan is None:
                continue
            for request in self._due(entry, requests):
                if self._stopping.is_set() or deleted == MOST:
                    return
                try:
                    deleted += await self._delete(id_, request)
                except ForbiddenError as error:
                    self._tell(request, error)
                    return

    def _due(self, entry: CachedIssuer, requests: Iterable[CertificateRequest]) -> list[CertificateRequest]:
        certificates: dict[str, list[CertificateRequest]] = defaultdict(list)
        for request in requests:
            if request.owner is not None:
                certificates[request.owner.uid].append(request)
        now = self._now()
        return [one for failed in certificates.values() for one in expendable(failed, entry.cleanup, now)]

    async def _failed(self) -> dict[IssuerId, list[CertificateRequest]]:
        found: dict[IssuerId, list[CertificateRequest]] = defaultdict(list)
        for number, request in enumerate(self._requests.items(), 1):
            if number % SLICE == 0:
                await asyncio.sleep(0)
            if request.has_failed:
                found[issuer_id(request.issuer_ref, request.metadata.namespace)].append(request)
        return found

    async def _delete(self, id_: IssuerId, request: CertificateRequest) -> bool:
        """Delete the very object that was looked at, as it was; one that has changed is looked at in the next round.

        Raises:
            ForbiddenError: the right is missing.
        """
        meta = request.metadata
        try:
            await self._client.delete(RESOURCE, meta.namespace, meta.name, body=delete_options(meta))
        except (ConflictError, NotFoundError):
            return False
        except (LeaseLostError, ForbiddenError):
            raise
        except KubeError as error:
            self._tell(request, error)
            return False
        certificate = request.owner.name if request.owner else None
        log.info(
            "failed request deleted", namespace=meta.namespace, name=meta.name, certificate=certificate, **id_.fields
        )
        self._metrics.cleaned_up(kind=id_.kind, namespace=id_.key.namespace, name=id_.key.name)
        await asyncio.sleep(PAUSE)
        return True

    @staticmethod
    def _tell(request: CertificateRequest, error: KubeError) -> None:
        meta = request.metadata
        log.warning("failed request not deleted", namespace=meta.namespace, name=meta.name, error=str(error))
