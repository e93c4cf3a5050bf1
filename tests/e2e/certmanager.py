"""cert-manager's controllers as a process, with the rights that an installation of cert-manager gives them.

They include the approver, which approves every request: whether it *may* is asked by cert-manager's webhook
(`tests.e2e.webhook`). For signers of cert-manager's own issuers the right is granted here, for ours by `deploy/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.controlplane.process import Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.controlplane.plane import ControlPlane, Manifest

NAMESPACE: Final = "cert-manager"
ACCOUNT: Final = "cert-manager"
START: Final = 60.0
RULES: Final[list[dict[str, Any]]] = [
    {
        "apiGroups": ["cert-manager.io"],
        "resources": ["certificates", "certificaterequests"],
        "verbs": ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"],
    },
    {
        "apiGroups": ["cert-manager.io"],
        "resources": ["issuers", "clusterissuers"],
        "verbs": ["get", "list", "watch", "update", "patch"],
    },
    {
        "apiGroups": ["cert-manager.io"],
        "resources": [
            f"{plural}/{part}"
            for plural in ("certificates", "certificaterequests", "issuers", "clusterissuers")
            for part in ("status", "finalizers")
        ],
        "verbs": ["update", "patch"],
    },
    {
        "apiGroups": [""],
        "resources": ["secrets"],
        "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
    },
    {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["get", "create", "update", "patch"],
    },
    {
        "apiGroups": ["acme.cert-manager.io"],
        "resources": [
            f"{plural}{part}" for plural in ("orders", "challenges") for part in ("", "/status", "/finalizers")
        ],
        "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
    },
    {"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list", "watch", "create", "delete"]},
    {
        "apiGroups": ["networking.k8s.io"],
        "resources": ["ingresses"],
        "verbs": ["get", "list", "watch", "create", "delete", "update"],
    },
    {
        "apiGroups": ["cert-manager.io"],
        "resources": ["signers"],
        "resourceNames": ["issuers.cert-manager.io/*", "clusterissuers.cert-manager.io/*"],
        "verbs": ["approve"],
    },
]


class CertManager:
    """The controllers; use it with `start` and `stop`, or freeze `server`.

    Args:
        plane: with cert-manager's CRDs and the ServiceAccount in it.
        backoff: seconds until a Certificate whose issuance has failed is tried again: the least, and the longest.
        old: those of 1.9.1, whose backoff is an hour whatever is wanted here.
    """

    def __init__(self, plane: ControlPlane, *, backoff: tuple[float, float] = (2.0, 10.0), old: bool = False) -> None:
        grant(plane, NAMESPACE, ACCOUNT, RULES)
        kubeconfig = plane.kubeconfig("cert-manager", plane.token(NAMESPACE, ACCOUNT, 24 * 3600))
        least, longest = backoff
        command: list[str | Path] = [
            plane.binaries / ("certmanager19" if old else "certmanager"),
            f"-kubeconfig={kubeconfig}",
            *([] if old else [f"-min-backoff={least}s", f"-max-backoff={longest}s"]),
        ]
        self.server = Server(command, plane.folder / "certmanager.log")

    def start(self) -> None:
        """Start the controllers, or start them again."""
        before = self._starts()
        self.server.start()
        self.server.wait_until(lambda: self._starts() > before, START)

    def stop(self) -> None:
        """Stop them."""
        self.server.stop()

    def _starts(self) -> int:
        """How often its log says that it runs."""
        log = self.server.log
        return sum(line.startswith("running ") for line in log.read_text().splitlines()) if log.exists() else 0


def grant(plane: ControlPlane, namespace: str, account: str, rules: list[dict[str, Any]]) -> None:
    """Make a ServiceAccount, and give it rights in the whole cluster."""
    name = f"{namespace}-{account}"
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    role: Manifest = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    binding: Manifest = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [subject],
    }
    metadata = {"name": account, "namespace": namespace}
    plane.apply_all([{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}, role, binding])
