"""Calls that may have signed although no answer came."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

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

if TYPE_CHECKING:
    from issuer.signing.engine import FailoverEngine

pytestmark = pytest.mark.looptime


def suspecting() -> FailoverEngine:
    machine = engine()
    machine.suspect("uid-1")
    return machine


def kinds(provider: Provider) -> list[str]:
    return [call.kind for call in provider.calls]


async def test_a_certificate_whose_answer_was_lost_is_found_and_adopted() -> None:
    edge = FakeAuthority(Provider("edge").will("reset_signed"))
    outcome = await engine().sign(order(), plan_of(edge), deadline=3600)
    assert isinstance(outcome, Issued)
    assert kinds(edge.provider) == ["sign", "find"]
    assert outcome.fingerprint == edge.provider.certificates[0].fingerprint


async def test_a_hanging_call_that_signed_is_adopted_too() -> None:
    edge = FakeAuthority(Provider("edge").will(Step("hang_signed", late=5)))
    outcome = await engine().sign(order(), plan_of(edge), deadline=3600)
    assert isinstance(outcome, Issued)
    assert len(edge.provider.certificates) == 1


async def test_before_a_second_post_comes_a_look() -> None:
    edge = FakeAuthority(Provider("edge").will("reset"))
    await engine().sign(order(), plan_of(edge), deadline=3600)
    assert kinds(edge.provider) == ["sign", "find", "sign"]


async def test_before_a_failover_comes_a_look() -> None:
    edge = FakeAuthority(Provider("edge").will("reset_signed"))
    backup = FakeAuthority(Provider("backup"), "backup", account="backup/1")
    plan = plan_of(planned(edge, common(attempts=1)), backup)
    outcome = await engine().sign(order(), plan, deadline=3600)
    assert isinstance(outcome, Issued)
    assert outcome.authority == "edge"


async def test_a_call_that_was_never_sent_needs_no_look() -> None:
    edge = FakeAuthority(Provider("edge").will("refused"))
    await engine().sign(order(), plan_of(edge), deadline=3600)
    assert kinds(edge.provider) == ["sign", "sign"]


async def test_an_authority_without_a_memory_is_never_looked_at() -> None:
    edge = FakeAuthority(Provider("edge").will("reset"), remembers=False)
    machine = engine()
    machine.suspect("uid-1")
    await machine.sign(order(), plan_of(edge), deadline=3600)
    assert kinds(edge.provider) == ["sign", "sign"]
    assert machine.orphans == 0


async def test_a_look_that_hangs_holds_the_failover_up_for_a_tenth_of_the_turn_only() -> None:
    edge = FakeAuthority(Provider("edge").will("reset").will_find("hang"))
    backup = FakeAuthority(Provider("backup"), "backup", account="backup/1")
    plan = plan_of(planned(edge, common(attempts=1, turn="60s")), backup)
    machine = engine()
    outcome = await machine.sign(order(), plan, deadline=3600)
    assert isinstance(outcome, Issued)
    assert outcome.authority == "backup"
    assert clock() == pytest.approx(0.1 + 6 + 0.1, abs=0.01)
    assert machine.orphans == 2


async def test_a_turn_that_is_used_up_still_allows_the_look() -> None:
    edge = FakeAuthority(Provider("edge").will(Step("hang_signed", late=5)))
    plan = plan_of(planned(edge, common(attempt="10s", turn="10s")))
    outcome = await engine().sign(order(), plan, deadline=3600)
    assert isinstance(outcome, Issued)


async def test_a_look_ends_with_the_deadline() -> None:
    edge = FakeAuthority(Provider("edge").will(Step("reset", after=1.5)).will_find("hang"))
    await engine().sign(order(), plan_of(planned(edge, common(attempt="2s", failures=100))), deadline=2)
    assert kinds(edge.provider) == ["sign", "find"]
    assert clock() == pytest.approx(2, abs=0.01)


async def test_a_look_waits_for_a_place_for_a_second_and_then_lets_the_failover_go_on() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("hang")).will("reset"))
    backup = FakeAuthority(Provider("backup"), "backup", account="backup/1")
    machine, plan = engine(), plan_of(planned(edge, common(attempts=1, failures=100, in_flight=1)), backup)
    first = asyncio.create_task(machine.sign(order("a"), plan, deadline=3600))
    await asyncio.sleep(0)
    second = asyncio.create_task(machine.sign(order("b"), plan, deadline=3600))
    outcome = await first
    assert isinstance(outcome, Issued)
    assert outcome.authority == "backup"
    assert clock() < 2
    assert kinds(edge.provider) == ["sign", "sign"]
    await second


async def test_a_found_certificate_that_is_wrong_is_not_adopted() -> None:
    edge = FakeAuthority(Provider("edge").will("wrong", "reset"))
    outcome = await engine().sign(order(), plan_of(planned(edge, common(attempts=3))), deadline=3600)
    assert isinstance(outcome, Issued)
    assert outcome.fingerprint == edge.provider.certificates[-1].fingerprint
    assert kinds(edge.provider) == ["sign", "sign", "find", "sign"]


async def test_adopting_does_not_count_as_a_success_of_signing() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("reset_signed")))
    plan, machine = plan_of(planned(edge, common(attempts=1, failures=3))), engine()
    for uid in ("a", "b"):
        assert isinstance(await machine.sign(order(uid), plan, deadline=3600), Issued)
    await machine.sign(order("c"), plan, deadline=3600)
    assert machine.states(plan)[0].state == "Open"


async def test_a_later_pass_looks_before_it_asks_again() -> None:
    edge = FakeAuthority(Provider("edge").will(Step("hang_signed", late=60)))
    plan, machine = plan_of(planned(edge, common(attempts=1))), engine()
    assert isinstance(await machine.sign(order(), plan, deadline=3600), NotIssued)
    await asyncio.sleep(60)
    outcome = await machine.sign(order(), plan, deadline=3600)
    assert isinstance(outcome, Issued)
    assert kinds(edge.provider) == ["sign", "find", "find"]
    assert len(edge.provider.certificates) == 1


async def test_the_look_of_a_later_pass_is_remembered_across_a_rotated_credential() -> None:
    edge = FakeAuthority(Provider("edge").will(Step("hang_signed", late=60)))
    plan, machine = plan_of(planned(edge, common(attempts=1))), engine()
    await machine.sign(order(), plan, deadline=3600)
    await asyncio.sleep(60)
    edge.account = "edge/token-2"
    assert isinstance(await machine.sign(order(), plan, deadline=3600), Issued)
    assert len(edge.provider.certificates) == 1


async def test_after_a_restart_the_first_call_is_a_look() -> None:
    edge = FakeAuthority(Provider("edge"))
    edge.provider.make(order())
    outcome = await suspecting().sign(order(), plan_of(edge), deadline=3600)
    assert isinstance(outcome, Issued)
    assert kinds(edge.provider) == ["find"]


async def test_after_a_restart_one_look_that_answers_is_enough() -> None:
    edge = FakeAuthority(Provider("edge"))
    machine = engine()
    machine.suspect("uid-1")
    await machine.sign(order(), plan_of(edge), deadline=3600)
    assert kinds(edge.provider) == ["find", "sign"]
    machine.settle("uid-1", edge.provider.certificates[0].fingerprint)
    assert machine.orphans == 0
    await machine.clean_up()
    assert kinds(edge.provider) == ["find", "sign"]


async def test_a_certificate_older_than_the_request_is_not_its_result() -> None:
    edge = FakeAuthority(Provider("edge"))
    edge.provider.make(order())
    await asyncio.sleep(10)
    young = order(created=START + timedelta(seconds=10))
    await suspecting().sign(young, plan_of(edge), deadline=3600)
    assert kinds(edge.provider) == ["find", "sign"]


async def test_a_probe_whose_answer_was_lost_looks_as_a_part_of_the_probe() -> None:
    edge = FakeAuthority(Provider("edge").will("refused", "reset_signed"))
    plan, machine = plan_of(planned(edge, common(attempts=1, failures=1))), engine()
    await machine.sign(order("a"), plan, deadline=3600)
    await asyncio.sleep(36)
    assert isinstance(await machine.sign(order("b"), plan, deadline=3600), Issued)
    assert machine.states(plan)[0].state == "Open"


async def test_a_call_that_is_cancelled_may_have_signed() -> None:
    edge = FakeAuthority(Provider("edge").will(Step("hang_signed", late=3)))
    machine = engine()
    task = asyncio.create_task(machine.sign(order(), plan_of(edge), deadline=3600))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert machine.orphans == 1
    machine.settle("uid-1", None)
    await asyncio.sleep(10)
    await machine.clean_up()
    assert edge.provider.live("uid-1") == []


async def test_a_look_that_opens_a_rate_limit_keeps_the_call_back() -> None:
    edge = FakeAuthority(Provider("edge").will_find(Step("limited", retry_after=300)))
    outcome = await suspecting().sign(order(), plan_of(edge), deadline=3600)
    assert isinstance(outcome, NotIssued)
    assert kinds(edge.provider) == ["find"]


async def test_when_the_breaker_opens_during_a_look_no_call_follows() -> None:
    edge = FakeAuthority(Provider("edge").will("refused").will_find(Step("ok", after=5)))
    plan, machine = plan_of(planned(edge, common(attempts=1, failures=1))), engine()
    machine.suspect("a")
    looking = asyncio.create_task(machine.sign(order("a"), plan, deadline=3600))
    await asyncio.sleep(1)
    await machine.sign(order("b"), plan, deadline=3600)
    assert isinstance(await looking, NotIssued)
    assert kinds(edge.provider) == ["find", "sign"]


async def test_looks_are_paid_for_out_of_the_rate_limit() -> None:
    edge = FakeAuthority(Provider("edge").will("reset"))
    spec = common(rate=0.1, burst=1, attempts=2, turn="60s", backoff=("1ms", "1ms"))
    await engine().sign(order(), plan_of(planned(edge, spec)), deadline=3600)
    assert edge.provider.calls[-1].begun == pytest.approx(20, abs=0.2)
