"""A list that the API server holds back: a replica is blind for a minute at the most."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from issuer.kube import reflector
from issuer.sandbox.cluster import Fault
from tests.component.quick import BOUND, REQUESTS, hurried
from tests.component.rig import until

if TYPE_CHECKING:
    import pytest

    from tests.component.harness import NewStage


class Shortened:
    """asyncio, whose long sleeps are noted and not slept."""

    def __init__(self) -> None:
        self.longest = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, delay: float) -> None:
        self.longest = max(self.longest, delay)
        await asyncio.sleep(min(delay, 0.5))


async def test_a_list_that_is_told_to_come_back_in_an_hour_is_tried_again_sooner(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Shortened()
    monkeypatch.setattr(reflector, "asyncio", clock)
    async with new_stage(hurried(), controlled=False) as stage:
        throttle = Fault(kind="throttle", method="GET", path_contains=f"/{REQUESTS}", count=1, seconds=3600)
        stage.cluster.faults.add(throttle)
        await stage.start_controller()
        await until(lambda: stage.program.unready() is None, BOUND)
        assert throttle.hits == 1
        assert clock.longest <= reflector.INACTIVITY, "it may be blind for no longer than over a silent watch"
