"""The contract, row by row: one table of cases for the one function that decides."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from cryptography import x509

from issuer.api.request import CertificateRequest
from issuer.authorities.errors import AuthorityError, RateLimited, Rejected, Unauthorized, Unavailable, Unsupported
from issuer.controllers.decision import (
    AwaitApproval,
    Decision,
    Fail,
    History,
    Issue,
    IssuerView,
    Leave,
    Pend,
    Sign,
    decide,
    expiry,
)
from issuer.sandbox.objects import signing_request
from issuer.signing.failures import BreakerOpen, CredentialRefused, LimitInForce, NoTime, SecretNotFound
from issuer.signing.plan import Issued, NotIssued
from tests.unit.pki.pki_case import dns, field, pem
from tests.unit.pki.pki_case import request as csr_for

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CSR = b64encode(signing_request(["www.example.com"])).decode()
ISSUER = IssuerView(title="CDNIssuer web/edge", deadline=3600.0, authorities=("edge", "backup"))


def condition(type_: str, status: str = "True", reason: str = "", message: str = "", minutes_ago: float = 0) -> Any:
    when = (NOW - timedelta(minutes=minutes_ago)).isoformat()
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": when}


def request(*conditions: Any, spec: dict[str, Any] | None = None, **metadata: Any) -> CertificateRequest:
    document = {
        "metadata": {"name": "www-1", "namespace": "web", "uid": "u1", "resourceVersion": "7", **metadata},
        "spec": {
            "request": CSR,
            "issuerRef": {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "edge"},
            "duration": "168h",
            **(spec or {}),
        },
        "status": {"conditions": conditions},
    }
    return msgspec.json.decode(msgspec.json.encode(document), type=CertificateRequest)


def approved(minutes_ago: float = 1, **kwargs: Any) -> CertificateRequest:
    return request(condition("Approved", minutes_ago=minutes_ago), **kwargs)


def refused(*failures: AuthorityError, terminal: bool = False, attempted: bool = True) -> NotIssued:
    return NotIssued(failures=failures, terminal=terminal, retry_in=7.0, attempted=attempted)


def signed(*passed_over: AuthorityError) -> Issued:
    return Issued(
        authority="backup" if passed_over else "edge",
        position=len(passed_over),
        certificate=b"PEM",
        ca=b"",
        fingerprint="ab" * 32,
        not_after=NOW + timedelta(days=7),
        granted=timedelta(days=7),
        requested=timedelta(days=7),
        passed_over=passed_over,
    )


DOWN = Unavailable("edge", "no answer within 60s", ambiguous=True)
REFUSED = Unauthorized("edge", "the API token was refused", status=403, code="10000", trace_id="8c1-FRA")
NO_ZONE = Rejected("edge", "hostname is not in a zone of the account", status=400, code="1010", trace_id="8c2-FRA")


def asking(*, ca: bool) -> str:
    """A CSR that says whether it is for a CA."""
    constraints = x509.BasicConstraints(ca=ca, path_length=None)
    return field(pem(csr_for(dns("www.example.com"), extensions=[(constraints, True)])))


FOR_A_CA, FOR_NO_CA = asking(ca=True), asking(ca=False)
NOTHING = History()
READY = condition("Ready", reason="Issued")
FAILED = condition("Ready", "False", "Failed")
PENDING = condition("Ready", "False", "Pending")
APPROVED = condition("Approved", minutes_ago=1)

CASES: list[tuple[str, CertificateRequest, IssuerView | None, History, type[Decision], str]] = [
    ("not yet approved", request(), ISSUER, NOTHING, AwaitApproval, ""),
    ("approval withheld", request(condition("Approved", "False")), ISSUER, NOTHING, AwaitApproval, ""),
    ("denied", request(condition("Denied", message="not here")), ISSUER, NOTHING, Fail, "not here"),
    ("denied and approved", request(APPROVED, condition("Denied")), ISSUER, NOTHING, Fail, "denied"),
    ("denied without an issuer", request(condition("Denied")), None, NOTHING, Fail, "denied"),
    ("marked as invalid", request(condition("InvalidRequest")), ISSUER, NOTHING, Fail, "InvalidRequest"),
    ("issued already", request(APPROVED, READY), ISSUER, NOTHING, Leave, ""),
    ("failed already", request(APPROVED, FAILED), ISSUER, NOTHING, Leave, ""),
    ("failed already, result late", request(APPROVED, FAILED), ISSUER, History(outcome=signed()), Leave, ""),
    ("denied already", request(condition("Ready", "False", "Denied")), ISSUER, NOTHING, Leave, ""),
    ("being deleted", approved(deletionTimestamp="2026-11-23T11:00:00Z"), ISSUER, NOTHING, Leave, ""),
    ("pending is no end", request(APPROVED, PENDING), ISSUER, NOTHING, Sign, ""),
    ("CSR not base64", approved(spec={"request": "%%%"}), ISSUER, NOTHING, Fail, "spec.request"),
    ("CSR not PEM", approved(spec={"request": b64encode(b"hello").decode()}), ISSUER, NOTHING, Fail, "spec.request"),
    ("CSR missing", approved(spec={"request": ""}), ISSUER, NOTHING, Fail, "spec.request"),
    ("CA certificate asked for, which an authority may sign", approved(spec={"isCA": True}), ISSUER, NOTHING, Sign, ""),
    (
        "CA certificate asked for in the CSR alone",
        approved(spec={"request": FOR_A_CA}),
        ISSUER,
        NOTHING,
        Fail,
        "CA:TRUE",
    ),
    (
        "CA certificate asked for, and not in the CSR",
        approved(spec={"request": FOR_NO_CA, "isCA": True}),
        ISSUER,
        NOTHING,
        Fail,
        "CA:FALSE",
    ),
    ("duration nonsense", approved(spec={"duration": "1y"}), ISSUER, NOTHING, Fail, "spec.duration"),
    ("duration negative", approved(spec={"duration": "-5s"}), ISSUER, NOTHING, Fail, "spec.duration"),
    ("duration zero", approved(spec={"duration": "0s"}), ISSUER, NOTHING, Fail, "spec.duration"),
    ("bad CSR although the issuer is missing", approved(spec={"request": ""}), None, NOTHING, Fail, "spec.request"),
    ("issuer missing", approved(), None, NOTHING, Pend, "CDNIssuer edge does not exist"),
    ("issuer missing at the deadline", approved(61), None, NOTHING, Fail, "CDNIssuer edge does not exist"),
    (
        "issuer unusable",
        approved(),
        IssuerView(title="x", problem="spec.deadline: bad"),
        NOTHING,
        Pend,
        "spec.deadline",
    ),
    ("issuer unusable at the deadline", approved(61), IssuerView(title="x", problem="bad"), NOTHING, Fail, "bad"),
    ("first go", approved(), ISSUER, NOTHING, Sign, ""),
    ("authority down", approved(), ISSUER, History(outcome=refused(DOWN)), Pend, "edge: no answer"),
    ("rate limited", approved(), ISSUER, History(outcome=refused(RateLimited("edge", "slow"))), Pend, "edge: slow"),
    ("credential refused", approved(), ISSUER, History(outcome=refused(REFUSED)), Pend, "HTTP 403, code 10000, trace"),
    (
        "rejected",
        approved(),
        ISSUER,
        History(outcome=refused(NO_ZONE, terminal=True)),
        Fail,
        "code 1010, trace 8c2-FRA",
    ),
    (
        "no authority can ever sign it",
        approved(),
        ISSUER,
        History(outcome=refused(Unsupported("edge", "IP names"), Unsupported("backup", "IP names"), terminal=True)),
        Fail,
        "edge: IP names; backup: IP names",
    ),
    ("signed", approved(), ISSUER, History(outcome=signed()), Issue, "signed by authority edge"),
    ("signed after the deadline", approved(61), ISSUER, History(outcome=signed()), Issue, "authority edge"),
    ("signed by the second", approved(), ISSUER, History(outcome=signed(DOWN)), Issue, "authority backup"),
    ("deadline before the first go", approved(61), ISSUER, NOTHING, Sign, ""),
    ("deadline after that go", approved(61), ISSUER, History(outcome=refused(DOWN)), Fail, "deadline of 1h"),
    (
        "deadline, never let through by our own limits",
        approved(61),
        ISSUER,
        History(outcome=refused(DOWN, attempted=False)),
        Pend,
        "edge",
    ),
    (
        "deadline while waiting for the next go",
        approved(61),
        ISSUER,
        History(had_turn=True, last=refused(DOWN, REFUSED)),
        Fail,
        "edge: no answer within 60s; edge: the API token was refused",
    ),
    ("exactly at the deadline", approved(60), ISSUER, History(had_turn=True, last=refused(DOWN)), Fail, "no answer"),
    (
        "restricted to an unknown authority",
        approved(annotations={"cdn-issuer.io/authorities": "edge, publik"}),
        ISSUER,
        NOTHING,
        Fail,
        "no authority 'publik' in the issuer; it has edge, backup",
    ),
]


@pytest.mark.parametrize(
    ("subject", "issuer", "history", "expected", "message"),
    [pytest.param(*case[1:], id=case[0]) for case in CASES],
)
def test_the_contract(
    subject: CertificateRequest, issuer: IssuerView | None, history: History, expected: type[Decision], message: str
) -> None:
    decision = decide(subject, issuer, NOW, history)
    assert type(decision) is expected
    assert message in getattr(decision, "message", "")


def test_a_denied_request_ends_as_denied_and_any_other_failure_as_failed() -> None:
    denied = decide(request(condition("Denied")), ISSUER, NOW)
    invalid = decide(request(condition("InvalidRequest")), ISSUER, NOW)
    assert isinstance(denied, Fail)
    assert isinstance(invalid, Fail)
    assert (denied.reason, invalid.reason) == ("Denied", "Failed")


def test_the_deadline_runs_from_the_approval_and_not_from_the_creation() -> None:
    subject = approved(1, creationTimestamp=(NOW - timedelta(days=2)).isoformat())
    decision = decide(subject, ISSUER, NOW)
    assert isinstance(decision, Sign)
    assert not decision.late
    assert decision.expires == NOW + timedelta(minutes=59)


@pytest.mark.parametrize(("minutes_ago", "expected"), [(59, Pend), (61, Fail)])
def test_a_go_that_ran_out_of_time_before_anybody_was_asked_does_not_hide_the_last_error(
    minutes_ago: float, expected: type[Decision]
) -> None:
    history = History(had_turn=True, last=refused(DOWN), outcome=refused(attempted=False))
    decision = decide(approved(minutes_ago), ISSUER, NOW, history)
    assert isinstance(decision, expected)
    assert isinstance(decision, Pend | Fail)
    assert "no answer within 60s" in decision.message


def test_a_request_past_its_deadline_gets_one_late_turn() -> None:
    decision = decide(approved(61), ISSUER, NOW)
    assert isinstance(decision, Sign)
    assert decision.late


@pytest.mark.parametrize("issuer", [None, IssuerView(title="x", problem="unreadable", deadline=1.0)])
def test_an_issuer_that_is_away_or_unreadable_for_a_moment_leaves_its_last_deadline_in_force(
    issuer: IssuerView | None,
) -> None:
    known = History(known_deadline=7200.0, seen=NOW - timedelta(minutes=90))
    assert expiry(approved(90), issuer, NOW, known) == NOW + timedelta(minutes=30)
    assert isinstance(decide(approved(90), issuer, NOW, known), Pend)
    assert expiry(approved(90), ISSUER, NOW, known) == NOW - timedelta(minutes=30), "one that is there says its own"


def test_a_request_that_was_late_when_it_was_first_seen_gives_its_issuer_ten_minutes_to_come() -> None:
    just_seen = History(seen=NOW - timedelta(minutes=9))
    assert isinstance(decide(approved(600), None, NOW, just_seen), Pend)
    assert isinstance(decide(approved(600), None, NOW, History(seen=NOW - timedelta(minutes=10))), Fail)


def test_the_annotation_restricts_the_authorities_and_a_blank_one_does_not() -> None:
    restricted = decide(approved(annotations={"cdn-issuer.io/authorities": " backup "}), ISSUER, NOW)
    blank = decide(approved(annotations={"cdn-issuer.io/authorities": " , "}), ISSUER, NOW)
    assert isinstance(restricted, Sign)
    assert isinstance(blank, Sign)
    assert (restricted.only, blank.only) == (frozenset({"backup"}), None)


def test_a_pending_request_is_asked_again_no_sooner_than_an_authority_can_be() -> None:
    decision = decide(approved(), ISSUER, NOW, History(outcome=refused(DOWN)))
    assert isinstance(decision, Pend)
    assert decision.retry_in == 7.0


def test_a_pending_request_has_the_same_reason_whatever_the_trace_id_of_the_attempt() -> None:
    reasons = set()
    for trace in ("a", "b"):
        failure = Unavailable("edge", "HTTP 503", status=503, trace_id=trace)
        decision = decide(approved(), ISSUER, NOW, History(outcome=refused(failure)))
        assert isinstance(decision, Pend)
        reasons.add(decision.why)
    assert len(reasons) == 1


def test_a_missing_issuer_is_not_polled_for() -> None:
    decision = decide(approved(), None, NOW)
    assert isinstance(decision, Pend)
    assert decision.retry_in is None


def test_a_failover_is_told_with_its_reason() -> None:
    decision = decide(approved(), ISSUER, NOW, History(outcome=signed(DOWN)))
    assert isinstance(decision, Issue)
    assert decision.authority_reason == "FailedOver"
    assert decision.authority_message == "backup signed; before it, edge: no answer within 60s"


def test_a_longer_life_than_asked_for_is_told() -> None:
    outcome = signed()
    longer = Issued(**{name: getattr(outcome, name) for name in outcome.__slots__} | {"granted": timedelta(days=30)})
    decision = decide(approved(), ISSUER, NOW, History(outcome=longer))
    assert isinstance(decision, Issue)
    assert "valid for 30d (7d asked for)" in decision.message


def test_what_is_otherwise_than_asked_for_is_told() -> None:
    decision = decide(approved(), ISSUER, NOW, History(outcome=replace(signed(), notes=("its subject is 'CN=x'",))))
    assert isinstance(decision, Issue)
    assert decision.message.endswith("Z; its subject is 'CN=x'")


EDGE_DOWN = Unavailable("edge", "down", status=503)
EDGE_BUSY = RateLimited("edge", "busy")
EDGE_LOCKED = Unauthorized("edge", "no")
BACKUP_NO = Rejected("backup", "not in the zone", code="1010")
BACKUP_NEVER = Unsupported("backup", "no IP addresses")


@pytest.mark.parametrize(
    ("failures", "cause", "why"),
    [
        ((EDGE_DOWN, BACKUP_NO), "Unavailable", "edge Unavailable; backup Rejected 1010"),
        ((BACKUP_NO, EDGE_DOWN), "Unavailable", "backup Rejected 1010; edge Unavailable"),
        ((EDGE_BUSY, BACKUP_NEVER), "RateLimited", "edge RateLimited; backup Unsupported"),
        ((EDGE_LOCKED, BACKUP_NO), "Unauthorized", "edge Unauthorized; backup Rejected 1010"),
        ((BACKUP_NEVER, BACKUP_NO), "Rejected", "backup Unsupported; backup Rejected 1010"),
        ((BACKUP_NEVER,), "Unsupported", "backup Unsupported"),
        ((), "NotAsked", ""),
    ],
)
def test_the_cause_of_a_failure_is_the_one_that_is_most_likely_to_pass(
    failures: tuple[AuthorityError, ...], cause: str, why: str
) -> None:
    history = History(had_turn=True, last=refused(*failures))
    ended = decide(approved(minutes_ago=61), ISSUER, NOW, history)
    assert isinstance(ended, Fail)
    assert (ended.cause, ended.why) == (cause, why)
    waiting = decide(approved(), ISSUER, NOW, History(outcome=refused(*failures)))
    assert isinstance(waiting, Pend)
    assert (waiting.cause, waiting.why) == (cause, why)


@pytest.mark.parametrize(
    ("decision", "cause"),
    [
        (decide(request(condition("Denied")), ISSUER, NOW), "Denied"),
        (decide(request(condition("InvalidRequest")), ISSUER, NOW), "InvalidRequest"),
        (decide(approved(spec={"request": FOR_A_CA}), ISSUER, NOW), "InvalidRequest"),
        (decide(approved(), None, NOW), "IssuerNotFound"),
        (decide(approved(), IssuerView(title="x", problem="nonsense"), NOW), "IssuerNotReady"),
        (decide(approved(minutes_ago=61), None, NOW), "IssuerNotFound"),
    ],
)
def test_an_end_that_no_authority_is_the_cause_of_says_so(decision: Decision, cause: str) -> None:
    assert isinstance(decision, Fail | Pend)
    assert decision.cause == cause


UNTIL = NOW + timedelta(seconds=30)
LAST = Unavailable("edge", "connection refused")
NOT_ASKED: list[AuthorityError] = [
    BreakerOpen("edge", failures=4, until=UNTIL, last=LAST),
    BreakerOpen("edge", failures=5, until=None, last=LAST),
    NoTime("edge", last=LAST),
    NoTime("edge", last=BreakerOpen("edge", failures=4, until=UNTIL, last=LAST)),
]


@pytest.mark.parametrize("failure", [LAST, *NOT_ASKED])
def test_at_the_deadline_all_who_met_the_same_cause_say_the_same_and_nothing_of_a_next_attempt(
    failure: AuthorityError,
) -> None:
    decision = decide(approved(61), ISSUER, NOW, History(had_turn=True, last=refused(failure)))
    assert isinstance(decision, Fail)
    assert decision.message == "not signed within the deadline of 1h after approval: edge: connection refused"


@pytest.mark.parametrize(
    ("failure", "waiting", "ended"),
    [
        (
            BreakerOpen("edge", failures=4, until=UNTIL, last=None),
            "edge: circuit breaker open after 4 consecutive failures, next attempt at 2026-11-23T12:00:30Z",
            "edge: circuit breaker open after 4 consecutive failures",
        ),
        (
            BreakerOpen("edge", failures=1, until=None, last=LAST),
            "edge: circuit breaker open after 1 failure, one request is probing it now; the last: connection refused",
            "edge: connection refused",
        ),
        (
            CredentialRefused("edge", REFUSED, until=UNTIL),
            (
                "edge: the API token was refused (HTTP 403, code 10000, trace 8c1-FRA); "
                "next attempt at 2026-11-23T12:00:30Z"
            ),
            "edge: the API token was refused (HTTP 403, code 10000, trace 8c1-FRA)",
        ),
        (
            LimitInForce("edge", until=UNTIL, seconds=30.0),
            "edge: rate-limited until 2026-11-23T12:00:30Z",
            "edge: rate-limited until 2026-11-23T12:00:30Z",
        ),
    ],
)
def test_when_the_next_attempt_is_is_said_while_a_request_waits_and_not_when_it_has_ended(
    failure: AuthorityError, waiting: str, ended: str
) -> None:
    pending = decide(approved(), ISSUER, NOW, History(outcome=refused(failure)))
    failed = decide(approved(), ISSUER, NOW, History(outcome=refused(failure, terminal=True)))
    assert isinstance(pending, Pend)
    assert isinstance(failed, Fail)
    assert pending.message.partition("; pending since ")[0] == waiting
    assert failed.message == ended


@pytest.mark.parametrize(("turns", "tried"), [(0, ""), (1, ", 1 attempt"), (3, ", 3 attempts")])
def test_a_pending_request_says_since_when_and_how_often_it_was_tried(turns: int, tried: str) -> None:
    decision = decide(approved(15), ISSUER, NOW, History(outcome=refused(DOWN), turns=turns))
    assert isinstance(decision, Pend)
    assert decision.message == (
        f"edge: no answer within 60s; pending since 2026-11-23T11:45:00Z{tried}; retrying until 2026-11-23T12:45:00Z"
    )
    assert decision.message.endswith(decision.until)
    assert "attempt" not in decision.why, "that it was tried again is no reason to write"


def test_what_waits_for_its_issuer_says_since_when_and_what_to_fix() -> None:
    decision = decide(approved(15), None, NOW)
    assert isinstance(decision, Pend)
    assert re.fullmatch(
        r"CDNIssuer edge does not exist in namespace \S+: create it, or fix issuerRef of the Certificate; "
        r"pending since 2026-11-23T11:45:00Z; waiting until 2026-11-23T12:45:00Z",
        decision.message,
    )


def test_a_kind_that_we_do_not_have_is_to_be_fixed_in_the_certificate() -> None:
    ref = {"name": "edge", "kind": "ClusterIssuer", "group": "cdn-issuer.io"}
    decision = decide(approved(spec={"issuerRef": ref}), None, NOW)
    assert isinstance(decision, Pend)
    assert decision.message.startswith(
        "issuerRef.kind ClusterIssuer is no kind of cdn-issuer.io; it has CDNIssuer and CDNClusterIssuer: "
        "fix issuerRef of the Certificate; pending since "
    )


def test_the_event_and_the_reason_tell_a_missing_secret_from_a_refused_credential_and_the_cause_does_not() -> None:
    decision = decide(
        approved(), ISSUER, NOW, History(outcome=refused(SecretNotFound("edge", "Secret a/b is not there")))
    )
    assert isinstance(decision, Pend)
    assert (decision.event, decision.cause, decision.why) == (
        "AuthoritySecretNotFound",
        "Unauthorized",
        "edge SecretNotFound",
    )
