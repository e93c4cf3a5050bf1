"""Kubernetes' CertificateSigningRequest (certificates.k8s.io/v1), as far as a signer reads and writes it.

It is in no namespace, and names who is to sign it by `spec.signerName`. For an issuer that is
`<plural>.<group>/<namespace>.<name>`, without the namespace where the issuer is cluster-scoped; the duration and
whether a CA is asked for come from annotations. Names and meaning are cert-manager's (`pkg/util/util.go`,
`pkg/util/pki/generate.go`, `pkg/apis/experimental/v1alpha1`).

Kubernetes has no state between approved and ended, and lets a signer have conditions of its own. So ours say under
`cdn-issuer.io/Ready` what the Ready condition of a CertificateRequest says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from issuer.api import condition
from issuer.api.condition import FALSE, TRUE, Condition
from issuer.api.issuer import CLUSTER_ISSUER_KIND, ISSUER_KIND, PLURALS
from issuer.api.issuer import GROUP as ISSUER_GROUP
from issuer.api.meta import ObjectMeta, TypeMeta
from issuer.api.request import APPROVED, AUTHORITIES_ANNOTATION, AUTHORITY_CONDITION, DENIED, IssuerRef

if TYPE_CHECKING:
    from datetime import datetime

GROUP: Final = "certificates.k8s.io"
VERSION: Final = "v1"
KIND: Final = "CertificateSigningRequest"
PLURAL: Final = "certificatesigningrequests"

FAILED: Final = "Failed"
READY_CONDITION: Final = "cdn-issuer.io/Ready"

DURATION_ANNOTATION: Final = "experimental.cert-manager.io/request-duration"
IS_CA_ANNOTATION: Final = "experimental.cert-manager.io/request-is-ca"

SIGNERS: Final = {f"{plural}.{ISSUER_GROUP}": kind for kind, plural in PLURALS.items()}
"""The kind of issuer that each domain of a signer's name means."""


class SigningRequestCondition(Condition, frozen=True, gc=False):
    """One condition: it has a time more than others."""

    last_update_time: str | None = None


