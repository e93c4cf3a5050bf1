"""Who signs, and why the others did not."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from issuer.authorities.errors import AuthorityError, Unavailable
from issuer.signing.plan import Issued, NotIssued
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

if TYPE_CHECKING:
    from issuer.signing.plan import IssuerPlan

pytestmark = pytest.mark.looptime


def two(**faults: str) -> tuple[FakeAuthority, FakeAuthority]:
    """An edge that does what it is told for ever, and a backup."""
    edge = FakeAuthority(Provider("edge", default=Step(faults.get("edge", "ok"))))
    backup = FakeAuthority(
        Provider("backup", default=Step(faults.get("backup", "ok"))), "backup", account="backup/1", remembers=False
    )
    return edge, backup


async def issued(*authorities: FakeAuthority, **options: bool | frozenset[str]) -> Issued:
    outcome = await engine().sign(order(), plan_of(*authorities), deadline=3600, **options)  # type: ignore[arg-type]
    assert isinstance(outcome, Issued)
    return outcome


async def not_issued(*authorities: FakeAuthority, **options: bool | frozenset[str]) -> NotIssued:
    outcome = await engine().sign(order(), plan_of(*authorities), deadline=3600, **options)  # type: ignore[arg-type]
    assert isinstance(outcome, NotIssued)
    return outcome


async def test_the_first_authority_signs_if_it_can() -> None:
    edge, backup = two()
    result = await issued(edge, backup)
    assert (result.authority, result.position, result.passed_over) == ("edge", 0, ())
    assert result.granted == result.requested == timedelta(days=7)
    assert backup.provider.calls == []


@pytest.mark.parametrize("fault", ["refused", "http500", "wrong", "hang", "reset", "limited", "unauthorized", "crash"])
async def test_when_the_first_fails_the_second_signs(fault: str) -> None:
    result = await issued(*two(edge=fault))
    assert (result.authority, result.position) == ("backup", 1)
    assert [failure.authority for failure in result.passed_over] == ["edge"]


async def test_a_rejected_request_ends_at_once_and_goes_nowhere_else() -> None:
    edge, backup = two(edge="rejected")
    result = await not_issued(edge, backup)
    assert result.terminal
    assert edge.provider.count("sign") == 1
    assert backup.provider.calls == []
    (refusal,) = result.failures
    assert str(refusal) == "edge: hostname not in the zone: shop.example.com (HTTP 400, code 1010)"


async def test_a_rejected_request_goes_on_if_the_user_wants_it() -> None:
    edge, backup = two(edge="rejected")
    outcome = await engine().sign(order(), plan_of(edge, backup, failover_on=["Rejected"]), deadline=3600)
    assert isinstance(outcome, Issued)


async def test_rejected_by_every_one_is_terminal_too() -> None:
    edge, backup = two(edge="rejected", backup="rejected")
    outcome = await engine().sign(order(), plan_of(edge, backup, failover_on=["Rejected"]), deadline=3600)
    assert isinstance(outcome, NotIssued)
    assert outcome.terminal


async def test_a_cause_that_is_not_in_the_list_ends_the_pass_but_not_the_request() -> None:
    edge, backup = two(edge="refused")
    outcome = await engine().sign(order(), plan_of(edge, backup, failover_on=["RateLimited"]), deadline=3600)
    assert isinstance(outcome, NotIssued)
    assert not outcome.terminal
    assert backup.provider.calls == []


async def test_an_authority_that_can_never_sign_it_is_left_out_without_a_call() -> None:
    edge, backup = two()
    edge.unsupported = True
    result = await issued(edge, backup)
    assert [failure.cause for failure in result.passed_over] == ["Unsupported"]
    assert edge.provider.calls == []


async def test_if_none_can_ever_sign_it_the_request_ends() -> None:
    edge, backup = two()
    edge.unsupported = backup.unsupported = True
    result = await not_issued(edge, backup)
    assert result.terminal
    assert not result.attempted


async def test_unable_and_down_is_not_the_end() -> None:
    edge, backup = two(backup="refused")
    edge.unsupported = True
    result = await not_issued(edge, backup)
    assert not result.terminal
    assert [failure.cause for failure in result.failures] == ["Unsupported", "Unavailable"]


async def test_the_request_may_name_who_signs() -> None:
    edge, backup = two()
    result = await issued(edge, backup, only=frozenset({"backup"}))
    assert (result.authority, result.position, result.passed_over) == ("backup", 1, ())
    assert edge.provider.calls == []


async def test_all_down_tells_of_each_one_the_last_error() -> None:
    result = await not_issued(*two(edge="http500", backup="refused"))
    assert [str(failure) for failure in result.failures] == [
        "edge: server error (HTTP 500)",
        "backup: connection refused",
    ]
    assert result.attempted


async def test_a_failure_that_is_kept_keeps_nothing_of_the_pass_that_it_came_from() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("crash")))
    outcome = await engine().sign(order(), plan_of(edge), deadline=3600)
    assert isinstance(outcome, NotIssued)
    (failure,) = outcome.failures
    assert (failure.__traceback__, failure.__context__, failure.__cause__) == (None, None, None)


async def test_a_failover_is_told_once_with_its_cause() -> None:
    heard = Heard()
    edge, backup = two(edge="refused")
    await engine(heard).sign(order(), plan_of(edge, backup), deadline=3600)
    assert heard.failovers == [("shop/cdn", "edge", "backup", "Unavailable")]


async def test_an_unable_first_choice_is_no_failover() -> None:
    heard = Heard()
    edge, backup = two()
    edge.unsupported = True
    await engine(heard).sign(order(), plan_of(edge, backup), deadline=3600)
    assert heard.failovers == []


async def test_each_call_is_told_with_its_result() -> None:
    heard = Heard()
    edge, backup = two(edge="wrong")
    await engine(heard).sign(order(), plan_of(planned(edge, common(attempts=1)), backup), deadline=3600)
    assert heard.attempts == [
        ("shop/cdn", "edge", "sign", "WrongCertificate"),
        ("shop/cdn", "backup", "sign", "ok"),
    ]


async def test_roots_that_cannot_be_read_cost_no_certificate() -> None:
    edge, backup = two()

    async def broken() -> tuple[()]:
        raise Unavailable("edge", "the Kubernetes API did not answer")

    entry = planned(edge)
    entry = type(entry)(entry.authority, entry.common, broken)
    heard = Heard()
    machine = engine(heard)
    for uid in ("u1", "u2"):
        outcome = await machine.sign(order(uid), plan_of(entry, backup), deadline=3600)
        assert isinstance(outcome, Issued)
        assert outcome.authority == "backup"
    assert edge.provider.calls == []
    assert heard.recoveries == [], "its credential can be read, but that is no recovery"


async def test_a_short_deadline_is_shared_so_that_the_next_one_still_gets_its_time() -> None:
    edge, backup = two(edge="hang")
    spec = common(attempt="60s", turn="2m")
    outcome = await engine().sign(order(), plan_of(planned(edge, spec), backup), deadline=60)
    assert isinstance(outcome, Issued)
    assert clock() < 60


async def test_an_error_of_our_own_in_an_authority_does_not_cost_the_failover() -> None:
    result = await issued(*two(edge="crash"))
    (failure,) = result.passed_over
    assert isinstance(failure, AuthorityError)
    assert failure.message == "internal error: KeyError"


def with_states(*authorities: FakeAuthority, **states: str) -> IssuerPlan:
    plan = plan_of(*authorities)
    changed = (
        dataclasses.replace(one, common=structs.replace(one.common, state=states.get(one.name, "Active")))
        for one in plan.authorities
    )
    return dataclasses.replace(plan, authorities=tuple(changed))


@pytest.mark.parametrize("state", ["Draining", "Disabled"])
async def test_one_that_is_withdrawn_is_as_good_as_not_in_the_list(state: str) -> None:
    edge, backup = two()
    outcome = await engine().sign(order(), with_states(edge, backup, edge=state), deadline=3600)
    assert isinstance(outcome, Issued)
    assert (outcome.authority, outcome.passed_over) == ("backup", ())
    assert edge.provider.calls == []


async def test_one_that_is_withdrawn_keeps_no_request_open_that_the_others_refuse() -> None:
    edge, backup = two(backup="rejected")
    outcome = await engine().sign(order(), with_states(edge, backup, edge="Disabled"), deadline=3600)
    assert isinstance(outcome, NotIssued)
    assert outcome.terminal


@pytest.mark.parametrize("only", [None, frozenset({"edge"})])
async def test_where_all_that_may_sign_are_withdrawn_the_request_waits(only: frozenset[str] | None) -> None:
    edge, backup = two()
    states = {"edge": "Draining"} if only else {"edge": "Draining", "backup": "Disabled"}
    outcome = await engine().sign(order(), with_states(edge, backup, **states), deadline=3600, only=only)
    assert isinstance(outcome, NotIssued)
    assert not outcome.terminal
    assert str(outcome.failures[0]) == "edge: it signs nothing, since its state is Draining"
    assert edge.provider.calls == backup.provider.calls == []


async def test_one_that_cannot_sign_here_just_now_has_had_its_turn() -> None:
    """Or a request that is past its deadline when it is first seen would wait for ever."""
    edge, backup = two(edge="not here")
    outcome = await engine().sign(order(), plan_of(edge), deadline=3600)
    assert isinstance(outcome, NotIssued)
    assert (outcome.attempted, outcome.terminal) == (True, False)
    never = await engine().sign(order(), plan_of(two(edge="unsupported")[0]), deadline=3600)
    assert isinstance(never, NotIssued)
    assert (never.attempted, never.terminal) == (False, True)
    issued = await engine().sign(order(), plan_of(edge, backup, failover_on=[]), deadline=3600)
    assert isinstance(issued, Issued)
