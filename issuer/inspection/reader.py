"""Reads from the API server what a diagnosis needs, with as few rights and as few calls as may be.

What may not be read is no failure: it becomes a finding that names the right, and the diagnosis goes on without it. So
does a resource that the API server does not know. An API server that is away, or refuses the credential, is a
`KubeError`.

Nothing is written. A SubjectAccessReview is a POST to the API server and changes nothing: it asks whether cert-manager
may approve.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from issuer.api import installed
from issuer.api.certmanager import OPENAPI, cert_manager
from issuer.api.issuer import CLUSTER_ISSUER_KIND, GROUP, ISSUER_KIND, PLURALS, Issuer
from issuer.api.meta import ObjectKey, ObjectMeta, parse_time
from issuer.api.request import GROUP as CERT_MANAGER
from issuer.api.request import CertificateRequest
from issuer.api.signingrequest import KIND as SIGNING_REQUEST_KIND
from issuer.api.signingrequest import CertificateSigningRequest
from issuer.inspection.collection import Collection, Notes
from issuer.inspection.findings import ERROR, NOTE, Severity
from issuer.inspection.issuers import needs
from issuer.inspection.snapshot import (
    CERTIFICATES,
    ISSUERS,
    REQUESTS,
    SIGNING_REQUESTS,
    Certificate,
    IssuerKey,
    Lease,
    SecretView,
    Snapshot,
    issuer_key,
    key_of,
    lease_key,
)
from issuer.kube.errors import ForbiddenError, KubeError, NotFoundError
from issuer.kube.resource import LEASES, SECRETS, Resource
from issuer.pki import pem
from issuer.pki.validity import not_after

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from issuer.api.certmanager import CertManager
    from issuer.kube.client import KubeClient


MOST_NAMED: Final = 200
"""Secrets and Leases that are read, each with a call of its own."""
AT_ONCE: Final = 8
"""Calls under way at the same time."""
LOOK_AGAIN: Final = 3.0
"""Seconds after which a Lease that looks stale is read again: this machine's clock may be wrong, and a Lease that has
changed meanwhile is alive. It is renewed every two seconds."""
APPROVER: Final = "system:serviceaccount:cert-manager:cert-manager"
ACCESS_REVIEWS: Final = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", namespaced=False)

Subject = Literal[
    "all",
    "certificate",
    "certificaterequest",
    "certificatesigningrequest",
    "issuer",
    "clusterissuer",
    "overview",
    "check",
]
"""What is looked at; `overview` is issuers and requests alone, `check` Certificates alone."""
ALL_ISSUERS: Final = ("all", "overview", "clusterissuer")
"""Subjects that CDNClusterIssuers belong to, whether or not something refers to one."""
WITH_CERTIFICATES: Final = ("all", "certificate", "check")
"""Subjects that need Certificates."""
WITH_SIGNING_REQUESTS: Final = ("all", "overview")
"""Subjects that CertificateSigningRequests belong to where all namespaces are looked at. They are in none, so who has
rights in one namespace alone may not list them, and is not told so each time."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be looked at.

    Attributes:
        subject: objects of which kind.
        namespace: where; empty for everywhere.
        name: of one; empty for all.
    """

    subject: Subject = "all"
    namespace: str = ""
    name: str = ""

    def spans(self, namespace: str) -> bool:
        """Whether what is in a namespace, or in none, belongs to it."""
        return not (self.namespace and namespace) or self.namespace == namespace


class Reader:
    """Reads snapshots.

    Args:
        client: for the API server.
        now: the wall clock.
    """

    def __init__(self, client: KubeClient, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._client = client
        self._now = now
        self._places = asyncio.Semaphore(AT_ONCE)

    async def read(self, target: Target) -> Snapshot:
        """Read what concerns a target.

        Raises:
            KubeError: the API server does not answer, or refuses the credential.
        """
        notes, of_issuers, of_cluster_issuers = Notes(), Notes(), Notes()
        signing_requests = await self._signing_requests(target, notes)
        if target.subject == "certificatesigningrequest" and signing_requests and target.name:
            target = replace(target, namespace=signing_requests[0].issuer_namespace or target.namespace)
        certificates, requests, issuers, cluster_issuers, served, cert_manager = await _all(
            self._certificates(target, notes),
            self._requests(target, notes),
            self._issuers(ISSUER_KIND, target, of_issuers),
            self._issuers(CLUSTER_ISSUER_KIND, target, of_cluster_issuers),
            self._served(),
            self._cert_manager(target),
        )
        found = {key_of(issuer): issuer for issuer in (*(issuers or ()), *(cluster_issuers or ()))}
        unread = frozenset(
            kind for kind, items in ((ISSUER_KIND, issuers), (CLUSTER_ISSUER_KIND, cluster_issuers)) if items is None
        )
        subjects = _subjects(target, found, unread, notes)
        concerned = {*subjects, *_referred(certificates or (), requests or (), signing_requests)}
        kinds = {key.kind for key in concerned}
        if target.subject != "certificatesigningrequest" or ISSUER_KIND in kinds:
            notes.findings += of_issuers.findings
        if target.subject in ALL_ISSUERS or CLUSTER_ISSUER_KIND in kinds:
            notes.findings += of_cluster_issuers.findings
        if target.subject in ("overview", "check"):
            return Snapshot(
                now=self._now(),
                namespace=target.namespace,
                certificates=certificates or (),
                requests=requests or (),
                signing_requests=signing_requests,
                issuers=found,
                unread=unread,
                obstacles=tuple(notes.findings),
            )
        secrets, (leases, stale), may_approve = await _all(
            self._secrets([found[key] for key in concerned if key in found], notes),
            self._leases(found.values(), notes),
            self._may_approve(requests or ()),
        )
        return Snapshot(
            now=self._now(),
            namespace=target.namespace,
            certificates=certificates or (),
            requests=requests or (),
            signing_requests=signing_requests,
            issuers=found,
            subjects=frozenset(subjects),
            unread=unread,
            secrets=secrets,
            leases=leases,
            stale=stale,
            may_approve=may_approve,
            served=served,
            cert_manager=cert_manager,
            obstacles=tuple(notes.findings),
        )

    async def _certificates(self, target: Target, notes: Notes) -> tuple[Certificate, ...] | None:
        collection = Collection(self._client, notes, CERTIFICATES, "Certificate", Certificate)
        if target.subject == "certificate" and target.name:
            return await collection.one(target.namespace, target.name)
        if target.subject not in WITH_CERTIFICATES:
            return ()
        found = await collection.all(target.namespace, severity=ERROR)
        return found if found is None else tuple(one for one in found if _is_ours(one))

    async def _requests(self, target: Target, notes: Notes) -> tuple[CertificateRequest, ...] | None:
        collection = Collection(self._client, notes, REQUESTS, "CertificateRequest", CertificateRequest)
        if target.subject == "certificaterequest" and target.name:
            return await collection.one(target.namespace, target.name)
        if target.subject in ("certificatesigningrequest", "issuer", "clusterissuer", "check"):
            return ()
        severity: Severity = NOTE if target.subject == "certificate" else ERROR
        return await collection.all(target.namespace, selector=f"spec.issuerRef.group={GROUP}", severity=severity)

    async def _signing_requests(self, target: Target, notes: Notes) -> tuple[CertificateSigningRequest, ...]:
        """Those for signers of our group, in a namespace those for its issuers and for what serves all; or one."""
        kind = SIGNING_REQUEST_KIND
        collection = Collection(self._client, notes, SIGNING_REQUESTS, kind, CertificateSigningRequest)
        is_asked = target.subject == "certificatesigningrequest"
        if is_asked and target.name:
            return await collection.one("", target.name) or ()
        if not is_asked and (target.namespace or target.subject not in WITH_SIGNING_REQUESTS):
            return ()
        found = await collection.all("", severity=ERROR if is_asked else NOTE) or ()
        return tuple(one for one in found if one.is_of_our_group and target.spans(one.issuer_namespace))

    async def _issuers(self, kind: str, target: Target, notes: Notes) -> tuple[Issuer, ...] | None:
        if target.subject == "check":
            return ()
        own = {"issuer": ISSUER_KIND, "clusterissuer": CLUSTER_ISSUER_KIND}.get(target.subject)
        collection = Collection(self._client, notes, ISSUERS[kind], kind, Issuer)
        return await collection.all(target.namespace, severity=ERROR if kind == own else NOTE)

    async def _served(self) -> dict[str, frozenset[str]] | None:
        try:
            return installed.served(await self._client.read(installed.OPENAPI))
        except (KubeError, msgspec.DecodeError):
            return None

    async def _cert_manager(self, target: Target) -> CertManager | None:
        """The schemas of its kinds. Whoever may talk to the API server may read them; nothing is concluded without."""
        if target.subject == "certificatesigningrequest":
            return None
        try:
            return cert_manager(msgspec.json.decode(await self._client.read(OPENAPI)))
        except (KubeError, msgspec.DecodeError):
            return None

    async def _secrets(self, issuers: Iterable[Issuer], notes: Notes) -> dict[ObjectKey, SecretView | None]:
        wanted = list(dict.fromkeys(need.secret for issuer in issuers for need in needs(issuer)))[:MOST_NAMED]

        async def read(key: ObjectKey) -> tuple[ObjectKey, SecretView | None] | None:
            try:
                return key, _view(await self._get(SECRETS, key))
            except ForbiddenError:
                notes.forbidden("get", SECRETS, key.namespace)
            except NotFoundError:
                return key, None
            return None

        return dict(one for one in await _all(*map(read, wanted)) if one is not None)

    async def _leases(
        self, issuers: Iterable[Issuer], notes: Notes
    ) -> tuple[dict[ObjectKey, Lease | None], frozenset[ObjectKey]]:
        """The Leases, and those of them that are stale."""
        wanted = [key for key in dict.fromkeys(map(lease_key, issuers)) if key is not None][:MOST_NAMED]

        async def read(key: ObjectKey) -> tuple[ObjectKey, Lease | None] | None:
            try:
                return key, msgspec.json.decode(await self._get(LEASES, key), type=Lease)
            except ForbiddenError:
                notes.forbidden("get", LEASES, key.namespace)
            except NotFoundError:
                return key, None
            return None

        first = dict(one for one in await _all(*map(read, wanted)) if one is not None)
        doubtful = [key for key, lease in first.items() if lease is not None and self._looks_stale(lease)]
        if not doubtful:
            return first, frozenset()
        await asyncio.sleep(LOOK_AGAIN)
        second = dict(one for one in await _all(*map(read, doubtful)) if one is not None)
        stale = (key for key in doubtful if second.get(key) == first[key])
        return {**first, **second}, frozenset(stale)

    def _looks_stale(self, lease: Lease) -> bool:
        renewed = parse_time(lease.spec.renew_time)
        lasts = timedelta(seconds=lease.spec.lease_duration_seconds or 0)
        return bool(lease.spec.holder_identity) and (renewed is None or abs(self._now() - renewed) > lasts)

    async def _may_approve(self, requests: Iterable[CertificateRequest]) -> dict[str, bool]:
        """Whether cert-manager's approver may approve what waits for it. Few may ask that; then it stays unknown."""
        waiting = {
            PLURALS[request.issuer_ref.kind]
            for request in requests
            if not (request.is_approved or request.is_denied or request.is_finished)
            and request.issuer_ref.kind in PLURALS
        }
        answers: dict[str, bool] = {}
        for plural in waiting:
            attributes = {
                "group": CERT_MANAGER,
                "resource": "signers",
                "verb": "approve",
                "name": f"{plural}.{GROUP}/*",
            }
            review = {
                "apiVersion": ACCESS_REVIEWS.api_version,
                "kind": "SubjectAccessReview",
                "spec": {"user": APPROVER, "resourceAttributes": attributes},
            }
            try:
                answer = msgspec.json.decode(
                    await self._client.create(ACCESS_REVIEWS, "", msgspec.json.encode(review)), type=_Review
                )
            except (ForbiddenError, NotFoundError, msgspec.DecodeError):
                continue
            answers[plural] = answer.status.allowed
        return answers

    async def _get(self, resource: Resource, key: ObjectKey) -> bytes:
        async with self._places:
            return await self._client.get(resource, *key)


