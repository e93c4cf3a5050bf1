"""What the failover engine reports, passed on to the metrics, the log, and as news to whoever acts on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from issuer.controllers.topics import AccountChanged, AccountRecovered
from issuer.observe.logs import get_logger
from issuer.signing.breaker import BreakerState
from issuer.signing.failures import moment
from issuer.signing.observer import AccountUser

if TYPE_CHECKING:
    from issuer.controllers.topics import Topics
    from issuer.observe.metrics import Metrics
    from issuer.signing.observer import BreakerChange

log = get_logger(__name__)


class EngineObserver:
    """The observer of the engine.

    Args:
        metrics: counts.
        topics: where news of accounts is published.
    """

    def __init__(self, metrics: Metrics, topics: Topics) -> None:
        self._metrics = metrics
        self._topics = topics
        self._users: dict[str, AccountUser] = {}
        """Who came to each account last, for the log."""

    def attempt(self, issuer: str, authority: str, call: str, result: str, seconds: float) -> None:
        """A call to an authority has ended."""
        self._metrics.authority_call(issuer=issuer, authority=authority, call=call, result=result, seconds=seconds)

    def breaker(self, change: BreakerChange) -> None:
        """A breaker has changed. That it opened is a warning, what follows is the ordinary course."""
        fields = {**change.user.fields, "account": change.account, "state": change.state.value}
        if change.state is BreakerState.OPEN:
            self._metrics.breaker_opened(issuer=change.user.issuer, authority=change.user.authority)
            error = change.error
            log.warning(
                "circuit breaker",
                **fields,
                consecutive_failures=change.failures,
                cause=error.cause if error else None,
                error=error.detail if error else None,
                next_probe=moment(change.next_probe) if change.next_probe else None,
            )
        else:
            log.info("circuit breaker", **fields)
        self._topics.publish(AccountChanged(change.account))

    def account(self, account: str, user: AccountUser, state: BreakerState) -> None:  # noqa: ARG002 - the protocol
        """An authority uses this account from now on."""
        self._users[account] = user

    def forgotten(self, account: str) -> None:
        """Nobody uses this account any more."""
        self._users.pop(account, None)

    def failover(self, issuer: str, from_: str, to: str, cause: str) -> None:
        """A later authority of the list has signed."""
        self._metrics.failover(issuer=issuer, from_=from_, to=to, cause=cause)

    def retry(self, issuer: str, authority: str, cause: str) -> None:
        """An attempt is repeated."""
        self._metrics.retried(issuer=issuer, authority=authority, cause=cause)

    def waited(self, issuer: str, authority: str, limit: str, seconds: float) -> None:
        """A request has waited for a limit."""
        self._metrics.waited(issuer=issuer, authority=authority, limit=limit, seconds=seconds)

    def adopted(self, issuer: str, authority: str) -> None:
        """A certificate whose answer was lost goes to its request."""
        self._metrics.adopted(issuer=issuer, authority=authority)

    def orphan(self, issuer: str, authority: str, outcome: str) -> None:
        """A certificate that nobody received is dealt with."""
        self._metrics.orphan(issuer=issuer, authority=authority, outcome=outcome)

    def refused(self, account: str) -> None:
        """A credential was refused."""
        self._topics.publish(AccountChanged(account))

    def proven(self, account: str) -> None:
        """Its first signature: its issuers may say so."""
        self._topics.publish(AccountChanged(account))

    def failing(self, account: str) -> None:
        """Its first failure since it signed: its issuers say so at once, and not at the next check."""
        self._topics.publish(AccountChanged(account))

    def recovered(self, account: str) -> None:
        """What waits for this account may try now."""
        log.info("authority recovered", **self._users.get(account, AccountUser()).fields, account=account)
        self._topics.publish(AccountChanged(account))
        self._topics.publish(AccountRecovered(account))
