"""The main job as a newcomer sees it: the demo, on a terminal with its live view."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress

from issuer.cli.incident import PHASES


def run_on_a_terminal(*command: str, columns: int = 80, rows: int = 24) -> tuple[int, str]:
    """The exit code of a command whose output is a terminal, and what it wrote there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
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
    assert shown.startswith("An outage of a CDN provider, played with the real controller")
    assert "`make demo ARGS=--serve` keeps the sandbox up" in shown
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    pictures = plain.split("web/edge ")[1:]
    assert len(pictures) > 20
    whole = [picture for picture in pictures if "provider back" in picture]
    assert whole
    for name in ("web/backup", "doomed/edge", "doomed/backup", "fragile/edge", "fragile/second"):
        assert all(name in picture for picture in whole)
    elapsed = {seconds for picture in pictures for seconds in re.findall(r"both down .* ([0-9.]+)\s", picture)}
    assert len(elapsed) > 10  # the clock of a phase goes on while it is played


def test_the_demo_in_a_file_has_no_blanks_at_the_ends_of_lines() -> None:
    ran = subprocess.run([sys.executable, "-m", "issuer", "demo"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("An outage of a CDN provider, played with the real controller")
    assert lines[-1].startswith("Next: `make demo ARGS=--serve`")
    assert [line for line in lines if line != line.rstrip()] == []
    for title, plot in PHASES.items():
        assert any(re.fullmatch(rf" *[0-9.]+ s  {title}: .+", line) for line in lines)
        assert any(line.startswith(f"{title}  ") for line in lines)
        assert plot not in ran.stdout
