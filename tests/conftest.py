"""What all tests need.

looptime asks for the current event loop before each test, also before those that are not async, and so makes one that
nobody closes; the warning about it then fails whatever test is running. With the loop set to None it makes none.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.controlplane.fixtures import STARTED, control_plane, summary

__all__ = ["control_plane"]

asyncio.set_event_loop(None)
# No test fails because the machine is busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of xdist says whether it had a control plane; who started the workers says it to the user."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["started"] = session.config.stash.get(STARTED, False)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker has ended; one that died says nothing."""
    if getattr(node, "workeroutput", {}).get("started"):
        node.config.stash[STARTED] = True


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say at the end whether the tests on a real control plane ran."""
    terminalreporter.write_sep("=", "control plane")
    terminalreporter.write_line(summary(config))
