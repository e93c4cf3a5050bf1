"""What a former process may have signed: suspected until a look has answered, at no more cost than it must have."""

from __future__ import annotations

import asyncio

import pytest

from issuer.signing.plan import Issued, NotIssued
from tests.unit.signing.signing_case import (
    FakeAuthority,
    Heard,
    Provider,
    Step,
    common,
    engine,
    order,
    plan_of,
    planned,
)

pytestmark = pytest.mark.looptime
ONCE = common(attempts=1, failures=1)


async def turned_away(step: Step | str) -> tuple[FakeAuthority, Issued | NotIssued]:
    """Another request meets a fault, then the suspect is turned away once, then it has its turn."""
    edge = FakeAuthority(Provider("edge").will(step))
    machine, plan = engine(), plan_of(planned(edge, ONCE))
    edge.provider.make(order("suspect"))
    machine.suspect("suspect")
    await machine.sign(order("other"), plan, deadline=3600)
    first = await machine.sign(order("suspect"), plan, deadline=3600)
    assert isinstance(first, NotIssued)
    await asyncio.sleep(max(first.retry_in, 1))
    return edge, await machine.sign(order("suspect"), plan, deadline=3600)


@pytest.mark.parametrize("step", ["refused", Step("limited", retry_after=300), "unauthorized"])
async def test_a_turn_in_which_nobody_looked_changes_nothing(step: Step | str) -> None:
    edge, outcome = await turned_away(step)
    assert isinstance(outcome, Issued)
    assert len(edge.provider.made("suspect")) == 1


async def test_what_another_authority_does_changes_nothing() -> None:
    edge = FakeAuthority(Provider("edge").will("refused"))
    backup = FakeAuthority(Provider("backup", default=Step("http500")), "backup", account="backup/1")
    machine, plan = engine(), plan_of(planned(edge, ONCE), planned(backup, common("backup", attempts=1)))
    edge.provider.make(order("suspect"))
    machine.suspect("suspect")
    await machine.sign(order("other"), plan, deadline=3600)
    assert isinstance(await machine.sign(order("suspect"), plan, deadline=3600), NotIssued)
    await asyncio.sleep(40)
    assert isinstance(await machine.sign(order("suspect"), plan, deadline=3600), Issued)
    assert len(edge.provider.made("suspect")) == 1


async def test_what_another_request_with_the_same_key_has_received_is_not_adopted() -> None:
    edge = FakeAuthority(Provider("edge"))
    machine, plan = engine(), plan_of(edge)
    first = await machine.sign(order("first", key=b"shared"), plan, deadline=3600)
    machine.suspect("second")
    second = await machine.sign(order("second", key=b"shared"), plan, deadline=3600)
    assert isinstance(first, Issued)
    assert isinstance(second, Issued)
    assert first.fingerprint != second.fingerprint


async def test_a_look_that_fails_changes_nothing() -> None:
    edge = FakeAuthority(Provider("edge").will("refused", "refused").will_find("http500"))
    machine, plan = engine(), plan_of(planned(edge, common(attempts=1, failures=100)))
    edge.provider.make(order())
    machine.suspect("uid-1")
    assert isinstance(await machine.sign(order(), plan, deadline=3600), NotIssued)
    assert isinstance(await machine.sign(order(), plan, deadline=3600), Issued)
    assert len(edge.provider.certificates) == 1


async def test_each_suspect_is_looked_for_once_and_leaves_nothing_to_clean_up() -> None:
    edge = FakeAuthority(Provider("edge"))
    machine, plan = engine(), plan_of(edge)
    for number in range(20):
        machine.suspect(f"u{number}")
        outcome = await machine.sign(order(f"u{number}"), plan, deadline=3600)
        assert isinstance(outcome, Issued)
        machine.settle(f"u{number}", outcome.fingerprint)
    for _ in range(10):
        await asyncio.sleep(60)
        await machine.clean_up()
    assert edge.provider.count("find") == 20
    assert machine.orphans == 0


