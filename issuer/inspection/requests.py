"""What is wrong with a request: it waits for an approver, an issuer or an authority, or it has ended badly.

Of Kubernetes' own tells `signingrequests`; what both kinds have in common is here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from issuer.api import condition
from issuer.api.duration import human
from issuer.api.issuer import CLUSTER_ISSUER_KIND, GROUP, ISSUER_KIND, PLURALS
from issuer.api.request import CERTIFICATE_NAME_ANNOTATION, KIND, REASON_DENIED
from issuer.inspection.findings import ERROR, NOTE, WARNING, Code, Finding, title
from issuer.inspection.issuers import describe, let_approve, stands_for
from issuer.inspection.snapshot import IssuerKey, issuer_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.api.request import CertificateRequest, IssuerRef
    from issuer.api.signingrequest import CertificateSigningRequest
    from issuer.inspection.snapshot import Snapshot

    Either = CertificateRequest | CertificateSigningRequest

PATIENCE: Final = timedelta(seconds=30)
"""How long an approver may take."""
TAKEN_UP: Final = timedelta(minutes=10)
"""How long the controller may take to write its first word: not before the turn of each authority, 2m unless given, is
over."""
BIND: Final = (
    "kubectl create clusterrolebinding cdn-issuer-approver --clusterrole cdn-issuer-approver "
    "--serviceaccount cert-manager:cert-manager"
)
ENDS: Final[dict[str, Code]] = {
    "Rejected": "Rejected",
    "InvalidRequest": "InvalidRequest",
    "Unsupported": "Unsupported",
    "IssuerNotFound": "IssuerMissing",
}
"""Codes by the cause of a request that has failed; any other has met its deadline."""
OWN_FAULT: Final = frozenset({"Rejected", "InvalidRequest", "Unsupported"})
"""Causes that another try does not change."""
_WAITS: Final[dict[str, Code]] = {
    "Unavailable": "AuthorityUnavailable",
    "RateLimited": "RateLimited",
    "Unauthorized": "CredentialRefused",
    "InProgress": "InProgress",
}


def reference_trouble(ref: IssuerRef, namespace: str, about: str, fix: str, snapshot: Snapshot) -> Iterator[Finding]:
    """What is wrong with an issuerRef: the group, the kind, or that there is no such issuer.

    Args:
        ref: what is written.
        namespace: of who has written it.
        about: the object that it stands in.
        fix: the command with which it is changed.
        snapshot: of the cluster.
    """
    if ref.group != GROUP:
        if ref.kind in PLURALS:
            said = f"is {ref.group}" if ref.group else "is missing, which means cert-manager.io"
            sentence = f"issuerRef.kind {ref.kind} is of the group {GROUP}, but issuerRef.group {said}"
            yield Finding(severity=ERROR, code="WrongGroup", object=about, sentence=sentence, fix=fix)
        return
    key = issuer_key(ref, namespace)
    if key is None:
        sentence = f"issuerRef.kind {ref.kind or '(none)'} is no kind of {GROUP}, which has {' and '.join(PLURALS)}"
        yield Finding(severity=ERROR, code="WrongKind", object=about, sentence=sentence, fix=fix)
    elif key not in snapshot.issuers and key.kind not in snapshot.unread:
        other = next(
            (one for one in snapshot.issuers if one.name == key.name and one.namespace in ("", namespace)), None
        )
        hint = f"; there is a {other.kind} of that name" if other else ""
        where = f" in namespace {key.namespace}" if key.namespace else ""
        sentence = f"{key.kind} {key.name} does not exist{where}{hint}"
        yield Finding(
            severity=ERROR,
            code="IssuerMissing",
            object=about,
            sentence=sentence,
            fix=fix
            if other
            else f"kubectl get {','.join(PLURALS.values())}" + (f" --namespace {namespace}" if namespace else ""),
        )


def request_trouble(request: CertificateRequest, snapshot: Snapshot, *, explained: bool) -> Iterator[Finding]:
    """What is wrong with it.

    Args:
        request: one of our group.
        snapshot: of the cluster.
        explained: whether an error further up, of its issuer or of the installation, is why it waits.
    """
    namespace, name = request.metadata.key
    about = title(KIND, namespace, name)
    if request.is_denied or (request.ready and request.ready.reason == REASON_DENIED):
        yield denied(request, about, f"kubectl describe certificaterequests --namespace {namespace} {name}")
    elif request.is_finished:
        yield from _ended(request, about)
    elif not request.is_approved:
        yield from _unapproved(request, about, snapshot)
    elif request.ready is None:
        approved = request.approved_at
        if not explained and approved is not None and snapshot.now - approved > TAKEN_UP:
            yield Finding(
                severity=ERROR,
                code="NotTakenUp",
                object=about,
                sentence=f"approved {ago(request, snapshot)} ago, and no controller has said a word about it: none "
                f"runs, or none that serves the namespace {namespace}",
                fix="kubectl get pods --all-namespaces --selector app.kubernetes.io/name=cdn-issuer",
            )
    else:
        key = issuer_key(request.issuer_ref, namespace) or IssuerKey(ISSUER_KIND, "", "")
        children = f"--namespace {namespace}"
        yield from pending_trouble(request, about, key, snapshot, children=children, explained=explained)


def denied(request: Either, about: str, fix: str) -> Finding:
    """That an approver has said no, in the approver's words."""
    said = f": {request.denial}" if request.denial else ""
    return Finding(severity=ERROR, code="Denied", object=about, sentence=f"an approver has denied it{said}", fix=fix)


