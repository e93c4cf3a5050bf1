"""The whole controller with each fault of the provider: somebody signs, once, and the condition tells why.

One controller over HTTP between the sandbox's two servers; only the time-outs are short.
"""

from __future__ import annotations

from typing import Any

import pytest

from issuer.api.request import signer_of
from issuer.cli.stage import NAMESPACE, Stage
from issuer.sandbox import objects
from tests.component.harness import ended, live, message, one_authority, pending, signatures, told, two_authorities

DOWN: list[tuple[str, dict[str, Any], str]] = [
    ("hang", {}, "no answer within"),
    ("hang-after", {}, "no answer within"),
    ("slow", {"seconds": 5}, "no answer within"),
    ("reset-before", {}, "connection"),
    ("reset-after", {}, "connection"),
    ("status", {"status": 503}, "HTTP 503"),
    ("status", {"status": 503, "done": True}, "HTTP 503"),
    ("status", {"status": 522}, "HTTP 522"),
    ("broken-json", {}, "not JSON"),
    ("empty-errors", {}, "did not say why"),
    ("huge", {"size": 5_000_000}, "longer than"),
    ("truncated", {}, "certificate"),
    ("foreign", {}, "another key"),
    ("wrong-names", {}, "lacks"),
    ("expired", {}, "expired"),
    ("rate-limited", {"seconds": 600}, "too many requests"),
    ("unauthorized", {}, "Authentication error"),
    ("rejected", {"code": 1100, "message": "Failed to write certificate to Database"}, "code 1100"),
]
SIGNS_ALL_THE_SAME = {"hang-after", "reset-after", "broken-json", "status", "huge", "slow"}
"""After these the certificate may be there although the answer was lost: then it is found and adopted."""
SIGNING = {"methods": ["POST"]}
"""The fault hits the signing alone: looking for lost certificates and revoking them still work."""


def case_id(case: object) -> str:
    return case if isinstance(case, str) else ""


@pytest.mark.parametrize(("fault", "settings", "why"), DOWN, ids=case_id)
async def test_the_second_authority_signs_when_the_first_is_in_trouble(
    fault: str, settings: dict[str, Any], why: str
) -> None:
    async with Stage() as stage:
        await two_authorities(stage)
        stage.cdn.faults.set(fault, **SIGNING, **settings)
        csr = await stage.ask("www", "web")
        request = await ended(stage, "www")
        made_after_all = signer_of(request) == "edge"
        if made_after_all:
            assert fault in SIGNS_ALL_THE_SAME
        else:
            assert signer_of(request) == "backup"
            told_why = next(c.message for c in request.status.conditions if c.type == "cdn-issuer.io/Authority")
            assert why in told_why
        if made_after_all:
            assert live(stage, csr) == 1


@pytest.mark.parametrize(
    ("fault", "settings", "why"),
    [*(case for case in DOWN if case[0] not in ("rate-limited", "unauthorized")), ("rate-limited", {"seconds": 1}, "")],
    ids=case_id,
)
async def test_with_one_authority_the_request_stays_pending_and_is_signed_when_the_provider_is_back(
    fault: str, settings: dict[str, Any], why: str
) -> None:
    async with Stage() as stage:
        await one_authority(stage)
        stage.cdn.faults.set(fault, **settings)
        csr = await stage.ask("www", "alone")
        request = await pending(stage, "www")
        assert why in message(request)
        assert request.status.failure_time is None
        stage.cdn.faults.clear()
        stage.program.request_controller.wake()
        request = await ended(stage, "www")
        assert signer_of(request) == "edge"
        assert live(stage, csr) >= 1


async def test_a_rejected_hostname_fails_at_once_with_what_the_provider_said() -> None:
    async with Stage() as stage:
        await two_authorities(stage)
        await stage.ask("elsewhere", "web", "www.example.org")
        request = await ended(stage, "elsewhere")
        assert request.status.failure_time
        assert "code 1010" in message(request)
        assert "trace" in message(request)
        assert "-SBX" in message(request)
        assert await told(stage, "elsewhere", "AuthorityRejected") == message(request)
        assert signatures(stage) == 1


async def test_an_open_breaker_lets_nothing_through() -> None:
    async with Stage() as stage:
        authority = stage.edge(
            timeouts={"connect": "300ms", "read": "300ms", "attempt": "300ms", "turn": "1s"},
            retry={"attempts": 1},
            circuitBreaker={"consecutiveFailures": 2, "openFor": "10m", "maxOpenFor": "10m"},
            limits={"requestsPerSecond": 500, "burst": 100, "inFlight": 50},
        )
        await stage.apply(objects.issuer("web", [authority, stage.backup()], namespace=NAMESPACE))
        stage.cdn.faults.set("status", status=503)
        for name in ("one", "two"):
            await stage.ask(name, "web")
            await ended(stage, name)
        asked = signatures(stage)
        names = [f"later-{number}" for number in range(20)]
        for name in names:
            await stage.ask(name, "web")
        await stage.finished(names)
        assert signatures(stage) == asked
        assert {signer_of(stage.requests()[name]) for name in names} == {"backup"}
