"""cert-manager's Certificate, as far as it takes to have one issued again.

What the fields mean is cert-manager's (`pkg/apis/certmanager/v1/types_certificate.go`). Its trigger controller leaves a
Certificate alone while the condition Issuing is True, and for 1 h to 32 h after a failure; who sets Issuing to True by
hand, as `cmctl renew` does, does not wait (`pkg/controller/certificates/trigger`, `cmctl/pkg/renew`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from issuer.api import condition
from issuer.api.condition import Condition
from issuer.api.meta import ObjectMeta, parse_time
from issuer.api.request import IssuerRef

if TYPE_CHECKING:
    from datetime import datetime

KIND: Final = "Certificate"
PLURAL: Final = "certificates"
ISSUING: Final = "Issuing"
REASON_FAILED: Final = "Failed"
"""Of Issuing=False: the request has failed. cert-manager copies the reason of the request's Ready condition."""


class CertificateSpec(msgspec.Struct, frozen=True, rename={"issuer_ref": "issuerRef"}):
    """What is wanted."""

    issuer_ref: IssuerRef = IssuerRef()


class CertificateStatus(msgspec.Struct, frozen=True, rename="camel"):
    """What has come of it."""

    conditions: tuple[Condition, ...] = ()
    revision: int | None = None
    not_after: str | None = None
    last_failure_time: str | None = None


class Certificate(msgspec.Struct, frozen=True):
    """One Certificate."""

    metadata: ObjectMeta
    spec: CertificateSpec = CertificateSpec()
    status: CertificateStatus = CertificateStatus()

    @property
    def issuing(self) -> Condition | None:
        """The condition Issuing, if there is one."""
        return condition.find(self.status.conditions, ISSUING)

    @property
    def revision(self) -> int:
        """How often it was issued."""
        return self.status.revision or 0

    @property
    def expires(self) -> datetime | None:
        """When the certificate ends that is in use; None: there is none, or it is not known."""
        return parse_time(self.status.not_after)

    @property
    def failed_at(self) -> datetime | None:
        """When its last issuance failed; None if the last one did not."""
        return parse_time(self.status.last_failure_time)
