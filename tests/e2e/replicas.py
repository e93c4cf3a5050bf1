"""Replicas of `cdn-issuer run` as a Deployment has them: each with a link of its own, started again when it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Self

from issuer.api.meta import parse_time
from issuer.cli.stage import Stage
from issuer.sandbox import objects
from issuer.sandbox.cluster import Fault
from tests.component.rig import PATIENT
from tests.controlplane.cluster import SYSTEM, RealCluster
from tests.controlplane.proxy import Proxy
from tests.e2e.controller import QUICK, Controller

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from types import TracebackType

    from tests.controlplane.plane import ControlPlane

FLAGS: Final = (*QUICK, "--kube-api-timeout", "2", "--grace", "5")
LEASE: Final = "cdn-issuer"
WAIT: Final = 60.0


class Replica:
    """One pod.

    Attributes:
        link: between it and the API server.
        restarts: how often it was started again.
    """

    def __init__(self, plane: ControlPlane, name: str) -> None:
        self.name = name
        self.link = Proxy(plane.url, plane.ssl_context(), lambda _path, _number: None)
        self.restarts = 0
        self._plane = plane
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and keep it running from then on; it need not be ready."""
        self.controller = Controller(self._plane, self.name, url=await self.link.start(), flags=FLAGS)
        self.controller.server.start()
        self._keeper = asyncio.create_task(self._keep())

    async def ready(self) -> None:
        """Wait until it is ready."""
        await until(self.controller.is_ready)

    async def end(self) -> None:
        """End it at once and for good."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self.controller.server.kill()
        await self.link.stop()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            if self.controller.server.returncode is not None:
                self.restarts += 1
                self.controller.server.start()


class Site:
    """Some replicas on a real API server, and a provider; use it with `async with`.

    Attributes:
        stage: the cluster as the test sees it, and the provider.
    """

    def __init__(self, plane: ControlPlane, *names: str) -> None:
        self.plane = plane
        self.cluster = RealCluster(plane, approve=True)
        self.stage = Stage(cluster=self.cluster, controlled=False)
        self.replicas = {name: Replica(plane, name) for name in names}

    async def __aenter__(self) -> Self:
        await self.stage.__aenter__()
        edge = self.stage.edge(**PATIENT)
        await self.stage.apply(objects.issuer("web", [edge], namespace=self.stage.namespace))
        for replica in self.replicas.values():
            await replica.start()
        for replica in self.replicas.values():
            await replica.ready()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.plane.failed |= exc_type is not None
        for replica in self.replicas.values():
            await replica.end()
        await self.stage.__aexit__(exc_type, exc, traceback)
        if self.plane.is_ready():
            self.cluster.wipe()

    async def add(self, name: str, *, is_cut_off: bool = False) -> None:
        """Start one more replica; cut off, it gets no answer from the API server until its faults are cleared."""
        replica = self.replicas[name] = Replica(self.plane, name)
        if is_cut_off:
            replica.link.faults.add(Fault(kind="cut"))
        await replica.start()

    def revoke_tokens(self) -> None:
        """Make every token of the controller worthless, by making its ServiceAccount anew."""
        path = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/cdn-issuer"
        self.plane.ask("DELETE", path)
        account = {"name": "cdn-issuer", "namespace": SYSTEM}
        self.plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})

    def renew_token(self, name: str) -> None:
        """Put a new token into the file of a replica, as the kubelet does about once an hour."""
        (self.plane.folder / f"{name}.token").write_text(self.plane.token(SYSTEM, "cdn-issuer"))

    @property
    def holder(self) -> str:
        """Who holds the Lease; empty if nobody does."""
        spec = self.lease.get("spec") or {}
        return str(spec.get("holderIdentity") or "")

    @property
    def lease(self) -> dict[str, dict[str, str]]:
        """The Lease; empty if there is none."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/{LEASE}"
        answer = self.plane.call("GET", path)
        found: dict[str, dict[str, str]] = answer.json() if answer.is_success else {}
        return found

    def lease_time(self, field: str) -> datetime:
        """One of the times in the Lease."""
        found = parse_time(self.lease["spec"][field])
        assert found is not None
        return found

    async def led(self) -> str:
        """Wait until somebody holds the Lease; who."""
        await until(lambda: bool(self.holder))
        return self.holder

    async def ask(self, count: int, prefix: str = "www") -> list[str]:
        """Ask for so many certificates; the names of the requests."""
        names = [f"{prefix}-{number}" for number in range(count)]
        for name in names:
            await self.stage.ask(name, "web")
            await asyncio.sleep(0)
        return names

    async def all_signed_once(self, names: list[str]) -> None:
        """Wait until the requests of these names are Issued; none may have been signed twice.

        Raises:
            AssertionError: one has ended otherwise, or has two certificates that are alive.
        """
        await self.stage.finished(names, WAIT)
        ended = self.stage.requests()
        reasons = {name: ended[name].ready.reason for name in names if ended[name].ready}  # type: ignore[union-attr]
        assert set(reasons.values()) == {"Issued"}, reasons
        assert self.stage.cdn.ledger.duplicates() == 0


async def until(condition: Callable[[], bool], timeout: float = WAIT) -> None:
    """Wait until something holds that other processes bring about.

    Raises:
        TimeoutError: it does not, after so many seconds.
    """
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - what is waited for is in other processes
            await asyncio.sleep(0.05)
