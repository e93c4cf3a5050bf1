"""Calls to the API server that hang hold up calls of their own class only."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from issuer.cli import stage as stage_module
from issuer.sandbox import objects
from issuer.sandbox.cluster import Fault
from tests.component.harness import QUICK, signatures
from tests.component.quick import BOUND, REQUESTS, hurried, led
from tests.component.rig import until

if TYPE_CHECKING:
    import pytest

    from tests.component.harness import NewStage


async def test_status_writes_that_hang_do_not_keep_another_issuer_from_signing(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = 4
    monkeypatch.setattr(stage_module, "_Client", partial(stage_module._Client, in_flight=places))
    async with new_stage(hurried(grace=0.1)) as stage:
        await stage.apply(objects.issuer("local", [stage.backup()], namespace=stage.namespace))
        await led(stage)
        hanging = stage.cluster.faults.add(Fault(kind="hang", method="PATCH", path_contains=f"/{REQUESTS}/"))
        for number in range(places + 2):
            await stage.ask(f"waiting-{number}", "local")
        await until(lambda: hanging.hits >= places)
        await stage.apply(objects.issuer("web", [stage.edge(**QUICK)], namespace=stage.namespace))
        await stage.ask("one", "web")
        try:
            await until(lambda: signatures(stage) == 1, BOUND)
        finally:
            await stage.kill_controller()  # a clean stop would wait for the writes
