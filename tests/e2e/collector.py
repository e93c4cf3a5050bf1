"""kube-controller-manager: what deletes the objects whose owner is gone, and what is left in a deleted namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.controlplane.process import Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.controlplane.plane import ControlPlane

START: Final = 60.0


class Collector:
    """The two controllers of it that tests need, as an admin."""

    def __init__(self, plane: ControlPlane) -> None:
        command: list[str | Path] = [
            plane.binaries / "kube-controller-manager",
            f"--kubeconfig={plane.kubeconfig('controller-manager', plane.admin_token)}",
            "--controllers=garbage-collector-controller,namespace-controller",
            "--leader-elect=false",
            "--secure-port=0",
        ]
        self.server = Server(command, plane.folder / "kube-controller-manager.log")

    def start(self) -> None:
        """Start it and wait until it knows what there is to collect."""
        self.server.start()
        self.server.wait_until(lambda: "Proceeding to collect garbage" in self.server.tail(10000), START)

    def stop(self) -> None:
        """Stop it."""
        self.server.stop()
