"""The Ready condition of an issuer: it never says more than is known, nor other than the states beside it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from issuer.controllers.decision import IssuerView
from issuer.controllers.readiness import readiness
from issuer.signing.health import AuthorityHealth

WHEN = datetime(2026, 11, 25, 1, 4, 34, tzinfo=UTC)
VIEW = IssuerView(title="CDNIssuer demo/web", authorities=("edge", "backup"))
PROBED = "untested since 2026-11-25T01:04:34Z, the next request probes it; before that 3 consecutive failures"

SIGNS = AuthorityHealth(name="edge", state="Available", last_success=WHEN)
UNREAD = AuthorityHealth(name="edge", state="Unknown")
CHECKED = AuthorityHealth(name="edge", state="Available", check="passed")
UNCHECKED = AuthorityHealth(name="edge", state="Available")
NO_API = AuthorityHealth(name="edge", state="Unknown", message="the Kubernetes API did not answer")
BAD_CHECK = AuthorityHealth(name="edge", state="Degraded", message="could not connect", check="failed")
FAILED = AuthorityHealth(name="edge", state="Degraded", message="no answer within 60s")
FAILED_LATELY = AuthorityHealth(name="edge", state="Degraded", message="no answer within 60s", last_success=WHEN)
UNTESTED = AuthorityHealth(name="edge", state="Untested", message=PROBED, last_success=WHEN)
OPEN = AuthorityHealth(name="edge", state="Open", message="circuit breaker open after 3 consecutive failures")
ABSENT = AuthorityHealth(name="edge", state="SecretNotFound", message="Secret demo/absent does not exist")
BACKUP = AuthorityHealth(name="backup", state="Available", last_success=WHEN)
REST = AuthorityHealth(name="old", state="Draining")
WRONG_BACKUP = AuthorityHealth(name="backup", state="Misconfigured", message="Secret demo/ca: key tls.key is missing")
WEAK_BACKUP = AuthorityHealth(name="backup", state="Degraded", message="the CA certificate ends soon", check="failed")


@pytest.mark.parametrize(
    ("healths", "status", "reason", "message"),
    [
        ((SIGNS,), "True", "AuthoritiesAvailable", "edge signs"),
        ((SIGNS, BACKUP), "True", "AuthoritiesAvailable", "edge signs"),
        ((UNREAD,), "True", "NotSignedYet", "edge has not signed yet; it was not checked yet"),
        ((UNCHECKED,), "True", "NotSignedYet", "edge has not signed yet; it was not checked yet"),
        ((CHECKED, BACKUP), "True", "NotSignedYet", "edge has not signed yet; its check passed"),
        ((BAD_CHECK,), "True", "Degraded", "edge has not signed yet; its check failed: could not connect"),
        ((FAILED,), "True", "Degraded", "edge has not signed yet; it is Degraded: no answer within 60s"),
        ((NO_API,), "True", "Degraded", "edge has not signed yet; it is Unknown: the Kubernetes API did not answer"),
        ((FAILED_LATELY,), "True", "Degraded", "edge is Degraded: no answer within 60s"),
        ((UNTESTED,), "True", "Degraded", f"edge is Untested: {PROBED}"),
        ((SIGNS, REST), "True", "AuthoritiesAvailable", "edge signs; old is Draining"),
        (
            (REST,),
            "False",
            "NoActiveAuthority",
            "no authority signs: old is Draining; set state: Active for one",
        ),
        (
            (SIGNS, WRONG_BACKUP),
            "True",
            "Degraded",
            "edge signs; backup is Misconfigured: Secret demo/ca: key tls.key is missing",
        ),
        ((SIGNS, WEAK_BACKUP), "True", "Degraded", "edge signs; backup is Degraded: the CA certificate ends soon"),
        (
            (ABSENT, BACKUP),
            "True",
            "Degraded",
            "backup signs; edge is SecretNotFound: Secret demo/absent does not exist",
        ),
        (
            (OPEN, WRONG_BACKUP),
            "False",
            "NoAuthorityAvailable",
            (
                "no authority can sign now; edge is Open: circuit breaker open after 3 consecutive failures; "
                "backup is Misconfigured: Secret demo/ca: key tls.key is missing"
            ),
        ),
    ],
)
def test_the_condition_says_what_is_known(
    healths: tuple[AuthorityHealth, ...], status: str, reason: str, message: str
) -> None:
    found = readiness(VIEW, healths)
    assert (found.type, found.status, found.reason, found.message) == ("Ready", status, reason, message)


def test_a_specification_that_cannot_be_used_is_told_before_anything_else() -> None:
    found = readiness(IssuerView(title="x", problem="spec.deadline: bad"), (SIGNS,))
    assert (found.status, found.reason, found.message) == ("False", "InvalidSpec", "spec.deadline: bad")


def test_what_is_ignored_and_what_has_no_effect_is_said_as_well() -> None:
    view = IssuerView(title="x", ignored=("spec.a", "spec.b"), without_effect=("limits have no effect on a ca",))
    assert readiness(view, (SIGNS,)).message == (
        "edge signs; this version does not know, and ignores, spec.a, spec.b; limits have no effect on a ca"
    )
