"""What the failover engine reports, passed on to the metrics, the log, and the controllers that act on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from issuer.observe.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.observe.metrics import Metrics

_log = get_logger(__name__)


class Signals:
    """The observer of the engine."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._wake: Callable[[], None] = _nothing
        self._look_again: Callable[[], None] = _nothing

    def connect(self, wake: Callable[[], None], look_again: Callable[[], None]) -> None:
        """Say who is to be told: `wake` takes up pending requests, `look_again` refreshes the status of issuers."""
        self._wake = wake
        self._look_again = look_again
