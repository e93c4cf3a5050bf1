"""News between controllers that do not know one another."""

from __future__ import annotations

from issuer.api.meta import ObjectKey
from issuer.controllers.issuercache import IssuerId
from issuer.controllers.observer import EngineObserver
from issuer.controllers.topics import AccountChanged, AccountRecovered, IssuerChanged, Topics
from issuer.observe.metrics import Metrics
from issuer.signing.breaker import BreakerState

WEB = IssuerId("CDNIssuer", ObjectKey("shop", "web"))


def test_each_hears_of_what_it_subscribed_to_at_once_and_in_order() -> None:
    topics, heard = Topics(), list[object]()
    topics.subscribe(IssuerChanged, lambda news: heard.append(("first", news.id)))
    topics.subscribe(AccountRecovered, lambda news: heard.append(news.account))
    topics.subscribe(IssuerChanged, lambda news: heard.append(("second", news.id)))
    topics.publish(IssuerChanged(WEB))
    topics.publish(AccountChanged("edge#1"))
    topics.publish(AccountRecovered("edge#1"))
    assert heard == [("first", WEB), ("second", WEB), "edge#1"]


def test_a_subscriber_that_fails_keeps_no_news_from_the_others() -> None:
    def broken(_: IssuerChanged) -> None:
        raise RuntimeError("bug")

    topics, heard = Topics(), list[IssuerId]()
    topics.subscribe(IssuerChanged, broken)
    topics.subscribe(IssuerChanged, lambda news: heard.append(news.id))
    topics.publish(IssuerChanged(WEB))
    assert heard == [WEB]


def test_a_recovery_is_news_of_a_change_and_of_the_recovery() -> None:
    topics, heard = Topics(), list[object]()
    topics.subscribe(AccountChanged, heard.append)
    topics.subscribe(AccountRecovered, heard.append)
    observer = EngineObserver(Metrics(), topics)
    observer.breaker("edge#1", "edge", BreakerState.OPEN)
    observer.refused("edge#2")
    observer.recovered("edge#1")
    assert heard == [
        AccountChanged("edge#1"),
        AccountChanged("edge#2"),
        AccountChanged("edge#1"),
        AccountRecovered("edge#1"),
    ]


def test_an_issuer_is_named_as_the_engine_names_it() -> None:
    for id_ in (WEB, IssuerId("CDNClusterIssuer", ObjectKey("", "web"))):
        assert IssuerId.of(id_.kind, str(id_.key)) == id_
