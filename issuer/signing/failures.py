"""Failures that the engine itself finds, as data, and the one place where they become words.

    AuthorityError
    ├── Unavailable
    │   ├── BreakerOpen        not asked: the account has failed too often
    │   ├── PlacesTaken        not asked: calls from before it went down hold all places
    │   ├── NoTime             not asked: no call can end before the deadline
    │   ├── CutOff             asked, and ended by our own timeout
    │   ├── WrongCertificate   it signed something that was not asked for
    │   ├── Untrusted          what it signed meets none of the issuer's roots
    │   ├── TooSlow            it accepted the request, and its turn is over
    │   └── InternalError      its module has a fault
    ├── Withdrawn              not asked: the issuer says that it signs nothing
    ├── RateLimited
    │   ├── LimitInForce       not asked: it is rate-limited for a while
    │   └── QueueTooLong       not asked: our own limits have not let the request through
    └── Unauthorized
        ├── SecretNotFound     not asked: a Secret that it needs does not exist
        ├── Misconfigured      not asked: a Secret cannot be read, or does not hold what it should
        └── CredentialRefused  not asked: its credential was refused a moment ago

Those without a call are `NotAsked` besides; of these, the ones that are our own doing are `Queued`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from issuer.api.duration import human
from issuer.api.secret import SecretForbiddenError, SecretMissingError
from issuer.authorities.errors import AuthorityError, RateLimited, Unauthorized, Unavailable

if TYPE_CHECKING:
    from datetime import datetime

    from issuer.signing.limits import LimitSettings


class NotAsked(AuthorityError):  # noqa: N818 - as those that it marks
    """Marks the failures in which no call went out."""


class Queued(NotAsked):
    """Marks those that only our own limits are to blame for."""


class Withdrawn(NotAsked):
    """Not asked: by the issuer's specification it signs nothing, and neither does any other that may sign the request.

    Attributes:
        state: Draining or Disabled.
    """

    cause = "Withdrawn"

    def __init__(self, authority: str, state: str) -> None:
        super().__init__(authority, withdrawn(state))
        self.state = state


class BreakerOpen(Unavailable, NotAsked):
    """Not asked.

    Attributes:
        failures: consecutive ones.
        until: when one request may try it, UTC; None while one does.
        last: the last failure.
    """

    def __init__(self, authority: str, *, failures: int, until: datetime | None, last: AuthorityError | None) -> None:
        super().__init__(authority, f"{breaker_open(failures)}, {_next_attempt(until)}{_ending(last)}")
        self.failures = failures
        self.until = until
        self.last = last

    @property
    def final_detail(self) -> str:
        """What opened it: a request that was asked, and failed by the same, says no more."""
        return self.last.final_detail if self.last else breaker_open(self.failures)


class PlacesTaken(Unavailable, NotAsked):
    """Not asked, although it would be its probe."""

    def __init__(self, authority: str) -> None:
        super().__init__(authority, "all its places are taken by calls from before it went down")


class NoTime(Unavailable, Queued):
    """Not asked, because no call could end in time.

    Attributes:
        last: how the account failed the last time, if it has not signed since.
    """

    def __init__(self, authority: str, *, last: AuthorityError | None) -> None:
        super().__init__(authority, f"no time left for a call{_ending(last)}")
        self.last = last

    @property
    def final_detail(self) -> str:
        """As of those that were asked in time, if any was."""
        return self.last.final_detail if self.last else self.detail


class CutOff(Unavailable):
    """Our own timeout ended the call.

    Attributes:
        after: seconds it was given.
        is_short: that was too little to say anything of the authority, since the deadline was near.
    """

    is_short = False

    def __init__(self, authority: str, *, ambiguous: bool, after: float) -> None:
        super().__init__(authority, f"no answer within {human(after)}", ambiguous=ambiguous)
        self.after = after


class WrongCertificate(Unavailable):
    """It signed something that is not what was asked for."""

    def __init__(self, authority: str, problem: str, *, trace_id: str | None = None) -> None:
        super().__init__(authority, f"wrong certificate: {problem}", trace_id=trace_id)


class Untrusted(WrongCertificate):
    """What it signed meets none of the roots that the issuer configures; no other issuer is concerned."""


class TooSlow(Unavailable):
    """It has accepted the request, and has not signed within its turn.

    Attributes:
        accepted: when it did, UTC.
    """

    def __init__(self, authority: str, *, accepted: datetime, turn: float, said: str) -> None:
        super().__init__(authority, f"not finished within {human(turn)} since {moment(accepted)}: {said}", again=False)
        self.accepted = accepted


class InternalError(Unavailable):
    """The authority's module raised something that it should not."""

    def __init__(self, authority: str, error: Exception, *, ambiguous: bool) -> None:
        super().__init__(authority, f"internal error: {type(error).__name__}", ambiguous=ambiguous)