def pending_trouble(
    request: Either, about: str, issuer: IssuerKey, snapshot: Snapshot, *, children: str, explained: bool
) -> Iterator[Finding]:
    """What one waits for that the controller has taken up.

    Args:
        request: of either kind.
        about: its title.
        issuer: which issuer it is for.
        snapshot: of the cluster.
        children: kubectl's option that says where requests are that were made of another issuer for it.
        explained: whether an error further up is why it waits.
    """
    if request.cause == "InProgress" and "NotApproved" in request.told_why:
        yield Finding(
            severity=ERROR,
            code="ChildNotApproved",
            object=about,
            sentence=request.told,
            fix=_let_approve(request, issuer, snapshot, children),
        )
    elif not explained and request.cause not in ("IssuerNotFound", "IssuerNotReady"):
        yield Finding(
            severity=NOTE if request.cause == "InProgress" else ERROR,
            code=_WAITS.get(request.cause, "Waiting"),
            object=about,
            sentence=request.told,
            fix=describe(issuer),
        )


def ago(request: Either, snapshot: Snapshot) -> str:
    """How long ago it was approved, or else made."""
    since = request.approved_at or request.metadata.created or snapshot.now
    return human(max(1.0, (snapshot.now - since).total_seconds()))


def edit_certificate(namespace: str, name: str) -> str:
    """The command with which a Certificate is changed."""
    return f"kubectl edit certificates --namespace {namespace} {name}"


def renew(namespace: str, name: str) -> str:
    """The command that has a Certificate issued now."""
    return f"cmctl renew --namespace {namespace} {name}"


def _ended(request: CertificateRequest, about: str) -> Iterator[Finding]:
    ready = request.ready
    if ready is None or ready.status == condition.TRUE:
        return
    namespace, owner = request.metadata.namespace, request.metadata.annotation(CERTIFICATE_NAME_ANNOTATION)
    own_fault = request.cause in OWN_FAULT or request.is_invalid
    change = (
        edit_certificate(namespace, owner) if owner else f"kubectl delete certificaterequests --namespace {namespace} "
    )
    again = renew(namespace, owner) if owner else change + request.metadata.name
    yield Finding(
        severity=ERROR,
        code="InvalidRequest" if request.is_invalid else ENDS.get(request.cause, "DeadlineExceeded"),
        object=about,
        sentence=request.told,
        fix=(change if owner else change + request.metadata.name) if own_fault else again,
    )


def _unapproved(request: CertificateRequest, about: str, snapshot: Snapshot) -> Iterator[Finding]:
    created = request.metadata.created
    plural = PLURALS[CLUSTER_ISSUER_KIND if request.issuer_ref.kind == CLUSTER_ISSUER_KIND else ISSUER_KIND]
    right = f"the right to approve signers.cert-manager.io {plural}.{GROUP}/*"
    allowed = snapshot.may_approve.get(plural)
    late = created is None or snapshot.now - created > PATIENCE
    if allowed is False:
        sentence = f"nobody has approved it: cert-manager's approver lacks {right}"
        yield Finding(severity=ERROR, code="NotApproved", object=about, sentence=sentence, fix=BIND)
    elif late:
        waited = f"neither approved nor denied for {ago(request, snapshot)}"
        if allowed:
            why = (
                "cert-manager's approver may, so it does not run, or approver-policy is installed and no "
                "CertificateRequestPolicy selects the request"
            )
            fix = "kubectl get pods --namespace cert-manager"
        else:
            why = (
                f"cert-manager's approver needs {right}, or where approver-policy approves, a CertificateRequestPolicy "
                "has to select the request"
            )
            fix = BIND
        yield Finding(severity=ERROR, code="NotApproved", object=about, sentence=f"{waited}: {why}", fix=fix)
    else:
        yield Finding(
            severity=WARNING,
            code="NotApprovedYet",
            object=about,
            sentence=f"neither approved nor denied yet, {ago(request, snapshot)} after it was made",
            fix=f"kubectl wait certificaterequests --namespace {request.metadata.namespace} {request.metadata.name} "
            "--for condition=Approved",
        )


def _let_approve(request: Either, key: IssuerKey, snapshot: Snapshot, children: str) -> str:
    """The command with which what was made on behalf of a request gets approved."""
    issuer = snapshot.issuers.get(key)
    waits_for = next((one.split()[0] for one in request.told_why.split("; ") if one.endswith(" NotApproved")), "")
    ref = stands_for(waits_for, issuer) if issuer else None
    if ref is None:
        return f"kubectl describe certificaterequests {children} --selector cdn-issuer.io/authority"
    return let_approve(ref)
