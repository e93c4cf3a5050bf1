"""When an authority is rehearsed, and what for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from issuer.api.issuer import REHEARSE_AT, REHEARSE_AUTHORITIES, Issuer
from issuer.api.issuerstatus import RehearsalStatus
from issuer.api.meta import ObjectKey, ObjectMeta, format_time
from issuer.controllers.decision import IssuerView
from issuer.controllers.issuercache import CachedIssuer, IssuerId
from issuer.controllers.rehearsals import (
    AFTER_FAILURE,
    FIRST_WITHIN,
    SPREAD,
    Candidate,
    due_at,
    is_possible,
    make_order,
    requested,
    with_rehearsal,
)
from issuer.pki.csr import InvalidRequestError
from issuer.signing.health import AuthorityHealth

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
DAY = timedelta(days=1)
KEY = ObjectKey("shop", "web")


def candidate(*, signed: float | None = None, tried: float | None = None, result: str = "Succeeded") -> Candidate:
    """An authority that signed, and was rehearsed, so many hours ago; its issuer was made two days ago."""
    ago = {hours: NOW - timedelta(hours=hours) for hours in (signed, tried) if hours is not None}
    return Candidate(
        entry=CachedIssuer(
            id=IssuerId("CDNIssuer", KEY), uid="u", generation=1, view=IssuerView(title="CDNIssuer shop/web"), plan=None
        ),
        health=AuthorityHealth(
            name="edge", state="Available", last_success=ago[signed] if signed is not None else None
        ),
        last=RehearsalStatus(time=format_time(ago[tried]), result=result) if tried is not None else None,
        created=NOW - 2 * DAY,
    )


def test_one_that_signs_is_left_alone_for_that_long_with_some_spread() -> None:
    for found in (candidate(signed=1), candidate(signed=30, tried=1), candidate(signed=1, tried=30)):
        assert NOW + DAY * (1 - SPREAD) - timedelta(hours=1) <= due_at(found, DAY) <= NOW + DAY - timedelta(hours=1)
    assert due_at(candidate(signed=25), DAY) <= NOW


def test_one_that_has_never_signed_is_due_soon_after_its_issuer_was_made() -> None:
    due = due_at(candidate(), DAY)
    assert NOW - 2 * DAY <= due <= NOW - 2 * DAY + FIRST_WITHIN


def test_one_that_failed_is_tried_again_within_the_hour_until_it_signs() -> None:
    assert due_at(candidate(signed=30, tried=0.5, result="Failed"), DAY) == NOW - timedelta(hours=0.5) + AFTER_FAILURE
    assert due_at(candidate(tried=0.5, result="Failed"), DAY) == NOW - timedelta(hours=0.5) + AFTER_FAILURE
    assert due_at(candidate(signed=0.25, tried=0.5, result="Failed"), DAY) > NOW + timedelta(hours=20)


def asked(value: str | None, authorities: str | None = None) -> Issuer:
    """An issuer with the annotations of a request."""
    found = {REHEARSE_AT: value, REHEARSE_AUTHORITIES: authorities}
    return Issuer(metadata=ObjectMeta(annotations={name: text for name, text in found.items() if text is not None}))


EARLIER, LATER = "2026-11-27T11:00:00Z", "2026-11-27T13:00:00Z"


@pytest.mark.parametrize("value", [EARLIER, LATER], ids=["a clock that is slow", "a clock that is fast"])
def test_what_was_asked_for_is_due_at_once_and_only_once_whatever_clock_it_is_from(value: str) -> None:
    before = RehearsalStatus(time=format_time(NOW), result="Succeeded")
    assert requested(asked(value), "edge", before) == value
    assert due_at(replace(candidate(signed=0.1, tried=0.1), requested=value), DAY) < NOW - 1000 * DAY
    assert requested(asked(value), "edge", msgspec.structs.replace(before, requested_at=value)) == ""
    assert requested(asked(value), "edge", None) == value


def test_only_the_authorities_that_are_named_are_asked_for() -> None:
    assert requested(asked(LATER, " backup, other"), "edge", None) == ""
    assert requested(asked(LATER, " backup, other"), "backup", None) == LATER
    assert requested(asked(LATER, ","), "edge", None) == LATER


@pytest.mark.parametrize("value", [None, "", "soon", "2026-11-27T12:00:00Z" + " " * 64])
def test_what_is_no_time_asks_for_nothing(value: str | None) -> None:
    assert requested(asked(value), "edge", None) == ""


@pytest.mark.parametrize(
    ("health", "possible"),
    [
        (AuthorityHealth(name="a", state="Available"), True),
        (AuthorityHealth(name="a", state="Unknown"), True),
        (AuthorityHealth(name="a", state="Untested"), True),
        (AuthorityHealth(name="a", state="Degraded"), True),
        (AuthorityHealth(name="a", state="Degraded", is_limited=True), False),
        (AuthorityHealth(name="a", state="Open"), False),
        (AuthorityHealth(name="a", state="Unauthorized"), False),
        (AuthorityHealth(name="a", state="SecretNotFound"), False),
        (AuthorityHealth(name="a", state="Misconfigured"), False),
    ],
)
def test_what_is_known_to_fail_or_has_no_calls_left_is_not_rehearsed(
    health: AuthorityHealth, *, possible: bool
) -> None:
    assert is_possible(health) is possible


def test_each_order_has_a_key_of_its_own_and_the_names_of_the_issuer() -> None:
    names = ("rehearsal.example.com", "*.rehearsal.example.com")
    one, two = (make_order(KEY, "edge", names, NOW) for _ in range(2))
    assert one.csr.public_key != two.csr.public_key
    assert one.uid != two.uid
    assert one.csr.hostnames == names
    assert one.duration == timedelta(days=7)


@pytest.mark.parametrize("name", ["no name at all", "wé.example.com", "a..b", "*.*.example.com"])
def test_a_name_that_nobody_could_sign_is_refused_in_words(name: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        make_order(KEY, "edge", [name], NOW)
    assert error.value.message


def test_an_authority_is_degraded_after_a_rehearsal_that_failed_until_it_signs() -> None:
    failed = RehearsalStatus(time=format_time(NOW), result="Failed", message="HTTP 503")
    well = AuthorityHealth(name="edge", state="Available", last_success=NOW - DAY)
    degraded = with_rehearsal(well, failed)
    assert degraded.state == "Degraded"
    assert degraded.message == f"its rehearsal at {format_time(NOW)} failed: HTTP 503"
    later = AuthorityHealth(name="edge", state="Available", last_success=NOW + timedelta(seconds=1))
    assert with_rehearsal(later, failed) is later
    worse = AuthorityHealth(name="edge", state="Open", message="down")
    assert with_rehearsal(worse, failed) is worse
    assert with_rehearsal(well, RehearsalStatus(time=format_time(NOW), result="Succeeded")) is well
    assert with_rehearsal(well, None) is well
