"""Lists and single objects of one resource, and what stands in the way of reading them.

A right that is missing, a resource that the API server does not know, an object that does not fit: each becomes a
finding, and the rest is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from issuer.api.issuer import GROUP, Issuer
from issuer.api.meta import ObjectKey
from issuer.api.request import GROUP as CERT_MANAGER
from issuer.inspection.findings import ERROR, NOTE, Finding, Severity, title
from issuer.inspection.installation import APPLY_CRDS
from issuer.kube.decoding import ObjectDecoder, Unreadable
from issuer.kube.errors import ForbiddenError, InvalidError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from issuer.api.request import CertificateRequest
    from issuer.api.signingrequest import CertificateSigningRequest
    from issuer.inspection.snapshot import Certificate
    from issuer.kube.client import KubeClient
    from issuer.kube.resource import Resource

T = TypeVar("T", bound="Certificate | CertificateRequest | CertificateSigningRequest | Issuer")

PAGE: Final = 500
MOST: Final = 20_000
"""Objects of one list that are looked at; a note tells of more."""
INSTALL_CERT_MANAGER: Final = (
    "helm upgrade --install cert-manager oci://quay.io/jetstack/charts/cert-manager --namespace cert-manager "
    "--create-namespace --set crds.enabled=true"
)


@dataclass(slots=True)
class Notes:
    """What could not be read; each thing is told once."""

    findings: list[Finding] = field(default_factory=list)

    def forbidden(self, verb: str, resource: Resource, namespace: str, severity: Severity = NOTE) -> None:
        """A right is missing."""
        where = f" in namespace {namespace}" if namespace else " in all namespaces" if resource.namespaced else ""
        role = "role" if namespace else "clusterrole"
        within = f" --namespace {namespace}" if namespace else ""
        self._add(
            severity=severity,
            code="MissingRight",
            object=title("Namespace", "", namespace) if namespace else "Cluster",
            sentence=f"you may not {verb} {resource}{where}, so they were not looked at",
            fix=f"kubectl create {role} read-{resource.plural}{within} --verb {verb} --resource {resource}",
        )

    def unknown(self, resource: Resource, severity: Severity = ERROR) -> None:
        """The API server does not know a resource; one of Kubernetes' own that nobody has asked for is passed over."""
        if resource.group not in (GROUP, CERT_MANAGER):
            if severity == ERROR:
                self._add(
                    severity=severity,
                    code="NotFound",
                    object=str(resource),
                    sentence="the API server does not serve them",
                    fix=f"kubectl api-resources --api-group {resource.group}",
                )
            return
        ours = resource.group == GROUP
        product = "cdn-issuer" if ours else "cert-manager"
        self._add(
            severity=ERROR,
            code="MissingCRD",
            object=f"CustomResourceDefinition {resource}",
            sentence=f"the API server knows no {resource}: {product} is not installed, or its CRDs are not",
            fix=APPLY_CRDS if ours else INSTALL_CERT_MANAGER,
        )

    def missing(self, kind: str, resource: Resource, key: ObjectKey) -> None:
        """An object that was named does not exist."""
        within = f" --namespace {key.namespace}" if key.namespace else ""
        self._add(
            severity=ERROR,
            code="NotFound",
            object=title(kind, *key),
            sentence="it does not exist",
            fix=f"kubectl get {resource.plural}{within}",
        )

    def unreadable(self, resource: Resource, found: Unreadable) -> None:
        """An object exists and does not fit."""
        within = f" --namespace {found.metadata.namespace}" if found.metadata.namespace else ""
        self._add(
            severity=ERROR,
            code="Unreadable",
            object=title(resource.plural, *found.metadata.key),
            sentence=f"it holds what this program cannot read: {found.reason}",
            fix=f"kubectl get {resource.plural}{within} {found.metadata.name} --output yaml",
        )

    def cut(self, resource: Resource) -> None:
        """There are more than are read."""
        self._add(
            severity=NOTE,
            code="NotAll",
            object=str(resource),
            sentence=f"there are more than {MOST}, and only so many were looked at; name a namespace",
        )

    def _add(self, **fields: Any) -> None:
        if (finding := Finding(**fields)) not in self.findings:
            self.findings.append(finding)


class Collection(Generic[T]):
    """One resource, and how its objects are read."""

    def __init__(self, client: KubeClient, notes: Notes, resource: Resource, kind: str, item: type[T]) -> None:
        self._client = client
        self._notes = notes
        self._resource = resource
        self._kind = kind
        self._decoder = ObjectDecoder(item)

    async def all(self, namespace: str, *, selector: str = "", severity: Severity = NOTE) -> tuple[T, ...] | None:
        """All in a namespace, or everywhere; None if they cannot be read."""
        within = namespace if self._resource.namespaced else ""
        query = {"limit": str(PAGE), **({"fieldSelector": selector} if selector else {})}
        found: list[T] = []
        try:
            while True:
                body = await self._client.list(self._resource, within, query=query)
                found += self._kept(self._decoder.page(body))
                token = msgspec.json.decode(body, type=_Page).metadata.token
                if not token or len(found) >= MOST:
                    break
                query["continue"] = token
        except ForbiddenError:
            self._notes.forbidden("list", self._resource, within, severity)
            return None
        except NotFoundError:
            self._notes.unknown(self._resource, severity)
            return None
        except InvalidError:
            if not selector:
                raise
            return await self.all(namespace, severity=severity)  # an older CRD knows no such selector
        if token:
            self._notes.cut(self._resource)
        return tuple(found)

    async def one(self, namespace: str, name: str) -> tuple[T, ...] | None:
        """The one of that name; None if it cannot be read, or is not there."""
        within = namespace if self._resource.namespaced else ""
        try:
            body = await self._client.get(self._resource, within, name)
        except ForbiddenError:
            self._notes.forbidden("get", self._resource, within, ERROR)
            return None
        except NotFoundError as error:
            if error.name:
                self._notes.missing(self._kind, self._resource, ObjectKey(within, name))
            else:
                self._notes.unknown(self._resource)
            return None
        return tuple(self._kept([self._decoder.one(msgspec.Raw(body))]))

    def _kept(self, items: Iterable[T | Unreadable]) -> list[T]:
        kept: list[T] = []
        for item in items:
            if isinstance(item, Unreadable):
                self._notes.unreadable(self._resource, item)
            else:
                kept.append(item)
        return kept


class _PageMeta(msgspec.Struct):
    token: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct):
    metadata: _PageMeta = msgspec.field(default_factory=_PageMeta)
