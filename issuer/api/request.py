"""cert-manager's CertificateRequest, as far as an external issuer reads and writes it.

The reasons and the meaning of `failureTime` are cert-manager's (`pkg/apis/certmanager/v1/types_certificaterequest.go`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec.structs import replace

from issuer.api import condition
from issuer.api.condition import READY, Condition
from issuer.api.duration import Duration, InvalidDurationError
from issuer.api.issuer import GROUP as ISSUER_GROUP
from issuer.api.issuer import ISSUER_KIND, PLURALS
from issuer.api.meta import ObjectMeta, OwnerReference, TypeMeta, parse_time

if TYPE_CHECKING:
    from datetime import datetime

GROUP: Final = "cert-manager.io"
VERSION: Final = "v1"
KIND: Final = "CertificateRequest"
PLURAL: Final = "certificaterequests"

APPROVED: Final = "Approved"
DENIED: Final = "Denied"
INVALID_REQUEST: Final = "InvalidRequest"

REASON_PENDING: Final = "Pending"
REASON_FAILED: Final = "Failed"
REASON_ISSUED: Final = "Issued"
REASON_DENIED: Final = "Denied"

AUTHORITY_CONDITION: Final = "cdn-issuer.io/Authority"
"""True: which authority signed, and why not an earlier one. False: why none has; the reason is the cause, in a word."""
AUTHORITIES_ANNOTATION: Final = "cdn-issuer.io/authorities"
"""Names, separated by commas, of the authorities that may sign this request."""
CERTIFICATE_NAME_ANNOTATION: Final = "cert-manager.io/certificate-name"
KEY_SECRET_ANNOTATION: Final = "cert-manager.io/private-key-secret-name"  # noqa: S105 - a name
REVISION_ANNOTATION: Final = "cert-manager.io/certificate-revision"

OUTAGES: Final = frozenset(
    {"Unavailable", "RateLimited", "Unauthorized", "InProgress", "NotAsked", "IssuerNotReady", "IssuerNotFound"}
)
"""Causes that pass without anybody's changing the Certificate: trouble of an authority, its credential or the issuer.

