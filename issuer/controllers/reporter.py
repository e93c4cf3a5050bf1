"""Telling what happens to a request: one log line per decision, one event, and the counters.

Kept apart from the controller so that the story reads in one place and the controller in another. Events are written
after the status they are about; a Pending event is told when its reason changes, never once per attempt.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from issuer.api import request as api
from issuer.controllers.decision import Fail, Issue, Pend
from issuer.controllers.memory import issuer_of
from issuer.kube.events import ObjectReference
from issuer.observe.logs import get_logger
from issuer.observe.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from issuer.api.meta import ObjectMeta
    from issuer.controllers.decision import Verdict
    from issuer.controllers.delivery import Delivery
    from issuer.controllers.port import Request
    from issuer.kube.errors import KubeError
    from issuer.kube.events import EventRecorder
    from issuer.observe.metrics import Metrics

log = get_logger(__name__)

OUTCOMES: Final = {api.REASON_FAILED: "failed", api.REASON_DENIED: "denied"}


class RequestReporter:
    """Writes events, log lines and counters about requests."""

    def __init__(self, events: EventRecorder, metrics: Metrics, now: Callable[[], datetime]) -> None:
        self._events = events
        self._metrics = metrics
        self._now = now
        self._repeats = Repeats(_loop_time)
        self._late: set[str] = set()
        """Requests whose end was not taken at the first try."""

    def pending(self, request: Request, verdict: Pend) -> None:
        """It waits, for a reason that is new."""
        self._repeats.over(request.metadata.uid)
        self._events.emit(_reference(request), "Warning", verdict.event, verdict.message)
        if (certificate := _certificate(request)) is not None:
            # cert-manager copies Failed and Denied to the Certificate, but never Pending.
            message = f"{request.type_meta.kind} {request.metadata.name}: {verdict.message}"
            self._events.emit(certificate, "Warning", verdict.event, message)
        log.warning("request pending", **_fields(request), reason=verdict.event, message=verdict.message)

    def unapproved(self, request: Request, message: str, is_first: bool) -> None:  # noqa: FBT001 - a callback
        """No approver speaks about it; the log says so for the first request of an issuer only."""
        self._events.emit(_reference(request), "Warning", "NotApproved", message)
        if (certificate := _certificate(request)) is not None:
            self._events.emit(
                certificate, "Warning", "NotApproved", f"{request.type_meta.kind} {request.metadata.name}: {message}"
            )
        if is_first:
            log.warning("request not approved", **_fields(request), message=message)

    def finished(self, request: Request, verdict: Fail | Issue) -> None:
        """It has ended, and its status says so."""
        self._repeats.over(request.metadata.uid)
        if request.metadata.uid in self._late:
            self._late.discard(request.metadata.uid)
            self._metrics.written_late()
        if isinstance(verdict, Issue):
            self._issued(request, verdict)
        else:
            seconds = self._count(request, OUTCOMES[verdict.reason], cause=verdict.cause)
            self._events.emit(_reference(request), "Warning", verdict.event, verdict.message)
            told = {"reason": verdict.event, "message": verdict.message, "seconds": round(seconds, 3)}
            log.error("request failed", **_fields(request), **told)

    def _issued(self, request: Request, verdict: Issue) -> None:
        issued = verdict.issued
        seconds = self._count(request, "issued", authority=issued.authority)
        why = f" ({verdict.authority_message})" if issued.passed_over else ""
        self._events.emit(_reference(request), "Normal", "CertificateIssued", verdict.message + why)
        log.info(
            "request issued",
            **_fields(request),
            authority=issued.authority,
            seconds=round(seconds, 3),
            fingerprint=issued.fingerprint,
            passed_over=[str(error) for error in issued.passed_over] or None,
        )

    def _count(self, request: Request, outcome: str, *, cause: str = "", authority: str = "") -> float:
        """Count one that has ended; returns the seconds since its approval."""
        id_ = issuer_of(request)
        approved = request.approved_at
        seconds = max(0.0, (self._now() - approved).total_seconds()) if approved else 0.0
        self._metrics.request_finished(
            issuer_kind=id_.kind,
            issuer_namespace=id_.key.namespace,
            issuer=id_.key.name,
            outcome=outcome,
            cause=cause,
            authority=authority,
            seconds=seconds,
        )
        return seconds

    def retried(self, request: Request) -> None:
        """Its authorities were asked once more."""
        id_ = issuer_of(request)
        self._metrics.request_retried(issuer_kind=id_.kind, issuer_namespace=id_.key.namespace, issuer=id_.key.name)

    def write_failed(self, request: Request, verdict: Verdict, error: KubeError) -> None:
        """The status could not be written; it is tried again. Told once a minute for each request."""
        self._metrics.write_failed(type(verdict).__name__)
        if not isinstance(verdict, Pend):
            self._late.add(request.metadata.uid)
        left_out = self._repeats.due(request.metadata.uid)
        if left_out is not None:
            log.warning(
                "status not written",
                **_fields(request),
                verdict=type(verdict).__name__,
                error=str(error),
                left_out=left_out or None,
            )

    def dropped(self, request: Request, verdict: Verdict, delivery: Delivery) -> None:
        """A result has no one to go to."""
        self._late.discard(request.metadata.uid)
        self._metrics.result_dropped(delivery.value)
        log.warning("result dropped", **_fields(request), verdict=type(verdict).__name__, because=delivery.value)

    def unsettled(self, request: Request, error: KubeError) -> None:
        """It is gone, or has ended without us, and the API server does not say with which certificate; asked again."""
        left_out = self._repeats.due(request.metadata.uid)
        if left_out is not None:
            log.warning("end not known yet", **_fields(request), error=str(error), left_out=left_out or None)

    def crashed(self, request: Request, error: Exception) -> None:
        """A defect of ours; the request is tried again and ends at its deadline."""
        log.error("internal error", **_fields(request), error=type(error).__name__, exc_info=error)


def reference(metadata: ObjectMeta, kind: str, api_version: str) -> ObjectReference:
    """What an event is about."""
    return ObjectReference(
        api_version=api_version, kind=kind, namespace=metadata.namespace, name=metadata.name, uid=metadata.uid
    )


def _reference(request: Request) -> ObjectReference:
    what = request.type_meta
    return reference(request.metadata, what.kind, what.api_version)


def _certificate(request: Request) -> ObjectReference | None:
    """The Certificate that cert-manager made the request for, if it did (an owner reference with `controller`)."""
    owner = next((o for o in request.metadata.owner_references if o.kind == "Certificate" and o.controller), None)
    if owner is None:
        return None
    return ObjectReference(
        api_version=f"{api.GROUP}/{api.VERSION}",
        kind=owner.kind,
        namespace=request.metadata.namespace,
        name=owner.name,
        uid=owner.uid,
    )


def _fields(request: Request) -> dict[str, str]:
    meta = request.metadata
    certificate = meta.annotation(api.CERTIFICATE_NAME_ANNOTATION)
    return {
        **({"namespace": meta.namespace} if meta.namespace else {"kind": request.type_meta.kind}),
        "name": meta.name,
        "uid": meta.uid,
        **({"certificate": certificate} if certificate else {}),
        **issuer_of(request).fields,
    }


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
