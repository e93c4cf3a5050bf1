"""A stage: the sandbox's cluster and CDN with the controller between them, all in this process, on loopback.

The demo, the benchmarks and the component tests play on it. The controller is wired by `Program` exactly as
`cdn-issuer run` does it, and talks to both sides over HTTP.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import msgspec

from issuer.api import crd
from issuer.api import request as request_api
from issuer.api.request import CertificateRequest
from issuer.authorities import registry
from issuer.controllers.program import Options, Program
from issuer.kube.access import Access
from issuer.kube.client import TIMEOUT, KubeClient
from issuer.kube.errors import UnreachableError
from issuer.observe.metrics import Metrics
from issuer.sandbox import objects
from issuer.sandbox.cdn import MockCDN
from issuer.sandbox.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    import aiohttp

NAMESPACE = "demo"
TOKEN = "sandbox-token"  # noqa: S105 - the mock's, worth nothing anywhere else


class _Line(KubeClient):
    """A client whose line can be cut, as that of a process that is killed."""

    is_cut = False

    async def _request(self, *args: Any, **kwargs: Any) -> aiohttp.ClientResponse:
        if self.is_cut:
            raise UnreachableError("the process was killed", sent=False)
        return await super()._request(*args, **kwargs)


class Replica:
    """One controller, as one process would run it. Make it inside a running event loop; it starts at once.

    Attributes:
        program: the controller.
        metrics: what it counts.
        running: the task it runs in; a LeaseLostError comes out of it.
    """

    def __init__(self, api_url: str, options: Options, *, kube_timeout: float = TIMEOUT) -> None:
        self.metrics = Metrics()
        self._client = _Line(Access(api_url), timeout=kube_timeout, observer=self.metrics.api_call)
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
        self._client.is_cut = True
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
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        approve: bool = True,
        cdn: MockCDN | None = None,
        controlled: bool = True,
        kube_timeout: float = TIMEOUT,
    ) -> None:
        self.options = options or Options(allow_insecure_endpoints=True)
        self.cluster = Cluster(approve=approve)
        self.cdn = cdn or MockCDN(tokens=[TOKEN], rate_limit=None)
        self.api_url = ""
        self._controlled = controlled
        self._kube_timeout = kube_timeout
        self._replica: Replica | None = None

    async def __aenter__(self) -> Self:
        self.api_url = await self.cluster.start()
        await self.cdn.start()
        for document in crd.definitions(registry.configs()):
            await self.apply(document)
        await self.apply(objects.namespace(self.options.lease_namespace))
        await self.apply(objects.secret("cloudflare", NAMESPACE, {"token": TOKEN.encode()}))
        await self.apply(objects.ca_secret("backup-ca", NAMESPACE))
        if self._controlled:
            await self.start_controller()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop_controller()
        await self.cdn.stop()
        await self.cluster.stop()

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
        return Replica(self.api_url, options, kube_timeout=self._kube_timeout)

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
        await self.apply(objects.certificate_request(name, csr, namespace=NAMESPACE, issuer=issuer, **fields))
        return csr

    def requests(self) -> dict[str, CertificateRequest]:
        """All requests, by name."""
        found = (msgspec.convert(item, CertificateRequest) for item in self.cluster.list(request_api.PLURAL))
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
