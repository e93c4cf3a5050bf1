"""cert-manager's admission webhook as a process, registered as its chart registers it.

It validates what is written to cert-manager's objects, their status too, and refuses an approval by somebody who may
not approve that signer. With failurePolicy Fail nothing of cert-manager can be written while it is down.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

import httpx

from tests.controlplane.process import Server, free_port
from tests.e2e.certmanager import NAMESPACE, grant
from tests.e2e.slowdown import Slowdown

if TYPE_CHECKING:
    from pathlib import Path

    from tests.controlplane.plane import ControlPlane, Manifest

ACCOUNT: Final = "cert-manager-webhook"
NAME: Final = "cert-manager-webhook"
START: Final = 60.0
RULES: Final[list[dict[str, Any]]] = [
    {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
    {
        "apiGroups": ["apiextensions.k8s.io"],
        "resources": ["customresourcedefinitions"],
        "verbs": ["get", "list", "watch"],
    },
]


class Webhook:
    """The webhook with a proxy before it.

    Stop, freeze and start it by `server`; `slowdown.delay` makes it late.

    Args:
        plane: where it is registered.
        timeout: seconds that the API server waits for it.
    """

    def __init__(self, plane: ControlPlane, *, timeout: int = 10) -> None:
        grant(plane, NAMESPACE, ACCOUNT, RULES)
        self._plane = plane
        self._timeout = timeout
        self._health = free_port()
        port = free_port()
        certificate, key = plane.folder / "webhook.crt", plane.folder / "webhook.key"
        issued = plane.ca.issue_cert("127.0.0.1")
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        command: list[str | Path] = [
            plane.binaries / "webhook",
            f"-port={port}",
            f"-health-port={self._health}",
            f"-kubeconfig={plane.kubeconfig('webhook', plane.token(NAMESPACE, ACCOUNT, 24 * 3600))}",
            f"-cert={certificate}",
            f"-key={key}",
        ]
        self.server = Server(command, plane.folder / "webhook.log")
        self.slowdown = Slowdown(free_port(), port)

    def start(self) -> None:
        """Start it, wait until it answers, and register it."""
        self.server.start()
        self.slowdown.start()
        self.wait_ready()
        self._plane.apply_all(self._registrations())

    def restart(self) -> None:
        """Start it again; it is stopped first if it runs."""
        self.server.stop()
        self.server.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until it answers."""
        self.server.wait_until(self._is_healthy, START)

    def stop(self) -> None:
        """Take the registration away, and stop it."""
        for manifest in self._registrations():
            plural = f"{manifest['kind'].lower()}s"
            self._plane.call("DELETE", f"/apis/admissionregistration.k8s.io/v1/{plural}/{NAME}")
        self.server.stop()
        self.slowdown.stop()

    def _is_healthy(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._health}/healthz", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def _registrations(self) -> list[Manifest]:
        everything = {
            "apiGroups": ["cert-manager.io", "acme.cert-manager.io"],
            "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"],
            "resources": ["*/*"],
        }
        requests = {
            "apiGroups": ["cert-manager.io"],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": ["certificaterequests"],
        }
        return [
            self._registration("ValidatingWebhookConfiguration", "validate", everything),
            self._registration("MutatingWebhookConfiguration", "mutate", requests),
        ]

    def _registration(self, kind: str, path: str, rule: Manifest) -> Manifest:
        webhook = {
            "name": "webhook.cert-manager.io",
            "rules": [rule],
            "admissionReviewVersions": ["v1"],
            "matchPolicy": "Equivalent",
            "timeoutSeconds": self._timeout,
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "clientConfig": {
                "url": f"https://127.0.0.1:{self.slowdown.port}/{path}",
                "caBundle": b64encode(self._plane.ca.cert_pem.bytes()).decode(),
            },
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": NAME},
            "webhooks": [webhook],
        }
