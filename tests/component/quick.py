"""A controller in a hurry, authorities that fail at once, and what an approver or a policy says to a request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from issuer.controllers.pace import Pace
from tests.component import harness, rig

if TYPE_CHECKING:
    from issuer.api.request import CertificateRequest
    from issuer.cli.stage import Stage
    from issuer.controllers.program import Options

REQUESTS: Final = "certificaterequests"
BOUND: Final = 3.0
"""Seconds for what takes a few tenths of one once it is right; a fault that shows as silence costs them in each run."""

ONE_TRY: Final[dict[str, Any]] = {
    **harness.QUICK,
    "retry": {"attempts": 1},
    "circuitBreaker": {"consecutiveFailures": 100},
}
"""An authority that gets one call in each turn, and a breaker that stays closed."""
PATIENT: Final[dict[str, Any]] = {
    **ONE_TRY,
    "timeouts": {"connect": "5s", "read": "60s", "attempt": "60s", "turn": "2m"},
}
"""The same, and one that hangs is waited for as long as by default."""


def hurried(**fields: Any) -> Options:
    """Options of a controller without rivals that tries again soon and stops soon."""
    pace = Pace(first=0.05, largest=0.2, first_write=0.02, largest_write=0.1)
    return rig.options(**({"leader_election": False, "grace": 0.5, "pace": pace} | fields))


async def led(stage: Stage) -> None:
    """Wait until the controller works: what is asked from then on is new to it."""
    await rig.until(lambda: stage.program.is_leading)


def ago(**time: float) -> datetime:
    """A moment in the past, in whole seconds as Kubernetes writes them; the arguments are a timedelta's."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(**time)


async def say(stage: Stage, name: str, *types: str, when: datetime | None = None) -> None:
    """Add conditions to a request, as an approver, a policy or an auditor would."""
    stamp = (when or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    added = [
        {"type": type_, "status": "True", "reason": "Test", "message": "said by the test", "lastTransitionTime": stamp}
        for type_ in types
    ]
    status = stage.cluster.get(REQUESTS, stage.namespace, name).get("status") or {}
    conditions = [*status.get("conditions", ()), *added]
    await stage.cluster.set_status(REQUESTS, stage.namespace, name, {**status, "conditions": conditions})


async def heard(stage: Stage, name: str, timeout: float = BOUND) -> CertificateRequest:
    """The request, once it has a Ready condition.

    Raises:
        TimeoutError: it has none, after so many seconds.
    """
    await rig.until(lambda: rig.request(stage, name).ready is not None, timeout)
    return rig.request(stage, name)


async def ended(stage: Stage, name: str, timeout: float = BOUND) -> CertificateRequest:
    """The request, once it has ended.

    Raises:
        TimeoutError: it has not, after so many seconds.
    """
    await stage.finished([name], timeout)
    return rig.request(stage, name)


def reason(request: CertificateRequest) -> str:
    """Of the Ready condition; empty where there is none."""
    return request.ready.reason if request.ready else ""


def ready_message(stage: Stage, name: str) -> str:
    """What the Ready condition of an issuer says; empty if it has none."""
    conditions = stage.cluster.get("cdnissuers", stage.namespace, name).get("status", {}).get("conditions", [])
    return "".join(c["message"] for c in conditions if c["type"] == "Ready")


def ready_issuers(stage: Stage) -> int:
    """How many issuers show that they are ready."""
    found = [issuer.get("status", {}).get("conditions", []) for issuer in stage.cluster.list("cdnissuers")]
    return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in conditions) for conditions in found)
