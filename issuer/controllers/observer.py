"""What the failover engine reports, passed on to the metrics, the log, and as news to whoever acts on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from issuer.controllers.topics import AccountChanged, AccountRecovered
from issuer.observe.logs import get_logger

if TYPE_CHECKING:
    from issuer.controllers.topics import Topics
    from issuer.observe.metrics import Metrics
    from issuer.signing.breaker import BreakerState

_log = get_logger(__name__)


class EngineObserver:
    """The observer of the engine.

    Args:
        metrics: counts.
        topics: where news of accounts is published.
    """

    def __init__(self, metrics: Metrics, topics: Topics) -> None:
        self._metrics = metrics
        self._topics = topics

    def attempt(self, issuer: str, authority: str, call: str, result: str, seconds: float) -> None:
        """A call to an authority has ended."""
        self._metrics.authority_call(issuer=issuer, authority=authority, call=call, result=result, seconds=seconds)

    def breaker(self, account: str, authority: str, state: BreakerState) -> None:
        """A breaker has changed."""
        self._metrics.breaker(account=account, authority=authority, state=state.value)
        _log.warning("circuit breaker", account=account, authority=authority, state=state.value)
        self._topics.publish(AccountChanged(account))

    def account(self, account: str, authority: str, state: BreakerState) -> None:
        """An authority uses this account from now on."""
        self._metrics.breaker(account=account, authority=authority, state=state.value)

    def forgotten(self, account: str) -> None:
        """Nobody uses this account any more."""
        self._metrics.forget_account(account=account)

    def failover(self, issuer: str, from_: str, to: str, cause: str) -> None:
        """A later authority of the list has signed."""
        self._metrics.failover(issuer=issuer, from_=from_, to=to, cause=cause)

    def refused(self, account: str) -> None:
        """A credential was refused."""
        self._topics.publish(AccountChanged(account))

    def proven(self, account: str) -> None:
        """Its first signature: its issuers may say so."""
        self._topics.publish(AccountChanged(account))

    def recovered(self, account: str) -> None:
        """What waits for this account may try now."""
        _log.info("authority recovered", account=account)
        self._topics.publish(AccountChanged(account))
        self._topics.publish(AccountRecovered(account))
