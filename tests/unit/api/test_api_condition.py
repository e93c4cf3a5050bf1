"""Conditions: found, written in their place, and stamped only when the status changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from issuer.api.condition import FALSE, READY, TRUE, UNKNOWN, Condition, find, is_true, same_meaning, upsert

NOON = datetime(2026, 11, 2, 12, 0, 0, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
APPROVED = Condition("Approved", TRUE, "cert-manager.io", "", "2026-11-02T11:00:00Z")


def ready(status: str = FALSE, reason: str = "Pending", message: str = "") -> Condition:
    return Condition(READY, status, reason, message)


def test_the_condition_of_a_type_is_found() -> None:
    assert find([APPROVED, ready()], READY) == ready()
    assert find([APPROVED], READY) is None


def test_only_true_is_true() -> None:
    assert is_true([ready(TRUE)], READY)
    assert not is_true([ready(FALSE)], READY)
    assert not is_true([ready(UNKNOWN)], READY)
    assert not is_true([], READY)


def test_a_new_condition_comes_last_and_the_others_stay_as_they_are() -> None:
    assert upsert([APPROVED], ready(), NOON) == (
        APPROVED,
        Condition(READY, FALSE, "Pending", "", "2026-11-02T12:00:00Z"),
    )


def test_a_condition_is_written_in_its_place() -> None:
    first = upsert([], ready(), NOON)
    assert [one.type for one in upsert((*first, APPROVED), ready(TRUE), LATER)] == [READY, "Approved"]


def test_the_time_stays_while_the_status_stays() -> None:
    (after,) = upsert(upsert([], ready(), NOON), ready(reason="Failed", message="too late"), LATER)
    assert (after.reason, after.message, after.since) == ("Failed", "too late", NOON)


def test_the_time_moves_with_the_status() -> None:
    (after,) = upsert(upsert([], ready(), NOON), ready(TRUE), LATER)
    assert after.since == LATER


def test_a_condition_that_had_no_time_gets_one() -> None:
    (after,) = upsert([ready()], ready(), NOON)
    assert after.since == NOON


def test_a_time_that_the_caller_set_does_not_count() -> None:
    told = msgspec.structs.replace(ready(), last_transition_time="2001-01-01T00:00:00Z")
    (after,) = upsert([], told, NOON)
    assert after.since == NOON


def test_two_conditions_say_the_same_whenever_they_were_written() -> None:
    (written,) = upsert([], ready(), NOON)
    assert same_meaning(written, ready())
    assert not same_meaning(None, ready())
    for other in (ready(TRUE), ready(reason="Failed"), ready(message="x")):
        assert not same_meaning(written, other)
    assert not same_meaning(written, msgspec.structs.replace(ready(), observed_generation=2))


def test_what_was_not_said_is_not_written() -> None:
    assert msgspec.json.encode(ready()) == b'{"type":"Ready","status":"False","reason":"Pending"}'


def test_what_others_wrote_is_read_whatever_its_length() -> None:
    raw = msgspec.json.encode({"type": "x" * 1000, "status": "Perhaps", "message": "y" * 100_000, "more": 1})
    assert msgspec.json.decode(raw, type=Condition).status == "Perhaps"
