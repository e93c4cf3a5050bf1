"""A real API server with the face of the sandbox's `Cluster`, so that one suite of tests runs on both.

The controller reaches it through a proxy, as the ServiceAccount that `deploy/` makes and with the roles that it
ships; the test itself looks and writes past the proxy, as an admin, with calls that block: what it reads is always
the present. A test has a namespace of its own. `wipe` deletes what it made, for the next one.
"""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import httpx

from issuer.api import crd
from issuer.authorities import registry
from issuer.kube.access import Access
from issuer.sandbox import objects
from issuer.sandbox.cluster.errors import StatusError
from issuer.sandbox.cluster.kinds import BUILT_IN, from_crd
from issuer.sandbox.cluster.paths import Kinds
from tests.controlplane.plane import MERGE, TRIES, RefusedError, path_of
from tests.controlplane.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.sandbox.cluster.faults import Faults
    from issuer.sandbox.cluster.kinds import Kind, Manifest
    from issuer.sandbox.cluster.server import Write
    from tests.controlplane.plane import ControlPlane

SYSTEM: Final = "cdn-issuer-system"
"""The namespace of `deploy/`: the controller's ServiceAccount, its Lease, and the Secrets of CDNClusterIssuers."""
SHARED: Final = ("cdn-issuer-system", "default")
"""Namespaces of all tests that hold objects which a test makes."""
POLL: Final = 0.03


GONE_WITHIN: Final = 30.0
"""Seconds in which a CRD that was deleted is gone."""


