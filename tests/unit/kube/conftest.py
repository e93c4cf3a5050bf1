"""What all tests of the Kubernetes client share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.kube.log_case import Lines


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The log lines of the test."""
    with capture_logs() as found:
        yield found
