"""The cluster as tests and the demo see it: start it, put objects into it, wait for what becomes of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from issuer.kube.access import Access
from issuer.sandbox.cluster.definitions import Definitions
from issuer.sandbox.cluster.errors import StatusError
from issuer.sandbox.cluster.faults import Faults
from issuer.sandbox.cluster.kinds import BUILT_IN, NAMESPACES
from issuer.sandbox.cluster.paths import Kinds
from issuer.sandbox.cluster.server import Server
from issuer.sandbox.cluster.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.sandbox.cluster.kinds import Kind, Manifest
    from issuer.sandbox.cluster.server import Write
    from issuer.sandbox.cluster.store import Happening

REQUESTS: Final = ("cert-manager.io", "certificaterequests")
NAMESPACE: Final = "demo"


class Cluster:
    """An API server with nothing behind it.

    It refuses what a real one refuses: names, labels and sizes; Events, Leases, Secrets and ConfigMaps by the rules of
    their kinds; custom resources by the schema and the CEL rules of their CRD, CertificateRequests by one of our own.
    That holds for what is applied here as for what comes over HTTP.

    There is no authentication, no RBAC, no admission but for missing namespaces, and no garbage collection by owner.
    cert-manager's webhooks are not there (the spec of a CertificateRequest can be changed), nor are the schemas of its
    other kinds and of CRDs themselves. CEL has no cost limit and none of Kubernetes' own functions.

    Args:
        approve: approve every certificate request at once, as cert-manager's approver would.

    Attributes:
        faults: what goes wrong.
        namespace: where the demo and the tests put their objects.
    """

    def __init__(self, *, approve: bool = False) -> None:
        self.faults: Final = Faults()
        self.namespace: Final = NAMESPACE
        self._approve = approve
        self._store = Store()
        self._kinds = Kinds(BUILT_IN)
        self._server = Server(self._store, self._kinds, self.faults)
        self._changed = asyncio.Event()
        self._store.hooks += [Definitions(self._store, self._kinds).happened, self._happened]
        self.url = ""
        for namespace in ("default", "kube-system"):
            self._store.create(NAMESPACES, "", {"metadata": {"name": namespace}})

    async def start(self, port: int = 0) -> str:
        """Listen on loopback; returns the URL."""
        self.url = await self._server.start(port)
        return self.url

    async def stop(self) -> None:
        """Stop listening. The objects stay, so it can be started again."""
        await self._server.stop()

    @property
    def writes(self) -> list[Write]:
        """Every write that was asked for over HTTP, in order."""
        return self._server.writes

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Every call over HTTP: method and path."""
        return self._server.calls

    def access(self) -> Access:
        """How a client in this process reaches it."""
        return Access(self.url)

    @property
    def watch_limit(self) -> int:
        """Changes that may wait for the reader of a watch; with more the watch ends. Holds for the next ones."""
        return self._store.feed_limit

    @watch_limit.setter
    def watch_limit(self, limit: int) -> None:
        self._store.feed_limit = limit

    def kubeconfig(self) -> str:
        """A kubeconfig for kubectl."""
        return msgspec.json.encode(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "sandbox",
                "clusters": [{"name": "sandbox", "cluster": {"server": self.url}}],
                "users": [{"name": "sandbox", "user": {"token": "sandbox"}}],
                "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox"}}],
            }
        ).decode()

    async def apply(self, manifest: Manifest) -> Manifest:
        """Create an object, and its namespace, or replace what there is of that name; the status stays."""
        kind = self._kinds.of(manifest["apiVersion"], manifest["kind"])
        metadata = manifest["metadata"]
        namespace = metadata.get("namespace", "default") if kind.namespaced else ""
        if namespace:
            self._ensure_namespace(namespace)
        key = (namespace, metadata.get("name", ""))
        try:
            self._store.get(kind, key)
        except StatusError:
            return self._store.create(kind, namespace, manifest).obj
        return self._store.update(kind, key, manifest, status=False).obj

    async def set_status(self, plural: str, namespace: str, name: str, status: Manifest) -> Manifest:
        """Write the status of an object."""
        kind = self._kinds.named(plural)
        return self._store.update(kind, (namespace, name), {"status": status}, status=True).obj

    async def delete(self, plural: str, namespace: str, name: str) -> None:
        """Delete an object."""
        self._store.delete(self._kinds.named(plural), (namespace, name))

    def get(self, plural: str, namespace: str, name: str) -> Manifest:
        """One object.

        Raises:
            StatusError: there is none.
        """
        return self._store.get(self._kinds.named(plural), (namespace, name)).obj

    def list(self, plural: str, namespace: str = "") -> list[Manifest]:
        """All objects of a resource."""
        return [stored.obj for stored in self._store.list(self._kinds.named(plural), namespace)]

    async def wait_for(self, condition: Callable[[], bool], timeout: float = 30.0) -> None:
        """Wait until a condition on the objects holds; it is looked at after every change.

        Raises:
            TimeoutError: it does not, after so many seconds.
        """
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def compact(self) -> None:
        """Forget the history: a watch that is opened at an older revision gets 410."""
        self._store.compact()

    def cut_watches(self) -> None:
        """End every watch."""
        self._server.cut_watches()

    def _ensure_namespace(self, name: str) -> None:
        try:
            self._store.get(NAMESPACES, ("", name))
        except StatusError:
            self._store.create(NAMESPACES, "", {"metadata": {"name": name}})

    def _happened(self, event: Happening) -> None:
        self._changed.set()
        if self._approve and event.type == "ADDED" and event.resource == REQUESTS:
            asyncio.get_running_loop().call_soon(self._approve_one, event)

    def _approve_one(self, event: Happening) -> None:
        kind: Kind = self._kinds.named(REQUESTS[1])
        try:
            obj = self._store.get(kind, event.key).obj
        except StatusError:
            return
        approved = {
            "type": "Approved",
            "status": "True",
            "reason": "sandbox.cdn-issuer.io",
            "message": "approved by the sandbox",
            "lastTransitionTime": obj["metadata"]["creationTimestamp"],
        }
        status = obj.get("status") or {}
        conditions = [*status.get("conditions", ()), approved]
        self._store.update(kind, event.key, {"status": {**status, "conditions": conditions}}, status=True)
