"""What may be revoked, judged without any provider."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from issuer.authorities.errors import Rejected
from issuer.signing.ledger import DATED_BACK, FIRST_PAUSE, FRESH, GRACE, KEEP, Ledger
from issuer.signing.registry import AuthorityState
from tests.unit.signing.signing_case import START, FakeAuthority, Provider, order, planned

EDGE = AuthorityState(planned(FakeAuthority(Provider("edge"))), kind="CDNIssuer", issuer="shop/cdn")


class Case:
    def __init__(self, most: int = 100, most_fates: int = 100) -> None:
        self.time = 1000.0
        self.received: set[str] = set()
        self.ledger = Ledger(
            clock=lambda: self.time, now=self.now, received=self.received.__contains__, most=most, most_fates=most_fates
        )

    def now(self) -> datetime:
        return START + timedelta(seconds=self.time)

    def lose(self, uid: str = "a", key: bytes = b"key") -> None:
        self.ledger.lost(order(uid, key=key), EDGE, "edge/1", self.time)

    def make(self, handle: str, fingerprint: str, uid: str = "a", key: bytes = b"key") -> None:
        self.ledger.made(order(uid, key=key), EDGE, "edge/1", handle, fingerprint)

    def look(self, uid: str = "a") -> None:
        self.ledger.looked(uid, EDGE, "edge/1", self.time)

    def suspects(self, uid: str = "a", account: str = "edge/1", who: AuthorityState = EDGE) -> bool:
        return self.ledger.is_suspected(uid, who, account)

    def orphans(self, handle: str, fingerprint: str, made: datetime | None = None) -> bool:
        (entry,) = self.ledger.due()
        return self.ledger.orphaned(entry, handle, fingerprint, made)


def test_nothing_is_due_before_the_fate_is_known() -> None:
    case = Case()
    case.lose()
    assert list(case.ledger.due()) == []
    case.ledger.settle("a", None)
    assert len(list(case.ledger.due())) == 1


def test_a_certificate_that_is_known_is_not_due_either_before_the_fate_is_known() -> None:
    case = Case()
    case.make("id", "leaf")
    assert list(case.ledger.due()) == []
    case.ledger.settle("a", None)
    assert len(list(case.ledger.due())) == 1


def test_a_fate_that_is_taken_back_in_the_middle_of_a_sweep_still_protects() -> None:
    case = Case()
    case.lose()
    case.ledger.settle("a", None)
    (entry,) = case.ledger.due()
    with case.ledger.signing(order("a", key=b"key")):
        assert not case.ledger.orphaned(entry, "id", "leaf", case.now())


def test_the_delivered_certificate_is_spared() -> None:
    case = Case()
    case.lose()
    case.ledger.settle("a", "leaf")
    assert not case.orphans("id", "leaf", case.now())
    assert case.orphans("id-2", "other leaf", case.now())


def test_the_certificate_of_another_request_is_spared() -> None:
    case = Case()
    case.lose()
    case.ledger.claim("b", "leaf of b")
    case.ledger.settle("a", None)
    assert not case.orphans("id", "leaf of b", case.now())


def test_nobody_adopts_what_is_another_requests() -> None:
    case = Case()
    case.ledger.claim("a", "leaf")
    assert case.ledger.adopt("a", "id", "leaf")
    assert not case.ledger.adopt("b", "id", "leaf")


def test_a_certificate_of_two_requests_is_spared_until_neither_received_it() -> None:
    case = Case()
    case.lose("adopter")
    assert case.ledger.adopt("adopter", "id", "leaf")
    case.ledger.claim("asker", "leaf")
    case.ledger.settle("adopter", None)
    assert not case.orphans("id", "leaf", case.now())
    case.ledger.settle("asker", None)
    assert case.orphans("id", "leaf", case.now())


def test_a_certificate_that_another_request_received_is_nothing_to_remember() -> None:
    case = Case()
    case.make("id", "leaf", uid="asker")
    case.ledger.claim("asker", "leaf")
    case.ledger.claim("adopter", "leaf")
    case.ledger.settle("asker", None)
    case.ledger.settle("adopter", "leaf")
    assert list(case.ledger.due()) == []
    assert len(case.ledger) == 0


def test_while_a_request_with_the_same_key_is_signed_nothing_found_is_orphaned() -> None:
    case = Case()
    case.lose()
    case.ledger.settle("a", None)
    (entry,) = case.ledger.due()
    other = order("b", key=b"key")
    with case.ledger.signing(other):
        assert not case.ledger.orphaned(entry, "id", "leaf", case.now())
        assert list(case.ledger.due()) == []
    assert case.ledger.orphaned(entry, "id", "leaf", case.now())


def test_a_certificate_of_later_is_spared() -> None:
    case = Case()
    case.lose()
    case.ledger.settle("a", None)
    assert not case.orphans("late", "x", case.now() + timedelta(seconds=GRACE + 1))
    assert case.orphans("soon", "y", case.now() + timedelta(seconds=GRACE - 1))


def test_a_certificate_that_began_to_live_before_our_call_is_spared() -> None:
    case = Case()
    case.time += 3600
    case.lose()
    case.ledger.settle("a", None)
    assert not case.orphans("before", "x", case.now() - DATED_BACK - timedelta(seconds=1))
    assert case.orphans("dated back", "y", case.now() - DATED_BACK)


def test_a_found_certificate_that_cannot_be_read_is_spared_but_not_a_record_of_ours() -> None:
    case = Case()
    case.lose()
    case.make("ours", "")
    case.ledger.settle("a", "leaf")
    assert not case.orphans("found", "", case.now())
    assert case.orphans("ours", "")


def test_what_is_about_to_be_revoked_is_known_to_those_who_adopt() -> None:
    case = Case()
    case.lose()
    case.ledger.settle("a", None)
    assert case.orphans("id", "leaf", case.now())
    assert not case.ledger.adopt("a", "id", "leaf")


def test_a_record_of_a_wrong_certificate_is_void_once_somebody_adopts_it() -> None:
    case = Case()
    case.make("id", "", uid="a")
    assert case.ledger.adopt("b", "id", "leaf")
    case.ledger.settle("a", None)
    assert not case.orphans("id", "leaf")
    case.ledger.settle("b", "leaf")
    assert list(case.ledger.due()) == []
    assert len(case.ledger) == 0


def test_a_record_of_ours_that_is_adopted_by_the_same_request_is_spared_when_delivered() -> None:
    case = Case()
    case.make("id", "", uid="a")
    assert case.ledger.adopt("a", "id", "leaf")
    case.ledger.settle("a", "leaf")
    assert len(case.ledger) == 0


def test_beyond_the_cap_the_oldest_is_left_alone() -> None:
    case = Case(most=2)
    for uid in ("a", "b", "c"):
        case.lose(uid, key=uid.encode())
        case.ledger.settle(uid, None)
    assert {entry.order.uid for entry in case.ledger.due()} == {"b", "c"}
    assert len(case.ledger) == 2


def test_beyond_the_cap_of_owners_older_suspicions_revoke_nothing_they_find() -> None:
    case = Case(most_fates=1)
    case.ledger.claim("b", "leaf of b")
    case.lose()
    case.ledger.settle("a", None)
    assert case.orphans("x", "anything", case.now())
    case.time += 1
    case.ledger.claim("c", "leaf of c")
    case.time += 1
    case.ledger.claim("d", "leaf of d")
    assert not case.orphans("id", "leaf of c", case.now())


def test_after_a_day_a_suspicion_is_dropped() -> None:
    case = Case()
    case.lose()
    case.ledger.settle("a", None)
    case.time += KEEP + 1
    assert list(case.ledger.due()) == []
    assert len(case.ledger) == 0


def test_passes_of_one_request_may_overlap() -> None:
    case = Case()
    case.lose("a")
    case.ledger.settle("a", None)
    other = order("b", key=b"key")
    with case.ledger.signing(other):
        with case.ledger.signing(other):
            pass
        assert list(case.ledger.due()) == []
    assert len(list(case.ledger.due())) == 1


def test_times_are_utc() -> None:
    case = Case()
    case.lose()
    case.ledger.settle("a", None)
    (entry,) = case.ledger.due()
    assert entry.first_sent is not None
    assert entry.first_sent.tzinfo is UTC


def test_nothing_but_a_look_that_answered_ends_the_suspicion_of_a_former_process() -> None:
    case = Case()
    case.ledger.suspect("a")
    assert case.suspects()
    with case.ledger.signing(order("a")):
        case.make("backup-1", "leaf")
    case.ledger.refused("a", EDGE, Rejected("edge", "no"))
    case.time += GRACE * 2
    assert case.suspects()
    case.look()
    assert not case.suspects()
    assert case.suspects(account="edge/rotated")
    assert not case.suspects("another request")


def test_a_lost_answer_is_suspected_until_the_provider_has_certainly_finished() -> None:
    case = Case()
    assert not case.suspects()
    case.lose()
    assert case.suspects()
    case.look()
    assert not case.suspects(), "the answer is fresh"
    case.time += FRESH + 1
    assert case.suspects(), "it may have signed since"
    case.time += GRACE
    assert case.suspects()
    case.look()
    case.time += FRESH + 1
    assert not case.suspects()


def test_a_look_that_began_before_the_loss_does_not_end_the_suspicion() -> None:
    case = Case()
    case.lose()
    begun = case.time
    case.time += 1
    case.lose()
    case.time += 1
    case.ledger.looked("a", EDGE, "edge/1", begun)
    assert case.suspects()
    assert case.ledger.is_unseen("a", EDGE, "edge/1")


def test_a_suspicion_follows_the_authority_when_its_credential_is_replaced() -> None:
    case = Case()
    case.lose()
    renewed = AuthorityState(planned(FakeAuthority(Provider("edge"))), kind="CDNIssuer", issuer="shop/cdn")
    other = AuthorityState(planned(FakeAuthority(Provider("edge"))), kind="CDNIssuer", issuer="shop/other")
    assert case.suspects(account="edge/rotated", who=renewed)
    assert not case.suspects(account="edge/rotated", who=other)
    case.ledger.looked("a", renewed, "edge/rotated", case.time)
    assert not case.suspects()


def test_one_look_may_learn_of_all_that_was_lost_before_it() -> None:
    case = Case()
    case.ledger.suspect("a")
    assert case.ledger.suspected_since("a", EDGE, "edge/1") == 0
    case.lose()
    assert case.ledger.suspected_since("a", EDGE, "edge/1") == case.time
    case.time += 60
    assert case.ledger.suspected_since("a", EDGE, "edge/1") == case.time - FRESH


def test_what_a_former_process_made_is_never_revoked() -> None:
    """A certificate with the same key and names, made for an earlier request and in use."""
    case = Case()
    case.ledger.suspect("a")
    former, older = case.now(), case.now() - timedelta(hours=1)
    case.received.add("leaf")
    case.time += 120
    case.look()
    case.lose()
    case.ledger.settle("a", None)
    assert not case.orphans("received", "leaf", former)
    assert not case.orphans("older than our call", "another leaf", older)
    assert case.orphans("ours", "other leaf", case.now())


def test_where_a_former_process_may_have_signed_and_nobody_looked_nothing_found_is_revoked() -> None:
    case = Case()
    case.ledger.suspect("a")
    case.lose()
    case.make("ours for certain", "leaf")
    case.ledger.settle("a", None)
    assert not case.orphans("id", "other leaf", case.now())
    assert case.orphans("ours for certain", "leaf")


def test_what_a_former_process_may_have_signed_for_another_request_with_the_same_key_is_never_revoked() -> None:
    case = Case()
    case.ledger.suspect("b")
    with case.ledger.signing(order("b", key=b"key")):
        pass
    case.ledger.settle("b", None)
    case.lose("a", key=b"key")
    case.ledger.settle("a", None)
    assert not case.orphans("id", "other leaf", case.now())


def test_what_somebody_has_received_is_never_revoked_not_even_by_a_record_of_ours() -> None:
    case = Case()
    case.make("id", "leaf")
    case.received.add("leaf")
    case.ledger.settle("a", None)
    assert not case.orphans("id", "leaf")


def test_what_existed_before_our_first_call_is_never_revoked() -> None:
    case = Case()
    case.ledger.existed(order("a", key=b"key"), EDGE, "edge/1", {"before"})
    case.lose()
    case.ledger.existed(order("a", key=b"key"), EDGE, "edge/1", {"after"})
    case.ledger.settle("a", None)
    assert not case.orphans("before", "leaf", case.now())
    assert case.orphans("after", "leaf", case.now())


def test_a_former_process_leaves_nothing_to_clean_up() -> None:
    case = Case()
    case.ledger.suspect("a")
    case.ledger.settle("a", None)
    assert len(case.ledger) == 0
    assert not case.suspects()


def test_known_certificates_come_first_and_what_failed_comes_last() -> None:
    case = Case()
    for uid in ("failed", "unknown", "known"):
        case.lose(uid, key=uid.encode())
    case.make("id", "leaf", uid="known", key=b"known")
    for uid in ("failed", "unknown", "known"):
        case.ledger.settle(uid, None)
    case.ledger.failed(next(entry for entry in case.ledger.due() if entry.order.uid == "failed"))
    case.time += FIRST_PAUSE
    assert [entry.order.uid for entry in case.ledger.due()] == ["known", "unknown", "failed"]


def test_what_fails_is_due_ever_later() -> None:
    case = Case()
    case.lose()
    case.ledger.settle("a", None)
    pauses = []
    for _ in range(10):
        (entry,) = case.ledger.due()
        case.ledger.failed(entry)
        pauses.append(entry.due - case.time)
        case.time = entry.due
    assert pauses == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
