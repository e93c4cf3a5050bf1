"""Kubernetes' CertificateSigningRequest as a kind of requests (`port.py`).

The API server takes a certificate as bare blocks of PEM that Go can read, once and for ever, and keeps Approved and
Denied as they are whoever writes the status (`pkg/apis/certificates/validation`, `pkg/registry/certificates`). Every
write of a status needs the verb `sign` on the signer as well (`plugin/pkg/admission/certificates/signing`).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Final

import msgspec

from issuer.api import condition
from issuer.api import signingrequest as api
from issuer.api.condition import TRUE, Condition
from issuer.api.meta import format_time
from issuer.api.signingrequest import CertificateSigningRequest, SigningRequestCondition
from issuer.controllers.certificaterequests import conditions_of
from issuer.controllers.decision import Fail, Issue
from issuer.controllers.status import patch
from issuer.kube.rbac import Rule
from issuer.kube.resource import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from issuer.controllers.decision import Verdict
    from issuer.controllers.port import Request

RESOURCE: Final = Resource(api.GROUP, api.VERSION, api.PLURAL, namespaced=False)
RULES: Final = (
    Rule((api.GROUP,), (api.PLURAL,), ("get", "list", "watch")),
    Rule((api.GROUP,), (f"{api.PLURAL}/status",), ("patch",)),
    Rule((api.GROUP,), ("signers",), ("sign",), tuple(f"{domain}/*" for domain in api.SIGNERS)),
)


class CertificateSigningRequests:
    """The kind."""

    kind: Final = api.KIND
    resource: Final = RESOURCE
    rules: Final = RULES
    is_judged: Final = True

    def decode(self, raw: bytes) -> CertificateSigningRequest:
        """Read one."""
        return msgspec.json.decode(raw, type=CertificateSigningRequest)

    def patch(self, request: Request, verdict: Verdict, now: datetime) -> bytes:
        """The merge patch of `/status` that writes a verdict."""
        conditions: tuple[Condition, ...] = _own(request).status.conditions
        for new in _conditions(verdict, now):
            conditions = condition.upsert(conditions, new, now)
        status: dict[str, Any] = {"conditions": conditions}
        if isinstance(verdict, Issue):
            status["certificate"] = b64encode(verdict.issued.certificate).decode()
        return patch(request.metadata.resource_version, status)

    def certificate(self, request: Request) -> bytes | None:
        """The chain that it has received; None also for what is no base64."""
        stored = _own(request).status.certificate
        try:
            return b64decode(stored) if stored else None
        except ValueError:
            return None

    def carries(self, request: Request, verdict: Verdict) -> bool:
        """Whether it shows this very verdict."""
        if isinstance(verdict, Issue):
            return _own(request).status.certificate == b64encode(verdict.issued.certificate).decode()
        return request.told == verdict.message


def _own(request: Request) -> CertificateSigningRequest:
    if not isinstance(request, CertificateSigningRequest):
        raise TypeError(f"not a CertificateSigningRequest: {type(request).__name__}")
    return request


def _conditions(verdict: Verdict, now: datetime) -> Iterator[SigningRequestCondition]:
    """What a CertificateRequest is told, and `Failed` where that is the end."""
    told = conditions_of(verdict, api.READY_CONDITION)
    if isinstance(verdict, Fail):
        told = (Condition(api.FAILED, TRUE, verdict.event, verdict.message), *told)
    for one in told:
        yield SigningRequestCondition(one.type, one.status, one.reason, one.message, last_update_time=format_time(now))
