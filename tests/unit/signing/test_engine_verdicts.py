"""Who is to blame for what, and what ends a request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from issuer.authorities.errors import Unsupported
from issuer.pki.verify import UntrustedError
from issuer.signing.failures import Untrusted
from issuer.signing.plan import Issued, NotIssued, PlannedAuthority
from tests.unit.signing import signing_case
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

if TYPE_CHECKING:
    from typing import Any

    from cryptography import x509

    from issuer.signing.engine import FailoverEngine

pytestmark = pytest.mark.looptime
ONCE = common(attempts=1, failures=1)


def two(edge: Provider, backup: Provider, **options: Any) -> Any:
    return plan_of(
        planned(FakeAuthority(edge), common(attempts=1, failures=100)),
        planned(FakeAuthority(backup, "backup", account="backup/1"), common("backup", attempts=1)),
        **options,
    )


async def test_a_later_ones_refusal_is_not_the_end_while_the_first_is_merely_down() -> None:
    edge, backup = Provider("edge").will("http500"), Provider("backup", default=Step("rejected"))
    machine, plan = engine(), two(edge, backup)
    outcome = await machine.sign(order(), plan, deadline=3600)
    assert isinstance(outcome, NotIssued)
    assert not outcome.terminal
    assert [failure.cause for failure in outcome.failures] == ["Unavailable", "Rejected"]
    await asyncio.sleep(20)
    assert isinstance(await machine.sign(order(), plan, deadline=3600), Issued)


async def test_one_that_has_refused_a_request_is_not_asked_for_it_again() -> None:
    edge, backup = Provider("edge", default=Step("refused")), Provider("backup", default=Step("rejected"))
    machine, plan = engine(), two(edge, backup)
    for _ in range(5):
        outcome = await machine.sign(order(), plan, deadline=3600)
        assert isinstance(outcome, NotIssued)
        assert not outcome.terminal
    assert backup.count("sign") == 1
    await machine.sign(order("another"), plan, deadline=3600)
    assert backup.count("sign") == 2


async def test_when_the_first_refuses_as_well_it_is_the_end() -> None:
    edge, backup = (
        Provider("edge", default=Step("rejected")).will("refused"),
        Provider("backup", default=Step("rejected")),
    )
    machine, plan = engine(), two(edge, backup)
    await machine.sign(order(), plan, deadline=3600)
    outcome = await machine.sign(order(), plan, deadline=3600)
    assert isinstance(outcome, NotIssued)
    assert outcome.terminal


async def test_one_that_cannot_sign_for_now_is_no_end() -> None:
    edge = FakeAuthority(Provider("edge"))
    edge.provider.unsupported = Unsupported("edge", "the CA ends soon", for_now=True)
    backup = FakeAuthority(Provider("backup", default=Step("rejected")), "backup", account="backup/1")
    outcome = await engine().sign(order(), plan_of(edge, backup), deadline=3600)
    assert isinstance(outcome, NotIssued)
    assert not outcome.terminal


async def test_one_that_finds_only_when_asked_that_it_cannot_sign_leaves_it_to_the_next() -> None:
    edge = FakeAuthority(Provider("edge"))
    edge.provider.unsupported = Unsupported("edge", "the CA's name constraints forbid a name")
    backup = FakeAuthority(Provider("backup"), "backup", account="backup/1")
    outcome = await engine().sign(order(), plan_of(edge, backup), deadline=3600)
    assert isinstance(outcome, Issued)
    assert outcome.authority == "backup"


def untrusting(provider: Provider, roots: tuple[x509.Certificate, ...]) -> PlannedAuthority:
    async def read() -> tuple[x509.Certificate, ...]:
        return roots

    return PlannedAuthority(FakeAuthority(provider), common(attempts=3, failures=3), read)


def engine_with_roots(heard: Heard) -> FailoverEngine:
    """A `roots` that is not empty is one that nothing meets."""

    def verify(answer_chain: bytes, answer_ca: bytes, csr: Any, *, roots: Any, at_least: Any, now: Any) -> Any:
        if roots == ("other roots",):
            raise UntrustedError("the certificate does not chain up to the configured roots")
        return signing_case.fake_verify(answer_chain, answer_ca, csr, roots=roots, at_least=at_least, now=now)

    return engine(heard, verify=verify)


async def test_a_wrong_bundle_of_one_issuer_opens_nobodys_breaker() -> None:
    heard = Heard()
    provider, machine = Provider("edge"), engine_with_roots(heard)
    wrong = plan_of(untrusting(provider, ("other roots",)), name="wrong")  # type: ignore[arg-type]
    right = plan_of(planned(FakeAuthority(provider), common(failures=3)), name="right")
    for number in range(10):
        outcome = await machine.sign(order(f"w{number}"), wrong, deadline=3600)
        assert isinstance(outcome, NotIssued)
        assert isinstance(outcome.failures[0], Untrusted)
    assert heard.breakers == []
    for number in range(10):
        assert isinstance(await machine.sign(order(f"r{number}"), right, deadline=3600), Issued)
    assert heard.breakers == []
    assert provider.count("sign") == 20, "a certificate that is wrong for its issuer is not made again"
    assert machine.states(wrong)[0].state == "Misconfigured"
    assert machine.states(right)[0].state == "Available"


async def test_a_request_whose_certificate_meets_no_root_is_asked_for_again_once_the_roots_change() -> None:
    provider, machine = Provider("edge"), engine_with_roots(Heard())
    bundle = ["other roots"]

    async def read() -> Any:
        return tuple(bundle)

    plan = plan_of(PlannedAuthority(FakeAuthority(provider), common(), read))
    for _ in range(5):
        assert isinstance(await machine.sign(order(), plan, deadline=3600), NotIssued)
    assert provider.count("sign") == 1
    bundle[:] = ["the right ones"]
    assert isinstance(await machine.sign(order(), plan, deadline=3600), Issued)
    assert machine.states(plan)[0].state == "Available"


async def test_wrong_certificates_count_by_request_and_not_by_attempt() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("wrong")))
    machine, plan = engine(), plan_of(planned(edge, common(attempts=3, failures=3)))
    for _ in range(3):
        await machine.sign(order("a"), plan, deadline=3600)
    assert machine.states(plan)[0].state == "Degraded"
    for uid in ("b", "c"):
        await machine.sign(order(uid), plan, deadline=3600)
    assert machine.states(plan)[0].state == "Open"


async def test_a_credential_that_may_not_sign_stays_refused_until_it_signs() -> None:
    heard = Heard()
    edge = FakeAuthority(Provider("edge").will("unauthorized"))
    machine, plan = engine(heard), plan_of(edge)
    outcome = await machine.sign(order("a"), plan, deadline=3600)
    await machine.check(plan.authorities[0])
    assert machine.states(plan)[0].state == "Unauthorized"
    assert isinstance(outcome, NotIssued)
    await asyncio.sleep(outcome.retry_in)
    assert isinstance(await machine.sign(order("a"), plan, deadline=3600), Issued)
    assert heard.recoveries == ["edge/token-1"]


async def test_after_the_cool_down_one_request_tries_and_the_others_wait_for_it() -> None:
    edge = FakeAuthority(Provider("edge", default=Step("unauthorized")))
    machine, plan = engine(), plan_of(edge)
    await machine.sign(order("a"), plan, deadline=3600)
    await asyncio.sleep(31)
    await asyncio.gather(*(machine.sign(order(f"u{n}"), plan, deadline=3600) for n in range(20)))
    assert edge.provider.count("sign") == 2


async def test_after_the_cool_down_it_is_tried_with_what_is_in_the_secret_then() -> None:
    edge = FakeAuthority(Provider("edge").will("unauthorized"))
    machine, plan = engine(), plan_of(edge)
    await machine.sign(order("a"), plan, deadline=3600)
    edge.fresh_account = "edge/token-2"
    await asyncio.sleep(31)
    assert isinstance(await machine.sign(order("b"), plan, deadline=3600), Issued)
    assert [call.account for call in edge.provider.calls] == ["edge/token-1", "edge/token-2"]


async def test_a_replaced_credential_is_seen_without_a_request() -> None:
    heard = Heard()
    edge = FakeAuthority(Provider("edge").will("unauthorized"))
    machine, plan = engine(heard), plan_of(edge)
    await machine.sign(order("a"), plan, deadline=3600)
    await machine.watch_credentials()
    assert heard.recoveries == []
    edge.fresh_account = "edge/token-2"
    await machine.watch_credentials()
    assert heard.recoveries == ["edge/token-2"]
    assert isinstance(await machine.sign(order("a"), plan, deadline=3600), Issued)
    reads = edge.fresh_reads
    await machine.watch_credentials()
    assert edge.fresh_reads == reads, "nothing is read for one that is well"


async def test_many_without_a_credential_are_read_a_few_at_a_time_and_each_in_its_turn() -> None:
    edges = [FakeAuthority(Provider("edge").will("unauthorized"), account=f"edge/{number}") for number in range(50)]
    machine = engine()
    for number, edge in enumerate(edges):
        await machine.sign(order(f"u{number}"), plan_of(edge, name=f"i{number}"), deadline=3600)
    before = sum(edge.fresh_reads for edge in edges)
    await machine.watch_credentials()
    assert sum(edge.fresh_reads for edge in edges) - before == 20
    for _ in range(2):
        await machine.watch_credentials()
    assert min(edge.fresh_reads for edge in edges) == 2


async def test_issuers_of_one_account_share_its_check() -> None:
    provider, machine = Provider("edge"), engine()
    plans = [plan_of(FakeAuthority(provider), name=f"issuer-{number}") for number in range(100)]
    for _ in range(10):
        await asyncio.gather(*(machine.check(plan.authorities[0]) for plan in plans))
        await asyncio.sleep(20)
    assert provider.count("check") == 1


async def test_what_a_check_found_holds_until_the_next_one_whatever_is_signed() -> None:
    edge = FakeAuthority(Provider("edge", check_step=Step("refused")))
    machine, plan = engine(), plan_of(edge)
    await machine.check(plan.authorities[0])
    assert isinstance(await machine.sign(order(), plan, deadline=3600), Issued)
    assert machine.states(plan)[0].state == "Degraded"
    await asyncio.sleep(20)
    edge.provider.check_step = Step("ok")
    await machine.check(plan.authorities[0])
    assert machine.states(plan)[0].state == "Available"


async def test_an_account_that_nobody_asks_any_more_says_so() -> None:
    edge = FakeAuthority(Provider("edge").will("refused"))
    machine, plan = engine(), plan_of(planned(edge, ONCE))
    await machine.sign(order("a"), plan, deadline=3600)
    assert machine.states(plan)[0].state == "Open"
    await asyncio.sleep(86400)
    assert machine.states(plan)[0].state == "Untested"
    assert isinstance(await machine.sign(order("b"), plan, deadline=1e6), Issued)
    assert machine.states(plan)[0].state == "Available"
