"""What a refusal of the Cloudflare API means: one table of codes, and the rules for what is not in it.

The HTTP status alone means little at this API. `1100 Failed to write certificate to Database` comes with HTTP 400 and
is gone a minute later; `1010 Failed to validate requested hostname` is a verdict on the request, but has also wrapped a
connection that was reset inside the provider. So code, status and wording are judged together, and where they disagree
the milder reading wins: a request that is asked again costs a call, a request that is failed early costs hours.

For one problem below HTTP 500 the readings are, the first that applies:

1. it speaks of a rate limit (`throttl`, `quota`, `too many`, ...), or its code does: rate limited. "Too many hostnames"
   is about the request;
2. its code is in the table as anything but a rejection: as the table says;
3. HTTP 401 or 403 with a code that is not in the table: unauthorized;
4. it is worded like a failed connection: unavailable, which alone can say that a certificate may exist;
5. it speaks of who is asking (`authenticat`, `authoriz`, `token`): unauthorized. "Hostname not authorized for zone" is
   about the request, and milder as a rejection than it looks: unauthorized is filed against the account, so one request
   with a foreign hostname would keep all others of the account away from it, again with each time that it is asked;
6. otherwise a rejection.

Where the API names no problem (`errors` is empty, or something before it answered in plain text) the same words count,
but nothing is a rejection: that takes a verdict of the API.

From HTTP 500 on it is the server's own failure whatever it says: unavailable, and ambiguous.

To teach this module a new code, add a line to `RULES`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from issuer.authorities.errors import AuthorityError, RateLimited, Rejected, Unauthorized, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable


class Verdict(Enum):
    """What a refusal amounts to; the mildest first, which is the one that counts if there are several."""

    RATE_LIMITED = "rate limited"
    UNAUTHORIZED = "unauthorized"
    UNAVAILABLE = "unavailable"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one code means.

    Attributes:
        verdict: what it amounts to, unless the wording reads milder.
        advice: what a person can do about it.
        before_signing: the provider gives up with it before it signs, so that no certificate can exist.
    """

    verdict: Verdict
    advice: str = ""
    before_signing: bool = True


_PERMISSION: Final = (
    "The API token needs the permission Zone / SSL and Certificates / Edit for the zones of all hostnames"
)
_CREDENTIAL: Final = (
    "Check that the Secret holds an API token that is active, not expired and not limited to other addresses"
)
_ENDPOINT: Final = "Check spec.authorities[].cloudflare.endpoint"

RULES: Final[dict[str, Rule]] = {
    # Cloudflare's API reference for Origin CA, and what users of this and other parts of its API met.
    "971": Rule(Verdict.RATE_LIMITED),
    "1000": Rule(Verdict.UNAUTHORIZED, _CREDENTIAL),
    "1010": Rule(Verdict.REJECTED, "Every hostname must be in a zone of the account that the API token may edit"),
    "1016": Rule(Verdict.UNAUTHORIZED, _PERMISSION),
    "1100": Rule(Verdict.UNAVAILABLE, before_signing=False),
    "1101": Rule(Verdict.UNAVAILABLE, before_signing=False),
    "1201": Rule(Verdict.UNAVAILABLE, before_signing=False),
    "6003": Rule(Verdict.UNAUTHORIZED, _CREDENTIAL),
    "6111": Rule(Verdict.UNAUTHORIZED, _CREDENTIAL),
    "7000": Rule(Verdict.UNAVAILABLE, _ENDPOINT),
    "7003": Rule(Verdict.UNAVAILABLE, _ENDPOINT),
    "9103": Rule(Verdict.UNAUTHORIZED, _CREDENTIAL),
    "9106": Rule(Verdict.UNAUTHORIZED, _CREDENTIAL),
    "9109": Rule(Verdict.UNAUTHORIZED, _CREDENTIAL),
    "10000": Rule(Verdict.UNAUTHORIZED, _PERMISSION),
    "10001": Rule(Verdict.UNAUTHORIZED, _CREDENTIAL),
    "10013": Rule(Verdict.UNAVAILABLE, before_signing=False),
}

