"""A server of the tests: whom its signals reach."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.controlplane.process import Server, ServerError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_signal_reaches_it_while_it_runs(tmp_path: Path) -> None:
    server = Server(["sleep", "60"], tmp_path / "log")
    server.start()
    server.signal(signal.SIGTERM)
    assert server.wait_ended(10) == -signal.SIGTERM


def test_once_it_was_waited_for_its_number_may_be_anothers_and_nothing_is_signalled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(["true"], tmp_path / "log")
    server.start()
    assert server.wait_ended(10) == 0
    signalled: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _number: signalled.append(pid))
    server.freeze()
    server.thaw()
    assert server.stop() == 0
    assert signalled == []


def test_one_that_was_not_started_cannot_be_signalled(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="was not started"):
        Server(["true"], tmp_path / "log").freeze()
