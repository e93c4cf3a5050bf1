"""The state of an authority as the issuer's status shows it: from what is known, without asking anybody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

from issuer.authorities.errors import IssuerUnusable
from issuer.signing.breaker import BreakerState
from issuer.signing.failures import Misconfigured, SecretNotFound, brief, limited, tripped, untested

if TYPE_CHECKING:
    from datetime import datetime

    from issuer.api.issuerstatus import State
    from issuer.signing.account import Account
    from issuer.signing.registry import AuthorityState

RECENT: Final = timedelta(minutes=10)
"""A failure older than this, with the breaker closed, is no longer worth a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityHealth:
    """How one authority is.

    Attributes:
        name: in the issuer.
        state: Unknown until its credential was read for the first time.
        message: what is wrong; empty if nothing is.
        check: how the last check of the credential ended: `passed`; `failed`, and that is what `message` is about; or
            empty: there was none, or there is worse to say.
        last_success: when its account last signed, UTC.
        last_failure: when its account last failed, UTC.
        open_until: when an open breaker lets a probe through, UTC; else None.
        is_limited: its account wants no calls for a while.
        breaker: state of its account's circuit breaker; None before the credential was read.
        limit_used: share of its rate limit that was used lately, see `Limits.used`; None alike.
    """

    name: str
    state: State
    message: str = ""
    check: Literal["", "passed", "failed"] = ""
    last_success: datetime | None = None
    last_failure: datetime | None = None
    open_until: datetime | None = None
    is_limited: bool = False
    breaker: BreakerState | None = None
    limit_used: float | None = None


def assess(authority: AuthorityState, *, now: datetime) -> AuthorityHealth:
    """The state of one authority. A pure function."""
    account = authority.account
    state, message = _judge(authority, account, now)
    return AuthorityHealth(
        name=authority.name,
        state=state,
        message=message,
        check=_check(account, state, message),
        last_success=account.last_success if account else None,
        last_failure=account.last_failure if account else None,
        open_until=account.opens_when if account and state == "Open" else None,
        is_limited=bool(account and account.limited_for),
        breaker=account.breaker.state if account else None,
        limit_used=account.limits.used if account else None,
    )


def _check(account: Account | None, state: State, message: str) -> Literal["", "passed", "failed"]:
    if account is None:
        return ""
    if account.check_passed:
        return "passed"
    error = account.check_error
    return "failed" if error is not None and state == "Degraded" and message == brief(error) else ""


def _judge(authority: AuthorityState, account: Account | None, now: datetime) -> tuple[State, str]:
    if (withdrawn := authority.planned.common.state) != "Active":
        return withdrawn, ""
    if isinstance(authority.error, SecretNotFound | Misconfigured | IssuerUnusable):
        return authority.error.reason, authority.error.message
    if account is None:
        return "Unknown", authority.error.message if authority.error else ""
    if refusal := account.refusal or account.check_refusal:
        return "Unauthorized", refusal.message
    if account.is_untested:
        return "Untested", untested(account.opens_when, account.breaker.failures, account.last_error)
    if account.breaker.state is not BreakerState.CLOSED:
        return "Open", tripped(account.breaker.failures, account.opens_when, account.last_error)
    if authority.untrusted:
        return "Misconfigured", authority.untrusted.message
    trouble = _trouble(authority, account, now)
    return ("Degraded", trouble) if trouble else ("Available", "")


def _trouble(authority: AuthorityState, account: Account, now: datetime) -> str:
    """What keeps it from its best although it can sign; empty if nothing does."""
    if account.limited_for:
        return limited(account.limited_when)
    if authority.error:
        return authority.error.message
    if account.check_error:
        return brief(account.check_error)
    failed = account.last_failure
    is_recent = failed and (account.last_success is None or account.last_success < failed) and now - failed < RECENT
    return brief(account.last_error) if is_recent else ""
