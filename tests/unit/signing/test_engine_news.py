"""What the engine tells its observer beside calls and breakers: repeats, waits, adoptions, orphans; and its use."""

from __future__ import annotations

import asyncio

import pytest

from issuer.signing.account import TELL_EVERY
from issuer.signing.limits import USE_FADES, Limits, LimitSettings
from issuer.signing.observer import AccountUser
from issuer.signing.plan import Issued
from tests.unit.signing.signing_case import (
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


async def test_an_attempt_that_is_repeated_is_told_with_the_cause_and_the_first_is_none() -> None:
    heard, edge = Heard(), FakeAuthority(Provider("edge").will("refused", "refused"))
    assert isinstance(await engine(heard).sign(order(), plan_of(edge), deadline=3600), Issued)
    assert heard.retries == [("shop/cdn", "edge", "Unavailable")] * 2


async def test_a_wait_for_our_own_limits_is_told_in_seconds() -> None:
    heard, edge = Heard(), FakeAuthority(Provider("edge", default=Step("ok", after=5)))
    plan, machine = plan_of(planned(edge, common(in_flight=1))), engine(heard)
    await asyncio.gather(*(machine.sign(order(f"u{n}"), plan, deadline=3600) for n in range(3)))
    assert {wait[:3] for wait in heard.waits} == {("shop/cdn", "edge", "own")}
    assert sum(wait[3] for wait in heard.waits) == pytest.approx(5 + 10, abs=0.1)


async def test_a_wait_for_the_end_of_a_rate_limit_is_the_providers() -> None:
    heard, edge = Heard(), FakeAuthority(Provider("edge").will(Step("limited", retry_after=7)))
    assert isinstance(await engine(heard).sign(order(), plan_of(edge), deadline=3600), Issued)
    assert {limit for _, _, limit, _ in heard.waits} == {"provider"}
    # The backoff before the next attempt takes its part of the seven seconds, and is no wait for a limit.
    assert 5 < sum(seconds for *_, seconds in heard.waits) <= 7


async def test_an_adoption_is_told_and_a_signature_is_none() -> None:
    heard, edge = Heard(), FakeAuthority(Provider("edge").will("ok", "reset_signed"))
    machine, plan = engine(heard), plan_of(edge)
    await machine.sign(order("a"), plan, deadline=3600)
    assert heard.adoptions == []
    await machine.sign(order("b"), plan, deadline=3600)
    assert heard.adoptions == [("shop/cdn", "edge")]


async def test_an_orphan_is_told_when_it_is_revoked_and_suspected_by_its_authority_until_then() -> None:
    heard, edge = Heard(), FakeAuthority(Provider("edge").will(Step("hang_signed", late=20)))
    backup = FakeAuthority(Provider("backup"), "backup", account="backup/1", remembers=False)
    machine = engine(heard)
    outcome = await machine.sign(
        order(), plan_of(planned(edge, common(attempts=1, failures=100)), backup), deadline=3600
    )
    assert isinstance(outcome, Issued)
    assert machine.suspected() == {AccountUser("edge", "CDNIssuer", "shop/cdn"): 1}
    await asyncio.sleep(300)
    machine.settle("uid-1", outcome.fingerprint)
    await machine.clean_up()
    assert heard.orphans == [("shop/cdn", "edge", "revoked")]
    await asyncio.sleep(300)
    await machine.clean_up()
    assert not machine.suspected()


async def test_how_much_of_a_limit_was_used_lately_rises_to_all_of_it_and_fades() -> None:
    limits = Limits(LimitSettings(rate=4, burst=8, in_flight=100), clock=clock)
    assert limits.used == 0
    for _ in range(4 * 300):
        (await limits.acquire(clock() + 60)).release()
    assert limits.used == pytest.approx(1, abs=0.05)
    await asyncio.sleep(USE_FADES)
    assert limits.used == pytest.approx(1 / 2.718, abs=0.05)
    await asyncio.sleep(20 * USE_FADES)
    assert limits.used == pytest.approx(0, abs=0.001)


async def test_a_token_that_was_given_back_was_not_used() -> None:
    limits = Limits(LimitSettings(rate=1, burst=8, in_flight=100), clock=clock)
    (await limits.acquire(clock() + 60)).release(unused=True)
    assert limits.used == 0


@pytest.mark.parametrize("fault", ["http500", "its own", Step("limited", retry_after=1)])
async def test_the_first_failure_since_it_signed_is_told_and_no_other(fault: Step | str) -> None:
    heard, edge = Heard(), FakeAuthority(Provider("edge").will("ok", fault, fault, "ok"))
    machine, plan = engine(heard), plan_of(planned(edge, common(attempts=1, failures=100)))
    told = []
    for number in range(4):
        await machine.sign(order(f"u{number}"), plan, deadline=3600)
        told.append(len(heard.failing_accounts))
        await asyncio.sleep(TELL_EVERY)
    assert told == [0, 1, 1, 1]


async def test_one_that_fails_every_other_call_is_told_of_now_and_then() -> None:
    heard, edge = Heard(), FakeAuthority(Provider("edge").will(*("http500", "ok") * 50))
    machine, plan = engine(heard), plan_of(planned(edge, common(attempts=1, failures=100)))
    for number in range(100):
        await machine.sign(order(f"u{number}"), plan, deadline=3600)
    assert 1 <= len(heard.failing_accounts) <= 1 + clock() / TELL_EVERY


async def test_a_check_that_fails_is_told_by_whoever_asked_for_it() -> None:
    heard, edge = Heard(), FakeAuthority(Provider("edge", check_step=Step("http500")))
    machine, plan = engine(heard), plan_of(edge)
    await machine.check(plan.authorities[0])
    assert heard.failing_accounts == []