def narrowed(snapshot: Snapshot, target: Target) -> Snapshot:
    """The snapshot with the requests of the Certificates that are looked at, where one is named."""
    if target.subject != "certificate":
        return snapshot
    kept = {request.metadata.uid for one in snapshot.certificates for request in snapshot.requests_of(one)}
    return replace(snapshot, requests=tuple(one for one in snapshot.requests if one.metadata.uid in kept))


class _Decision(msgspec.Struct):
    allowed: bool = False


class _Review(msgspec.Struct):
    status: _Decision = msgspec.field(default_factory=_Decision)


class _Secret(msgspec.Struct):
    metadata: ObjectMeta
    data: dict[str, str] | None = None


def _view(body: bytes) -> SecretView:
    data = msgspec.json.decode(body, type=_Secret).data or {}
    return SecretView(frozenset(data), _ends(data.get("tls.crt", "")))


def _ends(encoded: str) -> datetime | None:
    try:
        blocks = pem.blocks(b64decode(encoded))
    except (ValueError, pem.InvalidPemError):
        return None
    return not_after(blocks[0].der) if blocks else None


def _is_ours(certificate: Certificate) -> bool:
    """A Certificate of our group, or one that seems to mean it."""
    ref = certificate.spec.issuer_ref
    return ref.group == GROUP or ref.kind in PLURALS


