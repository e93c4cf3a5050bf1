"""What an open breaker means for requests: none of them waits for it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from issuer.authorities.errors import NotSentError
from issuer.signing.breaker import BreakerState
from issuer.signing.failures import BreakerOpen, PlacesTaken
from issuer.signing.plan import Issued, NotIssued
from tests.unit.signing.signing_case import (
    START,
    Call,
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

if TYPE_CHECKING:
    from issuer.signing.engine import FailoverEngine
from issuer.signing.plan import IssuerPlan

pytestmark = pytest.mark.looptime


class Case:
    """An edge whose breaker opens after one failure for 30 to 36 seconds, and a backup."""

    def __init__(self, *steps: Step | str, default: str = "ok", **settings: Any) -> None:
        self.provider = Provider("edge", default=Step(default)).will(*steps)
        self.backup = Provider("backup")
        self.heard = Heard()
        self.engine: FailoverEngine = engine(self.heard)
        self.spec = common(**{"attempts": 1, "failures": 1, "in_flight": 100} | settings)
        self.plan: IssuerPlan = plan_of(
            planned(FakeAuthority(self.provider), self.spec),
            FakeAuthority(self.backup, "backup", account="backup/1"),
        )
        self.alone = plan_of(planned(FakeAuthority(self.provider), self.spec))

    async def sign(self, uid: str, *, alone: bool = False) -> Issued | NotIssued:
        return await self.engine.sign(order(uid), self.alone if alone else self.plan, deadline=3600)

    async def signer(self, uid: str) -> str:
        outcome = await self.sign(uid)
        assert isinstance(outcome, Issued)
        return outcome.authority


async def test_while_it_is_open_the_next_one_signs_without_a_call_to_the_first() -> None:
    case = Case(default="refused")
    for uid in ("a", "b", "c"):
        assert await case.signer(uid) == "backup"
    assert case.provider.count("sign") == 1


async def test_a_request_that_is_turned_away_learns_why_and_until_when() -> None:
    case = Case(default="refused")
    await case.sign("a", alone=True)
    outcome = await case.sign("b", alone=True)
    assert isinstance(outcome, NotIssued)
    failure = outcome.failures[0]
    assert isinstance(failure, BreakerOpen)
    assert failure.failures == 1
    assert failure.until is not None
    assert timedelta(seconds=30) <= failure.until - START <= timedelta(seconds=37)
    assert failure.last is not None
    assert failure.last.message == "connection refused"
    assert 29 <= outcome.retry_in <= 36
    assert outcome.attempted


async def test_while_a_probe_is_under_way_the_others_are_served_by_the_next_one_at_once() -> None:
    case = Case("refused", Step("ok", after=5))
    await case.signer("a")
    await asyncio.sleep(36)
    began = clock()
    probe = asyncio.create_task(case.signer("probe"))
    await asyncio.sleep(0.01)
    others = await asyncio.gather(*(case.signer(f"other-{number}") for number in range(20)))
    assert others == ["backup"] * 20
    assert clock() - began < 1
    assert await probe == "edge"
    assert await case.signer("after") == "edge"
    assert [state for _, state in case.heard.breakers] == [
        BreakerState.OPEN,
        BreakerState.HALF_OPEN,
        BreakerState.CLOSED,
    ]
    assert case.heard.recoveries == ["edge/token-1"]


async def test_many_at_the_same_moment_make_one_probe() -> None:
    case = Case("refused", "refused")
    await case.signer("a")
    await asyncio.sleep(36)
    await asyncio.gather(*(case.signer(f"b{number}") for number in range(20)))
    assert case.provider.count("sign") == 2


async def test_a_cancelled_probe_frees_the_probe_and_the_place() -> None:
    case = Case("refused", "hang", in_flight=1)
    await case.signer("a")
    await asyncio.sleep(36)
    probe = asyncio.create_task(case.signer("probe"))
    await asyncio.sleep(1)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    assert await case.signer("next") == "edge"


@pytest.mark.parametrize("fault", ["limited", "unauthorized", "rejected"])
async def test_a_probe_that_is_turned_away_neither_closes_it_nor_doubles_its_time(fault: str) -> None:
    case = Case("refused", Step(fault, retry_after=1))
    await case.sign("a", alone=True)
    await asyncio.sleep(36)
    await case.sign("probe", alone=True)
    assert [state for _, state in case.heard.breakers] == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.OPEN]
    await asyncio.sleep(31)
    assert isinstance(await case.sign("next", alone=True), Issued)


async def test_a_retry_gives_way_when_others_open_the_breaker() -> None:
    case = Case("refused", "refused", default="ok", failures=2)
    patient = planned(case.plan.authorities[0].authority, common(attempts=3, failures=2, backoff=("1m", "1m")))  # type: ignore[arg-type]
    plan = plan_of(patient, case.plan.authorities[1])
    first = asyncio.create_task(case.engine.sign(order("a"), plan, deadline=3600))
    await asyncio.sleep(1)
    assert await case.signer("b") == "backup"
    outcome = await first
    assert isinstance(outcome, Issued)
    assert outcome.authority == "backup"
    assert clock() < 2
    assert outcome.passed_over[0].message == "connection refused"


@pytest.mark.parametrize("limit", [{"in_flight": 1}, {"rate": 0.001, "burst": 1}], ids=["place", "token"])
async def test_who_waits_for_our_own_limits_moves_on_the_moment_it_opens(limit: dict[str, Any]) -> None:
    case = Case(default="hang", **limit)
    outcomes = await asyncio.gather(*(case.sign(f"u{number}") for number in range(10)))
    assert [outcome.authority for outcome in outcomes if isinstance(outcome, Issued)] == ["backup"] * 10
    assert case.provider.count("sign") == 1
    assert clock() < 11


async def test_a_probe_does_not_wait_behind_calls_that_hang_since_before_it_opened() -> None:
    case = Case(default="hang")
    edge, backup = case.plan.authorities
    slow = plan_of(planned(edge.authority, common(attempt="10m", turn="10m", attempts=1, failures=1)), name="slow")  # type: ignore[arg-type]
    hanging = [asyncio.create_task(case.engine.sign(order(f"slow-{n}"), slow, deadline=3600)) for n in range(2)]
    await asyncio.sleep(1)
    assert await case.signer("a") == "backup"
    await asyncio.sleep(40)
    narrow = plan_of(planned(edge.authority, common(attempts=1, failures=1, in_flight=2)), backup, name="narrow")  # type: ignore[arg-type]
    began = clock()
    outcome = await case.engine.sign(order("b"), narrow, deadline=3600)
    assert isinstance(outcome, Issued)
    assert isinstance(outcome.passed_over[0], PlacesTaken)
    assert clock() - began < 2
    assert [state for _, state in case.heard.breakers] == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.OPEN]
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_no_look_goes_out_after_the_failure_that_opened_it() -> None:
    case = Case(default="reset")
    await case.sign("a", alone=True)
    assert [call.kind for call in case.provider.calls] == ["sign"]


async def test_an_unauthorised_credential_never_opens_it() -> None:
    case = Case(default="unauthorized")
    await case.sign("a", alone=True)
    assert case.heard.breakers == []


async def test_a_lost_lease_stops_the_call_and_gives_everything_back() -> None:
    class LeaseLostError(Exception):
        pass

    leading = [True]

    def guard() -> None:
        if not leading[0]:
            raise LeaseLostError

    provider = Provider("edge").will("refused")
    machine = engine(guard=guard)
    plan = plan_of(planned(FakeAuthority(provider), common(attempts=1, failures=1, in_flight=1)))
    await machine.sign(order("a"), plan, deadline=3600)
    await asyncio.sleep(36)
    leading[0] = False
    with pytest.raises(LeaseLostError):
        await machine.sign(order("b"), plan, deadline=3600)
    assert provider.count("sign") == 1
    leading[0] = True
    assert isinstance(await machine.sign(order("c"), plan, deadline=3600), Issued)


async def test_a_lease_that_is_found_lost_on_the_wire_is_no_failure_of_the_authority() -> None:
    def lost(_: Call) -> None:
        raise NotSentError(PermissionError("the lease is lost"))

    case = Case()
    case.provider.begins = lost
    with pytest.raises(PermissionError, match="the lease is lost"):
        await case.sign("a")
    assert case.heard.breakers == []
    assert case.backup.calls == []
    assert case.engine.orphans == 0, "it was not sent"
    case.provider.begins = lambda _: None
    assert await case.signer("a") == "edge"


async def test_who_hears_that_it_opened_learns_whose_it_is_and_why_and_when_the_next_probe_is() -> None:
    heard = Heard()
    edge = FakeAuthority(Provider("edge", default=Step("refused")))
    plan, machine = plan_of(planned(edge, common(attempts=1, failures=2))), engine(heard)
    for number in range(2):
        await machine.sign(order(f"u{number}"), plan, deadline=3600)
    await asyncio.sleep(37)
    await machine.sign(order("probe"), plan, deadline=3600)
    opened, probing, again = heard.changes
    assert opened.user == ("edge", "CDNIssuer", "shop/cdn")
    assert (opened.failures, str(opened.error)) == (2, "edge: connection refused")
    assert opened.next_probe is not None
    assert timedelta(seconds=30) <= opened.next_probe - START <= timedelta(seconds=37)
    assert (probing.state, probing.next_probe) == (BreakerState.HALF_OPEN, None)
    assert (again.state, again.failures) == (BreakerState.OPEN, 3)
    assert again.next_probe is not None
    assert again.next_probe - START >= timedelta(seconds=97)


async def test_what_speaks_against_the_request_and_not_the_authority_opens_no_breaker() -> None:
    case = Case(*["its own"] * 12)
    for number in range(12):
        assert await case.signer(f"bad-{number}") == "backup"
    assert case.heard.breakers == []
    assert await case.signer("good") == "edge"
    assert len(case.provider.calls) == 13, "asked once each: another attempt in the same turn would not help"
