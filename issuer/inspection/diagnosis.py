"""Walks from a Certificate, or a request, to what it hangs on, and tells the cause before its consequences.

What is wrong further down the chain (the installation, the issuer) explains what waits further up: a request that is
Pending because its issuer's Secret is missing is no second problem.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from issuer.api.issuer import GROUP
from issuer.api.request import KIND as REQUEST_KIND
from issuer.inspection.certificates import KIND as CERTIFICATE_KIND
from issuer.inspection.certificates import certificate_risks, certificate_trouble
from issuer.inspection.findings import ERROR, NOTE, WARNING, Finding, title, unique
from issuer.inspection.installation import controller_of, installation
from issuer.inspection.issuers import issuer_trouble, read_spec
from issuer.inspection.requests import edit_certificate, reference_trouble, request_trouble
from issuer.inspection.signingrequests import signer_trouble, signing_request_trouble
from issuer.inspection.snapshot import issuer_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from issuer.api.issuer import Issuer
    from issuer.api.request import CertificateRequest, IssuerRef
    from issuer.api.signingrequest import CertificateSigningRequest
    from issuer.inspection.snapshot import Certificate, Snapshot

_RANK = {ERROR: 0, WARNING: 1, NOTE: 2}


def diagnose(snapshot: Snapshot) -> list[Finding]:
    """All that is wrong; errors first, and of these the cause before what follows from it."""
    found = [*snapshot.obstacles, *installation(snapshot)]
    owned: set[str] = set()
    for certificate in snapshot.certificates:
        requests = snapshot.requests_of(certificate)
        owned.update(request.metadata.uid for request in requests)
        found += _of_certificate(certificate, requests, snapshot)
    for request in snapshot.requests:
        if request.metadata.uid not in owned and request.issuer_ref.group == GROUP:
            found += _of_request(request, snapshot)
    for signing_request in snapshot.signing_requests:
        found += _of_signing_request(signing_request, snapshot)
    for key, issuer in snapshot.issuers.items():
        if key in snapshot.subjects:
            found += _of_issuer(issuer, snapshot)
    return sorted(unique(found), key=lambda finding: _RANK[finding.severity])


def _of_issuer(issuer: Issuer, snapshot: Snapshot) -> list[Finding]:
    return [*controller_of(issuer, snapshot), *issuer_trouble(issuer, snapshot)]


def _behind(ref: IssuerRef, namespace: str, snapshot: Snapshot) -> list[Finding]:
    """What is wrong with the issuer that is referred to."""
    key = issuer_key(ref, namespace)
    issuer = snapshot.issuers.get(key) if key else None
    return _of_issuer(issuer, snapshot) if issuer else []


def _of_certificate(certificate: Certificate, requests: list[CertificateRequest], snapshot: Snapshot) -> list[Finding]:
    namespace, name = certificate.metadata.key
    about, ref = title(CERTIFICATE_KIND, namespace, name), certificate.spec.issuer_ref
    wrong = [*reference_trouble(ref, namespace, about, edit_certificate(namespace, name), snapshot)]
    if wrong:
        # What waits for an issuer that is not the one that is meant is a consequence; time runs out all the same.
        return [*wrong, *certificate_trouble(certificate, snapshot, explained=True)]
    if ref.group != GROUP:
        group = ref.group or "cert-manager.io"
        sentence = f"issuerRef.group is {group}: another issuer signs it, and this program knows nothing of it"
        return [Finding(severity=NOTE, code="NotOurs", object=about, sentence=sentence)]
    behind = _behind(ref, namespace, snapshot)
    waiting = requests[-1:]
    latest = [
        *chain.from_iterable(request_trouble(request, snapshot, explained=_has_error(behind)) for request in waiting)
    ]
    causes = [*behind, *latest]
    issuer = snapshot.issuers.get(key) if (key := issuer_key(ref, namespace)) else None
    return [
        *causes,
        *certificate_trouble(certificate, snapshot, explained=_has_error(causes)),
        *certificate_risks(certificate, read_spec(issuer) if issuer else None, snapshot),
    ]


def _of_request(request: CertificateRequest, snapshot: Snapshot) -> list[Finding]:
    """Of a request that no Certificate in the snapshot owns."""
    namespace, name = request.metadata.key
    fix = f"kubectl delete certificaterequests --namespace {namespace} {name}"
    if not request.is_finished and not request.is_denied:
        wrong = [*reference_trouble(request.issuer_ref, namespace, title(REQUEST_KIND, namespace, name), fix, snapshot)]
        if wrong:
            return wrong
    behind = [] if request.is_finished else _behind(request.issuer_ref, namespace, snapshot)
    return [*behind, *request_trouble(request, snapshot, explained=_has_error(behind))]


def _of_signing_request(request: CertificateSigningRequest, snapshot: Snapshot) -> list[Finding]:
    """Of one of Kubernetes' own; of one that has ended only how."""
    if not request.is_finished or not request.is_of_our_group:
        wrong = [*signer_trouble(request, snapshot)]
        if wrong:
            return wrong
    behind = [] if request.is_finished else _behind(request.issuer_ref, request.issuer_namespace, snapshot)
    return [*behind, *signing_request_trouble(request, snapshot, explained=_has_error(behind))]


def _has_error(findings: Iterable[Finding]) -> bool:
    return any(finding.is_error for finding in findings)
