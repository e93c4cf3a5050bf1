"""What may be revoked, judged without any provider."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from issuer.signing.orphans import GRACE, KEEP, Orphans
from tests.unit.signing.signing_case import START, FakeAuthority, Provider, order, planned

ISSUER = ("CDNIssuer", "shop/cdn")
WHO = planned(FakeAuthority(Provider("edge")))


class Case:
    def __init__(self, most: int = 100, most_fates: int = 100) -> None:
        self.time = 1000.0
        self.orphans = Orphans(clock=lambda: self.time, now=self.now, most=most, most_fates=most_fates)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.time)

    def lose(self, uid: str = "a", key: bytes = b"key") -> None:
        self.orphans.lost(order(uid, key=key), WHO, ISSUER, "edge/1", self.time)

    def make(self, handle: str, fingerprint: str, uid: str = "a", key: bytes = b"key") -> None:
        self.orphans.made(order(uid, key=key), WHO, ISSUER, "edge/1", handle, fingerprint)

    def condemns(self, handle: str, fingerprint: str, made: datetime | None = None) -> bool:
        (entry,) = self.orphans.due()
        return self.orphans.condemn(entry, handle, fingerprint, made)


def test_nothing_is_due_before_the_fate_is_known() -> None:
    case = Case()
    case.lose()
    assert list(case.orphans.due()) == []
    case.orphans.settle("a", None)
    assert len(list(case.orphans.due())) == 1


def test_a_fate_that_is_taken_back_in_the_middle_of_a_sweep_still_protects() -> None:
    case = Case()
    case.lose()
    case.orphans.settle("a", None)
    (entry,) = case.orphans.due()
    case.orphans.begin(order("a", key=b"key"))
    assert not case.orphans.condemn(entry, "id", "leaf", case.now())


def test_the_delivered_certificate_is_spared() -> None:
    case = Case()
    case.lose()
    case.orphans.settle("a", "leaf")
    assert not case.condemns("id", "leaf", case.now())
    assert case.condemns("id-2", "other leaf", case.now())


def test_the_certificate_of_another_request_is_spared() -> None:
    case = Case()
    case.lose()
    case.orphans.claim("b", "leaf of b")
    case.orphans.settle("a", None)
    assert not case.condemns("id", "leaf of b", case.now())


def test_nobody_adopts_what_is_another_requests() -> None:
    case = Case()
    case.orphans.claim("a", "leaf")
    assert case.orphans.adopt("a", "id", "leaf")
    assert not case.orphans.adopt("b", "id", "leaf")


def test_a_certificate_of_two_requests_is_spared_until_neither_received_it() -> None:
    case = Case()
    case.lose("adopter")
    assert case.orphans.adopt("adopter", "id", "leaf")
    case.orphans.claim("asker", "leaf")
    case.orphans.settle("adopter", None)
    assert not case.condemns("id", "leaf", case.now())
    case.orphans.settle("asker", None)
    assert case.condemns("id", "leaf", case.now())


def test_a_certificate_that_another_request_received_is_nothing_to_remember() -> None:
    case = Case()
    case.make("id", "leaf", uid="asker")
    case.orphans.claim("asker", "leaf")
    case.orphans.claim("adopter", "leaf")
    case.orphans.settle("asker", None)
    case.orphans.settle("adopter", "leaf")
    assert list(case.orphans.due()) == []
    assert len(case.orphans) == 0


def test_while_a_request_with_the_same_key_is_signed_nothing_found_is_condemned() -> None:
    case = Case()
    case.lose()
    case.orphans.settle("a", None)
    (entry,) = case.orphans.due()
    other = order("b", key=b"key")
    case.orphans.begin(other)
    assert not case.orphans.condemn(entry, "id", "leaf", case.now())
    assert list(case.orphans.due()) == []
    case.orphans.end(other)
    assert case.orphans.condemn(entry, "id", "leaf", case.now())


def test_a_certificate_of_later_is_spared() -> None:
    case = Case()
    case.lose()
    case.orphans.settle("a", None)
    assert not case.condemns("late", "x", case.now() + timedelta(seconds=GRACE + 1))
    assert case.condemns("soon", "y", case.now() + timedelta(seconds=GRACE - 1))


def test_a_found_certificate_that_cannot_be_read_is_spared_but_not_a_record_of_ours() -> None:
    case = Case()
    case.lose()
    case.make("ours", "")
    case.orphans.settle("a", "leaf")
    assert not case.condemns("found", "", case.now())
    assert case.condemns("ours", "")


def test_what_is_about_to_be_revoked_is_known_to_those_who_adopt() -> None:
    case = Case()
    case.lose()
    case.orphans.settle("a", None)
    assert not case.orphans.condemned("id")
    assert case.condemns("id", "leaf", case.now())
    assert case.orphans.condemned("id")


def test_a_record_of_a_wrong_certificate_is_void_once_somebody_adopts_it() -> None:
    case = Case()
    case.make("id", "", uid="a")
    assert case.orphans.adopt("b", "id", "leaf")
    case.orphans.settle("a", None)
    assert len(case.orphans) == 0


def test_a_record_of_ours_that_is_adopted_by_the_same_request_is_spared_when_delivered() -> None:
    case = Case()
    case.make("id", "", uid="a")
    assert case.orphans.adopt("a", "id", "leaf")
    case.orphans.settle("a", "leaf")
    assert len(case.orphans) == 0


def test_beyond_the_cap_the_oldest_is_left_alone() -> None:
    case = Case(most=2)
    for uid in ("a", "b", "c"):
        case.lose(uid, key=uid.encode())
        case.orphans.settle(uid, None)
    assert [entry.order.uid for entry in case.orphans.due()] == ["b", "c"]
    assert len(case.orphans) == 2


def test_beyond_the_cap_of_owners_older_suspicions_condemn_nothing_they_find() -> None:
    case = Case(most_fates=1)
    case.orphans.claim("b", "leaf of b")
    case.lose()
    case.orphans.settle("a", None)
    assert case.condemns("x", "anything", case.now())
    case.time += 1
    case.orphans.claim("c", "leaf of c")
    case.time += 1
    case.orphans.claim("d", "leaf of d")
    assert not case.condemns("id", "leaf of c", case.now())


def test_after_a_day_a_suspicion_is_dropped() -> None:
    case = Case()
    case.lose()
    case.orphans.settle("a", None)
    case.time += KEEP + 1
    assert list(case.orphans.due()) == []
    assert len(case.orphans) == 0


def test_passes_of_one_request_may_overlap() -> None:
    case = Case()
    case.lose("a")
    case.orphans.settle("a", None)
    other = order("b", key=b"key")
    case.orphans.begin(other)
    case.orphans.begin(other)
    case.orphans.end(other)
    assert list(case.orphans.due()) == []
    case.orphans.end(other)
    assert len(list(case.orphans.due())) == 1


def test_times_are_utc() -> None:
    case = Case()
    case.lose()
    case.orphans.settle("a", None)
    (entry,) = case.orphans.due()
    assert entry.sent_at.tzinfo is UTC