class SigningRequestSpec(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What is asked for. `request` is the CSR as the API server holds it: base64 of PEM."""

    signer_name: str = ""
    request: str = ""
    expiration_seconds: int | None = None
    usages: tuple[str, ...] = ()


class SigningRequestStatus(msgspec.Struct, frozen=True, gc=False):
    """What has come of it; `certificate` is base64 of PEM."""

    conditions: tuple[SigningRequestCondition, ...] = ()
    certificate: str | None = None


class CertificateSigningRequest(msgspec.Struct, frozen=True, gc=False):
    """One request for one certificate."""

    metadata: ObjectMeta
    spec: SigningRequestSpec = SigningRequestSpec()
    status: SigningRequestStatus = SigningRequestStatus()

    @property
    def type_meta(self) -> TypeMeta:
        """What kind of object it is."""
        return TypeMeta(f"{GROUP}/{VERSION}", KIND)

    @property
    def is_of_our_group(self) -> bool:
        """Whether its signer is of our group, with a kind of ours or with none that there is."""
        domain = self.spec.signer_name.partition("/")[0]
        return domain == ISSUER_GROUP or domain.endswith(f".{ISSUER_GROUP}")

    @property
    def issuer_ref(self) -> IssuerRef:
        """The issuer that its signer is; an empty reference if that is none of ours."""
        domain, _, path = self.spec.signer_name.partition("/")
        kind = SIGNERS.get(domain)
        if kind is None:
            return IssuerRef()
        return IssuerRef(name=path.removeprefix(f"{self.issuer_namespace}."), kind=kind, group=ISSUER_GROUP)

    @property
    def issuer_namespace(self) -> str:
        """The first label of the signer's path, as no namespace has a dot in its name; empty if there is no other."""
        domain, _, path = self.spec.signer_name.partition("/")
        namespace, dot, _ = path.partition(".")
        return namespace if dot and SIGNERS.get(domain) == ISSUER_KIND else ""

    @property
    def issuer_remedy(self) -> str:
        """What to do where the issuer is the wrong one: a signer's name cannot be changed."""
        name = "NAME" if self.issuer_ref.kind == CLUSTER_ISSUER_KIND else "NAMESPACE.NAME"
        domain = self.spec.signer_name.partition("/")[0]
        return f"make another {KIND} with the right spec.signerName, {domain}/{name}"

    @property
    def encoded_csr(self) -> str:
        """The CSR, base64 of PEM."""
        return self.spec.request

    @property
    def wants_ca(self) -> bool:
        """Whether the certificate is to be one of a CA."""
        return self.metadata.annotation(IS_CA_ANNOTATION) == "true"

    @property
    def duration(self) -> str | None:
        """How long the certificate should live: the annotation goes before `spec.expirationSeconds`."""
        annotated, seconds = self.metadata.annotation(DURATION_ANNOTATION), self.spec.expiration_seconds
        return annotated if annotated is not None or seconds is None else f"{seconds}s"

    @property
    def duration_field(self) -> str:
        """What says the duration."""
        annotated = self.metadata.annotation(DURATION_ANNOTATION) is not None
        return f"annotation {DURATION_ANNOTATION}" if annotated else "spec.expirationSeconds"

    @property
    def usages(self) -> tuple[str, ...]:
        """What it is for, in Kubernetes' names, which are cert-manager's too."""
        return self.spec.usages

    @property
    def key_secret(self) -> str | None:
        """None: who is in no namespace must not choose a Secret of the namespace of an issuer."""
        return None

    @property
    def authorities(self) -> str | None:
        """The annotation that says which authorities may sign it."""
        return self.metadata.annotation(AUTHORITIES_ANNOTATION)

    @property
    def is_approved(self) -> bool:
        """Whether an approver has approved it."""
        return condition.is_true(self.status.conditions, APPROVED)

    @property
    def approval_remedy(self) -> str:
        """What is missing where no approver speaks about it: Kubernetes has none for signers of others."""
        return f"somebody who may approve its signer has to, as by: kubectl certificate approve {self.metadata.name}"

    @property
    def approved_at(self) -> datetime | None:
        """When it was approved; when it was created, if the approver gave no time."""
        approved = condition.find(self.status.conditions, APPROVED)
        return (approved.since or self.metadata.created) if approved is not None and self.is_approved else None

    @property
    def is_denied(self) -> bool:
        """Whether an approver has denied it; that is an end, and cannot be taken back."""
        return condition.is_true(self.status.conditions, DENIED)

    @property
    def denial(self) -> str:
        """The message of the Denied condition."""
        denied = condition.find(self.status.conditions, DENIED)
        return denied.message if denied else ""

    @property
    def is_invalid(self) -> bool:
        """Nobody marks one as invalid but by `Failed`."""
        return False

    @property
    def is_finished(self) -> bool:
        """Whether it has a certificate, has failed, or was denied."""
        has_failed = condition.is_true(self.status.conditions, FAILED)
        return self.status.certificate is not None or has_failed or self.is_denied

    @property
    def told(self) -> str:
        """The message of our Ready condition."""
        ready = condition.find(self.status.conditions, READY_CONDITION)
        return ready.message if ready else ""

    @property
    def told_why(self) -> str:
        """What each authority came to, as our condition says it; empty if one has signed, or nothing was said."""
        told = condition.find(self.status.conditions, AUTHORITY_CONDITION)
        return told.message if told is not None and told.status == FALSE else ""

    @property
    def cause(self) -> str:
        """Why no authority has signed, in a word: the reason of our condition. Empty if one has, or it is not known."""
        told = condition.find(self.status.conditions, AUTHORITY_CONDITION)
        return told.reason if told is not None and told.status == FALSE else ""

    @property
    def failure(self) -> Condition | None:
        """The condition that says why it has failed; None if it has not."""
        failed = condition.find(self.status.conditions, FAILED)
        return failed if failed is not None and failed.status == TRUE else None

    def trimmed(self) -> CertificateSigningRequest:
        """The same request as it is kept in memory: of one that has ended, only its identity, its signer, and that."""
        if not self.is_finished:
            return self
        meta = self.metadata
        ends = tuple(
            SigningRequestCondition(one.type, one.status)
            for one in self.status.conditions
            if one.type in (APPROVED, DENIED, FAILED) and one.status == TRUE
        )
        return CertificateSigningRequest(
            ObjectMeta(name=meta.name, uid=meta.uid, resource_version=meta.resource_version),
            SigningRequestSpec(signer_name=self.spec.signer_name),
            replace(self.status, conditions=ends, certificate=self.status.certificate and ""),
        )