async def test_a_certificate_that_a_former_process_delivered_is_not_revoked() -> None:
    """The same private key: A is in use, and too short for B, which is suspected after the restart."""
    edge = FakeAuthority(Provider("edge"))
    in_use = edge.provider.make(order("a", key=b"shared"), good=False)
    await asyncio.sleep(60)
    machine, plan = engine(), plan_of(planned(edge, common(attempts=2, failures=100)))
    machine.suspect("b")
    edge.provider.will("reset")
    outcome = await machine.sign(order("b", key=b"shared"), plan, deadline=3600)
    assert isinstance(outcome, Issued)
    machine.settle("b", outcome.fingerprint)
    for _ in range(20):
        await asyncio.sleep(60)
        await machine.clean_up()
    assert not in_use.revoked
    assert machine.orphans == 0


async def test_a_rotated_credential_makes_no_look_every_round() -> None:
    edge = FakeAuthority(Provider("edge").will("reset"))
    backup = FakeAuthority(Provider("backup"), "backup", account="backup/1", remembers=False)
    machine, plan = engine(), plan_of(planned(edge, common(attempts=1, failures=100)), backup)
    outcome = await machine.sign(order(), plan, deadline=3600)
    assert isinstance(outcome, Issued)
    machine.settle("uid-1", outcome.fingerprint)
    edge.account = "edge/token-2"
    looks = edge.provider.count("find")
    for _ in range(120):
        await asyncio.sleep(30)
        await machine.clean_up()
    assert edge.provider.count("find") == looks + 1
    assert machine.orphans == 0


async def test_what_is_signed_in_the_backoff_is_found_before_the_next_post() -> None:
    edge = FakeAuthority(Provider("edge").will(Step("hang_signed", late=10.3)))
    spec = common(attempt="10s", attempts=2, backoff=("5s", "5s"), failures=100)
    machine, plan = engine(seed=3), plan_of(planned(edge, spec))
    assert isinstance(await machine.sign(order(), plan, deadline=3600), Issued)
    assert [call.kind for call in edge.provider.calls] == ["sign", "find"]
    assert len(edge.provider.certificates) == 1


async def test_a_look_keeps_what_it_found_before_its_time_was_up() -> None:
    """It stops at its match, so that what comes after it cannot cost it."""
    edge = FakeAuthority(Provider("edge"))
    edge.provider.make(order())
    edge.provider.stalls_after = 1
    machine = engine(Heard())
    machine.suspect("uid-1")
    outcome = await machine.sign(order(), plan_of(edge), deadline=3600)
    assert isinstance(outcome, Issued)
    assert len(edge.provider.certificates) == 1


async def test_the_provider_sees_no_more_calls_than_its_limit_allows_whatever_they_are_for() -> None:
    """A look is several calls; all of them, and those of checks and clean-up, take a token each."""
    edge = FakeAuthority(Provider("edge").will(*["reset"] * 5))
    edge.provider.calls_of_a_look = 7
    backup = FakeAuthority(Provider("backup"), "backup", account="backup/1", remembers=False)
    spec = common(attempts=1, failures=100, rate=4, burst=8)
    machine, plan = engine(), plan_of(planned(edge, spec), backup)
    for number in range(40):
        machine.suspect(f"u{number}")

    async def one(number: int) -> None:
        outcome = await machine.sign(order(f"u{number}"), plan, deadline=3600)
        machine.settle(f"u{number}", outcome.fingerprint if isinstance(outcome, Issued) else None)

    work = [asyncio.create_task(one(number)) for number in range(40)]
    for _ in range(40):
        await asyncio.sleep(20)
        await machine.check(plan.authorities[0])
        await machine.clean_up()
    await asyncio.gather(*work)
    times = sorted(edge.provider.wire)
    assert len(times) > 100
    for begin, since in enumerate(times):
        within = [when for when in times[begin:] if when < since + 10]
        assert len(within) <= 8 + 4 * 10 + 1
