"""A fallback is tried before it is needed: who is asked, what is left behind, and what the issuer says of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from issuer.controllers import rehearsals
from issuer.sandbox import objects
from tests.component.harness import BRISK, QUICK, at_work, ended, long_after, signatures, swept, told

if TYPE_CHECKING:
    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

REHEARSAL: dict[str, Any] = {"dnsNames": ["rehearsal.example.com"], "every": "1h"}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was never rehearsed is due at once."""
    monkeypatch.setattr(rehearsals, "FIRST_WITHIN", timedelta(0))


async def issuer(stage: Stage, *, edge: Any = None, **spec: Any) -> None:
    """An issuer with the CDN and a CA; waits until it has a status."""
    await at_work(stage)
    authorities = [{**stage.edge(**QUICK), **(edge or {})}, stage.backup()]
    await stage.apply(objects.issuer("web", authorities, namespace=stage.namespace, **spec))
    await stage.cluster.wait_for(lambda: len(status(stage)) == len(authorities))


def status(stage: Stage) -> dict[str, Any]:
    """What the issuer says of each authority."""
    found = stage.cluster.get("cdnissuers", stage.namespace, "web").get("status", {})
    return {one["name"]: one for one in found.get("authorities", [])}


def ready(stage: Stage) -> dict[str, Any]:
    conditions = stage.cluster.get("cdnissuers", stage.namespace, "web")["status"]["conditions"]
    return next(one for one in conditions if one["type"] == "Ready")


async def rehearsed(stage: Stage, authority: str, result: str) -> dict[str, Any]:
    """The last rehearsal of an authority, once the status has one that ended so."""

    def there() -> bool:
        last = status(stage)[authority].get("lastRehearsal", {})
        return bool(last.get("result") == result)

    await stage.cluster.wait_for(there)
    found: dict[str, Any] = status(stage)[authority]["lastRehearsal"]
    return found


async def revoked(stage: Stage) -> None:
    """Wait until the provider has no certificate that lives."""
    await swept(
        stage, lambda: bool(stage.cdn.certificates) and all(one.revoked for one in stage.cdn.certificates.values())
    )


async def test_each_authority_signs_for_nobody_and_what_it_signed_is_revoked(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await issuer(stage, rehearsal=REHEARSAL)
        await stage.program.rehearsals.look()
        for authority in ("edge", "backup"):
            last = await rehearsed(stage, authority, "Succeeded")
            assert last["duration"]
            assert "message" not in last
        assert ready(stage)["reason"] == "AuthoritiesAvailable"
        assert signatures(stage) == 1
        assert [one.hostnames for one in stage.cdn.certificates.values()] == [("rehearsal.example.com",)]
        await revoked(stage)
        await stage.program.rehearsals.look()
        assert signatures(stage) == 1, "not due again"
        assert "edge signed a rehearsal" in await told(stage, "web", "RehearsalSucceeded")


async def test_a_rehearsal_that_fails_makes_the_issuer_degraded_until_the_authority_signs(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await issuer(stage, rehearsal=REHEARSAL)
        fault = stage.cdn.faults.set("status", status=503, methods=["POST"])
        await stage.program.rehearsals.look()
        last = await rehearsed(stage, "edge", "Failed")
        assert "HTTP 503" in last["message"]
        await stage.cluster.wait_for(lambda: ready(stage)["reason"] == "Degraded")
        assert ready(stage)["status"] == "True", "somebody can sign"
        assert "HTTP 503" in await told(stage, "web", "RehearsalFailed")
        stage.cdn.faults.clear(fault)
        await stage.ask("www", "web")
        await ended(stage, "www")
        await stage.cluster.wait_for(lambda: ready(stage)["reason"] == "AuthoritiesAvailable")


async def test_a_certificate_whose_answer_is_lost_is_found_and_revoked_too(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await issuer(stage, rehearsal=REHEARSAL)
        fault = stage.cdn.faults.set("reset-after", methods=["POST"])
        await stage.program.rehearsals.look()
        stage.cdn.faults.clear(fault)
        long_after(stage)
        await revoked(stage)


@pytest.mark.parametrize("spec", [{}, {"rehearsal": REHEARSAL}])
async def test_nothing_is_rehearsed_unless_the_issuer_and_the_controller_say_so(
    new_stage: NewStage, spec: dict[str, Any]
) -> None:
    async with new_stage(replace(BRISK, rehearsals=not spec)) as stage:
        await issuer(stage, **spec)
        for chore in stage.program.rehearsals.chores:
            await chore.run()
        assert bool(stage.program.rehearsals.chores) is not bool(spec)
        assert signatures(stage) == 0
        assert "lastRehearsal" not in status(stage)["backup"]


async def test_an_account_without_calls_left_is_spared(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await issuer(stage, rehearsal=REHEARSAL)
        stage.cdn.faults.set("rate-limited", seconds=600)
        await stage.ask("www", "web")
        await ended(stage, "www")  # by the backup
        asked = signatures(stage)
        await stage.program.rehearsals.look()
        assert signatures(stage) == asked
        assert "lastRehearsal" not in status(stage)["edge"]


async def test_a_name_that_the_authority_does_not_sign_is_told(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await issuer(stage, rehearsal={"dnsNames": ["rehearsal.internal"]})
        await stage.program.rehearsals.look()
        last = await rehearsed(stage, "edge", "Failed")
        assert "rehearsal.internal" in last["message"]
        await rehearsed(stage, "backup", "Succeeded")
        assert signatures(stage) == 0


async def test_what_a_former_process_rehearsed_is_not_rehearsed_again(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await issuer(stage, rehearsal=REHEARSAL)
        await stage.program.rehearsals.look()
        await rehearsed(stage, "edge", "Succeeded")
        await rehearsed(stage, "backup", "Succeeded")
        before = status(stage)
        await stage.stop_controller()
        await stage.start_controller()
        await at_work(stage)
        await stage.program.rehearsals.look()
        assert signatures(stage) == 1
        assert status(stage)["backup"]["lastRehearsal"] == before["backup"]["lastRehearsal"]


async def test_two_looks_rehearse_one_after_the_other(new_stage: NewStage) -> None:
    async with new_stage(BRISK) as stage:
        await issuer(stage, rehearsal=REHEARSAL)
        await asyncio.gather(stage.program.rehearsals.look(), stage.program.rehearsals.look())
        assert signatures(stage) == 1, "the second look sees what the first has done"
