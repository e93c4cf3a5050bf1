"""Having cert-manager issue a Certificate again, for the controllers that find that it should.

An issuance is started as `cmctl renew` starts it: the condition Issuing=True on the Certificate, written to the version
that was looked at. cert-manager replaces a request only while Issuing is True, and that changes the Certificate; so
what was judged by a read before is still so if the write is taken, and refused (409) if it is not. No look at a cache
is trusted for that: it may lag, and a former process may have started the same issuance a moment ago.

Certificates are not watched: the right to get the one that is about to be renewed is all that it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from issuer.api import certificate as api
from issuer.api import condition
from issuer.api.certificate import Certificate
from issuer.api.condition import Condition
from issuer.api.request import CertificateRequest
from issuer.controllers.certificaterequests import RESOURCE as REQUESTS
from issuer.controllers.reporter import reference
from issuer.controllers.status import patch
from issuer.kube.errors import NotFoundError, UnreachableError
from issuer.kube.rbac import Rule
from issuer.kube.resource import Resource

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from issuer.api.meta import ObjectKey
    from issuer.kube.client import KubeClient
    from issuer.kube.events import EventRecorder

CERTIFICATES: Final = Resource(REQUESTS.group, REQUESTS.version, api.PLURAL)
RULES: Final = (
    Rule((CERTIFICATES.group,), (CERTIFICATES.plural,), ("get",)),
    Rule((CERTIFICATES.group,), (f"{CERTIFICATES.plural}/status",), ("patch",)),
    Rule((REQUESTS.group,), (REQUESTS.plural,), ("get",)),
)
"""What it takes."""


class Issuances:
    """Reads Certificates and their requests as they are now, and starts issuances.

    Args:
        client: for the API server.
        now: the time, UTC.
    """

    def __init__(self, client: KubeClient, events: EventRecorder, now: Callable[[], datetime]) -> None:
        self._client = client
        self._events = events
        self._now = now

    async def certificate(self, key: ObjectKey) -> Certificate | None:
        """The Certificate as it is now; None if it is gone.

        Raises:
            KubeError: the API server did not say.
        """
        raw = await self._read(CERTIFICATES, key)
        return msgspec.json.decode(raw, type=Certificate) if raw is not None else None

    async def request(self, key: ObjectKey, uid: str) -> CertificateRequest | None:
        """The request as it is now; None if it is gone, or another one has taken its name.

        Raises:
            KubeError: the API server did not say.
        """
        raw = await self._read(REQUESTS, key)
        if raw is None:
            return None
        request = msgspec.json.decode(raw, type=CertificateRequest)
        return request if request.metadata.uid == uid else None

    async def start(self, certificate: Certificate, reason: str, message: str) -> None:
        """Have cert-manager issue it anew, and say why in an event.

        Raises:
            ConflictError: it has changed since it was read.
            KubeError: it was not written.
        """
        meta = certificate.metadata
        body = start_patch(certificate, reason, message, self._now())
        await self._client.patch(CERTIFICATES, meta.namespace, meta.name, body, subresource="status")
        self._events.emit(reference(meta, api.KIND, CERTIFICATES.api_version), "Normal", reason, message)

    async def _read(self, resource: Resource, key: ObjectKey) -> bytes | None:
        try:
            return await self._client.get(resource, key.namespace, key.name)
        except NotFoundError as error:
            if error.name == key.name:
                return None
            # From something in between, or an API server that is only just starting; see `delivery`.
            raise UnreachableError(f"a 404 that does not name {key.name}: {error.message}") from None


def start_patch(certificate: Certificate, reason: str, message: str, now: datetime) -> bytes:
    """What is written to the status of a Certificate to start its issuance, on the version that was read."""
    meta = certificate.metadata
    issuing = Condition(api.ISSUING, condition.TRUE, reason, message, observed_generation=meta.generation or None)
    conditions = condition.upsert(certificate.status.conditions, issuing, now)
    return patch(meta.resource_version, {"conditions": conditions})
