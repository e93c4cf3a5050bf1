"""Other issuers of the cluster: cert-manager's own, as far as they say that they are ready, and sign."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from issuer.api.meta import format_time
from issuer.sandbox.pki import SmallCA, name

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.sandbox.objects import Manifest

LIFETIME: Final = timedelta(days=90)
BACKDATED: Final = timedelta(minutes=1)
PATIENCE: Final = 3600.0
"""Seconds without a request after which it has ended."""


class Requests(Protocol):
    """Where the requests are."""

    def list(self, plural: str, namespace: str = "") -> list[Manifest]:
        """All objects of a resource."""
        ...

    async def set_status(self, plural: str, namespace: str, name: str, status: Manifest) -> Manifest:
        """Write the status of an object, whole."""
        ...

    async def wait_for(self, condition: Callable[[], bool], timeout: float = 30.0) -> None:
        """Wait until a condition on the objects holds."""
        ...


class OtherIssuers:
    """Signs approved requests that name an issuer of cert-manager's; each issuer has a CA of its own.

    Attributes:
        silent: names of those that take requests and do not answer.
    """

    def __init__(self, requests: Requests) -> None:
        self.silent: set[str] = set()
        self._requests = requests
        self._cas: dict[str, SmallCA] = {}

    async def run(self) -> None:
        """Say of each issuer that it is ready, and sign, until cancelled."""
        while True:
            await self._requests.wait_for(lambda: bool(self._new() or self._due()), timeout=PATIENCE)
            for issuer in self._new():
                status = {"conditions": [_ready("IsReady", "it is played")]}
                meta = issuer["metadata"]
                await self._requests.set_status("issuers", meta["namespace"], meta["name"], status)
            for request in self._due():
                await self._sign(request)

    def _new(self) -> list[Manifest]:
        return [one for one in self._requests.list("issuers") if not _says(one, "Ready")]

    def _due(self) -> list[Manifest]:
        return [
            one
            for one in self._requests.list("certificaterequests")
            if one["spec"]["issuerRef"].get("group") == "cert-manager.io"
            and one["spec"]["issuerRef"]["name"] not in self.silent
            and _says(one, "Approved")
            and not _says(one, "Ready")
        ]

    async def _sign(self, request: Manifest) -> None:
        called = request["spec"]["issuerRef"]["name"]
        ca = self._cas.setdefault(called, SmallCA.with_ecc(name(CN=called)))
        csr = x509.load_pem_x509_csr(b64decode(request["spec"]["request"]))
        san = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        start = datetime.now(UTC) - BACKDATED
        leaf = ca.sign(
            csr.public_key(),
            subject=csr.subject,
            hostnames=san.get_values_for_type(x509.DNSName),
            not_before=start,
            not_after=start + LIFETIME,
        )
        status: dict[str, Any] = {
            "conditions": [*request["status"]["conditions"], _ready("Issued", f"signed by {called}")],
            "certificate": b64encode(leaf.public_bytes(Encoding.PEM)).decode(),
            "ca": b64encode(ca.pem).decode(),
        }
        meta = request["metadata"]
        await self._requests.set_status("certificaterequests", meta["namespace"], meta["name"], status)


def _ready(reason: str, message: str) -> dict[str, str]:
    since = format_time(datetime.now(UTC))
    return {"type": "Ready", "status": "True", "reason": reason, "message": message, "lastTransitionTime": since}


def _says(found: Manifest, type_: str) -> bool:
    conditions = found.get("status", {}).get("conditions", ())
    return any(one["type"] == type_ and one["status"] == "True" for one in conditions)
