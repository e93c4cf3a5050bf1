"""What is told of waiting requests and of issuers at a scrape."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from issuer.api import request as api
from issuer.api.condition import TRUE, Condition
from issuer.api.meta import ObjectKey, ObjectMeta, format_time
from issuer.api.request import CertificateRequest, IssuerRef, RequestSpec, RequestStatus
from issuer.controllers import census
from issuer.controllers.census import IssuerState, issuer_measures, measures
from issuer.controllers.issuercache import IssuerId
from issuer.signing.breaker import BreakerState
from issuer.signing.health import AuthorityHealth
from issuer.signing.observer import AccountUser

if TYPE_CHECKING:
    import pytest

    from issuer.api.issuerstatus import State

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WEB = ("CDNIssuer", "shop", "web")


def waiting(issuer: str, seconds: float) -> CertificateRequest:
    approved = Condition(api.APPROVED, TRUE, last_transition_time=format_time(NOW - timedelta(seconds=seconds)))
    ref = IssuerRef(issuer, "CDNIssuer", "cdn-issuer.io")
    return CertificateRequest(ObjectMeta(namespace="shop", name="r"), RequestSpec(ref), RequestStatus((approved,)))


def told(found: object) -> dict[tuple[str, ...], float]:
    return {(one.family.short, *one.labels): one.value for one in found}  # type: ignore[attr-defined]


def health(name: str, state: State, *, used: float = 0.5) -> AuthorityHealth:
    breaker = BreakerState.OPEN if state == "Open" else BreakerState.CLOSED
    return AuthorityHealth(name=name, state=state, breaker=breaker, limit_used=used)


def issuer(name: str, *states: State, ready: bool = True) -> IssuerState:
    id_ = IssuerId("CDNIssuer", ObjectKey("shop", name))
    return IssuerState(id_, ready, [health(f"a{number}", state) for number, state in enumerate(states)])


def test_requests_that_wait_are_told_by_issuer_with_the_age_of_the_oldest() -> None:
    found = told(measures([waiting("web", 5), waiting("web", 90), waiting("mail", 7)], 3, {}, NOW))
    assert found == {
        ("unapproved_requests",): 3,
        ("pending_requests", *WEB): 2,
        ("oldest_pending_request_age_seconds", *WEB): 90,
        ("pending_requests", "CDNIssuer", "shop", "mail"): 1,
        ("oldest_pending_request_age_seconds", "CDNIssuer", "shop", "mail"): 7,
    }


def test_of_too_many_issuers_those_are_told_whose_requests_wait_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "MAX_SHOWN", 2)
    found = told(measures([waiting(f"i{seconds}", seconds) for seconds in (1, 9, 5)], 0, {}, NOW))
    assert [key[3] for key in found if key[0] == "pending_requests"] == ["i9", "i5"]


def test_suspected_orphans_are_told_by_authority() -> None:
    suspected = {AccountUser("edge", "CDNIssuer", "shop/web"): 4, AccountUser("x", "CDNClusterIssuer", "all"): 1}
    found = told(measures([], 0, suspected, NOW))
    assert found["suspected_orphans", *WEB, "edge"] == 4
    assert found["suspected_orphans", "CDNClusterIssuer", "", "all", "x"] == 1


def test_an_issuer_is_told_with_the_present_state_of_each_authority_and_the_first_that_can_sign() -> None:
    assert told(issuer_measures([issuer("web", "Open", "Degraded")])) == {
        ("issuer_ready", *WEB): 1,
        ("issuer_active_position", *WEB): 1,
        ("authority_state", *WEB, "a0", "Open"): 1,
        ("authority_state", *WEB, "a1", "Degraded"): 1,
        ("breaker_state", *WEB, "a0", "open"): 1,
        ("breaker_state", *WEB, "a1", "closed"): 1,
        ("authority_rate_limit_used_ratio", *WEB, "a0"): 0.5,
        ("authority_rate_limit_used_ratio", *WEB, "a1"): 0.5,
        ("issuers_left_out",): 0,
    }


def test_where_none_can_sign_there_is_no_position_and_the_issuer_is_not_ready() -> None:
    found = told(issuer_measures([issuer("web", "Open", "Unauthorized", ready=False)]))
    assert found["issuer_ready", *WEB] == 0
    assert ("issuer_active_position", *WEB) not in found


def test_an_authority_whose_credential_was_never_read_has_a_state_and_no_breaker() -> None:
    unknown = IssuerState(
        IssuerId("CDNIssuer", ObjectKey("shop", "web")), True, [AuthorityHealth(name="a", state="Unknown")]
    )
    assert told(issuer_measures([unknown])) == {
        ("issuer_ready", *WEB): 1,
        ("issuer_active_position", *WEB): 0,
        ("authority_state", *WEB, "a", "Unknown"): 1,
        ("issuers_left_out",): 0,
    }


def test_of_too_many_issuers_those_with_trouble_come_first_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(census, "MAX_SHOWN", 2)
    many = [
        issuer("a", "Available"),
        issuer("b", "Open", ready=False),
        issuer("c", "Available"),
        issuer("d", "Degraded"),
    ]
    found = told(issuer_measures(many))
    assert {key[3] for key in found if key[0] == "issuer_ready"} == {"b", "d"}
    assert found["issuers_left_out",] == 2
