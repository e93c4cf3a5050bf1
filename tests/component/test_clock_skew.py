"""A controller whose clock is wrong: what it is asked to sign is signed once, and it keeps its Lease."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from issuer.api.request import signer_of
from issuer.controllers import program
from tests.component.harness import at_work, ended, live, message, one_authority, signatures
from tests.component.rig import holder, options, until

if TYPE_CHECKING:
    from tests.component.harness import NewStage

SKEWS = {"4 minutes ahead": 240, "4 minutes behind": -240}
HOURS = {"2 hours ahead": (7200, "sooner than 7 days"), "2 hours behind": (-7200, "is not valid before")}


@pytest.mark.parametrize("skew", SKEWS)
async def test_a_request_is_signed_once_by_a_clock_that_is_wrong(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch, skew: str
) -> None:
    wrong = timedelta(seconds=SKEWS[skew])
    monkeypatch.setattr(program, "utc_now", lambda: datetime.now(UTC) + wrong)
    async with new_stage(options(identity="skewed")) as stage:
        await one_authority(stage)
        await at_work(stage)
        csr = await stage.ask("www", "alone")
        assert signer_of(await ended(stage, "www")) == "edge"
        assert signatures(stage) == live(stage, csr) == 1


@pytest.mark.parametrize("skew", HOURS)
async def test_a_clock_that_is_hours_wrong_says_which_time_of_the_certificate_it_does_not_believe(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch, skew: str
) -> None:
    seconds, why = HOURS[skew]
    monkeypatch.setattr(program, "utc_now", lambda: datetime.now(UTC) + timedelta(seconds=seconds))
    async with new_stage(options(identity="skewed")) as stage:
        await one_authority(stage)
        await at_work(stage)
        await stage.ask("www", "alone")
        await stage.cluster.wait_for(lambda: stage.requests()["www"].ready is not None)
        assert why in message(stage.requests()["www"])


async def test_a_clock_that_jumps_neither_loses_nor_shares_the_lease(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = iter([0, 7200, -7200, 300, -300])
    monkeypatch.setattr(program, "utc_now", lambda: datetime.now(UTC) + timedelta(seconds=next(jumps, 0)))
    async with new_stage(options(identity="first")) as stage:
        await at_work(stage)
        other = stage.replica(options(identity="second"))
        await until(lambda: other.program.unready() is None)
        await one_authority(stage)
        names = [f"www-{number}" for number in range(5)]
        for name in names:
            await stage.ask(name, "alone")
        await stage.finished(names)
        assert holder(stage) == "first"
        assert not other.program.is_leading
        await other.stop()
        assert stage.cdn.ledger.duplicates() == 0
