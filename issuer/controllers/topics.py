"""News that one part of the controller has for others, without knowing them.

Who has news publishes it; who acts on it subscribes when it is made. So a controller that is added later hears of
accounts and issuers without a change to those that tell of them. All of it happens at once, in the caller: a subscriber
takes note and puts the work into its own queue. One that raises is logged, and the others are told all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from issuer.observe.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.controllers.issuercache import IssuerId

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AccountRecovered:
    """What waits for this account at a provider may try now: its breaker closed, or its credential is taken again."""

    account: str


@dataclass(frozen=True, slots=True)
class AccountChanged:
    """The state of an account has changed, for better or worse, and with it that of the issuers that use it."""

    account: str


@dataclass(frozen=True, slots=True)
class IssuerChanged:
    """An issuer was made, changed or deleted, or has become usable."""

    id: IssuerId


@dataclass(frozen=True, slots=True)
class StatusDue:
    """There is something new to say in the status of an issuer, apart from what its accounts tell."""

    id: IssuerId


@dataclass(frozen=True, slots=True)
class ChildChanged:
    """A request that was made on behalf of another one has ended, or is gone.

    Attributes:
        parent: UID of the other one.
    """

    parent: str


Topic = AccountRecovered | AccountChanged | IssuerChanged | StatusDue | ChildChanged
T = TypeVar("T", AccountRecovered, AccountChanged, IssuerChanged, StatusDue, ChildChanged)


class Topics:
    """Who wants to hear of what. To be used on one event loop."""

    def __init__(self) -> None:
        self._subscribers: dict[type[Topic], list[Callable[[Topic], None]]] = {}

    def subscribe(self, topic: type[T], tell: Callable[[T], None]) -> None:
        """Have a function called with all news of a kind, after those that were subscribed before."""
        self._subscribers.setdefault(topic, []).append(cast("Callable[[Topic], None]", tell))

    def publish(self, news: Topic) -> None:
        """Tell every subscriber of its kind."""
        for tell in self._subscribers.get(type(news), ()):
            try:
                tell(news)
            except Exception:  # a defect in one must not keep the news from the others
                log.exception("a subscriber failed", topic=type(news).__name__, news=str(news))
