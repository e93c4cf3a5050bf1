"""docs/commands.md tells each command, and each code of the doctor."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from issuer.cli.main import COMMANDS
from issuer.inspection.findings import Code
from tests.controlplane.plane import ROOT

PAGE = (ROOT / "docs" / "commands.md").read_text()


def test_each_code_is_told_once_and_no_other() -> None:
    table = PAGE.partition("| code | means |")[2].partition("\n\n")[0]
    told = [code for line in table.splitlines() for code in re.findall(r"`(\w+)`", line.split(" | ")[0])]
    assert sorted(told) == sorted(get_args(Code))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_told(command: str) -> None:
    assert re.search(rf"^## {command}$|`(cdn-issuer )?{command}`", PAGE, re.MULTILINE)
