"""A pod of a Deployment, without a kubelet: the process that the container's own words make of it.

The kubelet's part is done here: a token of the ServiceAccount, the flags and variables of the container, and nothing
else but where the API server is.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from tests.controlplane.process import Server
from tests.e2e.controller import Controller

if TYPE_CHECKING:
    from tests.controlplane.plane import ControlPlane, Manifest

QUICK: Final = (
    "leaderElection.leaseDuration=3s,leaderElection.renewDeadline=2s,leaderElection.retryPeriod=300ms,"
    "extraArgs={--allow-insecure-endpoints}"
)
"""Values of the chart with which a test need not wait."""


class Pod(Controller):
    """One pod.

    Attributes:
        spec: of the pod.
    """

    def __init__(self, plane: ControlPlane, deployment: Manifest) -> None:
        metadata = deployment["metadata"]
        self.spec: Manifest = deployment["spec"]["template"]["spec"]
        container = self.spec["containers"][0]
        self.port = container["ports"][0]["containerPort"]
        name = f"{metadata['namespace']}-{metadata['name']}-pod"
        kubeconfig = plane.kubeconfig(name, plane.token(metadata["namespace"], self.spec["serviceAccountName"]))
        environment = {one["name"]: one["value"] for one in container.get("env", [])}
        self.server = Server(
            [sys.executable, "-m", "issuer", *container["args"]],
            plane.folder / f"{name}.log",
            environment={**environment, "CDN_ISSUER_RUN_KUBECONFIG": str(kubeconfig)},
        )
