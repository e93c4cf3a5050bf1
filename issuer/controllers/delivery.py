"""Writing a verdict to a request: the only thing that is repeated after a signature.

The write goes to the version of the object that was decided on. Where that is out of date (409), the request is read
again and looked at before anything else: names are re-used by cert-manager since 1.13, so another UID means that our
request is gone, and a finished one stays as it is. A write whose answer got lost shows up the same way: as a request
that is already finished with our result.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from enum import Enum
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.hazmat.primitives import hashes

from issuer.api import request as api
from issuer.api.request import CertificateRequest
from issuer.controllers.decision import Issue, Pend
from issuer.controllers.status import request_patch
from issuer.kube.errors import ConflictError, NotFoundError
from issuer.kube.resource import Resource
from issuer.pki.certificate import load_chain

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from issuer.api.meta import ObjectKey
    from issuer.controllers.status import Verdict
    from issuer.kube.client import KubeClient

RESOURCE: Final = Resource(api.GROUP, api.VERSION, api.PLURAL)
_ROUNDS: Final = 5
"""Conflicts in a row that are answered at once; after that the caller backs off."""


class Delivery(Enum):
    """What became of a verdict."""

    WRITTEN = "written"
    SUPERSEDED = "superseded"
    """The request has ended otherwise, or is no longer as it was decided on: decide again from what is there."""
    GONE = "gone"
    """The request does not exist any more, or another one has taken its name."""


class StatusWriter:
    """Writes verdicts."""

    def __init__(self, client: KubeClient, now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now

    async def write(self, request: CertificateRequest, verdict: Verdict) -> tuple[Delivery, str | None]:
        """Write one verdict on one request.

        Returns:
            What became of it, and the fingerprint of the certificate that the request has got, if any.

        Raises:
            KubeError: the write failed in a way that may pass; call again with the same verdict.
            LeaseLostError: this replica may not write any more.
        """
        current = request
        for _ in range(_ROUNDS - 1):
            try:
                await self._patch(current, verdict)
            except NotFoundError:
                return Delivery.GONE, None
            except ConflictError:
                latest = await self._read(request.metadata.key, request.metadata.uid)
                if latest is None:
                    return Delivery.GONE, None
                if latest.is_finished:
                    ours = _carries(latest, verdict)
                    return Delivery.WRITTEN if ours else Delivery.SUPERSEDED, _fingerprint(latest)
                if isinstance(verdict, Pend) and latest.status != current.status:
                    return Delivery.SUPERSEDED, None
                current = latest
            else:
                return _written(verdict)
        await self._patch(current, verdict)
        return _written(verdict)

    async def delivered(self, key: ObjectKey, uid: str) -> str | None:
        """The fingerprint of the certificate that a request has got; None if it has none, or is gone.

        Raises:
            KubeError: the API server did not say.
        """
        latest = await self._read(key, uid)
        return _fingerprint(latest) if latest else None

    async def _patch(self, request: CertificateRequest, verdict: Verdict) -> None:
        namespace, name = request.metadata.key
        body = request_patch(request, verdict, self._now())
        await self._client.patch(RESOURCE, namespace, name, body, subresource="status")

    async def _read(self, key: ObjectKey, uid: str) -> CertificateRequest | None:
        """The request as it is now, or None if it is gone or has become another one."""
        try:
            raw = await self._client.get(RESOURCE, key.namespace, key.name)
        except NotFoundError:
            return None
        latest = msgspec.json.decode(raw, type=CertificateRequest)
        return latest if latest.metadata.uid == uid else None


def _written(verdict: Verdict) -> tuple[Delivery, str | None]:
    return Delivery.WRITTEN, verdict.issued.fingerprint if isinstance(verdict, Issue) else None


def _fingerprint(request: CertificateRequest) -> str | None:
    """SHA-256 of the leaf that the request shows, in hex."""
    if not request.status.certificate:
        return None
    try:
        return load_chain(b64decode(request.status.certificate))[0].fingerprint(hashes.SHA256()).hex()
    except ValueError:
        return None


def _carries(request: CertificateRequest, verdict: Verdict) -> bool:
    """Whether the finished request shows this very verdict: our own write, whose answer got lost."""
    if isinstance(verdict, Issue):
        return request.status.certificate == b64encode(verdict.issued.certificate).decode()
    return request.ready is not None and request.ready.message == verdict.message
