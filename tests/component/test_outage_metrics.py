"""What the metrics show of an outage of the CDN: the series that alerts are about."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.component.harness import two_authorities
from tests.component.quick import BOUND, hurried, led
from tests.component.rig import until

if TYPE_CHECKING:
    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage


def shows(stage: Stage, name: str, *labels: str, value: str = r"[1-9]\S*") -> bool:
    """Whether a series with these labels, and another value than 0 unless it is given, is on the page."""
    page = stage.metrics.render()[0].decode()
    lines = re.findall(rf"^cdn_issuer_{name}(?:{{.*}})? {value}$", page, re.MULTILINE)
    return any(all(label in line for label in labels) for line in lines)


async def test_an_outage_is_seen_by_issuer_and_authority(new_stage: NewStage) -> None:
    async with new_stage(hurried()) as stage:
        await led(stage)
        await two_authorities(stage)
        await until(lambda: shows(stage, "issuer_ready", 'issuer="web"'), BOUND)
        stage.cdn.faults.set("reset-before")
        names = [f"www-{number}" for number in range(6)]
        for name in names:
            await stage.ask(name, "web")
        await stage.finished(names)
        assert shows(stage, "failovers_total", 'from="edge"', 'to="backup"', 'cause="unavailable"')
        assert shows(stage, "breaker_opened_total", 'issuer="web"', 'authority="edge"')
        assert shows(stage, "authority_calls_total", 'authority="edge"', 'call="sign"', 'result="unavailable"')
        assert shows(stage, "requests_total", 'outcome="issued"', 'authority="backup"')
        assert shows(stage, "authority_state", 'authority="edge"', 'state="Open"') or shows(
            stage, "authority_state", 'authority="edge"', 'state="Untested"'
        )
        assert shows(stage, "leader")
        assert not shows(stage, "requests_total", 'outcome="failed"')
