"""What the issuer's status shows of each authority."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from issuer.signing.failures import moment
from tests.unit.signing.signing_case import (
    START,
    FakeAuthority,
    Heard,
    Provider,
    Step,
    common,
    engine,
    order,
    plan_of,
    planned,
)

if TYPE_CHECKING:
    from issuer.signing.health import AuthorityHealth

pytestmark = pytest.mark.looptime


async def health_after(*steps: Step | str, wait: float = 0.0, failures: int = 100) -> AuthorityHealth:
    edge = FakeAuthority(Provider("edge").will(*steps))
    plan, machine = plan_of(planned(edge, common(attempts=1, failures=failures))), engine()
    for number, _ in enumerate(steps):
        await machine.sign(order(f"u{number}"), plan, deadline=3600)
    await asyncio.sleep(wait)
    return machine.states(plan)[0]


async def test_before_anything_is_known_it_is_unknown() -> None:
    assert (await health_after()).state == "Unknown"


async def test_after_a_signature_it_is_available_with_the_time() -> None:
    health = await health_after("ok")
    assert (health.state, health.message) == ("Available", "")
    assert health.last_success == START + timedelta(seconds=0.1)
    assert health.last_failure is None


async def test_after_a_failure_it_is_degraded_with_the_reason() -> None:
    health = await health_after("ok", "refused")
    assert (health.state, health.message) == ("Degraded", "connection refused")
    assert health.last_failure is not None


async def test_a_failure_of_long_ago_is_no_longer_shown() -> None:
    assert (await health_after("refused", wait=601)).state == "Available"


async def test_after_failure_and_success_it_is_available() -> None:
    assert (await health_after("refused", "ok")).state == "Available"


async def test_an_open_breaker_is_shown_with_the_time_of_the_next_probe() -> None:
    health = await health_after("refused", failures=1)
    assert health.state == "Open"
    assert health.open_until is not None
    probe = moment(health.open_until)
    assert (
        health.message == f"circuit breaker open after 1 failure, next attempt at {probe}; the last: connection refused"
    )
    assert timedelta(seconds=30) <= health.open_until - START <= timedelta(seconds=37)


async def test_an_open_breaker_says_the_same_at_each_look_until_a_probe_is_due() -> None:
    edge = FakeAuthority(Provider("edge").will("refused"))
    plan, machine = plan_of(planned(edge, common(attempts=1, failures=1))), engine()
    await machine.sign(order(), plan, deadline=3600)
    said = set()
    for _ in range(28):
        said.add(machine.states(plan)[0].message)
        await asyncio.sleep(1.001)
    assert len(said) == 1


async def test_an_account_that_nobody_has_come_to_since_its_breaker_was_open_says_that_the_next_request_probes_it() -> (
    None
):
    health = await health_after("refused", failures=1, wait=60)
    assert health.state == "Untested"
    assert health.message == (
        "untested since 2026-01-01T00:00:30Z, the next request probes it; before that 1 failure; "
        "the last: connection refused"
    )


@pytest.mark.parametrize(
    ("step", "state", "check", "message"),
    [("ok", "Available", "passed", ""), ("refused", "Degraded", "failed", "connection refused")],
)
async def test_how_a_check_ended_is_told_apart_from_how_signatures_ended(
    step: str, state: str, check: str, message: str
) -> None:
    edge = FakeAuthority(Provider("edge", check_step=Step(step)))
    plan, machine = plan_of(edge), engine()
    assert machine.states(plan)[0].check == ""
    await machine.check(plan.authorities[0])
    health = machine.states(plan)[0]
    assert (health.state, health.check, health.message, health.last_success) == (state, check, message, None)


async def test_a_failed_check_is_not_to_blame_for_what_a_signature_found() -> None:
    assert (await health_after("refused")).check == ""


async def test_the_first_signature_of_an_account_is_told_once() -> None:
    heard = Heard()
    plan, machine = plan_of(FakeAuthority(Provider("edge"))), engine(heard)
    await machine.check(plan.authorities[0])
    assert heard.proofs == []
    for number in range(3):
        await machine.sign(order(f"u{number}"), plan, deadline=3600)
    assert heard.proofs == ["edge/token-1"]


async def test_a_rate_limit_is_shown_with_its_end() -> None:
    health = await health_after(Step("limited", retry_after=300))
    assert (health.state, health.message) == ("Degraded", "rate-limited until 2026-01-01T00:05:00Z")


async def test_a_rejected_request_is_nothing_against_the_authority() -> None:
    assert (await health_after("rejected")).state == "Available"


async def test_a_refused_credential_is_shown() -> None:
    health = await health_after("unauthorized")
    assert (health.state, health.message) == ("Unauthorized", "authentication error")
