"""`spec.trust: All`: whose roots go into `status.ca`, and that reading them costs no certificate."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from issuer.authorities.errors import NotSentError, Unauthorized
from issuer.pki.certificate import load_chain, to_pem
from issuer.signing import trust
from issuer.signing.plan import Issued
from tests.unit.pki.pki_case import CA, make_ca
from tests.unit.signing import signing_case
from tests.unit.signing.signing_case import FakeAuthority, FakeSession, Provider, common, engine, order, planned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from issuer.signing.engine import FailoverEngine
    from issuer.signing.plan import IssuerPlan, PlannedAuthority

pytestmark = pytest.mark.looptime

SIGNER, SECOND, THIRD = make_ca("signer"), make_ca("second"), make_ca("third")


@dataclass
class Knowing(FakeAuthority):
    """An authority that knows its roots itself."""

    knows: Sequence[CA] = ()
    reads: int = 0
    hangs: bool = field(default=False)

    async def session(self, *, fresh: bool = False) -> FakeSession:
        self.reads += 1
        if self.hangs and self.reads > 1:
            await asyncio.Event().wait()
        return replace(await super().session(fresh=fresh), roots=pem_of(self.knows))


def pem_of(cas: Sequence[CA]) -> bytes:
    return to_pem(one.certificate for one in cas)


def knowing(name: str, *knows: CA, **options: Any) -> Knowing:
    return Knowing(Provider(name), name, account=f"{name}/1", knows=knows, **options)


def configured(authority: FakeAuthority, *roots: CA) -> PlannedAuthority:
    async def read() -> tuple[x509.Certificate, ...]:
        return tuple(one.certificate for one in roots)

    return replace(planned(authority, common(authority.name)), roots=read)


def plan_of(*authorities: PlannedAuthority | FakeAuthority) -> IssuerPlan:
    return replace(signing_case.plan_of(*authorities), trusts_all=True)


async def trusted(machine: FailoverEngine, plan: IssuerPlan, uid: str = "uid-1") -> list[CA]:
    """Whose roots `status.ca` holds, in that order."""
    outcome = await machine.sign(order(uid), plan, deadline=3600)
    assert isinstance(outcome, Issued)
    by_certificate = {one.certificate: one for one in (SIGNER, SECOND, THIRD)}
    return [by_certificate[root] for root in load_chain(outcome.ca)] if outcome.ca else []


async def test_configured_roots_come_before_those_that_an_authority_knows_itself() -> None:
    plan = plan_of(knowing("edge", SIGNER), configured(knowing("backup", SECOND), THIRD))
    assert await trusted(engine(), plan) == [SIGNER, THIRD]


async def test_the_signers_roots_come_first_and_each_root_once() -> None:
    edge = knowing("edge", SECOND, unsupported=True)
    plan = plan_of(edge, knowing("backup", SIGNER), knowing("last", SECOND, SIGNER, THIRD))
    assert await trusted(engine(), plan) == [SIGNER, SECOND, THIRD]


async def test_nothing_of_the_others_is_read_where_the_signers_roots_are_enough() -> None:
    backup = knowing("backup", SECOND)
    outcome = await engine().sign(order(), signing_case.plan_of(knowing("edge", SIGNER), backup), deadline=3600)
    assert isinstance(outcome, Issued)
    assert outcome.ca == b""
    assert backup.reads == 0


@pytest.mark.parametrize("how", ["gone", "hangs"])
async def test_an_authority_that_cannot_be_read_goes_in_with_what_was_read_last(how: str) -> None:
    machine, backup = engine(), knowing("backup", SECOND)
    plan = plan_of(knowing("edge", SIGNER), backup)
    assert await trusted(machine, plan) == [SIGNER, SECOND]
    if how == "gone":
        backup.session_error = Unauthorized("backup", "Secret web/backup-ca does not exist")
    else:
        backup.hangs = True
    begun = asyncio.get_running_loop().time()
    assert await trusted(machine, plan, "uid-2") == [SIGNER, SECOND]
    assert asyncio.get_running_loop().time() - begun < trust.PATIENCE + 1


async def test_an_authority_that_could_never_be_read_costs_no_certificate() -> None:
    backup = knowing("backup", session_error=Unauthorized("backup", "Secret web/backup-ca does not exist"))
    assert await trusted(engine(), plan_of(knowing("edge", SIGNER), backup)) == [SIGNER]


async def test_a_guard_that_allows_no_more_calls_costs_no_certificate() -> None:
    machine, backup = engine(), knowing("backup", SECOND)
    plan = plan_of(knowing("edge", SIGNER), backup)
    assert await trusted(machine, plan) == [SIGNER, SECOND]
    backup.session_error = NotSentError(RuntimeError("this replica is stopping"))  # type: ignore[assignment]
    assert await trusted(machine, plan, "uid-2") == [SIGNER, SECOND]


@pytest.mark.parametrize(("state", "roots"), [("Draining", [SIGNER, SECOND]), ("Disabled", [SIGNER])])
async def test_one_that_is_draining_is_trusted_still_and_one_that_is_disabled_is_not(
    state: str, roots: list[CA]
) -> None:
    backup = planned(knowing("backup", SECOND), structs.replace(common("backup"), state=state))
    assert await trusted(engine(), plan_of(knowing("edge", SIGNER), backup)) == roots