class RealCluster:
    """The API server of the session, as one test sees it.

    Args:
        plane: with the CRDs and roles of `deploy/` in it.
        approve: approve every certificate request that the test makes, as cert-manager's approver would.

    Attributes:
        namespace: of the test.
        proxy: between the controller and the API server.
    """

    def __init__(self, plane: ControlPlane, *, approve: bool = False) -> None:
        self.plane = plane
        self.namespace = f"test-{secrets.token_hex(4)}"
        self.token = plane.token(SYSTEM, "cdn-issuer")
        self.proxy = Proxy(plane.url, plane.ssl_context(), self._touch)
        self._approve = approve
        self._kinds = Kinds(BUILT_IN)
        for document in crd.definitions(registry.configs()):
            for kind in from_crd(document):
                self._kinds.add(kind)
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})

    async def start(self) -> str:
        """Start the proxy; returns its URL.

        An API server holds the first object of a new kind for two seconds (apiextensions-apiserver, crdHandler). What a
        test makes goes out on the loop of the controller, whose Lease would run out meanwhile, so one is made before.
        """
        if not self.plane.is_warm:
            self.plane.is_warm = True
            for kind in ("CDNIssuer", "CDNClusterIssuer"):
                authorities = [{"name": "local", "ca": {"secretRef": {"name": "none"}}}]
                namespace = self.namespace if kind == "CDNIssuer" else ""
                issuer = objects.issuer("first", authorities, namespace=namespace)
                self.plane.ask("POST", f"{path_of(issuer).rpartition('/')[0]}?dryRun=All", issuer)
            csr = objects.signing_request(["first.example.com"])
            request = objects.certificate_request("first", csr, namespace=self.namespace, issuer="first")
            self.plane.ask("POST", f"{path_of(request).rpartition('/')[0]}?dryRun=All", request)
        return await self.proxy.start()

    async def stop(self) -> None:
        """Stop the proxy, which is all of the API server that the controller knows. It can be started again."""
        await self.proxy.stop()

    @property
    def url(self) -> str:
        """Of the proxy."""
        return self.proxy.url

    @property
    def faults(self) -> Faults:
        """What goes wrong between the controller and the API server."""
        return self.proxy.faults

    @property
    def writes(self) -> list[Write]:
        """Every write that the controller asked for, in order."""
        return self.proxy.writes

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Every call of the controller: method and path."""
        return self.proxy.calls

    def access(self) -> Access:
        """How a controller in this process reaches it."""
        return Access(self.url, token=f"Bearer {self.token}")

    def kubeconfig(self) -> str:
        """A kubeconfig for a controller in a process of its own."""
        return self.plane.kubeconfig(self.namespace, self.token, url=self.url).read_text()

    async def apply(self, manifest: Manifest) -> Manifest:
        """Create an object, and its namespace, or replace what there is of that name; the status stays.

        Raises:
            StatusError: the API server refuses it.
        """
        metadata = manifest["metadata"]
        kind = self._kinds.of(manifest["apiVersion"], manifest["kind"])
        if kind.namespaced and "namespace" not in metadata:
            manifest = {**manifest, "metadata": {**metadata, "namespace": "default"}}
        if manifest["kind"] == "Namespace":
            manifest = {**manifest, "spec": {}}
        is_new = self.plane.call("GET", path_of(manifest)).status_code == httpx.codes.NOT_FOUND
        try:
            self.plane.apply_all([manifest])
        except RefusedError as error:
            raise StatusError(error.status, "", str(error)) from None
        for added in from_crd(manifest) if kind.kind == "CustomResourceDefinition" else ():
            self._kinds.add(added)
        if is_new and self._approve and kind.kind == "CertificateRequest":
            self._approve_one(kind, metadata["namespace"], metadata["name"])
        return self.get(kind.plural, metadata.get("namespace", ""), metadata["name"])

    async def set_status(self, plural: str, namespace: str, name: str, status: Manifest) -> Manifest:
        """Write the status of an object, whole."""
        path = self._path(self._kinds.named(plural), namespace, name)
        for _ in range(TRIES):
            obj = self._ask("GET", path)
            try:
                return self._ask("PUT", f"{path}/status", {**obj, "status": status})
            except StatusError as error:
                if error.code != httpx.codes.CONFLICT:
                    raise
        raise TimeoutError(f"{path} is written to all the time")

    async def delete(self, plural: str, namespace: str, name: str) -> None:
        """Delete an object; a CRD is gone only when its objects are."""
        path = self._path(self._kinds.named(plural), namespace, name)
        self._ask("DELETE", path)
        if plural == "customresourcedefinitions":
            async with asyncio.timeout(GONE_WITHIN):
                while self.plane.call("GET", path).status_code != httpx.codes.NOT_FOUND:  # noqa: ASYNC110 - the API server tells nobody
                    await asyncio.sleep(0.05)

    def get(self, plural: str, namespace: str, name: str) -> Manifest:
        """One object.

        Raises:
            StatusError: there is none.
        """
        return self._ask("GET", self._path(self._kinds.named(plural), namespace, name))

    def list(self, plural: str, namespace: str = "") -> list[Manifest]:
        """The objects of a resource in the namespaces of this test, or those that have none."""
        kind = self._kinds.named(plural)
        found: list[Manifest] = self._ask("GET", self._path(kind, namespace, ""))["items"]
        mine = (self.namespace, *SHARED)
        return [
            {"apiVersion": kind.api_version, "kind": kind.kind, **item}
            for item in found
            if namespace or item["metadata"].get("namespace", SYSTEM) in mine
        ]

    async def wait_for(self, condition: Callable[[], bool], timeout: float = 30.0) -> None:
        """Wait until a condition holds.

        Raises:
            TimeoutError: it does not, after so many seconds.
        """
        async with asyncio.timeout(timeout):
            while not condition():  # noqa: ASYNC110 - the API server is another process
                await asyncio.sleep(POLL)

    def compact(self) -> None:
        """Forget the history: a watch that is opened at an older revision gets 410.

        etcd forgets it for real; the API server's watch cache would still serve it, so the proxy answers for that.
        """
        self.plane.compact()
        version = self._ask("GET", "/api/v1/namespaces?limit=1")["metadata"]["resourceVersion"]
        self.proxy.oldest = int(version)

    def cut_watches(self) -> None:
        """End every watch."""
        self.proxy.cut_watches()

    def wipe(self) -> None:
        """Delete what the test made, so that the next one's controller does not find it."""
        for kind in self._kinds:
            if kind.group in ("cert-manager.io", "cdn-issuer.io"):
                self.plane.call("DELETE", self._path(kind, self.namespace if kind.namespaced else "", ""))
        for namespace in (self.namespace, *SHARED):
            for plural in ("leases", "events", "secrets"):
                self.plane.call("DELETE", self._path(self._kinds.named(plural), namespace, ""))
        self.plane.call("DELETE", f"/api/v1/namespaces/{self.namespace}")

    def _path(self, kind: Kind, namespace: str, name: str) -> str:
        prefix = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
        within = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
        return f"{prefix}{within}/{kind.plural}" + (f"/{name}" if name else "")

    def _ask(self, method: str, path: str, body: Any = None) -> Manifest:
        try:
            return self.plane.ask(method, path, body)
        except RefusedError as error:
            raise StatusError(error.status, "", str(error)) from None

    def _approve_one(self, kind: Kind, namespace: str, name: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        approved = {"type": "Approved", "status": "True", "reason": "Test", "lastTransitionTime": now}
        approved["message"] = "approved by the test"
        path = f"{self._path(kind, namespace, name)}/status"
        self.plane.ask("PATCH", path, {"status": {"conditions": [approved]}}, content_type=MERGE)

    def _touch(self, path: str, number: int) -> None:
        """Write an annotation to the object of a path, as somebody else would."""
        body = {"metadata": {"annotations": {"sandbox/touched": str(number)}}}
        self.plane.call("PATCH", path.removesuffix("/status"), body, content_type=MERGE)
