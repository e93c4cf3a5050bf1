"""What component tests share: an issuer whose time-outs are short, and the questions that they ask of the sandbox."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Protocol

from issuer.controllers.pace import Pace
from issuer.controllers.program import Options
from issuer.kube.client import TIMEOUT
from issuer.pki.csr import parse_pem
from issuer.sandbox import objects
from tests.controlplane.cluster import RealCluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from issuer.api.request import CertificateRequest
    from issuer.cli.stage import Stage
    from issuer.sandbox.cdn import MockCDN


class NewStage(Protocol):
    """Makes a stage on the API server of the test, as `Stage` makes one on the sandbox."""

    def __call__(
        self,
        options: Options | None = None,
        *,
        approve: bool = True,
        cdn: MockCDN | None = None,
        controlled: bool = True,
        kube_timeout: float = TIMEOUT,
    ) -> Stage: ...


AUTHORITY = "cdn-issuer.io/Authority"

QUICK: dict[str, Any] = {
    "timeouts": {"connect": "300ms", "read": "400ms", "attempt": "400ms", "turn": "2s"},
    "retry": {"attempts": 2, "minBackoff": "5ms", "maxBackoff": "20ms"},
    "circuitBreaker": {"consecutiveFailures": 3, "openFor": "200ms", "maxOpenFor": "400ms"},
    "limits": {"requestsPerSecond": 500, "burst": 100, "inFlight": 50},
}
"""An authority that gives up soon and is asked again soon."""

BRISK = Options(allow_insecure_endpoints=True, pace=Pace(first=0.05, largest=0.2, first_write=0.02, largest_write=0.1))
"""A controller that takes pending requests up again soon."""


async def two_authorities(stage: Stage, name: str = "web", **spec: Any) -> None:
    """An issuer with the CDN first and the in-process CA second."""
    authorities = [stage.edge(**QUICK), stage.backup()]
    await stage.apply(objects.issuer(name, authorities, namespace=stage.namespace, **spec))


async def one_authority(stage: Stage, name: str = "alone", **spec: Any) -> None:
    """An issuer with the CDN and nothing else."""
    await stage.apply(objects.issuer(name, [stage.edge(**QUICK)], namespace=stage.namespace, **spec))


def admin(stage: Stage, folder: Path) -> str:
    """The path of a kubeconfig for an admin, with which commands reach the cluster of a stage."""
    file, cluster = folder / "kubeconfig", stage.cluster
    if isinstance(cluster, RealCluster):
        plane = cluster.plane
        file.write_text(plane.kubeconfig("admin", plane.admin_token, url=cluster.url).read_text())
    else:
        file.write_text(cluster.kubeconfig())
    return str(file)


async def at_work(stage: Stage) -> None:
    """The controller leads: what is asked from here on is new to it, and nobody before it can have signed that."""
    await stage.cluster.wait_for(lambda: stage.program.is_leading)


async def ended(stage: Stage, name: str) -> CertificateRequest:
    """The request of that name, once it has ended."""
    await stage.finished([name])
    return stage.requests()[name]


async def pending(stage: Stage, name: str) -> CertificateRequest:
    """The request of that name, once it says why it waits."""

    def waits() -> bool:
        ready = stage.requests()[name].ready
        return ready is not None and ready.reason == "Pending"

    await stage.cluster.wait_for(waits)
    return stage.requests()[name]


def message(request: CertificateRequest) -> str:
    """What the Ready condition tells."""
    assert request.ready is not None
    return request.ready.message


def live(stage: Stage, csr: bytes) -> int:
    """Certificates that are alive at the provider for the key of a CSR."""
    return len(stage.cdn.live(parse_pem(csr).public_key))


def signer_story(request: CertificateRequest) -> str:
    """What the condition about the signer tells."""
    return next(c.message for c in request.status.conditions if c.type == AUTHORITY)


async def sweep_once_back(stage: Stage) -> None:
    """The provider is back: one request is signed by it, which closes its breaker, then what was lost is cleared up."""
    stage.cdn.faults.clear()
    await one_authority(stage, "proof")
    await stage.ask("proof", "proof")
    await ended(stage, "proof")
    await stage.program.engine.clean_up()


def long_after(stage: Stage) -> None:
    """Whatever the provider still had to do for calls that were given up, it has done by now."""
    ledger = stage.program.engine._ledger
    for entry in [entry for entries in ledger._entries.values() for entry in entries.values()]:
        entry.over = asyncio.get_running_loop().time()


async def swept(stage: Stage, condition: Callable[[], bool]) -> None:
    """Have lost certificates cleared up, in as many rounds as it takes, until a condition holds.

    What failed once, be it for a busy machine, is tried again at once: the pause after that is half a minute.
    """
    async with asyncio.timeout(20):
        while True:
            ledger = stage.program.engine._ledger
            for entry in [entry for entries in ledger._entries.values() for entry in entries.values()]:
                entry.due = -math.inf
            await stage.program.engine.clean_up()
            if condition():
                return
            await asyncio.sleep(0.05)


def signatures(stage: Stage) -> int:
    """How often the provider was asked to sign."""
    return stage.cdn.calls["POST /certificates"]


def events(stage: Stage, name: str) -> list[tuple[str, str, str]]:
    """Type, reason and message of the events about an object, oldest first."""
    found = [event for event in stage.cluster.list("events") if event["involvedObject"]["name"] == name]
    found.sort(key=lambda event: (event.get("eventTime") or "", int(event["metadata"]["resourceVersion"])))
    return [(event["type"], event["reason"], event["message"]) for event in found]


async def warned_of(stage: Stage, name: str, reason: str, message: str) -> None:
    """Wait for a Warning about an object with that reason and message: what a condition says, an event says too."""
    await stage.cluster.wait_for(lambda: ("Warning", reason, message) in events(stage, name))


async def told(stage: Stage, name: str, reason: str) -> str:
    """The message of the event with that reason about an object, once it is there."""
    found: list[str] = []

    def there() -> bool:
        found[:] = [message for _, why, message in events(stage, name) if why == reason]
        return bool(found)

    await stage.cluster.wait_for(there)
    return found[0]
