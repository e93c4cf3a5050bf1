"""A stage: the sandbox's cluster and CDN with the controller between them, all in this process, on loopback.

The demo, the benchmarks and the component tests play on it. The controller is wired by `Program` exactly as
`cdn-issuer run` does it, and talks to both sides over HTTP.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, Self

import msgspec

from issuer.api import crd
from issuer.api import request as request_api
from issuer.api.request import CertificateRequest
from issuer.authorities import registry
from issuer.authorities.issuerref import AUTHORITY_LABEL
from issuer.controllers.program import Options, Program
from issuer.kube.client import TIMEOUT, KubeClient
from issuer.kube.errors import UnreachableError
from issuer.kube.wire import Wire
from issuer.observe.metrics import Metrics
from issuer.sandbox import objects
from issuer.sandbox.cdn import MockCDN
from issuer.sandbox.cluster import Cluster

if TYPE_CHECKING:
    import builtins
    from collections.abc import AsyncIterator, Callable, Iterable
    from types import TracebackType

    import aiohttp

    from issuer.kube.access import Access
    from issuer.sandbox.cluster import Faults
    from issuer.sandbox.cluster.server import Write

TOKEN = "sandbox-token"  # noqa: S105 - the mock's, worth nothing anywhere else


class StageCluster(Protocol):
    """What a stage asks of its cluster: the sandbox's `Cluster` is one, and the tests have one of a real API server."""

    @property
    def namespace(self) -> str:
        """Where the stage puts its objects."""

    @property
    def faults(self) -> Faults:
        """What goes wrong between the controller and the API server."""

    @property
    def writes(self) -> builtins.list[Write]:
        """Every write that the controller asked for, in order."""

    @property
    def calls(self) -> builtins.list[tuple[str, str]]:
        """Every call of the controller: method and path."""

    async def start(self) -> str:
        """Be reachable for the controller; returns the URL."""

    async def stop(self) -> None:
        """Be reachable no longer; the objects stay, and it can be started again."""

    def access(self) -> Access:
        """How a controller in this process reaches it."""

    def kubeconfig(self) -> str:
        """A kubeconfig for a controller in another process."""

    async def apply(self, manifest: objects.Manifest) -> objects.Manifest:
        """Create an object, and its namespace, or replace what there is of that name; the status stays."""

    async def set_status(self, plural: str, namespace: str, name: str, status: objects.Manifest) -> objects.Manifest:
        """Write the status of an object, whole."""

    async def delete(self, plural: str, namespace: str, name: str) -> None:
        """Delete an object."""

    def get(self, plural: str, namespace: str, name: str) -> objects.Manifest:
        """One object; a StatusError if there is none."""

    def list(self, plural: str, namespace: str = "") -> builtins.list[objects.Manifest]:
        """All objects of a resource."""

    async def wait_for(self, condition: Callable[[], bool], timeout: float = 30.0) -> None:
        """Wait until a condition on the objects holds; a TimeoutError if it does not, after so many seconds."""

    def compact(self) -> None:
        """Forget the history: a watch that is opened at an older revision gets 410."""

    def cut_watches(self) -> None:
        """End every watch."""


