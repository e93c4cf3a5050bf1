"""Builders of snapshots: objects as they come from the API server, and what is found in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from issuer.api.issuer import Issuer
from issuer.api.meta import ObjectKey, format_time
from issuer.api.request import CertificateRequest
from issuer.api.signingrequest import CertificateSigningRequest
from issuer.inspection.diagnosis import diagnose
from issuer.inspection.snapshot import Certificate, IssuerKey, Lease, Snapshot, key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.inspection.findings import Finding

    Thing = Certificate | CertificateRequest | CertificateSigningRequest | Issuer

NOW: Final = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
LEASE: Final = ObjectKey("cdn-issuer-system", "cdn-issuer")
EDGE: Final = {"name": "edge", "cloudflare": {"apiTokenSecretRef": {"name": "cloudflare", "key": "token"}}}
BACKUP: Final = {"name": "backup", "ca": {"secretRef": {"name": "backup-ca"}}}
WEB: Final = IssuerKey("CDNIssuer", "shop", "web")


def ago(**span: float) -> str:
    """A time that is so long ago."""
    return format_time(NOW - timedelta(**span))


def ahead(**span: float) -> str:
    """A time that is so far ahead."""
    return format_time(NOW + timedelta(**span))


def condition(type_: str, status: str, reason: str = "", message: str = "", since: str = "") -> dict[str, str]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since or ago(minutes=5),
    }


APPROVED: Final = condition("Approved", "True", "cert-manager.io")


def issuer(
    *authorities: dict[str, Any],
    name: str = "web",
    namespace: str = "shop",
    states: Sequence[dict[str, str]] | None = None,
    ready: dict[str, str] | None = None,
    controller: str = str(LEASE),
    age: float = 9 * 86400.0,
    **status: Any,
) -> Issuer:
    """One that is Ready, unless something else is said."""
    listed = authorities or (EDGE,)
    manifest = {
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": ago(seconds=age)},
        "spec": {"authorities": listed},
        "status": {
            "conditions": [ready or condition("Ready", "True", "AuthoritiesAvailable", "edge signs")],
            "authorities": [
                {"name": one["name"], "state": "Available", "lastSuccessTime": ago(hours=1)} for one in listed
            ]
            if states is None
            else [*states],
            "controller": controller,
            **status,
        },
    }
    return msgspec.json.decode(msgspec.json.encode(manifest), type=Issuer)


def certificate(
    spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, *, ref: dict[str, str] | None = None
) -> Certificate:
    """`shop/site` for the issuer `web`, set up as the documents say."""
    manifest = {
        "metadata": {"name": "site", "namespace": "shop", "creationTimestamp": ago(days=1)},
        "spec": {
            "secretName": "site-tls",
            "dnsNames": ["site.example.com"],
            "issuerRef": ref or {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "web"},
            "revisionHistoryLimit": 2,
            **(spec or {}),
        },
        "status": {"conditions": [condition("Ready", "True")], **(status or {})},
    }
    return msgspec.json.decode(msgspec.json.encode(manifest), type=Certificate)


def request(
    *conditions: dict[str, str],
    name: str = "site-1",
    ref: dict[str, str] | None = None,
    age: float = 300.0,
    owner: str = "site",
) -> CertificateRequest:
    """A request of the Certificate `site`, made so many seconds ago."""
    manifest = {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": name,
            "creationTimestamp": ago(seconds=age),
            "annotations": {"cert-manager.io/certificate-name": owner} if owner else {},
        },
        "spec": {"issuerRef": ref or {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "web"}},
        "status": {"conditions": conditions},
    }
    return msgspec.json.decode(msgspec.json.encode(manifest), type=CertificateRequest)


def signing_request(
    *conditions: dict[str, str],
    name: str = "www",
    signer: str = "cdnissuers.cdn-issuer.io/shop.web",
    age: float = 300.0,
    certificate: str | None = None,
    annotations: dict[str, str] | None = None,
) -> CertificateSigningRequest:
    """One of Kubernetes' own for the issuer `web` in `shop`, made so many seconds ago."""
    manifest = {
        "metadata": {
            "name": name,
            "uid": name,
            "creationTimestamp": ago(seconds=age),
            "annotations": annotations or {},
        },
        "spec": {"signerName": signer, "request": "Q1NS", "usages": ["server auth"], "username": "somebody"},
        "status": {"conditions": conditions, **({} if certificate is None else {"certificate": certificate})},
    }
    return msgspec.json.decode(msgspec.json.encode(manifest), type=CertificateSigningRequest)


def lease(*, holder: str = "pod-1", renewed: float = 1.0, key: ObjectKey = LEASE) -> Lease:
    """One that was renewed so many seconds ago."""
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": ago(seconds=renewed)}
    manifest = {"metadata": {"name": key.name, "namespace": key.namespace}, "spec": spec}
    return msgspec.json.decode(msgspec.json.encode(manifest), type=Lease)


def snapshot(*objects: Thing, subjects: bool = False, **fields: Any) -> Snapshot:
    """What there is: these objects, and a Lease that is held."""
    issuers = {key_of(one): one for one in objects if isinstance(one, Issuer)}
    return Snapshot(
        **{
            "now": NOW,
            "namespace": "shop",
            "certificates": tuple(one for one in objects if isinstance(one, Certificate)),
            "requests": tuple(one for one in objects if isinstance(one, CertificateRequest)),
            "signing_requests": tuple(one for one in objects if isinstance(one, CertificateSigningRequest)),
            "issuers": issuers,
            "subjects": frozenset(issuers) if subjects else frozenset(),
            "leases": {LEASE: lease()},
            **fields,
        }
    )


def found(*objects: Thing, **fields: Any) -> list[Finding]:
    """What is found."""
    return diagnose(snapshot(*objects, **fields))


def only(*objects: Thing, **fields: Any) -> Finding:
    """The one thing that is found."""
    (finding,) = found(*objects, **fields)
    return finding


def codes(findings: Sequence[Finding]) -> list[str]:
    return [finding.code for finding in findings]
