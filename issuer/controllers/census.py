"""What is counted of requests at a scrape."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from issuer.observe.metrics import Measure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from issuer.controllers.port import Request


def measures(unfinished: Sequence[Request], unapproved: int, orphans: int, now: datetime) -> tuple[Measure, ...]:
    """Who waits and for how long, and what may be left behind at a provider.

    Args:
        unfinished: approved requests that have not ended.
        unapproved: requests that no approver has spoken about.
        orphans: certificates that may exist at a provider and were not delivered.
        now: the time.
    """
    ages = [(now - (request.approved_at or now)) / timedelta(seconds=1) for request in unfinished]
    return (
        Measure("pending_requests", "Approved certificate requests that have not ended.", len(ages)),
        Measure(
            "oldest_pending_request_age_seconds",
            "Time since the approval of the request that waits longest.",
            max(0.0, *ages) if ages else 0.0,
        ),
        Measure("unapproved_requests", "Certificate requests that no approver has spoken about.", unapproved),
        Measure("possible_orphans", "Certificates that may exist at a provider undelivered.", orphans),
    )