class _Line(Wire):
    """A wire that can be cut, as that of a process that is killed."""

    is_cut = False

    @asynccontextmanager
    async def open(self, *args: Any, **kwargs: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """As ever, while it is whole."""
        if self.is_cut:
            raise UnreachableError("the process was killed", sent=False)
        async with super().open(*args, **kwargs) as response:
            yield response


class _Client(KubeClient):
    def __init__(self, access: Access, *, timeout: float, **options: Any) -> None:
        super().__init__(access, timeout=timeout, **options)
        self._wire = self.line = _Line(access, connect=timeout / 2, fence=self._ask_guard)


class Replica:
    """One controller, as one process would run it. Make it inside a running event loop; it starts at once.

    Attributes:
        program: the controller.
        metrics: what it counts.
        running: the task it runs in; a LeaseLostError comes out of it.
    """

    def __init__(self, access: Access, options: Options, *, kube_timeout: float = TIMEOUT) -> None:
        self.metrics = Metrics()
        self._client = _Client(access, timeout=kube_timeout, observer=self.metrics.api_call)
        self.program = Program(self._client, self.metrics, options)
        self._client.guard = self.program.may_write
        self._stop = asyncio.Event()
        self.running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop it as SIGTERM does."""
        self._stop.set()
        await self.running

    async def kill(self) -> None:
        """End it in the middle of whatever it does, as SIGKILL does: nothing is delivered, no Lease released."""
        self._client.line.is_cut = True
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.program.transport.aclose()  # a task that is cancelled before its first step cleans up nothing

    async def _run(self) -> None:
        async with self._client:
            await self.program.run(self._stop)


class Stage:
    """Cluster, CDN and controller; use it with `async with`.

    Args:
        options: of the controller.
        approve: the cluster approves requests at once, as cert-manager's approver would.
        cdn: the provider; one with the zone example.com unless given.
        controlled: whether a controller is started with it.
        kube_timeout: seconds that the controller gives a call to the API server.
        cluster: the cluster; a sandbox of its own unless given, to which `approve` then is left.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        approve: bool = True,
        cdn: MockCDN | None = None,
        controlled: bool = True,
        kube_timeout: float = TIMEOUT,
        cluster: StageCluster | None = None,
    ) -> None:
        self.options = options or Options(allow_insecure_endpoints=True)
        self.cluster: StageCluster = cluster or Cluster(approve=approve)
        self.namespace = self.cluster.namespace
        self.cdn = cdn or MockCDN(tokens=[TOKEN], rate_limit=None)
        self.api_url = ""
        self._controlled = controlled
        self._kube_timeout = kube_timeout
        self._replica: Replica | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def _start(self) -> None:
        self.api_url = await self.cluster.start()
        await self.cdn.start()
        for document in crd.definitions(registry.configs()):
            await self.apply(document)
        await self.apply(objects.namespace(self.options.lease_namespace))
        await self.apply(objects.secret("cloudflare", self.namespace, {"token": TOKEN.encode()}))
        await self.apply(objects.ca_secret("backup-ca", self.namespace))
        if self._controlled:
            await self.start_controller()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        async with AsyncExitStack() as ends:
            ends.push_async_callback(self.cluster.stop)
            ends.push_async_callback(self.cdn.stop)
            await self.stop_controller()

    async def start_controller(self) -> None:
        """Start the controller, as a new process would."""
        self._replica = self.replica(self.options)
        self.program = self._replica.program
        self.metrics = self._replica.metrics

    async def stop_controller(self) -> None:
        """Stop it as SIGTERM does."""
        if self._replica is not None:
            replica, self._replica = self._replica, None
            await replica.stop()

    async def controller_ended(self) -> BaseException | None:
        """Wait until the controller ends by itself; with what error, if any."""
        assert self._replica is not None
        replica, self._replica = self._replica, None
        await asyncio.wait({replica.running})
        return replica.running.exception()

    async def kill_controller(self) -> None:
        """End it in the middle of whatever it does, as SIGKILL does: nothing is delivered, no Lease released."""
        if self._replica is not None:
            replica, self._replica = self._replica, None
            await replica.kill()

    def replica(self, options: Options) -> Replica:
        """A controller on this stage, beside the one that `start_controller` starts; whoever makes it ends it."""
        return Replica(self.cluster.access(), options, kube_timeout=self._kube_timeout)

    async def apply(self, manifest: objects.Manifest) -> None:
        """Create or replace an object."""
        await self.cluster.apply(manifest)

    def edge(self, **fields: Any) -> objects.Manifest:
        """The entry of an authority `edge` at the mock CDN, with the roots that its chain must meet."""
        return {
            "name": "edge",
            "cloudflare": {"apiTokenSecretRef": {"name": "cloudflare", "key": "token"}, "endpoint": self.cdn.endpoint},
            "caBundle": self.cdn.roots_pem,
            **fields,
        }

    @staticmethod
    def backup(**fields: Any) -> objects.Manifest:
        """The entry of an authority `backup` that signs in process."""
        return {"name": "backup", "ca": {"secretRef": {"name": "backup-ca"}}, **fields}

    async def ask(self, name: str, issuer: str, hostname: str | None = None, **fields: Any) -> bytes:
        """Create a request for one hostname; returns the CSR."""
        csr = objects.signing_request([hostname or f"{name}.example.com"])
        await self.apply(objects.certificate_request(name, csr, namespace=self.namespace, issuer=issuer, **fields))
        return csr

    def requests(self) -> dict[str, CertificateRequest]:
        """All requests, by name, but those that the controller has made of other issuers."""
        own = (item for item in self.cluster.list(request_api.PLURAL) if not is_child(item))
        found = (msgspec.convert(item, CertificateRequest) for item in own)
        return {request.metadata.name: request for request in found}

    async def finished(self, names: Iterable[str], timeout: float = 60.0) -> None:
        """Wait until the requests of these names have ended.

        Raises:
            TimeoutError: they have not, after so many seconds.
        """
        wanted = set(names)

        def ended() -> bool:
            return wanted <= {name for name, request in self.requests().items() if request.is_finished}

        await self.cluster.wait_for(ended, timeout=timeout)


def is_child(manifest: objects.Manifest) -> bool:
    """Whether a request was made on behalf of another one."""
    return AUTHORITY_LABEL in manifest["metadata"].get("labels", {})
