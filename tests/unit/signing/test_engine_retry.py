"""Attempts within a turn, and the times that bound them."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta

import pytest

from issuer.signing.failures import CutOff, LimitInForce
from issuer.signing.plan import Issued, NotIssued
from tests.unit.signing.signing_case import (
    START,
    FakeAuthority,
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


def edge_will(*steps: Step | str, default: str = "ok") -> FakeAuthority:
    return FakeAuthority(Provider("edge", default=Step(default)).will(*steps))


async def test_a_failure_is_tried_again_and_then_signed() -> None:
    edge = edge_will("refused", "refused")
    outcome = await engine().sign(order(), plan_of(edge), deadline=3600)
    assert isinstance(outcome, Issued)
    assert edge.provider.count("sign") == 3


async def test_no_more_attempts_than_configured_are_made() -> None:
    edge = edge_will(default="refused")
    spec = common(attempts=2, failures=100)
    await engine().sign(order(), plan_of(planned(edge, spec)), deadline=3600)
    assert edge.provider.count("sign") == 2


async def test_the_waits_between_attempts_stay_below_their_doubling_bounds() -> None:
    edge = edge_will(default="refused")
    spec = common(attempts=6, failures=100, backoff=("1s", "4s"), turn="10m")
    await engine().sign(order(), plan_of(planned(edge, spec)), deadline=3600)
    calls = edge.provider.calls
    waits = [later.begun - (earlier.ended or 0) for earlier, later in itertools.pairwise(calls)]
    assert all(wait <= bound + 0.01 for wait, bound in zip(waits, [1, 2, 4, 4, 4], strict=True))
    assert len({round(wait, 3) for wait in waits}) > 1


async def test_a_late_first_turn_is_one_attempt() -> None:
    edge = edge_will(default="refused")
    await engine().sign(order(), plan_of(edge), deadline=3600, single_attempt=True)
    assert edge.provider.count("sign") == 1


async def test_a_hanging_call_is_cut_off_after_the_attempt_time() -> None:
    edge = edge_will(default="hang")
    spec = common(attempt="10s", attempts=1)
    outcome = await engine().sign(order(), plan_of(planned(edge, spec)), deadline=3600)
    assert isinstance(outcome, NotIssued)
    (sign,) = [call for call in edge.provider.calls if call.kind == "sign"]
    assert sign.ended == pytest.approx(10, abs=0.01)
    failure = outcome.failures[0]
    assert isinstance(failure, CutOff)
    assert failure.after == pytest.approx(10)


async def test_the_timeouts_of_a_call_are_cut_to_what_is_left() -> None:
    edge = edge_will()
    spec = common(attempt="60s", turn="2m")
    await engine().sign(order(), plan_of(planned(edge, spec), deadline=3), deadline=3)
    assert edge.provider.calls[0].timeouts.connect == pytest.approx(3, abs=0.01)
    assert edge.provider.calls[0].timeouts.read == pytest.approx(3, abs=0.01)


async def test_all_attempts_together_stay_within_the_turn() -> None:
    edge = edge_will(default="hang")
    spec = common(attempt="10s", turn="25s", attempts=10, failures=100)
    await engine().sign(order(), plan_of(planned(edge, spec)), deadline=3600)
    last_sign = [call for call in edge.provider.calls if call.kind == "sign"][-1]
    assert last_sign.ended is not None
    assert last_sign.ended <= 25.01


async def test_nothing_goes_on_beyond_the_deadline() -> None:
    edge = edge_will(default="hang")
    spec = common(attempt="10s", turn="60s", attempts=10, failures=100)
    await engine().sign(order(), plan_of(planned(edge, spec)), deadline=17)
    assert clock() <= 17.01


async def test_a_deadline_that_has_passed_makes_no_call() -> None:
    edge = edge_will()
    await asyncio.sleep(10)
    outcome = await engine().sign(order(), plan_of(edge), deadline=9)
    assert isinstance(outcome, NotIssued)
    assert not outcome.attempted
    assert outcome.failures == (), "nobody was asked, so nobody is to blame"
    assert edge.provider.calls == []


async def test_a_call_with_hardly_any_time_is_not_made() -> None:
    edge = edge_will()
    outcome = await engine().sign(order(), plan_of(edge), deadline=0.05)
    assert isinstance(outcome, NotIssued)
    assert edge.provider.calls == []


async def test_an_attempt_that_the_deadline_cut_short_does_not_count_against_the_authority() -> None:
    edge = edge_will(default="hang")
    plan, machine = plan_of(planned(edge, common(attempt="60s", attempts=2, turn="70s", failures=2))), engine()
    machine._registry.account("edge/token-1").usual = 1
    await machine.sign(order(), plan, deadline=3600)
    assert edge.provider.count("sign") == 2
    assert machine.states(plan)[0].state != "Open"


async def test_retry_after_is_honoured_if_it_fits_into_the_turn() -> None:
    edge = edge_will(Step("limited", retry_after=20))
    outcome = await engine().sign(order(), plan_of(edge), deadline=3600)
    assert isinstance(outcome, Issued)
    first, second = edge.provider.calls
    assert first.ended is not None
    assert 20 <= second.begun - first.ended <= 21


async def test_rate_limits_are_waited_out_for_no_longer_than_a_turn_in_all() -> None:
    edge = edge_will(*[Step("limited", retry_after=25)] * 9)
    plan = plan_of(planned(edge, common(attempts=9, turn="60s")))
    outcome = await engine().sign(order(), plan, deadline=3600)
    assert isinstance(outcome, NotIssued)
    assert edge.provider.count("sign") == 3
    assert clock() < 60


async def test_a_retry_after_beyond_the_turn_goes_to_the_next_one_at_once() -> None:
    edge = edge_will(Step("limited", retry_after=300), default="ok")
    backup = FakeAuthority(Provider("backup"), "backup", account="backup/1")
    outcome = await engine().sign(order(), plan_of(edge, backup), deadline=3600)
    assert isinstance(outcome, Issued)
    assert outcome.authority == "backup"
    assert clock() < 1


async def test_while_an_account_is_limited_nobody_asks_it_and_all_learn_until_when() -> None:
    edge = edge_will(Step("limited", retry_after=300))
    plan, machine = plan_of(edge), engine()
    await machine.sign(order("a"), plan, deadline=3600)
    outcome = await machine.sign(order("b"), plan, deadline=3600)
    assert isinstance(outcome, NotIssued)
    assert edge.provider.count("sign") == 1
    failure = outcome.failures[0]
    assert isinstance(failure, LimitInForce)
    assert failure.until - START == pytest.approx(timedelta(seconds=300.1), abs=timedelta(seconds=0.1))
    assert outcome.retry_in == pytest.approx(300, abs=0.2)
    assert outcome.attempted


async def test_rate_limits_without_a_time_are_met_with_growing_pauses() -> None:
    edge = edge_will(default="limited")
    spec = common(attempts=4, turn="10m")
    await engine().sign(order(), plan_of(planned(edge, spec)), deadline=3600)
    calls = edge.provider.calls
    waits = [later.begun - (earlier.ended or 0) for earlier, later in itertools.pairwise(calls)]
    assert all(wait >= least for wait, least in zip(waits, [1, 2, 4], strict=True))


async def test_rate_limits_never_open_the_breaker() -> None:
    edge = edge_will(default="limited")
    plan, machine = plan_of(planned(edge, common(attempts=10, failures=1, turn="1h"))), engine()
    await machine.sign(order(), plan, deadline=3600)
    assert edge.provider.count("sign") > 3
    assert machine.states(plan)[0].state == "Degraded"


async def test_what_may_never_be_asked_again_soon_leaves_the_backoff_to_the_caller() -> None:
    edge = edge_will(default="refused")
    outcome = await engine().sign(order(), plan_of(planned(edge, common(failures=100))), deadline=3600)
    assert isinstance(outcome, NotIssued)
    assert outcome.retry_in == 0
