"""The main job as a newcomer sees it: the demo, on a terminal with its live view."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress


def run_on_a_terminal(*command: str) -> tuple[int, str]:
    """The exit code of a command whose output is a terminal, and what it wrote there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL)
    os.close(theirs)
    written = bytearray()
    with suppress(OSError):  # the end of a terminal is an error
        while chunk := os.read(ours, 65536):
            written += chunk
    os.close(ours)
    return process.wait(), written.decode("utf-8", "replace")


def test_the_demo_plays_on_a_terminal_and_ends_well() -> None:
    code, shown = run_on_a_terminal(sys.executable, "-m", "issuer", "demo")
    assert code == 0, shown[-2000:]
    for phase in ("all well", "provider hangs", "credential", "hostname", "both down", "provider back"):
        assert phase in shown
    assert "0 pending, 0 signed twice" in shown
