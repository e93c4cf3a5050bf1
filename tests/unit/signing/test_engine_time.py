"""No call goes out that cannot end in its time, and no wait costs a request its failover."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from issuer.authorities.errors import Unavailable
from issuer.signing.failures import CutOff, NoTime
from issuer.signing.plan import Issued, NotIssued
from tests.unit.signing.signing_case import (
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


def backup() -> FakeAuthority:
    return FakeAuthority(Provider("backup"), "backup", account="backup/1", remembers=False)


@pytest.mark.parametrize("takes", [1.0, 43.0])
@pytest.mark.parametrize("before", [1.0, 60.0, 100.0, 119.7])
async def test_a_call_after_a_rate_limit_has_the_whole_of_its_time(takes: float, before: float) -> None:
    edge = FakeAuthority(Provider("edge", default=Step("slow_answer", after=takes)))
    edge.provider.will(Step("limited", retry_after=300)).find_default = Step("http500")
    machine = engine()
    plan = plan_of(planned(edge, common(attempt="60s", turn="120s")), backup())
    await machine.sign(order("first"), plan, deadline=3600)
    await asyncio.sleep(300.1 - before - clock())
    outcomes = await asyncio.gather(*(machine.sign(order(f"u{n}"), plan, deadline=3600) for n in range(20)))
    assert Counter(outcome.authority for outcome in outcomes if isinstance(outcome, Issued)) == {"edge": 20}
    assert len(edge.provider.certificates) == 20
    assert all(call.timeouts.read == 60 for call in edge.provider.calls if call.kind == "sign")
    assert machine.states(plan)[0].state == "Available"


async def test_a_rate_limit_that_lasts_into_the_last_minutes_before_the_deadline_is_left_to_the_next_one() -> None:
    edge = FakeAuthority(Provider("edge").will(Step("limited", retry_after=45)))
    plan = plan_of(planned(edge, common(attempt="60s", turn="120s")), backup())
    outcome = await engine().sign(order(), plan, deadline=100)
    assert isinstance(outcome, Issued)
    assert outcome.authority == "backup"
    assert clock() < 1


async def test_a_retry_is_not_begun_with_less_time_than_calls_take() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("ok", after=40)))
    machine = engine()
    plan = plan_of(planned(edge, common(attempt="60s", turn="70s", backoff=("1ms", "1ms"))), backup())
    await machine.sign(order("quick"), plan, deadline=3600)
    edge.provider.will(Step("refused", after=20))
    outcome = await machine.sign(order(), plan, deadline=3600)
    assert isinstance(outcome, Issued)
    assert outcome.authority == "backup"
    assert edge.provider.count("sign") == 2


async def test_a_short_deadline_that_is_the_users_own_is_no_excuse_for_a_dead_authority() -> None:
    """25 s for two authorities, attempts of 60 s: nobody ever gets 15 s, and the breaker opens all the same."""
    edge = FakeAuthority(Provider("edge", default=Step("hang")))
    spec = common(attempt="60s", turn="2m", attempts=1, failures=3)
    plan, machine = plan_of(planned(edge, spec), backup(), deadline=25), engine()
    for number in range(5):
        outcome = await machine.sign(order(f"u{number}"), plan, deadline=clock() + 25)
        assert isinstance(outcome, Issued)
    assert machine.states(plan)[0].state in {"Open", "Untested"}
    assert edge.provider.count("sign") == 3


async def test_before_the_deadline_no_call_goes_out_that_cannot_be_expected_to_end() -> None:
    edge = FakeAuthority(Provider("edge"))
    outcome = await engine().sign(order(), plan_of(planned(edge, common(attempt="60s", turn="2m"))), deadline=3)
    assert isinstance(outcome, NotIssued)
    assert isinstance(outcome.failures[0], NoTime)
    assert not outcome.attempted
    assert edge.provider.calls == []


async def test_at_the_deadline_a_go_without_time_for_a_call_tells_what_the_authority_came_to_in_the_one_before() -> (
    None
):
    """A failure that says nothing of the account, as of one namespace alone, is not remembered by the account."""
    edge = FakeAuthority(Provider("edge").will("not here"))
    plan, machine = plan_of(planned(edge, common(attempt="60s", turn="2m", attempts=1))), engine()
    before = await machine.sign(order(), plan, deadline=3600)
    last = await machine.sign(order(), plan, deadline=clock() + 3)
    assert isinstance(before, NotIssued)
    assert isinstance(last, NotIssued)
    assert isinstance(last.failures[0], NoTime)
    told = last.after(before)
    assert [str(failure) for failure in told.failures] == [str(failure) for failure in before.failures]
    assert told.attempted is last.attempted
    assert last.after(None) == last


async def test_an_attempt_that_the_deadline_ends_at_once_does_not_hide_the_one_before() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("hang")).will("ok", "http500"))
    plan, machine = plan_of(planned(edge, common(attempt="60s", turn="2m", backoff=("1ms", "1ms")))), engine()
    await machine.sign(order("quick"), plan, deadline=3600)
    outcome = await machine.sign(order(), plan, deadline=clock() + 3)
    assert isinstance(outcome, NotIssued)
    assert edge.provider.count("sign") == 3
    assert [failure.message for failure in outcome.failures] == ["server error"]


async def test_an_attempt_that_the_deadline_ends_at_once_is_no_trouble_of_the_authority() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("hang")).will("ok"))
    plan, machine = plan_of(planned(edge, common(attempt="60s", turn="2m", attempts=1))), engine()
    await machine.sign(order("quick"), plan, deadline=3600)
    await machine.sign(order(), plan, deadline=clock() + 3)
    (health,) = machine.states(plan)
    assert (health.state, health.last_failure) == ("Available", None)
    await machine.sign(order(), plan, deadline=3600)
    (health,) = machine.states(plan)
    assert (health.state, health.message) == ("Degraded", "no answer within 1m")


async def test_a_go_that_the_deadline_ends_at_once_does_not_hide_the_one_before() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("hang")).will("ok", "http500"))
    plan, machine = plan_of(planned(edge, common(attempt="60s", turn="2m", attempts=1))), engine()
    await machine.sign(order("quick"), plan, deadline=3600)
    before = await machine.sign(order(), plan, deadline=3600)
    last = await machine.sign(order(), plan, deadline=clock() + 3)
    assert isinstance(before, NotIssued)
    assert isinstance(last, NotIssued)
    assert isinstance(last.failures[0], CutOff)
    assert [failure.message for failure in last.after(before).failures] == ["server error"]


async def test_a_call_that_had_a_fair_chance_is_told_whatever_was_before() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("hang")).will("http500"))
    plan, machine = plan_of(planned(edge, common(attempt="20s", turn="2m", attempts=1))), engine()
    before = await machine.sign(order(), plan, deadline=3600)
    last = await machine.sign(order(), plan, deadline=3600)
    assert isinstance(before, NotIssued)
    assert isinstance(last, NotIssued)
    assert [failure.message for failure in last.after(before).failures] == ["no answer within 20s"]


async def test_what_the_account_knows_of_is_told_rather_than_what_a_request_has_met_before() -> None:
    older, newer = Unavailable("edge", "HTTP 503"), Unavailable("edge", "connection refused")
    failures = (NoTime("edge", last=newer), NoTime("backup", last=None))
    last = NotIssued(failures=failures, terminal=False, retry_in=0.0, attempted=False)
    before = NotIssued(failures=(older,), terminal=False, retry_in=0.0, attempted=True)
    assert last.after(before).failures == failures


async def test_an_authority_that_is_known_to_be_quick_is_asked_until_shortly_before_the_deadline() -> None:
    edge = FakeAuthority(Provider("edge"))
    plan, machine = plan_of(planned(edge, common(attempt="60s", turn="2m"))), engine()
    await machine.sign(order("a"), plan, deadline=3600)
    assert isinstance(await machine.sign(order("b"), plan, deadline=clock() + 3), Issued)


async def test_a_queue_that_is_longer_than_a_turn_is_left_to_an_idle_authority() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("ok", after=40)))
    spec = common(attempt="60s", turn="120s", in_flight=10)
    plan, machine = plan_of(planned(edge, spec), backup()), engine()
    outcomes = await asyncio.gather(*(machine.sign(order(f"u{n}"), plan, deadline=3600) for n in range(256)))
    signed = Counter(outcome.authority for outcome in outcomes if isinstance(outcome, Issued))
    assert signed.total() == 256
    assert signed["edge"] >= 30
    assert clock() < 200


async def test_nobody_leaves_the_queue_for_an_authority_that_is_down() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("ok", after=40)))
    down = FakeAuthority(Provider("backup", default=Step("refused")), "backup", account="backup/1")
    spec = common(attempt="60s", turn="120s", in_flight=10)
    plan = plan_of(
        planned(edge, spec), planned(down, common("backup", attempts=1, failures=1, open_for="1h", max_open_for="1h"))
    )
    machine = engine()
    await machine.sign(order("opens it"), plan, deadline=3600, only=frozenset({"backup"}))
    outcomes = await asyncio.gather(*(machine.sign(order(f"u{n}"), plan, deadline=3600) for n in range(60)))
    assert Counter(outcome.authority for outcome in outcomes if isinstance(outcome, Issued)) == {"edge": 60}


async def test_a_secret_that_cannot_be_read_leaves_time_for_the_next_one() -> None:
    class Hanging(FakeAuthority):
        async def session(self, *, fresh: bool = False):  # type: ignore[no-untyped-def]
            await asyncio.Event().wait()

    plan = plan_of(planned(Hanging(Provider("edge"))), backup(), deadline=20)
    outcome = await engine().sign(order(), plan, deadline=20)
    assert isinstance(outcome, Issued)
    assert outcome.authority == "backup"
    assert isinstance(outcome.passed_over[0], Unavailable)
