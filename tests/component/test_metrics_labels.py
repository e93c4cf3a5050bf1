"""Which issuers the metrics tell apart, whatever requests name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from issuer.sandbox import objects
from tests.component.quick import BOUND, ended, hurried, led, say
from tests.component.rig import until

if TYPE_CHECKING:
    import pytest

    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage


async def test_requests_for_issuers_that_do_not_exist_take_no_real_issuer_its_metrics(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("issuer.observe.labels.MAX_ISSUERS", 3)
    async with new_stage(hurried(), approve=False) as stage:
        await led(stage)
        for number in range(3):
            await stage.ask(f"typo-{number}", f"typo-{number}")
            await say(stage, f"typo-{number}", "Denied")
            await ended(stage, f"typo-{number}")
        await stage.apply(objects.issuer("local", [stage.backup()], namespace=stage.namespace))
        await stage.ask("one", "local")
        await say(stage, "one", "Approved")
        await ended(stage, "one")
        await until(lambda: 'outcome="issued"' in page(stage), BOUND)
        issued = [line for line in page(stage).splitlines() if 'outcome="issued"' in line and "requests_total" in line]
        assert len(issued) == 1
        assert 'issuer="local"' in issued[0]


def page(stage: Stage) -> str:
    """What Prometheus would scrape."""
    return stage.metrics.render()[0].decode()
