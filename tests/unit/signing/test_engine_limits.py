"""Our own limits, shared by all issuers of an account, and what waiting for them means."""

from __future__ import annotations

import asyncio
import random

import pytest

from issuer.signing.account import Account
from issuer.signing.failures import NoTime, QueueTooLong
from issuer.signing.observer import NullObserver
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


async def test_waiting_for_our_own_limits_does_not_use_up_the_turn() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("ok", after=5)))
    spec = common(attempt="10s", turn="10s", in_flight=1)
    plan, machine = plan_of(planned(edge, spec)), engine()
    outcomes = await asyncio.gather(*(machine.sign(order(f"u{n}"), plan, deadline=3600) for n in range(20)))
    assert [outcome.authority for outcome in outcomes if isinstance(outcome, Issued)] == ["edge"] * 20
    assert clock() == pytest.approx(100, abs=0.1)


async def test_the_turn_stands_still_between_attempts_too_while_we_queue() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("ok", after=5)).will("refused"))
    spec = common(attempt="10s", turn="10s", in_flight=1, backoff=("1s", "1s"))
    plan, machine = plan_of(planned(edge, spec)), engine()
    first = asyncio.create_task(machine.sign(order("first"), plan, deadline=3600))
    await asyncio.sleep(0.05)
    others = [asyncio.create_task(machine.sign(order(f"u{n}"), plan, deadline=3600)) for n in range(4)]
    assert isinstance(await first, Issued)
    await asyncio.gather(*others)


async def test_a_queue_that_outlasts_the_deadline_is_not_an_attempt() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("ok", after=9)))
    plan, machine = plan_of(planned(edge, common(in_flight=1))), engine()
    first = asyncio.create_task(machine.sign(order("a"), plan, deadline=3600))
    await asyncio.sleep(0.1)
    outcome = await machine.sign(order("b"), plan, deadline=5)
    assert clock() == pytest.approx(5, abs=0.01)
    assert isinstance(outcome, NotIssued)
    assert not outcome.attempted
    assert not outcome.terminal
    assert isinstance(outcome.failures[0], QueueTooLong)
    await first


async def test_nobody_fails_at_its_deadline_in_a_queue_while_the_next_one_could_sign() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("hang")))
    backup = FakeAuthority(Provider("backup"), "backup", account="backup/1")
    spec = common(attempt="10m", turn="10m", in_flight=1)
    plan, machine = plan_of(planned(edge, spec), backup), engine()
    first = asyncio.create_task(machine.sign(order("a"), plan, deadline=3600))
    await asyncio.sleep(0.1)
    outcome = await machine.sign(order("b"), plan, deadline=60)
    assert isinstance(outcome, Issued)
    assert outcome.authority == "backup"
    assert clock() < 60
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_issuers_of_the_same_account_share_its_limits_and_the_strictest_wins() -> None:
    provider = Provider("edge", default=Step("ok", after=1))
    wide = plan_of(planned(FakeAuthority(provider), common(in_flight=50)), name="wide")
    narrow = plan_of(planned(FakeAuthority(provider), common(in_flight=2)), name="narrow")
    machine = engine()
    await machine.check(narrow.authorities[0])
    began = clock()
    await asyncio.gather(*(machine.sign(order(f"u{n}"), wide, deadline=3600) for n in range(10)))
    assert clock() - began == pytest.approx(5, abs=0.1)


async def test_issuers_of_the_same_account_share_its_rate_and_the_lowest_wins() -> None:
    provider = Provider("edge")
    wide = plan_of(planned(FakeAuthority(provider), common(rate=1000, burst=1)), name="wide")
    narrow = plan_of(planned(FakeAuthority(provider), common(rate=1, burst=1)), name="narrow")
    machine = engine()
    await machine.check(narrow.authorities[0])
    await asyncio.gather(*(machine.sign(order(f"u{n}"), wide, deadline=3600) for n in range(5)))
    assert clock() == pytest.approx(5, abs=0.2)


async def test_another_account_of_the_same_provider_has_limits_of_its_own() -> None:
    provider = Provider("edge", default=Step("hang"))
    slow = plan_of(planned(FakeAuthority(provider), common(in_flight=1)), name="slow")
    other = plan_of(FakeAuthority(Provider("edge"), account="edge/other"), name="other")
    machine = engine()
    hanging = asyncio.create_task(machine.sign(order("a"), slow, deadline=3600))
    await asyncio.sleep(0)
    assert isinstance(await machine.sign(order("b"), other, deadline=3600), Issued)
    assert clock() < 1
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)


