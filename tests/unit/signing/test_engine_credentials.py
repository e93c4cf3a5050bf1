"""Refused, rotated and missing credentials."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from issuer.api.secret import SecretForbiddenError, SecretMissingError
from issuer.authorities.errors import Unauthorized, Unavailable
from issuer.signing.failures import CredentialRefused
from issuer.signing.plan import Issued, NotIssued
from tests.unit.signing.signing_case import (
    START,
    FakeAuthority,
    Heard,
    Provider,
    Step,
    clock,
    common,
    engine,
    order,
    plan_of,
    planned,
)

pytestmark = pytest.mark.looptime


async def test_after_a_refusal_the_secret_is_read_again_and_a_new_credential_used_at_once() -> None:
    edge = FakeAuthority(Provider("edge").will("unauthorized"), fresh_account="edge/token-2")
    outcome = await engine().sign(order(), plan_of(edge), deadline=3600)
    assert isinstance(outcome, Issued)
    assert [call.account for call in edge.provider.calls] == ["edge/token-1", "edge/token-2"]
    assert clock() < 1


async def test_the_new_credential_is_tried_once_and_not_for_ever() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("unauthorized")), fresh_account="edge/token-2")
    outcome = await engine().sign(order(), plan_of(edge), deadline=3600)
    assert isinstance(outcome, NotIssued)
    assert edge.provider.count("sign") == 2
    assert edge.fresh_reads == 1


async def test_the_same_credential_is_not_tried_again_at_once() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("unauthorized")))
    plan, machine = plan_of(edge), engine()
    await machine.sign(order("a"), plan, deadline=3600)
    outcome = await machine.sign(order("b"), plan, deadline=3600)
    assert isinstance(outcome, NotIssued)
    assert edge.provider.count("sign") == 1
    failure = outcome.failures[0]
    assert isinstance(failure, CredentialRefused)
    refusal = "edge: authentication error (HTTP 403, code 10000)"
    assert str(failure) == f"{refusal}; next attempt at 2026-01-01T00:00:30Z"
    assert failure.final == refusal
    assert failure.refusal.message == "authentication error"
    assert failure.until == START + timedelta(seconds=30.1)
    assert outcome.retry_in == pytest.approx(30, abs=0.2)


async def test_it_is_tried_again_later_with_growing_pauses_up_to_five_minutes() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("unauthorized")))
    plan, machine = plan_of(edge), engine()
    waits = []
    for number in range(6):
        outcome = await machine.sign(order(f"u{number}"), plan, deadline=1e6)
        assert isinstance(outcome, NotIssued)
        waits.append(round(outcome.retry_in))
        await asyncio.sleep(outcome.retry_in)
    assert waits == [30, 60, 120, 240, 300, 300]


async def test_refusals_of_calls_that_were_under_way_together_count_as_one() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("unauthorized")))
    plan, machine = plan_of(edge), engine()
    outcomes = await asyncio.gather(*(machine.sign(order(f"u{n}"), plan, deadline=3600) for n in range(10)))
    assert max(outcome.retry_in for outcome in outcomes if isinstance(outcome, NotIssued)) <= 30


async def test_a_credential_that_is_accepted_again_is_told_and_starts_anew() -> None:
    heard = Heard()
    edge = FakeAuthority(Provider("edge").will("unauthorized"))
    plan, machine = plan_of(edge), engine(heard)
    await machine.sign(order("a"), plan, deadline=3600)
    assert heard.recoveries == []
    await asyncio.sleep(30)
    assert isinstance(await machine.sign(order("b"), plan, deadline=3600), Issued)
    assert heard.recoveries == ["edge/token-1"]
    assert machine.states(plan)[0].state == "Available"


async def test_a_rotated_credential_that_is_accepted_is_told_as_well() -> None:
    heard = Heard()
    edge = FakeAuthority(Provider("edge").will("unauthorized"))
    plan, machine = plan_of(edge), engine(heard)
    await machine.sign(order("a"), plan, deadline=3600)
    edge.account = "edge/token-2"
    await machine.check(plan.authorities[0])
    assert heard.recoveries == ["edge/token-2"]


async def test_a_missing_secret_fails_over_and_says_so_without_touching_the_breaker() -> None:
    heard = Heard()
    edge = FakeAuthority(Provider("edge"), session_error=Unauthorized("edge", "Secret cloudflare has no key token"))
    backup = FakeAuthority(Provider("backup"), "backup", account="backup/1")
    plan = plan_of(planned(edge, common(failures=1)), backup)
    machine = engine(heard)
    outcome = await machine.sign(order(), plan, deadline=3600)
    assert isinstance(outcome, Issued)
    assert outcome.authority == "backup"
    health = machine.states(plan)[0]
    assert (health.state, health.message) == ("Misconfigured", "Secret cloudflare has no key token")
    assert heard.breakers == []


@pytest.mark.parametrize(
    ("cause", "state"),
    [
        (SecretMissingError("demo", "absent", "does not exist"), "SecretNotFound"),
        (SecretForbiddenError("demo", "absent", "may not be read"), "Misconfigured"),
        (None, "Misconfigured"),
    ],
)
async def test_what_is_wrong_with_a_secret_is_another_state_and_reason_than_a_refusal(
    cause: Exception | None, state: str
) -> None:
    error = Unauthorized("edge", "Secret demo/absent ...", code="SecretMissing")
    error.__cause__ = cause
    edge = FakeAuthority(Provider("edge"), session_error=error)
    plan, machine = plan_of(edge), engine()
    await machine.check(plan.authorities[0])
    health = machine.states(plan)[0]
    assert (health.state, health.message) == (state, "Secret demo/absent ...")
    outcome = await machine.sign(order(), plan, deadline=3600)
    assert isinstance(outcome, NotIssued)
    (failure,) = outcome.failures
    assert (failure.cause, failure.reason, str(failure)) == ("Unauthorized", state, "edge: Secret demo/absent ...")


async def test_a_secret_that_comes_back_is_told() -> None:
    heard = Heard()
    edge = FakeAuthority(Provider("edge"), session_error=Unauthorized("edge", "no Secret"))
    plan, machine = plan_of(edge), engine(heard)
    await machine.check(plan.authorities[0])
    edge.session_error = None
    await machine.check(plan.authorities[0])
    assert heard.recoveries == ["edge/token-1"]


async def test_a_kubernetes_api_that_does_not_answer_is_no_failure_of_the_authority() -> None:
    edge = FakeAuthority(Provider("edge"))
    plan, machine = plan_of(planned(edge, common(failures=1))), engine()
    await machine.sign(order("a"), plan, deadline=3600)
    edge.session_error = Unavailable("edge", "the Kubernetes API did not answer")
    await machine.sign(order("b"), plan, deadline=3600)
    assert machine.states(plan)[0].state == "Degraded"
    edge.session_error = None
    assert isinstance(await machine.sign(order("c"), plan, deadline=3600), Issued)


async def test_a_check_remembers_a_refusal() -> None:
    edge = FakeAuthority(Provider("edge", check_step=Step("unauthorized")))
    plan, machine = plan_of(edge), engine()
    await machine.check(plan.authorities[0])
    assert machine.states(plan)[0].state == "Unauthorized"
    outcome = await machine.sign(order(), plan, deadline=3600)
    assert isinstance(outcome, NotIssued)
    assert edge.provider.count("sign") == 0


async def test_a_check_that_is_accepted_takes_back_what_a_check_has_found() -> None:
    heard = Heard()
    edge = FakeAuthority(Provider("edge", check_step=Step("unauthorized")))
    plan, machine = plan_of(edge), engine(heard)
    await machine.check(plan.authorities[0])
    edge.provider.check_step = Step("ok")
    await asyncio.sleep(15)
    await machine.check(plan.authorities[0])
    assert isinstance(await machine.sign(order("b"), plan, deadline=3600), Issued)
    assert heard.recoveries == ["edge/token-1"]


async def test_a_check_that_is_accepted_takes_back_no_refusal_of_a_signature() -> None:
    """A token that is alive and may not sign."""
    heard = Heard()
    edge = FakeAuthority(Provider("edge", default=Step("unauthorized")))
    plan, machine = plan_of(edge), engine(heard)
    outcome = await machine.sign(order("a"), plan, deadline=3600)
    for _ in range(20):
        await machine.check(plan.authorities[0])
        assert machine.states(plan)[0].state == "Unauthorized"
        await asyncio.sleep(20)
    assert heard.recoveries == []
    assert edge.provider.count("sign") == 1
    assert isinstance(outcome, NotIssued)


async def test_a_good_credential_does_not_close_a_breaker() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("refused")))
    plan, machine = plan_of(planned(edge, common(attempts=1, failures=1))), engine()
    await machine.sign(order(), plan, deadline=3600)
    await machine.check(plan.authorities[0])
    assert machine.states(plan)[0].state == "Open"
    assert edge.provider.count("check") == 0


async def test_a_check_that_an_open_breaker_kept_back_is_made_as_soon_as_it_closes() -> None:
    edge = FakeAuthority(Provider("edge").will("refused"))
    plan, machine = plan_of(planned(edge, common(attempts=1, failures=1))), engine()
    await machine.sign(order("a"), plan, deadline=3600)
    await machine.check(plan.authorities[0])
    await asyncio.sleep(36)
    assert isinstance(await machine.sign(order("probe"), plan, deadline=3600), Issued)
    await machine.check(plan.authorities[0])
    assert edge.provider.count("check") == 1


async def test_an_account_that_wants_no_calls_is_not_checked() -> None:
    edge = FakeAuthority(Provider("edge").will(Step("limited", retry_after=300)))
    plan, machine = plan_of(edge), engine()
    await machine.sign(order(), plan, deadline=3600)
    await machine.check(plan.authorities[0])
    assert edge.provider.count("check") == 0
    await asyncio.sleep(300)
    await machine.check(plan.authorities[0])
    assert edge.provider.count("check") == 1


async def test_a_check_that_hangs_ends() -> None:
    edge = FakeAuthority(Provider("edge", check_step=Step("ok", after=1e5)))
    plan, machine = plan_of(edge), engine()
    await machine.check(plan.authorities[0])
    assert clock() <= 11
    assert machine.states(plan)[0].state == "Degraded"
