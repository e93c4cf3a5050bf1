"""What the engine tells the outside while it works: metrics are fed from here, and waiting requests are woken.

The engine calls these in the middle of its work, so they return at once and raise nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from issuer.signing.breaker import BreakerState


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

    def breaker(self, account: str, authority: str, state: BreakerState) -> None:
        """The breaker of an account changed; `authority` is the name that used the account last."""
        ...

    def account(self, account: str, authority: str, state: BreakerState) -> None:
        """An authority uses this account from now on; `state` is how its breaker is."""
        ...

    def forgotten(self, account: str) -> None:
        """Nobody has used this account for long, because the credential was rotated or the issuer is gone."""
        ...

    def failover(self, issuer: str, from_: str, to: str, cause: str) -> None:
        """`to` signed because `from_`, the first of the list that could have, failed with `cause`."""
        ...

    def refused(self, account: str) -> None:
        """It refused our credential."""
        ...

    def proven(self, account: str) -> None:
        """It has signed for the first time since this process knows it."""
        ...

    def recovered(self, account: str) -> None:
        """A breaker closed, or a credential is accepted again: what waits for this account may try now."""
        ...


class NullObserver:
    """An observer that nobody listens to."""

    def attempt(self, issuer: str, authority: str, call: str, result: str, seconds: float) -> None:
        """Nothing."""

    def breaker(self, account: str, authority: str, state: BreakerState) -> None:
        """Nothing."""

    def account(self, account: str, authority: str, state: BreakerState) -> None:
        """Nothing."""

    def forgotten(self, account: str) -> None:
        """Nothing."""

    def failover(self, issuer: str, from_: str, to: str, cause: str) -> None:
        """Nothing."""

    def refused(self, account: str) -> None:
        """Nothing."""

    def proven(self, account: str) -> None:
        """Nothing."""

    def recovered(self, account: str) -> None:
        """Nothing."""
