"""An issuer of the kind TestIssuer, built on cert-manager's issuer-lib, as a process with the rights that it needs.

It signs with a CA in memory. What it does with a name is told by its first label: `permanent`, `pending`, `issuer` and
`retried` fail in the ways that the library knows, see `tests/controlplane/issuerlib`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.controlplane.process import Server
from tests.e2e import certmanager, controller
from tests.e2e.certmanager import grant
from tests.e2e.world import read_condition

if TYPE_CHECKING:
    from pathlib import Path

    from tests.controlplane.plane import ControlPlane, Manifest
    from tests.e2e.world import World

NAMESPACE: Final = "issuer-lib"
GROUP: Final = "testing.cert-manager.io"
VERSION: Final = "api"
"""What the library calls the version of its kinds: another than `v1`, which is found by discovery."""
KINDS: Final = {"TestIssuer": "Namespaced", "TestClusterIssuer": "Cluster"}
PLURALS: Final = tuple(f"{kind.lower()}s" for kind in KINDS)
CA: Final = "issuer-lib CA"
START: Final = 60.0
READ: Final = {"apiGroups": [GROUP], "resources": list(PLURALS), "verbs": ["get", "list", "watch"]}
RULES: Final[list[dict[str, Any]]] = [
    {"apiGroups": ["cert-manager.io"], "resources": ["certificaterequests"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["cert-manager.io"], "resources": ["certificaterequests/status"], "verbs": ["patch"]},
    READ,
    {"apiGroups": [GROUP], "resources": [f"{plural}/status" for plural in PLURALS], "verbs": ["patch"]},
    {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
]


class IssuerLib:
    """The issuer's controllers; freeze them by `server`.

    Args:
        plane: gets its CRDs, and the rights of all that have to do with it: its own, the approver's and ours.
    """

    def __init__(self, plane: ControlPlane) -> None:
        plane.apply_all(_crd(kind, scope) for kind, scope in KINDS.items())
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        grant(plane, NAMESPACE, NAMESPACE, RULES)
        approve = {"apiGroups": ["cert-manager.io"], "resources": ["signers"], "verbs": ["approve"]}
        signers = [f"{plural}.{GROUP}/*" for plural in PLURALS]
        _allow(plane, "approve", {**approve, "resourceNames": signers}, certmanager.NAMESPACE, certmanager.ACCOUNT)
        _allow(plane, "read", READ, controller.NAMESPACE, controller.ACCOUNT)
        kubeconfig = plane.kubeconfig(NAMESPACE, plane.token(NAMESPACE, NAMESPACE))
        command: list[str | Path] = [plane.binaries / "issuerlib", f"-kubeconfig={kubeconfig}"]
        self.server = Server(command, plane.folder / "issuerlib.log")

    def start(self) -> None:
        """Start it and wait until it runs."""
        self.server.start()
        self.server.wait_until(lambda: "running" in self.server.log.read_text().splitlines(), START)


async def add_issuer(world: World, name: str, *, kind: str = "TestIssuer") -> None:
    """An issuer of one of its kinds, if namespaced in the test's namespace; waits until it is ready."""
    manifest = {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": {"name": name}}
    within = f"/namespaces/{world.namespace}" if KINDS[kind] == "Namespaced" else ""
    path = f"/apis/{GROUP}/{VERSION}{within}/{kind.lower()}s"
    world.plane.ask("POST", path, manifest)

    def is_ready() -> bool:
        return read_condition(world.plane.ask("GET", f"{path}/{name}"), "Ready")[0] == "True"

    await world.until(is_ready, f"{kind} {name} Ready")


def _crd(kind: str, scope: str) -> Manifest:
    plural = f"{kind.lower()}s"
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": [version],
        },
    }


def _allow(plane: ControlPlane, what: str, rule: Manifest, namespace: str, account: str) -> None:
    group = "rbac.authorization.k8s.io"
    name = f"{NAMESPACE}-{what}"
    metadata = {"apiVersion": f"{group}/v1", "metadata": {"name": name}}
    plane.apply({**metadata, "kind": "ClusterRole", "rules": [rule]})
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    role = {"apiGroup": group, "kind": "ClusterRole", "name": name}
    plane.apply({**metadata, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]})
