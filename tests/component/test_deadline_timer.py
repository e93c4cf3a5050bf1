"""The deadline of a request that waits for nothing else: it is met on the loop of production too."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from issuer.api.request import signer_of
from issuer.controllers.decision import DEFAULT_DEADLINE
from issuer.sandbox import objects
from tests.component.harness import ended, one_authority
from tests.component.rig import approve, options, request, until

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.component.harness import NewStage


def between(deadline: datetime, *, before: int = 1) -> Callable[[], datetime]:
    """A clock that is read just before the deadline at first, so many times, and just after it ever after."""
    readings = iter([deadline - timedelta(milliseconds=1)] * before)
    return lambda: next(readings, deadline + timedelta(milliseconds=1))


async def test_a_deadline_that_passes_between_the_decision_and_its_timer_is_met(new_stage: NewStage) -> None:
    async with new_stage(options(leader_election=False), approve=False, controlled=False) as stage:
        await stage.ask("late", "nowhere")
        approved = datetime.now(UTC).replace(microsecond=0)
        await approve(stage, "late", approved)
        await stage.start_controller()
        stage.program.request_controller._now = between(approved + timedelta(seconds=DEFAULT_DEADLINE))
        found = await ended(stage, "late")
        assert found.ready is not None
        assert found.ready.reason == "Failed"
        assert "does not exist" in found.ready.message


async def test_a_request_that_is_first_seen_right_before_its_deadline_gets_a_whole_attempt(
    new_stage: NewStage,
) -> None:
    async with new_stage(options(leader_election=False), approve=False, controlled=False) as stage:
        await stage.apply(objects.issuer("local", [stage.backup()], namespace=stage.namespace))
        await stage.ask("late", "local")
        approved = datetime.now(UTC).replace(microsecond=0)
        await approve(stage, "late", approved)
        await stage.start_controller()
        stage.program.request_controller._now = between(approved + timedelta(seconds=DEFAULT_DEADLINE), before=2)
        assert signer_of(await ended(stage, "late")) == "backup"


async def test_deadlines_spread_over_two_seconds_are_all_met(new_stage: NewStage) -> None:
    """As cert-manager writes them, approvals are whole seconds; here the moments at which timers are set are spread."""
    async with new_stage(options(leader_election=False), approve=False) as stage:
        await until(lambda: stage.program.is_leading)
        names = [f"late-{number}" for number in range(120)]
        for name in names:
            await stage.ask(name, "nowhere")
            whole = datetime.now(UTC).replace(microsecond=0)
            await approve(stage, name, whole - timedelta(seconds=DEFAULT_DEADLINE - 2))
            await asyncio.sleep(0)
        await stage.finished(names)
        assert {request(stage, name).ready and request(stage, name).ready.reason for name in names} == {"Failed"}  # type: ignore[union-attr]


async def test_a_request_that_meets_a_defect_of_ours_ends_at_its_deadline(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("bug")

    async with new_stage(options(leader_election=False)) as stage:
        await one_authority(stage, "local", deadline="2s")
        await until(lambda: stage.program.is_leading)
        monkeypatch.setattr(stage.program.engine, "sign", broken)
        await stage.ask("one", "local")
        await stage.finished(["one"], 2 + 3)
        found = request(stage, "one")
        assert found.ready is not None
        assert found.ready.reason == "Failed"
        assert "an internal error (RuntimeError)" in found.ready.message
