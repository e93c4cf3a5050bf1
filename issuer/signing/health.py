"""The state of an authority as the issuer's status shows it: from what is known, without asking anybody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from issuer.authorities.errors import Unauthorized
from issuer.signing.breaker import BreakerState

if TYPE_CHECKING:
    from datetime import datetime

    from issuer.api.issuer import State
    from issuer.authorities.errors import AuthorityError
    from issuer.signing.account import Account
    from issuer.signing.seats import Seat

RECENT: Final = timedelta(minutes=10)
"""A failure older than this, with the breaker closed, is no longer worth a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityHealth:
    """How one authority is.

    Attributes:
        name: in the issuer.
        state: Unknown until its credential was read for the first time.
        message: what is wrong; empty if nothing is.
        last_success: when its account last signed, UTC.
        last_failure: when its account last failed, UTC.
        open_until: when an open breaker lets a probe through, UTC; else None.
    """

    name: str
    state: State
    message: str = ""
    last_success: datetime | None = None
    last_failure: datetime | None = None
    open_until: datetime | None = None


def assess(seat: Seat, *, now: datetime, loop_time: float) -> AuthorityHealth:
    """The state of one seat. A pure function."""
    name, account = seat.planned.name, seat.account
    last_success = account.last_success if account else None
    last_failure = account.last_failure if account else None
    state, message = _judge(seat, account, now)
    open_until = None
    if state == "Open" and account:
        open_until = now + timedelta(seconds=max(0.0, account.breaker.open_until - loop_time))
    return AuthorityHealth(
        name=name,
        state=state,
        message=message,
        last_success=last_success,
        last_failure=last_failure,
        open_until=open_until,
    )


def _told(error: AuthorityError) -> str:
    """The error without its trace id: the state of an authority is the same whichever call showed it."""
    return f"{error.message} (HTTP {error.status})" if error.status else error.message


def _judge(seat: Seat, account: Account | None, now: datetime) -> tuple[State, str]:
    if isinstance(seat.error, Unauthorized):
        return "Unauthorized", seat.error.message
    if account is None:
        return "Unknown", seat.error.message if seat.error else ""
    last = _told(account.last_error) if account.last_error else ""
    if account.refusal:
        return "Unauthorized", account.refusal.message
    if account.breaker.state is not BreakerState.CLOSED:
        return "Open", f"{account.failures}; the last: {last}"
    if account.limited_for:
        return "Degraded", f"it wants no calls until {account.until(account.limited_until)}"
    if seat.error:
        return "Degraded", seat.error.message
    failed = account.last_failure
    if failed and (account.last_success is None or account.last_success < failed) and now - failed < RECENT:
        return "Degraded", last
    return "Available", ""
