"""Builders for tests of the whole controller: stages with short times, issuers, and what is asked of both sides."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from issuer.api.meta import format_time
from issuer.controllers.pace import Pace
from issuer.controllers.program import Options
from issuer.pki.csr import parse_pem
from issuer.sandbox import objects
from issuer.sandbox.cluster import StatusError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from issuer.api.request import CertificateRequest
    from issuer.cli.stage import Stage
    from issuer.sandbox.cdn import IssuedCertificate

IN_FLIGHT: Final = 20
QUICK: Final = {
    "timeouts": {"connect": "2s", "read": "3s", "attempt": "3s", "turn": "8s"},
    "retry": {"attempts": 2, "minBackoff": "50ms", "maxBackoff": "200ms"},
    "circuitBreaker": {"consecutiveFailures": 20, "openFor": "500ms", "maxOpenFor": "1s"},
    "limits": {"requestsPerSecond": 200, "burst": 100, "inFlight": IN_FLIGHT},
}
"""Settings of an authority whose failures take tenths of seconds."""
PATIENT: Final = {**QUICK, "timeouts": {"connect": "30s", "read": "60s", "attempt": "60s", "turn": "2m"}}
"""The same for a test in which no call may end in a timeout, however slow the machine: after a look that timed out, a
second signature would be right."""
BRISK: Final = Pace(first=0.2, largest=1.0, first_write=0.01, largest_write=0.05)
LEASE_SECONDS: Final = 3.0
POST: Final = "POST /certificates"
LIST: Final = "GET /certificates"
REVOKE: Final = "DELETE /certificates/{id}"


def options(**fields: Any) -> Options:
    """Options of a controller that is quick to try again and quick to take over."""
    defaults: dict[str, Any] = {
        "allow_insecure_endpoints": True,
        "lease_duration": LEASE_SECONDS,
        "renew_deadline": 2.0,
        "retry_period": 0.3,
        "pace": BRISK,
    }
    return Options(**(defaults | fields))


async def add_issuer(stage: Stage, name: str = "web", *, backup: bool = False, **spec: Any) -> None:
    """An issuer with the mock CDN as its authority, and one that signs in process behind it if `backup`."""
    authorities = [stage.edge(**QUICK), *([stage.backup()] if backup else [])]
    await stage.apply(objects.issuer(name, authorities, namespace=stage.namespace, **spec))


async def approve(stage: Stage, name: str, when: datetime) -> None:
    """Approve a request as if an approver had done so at that time, to the second."""
    approved = {
        "type": "Approved",
        "status": "True",
        "reason": "Test",
        "message": "approved by the test",
        "lastTransitionTime": format_time(when),
    }
    await stage.cluster.set_status("certificaterequests", stage.namespace, name, {"conditions": [approved]})


def key_of(csr: bytes) -> bytes:
    """The public key of a CSR, as the mock files certificates by it."""
    return parse_pem(csr).public_key


def live(stage: Stage, csr: bytes) -> tuple[IssuedCertificate, ...]:
    """The certificates at the provider for this CSR that are not revoked."""
    return stage.cdn.live(key_of(csr))


def request(stage: Stage, name: str) -> CertificateRequest:
    """A request as it is now."""
    return stage.requests()[name]


def version(stage: Stage, name: str) -> str:
    """The resourceVersion of a request: the same as before means that nobody has written to it."""
    found: str = stage.cluster.get("certificaterequests", stage.namespace, name)["metadata"]["resourceVersion"]
    return found


def status_writes(stage: Stage, name: str) -> list[int]:
    """The answers to all writes of a request's status, in order."""
    path = f"/certificaterequests/{name}/status"
    return [write.status for write in stage.cluster.writes if write.path.endswith(path)]


def holder(stage: Stage) -> str:
    """Who holds the Lease; empty if nobody does."""
    try:
        lease = stage.cluster.get("leases", stage.options.lease_namespace, stage.options.lease_name)
    except StatusError:
        return ""
    return lease["spec"].get("holderIdentity") or ""


async def until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Wait until something is true that no single side announces.

    Raises:
        TimeoutError: it is not, after so many seconds.
    """
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - the condition spans cluster, provider and controller
            await asyncio.sleep(0.01)
