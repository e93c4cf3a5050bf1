"""What a refusal of the API means: the table of codes, and what is not in it."""

from __future__ import annotations

import pytest

from issuer.authorities import cloudflare_errors
from issuer.authorities.cloudflare_errors import RULES, Problem, Refusal, Rule, Verdict
from issuer.authorities.errors import AuthorityError, RateLimited, Rejected, Unauthorized, Unavailable


def error_of(status: int, *problems: tuple[str, str], signing: bool = True) -> AuthorityError:
    refusal = Refusal(
        status=status,
        problems=tuple(Problem(code, message) for code, message in problems),
        trace_id="ray-1",
        retry_after=7.0,
    )
    return cloudflare_errors.error("edge", refusal, signing=signing)


CODES: dict[str, tuple[int, type[AuthorityError]]] = {
    "971": (400, RateLimited),
    "1000": (401, Unauthorized),
    "1010": (400, Rejected),
    "1016": (400, Unauthorized),
    "1100": (400, Unavailable),
    "1101": (400, Unavailable),
    "1201": (400, Unavailable),
    "6003": (400, Unauthorized),
    "6111": (400, Unauthorized),
    "7000": (400, Unavailable),
    "7003": (404, Unavailable),
    "9103": (400, Unauthorized),
    "9106": (400, Unauthorized),
    "9109": (403, Unauthorized),
    "10000": (400, Unauthorized),
    "10001": (400, Unauthorized),
    "10013": (400, Unavailable),
}


def test_every_code_of_the_table_has_a_case_here() -> None:
    assert CODES.keys() == RULES.keys()


@pytest.mark.parametrize("code", CODES)
def test_a_known_code_decides_whatever_the_status(code: str) -> None:
    status, expected = CODES[code]
    error = error_of(status, (code, "Something"))
    assert type(error) is expected
    assert (error.code, error.status, error.trace_id) == (code, status, "ray-1")
    assert type(error_of(400, (code, "Something"))) is expected
    assert type(error_of(200, (code, "Something"))) is expected


@pytest.mark.parametrize("code", [code for code, rule in RULES.items() if rule.advice])
def test_a_known_code_says_what_to_do(code: str) -> None:
    assert RULES[code].advice in error_of(400, (code, "Something")).message


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Unavailable),
        (204, Unavailable),
        (400, Rejected),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, Rejected),
        (408, Unavailable),
        (409, Rejected),
        (422, Rejected),
        (425, Unavailable),
        (429, RateLimited),
        *((status, Unavailable) for status in (500, 502, 503, 504, *range(520, 528), 530)),
    ],
)
def test_an_unknown_code_is_judged_by_its_status(status: int, expected: type[AuthorityError]) -> None:
    assert type(error_of(status, ("4711", "Something"))) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Unavailable),
        (302, Unavailable),
        (400, Unavailable),
        (401, Unauthorized),
        (403, Unauthorized),
        (429, RateLimited),
    ],
)
def test_without_a_reason_a_refusal_never_ends_a_request(status: int, expected: type[AuthorityError]) -> None:
    assert type(error_of(status)) is expected


@pytest.mark.parametrize(
    "message",
    [
        "Failed to validate requested hostname: read tcp 10.0.0.1:443: read: connection reset by peer",
        "Failed to validate requested hostname: unexpected EOF",
        "Failed to validate requested hostname: i/o timeout",
        "Failed to validate requested hostname: the operation timed out",
        "Failed to validate requested hostname: context deadline exceeded",
        "Failed to validate requested hostname: write: broken pipe",
        "Please try again later",
    ],
)
@pytest.mark.parametrize("code", ["1010", "4711"])
def test_a_rejection_that_wraps_a_network_failure_is_temporary(code: str, message: str) -> None:
    error = error_of(400, (code, message))
    assert type(error) is Unavailable
    assert "Every hostname" not in error.message


@pytest.mark.parametrize("hostname", ["reset.example.com", "timeout.example.com", "*.eof.example.com"])
def test_a_hostname_does_not_make_a_rejection_temporary(hostname: str) -> None:
    assert type(error_of(400, ("1010", f"Failed to validate requested hostname {hostname}: no such zone"))) is Rejected


BELOW_500 = (200, 400, 401, 403, 404, 408, 409, 422, 425, 429)
"""Statuses at which the wording can decide."""