class LimitInForce(RateLimited, NotAsked):
    """Not asked, since it is rate-limited.

    Attributes:
        until: when that ends, UTC.
    """

    def __init__(self, authority: str, *, until: datetime, seconds: float) -> None:
        super().__init__(authority, limited(until), retry_after=seconds)
        self.until = until


class QueueTooLong(RateLimited, Queued):
    """Not asked, since our own limits did not let the request through in time.

    Attributes:
        waiting: how many more wait.
        settings: the limits.
    """

    def __init__(self, authority: str, *, waiting: int, settings: LimitSettings) -> None:
        super().__init__(
            authority,
            f"its turn did not come in time: {waiting} more wait for our own limits"
            f" ({settings.rate:g} calls per second, {settings.in_flight} in flight)",
        )
        self.waiting = waiting
        self.settings = settings


class CredentialRefused(Unauthorized, NotAsked):
    """Not asked, since it has refused the credential.

    Attributes:
        refusal: how.
        until: when one request tries it again, UTC; None while one does.
    """

    def __init__(self, authority: str, refusal: Unauthorized, *, until: datetime | None) -> None:
        super().__init__(
            authority,
            refusal.message,
            status=refusal.status,
            code=refusal.code,
            trace_id=refusal.trace_id,
        )
        self.refusal = refusal
        self.until = until

    @property
    def detail(self) -> str:
        """How it refused the credential, and when it is tried again."""
        return f"{self.refusal.detail}; {_next_attempt(self.until)}"

    @property
    def final_detail(self) -> str:
        """How it refused the credential."""
        return self.refusal.final_detail


class SecretNotFound(Unauthorized):
    """Not asked, since a Secret that it needs does not exist."""

    @property
    def reason(self) -> Literal["SecretNotFound"]:
        """Its state, and the reason of events."""
        return "SecretNotFound"


class Misconfigured(Unauthorized):
    """Not asked, since a Secret that it needs may not be read, lacks a key, or holds something else than it should."""

    @property
    def reason(self) -> Literal["Misconfigured"]:
        """Its state, and the reason of events."""
        return "Misconfigured"


def unreadable(error: Unauthorized) -> SecretNotFound | Misconfigured:
    """What is wrong with a Secret, apart from what a provider says of the credential in it.

    Whoever reads it raises `Unauthorized` from what the reader of Secrets raised, if that did.
    """
    is_missing = isinstance(error.__cause__, SecretMissingError)
    kind = SecretNotFound if is_missing and not isinstance(error.__cause__, SecretForbiddenError) else Misconfigured
    return kind(error.authority, error.message)


def moment(when: datetime) -> str:
    """A time for a person, to the second: `2026-11-25T01:04:34Z`."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def withdrawn(state: str) -> str:
    """That an authority signs nothing by the issuer's own will."""
    return f"it signs nothing, since its state is {state}"


def consecutive(failures: int) -> str:
    """How often something failed."""
    return "1 failure" if failures == 1 else f"{failures} consecutive failures"


def limited(until: datetime) -> str:
    """A rate limit."""
    return f"rate-limited until {moment(until)}"


def untested(since: datetime, failures: int, last: AuthorityError | None) -> str:
    """A breaker whose open time is over, and nobody has come since."""
    return (
        f"untested since {moment(since)}, the next request probes it; before that {consecutive(failures)}"
        f"{_ending(last, brief(last))}"
    )


def tripped(failures: int, until: datetime, last: AuthorityError | None) -> str:
    """A breaker that is open, or was until a probe went out whose end is not known yet."""
    return f"{breaker_open(failures)}, {_next_attempt(until)}{_ending(last, brief(last))}"


def breaker_open(failures: int) -> str:
    """That a circuit breaker is open."""
    return f"circuit breaker open after {consecutive(failures)}"


def brief(error: AuthorityError | None) -> str:
    """The error without its trace id: the state of an authority is the same whichever call showed it."""
    if error is None:
        return ""
    return f"{error.message} ({error.http})" if error.http else error.message


def _next_attempt(until: datetime | None) -> str:
    return "one request is probing it now" if until is None else f"next attempt at {moment(until)}"


def _ending(last: AuthorityError | None, detail: str | None = None) -> str:
    return f"; the last: {detail or last.detail}" if last else ""
