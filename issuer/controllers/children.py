"""Children: the requests by which an authority of kind `issuerRef` asks another issuer of the cluster.

Making, reading and judging them is the authority's (`issuer.authorities.issuerref`). Here they are watched, so that a
request goes on as soon as its child has ended, and tidied up: a request that has ended otherwise leaves its child
behind, and what that comes to would surprise people. One whose request is deleted goes with it, as its owner.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from issuer.api.request import CertificateRequest
from issuer.authorities.issuerref import AUTHORITY_LABEL
from issuer.controllers.certificaterequests import RESOURCE
from issuer.controllers.deletion import delete_options
from issuer.controllers.manager import Chore
from issuer.controllers.topics import ChildChanged
from issuer.kube.errors import ConflictError, ForbiddenError, KubeError, LeaseLostError, NotFoundError
from issuer.kube.informer import Informer
from issuer.kube.rbac import Rule
from issuer.observe.logs import get_logger
from issuer.observe.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from issuer.api.meta import ObjectKey
    from issuer.controllers.topics import Topics
    from issuer.kube.client import KubeClient
    from issuer.kube.informer import Change
    from issuer.observe.metrics import Measure

log = get_logger(__name__)

EVERY: Final = 30.0
"""Seconds between two looks for children that nobody waits for."""
SLICE: Final = 1000
"""Children that are looked at before the event loop has a turn."""
WITHOUT_OWNER: Final = timedelta(hours=1)
"""After which one goes that no request owns, as that of a rehearsal, whatever has come of it."""


def watch_children(client: KubeClient, namespaces: Sequence[str]) -> Informer[CertificateRequest]:
    """The informer of children."""
    return Informer(
        client,
        RESOURCE,
        item=CertificateRequest,
        namespaces=namespaces,
        label_selector=AUTHORITY_LABEL,
        transform=lambda child: child if not child.is_finished else _ended(child),
    )


class ChildController:
    """Watches children; a `Controller` of the manager.

    Args:
        children: their informer.
        is_over: whether the request of that key and UID is in the cache and has ended.
        now: the time, UTC.
    """

    name: Final = "children"
    rules: Final = (
        Rule((RESOURCE.group,), (RESOURCE.plural,), ("get", "list", "watch", "create", "delete")),
        Rule((RESOURCE.group,), ("issuers", "clusterissuers"), ("get", "list")),
    )
    fresh: Final = ()
    depth: Final = 0

    def __init__(
        self,
        *,
        client: KubeClient,
        children: Informer[CertificateRequest],
        is_over: Callable[[ObjectKey, str], bool],
        topics: Topics,
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._children = children
        self._is_over = is_over
        self._topics = topics
        self._now = now
        self._repeats = Repeats(_loop_time)
        self._stopping = asyncio.Event()
        self.informers = (children,)
        self.chores = (Chore("look for children that nobody waits for", self.tidy, EVERY),)
        children.add_handler(self.observe)

    async def start(self) -> None:
        """Each request looks after its own children."""

    async def run(self) -> None:
        """There is no queue: news is passed on, and a chore looks for what is left."""
        await self._stopping.wait()

    async def drain(self, grace: float) -> None:  # noqa: ARG002 - a deletion takes no time
        """Delete nothing more."""
        self._stopping.set()

    async def flush(self) -> bool:
        """Nothing is kept back."""
        return False

    def measures(self) -> tuple[Measure, ...]:
        """Children show in the states of the requests that wait for them."""
        return ()

    def observe(self, change: Change[CertificateRequest]) -> None:
        """Have the request looked at whose child has ended.

        One that is gone is no reason: we delete those that failed ourselves, and a request that was woken by that would
        make the next child at once, without the pause that is between two goes.
        """
        child = change.new
        if child is None or not _matters(child):
            return
        for owner in child.metadata.owner_references:
            self._topics.publish(ChildChanged(owner.uid))

    async def tidy(self) -> None:
        """Delete children that have not ended and that nobody waits for. Ends where the right is missing."""
        for number, child in enumerate(self._children.items(), 1):
            if number % SLICE == 0:
                await asyncio.sleep(0)
            if self._stopping.is_set():
                return
            if not self._is_left(child):
                continue
            try:
                await self._delete(child)
            except ForbiddenError:
                return

    def _is_left(self, child: CertificateRequest) -> bool:
        meta = child.metadata
        if not meta.owner_references:
            return meta.created is not None and self._now() - meta.created > WITHOUT_OWNER
        owner = meta.owner_references[0]
        is_waited_for = not self._is_over(meta.key._replace(name=owner.name), owner.uid)
        return not is_waited_for and not child.is_finished

    async def _delete(self, child: CertificateRequest) -> None:
        meta = child.metadata
        try:
            await self._client.delete(RESOURCE, meta.namespace, meta.name, body=delete_options(meta))
        except (ConflictError, NotFoundError):
            return  # it has changed since it was looked at, and is looked at again
        except LeaseLostError:
            raise
        except KubeError as error:
            left_out = self._repeats.due(RESOURCE)
            if left_out is not None:
                log.warning(
                    "child request not deleted",
                    namespace=meta.namespace,
                    name=meta.name,
                    error=str(error),
                    left_out=left_out or None,
                )
            if isinstance(error, ForbiddenError):
                raise
            return
        self._repeats.over(RESOURCE)
        log.info("child request deleted that nobody waits for", namespace=meta.namespace, name=meta.name)


def _matters(child: CertificateRequest) -> bool:
    """Whether what has come of it is known."""
    return child.is_finished or child.is_denied or child.is_invalid


def _ended(child: CertificateRequest) -> CertificateRequest:
    """What is kept of one that has ended: whose it is, and that it has."""
    trimmed, meta = child.trimmed(), child.metadata
    kept = (meta.creation_timestamp, meta.owner_references)
    metadata = replace(trimmed.metadata, creation_timestamp=kept[0], owner_references=kept[1])
    return replace(trimmed, metadata=metadata)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
