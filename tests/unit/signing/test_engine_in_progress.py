"""An authority that accepts a request and signs it later: an order at a CA, or another issuer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from issuer.authorities.errors import InProgress
from issuer.signing.breaker import ACCEPTED
from issuer.signing.failures import TooSlow
from issuer.signing.plan import Issued, NotIssued
from tests.unit.signing.signing_case import (
    FakeAuthority,
    FakeSession,
    Heard,
    Provider,
    Step,
    clock,
    common,
    engine,
    now,
    order,
    plan_of,
    planned,
    signed,
)

if TYPE_CHECKING:
    from datetime import datetime

    from issuer.authorities.base import CallTimeouts, Signed, SigningOrder
    from issuer.signing.engine import FailoverEngine
    from issuer.signing.plan import IssuerPlan

pytestmark = pytest.mark.looptime


@dataclass
class Orders:
    """What the provider knows of orders, whoever asks: they survive a restart of ours."""

    takes: float = 30.0
    accepted: dict[str, datetime] = field(default_factory=dict)


@dataclass
class SlowSession(FakeSession):
    orders: Orders = field(default_factory=Orders)

    async def sign(self, order: SigningOrder, timeouts: CallTimeouts) -> Signed:
        await timeouts.token()
        since = self.orders.accepted.setdefault(order.uid, now())
        if now() < since + timedelta(seconds=self.orders.takes):
            raise InProgress("slow", "the order is being checked", since=since, look_again_in=5)
        return signed(self.provider.make(order))


@dataclass
class SlowAuthority(FakeAuthority):
    name: str = "slow"
    remembers: bool = False
    orders: Orders = field(default_factory=Orders)

    async def session(self, *, fresh: bool = False) -> SlowSession:
        return SlowSession(self.provider, "slow/1", remembers=False, orders=self.orders)


async def test_it_is_asked_again_when_it_said_so_until_it_has_signed() -> None:
    slow, machine = SlowAuthority(Provider("slow")), engine()
    plan = plan_of(slow)
    looks = 0
    while isinstance(outcome := await machine.sign(order(), plan, deadline=3600), NotIssued):
        assert outcome.accepted is not None
        assert outcome.retry_in == 5
        assert not outcome.terminal
        looks += 1
        await asyncio.sleep(outcome.retry_in)
    assert looks == 6
    assert len(slow.provider.certificates) == 1


async def test_it_is_no_failure_and_nobody_else_is_asked_meanwhile() -> None:
    heard = Heard()
    slow, other, machine = SlowAuthority(Provider("slow")), FakeAuthority(Provider("edge")), engine(heard)
    plan = plan_of(planned(slow, common("slow", failures=1)), other)
    for _ in range(5):
        await machine.sign(order(), plan, deadline=3600)
    assert other.provider.calls == []
    assert heard.breakers == []
    assert machine.states(plan)[0].state == "Available"


async def test_it_holds_no_place_meanwhile() -> None:
    slow, machine = SlowAuthority(Provider("slow")), engine()
    plan = plan_of(planned(slow, common("slow", in_flight=1)))
    outcomes = await asyncio.gather(*(machine.sign(order(f"u{n}"), plan, deadline=3600) for n in range(50)))
    assert all(isinstance(outcome, NotIssued) and outcome.accepted for outcome in outcomes)
    assert clock() < 1


async def test_a_restart_begins_nothing_anew() -> None:
    orders = Orders()

    async def process() -> Issued | NotIssued:
        machine = engine()
        machine.suspect("uid-1")
        plan = plan_of(SlowAuthority(Provider("slow"), orders=orders))
        return await machine.sign(order(), plan, deadline=3600)

    for _ in range(6):
        assert isinstance(await process(), NotIssued)
        await asyncio.sleep(5)
    assert isinstance(await process(), Issued)
    assert list(orders.accepted) == ["uid-1"]


async def test_when_its_turn_is_over_the_next_one_is_asked() -> None:
    slow, other, machine = (
        SlowAuthority(Provider("slow"), orders=Orders(takes=1e6)),
        FakeAuthority(Provider("edge")),
        engine(),
    )
    plan = plan_of(planned(slow, common("slow", turn="60s")), other)
    outcome = await machine.sign(order(), plan, deadline=3600)
    while isinstance(outcome, NotIssued):
        await asyncio.sleep(outcome.retry_in)
        outcome = await machine.sign(order(), plan, deadline=3600)
    assert outcome.authority == "edge"
    assert clock() == pytest.approx(60, abs=1)
    assert isinstance(outcome.passed_over[0], TooSlow)


async def sign_in_the_end(machine: FailoverEngine, plan: IssuerPlan, uid: str = "uid-1") -> Issued:
    """Come again as the controller does, until it is signed."""
    while isinstance(outcome := await machine.sign(order(uid), plan, deadline=3600), NotIssued):
        assert not outcome.terminal
        await asyncio.sleep(max(0.5, outcome.retry_in))
    return outcome


async def test_the_one_that_has_accepted_is_asked_first_the_next_time() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("refused")))
    slow, machine = SlowAuthority(Provider("slow"), orders=Orders(takes=7)), engine()
    plan = plan_of(planned(edge, common("edge", failures=100)), slow)
    outcome = await sign_in_the_end(machine, plan)
    assert (outcome.authority, outcome.position) == ("slow", 1)
    assert [failure.authority for failure in outcome.passed_over] == ["edge"]
    assert edge.provider.count("sign") == 3, "one turn, and no other while the second works on it"


async def test_once_it_has_given_up_all_are_asked_again() -> None:
    edge = FakeAuthority(Provider("edge").will(*["refused"] * 3))
    slow = SlowAuthority(Provider("slow"), orders=Orders(takes=1e6))
    plan = plan_of(planned(edge, common("edge", failures=100)), planned(slow, common("slow", turn="20s")))
    outcome = await sign_in_the_end(engine(), plan)
    assert outcome.authority == "edge"
    assert clock() == pytest.approx(20, abs=2)


async def test_a_probe_that_is_accepted_goes_on_alone() -> None:
    slow = SlowAuthority(Provider("slow"), orders=Orders(takes=1e6))
    other, machine = FakeAuthority(Provider("other"), "other", account="other/1"), engine()
    spec = common("slow", turn="20s", failures=1, open_for="30s", max_open_for="30s")
    plan = plan_of(planned(slow, spec), other)
    assert (await sign_in_the_end(machine, plan)).authority == "other", "too slow, and its breaker opens"
    await asyncio.sleep(40)
    slow.orders.takes = 10
    first = await machine.sign(order("probe"), plan, deadline=3600)
    assert isinstance(first, NotIssued)
    assert first.accepted
    for number in range(5):
        outcome = await machine.sign(order(f"u{number}"), plan, deadline=3600)
        assert isinstance(outcome, Issued)
        assert outcome.authority == "other", "the others do not wait with it"
    assert (await sign_in_the_end(machine, plan, "probe")).authority == "slow"
    assert isinstance(await machine.sign(order("next"), plan, deadline=3600), NotIssued), "it is closed"


async def test_a_probe_that_never_comes_again_blocks_nobody_for_ever() -> None:
    slow = SlowAuthority(Provider("slow"), orders=Orders(takes=1e6))
    other, machine = FakeAuthority(Provider("other"), "other", account="other/1"), engine()
    spec = common("slow", turn="20s", failures=1, open_for="30s", max_open_for="30s")
    plan = plan_of(planned(slow, spec), other)
    await sign_in_the_end(machine, plan)
    await asyncio.sleep(40)
    assert isinstance(await machine.sign(order("gone"), plan, deadline=3600), NotIssued)
    await asyncio.sleep(20 + ACCEPTED + 1)
    outcome = await machine.sign(order("next"), plan, deadline=3600)
    assert isinstance(outcome, NotIssued)
    assert outcome.accepted, "it is the probe now"
