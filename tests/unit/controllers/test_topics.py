"""News between controllers that do not know one another."""

from __future__ import annotations

from datetime import UTC, datetime

from structlog.testing import capture_logs

from issuer.api.meta import ObjectKey
from issuer.authorities.errors import AuthorityError, Unavailable
from issuer.controllers.issuercache import IssuerId
from issuer.controllers.observer import EngineObserver
from issuer.controllers.topics import AccountChanged, AccountRecovered, IssuerChanged, Topics
from issuer.observe.metrics import Metrics
from issuer.signing.breaker import BreakerState
from issuer.signing.observer import AccountUser, BreakerChange

EDGE = AccountUser("edge", "CDNIssuer", "demo/web")
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


def change(account: str, state: BreakerState, error: AuthorityError | None = None) -> BreakerChange:
    probe = datetime(2026, 11, 25, 1, 4, 34, tzinfo=UTC) if state is BreakerState.OPEN else None
    return BreakerChange(account=account, user=EDGE, state=state, failures=3, error=error, next_probe=probe)


def test_a_breaker_that_opens_is_a_warning_with_its_cause_and_what_follows_is_none() -> None:
    observer = EngineObserver(Metrics(), Topics())
    with capture_logs() as lines:
        observer.breaker(change("edge#1", BreakerState.OPEN, Unavailable("edge", "no answer", status=503)))
        observer.breaker(change("edge#1", BreakerState.HALF_OPEN))
        observer.breaker(change("edge#1", BreakerState.CLOSED))
    who = {"authority": "edge", "issuer_kind": "CDNIssuer", "issuer_namespace": "demo", "issuer": "web"}
    who |= {"account": "edge#1", "event": "circuit breaker"}
    opened = {
        "state": "open",
        "log_level": "warning",
        "consecutive_failures": 3,
        "cause": "Unavailable",
        "error": "no answer (HTTP 503)",
        "next_probe": "2026-11-25T01:04:34Z",
    }
    assert lines == [
        who | opened,
        who | {"state": "half-open", "log_level": "info"},
        who | {"state": "closed", "log_level": "info"},
    ]


def test_a_recovery_is_told_with_who_came_to_the_account_last() -> None:
    observer = EngineObserver(Metrics(), Topics())
    observer.account("edge#1", EDGE, BreakerState.CLOSED)
    observer.account("edge#1", AccountUser("edge", "CDNClusterIssuer", "web"), BreakerState.CLOSED)
    with capture_logs() as lines:
        observer.recovered("edge#1")
        observer.forgotten("edge#1")
        observer.recovered("edge#1")
    said = {"event": "authority recovered", "log_level": "info", "account": "edge#1"}
    assert lines == [said | {"authority": "edge", "issuer_kind": "CDNClusterIssuer", "issuer": "web"}, said]


def test_a_first_signature_is_news_of_a_change() -> None:
    topics, heard = Topics(), list[object]()
    topics.subscribe(AccountChanged, heard.append)
    EngineObserver(Metrics(), topics).proven("edge#1")
    assert heard == [AccountChanged("edge#1")]


def test_a_recovery_is_news_of_a_change_and_of_the_recovery() -> None:
    topics, heard = Topics(), list[object]()
    topics.subscribe(AccountChanged, heard.append)
    topics.subscribe(AccountRecovered, heard.append)
    observer = EngineObserver(Metrics(), topics)
    observer.breaker(change("edge#1", BreakerState.OPEN))
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
