"""What is measured: the controller as its own process, against a cluster and a CDN in this one.

The controller is started by `cdn-issuer run`, so its memory and its speed are its own. The sandbox around it shares the
other core; what it costs is part of every figure here.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from issuer.api import crd
from issuer.authorities import registry
from issuer.cli.stage import TOKEN
from issuer.sandbox import objects
from issuer.sandbox.cdn import MockCDN
from issuer.sandbox.cluster import Cluster
from issuer.sandbox.cluster.cluster import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

WIDE = {"requestsPerSecond": 10000, "burst": 10000, "inFlight": 100}


@dataclass(frozen=True, slots=True)
class Run:
    """What one measurement came to; seconds, from the first creation."""

    requests: int
    total: float
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Requests a second that reached their end."""
        return self.requests / self.total

    def quantile(self, share: float) -> float:
        """Seconds from a request's creation to its end, for that share of them."""
        return statistics.quantiles(self.latencies, n=100, method="inclusive")[round(share * 100) - 1]


class Rig:
    """The sandbox, and the controller beside it."""

    def __init__(self) -> None:
        self.cluster = Cluster(approve=True)
        self.cdn = MockCDN(tokens=[TOKEN], rate_limit=None)
        self._directory = tempfile.TemporaryDirectory(prefix="cdn-issuer-bench-")
        self._process: asyncio.subprocess.Process | None = None
        self._one_csr = objects.signing_request(["www.example.com"])
        self._writes: dict[str, float] = {}
        self._seen = 0
        self.created: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        await self.cluster.start()
        await self.cdn.start()
        for document in crd.definitions(registry.configs()):
            await self.cluster.apply(document)
        await self.cluster.apply(objects.secret("cloudflare", NAMESPACE, {"token": TOKEN.encode()}))
        await self.cluster.apply(objects.ca_secret("backup-ca", NAMESPACE))
        (Path(self._directory.name) / "kubeconfig").write_text(self.cluster.kubeconfig())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop_controller()
        await self.cdn.stop()
        await self.cluster.stop()
        self._directory.cleanup()

    async def issuer(self, name: str, *authorities: objects.Manifest) -> None:
        """Apply an issuer."""
        await self.cluster.apply(objects.issuer(name, authorities, namespace=NAMESPACE, deadline="1h"))

    def edge(self, **fields: Any) -> objects.Manifest:
        """The CDN as an authority, with limits so wide that they do not limit."""
        return {
            "name": "edge",
            "cloudflare": {
                "apiTokenSecretRef": {"name": "cloudflare", "key": "token"},
                "endpoint": self.cdn.endpoint,
            },
            "caBundle": self.cdn.roots_pem,
            "limits": WIDE,
            **fields,
        }

    @staticmethod
    def backup() -> objects.Manifest:
        """The in-process CA as an authority."""
        return {"name": "backup", "ca": {"secretRef": {"name": "backup-ca"}}}

    async def start_controller(self) -> float:
        """Start `cdn-issuer run`; the time it was started, by `time.monotonic`."""
        kubeconfig = str(Path(self._directory.name) / "kubeconfig")
        flags = ["--kubeconfig", kubeconfig, "--no-leader-elect", "--allow-insecure-endpoints", "--log-level", "error"]
        listen = ["--listen", "127.0.0.1:0"]
        started = time.monotonic()
        self._process = await asyncio.create_subprocess_exec(sys.executable, "-m", "issuer", "run", *flags, *listen)
        return started

    async def stop_controller(self) -> None:
        """End it as Kubernetes does."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()
            self._process = None

    def memory(self) -> float:
        """Resident megabytes of the controller."""
        assert self._process is not None
        return float(psutil.Process(self._process.pid).memory_info().rss) / 1e6

    async def ask(self, prefix: str, count: int, issuer: str) -> list[str]:
        """Create so many requests at once; their names."""
        names = [f"{prefix}-{number}" for number in range(count)]
        for number, name in enumerate(names):
            self.created[name] = time.monotonic()
            await self.cluster.apply(objects.certificate_request(name, self._csr(), namespace=NAMESPACE, issuer=issuer))
            if number % 50 == 0:
                await asyncio.sleep(0)
        return names

    async def finished(self, prefix: str, count: int) -> None:
        """Put so many requests into the cluster that ended long ago."""
        csr = self._csr()
        certificate = b64encode(self.cdn.roots_pem.encode()).decode()
        conditions = [
            {"type": "Approved", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Ready", "status": "True", "reason": "Issued", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]
        for number in range(count):
            name = f"{prefix}-{number}"
            await self.cluster.apply(objects.certificate_request(name, csr, namespace=NAMESPACE, issuer="edge"))
            status = {"conditions": conditions, "certificate": certificate, "ca": certificate}
            await self.cluster.set_status("certificaterequests", NAMESPACE, name, status)

    async def all_ended(self, prefix: str, names: Iterable[str]) -> dict[str, float]:
        """Wait until the requests of a prefix have ended; when each did, by `time.monotonic`."""
        wanted = set(names)
        while True:
            ends = self._status_writes(prefix)
            if wanted <= set(ends) and all(self._ended(name) for name in wanted):
                return ends
            await asyncio.sleep(0.05)

    async def written(self, prefix: str, count: int) -> None:
        """Wait until so many requests of a prefix have got a first status."""
        await self.cluster.wait_for(lambda: len(self._status_writes(prefix)) >= count, timeout=600)

    def _status_writes(self, prefix: str) -> dict[str, float]:
        """When each request of a prefix got its last status."""
        writes = self.cluster.writes
        for write in writes[self._seen :]:
            if write.path.endswith("/status") and "/certificaterequests/" in write.path:
                self._writes[write.path.rsplit("/", 2)[1]] = write.time
        self._seen = len(writes)
        return {name: when for name, when in self._writes.items() if name.startswith(f"{prefix}-")}

    def _ended(self, name: str) -> bool:
        status = self.cluster.get("certificaterequests", NAMESPACE, name).get("status", {})
        return any(one["type"] == "Ready" and one["reason"] != "Pending" for one in status.get("conditions", ()))

    def _csr(self) -> bytes:
        """A CSR of one key for all: a request a key would measure the making of keys."""
        return self._one_csr
