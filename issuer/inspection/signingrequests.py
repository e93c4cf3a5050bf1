"""What is wrong with a CertificateSigningRequest of Kubernetes that one of our issuers is to sign.

No Certificate stands behind it and nobody issues it again: one that has ended stays so, and whoever wants another try
makes another. Who approves it is mostly a person, who takes their time, so waiting for that is a warning and no
problem. And the controller serves such requests only where it is told to, which shows in nothing but its silence.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from issuer.api.issuer import CLUSTER_ISSUER_KIND, GROUP, IN_PROCESS, ISSUER_KIND
from issuer.api.signingrequest import KIND, PLURAL, SIGNERS
from issuer.inspection.findings import ERROR, NOTE, WARNING, Code, Finding, title
from issuer.inspection.installation import PODS, controller_is_at_work
from issuer.inspection.issuers import read_spec
from issuer.inspection.requests import ENDS, OWN_FAULT, TAKEN_UP, ago, denied, pending_trouble, reference_trouble
from issuer.inspection.snapshot import IssuerKey, issuer_key, lease_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.api.issuer import Issuer
    from issuer.api.signingrequest import CertificateSigningRequest
    from issuer.inspection.snapshot import Snapshot

SLACK: Final = timedelta(seconds=30)
"""How long the controller may take for its first word beyond the turns of all authorities."""
FLAG: Final = "--certificate-signing-requests"
VALUE: Final = "certificateSigningRequests.enabled"
_SYSTEM: Final = "cdn-issuer-system"


def again(name: str) -> str:
    """The command that makes one again that has ended: under the same name, with nothing said about it yet."""
    return f"kubectl get {PLURAL} {name} --output json | kubectl replace --force --filename -"


def issuer_of(request: CertificateSigningRequest) -> IssuerKey | None:
    """The issuer that it is for; None if its signer is none of ours."""
    return issuer_key(request.issuer_ref, request.issuer_namespace)


def signer_trouble(request: CertificateSigningRequest, snapshot: Snapshot) -> Iterator[Finding]:
    """What is wrong with `spec.signerName`: it is another's, of no kind of ours, or leads to no issuer."""
    about, name, ref = _title(request), request.spec.signer_name, request.issuer_ref
    fix = f"kubectl delete {PLURAL} {request.metadata.name}"
    if not request.is_of_our_group:
        sentence = f"spec.signerName is {name}: another signer signs it, and this program knows nothing of it"
        yield Finding(severity=NOTE, code="NotOurs", object=about, sentence=sentence)
    elif not ref.kind:
        sentence = (
            f"spec.signerName {name} names no kind of {GROUP}, whose signers are those of {' and '.join(SIGNERS)}; it "
            f"cannot be changed, so make another {KIND}"
        )
        yield Finding(severity=ERROR, code="WrongKind", object=about, sentence=sentence, fix=fix)
    elif ref.kind == ISSUER_KIND and not request.issuer_namespace:
        sentence = f"spec.signerName {name} names no namespace: {request.issuer_remedy}"
        yield Finding(severity=ERROR, code="IssuerMissing", object=about, sentence=sentence, fix=fix)
    else:
        yield from reference_trouble(ref, request.issuer_namespace, about, fix, snapshot)


def signing_request_trouble(
    request: CertificateSigningRequest, snapshot: Snapshot, *, explained: bool
) -> Iterator[Finding]:
    """What is wrong with it.

    Args:
        request: one for a signer of ours.
        snapshot: of the cluster.
        explained: whether an error further up, of its issuer or of the installation, is why it waits.
    """
    about, name = _title(request), request.metadata.name
    if request.is_denied:
        yield denied(request, about, f"kubectl describe {PLURAL} {name}")
    elif request.is_finished:
        yield from _failed(request, about)
    elif not request.is_approved:
        yield Finding(
            severity=WARNING,
            code="NotApprovedYet",
            object=about,
            sentence=f"neither approved nor denied, {ago(request, snapshot)} after it was made; somebody who may "
            "approve its signer has to, and Kubernetes deletes it after a day",
            fix=f"kubectl certificate approve {name}",
        )
    elif not request.told:
        if not explained:
            yield from _silence(request, about, snapshot)
    elif (key := issuer_of(request)) is not None:
        children = _children(key, snapshot)
        yield from pending_trouble(request, about, key, snapshot, children=children, explained=explained)


def _title(request: CertificateSigningRequest) -> str:
    return title(KIND, "", request.metadata.name)


def _failed(request: CertificateSigningRequest, about: str) -> Iterator[Finding]:
    failed = request.failure
    if failed is None:
        return
    name, key = request.metadata.name, issuer_of(request)
    code: Code = ENDS.get(request.cause, "DeadlineExceeded" if request.cause else "Rejected")
    fix = again(name)
    if request.cause == "CertificateRefused" and key is not None:
        code, fix = "CertificateRefused", f"kubectl describe {PLURAL} {name}"
    elif request.cause in OWN_FAULT:
        fix = f"kubectl delete {PLURAL} {name}"
    sentence = f"{failed.message or failed.reason}; Kubernetes never opens it again, so make another {KIND}"
    yield Finding(severity=ERROR, code=code, object=about, sentence=sentence, fix=fix)


def _silence(request: CertificateSigningRequest, about: str, snapshot: Snapshot) -> Iterator[Finding]:
    """Of one that is approved, and of which the controller has said nothing for longer than it needs to."""
    key, approved = issuer_of(request), request.approved_at
    issuer = snapshot.issuers.get(key) if key else None
    if approved is None or snapshot.now - approved <= _patience(issuer):
        return
    waited = f"approved {ago(request, snapshot)} ago, and has not been taken up"
    lease = lease_key(issuer) if issuer else None
    if issuer is None or not controller_is_at_work(issuer, snapshot):
        sentence = f"{waited}: no controller runs, or it runs without {FLAG} ({VALUE} of the chart)"
        yield Finding(severity=ERROR, code="NotTakenUp", object=about, sentence=sentence, fix=PODS)
        return
    yield Finding(
        severity=ERROR,
        code="SigningRequestsOff",
        object=about,
        sentence=f"{waited}, though the controller is at work: it runs without {FLAG} ({VALUE} of the chart), or "
        "else its log names the right that it lacks",
        fix=f"helm upgrade cdn-issuer deploy/chart --namespace {lease.namespace if lease else _SYSTEM} --reuse-values "
        f"--set {VALUE}=true",
    )


def _patience(issuer: Issuer | None) -> timedelta:
    """How long nothing may be said of a request: until each authority has had its turn."""
    read = read_spec(issuer) if issuer else None
    if read is None:
        return TAKEN_UP
    turns = sum(one.common.timeouts.turn.seconds for one in read.authorities if one.kind not in IN_PROCESS)
    return min(TAKEN_UP, timedelta(seconds=turns) + SLACK)


def _children(key: IssuerKey, snapshot: Snapshot) -> str:
    """Where requests are that were made of another issuer: with the issuer, or with its Secrets."""
    if key.kind != CLUSTER_ISSUER_KIND:
        return f"--namespace {key.namespace}"
    issuer = snapshot.issuers.get(key)
    lease = lease_key(issuer) if issuer else None
    return f"--namespace {lease.namespace}" if lease else "--all-namespaces"
