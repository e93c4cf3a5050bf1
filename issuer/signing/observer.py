"""What the engine tells the outside while it works: metrics are fed from here, and waiting requests are woken.

The engine calls these in the middle of its work, so they return at once and raise nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from issuer.authorities.errors import AuthorityError
    from issuer.signing.breaker import BreakerState


class AccountUser(NamedTuple):
    """An authority of an issuer that uses an account; all empty while none is known.

    Attributes:
        authority: its name in the issuer.
        kind: of the issuer.
        issuer: `namespace/name`, or `name` of a cluster-scoped one.
    """

    authority: str = ""
    kind: str = ""
    issuer: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """For a log line; what is empty is left out."""
        namespace, _, name = self.issuer.rpartition("/")
        named = {
            "authority": self.authority,
            "issuer_kind": self.kind,
            "issuer_namespace": namespace,
            "issuer": name,
        }
        return {field: value for field, value in named.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChange:
    """The breaker of an account has changed.

    Attributes:
        account: `Session.account`.
        user: who used the account last.
        state: how the breaker is now.
        failures: consecutive ones.
        error: the last of these; None if there is none.
        next_probe: when an open one lets a request through, UTC.
    """

    account: str
    user: AccountUser
    state: BreakerState
    failures: int
    error: AuthorityError | None
    next_probe: datetime | None


class Observer(Protocol):
    """Hears of every call and of every change."""

    def attempt(self, issuer: str, authority: str, call: str, result: str, seconds: float) -> None:
        """A call ended.

        Args:
            issuer: `namespace/name`, or `name` of a cluster-scoped one; empty while no plan has named it.
            authority: its name in that issuer.
            call: `sign`, `find`, `revoke` or `check`.
            result: `ok`, `WrongCertificate`, `Cancelled`, or the `cause` of the error.
            seconds: how long it took, without the wait for our own limits.
        """
        ...

    def breaker(self, change: BreakerChange) -> None:
        """The breaker of an account changed."""
        ...

    def account(self, account: str, user: AccountUser, state: BreakerState) -> None:
        """An authority uses this account from now on; `state` is how its breaker is."""
        ...

    def forgotten(self, account: str) -> None:
        """Nobody has used this account for long, because the credential was rotated or the issuer is gone."""
        ...

    def failover(self, issuer: str, from_: str, to: str, cause: str) -> None:
        """`to` signed because `from_`, the first of the list that could have, failed with `cause`."""
        ...

    def retry(self, issuer: str, authority: str, cause: str) -> None:
        """An attempt failed with `cause` and is repeated within the pass."""
        ...

    def waited(self, issuer: str, authority: str, limit: str, seconds: float) -> None:
        """A request waited for a limit: `own` (`limits` of the issuer), or `provider` (a rate limit it declared)."""
        ...

    def adopted(self, issuer: str, authority: str) -> None:
        """A certificate whose answer was lost was found, and goes to its request."""
        ...

    def orphan(self, issuer: str, authority: str, outcome: str) -> None:
        """A certificate that nobody received is `revoked`, or `unrevocable`: the provider will not."""
        ...

    def refused(self, account: str) -> None:
        """It refused our credential."""
        ...

    def proven(self, account: str) -> None:
        """It has signed for the first time since this process knows it."""
        ...

    def failing(self, account: str) -> None:
        """It has failed, or wants fewer calls, for the first time since it signed."""
        ...

    def recovered(self, account: str) -> None:
        """A breaker closed, or a credential is accepted again: what waits for this account may try now."""
        ...


class NullObserver:
    """An observer that nobody listens to."""

    def attempt(self, issuer: str, authority: str, call: str, result: str, seconds: float) -> None:
        """Nothing."""

    def breaker(self, change: BreakerChange) -> None:
        """Nothing."""

    def account(self, account: str, user: AccountUser, state: BreakerState) -> None:
        """Nothing."""

    def forgotten(self, account: str) -> None:
        """Nothing."""

    def failover(self, issuer: str, from_: str, to: str, cause: str) -> None:
        """Nothing."""

    def retry(self, issuer: str, authority: str, cause: str) -> None:
        """Nothing."""

    def waited(self, issuer: str, authority: str, limit: str, seconds: float) -> None:
        """Nothing."""

    def adopted(self, issuer: str, authority: str) -> None:
        """Nothing."""

    def orphan(self, issuer: str, authority: str, outcome: str) -> None:
        """Nothing."""

    def refused(self, account: str) -> None:
        """Nothing."""

    def proven(self, account: str) -> None:
        """Nothing."""

    def failing(self, account: str) -> None:
        """Nothing."""

    def recovered(self, account: str) -> None:
        """Nothing."""
