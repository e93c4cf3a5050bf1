"""The liveness probe is about this process: an API server that is away does not get it killed."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from issuer.kube.backoff import Backoff
from issuer.sandbox.cluster import Fault
from tests.component.quick import hurried, led
from tests.component.rig import until

if TYPE_CHECKING:
    from tests.component.harness import NewStage


@pytest.mark.parametrize("kind", ["cut", "error"])
async def test_a_controller_whose_api_server_is_away_stays_healthy(new_stage: NewStage, kind: str) -> None:
    async with new_stage(hurried()) as stage:
        await led(stage)
        program = stage.program
        away = Fault(kind=kind, status=503)  # type: ignore[arg-type]
        stage.cluster.faults.add(away)
        for informer in program.informers():
            for one in informer._reflectors:
                one._backoff = Backoff(0.05, 0.1, random.Random(0))
        begun = asyncio.get_running_loop().time()

        def is_cut() -> bool:
            # Again, for a watch that was just beginning.
            stage.cluster.cut_watches()
            return all(informer.last_attempt > begun for informer in program.informers())

        await until(is_cut)
        for informer in program.informers():
            object.__setattr__(informer, "stale_after", 0.7)
        for _ in range(15):
            await asyncio.sleep(0.1)
            assert program.trouble() is None
        assert away.hits > 5
