"""The bodies of status writes: everything about one request, or one issuer, in one merge patch.

One write carries certificate, CA and condition together, so no reader ever sees half of a result. Each carries
`metadata.resourceVersion`: the API server answers 409 if the object has changed since it was read. (A `metadata.uid`
in such a patch is ignored for custom resources; `issuer.controllers.delivery` compares the UID after re-reading.)
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import msgspec

from issuer.api import condition
from issuer.api import request as api
from issuer.api.condition import FALSE, TRUE, Condition
from issuer.api.meta import format_time
from issuer.controllers.decision import Fail, Issue, Pend

if TYPE_CHECKING:
    from datetime import datetime

    from issuer.api.request import CertificateRequest

Verdict = Pend | Fail | Issue
"""A decision that is written down."""


def request_patch(request: CertificateRequest, verdict: Verdict, now: datetime) -> bytes:
    """The merge patch of `/status` that writes a verdict on a request."""
    conditions = request.status.conditions
    for new in _conditions(verdict):
        conditions = condition.upsert(conditions, new, now)
    status: dict[str, Any] = {"conditions": conditions}
    if isinstance(verdict, Fail):
        status["failureTime"] = format_time(now)
    if isinstance(verdict, Issue):
        status["certificate"] = b64encode(verdict.issued.certificate).decode()
        if verdict.issued.ca:
            status["ca"] = b64encode(verdict.issued.ca).decode()
    return patch(request.metadata.resource_version, status)


def patch(resource_version: str, status: object) -> bytes:
    """A merge patch of a status, refused by the API server if the object is no longer at that version."""
    return msgspec.json.encode({"metadata": {"resourceVersion": resource_version}, "status": status})


def _conditions(verdict: Verdict) -> tuple[Condition, ...]:
    match verdict:
        case Pend(message=message):
            return (Condition(condition.READY, FALSE, api.REASON_PENDING, message),)
        case Fail(reason=reason, message=message):
            return (Condition(condition.READY, FALSE, reason, message),)
        case Issue():
            return (
                Condition(condition.READY, TRUE, api.REASON_ISSUED, verdict.message),
                Condition(api.AUTHORITY_CONDITION, TRUE, verdict.authority_reason, verdict.authority_message),
            )
