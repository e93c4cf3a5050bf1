"""What `status` and `check` show."""

from __future__ import annotations

import pytest

from issuer.inspection import overview
from tests.unit.inspection.inspection_case import (
    APPROVED,
    NOW,
    ago,
    ahead,
    certificate,
    condition,
    issuer,
    request,
    signing_request,
    snapshot,
)

ISSUED = condition("Ready", "True", "Issued")
FAILED = condition("Ready", "False", "Failed")
DENIED = condition("Ready", "False", "Denied")
PENDING = condition("Ready", "False", "Pending")


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ((), "unapproved"),
        ((APPROVED,), "waiting"),
        ((APPROVED, PENDING), "waiting"),
        ((APPROVED, ISSUED), "issued"),
        ((APPROVED, FAILED), "failed"),
        ((condition("Denied", "True"),), "denied"),
        ((DENIED,), "denied"),
    ],
)
def test_a_request_is_in_one_state(conditions: tuple[dict[str, str], ...], state: str) -> None:
    assert overview.state_of(request(*conditions)) == state


@pytest.mark.parametrize(
    ("conditions", "certificate", "state"),
    [
        ((), None, "unapproved"),
        ((APPROVED,), None, "waiting"),
        ((APPROVED, condition("cdn-issuer.io/Ready", "False", "Pending")), None, "waiting"),
        ((APPROVED,), "LS0t", "issued"),
        ((APPROVED, condition("Failed", "True", "DeadlineExceeded")), None, "failed"),
        ((condition("Denied", "True"),), None, "denied"),
    ],
)
def test_a_signing_request_is_in_one_state(
    conditions: tuple[dict[str, str], ...], certificate: str | None, state: str
) -> None:
    assert overview.state_of(signing_request(*conditions, certificate=certificate)) == state


def test_signing_requests_count_for_their_issuer_and_in_a_line_of_their_own() -> None:
    shared = signing_request(name="shared", signer="cdnclusterissuers.cdn-issuer.io/web")
    typo = signing_request(name="typo", signer="cdnissuer.cdn-issuer.io/shop.web")
    seen = snapshot(issuer(), request(APPROVED), signing_request(APPROVED), signing_request(name="new"), shared, typo)
    (line,) = overview.issuers(seen)
    assert line.requests == {"unapproved": 1, "waiting": 2}
    assert overview.requests(seen)["waiting"] == 1
    assert overview.signing_requests(seen) == {"unapproved": 3, "waiting": 1, "issued": 0, "failed": 0, "denied": 0}


def test_an_issuer_is_shown_with_its_authorities_and_what_waits_for_it() -> None:
    states = [{"name": "edge", "state": "Open", "message": "circuit breaker open", "lastFailureTime": ago(minutes=1)}]
    web = issuer(states=states, active="backup")
    (line,) = overview.issuers(
        snapshot(web, request(APPROVED), request(name="other"), request(APPROVED, ISSUED, name="x"))
    )
    assert (line.object, line.ready, line.reason, line.active) == (
        "CDNIssuer shop/web",
        "True",
        "AuthoritiesAvailable",
        "backup",
    )
    assert line.requests == {"unapproved": 1, "waiting": 1, "issued": 1}
    (edge,) = line.authorities
    assert (edge.state, edge.message, edge.last_failure_time) == (
        "Open",
        "circuit breaker open",
        "2026-11-27T11:59:00Z",
    )


def test_an_issuer_that_nobody_has_looked_at_says_so() -> None:
    (line,) = overview.issuers(snapshot(issuer(controller="", states=[], conditions=[])))
    assert (line.ready, line.reason, line.since) == ("Unknown", "NoController", None)


def test_requests_of_other_groups_are_not_counted() -> None:
    foreign = request(APPROVED, ref={"group": "cert-manager.io", "kind": "Issuer", "name": "web"}, name="foreign")
    assert overview.requests(snapshot(request(APPROVED), foreign)) == {
        "unapproved": 0,
        "waiting": 1,
        "issued": 0,
        "failed": 0,
        "denied": 0,
    }


def test_certificates_come_in_the_order_of_what_is_left_and_one_without_any_first() -> None:
    long, short = certificate(status={"notAfter": ahead(days=20)}), certificate(status={"notAfter": ahead(days=2)})
    ended = certificate(status={"notAfter": ago(days=1)})
    lines = overview.certificates([long, certificate(), short, ended], NOW)
    assert [line.left for line in lines] == [None, -86400, 2 * 86400, 20 * 86400]
    assert [line.is_under(14 * 86400) for line in lines] == [True, True, True, False]
    assert overview.certificates([certificate(ref={"group": "cert-manager.io", "kind": "Issuer"})], NOW) == []
