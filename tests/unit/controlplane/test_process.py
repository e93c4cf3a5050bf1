"""A server of the tests: whom its signals reach."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.controlplane.process import PORTS, Server, ServerError, free_port

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


def test_two_workers_are_never_given_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "2")
    given: dict[str, set[int]] = {"gw0": set(), "gw1": set()}
    for worker, ports in given.items():
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        ports.update(free_port() for _ in range(200))
    assert given["gw0"].isdisjoint(given["gw1"])
    assert given["gw0"] | given["gw1"] <= set(PORTS)