Not among them are what the authorities or an approver think of the request itself, and a defect of this program, which
would meet the next request as well.
"""

DEFAULT_DURATION: Final = 90 * 24 * 3600.0
"""Seconds a certificate lives when its request says nothing (cert-manager's DefaultCertificateDuration)."""


class IssuerRef(msgspec.Struct, frozen=True, gc=False):
    """The issuer that is asked to sign."""

    name: str = ""
    kind: str = ""
    group: str = ""


class RequestSpec(msgspec.Struct, frozen=True, gc=False, rename={"is_ca": "isCA", "issuer_ref": "issuerRef"}):
    """What is asked for. `request` is the CSR as the API server holds it: base64 of PEM."""

    issuer_ref: IssuerRef = IssuerRef()
    request: str = ""
    duration: str | None = None
    is_ca: bool = False
    usages: tuple[str, ...] = ()


class RequestStatus(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What has come of it."""

    conditions: tuple[Condition, ...] = ()
    certificate: str | None = None
    ca: str | None = None
    failure_time: str | None = None


class CertificateRequest(msgspec.Struct, frozen=True, gc=False):
    """One request for one certificate. Every state that outlives a call is keyed by `metadata.uid`."""

    metadata: ObjectMeta
    spec: RequestSpec = RequestSpec()
    status: RequestStatus = RequestStatus()

    @property
    def ready(self) -> Condition | None:
        """The Ready condition, if it was ever written."""
        return condition.find(self.status.conditions, condition.READY)

    @property
    def told(self) -> str:
        """The message of the Ready condition."""
        return self.ready.message if self.ready else ""

    @property
    def issuer_ref(self) -> IssuerRef:
        """The issuer that is asked to sign."""
        return self.spec.issuer_ref

    @property
    def encoded_csr(self) -> str:
        """The CSR, base64 of PEM."""
        return self.spec.request

    @property
    def wants_ca(self) -> bool:
        """Whether the certificate is to be one of a CA."""
        return self.spec.is_ca

    @property
    def duration(self) -> str | None:
        """How long the certificate should live."""
        return self.spec.duration

    @property
    def usages(self) -> tuple[str, ...]:
        """What it is for."""
        return self.spec.usages

    @property
    def type_meta(self) -> TypeMeta:
        """What kind of object it is."""
        return TypeMeta(f"{GROUP}/{VERSION}", KIND)

    @property
    def key_secret(self) -> str | None:
        """Name of the Secret that holds the private key, where cert-manager tells it."""
        return self.metadata.annotation(KEY_SECRET_ANNOTATION)

    @property
    def issuer_namespace(self) -> str:
        """Where an issuer is that is in a namespace: with the request."""
        return self.metadata.namespace

    @property
    def issuer_remedy(self) -> str:
        """What to do where the issuer is the wrong one: that of a CertificateRequest cannot be changed."""
        return "fix issuerRef of the Certificate"

    @property
    def approval_remedy(self) -> str:
        """What is missing where no approver speaks about it."""
        plural = PLURALS.get(self.spec.issuer_ref.kind, PLURALS[ISSUER_KIND])
        return (
            f"cert-manager's approver needs the right to approve signers.cert-manager.io {plural}.{ISSUER_GROUP}/* "
            "(ClusterRole cdn-issuer-approver, bound to its ServiceAccount); where approver-policy approves, a "
            "CertificateRequestPolicy has to select the request"
        )

    @property
    def duration_field(self) -> str:
        """What says the duration."""
        return "spec.duration"

    @property
    def authorities(self) -> str | None:
        """The annotation that says which authorities may sign it."""
        return self.metadata.annotation(AUTHORITIES_ANNOTATION)

    @property
    def denial(self) -> str:
        """The message of the Denied condition."""
        denied = condition.find(self.status.conditions, DENIED)
        return denied.message if denied else ""

    @property
    def invalidity(self) -> str:
        """The message of the InvalidRequest condition."""
        invalid = condition.find(self.status.conditions, INVALID_REQUEST)
        return invalid.message if invalid else ""

    @property
    def cause(self) -> str:
        """Why no authority has signed, in a word: the reason of our condition. Empty if one has, or it is not known."""
        told = condition.find(self.status.conditions, AUTHORITY_CONDITION)
        return told.reason if told is not None and told.status == condition.FALSE else ""

    @property
    def has_failed(self) -> bool:
        """Whether it has failed; what was denied has not."""
        ready = self.ready
        return ready is not None and ready.status != condition.TRUE and ready.reason == REASON_FAILED

    @property
    def failed_by_outage(self) -> bool:
        """Whether it has failed for a cause that passes by itself, see `OUTAGES`. What was denied has not."""
        return self.has_failed and self.cause in OUTAGES

    @property
    def owner(self) -> OwnerReference | None:
        """The Certificate that cert-manager made it for, if it did."""
        return next(
            (one for one in self.metadata.owner_references if one.kind == "Certificate" and one.controller), None
        )

    @property
    def revision(self) -> int | None:
        """Which issuance of its Certificate it is for."""
        told = self.metadata.annotation(REVISION_ANNOTATION) or ""
        return int(told) if told.isascii() and told.isdigit() else None

    @property
    def failed_at(self) -> datetime | None:
        """Its `failureTime`."""
        return parse_time(self.status.failure_time)

    @property
    def told_why(self) -> str:
        """What each authority came to, as our condition says it; empty if one has signed, or nothing was said."""
        told = condition.find(self.status.conditions, AUTHORITY_CONDITION)
        return told.message if told is not None and told.status == condition.FALSE else ""

    @property
    def is_approved(self) -> bool:
        """Whether an approver has approved it."""
        return condition.is_true(self.status.conditions, APPROVED)

    @property
    def is_denied(self) -> bool:
        """Whether an approver has denied it."""
        return condition.is_true(self.status.conditions, DENIED)

    @property
    def is_invalid(self) -> bool:
        """Whether cert-manager has marked it as invalid."""
        return condition.is_true(self.status.conditions, INVALID_REQUEST)

    @property
    def is_finished(self) -> bool:
        """Whether it has reached its end; then nothing is written to it again.

        Ready=False with reason Failed or Denied is an end, and so is Ready=True.
        """
        ready = self.ready
        return ready is not None and (ready.status == condition.TRUE or ready.reason in (REASON_FAILED, REASON_DENIED))

    @property
    def approved_at(self) -> datetime | None:
        """When it was approved; when it was created, if the approver gave no time."""
        approved = condition.find(self.status.conditions, APPROVED)
        if approved is None or approved.status != condition.TRUE:
            return None
        return approved.since or self.metadata.created

    @property
    def duration_seconds(self) -> float:
        """How long the certificate should live, in seconds; cert-manager's default if not said or not readable."""
        try:
            return Duration(self.spec.duration).seconds if self.spec.duration else DEFAULT_DURATION
        except InvalidDurationError:
            return DEFAULT_DURATION

    def trimmed(self) -> CertificateRequest:
        """The same request as it is kept in memory.

        No certificate is kept. Of a finished one only its identity, its issuer, and that it has ended and why: clusters
        keep tens of thousands of them. Of one that has failed also what it takes to have its Certificate issued again,
        and to tell when it may go.
        """
        if not self.is_finished:
            carries = self.status.certificate or self.status.ca
            return replace(self, status=replace(self.status, certificate=None, ca=None)) if carries else self
        meta, ready = self.metadata, self.ready
        kept = ObjectMeta(
            name=meta.name, namespace=meta.namespace, uid=meta.uid, resource_version=meta.resource_version
        )
        failure_time = None
        if self.has_failed and (owner := self.owner) is not None:
            names = (REVISION_ANNOTATION, AUTHORITIES_ANNOTATION)
            annotations = {name: value for name in names if (value := meta.annotation(name)) is not None}
            kept = replace(kept, owner_references=(owner,), annotations=annotations)
            failure_time = self.status.failure_time
        ended = (Condition(READY, ready.status, ready.reason),) if ready else ()
        if self.cause:
            ended = (*ended, Condition(AUTHORITY_CONDITION, condition.FALSE, self.cause))
        return CertificateRequest(
            kept,
            RequestSpec(_shared(self.spec.issuer_ref)),
            RequestStatus(tuple(map(_shared, ended)), failure_time=failure_time),
        )


def signer_message(authority: str, passed_over: str = "") -> str:
    """The message of the condition `cdn-issuer.io/Authority`; `signer_of` reads the name back."""
    return f"{authority} signed" + (f"; before it, {passed_over}" if passed_over else "")


def signer_of(request: CertificateRequest) -> str | None:
    """The name of the authority that signed a request, or None if none has."""
    told = condition.find(request.status.conditions, AUTHORITY_CONDITION)
    return told.message.partition(" ")[0] if told is not None and told.status == condition.TRUE else None


T = TypeVar("T")


@lru_cache(maxsize=4096)
def _shared(value: T) -> T:
    """One object for all that are equal."""
    return value
