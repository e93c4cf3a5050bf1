"""What a test of the whole has in its hands: a namespace, a provider, and what people do and look at in a cluster.

Looks and writes are calls as an admin that block for a moment; waits go on in between, so that the mock provider, which
runs on the test's loop, can answer. A wait that ends in vain tells what there was to see.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx

from issuer.sandbox import objects
from issuer.sandbox.cdn import MockCDN
from tests.component.rig import PATIENT, POST
from tests.controlplane.plane import MERGE
from tests.e2e.controller import NAMESPACE as SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.controlplane.plane import ControlPlane, Manifest
    from tests.e2e.certmanager import CertManager
    from tests.e2e.controller import Controller
    from tests.e2e.webhook import Webhook

WAIT: Final = 30.0
"""Seconds that a wait lasts unless it says otherwise: many times what an idle machine needs."""
POLL: Final = 0.1
TOKEN: Final = "sandbox-token"
_APIS: Final = {
    "certificates": "/apis/cert-manager.io/v1",
    "certificaterequests": "/apis/cert-manager.io/v1",
    "cdnissuers": "/apis/cdn-issuer.io/v1alpha1",
    "cdnclusterissuers": "/apis/cdn-issuer.io/v1alpha1",
    "secrets": "/api/v1",
    "events": "/api/v1",
}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What all tests share."""

    plane: ControlPlane
    webhook: Webhook
    certmanager: CertManager
    controller: Controller