def _subjects(
    target: Target, found: Mapping[IssuerKey, Issuer], unread: frozenset[str], notes: Notes
) -> set[IssuerKey]:
    """The issuers that are looked at for their own sake."""
    kinds = {
        "all": (ISSUER_KIND, CLUSTER_ISSUER_KIND),
        "issuer": (ISSUER_KIND,),
        "clusterissuer": (CLUSTER_ISSUER_KIND,),
    }.get(target.subject, ())
    chosen = {key for key in found if key.kind in kinds and target.name in ("", key.name)}
    for kind in kinds:
        if target.name and not chosen and kind not in unread:
            namespace = target.namespace if kind == ISSUER_KIND else ""
            notes.missing(kind, ISSUERS[kind], ObjectKey(namespace, target.name))
    return chosen


def _referred(
    certificates: Iterable[Certificate],
    requests: Iterable[CertificateRequest],
    signing_requests: Iterable[CertificateSigningRequest],
) -> set[IssuerKey]:
    refs = [(one.spec.issuer_ref, one.metadata.namespace) for one in certificates]
    refs += [(one.issuer_ref, one.metadata.namespace) for one in requests if not one.is_finished]
    refs += [(one.issuer_ref, one.issuer_namespace) for one in signing_requests if not one.is_finished]
    return {key for ref, namespace in refs if (key := issuer_key(ref, namespace)) is not None}


async def _all(*reading: Coroutine[Any, Any, Any]) -> list[Any]:
    """All results; with the first failure the others are ended."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in reading]
    return [task.result() for task in tasks]
