"""An issuer as early external issuers were: one call, and the first error is the end of the request.

It lives in the tests alone, to be compared with. It asks the same provider, with a timeout of one second, and looks
neither at retries nor at deadlines. Whether it writes `failureTime` decides what becomes of the Certificate.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from issuer.pki.csr import parse_pem
from tests.controlplane.plane import MERGE, RefusedError
from tests.e2e.certmanager import ACCOUNT, NAMESPACE
from tests.e2e.world import TOKEN, read_condition

if TYPE_CHECKING:
    from tests.controlplane.plane import ControlPlane, Manifest
    from tests.e2e.world import World

GROUP: Final = "naive.example.com"
REF: Final = {"group": GROUP, "kind": "NaiveIssuer", "name": "naive"}
TIMEOUT: Final = 1.0
POLL: Final = 0.2
ENDED: Final = {"Issued", "Failed", "Denied"}
_RBAC: Final = "rbac.authorization.k8s.io"


class Naive:
    """The issuer, for the requests of one world; use it with `async with`.

    Args:
        world: whose provider it asks.
        failure_time: whether it says when a request has failed.
    """

    def __init__(self, world: World, *, failure_time: bool) -> None:
        self._world = world
        self._failure_time = failure_time
        self._client = httpx.AsyncClient(
            base_url=world.cdn.endpoint, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=TIMEOUT
        )
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        install(self._world.plane)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        ended = (await asyncio.gather(self._task, return_exceptions=True))[0]
        await self._client.aclose()
        assert isinstance(ended, asyncio.CancelledError), f"the naive issuer has ended: {ended!r}"

    async def _run(self) -> None:
        while True:
            for request in self._world.all("certificaterequests"):
                if is_asked(request):
                    await self._answer(request)
            await asyncio.sleep(POLL)

    async def _answer(self, request: Manifest) -> None:
        try:
            certificate = await self._sign(b64decode(request["spec"]["request"]))
        except httpx.HTTPError as error:
            failed = {"failureTime": now()} if self._failure_time else {}
            self._write(request, "False", "Failed", f"unable to sign: {error!r}", **failed)
        else:
            self._write(request, "True", "Issued", "signed", certificate=b64encode(certificate.encode()).decode())

    async def _sign(self, csr: bytes) -> str:
        body = {
            "csr": csr.decode(),
            "hostnames": list(parse_pem(csr).dns_names),
            "request_type": "origin-ecc",
            "requested_validity": 7,
        }
        answer = await self._client.post("/certificates", json=body)
        return str(answer.raise_for_status().json()["result"]["certificate"])

    def _write(self, request: Manifest, status: str, reason: str, message: str, **fields: Any) -> None:
        ready = {"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": now()}
        others = [one for one in request["status"]["conditions"] if one["type"] != "Ready"]
        metadata = request["metadata"]
        path = self._world.path("certificaterequests", metadata["name"])
        body = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "status": {"conditions": [*others, ready], **fields},
        }
        try:
            self._world.plane.ask("PATCH", f"{path}/status", body, content_type=MERGE)
        except RefusedError as error:
            if error.status not in {httpx.codes.CONFLICT, httpx.codes.NOT_FOUND}:
                raise


def is_asked(request: Manifest) -> bool:
    """Whether a request is the naive issuer's, approved, and not at its end."""
    return (
        request["spec"]["issuerRef"].get("group") == GROUP
        and read_condition(request, "Approved")[0] == "True"
        and read_condition(request, "Ready")[1] not in ENDED
    )


def now() -> str:
    """The time as Kubernetes writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def install(plane: ControlPlane) -> None:
    """The kind of its issuers, and the right of cert-manager's approver to approve for them."""
    names = {"kind": "NaiveIssuer", "plural": "naiveissuers", "singular": "naiveissuer", "listKind": "NaiveIssuerList"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    rule = {
        "apiGroups": ["cert-manager.io"],
        "resources": ["signers"],
        "resourceNames": [f"naiveissuers.{GROUP}/*"],
        "verbs": ["approve"],
    }
    role = "naive-issuer-approver"
    crd: Manifest = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"naiveissuers.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }
    plane.apply_all(
        [
            crd,
            {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": role}, "rules": [rule]},
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": role},
                "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
            },
        ]
    )
