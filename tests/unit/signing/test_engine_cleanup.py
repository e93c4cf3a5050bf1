"""What nobody received is revoked; what anybody may have received is not."""

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
ONCE = common(attempts=1, failures=100)
GRACE = 300


class Case:
    """An edge that forgets to answer but signs 20 s after the call, and a backup that signs."""

    def __init__(self, *steps: Step | str) -> None:
        self.provider = Provider("edge").will(*(steps or (Step("hang_signed", late=20),)))
        self.edge = FakeAuthority(self.provider)
        self.backup = FakeAuthority(Provider("backup"), "backup", account="backup/1", remembers=False)
        self.engine: FailoverEngine = engine()
        self.plan = plan_of(planned(self.edge, ONCE), self.backup)
        self.alone = plan_of(planned(self.edge, ONCE))

    async def issue(self, uid: str = "uid-1", **options: bytes) -> Issued:
        outcome = await self.engine.sign(order(uid, **options), self.plan, deadline=3600)  # type: ignore[arg-type]
        assert isinstance(outcome, Issued)
        return outcome


class Leading:
    """A lease that can be lost."""

    def __init__(self) -> None:
        self.lost = False

    def lose(self) -> None:
        self.lost = True

    def check(self) -> None:
        if self.lost:
            raise PermissionError("the lease is lost")


async def test_a_certificate_that_lost_out_is_revoked_once_the_request_is_settled() -> None:
    case = Case()
    outcome = await case.issue()
    assert outcome.authority == "backup"
    await asyncio.sleep(GRACE)
    case.engine.settle("uid-1", outcome.fingerprint)
    await case.engine.clean_up()
    assert [certificate.revoked for certificate in case.provider.certificates] == [True]


async def test_of_two_that_a_request_has_left_behind_the_one_that_was_not_adopted_is_revoked_soon() -> None:
    case = Case("hang_signed", "reset_signed")
    outcome = await case.engine.sign(
        order(), plan_of(planned(case.edge, common(attempts=2, failures=100)), case.backup), deadline=3600
    )
    assert isinstance(outcome, Issued)
    assert len(case.provider.live("uid-1")) >= 1
    case.provider.make(order())
    case.engine.settle("uid-1", outcome.fingerprint)
    await case.engine.clean_up()
    assert [one.fingerprint for one in case.provider.live("uid-1")] == [outcome.fingerprint]


async def test_nothing_is_revoked_before_the_request_is_settled() -> None:
    case = Case()
    await case.issue()
    await asyncio.sleep(1000)
    await case.engine.clean_up()
    assert case.provider.count("revoke") == 0
    assert len(case.provider.live("uid-1")) == 1


async def test_the_delivered_certificate_is_never_revoked() -> None:
    case = Case("reset_signed")
    outcome = await case.issue()
    case.engine.settle("uid-1", outcome.fingerprint)
    for _ in range(3):
        await asyncio.sleep(GRACE)
        await case.engine.clean_up()
    assert len(case.provider.live("uid-1")) == 1
    assert case.engine.orphans == 0


async def test_it_is_looked_for_again_after_the_grace_and_then_forgotten() -> None:
    case = Case(Step("hang_signed", late=200))
    outcome = await case.issue()
    case.engine.settle("uid-1", outcome.fingerprint)
    await case.engine.clean_up()
    await case.engine.clean_up()
    looks = case.provider.count("find")
    assert case.engine.orphans == 1
    await asyncio.sleep(GRACE)
    await case.engine.clean_up()
    assert case.provider.count("find") == looks + 1
    assert case.provider.live("uid-1") == []
    assert case.engine.orphans == 0


async def test_a_request_that_is_gone_has_its_certificate_revoked() -> None:
    case = Case("ok")
    await case.issue()
    case.engine.settle("uid-1", None)
    await case.engine.clean_up()
    assert case.provider.live("uid-1") == []
    assert case.provider.count("find") == 0


async def test_a_delivered_certificate_leaves_nothing_to_remember() -> None:
    case = Case("ok")
    outcome = await case.issue()
    case.engine.settle("uid-1", outcome.fingerprint)
    assert case.engine.orphans == 0


async def test_a_wrong_certificate_is_revoked_once_the_request_is_settled() -> None:
    case = Case("wrong")
    outcome = await case.issue()
    await case.engine.clean_up()
    assert case.provider.count("revoke") == 0
    case.engine.settle("uid-1", outcome.fingerprint)
    await case.engine.clean_up()
    assert case.provider.live("uid-1") == []


async def test_a_new_pass_for_a_settled_request_protects_what_it_may_adopt() -> None:
    case = Case()
    outcome = await case.engine.sign(order(), case.alone, deadline=3600)
    assert isinstance(outcome, NotIssued)
    case.engine.settle("uid-1", None)
    await asyncio.sleep(30)
    assert isinstance(await case.engine.sign(order(), case.alone, deadline=3600), Issued)
    await asyncio.sleep(GRACE)
    await case.engine.clean_up()
    assert len(case.provider.live("uid-1")) == 1


