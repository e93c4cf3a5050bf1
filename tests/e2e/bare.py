"""A cluster with cert-manager's objects and none of its processes: tests write what it would have written.

So they can write it as other versions did, and where its CRDs are missing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tests.controlplane.plane import MERGE
from tests.e2e.certmanager import CertManager
from tests.e2e.controller import Controller
from tests.e2e.webhook import Webhook
from tests.e2e.world import Cluster

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.controlplane.plane import ControlPlane, Manifest
    from tests.e2e.world import World

APPROVED: Final = "Certificate request has been approved by cert-manager.io"


def bare(plane: ControlPlane) -> Cluster:
    """The cluster; nothing of it is started."""
    return Cluster(plane=plane, webhook=Webhook(plane), certmanager=CertManager(plane), controller=Controller(plane))


def speak(world: World, request: str, type_: str = "Approved", message: str = APPROVED) -> None:
    """Approve or deny a request, in the words of cert-manager's approver."""
    spoken = {"type": type_, "status": "True", "reason": "cert-manager.io", "message": message}
    spoken["lastTransitionTime"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    path = f"{world.path('certificaterequests', request)}/status"
    world.plane.ask("PATCH", path, {"status": {"conditions": [spoken]}}, content_type=MERGE)


def fail(world: World, certificate: str) -> None:
    """Have the issuance of a Certificate failed, as cert-manager notes it when its request has."""
    found = world.plane.ask("GET", world.path("certificates", certificate))
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    issuing = {
        "type": "Issuing",
        "status": "False",
        "reason": "Failed",
        "message": "The certificate request has failed to complete and will be retried",
        "lastTransitionTime": now,
        "observedGeneration": found["metadata"]["generation"],
    }
    status = {"conditions": [issuing], "lastFailureTime": now, "failedIssuanceAttempts": 1}
    path = f"{world.path('certificates', certificate)}/status"
    world.plane.ask("PATCH", path, {"status": status}, content_type=MERGE)


def owned(world: World, certificate: str) -> Manifest:
    """Metadata of the request for the first revision of a Certificate."""
    owner = world.plane.ask("GET", world.path("certificates", certificate))
    return {
        "annotations": {
            "cert-manager.io/certificate-name": certificate,
            "cert-manager.io/certificate-revision": "1",
            "cert-manager.io/private-key-secret-name": f"{certificate}-x7k2p",
        },
        "ownerReferences": [
            {
                "apiVersion": "cert-manager.io/v1",
                "kind": "Certificate",
                "name": certificate,
                "uid": owner["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def create(world: World, manifest: Manifest, metadata: Mapping[str, object] | None = None) -> str:
    """Create a request, by its generateName if it has one; returns the name."""
    manifest = {**manifest, "metadata": {**manifest["metadata"], **(metadata or {})}}
    made = world.plane.ask("POST", world.path("certificaterequests"), manifest)
    return str(made["metadata"]["name"])