_FORBIDDEN_STATUSES: Final = frozenset({401, 403})
_TEMPORARY_STATUSES: Final = frozenset({408, 425})
_DOTTED: Final = re.compile(r"[\w*-]+(?:\.[\w-]+)+")
_TEMPORARY_WORDING: Final = re.compile(
    r"\breset\b|time[d-]?[ -]?out|\beof\b|deadline exceeded|broken pipe|connection (?:refused|closed|aborted)"
    r"|temporar|try again|unreachable|no such host|internal (?:server )?error",
    re.IGNORECASE,
)
# Too many connections or open files are the provider's own trouble, too many names the request's.
_THROTTLE_WORDING: Final = re.compile(
    r"throttl|rate[ _-]?limit|quota|slow down|too many(?! (?:connections|open files)\b)"
    r"(?!(?: (?:requested|subject|alternative|alternate|host|dns|domain|wildcard))*"
    r" (?:(?:host)?names?|sans?|domains?|labels?|wildcards?|entries|characters)\b)",
    re.IGNORECASE,
)
_CALLER_WORDING: Final = re.compile(r"authenticat|(?<!unexpected )token", re.IGNORECASE)
_AUTHORIZATION_WORDING: Final = re.compile(r"authori[sz]", re.IGNORECASE)
_USER_WORDING: Final = re.compile(r"\b(?:users?|you are|caller|client)\b", re.IGNORECASE)
_REQUEST_WORDING: Final = re.compile(r"\b(?:host ?names?|zones?|domains?|sans?|csr)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Problem:
    """One entry of the envelope's `errors`; either field may be empty."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is not the one hoped for. It was cleaned: its texts hold no secret.

    Attributes:
        status: HTTP status.
        problems: what the envelope says; empty if it says nothing or there is no envelope.
        words: what it says in another way: in another place of the envelope, or as plain text.
        host: who answered, with the port if there is one.
        trace_id: the header `CF-Ray`.
        retry_after: seconds, from the headers.
        unreadable: why the body could not be read as an envelope; empty if it could.
    """

    status: int
    problems: tuple[Problem, ...] = ()
    words: str = ""
    host: str = ""
    trace_id: str | None = None
    retry_after: float | None = None
    unreadable: str = ""


def judge(refusal: Refusal) -> Verdict:
    """What the refusal amounts to."""
    if refusal.status == 429:  # noqa: PLR2004 - Too Many Requests, RFC 6585
        return Verdict.RATE_LIMITED
    if refusal.status >= 500:  # noqa: PLR2004 - the server's own failure, whatever it says besides
        return Verdict.UNAVAILABLE
    if not refusal.problems:
        return _judge_words(refusal.words, refusal.status)
    verdicts = {_judge_problem(problem, refusal.status) for problem in refusal.problems}
    return next(verdict for verdict in Verdict if verdict in verdicts)


def error(authority: str, refusal: Refusal, *, signing: bool) -> AuthorityError:
    """The refusal as the error that the rest of the program understands; `signing`: it answers a call that signs."""
    verdict = judge(refusal)
    message = _message(refusal, verdict)
    code = next((problem.code for problem in refusal.problems if problem.code), None)
    status, trace_id = refusal.status, refusal.trace_id
    if verdict is Verdict.RATE_LIMITED:
        return RateLimited(
            authority, message, retry_after=refusal.retry_after, status=status, code=code, trace_id=trace_id
        )
    if verdict is Verdict.UNAVAILABLE:
        ambiguous = signing and not _gave_up_before_signing(refusal)
        return Unavailable(authority, message, ambiguous=ambiguous, status=status, code=code, trace_id=trace_id)
    kind = Unauthorized if verdict is Verdict.UNAUTHORIZED else Rejected
    return kind(authority, message, status=status, code=code, trace_id=trace_id)


def _judge_problem(problem: Problem, status: int) -> Verdict:
    """The verdict on one problem below HTTP 500; the order of the readings is told at the top of this module."""
    rule = RULES.get(problem.code)
    # Names are left out of the words: `timeout.example.com` is no timeout, `token.example.com` no token.
    words = " ".join(_DOTTED.sub(" ", problem.message).split())
    if _THROTTLE_WORDING.search(words):
        return Verdict.RATE_LIMITED
    if rule is not None and rule.verdict is not Verdict.REJECTED:
        return rule.verdict
    if rule is None and status in _FORBIDDEN_STATUSES:
        return Verdict.UNAUTHORIZED
    if _TEMPORARY_WORDING.search(words) or status in _TEMPORARY_STATUSES:
        return Verdict.UNAVAILABLE
    if _blames_the_caller(words):
        return Verdict.UNAUTHORIZED
    if rule is None and status < 400:  # noqa: PLR2004 - success in HTTP, failure in the envelope, no known reason
        return Verdict.UNAVAILABLE
    return Verdict.REJECTED


def _judge_words(said: str, status: int) -> Verdict:
    """The verdict on an answer below HTTP 500 in which the API itself names no problem."""
    verdict = _judge_problem(Problem("", said), status)
    return Verdict.UNAVAILABLE if verdict is Verdict.REJECTED else verdict


def _blames_the_caller(words: str) -> bool:
    """Whether it is about who is asking, and not about what is asked for."""
    if _CALLER_WORDING.search(words):
        return True
    about_the_request = _REQUEST_WORDING.search(words) and not _USER_WORDING.search(words)
    return bool(_AUTHORIZATION_WORDING.search(words)) and not about_the_request


def _gave_up_before_signing(refusal: Refusal) -> bool:
    """Whether every problem is one that comes before the signature; a 5xx may come at any time."""
    rules = [RULES.get(problem.code) for problem in refusal.problems]
    return bool(rules) and refusal.status < 500 and all(rule and rule.before_signing for rule in rules)  # noqa: PLR2004


def _message(refusal: Refusal, verdict: Verdict) -> str:
    said = "; ".join(_unique(problem.message for problem in refusal.problems if problem.message)) or refusal.words
    if refusal.status >= 500:  # noqa: PLR2004 - the server's own failure: who it is comes first
        who = f"HTTP {refusal.status} from {refusal.host}" if refusal.host else f"HTTP {refusal.status}"
        is_edge = 520 <= refusal.status <= 530  # noqa: PLR2004 - statuses of Cloudflare's own edge
        edge = "Cloudflare's edge could not reach the API" if is_edge else ""
        said = ": ".join(filter(None, (who, edge, said)))
    elif not said:
        said = refusal.unreadable or "the API refused the call and did not say why"
    rules = (RULES.get(problem.code) for problem in refusal.problems)
    # Advice belongs to the rule's own verdict: a 1010 that wraps a lost connection asks nothing of the user.
    advice = _unique(rule.advice for rule in rules if rule and rule.advice and rule.verdict is verdict)
    if verdict is Verdict.UNAUTHORIZED and not advice:
        advice = (_CREDENTIAL,)
    return ". ".join((said.rstrip("."), *advice))


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