@pytest.mark.parametrize("status", BELOW_500)
@pytest.mark.parametrize("code", ["", "1010", "1101", "4711", "10000"])
@pytest.mark.parametrize(
    "message",
    [
        "Please wait and consider throttling your request speed",
        "You have been rate limited",
        "rate-limit reached",
        "RateLimit exceeded, try again later",
        "Too many requests for the zone of www.example.com",
        "Too many authentication failures",
        "More than the quota of certificates for this zone",
        "Slow down",
    ],
)
def test_words_of_a_rate_limit_are_one_whatever_status_and_code(status: int, code: str, message: str) -> None:
    error = error_of(status, (code, message))
    assert isinstance(error, RateLimited)
    assert error.retry_after == 7.0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 200])
@pytest.mark.parametrize("code", ["", "4711"])
@pytest.mark.parametrize(
    "message",
    [
        "Unable to authenticate request",
        "Authentication failed",
        "User is not authorised to sign for this zone",
        "Not authorized",
        "You are not authorized to issue certificates in this zone",
        "unauthorized to access requested resource",
        "Authorization header is missing",
        "Invalid API Token",
        "The token may not edit the zone of www.example.com",
    ],
)
def test_words_about_who_is_asking_are_about_the_credential(status: int, code: str, message: str) -> None:
    assert type(error_of(status, (code, message))) is Unauthorized


@pytest.mark.parametrize("message", ["Failed to validate requested hostname: authentication error", "token expired"])
def test_a_rejection_that_wraps_words_about_the_credential_is_unauthorized(message: str) -> None:
    error = error_of(400, ("1010", message))
    assert type(error) is Unauthorized
    assert "Every hostname" not in error.message


ABOUT_THE_REQUEST = [
    "hostname www.example.com not authorized for zone",
    "Not authorized for the zone: www.example.com",
    "This zone does not authorize the hostname",
    "CAA records do not authorize this CA for the domain",
    "Too many hostnames in the request: 201",
    "too many subject alternative names",
    "Too many SANs",
    "Invalid CSR: unexpected token at byte 7",
    "Certificate authority does not sign token.example.com",
    "Failed to validate requested hostname quota.example.com: no such zone",
    "This zone is either not part of your account, or you do not have access to it",
]


@pytest.mark.parametrize("message", ABOUT_THE_REQUEST)
@pytest.mark.parametrize("code", ["", "1010", "4711"])
def test_words_about_the_request_are_no_verdict_on_the_account(code: str, message: str) -> None:
    """Unauthorized or rate limited, one such request would keep every other one away from the account."""
    assert type(error_of(400, (code, message))) is Rejected


@pytest.mark.parametrize("message", ABOUT_THE_REQUEST)
def test_a_forbidden_status_makes_an_unknown_code_unauthorized_whatever_the_words(message: str) -> None:
    assert type(error_of(403, ("4711", message))) is Unauthorized
    assert type(error_of(403, ("1010", message))) is Rejected


def test_the_providers_own_lack_of_connections_is_no_rate_limit() -> None:
    error = error_of(400, ("1100", "Failed to write certificate to Database: too many connections"))
    assert isinstance(error, Unavailable)
    assert error.ambiguous


def test_a_failed_connection_while_authenticating_is_no_verdict_on_the_credential() -> None:
    """Only unavailable can be ambiguous, so that a certificate is looked for before the next call."""
    error = error_of(400, ("4711", "authentication backend: connection reset by peer"))
    assert isinstance(error, Unavailable)
    assert error.ambiguous


@pytest.mark.parametrize("code", ["971", "10001", "4711"])
@pytest.mark.parametrize("message", ["Unable to authenticate request", "throttled", "token"])
def test_from_500_on_words_and_codes_do_not_hide_that_a_certificate_may_exist(code: str, message: str) -> None:
    error = error_of(503, (code, message))
    assert isinstance(error, Unavailable)
    assert error.ambiguous


def test_of_several_problems_the_mildest_counts() -> None:
    rejected, temporary, credential = ("1010", "no"), ("1100", "database"), ("10000", "who")
    assert type(error_of(400, rejected, rejected)) is Rejected
    assert type(error_of(400, rejected, temporary)) is Unavailable
    assert type(error_of(400, rejected, temporary, credential)) is Unauthorized
    assert error_of(400, rejected, temporary).message == "no; database"


