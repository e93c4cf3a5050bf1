"""What all component tests need: they run on the event loop of production.

A timer of uvloop is not one of asyncio's: it may fire a little early, and one that is due at once is a plain Handle.
Two faults that stopped the controller on a real API server were seen on no other loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from issuer.cli.run import LOOP_FACTORY

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    """The loop factory that `cdn-issuer run` uses, for each test below this folder."""
    return {"uvloop": LOOP_FACTORY}