async def test_a_fate_told_before_the_call_was_cancelled_still_counts() -> None:
    case = Case(Step("hang_signed", late=3))
    task = asyncio.create_task(case.engine.sign(order(), case.alone, deadline=3600))
    await asyncio.sleep(1)
    case.engine.settle("uid-1", None)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(10)
    await case.engine.clean_up()
    assert case.provider.live("uid-1") == []


async def test_another_request_with_the_same_key_keeps_its_certificate() -> None:
    case = Case(Step("hang_signed", late=20), "ok")
    first = await case.issue("first", key=b"shared")
    case.engine.settle("first", first.fingerprint)
    second = await case.engine.sign(
        order("second", key=b"shared", created=START + timedelta(seconds=11)), case.alone, deadline=3600
    )
    assert isinstance(second, Issued)
    for delivered in (False, True):
        if delivered:
            case.engine.settle("second", second.fingerprint)
        await asyncio.sleep(GRACE)
        await case.engine.clean_up()
        assert len(case.provider.live("second")) == 1
    assert case.provider.live("first") == []


async def test_while_another_request_with_the_same_key_is_signed_nothing_is_looked_for() -> None:
    case = Case(Step("hang_signed", late=20), Step("ok", after=8))
    first = await case.issue("first", key=b"shared")
    case.engine.settle("first", first.fingerprint)
    await asyncio.sleep(GRACE)
    signing = asyncio.create_task(case.engine.sign(order("second", key=b"shared"), case.alone, deadline=3600))
    await asyncio.sleep(1)
    looks = case.provider.count("find")
    await case.engine.clean_up()
    assert case.provider.count("find") == looks
    assert isinstance(await signing, Issued)
    assert len(case.provider.live("second")) == 1


async def test_a_certificate_made_long_after_our_call_is_somebody_elses() -> None:
    """Made by another replica while it led, for a later request with the same key."""
    case = Case("reset")
    first = await case.issue("first", key=b"shared")
    case.engine.settle("first", first.fingerprint)
    await asyncio.sleep(GRACE + 60)
    foreign = case.provider.make(order("foreign", key=b"shared"))
    await case.engine.clean_up()
    assert not foreign.revoked


async def test_what_a_look_had_shown_before_our_first_call_is_not_revoked() -> None:
    """Made by a former process right after we began to lead, and of no use to this request."""
    case = Case("reset")
    case.engine.suspect("uid-1")
    await asyncio.sleep(60)
    foreign = case.provider.make(order(), good=False)
    assert isinstance(await case.engine.sign(order(), case.alone, deadline=3600), NotIssued)
    case.engine.settle("uid-1", None)
    await asyncio.sleep(GRACE)
    await case.engine.clean_up()
    assert [call.kind for call in case.provider.calls] == ["find", "sign", "find", "find"]
    assert not foreign.revoked


async def test_an_account_that_is_down_is_left_alone_until_it_is_back() -> None:
    case = Case()
    spec = common(attempts=1, failures=1)
    plan = plan_of(planned(case.edge, spec), case.backup)
    outcome = await case.engine.sign(order(), plan, deadline=3600)
    assert isinstance(outcome, Issued)
    case.engine.settle("uid-1", outcome.fingerprint)
    await asyncio.sleep(60)
    await case.engine.clean_up()
    assert [call.kind for call in case.provider.calls] == ["sign"]
    await case.engine.sign(order("probe"), plan, deadline=3600)
    await asyncio.sleep(30)
    await case.engine.clean_up()
    assert case.provider.live("uid-1") == []


@pytest.mark.parametrize("step", [Step("limited", retry_after=60), Step("unauthorized"), Step("hang")])
async def test_a_round_ends_for_an_account_that_would_fail_them_all(step: Step) -> None:
    case = Case("reset", "reset", "reset")
    for uid in ("a", "b", "c"):
        outcome = await case.issue(uid)
        case.engine.settle(uid, outcome.fingerprint)
    await asyncio.sleep(GRACE)
    looks = case.provider.count("find")
    case.provider.find_default = step
    await case.engine.clean_up()
    assert case.provider.count("find") == looks + 1


async def test_one_that_cannot_be_looked_for_holds_up_no_other() -> None:
    case = Case(Step("hang_signed", late=20), Step("hang_signed", late=20))
    for uid in ("a", "b"):
        outcome = await case.issue(uid)
        case.engine.settle(uid, outcome.fingerprint)
    await asyncio.sleep(GRACE)
    case.provider.will_find("http500")
    await case.engine.clean_up()
    assert [len(case.provider.live(uid)) for uid in ("a", "b")] == [1, 0]


async def test_what_cannot_be_looked_for_is_tried_ever_less_often() -> None:
    case = Case("reset")
    case.provider.find_default = Step("http500")
    outcome = await case.issue("a")
    case.engine.settle("a", outcome.fingerprint)
    for _ in range(120):
        await asyncio.sleep(30)
        await case.engine.clean_up()
    assert case.provider.count("find") <= 10