async def test_a_new_plan_takes_the_place_of_the_old_one() -> None:
    provider = Provider("edge", default=Step("ok", after=1))
    machine = engine()
    old = plan_of(planned(FakeAuthority(provider), common(in_flight=1)))
    await machine.sign(order("a"), old, deadline=3600)
    new = plan_of(planned(FakeAuthority(provider), common(in_flight=10)))
    began = clock()
    await asyncio.gather(*(machine.sign(order(f"u{n}"), new, deadline=3600) for n in range(10)))
    assert clock() - began == pytest.approx(1, abs=0.1)


async def test_an_issuer_that_is_gone_no_longer_limits_the_others() -> None:
    provider = Provider("edge", default=Step("ok", after=1))
    machine = engine()
    gone = plan_of(planned(FakeAuthority(provider), common(in_flight=1)), name="gone")
    stays = plan_of(planned(FakeAuthority(provider), common(in_flight=10)), name="stays")
    for plan in (gone, stays):
        await machine.sign(order(plan.key.name), plan, deadline=3600)
    machine.forget(gone)
    began = clock()
    await asyncio.gather(*(machine.sign(order(f"u{n}"), stays, deadline=3600) for n in range(10)))
    assert clock() - began == pytest.approx(1, abs=0.1)


async def test_a_breaker_opened_by_one_issuer_spares_the_others_of_the_account() -> None:
    provider = Provider("edge", default=Step("refused"))
    machine = engine()
    spec = common(attempts=1, failures=1)
    one = plan_of(planned(FakeAuthority(provider), spec), name="one")
    two = plan_of(planned(FakeAuthority(provider), spec), name="two")
    await machine.sign(order("a"), one, deadline=3600)
    await machine.sign(order("b"), two, deadline=3600)
    assert provider.count("sign") == 1


async def test_what_is_known_of_an_account_survives_a_new_plan() -> None:
    provider = Provider("edge", default=Step("refused"))
    machine = engine()
    spec = common(attempts=1, failures=1)
    await machine.sign(order("a"), plan_of(planned(FakeAuthority(provider), spec)), deadline=3600)
    await machine.sign(order("b"), plan_of(planned(FakeAuthority(provider), spec)), deadline=3600)
    assert provider.count("sign") == 1


async def test_what_nobody_has_used_for_long_is_forgotten() -> None:
    heard = Heard()
    machine = engine(heard)
    for number in range(50):
        plan = plan_of(FakeAuthority(Provider("edge"), account=f"edge/{number}"), name=f"issuer-{number}")
        await machine.sign(order(f"u{number}"), plan, deadline=1e9)
        await asyncio.sleep(600)
    assert len(machine._registry._states) < 10
    assert len(machine._registry._accounts) < 10
    assert heard.accounts == dict.fromkeys(machine._registry._accounts, "edge closed")


async def test_an_account_with_a_call_under_way_is_not_forgotten() -> None:
    heard = Heard()
    machine = engine(heard)
    edge = FakeAuthority(Provider("edge", default=Step("hang")), account="edge/slow")
    slow = plan_of(planned(edge, common(attempt="3h", turn="3h")), name="slow")
    hanging = asyncio.create_task(machine.sign(order(), slow, deadline=1e5))
    await asyncio.sleep(7200)
    machine.states(plan_of(FakeAuthority(Provider("edge")), name="other"))
    assert "edge/slow" in heard.accounts
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)


async def test_at_the_deadline_the_last_error_is_told_and_no_rate_limit_is_made_up() -> None:
    edge = FakeAuthority(Provider("edge").will("http500", "ok"))
    plan, machine = plan_of(planned(edge, common(attempts=1))), engine()
    await machine.sign(order(), plan, deadline=3600)
    outcome = await machine.sign(order(), plan, deadline=clock() + 0.05)
    assert isinstance(outcome, NotIssued)
    (failure,) = outcome.failures
    assert isinstance(failure, NoTime)
    assert failure.last is not None
    assert failure.last.status == 500


async def test_who_has_no_time_for_a_call_leaves_its_token_to_the_next() -> None:
    edge = FakeAuthority(Provider("edge"))
    plan, machine = plan_of(planned(edge, common(rate=0.001, burst=1, attempts=1))), engine()
    await machine.sign(order("in a hurry"), plan, deadline=0.05)
    assert isinstance(await machine.sign(order("with time"), plan, deadline=10), Issued)
    assert clock() < 1


@pytest.mark.parametrize(("left", "limited"), [(1.0, True), (1e-9, False), (0.0, False), (-1.0, False)])
async def test_a_rate_limit_with_less_left_than_a_timer_can_wait_is_over(left: float, limited: bool) -> None:
    account = Account("edge/1", clock=lambda: 7.0, now=lambda: START, random=random.Random(0), observer=NullObserver())
    account.limited_until = 7.0 + left
    assert bool(account.limited_for) is limited
    assert (account.blocked("edge") is not None) is limited
    assert account.blocked("edge", patience=-1.0) is None or limited
