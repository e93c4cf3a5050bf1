"""cert-manager's CertificateRequest as a kind of requests (`port.py`).

One write carries certificate, CA and conditions together, so no reader ever sees half of a result. Beside the Ready
condition, which is cert-manager's, there is one of ours, `cdn-issuer.io/Authority`: which authority signed; or, False,
with the cause as its reason, why none has, so that a later process can tell an outage from a refusal.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Final

import msgspec

from issuer.api import condition
from issuer.api import request as api
from issuer.api.condition import FALSE, TRUE, Condition
from issuer.api.meta import format_time
from issuer.api.request import CertificateRequest
from issuer.controllers.decision import Fail, Issue, Pend
from issuer.controllers.status import patch
from issuer.kube.rbac import Rule
from issuer.kube.resource import Resource

if TYPE_CHECKING:
    from datetime import datetime

    from issuer.controllers.decision import Verdict
    from issuer.controllers.port import Request

RESOURCE: Final = Resource(api.GROUP, api.VERSION, api.PLURAL)
RULES: Final = (
    Rule((RESOURCE.group,), (RESOURCE.plural,), ("get", "list", "watch")),
    Rule((RESOURCE.group,), (f"{RESOURCE.plural}/status",), ("patch",)),
)


class CertificateRequests:
    """The kind."""

    kind: Final = api.KIND
    resource: Final = RESOURCE
    rules: Final = RULES
    is_judged: Final = False

    def decode(self, raw: bytes) -> CertificateRequest:
        """Read one."""
        return msgspec.json.decode(raw, type=CertificateRequest)

    def patch(self, request: Request, verdict: Verdict, now: datetime) -> bytes:
        """The merge patch of `/status` that writes a verdict."""
        conditions = _own(request).status.conditions
        for new in conditions_of(verdict):
            conditions = condition.upsert(conditions, new, now)
        status: dict[str, Any] = {"conditions": conditions}
        if isinstance(verdict, Fail):
            status["failureTime"] = format_time(now)
        if isinstance(verdict, Issue):
            status["certificate"] = b64encode(verdict.issued.certificate).decode()
            if verdict.issued.ca:
                status["ca"] = b64encode(verdict.issued.ca).decode()
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


def _own(request: Request) -> CertificateRequest:
    if not isinstance(request, CertificateRequest):
        raise TypeError(f"not a CertificateRequest: {type(request).__name__}")
    return request


def conditions_of(verdict: Verdict, ready: str = condition.READY) -> tuple[Condition, ...]:
    """The conditions that say a verdict; `ready`: the type of the first."""
    match verdict:
        case Pend():
            return (
                Condition(ready, FALSE, api.REASON_PENDING, verdict.message),
                Condition(api.AUTHORITY_CONDITION, FALSE, verdict.cause, verdict.why),
            )
        case Fail():
            return (
                Condition(ready, FALSE, verdict.reason, verdict.message),
                Condition(api.AUTHORITY_CONDITION, FALSE, verdict.cause, verdict.why),
            )
        case Issue():
            return (
                Condition(ready, TRUE, api.REASON_ISSUED, verdict.message),
                Condition(api.AUTHORITY_CONDITION, TRUE, verdict.authority_reason, verdict.authority_message),
            )
