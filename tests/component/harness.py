"""What component tests share: an issuer whose time-outs are short, and the questions that they ask of the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from issuer.cli.stage import NAMESPACE, Stage
from issuer.pki.csr import parse_pem
from issuer.sandbox import objects

if TYPE_CHECKING:
    from issuer.api.request import CertificateRequest

QUICK: dict[str, Any] = {
    "timeouts": {"connect": "300ms", "read": "400ms", "attempt": "400ms", "turn": "2s"},
    "retry": {"attempts": 2, "minBackoff": "5ms", "maxBackoff": "20ms"},
    "circuitBreaker": {"consecutiveFailures": 3, "openFor": "200ms", "maxOpenFor": "400ms"},
    "limits": {"requestsPerSecond": 500, "burst": 100, "inFlight": 50},
}
"""An authority that gives up soon and is asked again soon."""


async def two_authorities(stage: Stage, name: str = "web", **spec: Any) -> None:
    """An issuer with the CDN first and the in-process CA second."""
    authorities = [stage.edge(**QUICK), stage.backup()]
    await stage.apply(objects.issuer(name, authorities, namespace=NAMESPACE, **spec))


async def one_authority(stage: Stage, name: str = "alone", **spec: Any) -> None:
    """An issuer with the CDN and nothing else."""
    await stage.apply(objects.issuer(name, [stage.edge(**QUICK)], namespace=NAMESPACE, **spec))


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


def signatures(stage: Stage) -> int:
    """How often the provider was asked to sign."""
    return stage.cdn.calls["POST /certificates"]


def events(stage: Stage, name: str) -> list[tuple[str, str, str]]:
    """Type, reason and message of the events about an object."""
    return [
        (event["type"], event["reason"], event["message"])
        for event in stage.cluster.list("events")
        if event["involvedObject"]["name"] == name
    ]


async def told(stage: Stage, name: str, reason: str) -> str:
    """The message of the event with that reason about an object, once it is there."""
    found: list[str] = []

    def there() -> bool:
        found[:] = [message for _, why, message in events(stage, name) if why == reason]
        return bool(found)

    await stage.cluster.wait_for(there)
    return found[0]