def test_a_server_error_is_unavailable_whatever_code_it_carries() -> None:
    assert type(error_of(500, ("1010", "no"))) is Unavailable
    assert type(error_of(503, ("10000", "who"))) is Unavailable


def test_only_a_call_that_signs_can_be_ambiguous() -> None:
    for signing in (True, False):
        error = error_of(502, signing=signing)
        assert isinstance(error, Unavailable)
        assert error.ambiguous is signing


@pytest.mark.parametrize(
    ("status", "code", "message", "ambiguous"),
    [
        (400, "1010", "hostname: connection reset", False),
        (404, "7003", "no route", False),
        (400, "1100", "Failed to write certificate to Database", True),
        (400, "1101", "Failed to read certificate from Database", True),
        (400, "1201", "CA signing failure", True),
        (400, "10013", "An unknown error has occurred", True),
        (200, "4711", "who knows", True),
        (500, "1010", "hostname", True),
    ],
)
def test_a_failure_is_ambiguous_unless_it_comes_before_the_signature(
    status: int, code: str, message: str, ambiguous: bool
) -> None:
    error = error_of(status, (code, message))
    assert isinstance(error, Unavailable)
    assert error.ambiguous is ambiguous


def test_a_rate_limit_carries_the_wait() -> None:
    error = error_of(429, ("971", "slow down"))
    assert isinstance(error, RateLimited)
    assert error.retry_after == 7.0


def test_the_edge_is_named_when_it_answers_in_place_of_the_api() -> None:
    refusal = Refusal(status=522, host="api.cdn.test", unreadable="the answer is not JSON", trace_id="ray-1")
    error = cloudflare_errors.error("edge", refusal, signing=True)
    assert str(error) == "edge: HTTP 522 from api.cdn.test: Cloudflare's edge could not reach the API (trace ray-1)"


@pytest.mark.parametrize(
    ("refusal", "shown"),
    [
        (Refusal(status=503, unreadable="the answer is not JSON"), "HTTP 503"),
        (Refusal(status=503, host="api.cdn.test", unreadable="the answer is not JSON"), "HTTP 503 from api.cdn.test"),
        (Refusal(status=502, host="h", words="upstream connect error"), "HTTP 502 from h: upstream connect error"),
        (
            Refusal(status=500, host="h", problems=(Problem("1100", "database"),)),
            "HTTP 500 from h: database (code 1100)",
        ),
        (Refusal(status=404, host="h", unreadable="the answer is not JSON"), "the answer is not JSON (HTTP 404)"),
    ],
)
def test_a_failure_of_the_server_says_who_failed_and_its_status_once(refusal: Refusal, shown: str) -> None:
    error = cloudflare_errors.error("edge", refusal, signing=True)
    assert error.detail == shown


@pytest.mark.parametrize(
    ("status", "words", "expected"),
    [
        (403, "Authorization failed", Unauthorized),
        (401, "", Unauthorized),
        (403, "You have been rate limited", RateLimited),
        (400, "Too many requests", RateLimited),
        (404, "API rate limit exceeded", RateLimited),
        (400, "Invalid API token", Unauthorized),
        (404, "You are not authorized", Unauthorized),
        (400, "authentication backend: connection reset by peer", Unavailable),
        (400, "Bad Request", Unavailable),
        (404, "no Route matched with those values", Unavailable),
        (200, "who knows", Unavailable),
        (503, "Authorization failed", Unavailable),
    ],
)
def test_words_that_are_no_verdict_of_the_api_never_end_a_request(
    status: int, words: str, expected: type[AuthorityError]
) -> None:
    error = cloudflare_errors.error("edge", Refusal(status=status, words=words), signing=True)
    assert type(error) is expected
    assert words in error.message


def test_a_refused_credential_without_a_known_code_says_what_to_check() -> None:
    error = cloudflare_errors.error("edge", Refusal(status=403, words="Authorization failed"), signing=True)
    assert error.detail == (
        "Authorization failed. Check that the Secret holds an API token that is active, not expired and not limited to "
        "other addresses (HTTP 403)"
    )


def test_a_new_code_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "4711", Rule(Verdict.UNAVAILABLE, "Ask the provider"))
    error = error_of(400, ("4711", "Something new."))
    assert type(error) is Unavailable
    assert error.message == "Something new. Ask the provider"
