"""Which Certificates are issued again after an outage, and which of them is next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from issuer.api.certificate import Certificate, CertificateSpec, CertificateStatus
from issuer.api.condition import Condition
from issuer.api.meta import ObjectKey, ObjectMeta, OwnerReference, format_time
from issuer.api.request import (
    AUTHORITIES_ANNOTATION,
    AUTHORITY_CONDITION,
    OUTAGES,
    REVISION_ANNOTATION,
    CertificateRequest,
    IssuerRef,
    RequestSpec,
    RequestStatus,
)
from issuer.controllers.issuercache import IssuerId
from issuer.controllers.renewal import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    PATIENCE,
    Backlog,
    Failure,
    Judgement,
    Line,
    Turn,
    failure_of,
    judge,
)

FAILED = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
LATER = FAILED + timedelta(minutes=10)
REF = IssuerRef("web", "CDNIssuer", "cdn-issuer.io")
WEB = IssuerId("CDNIssuer", ObjectKey("shop", "web"))
LINE = Line(WEB, frozenset())
RATE = 60
"""A second between two."""


def request(
    certificate: str = "site",
    *,
    uid: str = "",
    ready: tuple[str, str] | None = ("False", "Failed"),
    cause: str = "Unavailable",
    failed: datetime = FAILED,
    only: str = "",
    revision: str = "3",
    ref: IssuerRef = REF,
) -> CertificateRequest:
    """One as it comes from the cache; unfinished ones with `ready=None`."""
    conditions = [Condition("Approved", "True")]
    if ready:
        conditions += [Condition("Ready", *ready), Condition(AUTHORITY_CONDITION, "False", cause)]
    annotations = {REVISION_ANNOTATION: revision, **({AUTHORITIES_ANNOTATION: only} if only else {})}
    owner = OwnerReference("Certificate", certificate, f"uid-of-{certificate}", controller=True)
    meta = ObjectMeta(
        name=f"{certificate}-3",
        namespace="shop",
        uid=uid or f"{certificate}-failed",
        annotations=annotations,
        owner_references=(owner,),
    )
    status = RequestStatus(tuple(conditions), failure_time=format_time(failed) if ready else None)
    return CertificateRequest(meta, RequestSpec(ref), status).trimmed()


def failure(certificate: str = "site") -> Failure:
    found = failure_of(request(certificate))
    assert found is not None
    return found


ISSUING = Condition("Issuing", "False", "Failed", observed_generation=2)
CERTIFICATE = Certificate(
    ObjectMeta(name="site", namespace="shop", uid="uid-of-site", generation=2),
    CertificateSpec(REF),
    CertificateStatus((Condition("Ready", "True"), ISSUING), revision=2, last_failure_time=format_time(FAILED)),
)


def certificate(*, issuing: Condition | None = ISSUING, **status: object) -> Certificate:
    conditions = (Condition("Ready", "True"), *((issuing,) if issuing else ()))
    return replace(CERTIFICATE, status=replace(CERTIFICATE.status, conditions=conditions, **status))


def test_a_certificate_whose_last_issuance_failed_in_an_outage_is_renewed() -> None:
    assert judge(failure(), CERTIFICATE, LATER) is Judgement.RENEW
    first = replace(CERTIFICATE, status=replace(CERTIFICATE.status, revision=None))
    found = failure_of(request(revision="1"))
    assert found is not None
    assert judge(found, first, LATER) is Judgement.RENEW


def test_the_clock_of_cert_manager_may_be_wrong() -> None:
    for skew in (timedelta(hours=-2), timedelta(hours=2)):
        assert judge(failure(), certificate(last_failure_time=format_time(FAILED + skew)), LATER) is Judgement.RENEW


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(None, id="gone"),
        pytest.param(replace(CERTIFICATE, metadata=replace(CERTIFICATE.metadata, uid="another")), id="made again"),
        pytest.param(
            replace(CERTIFICATE, metadata=replace(CERTIFICATE.metadata, deletion_timestamp=format_time(LATER))),
            id="being deleted",
        ),
        pytest.param(
            replace(CERTIFICATE, metadata=replace(CERTIFICATE.metadata, generation=3)), id="changed since it failed"
        ),
        pytest.param(replace(CERTIFICATE, spec=CertificateSpec(IssuerRef("other"))), id="of another issuer now"),
        pytest.param(certificate(revision=3), id="issued since"),
        pytest.param(certificate(revision=1), id="the request is not of its next revision"),
        pytest.param(certificate(issuing=replace(ISSUING, reason="Denied")), id="denied"),
    ],
)
def test_it_is_left_alone_if_it_is(changed: Certificate | None) -> None:
    assert judge(failure(), changed, LATER) is Judgement.NEVER


@pytest.mark.parametrize(
    ("now", "found"),
    [
        pytest.param(LATER, certificate(issuing=Condition("Issuing", "True", "Renewing")), id="being issued"),
        pytest.param(LATER, certificate(issuing=None), id="not known to be issued yet"),
        pytest.param(LATER, certificate(last_failure_time=None), id="not known to have failed yet"),
        pytest.param(FAILED + timedelta(seconds=0.9), CERTIFICATE, id="failed in this very second"),
        pytest.param(FAILED - timedelta(minutes=1), CERTIFICATE, id="failed in the future"),
    ],
)
def test_it_has_to_wait_if_it_is(now: datetime, found: Certificate) -> None:
    assert judge(failure(), found, now) is Judgement.LATER


@pytest.mark.parametrize("cause", ["Rejected", "Unsupported", "InvalidRequest", "Denied", "InternalError", ""])
def test_what_was_refused_waits_for_nothing(cause: str) -> None:
    assert failure_of(request(cause=cause)) is None
    backlog = Backlog()
    backlog.seen(request(cause=cause), None, LATER, 0)
    assert backlog.lines() == []


def test_what_was_denied_is_no_outage_whatever_the_cause() -> None:
    assert failure_of(request(ready=("False", "Denied"))) is None


@pytest.mark.parametrize("cause", sorted(OUTAGES))
def test_what_failed_in_an_outage_waits_with_all_that_is_needed(cause: str) -> None:
    found = failure_of(request(cause=cause, only=" backup,edge "))
    assert found is not None
    assert (found.certificate, found.certificate_uid) == (ObjectKey("shop", "site"), "uid-of-site")
    assert (found.revision, found.failed_at, found.ref) == (3, FAILED, REF)
    assert found.line == Line(WEB, frozenset({"backup", "edge"}))


def test_a_request_that_no_certificate_owns_leaves_nothing_to_do() -> None:
    one = request()
    assert failure_of(replace(one, metadata=replace(one.metadata, owner_references=()))) is None
    assert failure_of(request(revision="")) is None


def waiting(*names: str, **fields: str) -> Backlog:
    """A backlog in which these Certificates wait."""
    backlog = Backlog()
    for name in names:
        backlog.seen(request(name, **fields), None, LATER, 0)  # type: ignore[arg-type]
    return backlog


def take(backlog: Backlog, time: float, *, line: Line = LINE, rate: int = RATE) -> str | None:
    """Start the issuance of the one whose turn it is; a probe has a question mark."""
    turn = backlog.next(line, time)
    if turn is None:
        return None
    backlog.started(turn, rate, time)
    return turn.waiting.failure.certificate.name + "?" * turn.is_probe


def anew(name: str, **fields: str) -> CertificateRequest:
    """Its next request, not ended yet."""
    return request(name, uid=f"{name}-next", ready=None, **fields)  # type: ignore[arg-type]


def signs(backlog: Backlog, name: str, when: datetime = LATER, **fields: str) -> None:
    """Its next request is signed."""
    old = anew(name, **fields)
    backlog.seen(old, None, when, 0)
    backlog.seen(request(name, uid=f"{name}-next", ready=("True", "Issued"), cause=""), old, when, 0)


def test_one_goes_first_and_the_others_when_it_is_signed() -> None:
    backlog = waiting("a", "b", "c")
    assert [take(backlog, time) for time in (0, 1, 2, 100)] == ["a?", None, None, None]
    signs(backlog, "a")
    assert [take(backlog, time) for time in (101, 102, 103)] == ["b", "c", None]
    assert len(backlog) == 0


def test_an_issuer_has_so_many_in_a_minute_whatever_their_authorities() -> None:
    backlog = waiting("a", "b", "c")
    backlog.seen(request("d", only="backup"), None, LATER, 0)
    signs(backlog, "z")
    restricted = Line(WEB, frozenset({"backup"}))
    assert take(backlog, 0, rate=30) == "a"
    assert take(backlog, 1.9, rate=30) is None
    assert backlog.next(restricted, 1.9) is None
    assert take(backlog, 2, line=restricted, rate=30) == "d?"
    assert take(backlog, 3.9, rate=30) is None
    assert take(backlog, 4, rate=30) == "b"
    assert backlog.next_in(4.5) == 1.5


def test_what_expires_first_comes_first_and_what_is_not_known_last() -> None:
    backlog = waiting("unknown", "late", "soon")
    for one in backlog.waiting(LINE):
        days = {"late": 9, "soon": 1}.get(one.failure.certificate.name)
        one.expires = LATER + timedelta(days=days) if days else None
    assert take(backlog, 0) == "soon?"
    signs(backlog, "soon")
    assert [take(backlog, time) for time in (1, 2)] == ["late", "unknown"]


def test_a_signature_proves_nothing_for_what_failed_after_it() -> None:
    backlog = waiting("a", "b")
    signs(backlog, "z", FAILED + timedelta(seconds=0.9))
    assert take(backlog, 0) == "a?"
    assert take(backlog, 1) is None
    signs(backlog, "z", FAILED + timedelta(seconds=1))
    assert take(backlog, 2) == "b"


def test_a_signature_of_one_authority_proves_nothing_for_who_may_not_have_it() -> None:
    backlog = waiting("a", "b", only="edge")
    restricted = Line(WEB, frozenset({"edge"}))
    signs(backlog, "z")
    assert take(backlog, 0, line=restricted) == "a?"
    assert take(backlog, 1, line=restricted) is None
    signs(backlog, "a", only="edge")
    assert take(backlog, 2, line=restricted) == "b"


def test_after_a_probe_that_failed_there_is_a_pause_then_another_one_is_the_probe() -> None:
    backlog = waiting("a", "b")
    assert take(backlog, 0) == "a?"
    backlog.seen(request("a", uid="a-2", failed=LATER), anew("a"), LATER, 10)
    for one in backlog.waiting(LINE):
        if one.failure.certificate.name == "a":
            one.expires = LATER
    assert take(backlog, 10 + FIRST_PAUSE - 0.1) is None
    assert take(backlog, 10 + FIRST_PAUSE) == "b?"
    backlog.seen(request("b", uid="b-2", failed=LATER), anew("b"), LATER, 20)
    assert take(backlog, 20 + 2 * FIRST_PAUSE - 0.1) is None
    backlog.hasten(WEB)
    assert take(backlog, 20 + 2 * FIRST_PAUSE - 0.1) in ("a?", "b?")


def test_the_pause_has_an_end() -> None:
    backlog, time = waiting("a"), 0.0
    for number in range(12):
        assert take(backlog, time) == "a?"
        backlog.seen(request("a", uid=f"a-{number}", failed=LATER), anew("a"), LATER, time)
        time += LONGEST_PAUSE


def test_a_probe_that_is_refused_makes_way_for_another_one_at_once() -> None:
    backlog = waiting("a", "b")
    assert take(backlog, 0) == "a?"
    backlog.seen(request("a", uid="a-2", cause="Rejected"), anew("a"), LATER, 2)
    assert take(backlog, 2) == "b?"


def test_a_probe_of_which_nothing_is_heard_makes_way() -> None:
    backlog = waiting("a", "b")
    assert take(backlog, 0) == "a?"
    assert take(backlog, PATIENCE) is None
    assert take(backlog, PATIENCE + 1) == "b?"


def test_a_probe_that_waits_for_its_authority_stays_the_probe() -> None:
    backlog = waiting("a", "b")
    assert take(backlog, 0) == "a?"
    backlog.seen(anew("a"), None, LATER, 1)
    assert take(backlog, 10 * PATIENCE) is None
    backlog.gone(anew("a"))
    assert take(backlog, 10 * PATIENCE) == "b?"


def test_a_probe_that_asks_another_issuer_now_makes_way() -> None:
    backlog = waiting("a", "b")
    assert take(backlog, 0) == "a?"
    elsewhere = request("a", uid="a-2", ready=None, ref=IssuerRef("other", "CDNIssuer", "cdn-issuer.io"))
    backlog.seen(elsewhere, None, LATER, 1)
    assert take(backlog, 2) == "b?"


def test_no_issuance_is_started_twice_for_one_failure() -> None:
    backlog = waiting("a")
    signs(backlog, "z")
    assert take(backlog, 0) == "a"
    backlog.seen(request("a"), request("a"), LATER, 1)
    assert backlog.lines() == []
    backlog.seen(request("a", uid="a-2", failed=LATER), anew("a"), LATER, 2)
    assert len(backlog) == 1, "another failure is another matter"


def test_an_older_failure_never_takes_the_place_of_a_newer_one() -> None:
    backlog = waiting()
    backlog.seen(request("a", uid="newer", failed=LATER), None, LATER, 0)
    backlog.seen(request("a", uid="older"), None, LATER, 0)
    assert [one.failure.request.uid for one in backlog.waiting(LINE)] == ["newer"]


@pytest.mark.parametrize("news", ["deleted", "pending", "signed", "refused"])
def test_a_certificate_waits_no_longer_once_its_failed_request_is_not_its_newest(news: str) -> None:
    backlog = waiting("a")
    match news:
        case "deleted":
            backlog.gone(request("a"))
        case "pending":
            backlog.seen(anew("a"), None, LATER, 1)
        case "signed":
            signs(backlog, "a")
        case _:
            backlog.seen(request("a", uid="a-2", cause="Rejected"), anew("a"), LATER, 1)
    assert (len(backlog), backlog.lines()) == (0, [])


def test_the_end_of_another_request_of_that_name_is_no_matter() -> None:
    backlog = waiting("a")
    backlog.gone(request("a", uid="a-former"))
    assert len(backlog) == 1


def test_what_is_not_due_waits() -> None:
    backlog = waiting("a")
    for one in backlog.waiting(LINE):
        one.due = 5
    assert take(backlog, 4.9) is None
    assert take(backlog, 5) == "a?"


def test_who_waits_for_nobody_costs_no_memory() -> None:
    backlog = Backlog()
    for number in range(100):
        signs(backlog, f"site-{number}")
    backlog.lines()
    assert not any(vars(backlog).values())
    turn = Turn(waiting("a").waiting(LINE)[0], is_probe=False)
    backlog.started(turn, RATE, 0)
    signs(backlog, "a")
    backlog.lines()
    assert not any(vars(backlog).values())
