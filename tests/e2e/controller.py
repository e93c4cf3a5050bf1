"""`cdn-issuer run` as a process, as the ServiceAccount that `deploy/` makes and with the rights that it ships."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.controlplane.process import Server, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.controlplane.plane import ControlPlane

NAMESPACE: Final = "cdn-issuer-system"
ACCOUNT: Final = "cdn-issuer"
START: Final = 60.0
QUICK: Final = ("--lease-duration", "3", "--renew-deadline", "2", "--retry-period", "0.3")


class Controller:
    """One replica.

    Args:
        plane: with our CRDs and the roles of `deploy/` in it.
        name: of the replica, for its log and its identity in the Lease.
        url: of a proxy before the API server, if there is one.
        flags: beside those for quick tests.
    """

    def __init__(
        self, plane: ControlPlane, name: str = "cdn-issuer", *, url: str = "", flags: tuple[str, ...] = QUICK
    ) -> None:
        self.port = free_port()
        kubeconfig = plane.kubeconfig(name, plane.token(NAMESPACE, ACCOUNT, 24 * 3600), url=url)
        command: list[str | Path] = [
            *(sys.executable, "-m", "issuer", "run", "--kubeconfig", kubeconfig, "--identity", name),
            *("--listen", f"127.0.0.1:{self.port}", "--log-format", "json", "--allow-insecure-endpoints"),
            *flags,
        ]
        self.server = Server(command, plane.folder / f"{name}.log")

    def start(self) -> None:
        """Start it, or start it again, and wait until it is ready."""
        self.server.start()
        self.server.wait_until(self.is_ready, START)

    def stop(self) -> int:
        """Stop it as a kubelet does; returns its exit code."""
        return self.server.stop(40)

    def is_ready(self) -> bool:
        """What its readiness probe says."""
        try:
            return self._get("/readyz").is_success
        except httpx.HTTPError:
            return False

    def unready(self) -> str:
        """What its readiness probe complains of; empty if it is ready, or does not answer yet."""
        try:
            answer = self._get("/readyz")
        except httpx.HTTPError:
            return ""
        return "" if answer.is_success else answer.text

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of that name and with these labels."""
        families = text_string_to_metric_families(self._get("/metrics").raise_for_status().text)
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def log(self, **fields: Any) -> list[dict[str, Any]]:
        """Its log, or the lines with these fields in it."""
        lines = [json.loads(line) for line in self.server.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if fields.items() <= line.items()]

    def _get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5)
