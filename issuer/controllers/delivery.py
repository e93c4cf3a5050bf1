"""Writing a verdict to a request: the only thing that is repeated after a signature.

The write goes to the version of the object that was decided on. Where that is out of date (409), the request is read
again and looked at before anything else: names are re-used by cert-manager since 1.13, so another UID means that our
request is gone, and a finished one stays as it is. A write whose answer got lost shows up the same way: as a request
that is already finished with our result. One that an approver or a policy has changed meanwhile is decided anew. Where
the write finds no request (404) it is read again as well: it takes two answers to believe that it is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes

from issuer.controllers.decision import Fail, Issue, decisive
from issuer.kube.errors import ConflictError, InvalidError, KubeError, NotFoundError, ServerError, UnreachableError
from issuer.pki.certificate import load_chain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from issuer.api.meta import ObjectKey
    from issuer.controllers.decision import Verdict
    from issuer.controllers.port import Request, RequestKind
    from issuer.kube.client import KubeClient

_ROUNDS: Final = 5
"""Consecutive conflicts that are answered at once; after that the caller backs off."""


class Delivery(Enum):
    """What became of a verdict."""

    WRITTEN = "written"
    ENDED = "ended"
    """The request has ended otherwise."""
    CHANGED = "changed"
    """It is no longer as it was decided on: decide anew."""
    GONE = "gone"
    """It does not exist any more, or another one has taken its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What came of writing a verdict.

    Attributes:
        delivery: in a word.
        fingerprint: of the certificate that the request has now, if it has one.
        latest: the request as it is where it has CHANGED.
    """

    delivery: Delivery
    fingerprint: str | None = None
    latest: Request | None = None


class StatusWriter:
    """Writes verdicts on requests.

    Attributes:
        kinds: of requests; one is namespaced, and another may be cluster-scoped.
    """

    def __init__(self, client: KubeClient, kinds: Sequence[RequestKind], now: Callable[[], datetime]) -> None:
        self.kinds: Final = tuple(kinds)
        self._client = client
        self._now = now

    async def write(self, request: Request, verdict: Verdict) -> Delivered:
        """Write one verdict on one request.

        Raises:
            KubeError: the write failed in a way that may pass; call again.
            LeaseLostError: this replica may not write any more.
        """
        current = request
        for _ in range(_ROUNDS - 1):
            try:
                return await self._patch(current, verdict)
            except (ConflictError, NotFoundError):
                latest = await self._read_again(request)
            if latest is None:
                return Delivered(delivery=Delivery.GONE)
            if latest.is_finished:
                ours = Delivery.WRITTEN if self._kind(latest.metadata.key).carries(latest, verdict) else Delivery.ENDED
                return Delivered(delivery=ours, fingerprint=self._fingerprint(latest))
            if decisive(latest) != decisive(current):
                return Delivered(delivery=Delivery.CHANGED, latest=latest)
            current = latest
        return await self._patch(current, verdict)

    def refused(self, request: Request, verdict: Verdict, error: KubeError) -> Fail | None:
        """What takes the place of a verdict that the API server will never take; None: it may yet.

        A certificate that its own parser cannot read would be written again and again, past every deadline.
        """
        is_final = isinstance(error, InvalidError) and self._kind(request.metadata.key).is_judged
        if not (is_final and isinstance(verdict, Issue)):
            return None
        message = f"the API server does not take the certificate of authority {verdict.issued.authority}: {error}"
        return Fail(message=message, event="CertificateRefused", cause="CertificateRefused")

    async def _read_again(self, request: Request) -> Request | None:
        """The request after a write that was refused. That the read fails does not mean that the write may be done."""
        try:
            return await self.read(request.metadata.key, request.metadata.uid)
        except (ServerError, UnreachableError) as error:
            raise UnreachableError(str(error), sent=False) from error

    async def delivered(self, key: ObjectKey, uid: str) -> str | None:
        """The fingerprint of the certificate that a request has got; None if it has none, or is gone.

        Raises:
            KubeError: the API server did not say.
        """
        latest = await self.read(key, uid)
        return self._fingerprint(latest) if latest else None

    async def _patch(self, request: Request, verdict: Verdict) -> Delivered:
        namespace, name = request.metadata.key
        kind = self._kind(request.metadata.key)
        body = kind.patch(request, verdict, self._now())
        await self._client.patch(kind.resource, namespace, name, body, subresource="status")
        fingerprint = verdict.issued.fingerprint if isinstance(verdict, Issue) else None
        return Delivered(delivery=Delivery.WRITTEN, fingerprint=fingerprint)

    async def read(self, key: ObjectKey, uid: str) -> Request | None:
        """The request as it is now, or None if it is gone or has become another one.

        A 404 that does not name the request comes from something in between, or from an API server that is only just
        starting and does not know the resource yet (kubernetes/kubernetes#71218, #115241). It says nothing.

        Raises:
            KubeError: the API server did not say.
        """
        kind = self._kind(key)
        try:
            raw = await self._client.get(kind.resource, key.namespace, key.name)
        except NotFoundError as error:
            if error.name == key.name:
                return None
            raise UnreachableError(f"a 404 that does not name {key}: {error.message}") from None
        latest = kind.decode(raw)
        return latest if latest.metadata.uid == uid else None

    def _kind(self, key: ObjectKey) -> RequestKind:
        return next(kind for kind in self.kinds if kind.resource.namespaced == bool(key.namespace))

    def _fingerprint(self, request: Request) -> str | None:
        """SHA-256 of the leaf that the request shows, in hex."""
        chain = self._kind(request.metadata.key).certificate(request)
        try:
            return load_chain(chain)[0].fingerprint(hashes.SHA256()).hex() if chain else None
        except ValueError:
            return None


def perhaps_applied(error: KubeError) -> bool:
    """Whether a failed write may have reached the API server all the same."""
    return isinstance(error, ServerError) or (isinstance(error, UnreachableError) and error.sent)
