"""What was read of a cluster at one time. Whatever is absent here was not read, and nothing is concluded from that.

Contents of Secrets are not kept: the names of their keys are, and until when the certificate in `tls.crt` lives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from issuer.api.condition import Condition
from issuer.api.issuer import CLUSTER_ISSUER_KIND, GROUP, PLURALS, VERSION, Issuer
from issuer.api.meta import ObjectKey, ObjectMeta, parse_time
from issuer.api.request import CERTIFICATE_NAME_ANNOTATION, CertificateRequest, IssuerRef
from issuer.api.request import GROUP as CERT_MANAGER
from issuer.api.request import PLURAL as REQUESTS_PLURAL
from issuer.api.request import VERSION as CERT_MANAGER_VERSION
from issuer.api.signingrequest import GROUP as SIGNING_REQUESTS_GROUP
from issuer.api.signingrequest import PLURAL as SIGNING_REQUESTS_PLURAL
from issuer.api.signingrequest import VERSION as SIGNING_REQUESTS_VERSION
from issuer.kube.lease import LeaseSpec
from issuer.kube.resource import Resource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from issuer.api.certmanager import CertManager
    from issuer.api.signingrequest import CertificateSigningRequest
    from issuer.inspection.findings import Finding

CERTIFICATES: Final = Resource(CERT_MANAGER, CERT_MANAGER_VERSION, "certificates")
REQUESTS: Final = Resource(CERT_MANAGER, CERT_MANAGER_VERSION, REQUESTS_PLURAL)
SIGNING_REQUESTS: Final = Resource(
    SIGNING_REQUESTS_GROUP, SIGNING_REQUESTS_VERSION, SIGNING_REQUESTS_PLURAL, namespaced=False
)
ISSUERS: Final = {
    kind: Resource(GROUP, VERSION, plural, namespaced=kind != CLUSTER_ISSUER_KIND) for kind, plural in PLURALS.items()
}


class PrivateKey(msgspec.Struct, frozen=True, rename="camel"):
    """How the key of a Certificate is made."""

    rotation_policy: str = ""


class CertificateSpec(msgspec.Struct, frozen=True, rename="camel"):
    """What a Certificate asks for."""

    secret_name: str = ""
    issuer_ref: IssuerRef = IssuerRef()
    dns_names: tuple[str, ...] = ()
    duration: str = ""
    renew_before: str = ""
    revision_history_limit: int | None = None
    private_key: PrivateKey = PrivateKey()


class CertificateStatus(msgspec.Struct, frozen=True, rename="camel"):
    """What cert-manager says of it."""

    conditions: tuple[Condition, ...] = ()
    not_after: str | None = None
    renewal_time: str | None = None
    last_failure_time: str | None = None
    failed_issuance_attempts: int = 0
    revision: int = 0

    @property
    def ends(self) -> datetime | None:
        """When the certificate in the Secret ends."""
        return parse_time(self.not_after)


class Certificate(msgspec.Struct, frozen=True):
    """cert-manager's Certificate, as far as it is read here."""

    metadata: ObjectMeta
    spec: CertificateSpec = CertificateSpec()
    status: CertificateStatus = CertificateStatus()


class Lease(msgspec.Struct, frozen=True):
    """A Lease, as far as it is read here."""

    metadata: ObjectMeta
    spec: LeaseSpec = LeaseSpec()


class IssuerKey(NamedTuple):
    """Which issuer; the namespace is empty for a CDNClusterIssuer."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class SecretView:
    """A Secret without its contents.

    Attributes:
        keys: of its data.
        ends: when the first certificate of its `tls.crt` ends, if there is one that can be read.
    """

    keys: frozenset[str]
    ends: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What there was.

    Attributes:
        now: when.
        namespace: which one was looked at; empty for all.
        certificates: of the namespace, or the one that was named.
        requests: the same.
        signing_requests: Kubernetes' own for signers of our group where they were looked at, or the one that was named.
        issuers: those that exist.
        subjects: those of them that are looked at for their own sake.
        unread: kinds of issuers that could not be read, so that one may exist and not be in `issuers`.
        secrets: those that issuers name, None for one that does not exist.
        leases: those that issuers name, None for one that does not exist.
        stale: Leases that nobody has renewed for longer than they last, nor while they were watched.
        may_approve: by plural of the issuers, whether cert-manager may approve; absent where that is not known.
        served: the fields of our CRDs, by kind; None if they could not be read.
        cert_manager: what its CRDs tell; None if they could not be read.
        obstacles: what could not be read, and why.
    """

    now: datetime
    namespace: str = ""
    certificates: tuple[Certificate, ...] = ()
    requests: tuple[CertificateRequest, ...] = ()
    signing_requests: tuple[CertificateSigningRequest, ...] = ()
    issuers: Mapping[IssuerKey, Issuer] = field(default_factory=dict)
    subjects: frozenset[IssuerKey] = frozenset()
    unread: frozenset[str] = frozenset()
    secrets: Mapping[ObjectKey, SecretView | None] = field(default_factory=dict)
    leases: Mapping[ObjectKey, Lease | None] = field(default_factory=dict)
    stale: frozenset[ObjectKey] = frozenset()
    may_approve: Mapping[str, bool] = field(default_factory=dict)
    served: Mapping[str, frozenset[str]] | None = None
    cert_manager: CertManager | None = None
    obstacles: tuple[Finding, ...] = ()

    def requests_of(self, certificate: Certificate) -> list[CertificateRequest]:
        """Those that cert-manager has made for a Certificate, the newest last."""
        namespace, name = certificate.metadata.key
        found = [
            request
            for request in self.requests
            if request.metadata.namespace == namespace
            and request.metadata.annotation(CERTIFICATE_NAME_ANNOTATION) == name
        ]
        return sorted(found, key=lambda request: request.metadata.creation_timestamp)


def issuer_key(ref: IssuerRef, namespace: str) -> IssuerKey | None:
    """The issuer that is referred to; None if no kind of ours is."""
    if ref.group != GROUP or ref.kind not in PLURALS:
        return None
    return IssuerKey(ref.kind, "" if ref.kind == CLUSTER_ISSUER_KIND else namespace, ref.name)


def key_of(issuer: Issuer) -> IssuerKey:
    """Which issuer it is."""
    return IssuerKey(issuer.kind, *issuer.metadata.key)


def lease_key(issuer: Issuer) -> ObjectKey | None:
    """The Lease of the controller that wrote its status; None if nobody has, or it works without one."""
    namespace, slash, name = issuer.status.controller.partition("/")
    return ObjectKey(namespace, name) if slash and namespace and name else None
