"""What is wrong with the installation: no controller, two of them, CRDs of another version, an old cert-manager."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from issuer import __version__
from issuer.api import installed
from issuer.api.duration import human
from issuer.api.issuer import GROUP, PLURALS
from issuer.api.meta import parse_time
from issuer.authorities import registry
from issuer.inspection.findings import ERROR, WARNING, Finding, title
from issuer.inspection.snapshot import key_of, lease_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.api.issuer import Issuer
    from issuer.api.meta import ObjectKey
    from issuer.inspection.snapshot import Snapshot

NEW: Final = timedelta(seconds=60)
"""How long an issuer may be there before a controller has looked at it."""
PODS: Final = "kubectl get pods --all-namespaces --selector app.kubernetes.io/name=cdn-issuer"
APPLY_CRDS: Final = "cdn-issuer crds | kubectl apply --server-side -f -"
NAMED: Final = 3
"""Fields of an old CRD that are named."""


def installation(snapshot: Snapshot) -> Iterator[Finding]:
    """What is wrong with the installation, as far as it shows."""
    yield from _crds(snapshot)
    if snapshot.cert_manager is not None and snapshot.cert_manager.too_old:
        yield Finding(
            severity=ERROR,
            code="CertManagerTooOld",
            object="CustomResourceDefinition certificates.cert-manager.io",
            sentence="cert-manager, or what is left of its CRDs, is older than 1.9, the oldest that is supported",
            fix="helm upgrade cert-manager oci://quay.io/jetstack/charts/cert-manager --namespace cert-manager "
            "--reset-then-reuse-values --set crds.enabled=true",
        )
    yield from _several(snapshot)


def controller_of(issuer: Issuer, snapshot: Snapshot) -> Iterator[Finding]:
    """Whether somebody looks after an issuer."""
    name = title(*key_of(issuer))
    if not issuer.status.controller and not issuer.status.conditions:
        created = issuer.metadata.created
        if created is None or snapshot.now - created > NEW:
            yield _nobody(name, f"no controller has ever looked at {name}: none runs, or none that serves it")
        return
    key = lease_key(issuer)
    if key is None or key not in snapshot.leases:
        return
    if (why := _gone(key, snapshot)) is not None:
        yield _nobody(title("Lease", *key), why)


def controller_is_at_work(issuer: Issuer, snapshot: Snapshot) -> bool:
    """Whether the controller that looks after an issuer is known to run; False also where its Lease was not read."""
    key = lease_key(issuer)
    return key is not None and key in snapshot.leases and _gone(key, snapshot) is None


def _nobody(about: str, sentence: str) -> Finding:
    return Finding(severity=ERROR, code="NoController", object=about, sentence=sentence, fix=PODS)


def _gone(key: ObjectKey, snapshot: Snapshot) -> str | None:
    """Why nobody holds a Lease, or None if somebody does."""
    lease = snapshot.leases[key]
    if lease is None:
        return f"no controller runs: its Lease {key} does not exist"
    if not lease.spec.holder_identity:
        return f"no controller runs: the last one has given its Lease {key} up"
    if key in snapshot.stale:
        renewed = parse_time(lease.spec.renew_time)
        since = f" for {human((snapshot.now - renewed).total_seconds())}" if renewed else ""
        return f"no controller runs: {lease.spec.holder_identity} has not renewed its Lease {key}{since}"
    return None


def _crds(snapshot: Snapshot) -> Iterator[Finding]:
    expected = installed.expected(registry.configs())
    for kind, fields in (snapshot.served or {}).items():
        if lacking := installed.outermost(expected[kind] - fields):
            more = f" and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
            yield Finding(
                severity=ERROR,
                code="OtherCRDs",
                object=f"CustomResourceDefinition {PLURALS[kind]}.{GROUP}",
                sentence=f"it is of another version than this program ({__version__}) and lacks "
                f"{', '.join(lacking[:NAMED])}{more}, which the API server drops without a word",
                fix=APPLY_CRDS,
            )


def _several(snapshot: Snapshot) -> Iterator[Finding]:
    """Two controllers that serve the same namespace: their issuers name different Leases, and both are held."""
    found: dict[str, dict[ObjectKey, str]] = {}
    for key, issuer in snapshot.issuers.items():
        lease = lease_key(issuer)
        if lease is not None and snapshot.leases.get(lease) is not None and _gone(lease, snapshot) is None:
            found.setdefault(key.namespace, {}).setdefault(lease, title(*key))
    for leases in found.values():
        if len(leases) > 1:
            (one, first), (other, second), *_ = leases.items()
            yield Finding(
                severity=WARNING,
                code="TwoControllers",
                object=title("Lease", *other),
                sentence=f"two controllers are at work side by side, with the Leases {one} (which wrote the status of "
                f"{first}) and {other} ({second}); where both serve an issuer, each certificate is asked for twice",
                fix="helm list --all-namespaces --filter cdn-issuer",
            )