class World:
    """One test's part of the cluster, with a provider of its own.

    Attributes:
        cluster: the processes.
        namespace: of the test.
        cdn: the provider.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.plane = cluster.plane
        self.namespace = ""
        self.namespaces: list[str] = []
        self.cdn = MockCDN(tokens=[TOKEN], rate_limit=None)
        self._cluster_issuers: list[str] = []

    async def start(self) -> None:
        """Make the namespace and start the provider."""
        self.namespace = self.add_namespace()
        await self.cdn.start()

    async def stop(self) -> None:
        """Stop the provider and delete what the test made, what makes other things first."""
        for plural in ("certificates", "certificaterequests", "cdnissuers", "secrets", "events"):
            for namespace in self.namespaces:
                self.plane.call("DELETE", self.path(plural, namespace=namespace))
        for namespace in self.namespaces:
            self.plane.call("DELETE", f"/api/v1/namespaces/{namespace}")
        for name in self._cluster_issuers:
            self.plane.call("DELETE", f"{_APIS['cdnclusterissuers']}/cdnclusterissuers/{name}")
            self.plane.call("DELETE", self.path("secrets", name, namespace=SYSTEM))
        await self.cdn.stop()

    # What people make.

    def add_namespace(self) -> str:
        """Make a namespace; returns its name."""
        name = f"e2e-{secrets.token_hex(4)}"
        self.plane.apply(objects.namespace(name))
        self.namespaces.append(name)
        return name

    async def issuer(
        self,
        name: str = "web",
        *,
        edge: bool = True,
        backup: bool = False,
        breaker: Manifest | None = None,
        **spec: Any,
    ) -> None:
        """A CDNIssuer with the provider as `edge`, and a CA in process as `backup`; waits until it is Ready.

        `breaker` is the circuit breaker of `edge`; without it, one that hardly opens.
        """
        authorities = [self.edge(circuitBreaker=breaker or PATIENT["circuitBreaker"])] if edge else []
        if edge:
            self.plane.apply(objects.secret("cloudflare", self.namespace, {"token": TOKEN.encode()}))
        if backup:
            self.plane.apply(objects.ca_secret("backup-ca", self.namespace))
            authorities.append({"name": "backup", "ca": {"secretRef": {"name": "backup-ca"}}})
        self.plane.apply(objects.issuer(name, authorities, namespace=self.namespace, **spec))
        await self.until(lambda: self.condition("cdnissuers", name, "Ready")[0] == "True", f"{name} Ready")

    async def cluster_issuer(self) -> str:
        """A CDNClusterIssuer with the provider as `edge`; returns its name once it is Ready."""
        name = f"shared-{secrets.token_hex(4)}"
        self._cluster_issuers.append(name)
        self.plane.apply(objects.secret(name, SYSTEM, {"token": TOKEN.encode()}))
        self.plane.apply(objects.issuer(name, [self.edge(secret=name)]))
        await self.until(lambda: self.condition("cdnclusterissuers", name, "Ready")[0] == "True", f"{name} Ready")
        return name

    def edge(self, *, secret: str = "cloudflare", **fields: Any) -> Manifest:
        """The authority `edge`, quick to answer a failure with another try, and patient with silence."""
        cloudflare = {"apiTokenSecretRef": {"name": secret, "key": "token"}, "endpoint": self.cdn.endpoint}
        return {"name": "edge", "cloudflare": cloudflare, "caBundle": self.cdn.roots_pem, **PATIENT, **fields}

    def certificate(
        self,
        name: str = "site",
        dns_names: Sequence[str] = (),
        *,
        issuer: str = "web",
        kind: str = "CDNIssuer",
        namespace: str = "",
        key: Manifest | None = None,
        **spec: Any,
    ) -> None:
        """Make a Certificate, or change it; its Secret is called `NAME-tls`."""
        manifest = {
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": {"name": name, "namespace": namespace or self.namespace},
            "spec": {
                "secretName": f"{name}-tls",
                "dnsNames": list(dns_names or [f"{name}.example.com"]),
                "issuerRef": {"group": "cdn-issuer.io", "kind": kind, "name": issuer},
                "privateKey": key or {"algorithm": "ECDSA", "size": 256},
                **spec,
            },
        }
        self.plane.apply(manifest)

    def delete(self, plural: str, name: str) -> None:
        """Delete an object."""
        self.plane.ask("DELETE", self.path(plural, name))

    def deny(self, request: str) -> None:
        """Deny a request, as an admin who may."""
        denied = {"type": "Denied", "status": "True", "reason": "Policy", "message": "not on a Friday"}
        denied["lastTransitionTime"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        body = {"status": {"conditions": [denied]}}
        path = f"{self.path('certificaterequests', request)}/status"
        self.plane.ask("PATCH", path, body, content_type=MERGE)

    # What people look at.

    def path(self, plural: str, name: str = "", *, namespace: str = "") -> str:
        """Of a resource in a namespace, or of one object."""
        within = "" if plural.startswith("cdncluster") else f"/namespaces/{namespace or self.namespace}"
        return f"{_APIS[plural]}{within}/{plural}" + (f"/{name}" if name else "")

    def get(self, plural: str, name: str, *, namespace: str = "") -> Manifest | None:
        """One object, or None."""
        answer = self.plane.call("GET", self.path(plural, name, namespace=namespace))
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        found: Manifest = answer.raise_for_status().json()
        return found

    def all(self, plural: str, *, namespace: str = "") -> list[Manifest]:
        """All objects of a resource in a namespace."""
        found: list[Manifest] = self.plane.ask("GET", self.path(plural, namespace=namespace))["items"]
        return found

    def condition(self, plural: str, name: str, type_: str, *, namespace: str = "") -> tuple[str, str]:
        """Status and reason of a condition; two empty strings if there is none."""
        return read_condition(self.get(plural, name, namespace=namespace) or {}, type_)

    def secret(self, name: str, *, namespace: str = "") -> dict[str, bytes]:
        """The content of a Secret; empty if there is none."""
        found = self.get("secrets", name, namespace=namespace) or {}
        return {key: b64decode(value) for key, value in found.get("data", {}).items()}

    def events(self, kind: str, name: str) -> list[str]:
        """The events of an object, as `Reason: message`."""
        return [
            f"{event['reason']}: {event['message']}"
            for event in self.all("events")
            if (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == (kind, name)
        ]

    def revision(self, name: str, *, namespace: str = "") -> int:
        """How often a Certificate was issued."""
        status = (self.get("certificates", name, namespace=namespace) or {}).get("status", {})
        return int(status.get("revision", 0))

    def is_ready(self, name: str, *, namespace: str = "") -> bool:
        """Whether a Certificate is Ready."""
        return self.condition("certificates", name, "Ready", namespace=namespace)[0] == "True"

    def approved(self) -> set[str]:
        """UIDs of all requests of this test that were ever approved, those that are gone too, by their events.

        Certificates are no measure of what may be signed: cert-manager makes a second request for one now and then,
        when its cache is late, and deletes a request that is being signed.
        """
        return {
            event["involvedObject"]["uid"]
            for namespace in self.namespaces
            for event in self.all("events", namespace=namespace)
            if event["involvedObject"]["kind"] == "CertificateRequest" and "has been approved" in event["message"]
        }

    # What people wait for.

    async def ready(self, name: str = "site", *, revision: int = 1, timeout: float = WAIT) -> dict[str, bytes]:
        """Wait until a Certificate is Ready with at least that revision; returns what is in its Secret."""
        await self.until(
            lambda: self.is_ready(name) and self.revision(name) >= revision,
            f"Certificate {name} Ready with revision {revision}",
            timeout,
        )
        return self.secret(f"{name}-tls")

    async def request_with(self, reason: str, name: str = "site-1", *, timeout: float = WAIT) -> Manifest:
        """Wait until a request's Ready condition has a reason; returns the request."""
        await self.until(
            lambda: self.condition("certificaterequests", name, "Ready")[1] == reason,
            f"request {name} with the reason {reason}",
            timeout,
        )
        return self.plane.ask("GET", self.path("certificaterequests", name))

    async def signed_once(self) -> None:
        """Wait until nothing is being signed, and there are no more signatures than there were approved requests."""
        await self.until(
            lambda: self.cdn.calls[POST] == len(self.cdn.certificates) <= len(self.approved()),
            "no more signatures than approved requests",
        )

    async def until(self, condition: Callable[[], bool], what: str, timeout: float = WAIT) -> None:
        """Wait until something is true.

        Raises:
            AssertionError: it is not, after so many seconds; the text says what there is to see.
        """
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"not within {timeout:.0f} s: {what}\n{self.seen()}")
            await asyncio.sleep(POLL)

    async def stays(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Watch that something is true, and stays so for some seconds.

        Raises:
            AssertionError: it is not true at some time.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not condition():
                raise AssertionError(f"no longer so: {what}\n{self.seen()}")
            await asyncio.sleep(POLL)

    def seen(self) -> str:
        """Conditions, events, and the ends of the logs."""
        lines: list[str] = []
        for namespace in self.namespaces[:3]:
            for plural in ("cdnissuers", "certificates", "certificaterequests"):
                with contextlib.suppress(Exception):
                    for item in self.all(plural, namespace=namespace)[:5]:
                        conditions = json.dumps(item.get("status", {}).get("conditions", []))
                        lines.append(f"{plural} {namespace}/{item['metadata']['name']}: {conditions}")
            with contextlib.suppress(Exception):
                for event in self.all("events", namespace=namespace)[-15:]:
                    about = event["involvedObject"]
                    lines.append(f"event {about['kind']} {about['name']}: {event['reason']}: {event['message']}")
        lines.append(f"provider: {dict(self.cdn.calls)}, {len(self.cdn.certificates)} certificates")
        for server in (self.cluster.controller.server, self.cluster.certmanager.server, self.cluster.webhook.server):
            lines += [f"--- {server.log.name} (exit code {server.returncode})", server.tail(12)]
        return "\n".join(lines)


def read_condition(manifest: Manifest, type_: str) -> tuple[str, str]:
    """Status and reason of an object's condition; two empty strings if there is none."""
    for one in manifest.get("status", {}).get("conditions", []):
        if one["type"] == type_:
            return one["status"], one.get("reason", "")
    return "", ""
