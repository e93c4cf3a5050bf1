"""docs/logs.md follows what the controller really logs: each event and field that it names is there in an outage."""

from __future__ import annotations

import json
import re
from pathlib import Path

from structlog.testing import capture_logs

from issuer.cli.stage import Stage
from tests.component.harness import BRISK, at_work, one_authority, two_authorities

PAGE = (Path(__file__).parents[2] / "docs/logs.md").read_text()
WHO = {"namespace", "name", "issuer_kind", "issuer_namespace", "issuer"}
ROWS = re.findall(r"^\| `([a-z ]+)` \| (info|warning|error) \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE)
SHOWN = [json.loads(line) for line in re.findall(r"^\{.*\}$", PAGE, re.MULTILINE)]


async def test_each_line_that_the_page_lists_is_written_with_the_fields_that_it_lists() -> None:
    with capture_logs() as lines:
        async with Stage(BRISK) as stage:
            await at_work(stage)
            await two_authorities(stage)
            await one_authority(stage, deadline="2s")
            stage.cdn.faults.set("status", status=503)
            await stage.ask("over", "web")
            await stage.ask("doomed", "alone")
            await stage.finished(["over", "doomed"])
    assert len(ROWS) == 6
    for event, level, fields in ROWS:
        found = [line for line in lines if line["event"] == event]
        assert found, event
        wanted = WHO | set(re.findall(r"`(\w+)`", fields))
        assert all(line["log_level"] == level for line in found), event
        assert any({name for name, value in line.items() if value is not None} >= wanted for line in found), event
    for shown in SHOWN:
        fields = set(shown) - {"timestamp", "level", "logger"}
        assert any(line["event"] == shown["event"] and set(line) >= fields for line in lines), shown["event"]
    assert len(SHOWN) >= 6


def test_the_page_explains_each_field_of_its_example() -> None:
    head = PAGE.split("## One request")[0]
    told = {field for shown in SHOWN for field in shown}
    assert {field for field in told - {"consecutive_failures"} if f"`{field}`" not in head} == set()