async def test_a_failed_look_is_made_again() -> None:
    case = Case()
    outcome = await case.issue()
    case.engine.settle("uid-1", outcome.fingerprint)
    await asyncio.sleep(GRACE)
    case.provider.will_find("http500")
    looks = case.provider.count("find")
    await case.engine.clean_up()
    assert case.engine.orphans == 1
    await case.engine.clean_up()
    assert case.provider.count("find") == looks + 1, "not at once"
    await asyncio.sleep(30)
    await case.engine.clean_up()
    assert case.provider.live("uid-1") == []
    assert case.engine.orphans == 0


async def test_the_sweep_waits_for_nobody() -> None:
    case = Case("wrong", Step("ok", after=9), Step("ok", after=9))
    busy = plan_of(planned(case.edge, common(attempts=1, failures=100, in_flight=1)))
    outcome = await case.issue("a")
    case.engine.settle("a", outcome.fingerprint)
    signing = asyncio.create_task(case.engine.sign(order("b"), busy, deadline=3600))
    await asyncio.sleep(0.5)
    began = clock()
    await case.engine.clean_up()
    assert clock() - began <= 1.01
    assert case.provider.count("revoke") == 0
    await signing


async def test_a_replaced_authority_of_the_same_name_clears_up() -> None:
    case = Case()
    outcome = await case.issue()
    case.engine.settle("uid-1", outcome.fingerprint)
    await asyncio.sleep(GRACE)
    case.edge.session_error = AssertionError("closed")  # type: ignore[assignment]
    renewed = FakeAuthority(case.provider)
    case.engine.states(plan_of(planned(renewed, ONCE), case.backup))
    await case.engine.clean_up()
    assert case.provider.live("uid-1") == []


@pytest.mark.parametrize("step", ["ok", "reset"], ids=["made", "lost"])
async def test_a_lost_lease_neither_looks_nor_revokes(step: str) -> None:
    leading = Leading()
    case = Case(step)
    case.engine = engine(guard=leading.check)
    await case.issue()
    case.engine.settle("uid-1", None)
    before = len(case.provider.calls)
    leading.lost = True
    await asyncio.sleep(GRACE)
    await case.engine.clean_up()
    assert len(case.provider.calls) == before


async def test_a_lease_that_is_lost_during_the_look_revokes_nothing() -> None:
    leading = Leading()
    case = Case()
    case.engine = engine(guard=leading.check)
    outcome = await case.issue()
    case.engine.settle("uid-1", outcome.fingerprint)
    await asyncio.sleep(GRACE)
    case.provider.ends = lambda _: leading.lose()
    await case.engine.clean_up()
    assert case.provider.count("revoke") == 0


async def test_what_is_another_requests_as_well_is_not_revoked() -> None:
    case = Case("ok")
    outcome = await case.issue()
    case.engine._ledger.claim("another", outcome.fingerprint)
    case.engine.settle("uid-1", None)
    await case.engine.clean_up()
    assert case.provider.count("revoke") == 0
    case.engine.settle("another", None)
    await case.engine.clean_up()
    assert case.provider.live("uid-1") == []


async def test_what_a_look_has_found_is_revoked_although_the_look_did_not_end() -> None:
    case = Case()
    outcome = await case.issue()
    case.engine.settle("uid-1", outcome.fingerprint)
    await asyncio.sleep(GRACE)
    case.provider.stalls_after = 1
    await case.engine.clean_up()
    assert case.provider.count("revoke") == 0
    await asyncio.sleep(60)
    case.provider.find_default = Step("http500")
    await case.engine.clean_up()
    assert case.provider.live("uid-1") == []


async def test_signing_goes_before_clean_up() -> None:
    case = Case("wrong")
    busy = plan_of(planned(case.edge, common(attempts=1, failures=100, rate=4, burst=1)))
    outcome = await case.issue("a")
    case.engine.settle("a", outcome.fingerprint)
    await case.engine.sign(order("b"), busy, deadline=3600)
    cleaning = asyncio.create_task(case.engine.clean_up())
    await asyncio.sleep(0.01)
    await case.engine.sign(order("c"), busy, deadline=3600)
    await cleaning
    assert [call.kind for call in case.provider.calls] == ["sign", "sign", "sign", "revoke"]


async def test_two_rounds_at_once_are_one() -> None:
    case = Case("wrong")
    outcome = await case.issue()
    case.engine.settle("uid-1", outcome.fingerprint)
    await asyncio.gather(case.engine.clean_up(), case.engine.clean_up())
    assert case.provider.count("revoke") == 1


async def test_the_memory_is_given_up_after_a_day() -> None:
    case = Case()
    outcome = await case.issue()
    assert case.engine.orphans == 1
    await asyncio.sleep(86_500)
    case.engine.settle("uid-1", outcome.fingerprint)
    await case.engine.clean_up()
    assert case.engine.orphans == 0
    assert case.provider.count("revoke") == 0
