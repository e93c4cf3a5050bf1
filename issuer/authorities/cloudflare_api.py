"""The wire of the Cloudflare API: one call, one answer, and all that can go wrong as an `AuthorityError`.

What comes back is not trusted. The body is read up to a limit and never unpacked (a compressed answer of a few
kilobytes can become gigabytes), redirects are not followed (they would carry the token elsewhere). What an answer says
is read in `cloudflare_answer`, why there is none in `losses`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec
import structlog

from issuer.authorities import cloudflare_errors, losses
from issuer.authorities.cloudflare_answer import Body, Cleaner, read
from issuer.authorities.cloudflare_errors import Refusal
from issuer.authorities.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from issuer.authorities.base import CallTimeouts

MAX_BODY: Final = 1024 * 1024
"""Bytes of an answer that are read. A page of 50 certificates with 200 names each is about half of that."""

MAX_RETRY_AFTER: Final = 86400.0
"""Seconds; a provider that asks for more is not believed."""

MAX_SKEW: Final = 86400.0
"""Seconds between the provider's clock and ours; a `Date` that is further away is not believed."""

_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_RESET_SECONDS: Final = re.compile(r";\s*t=([0-9]{1,9})")

_log = structlog.get_logger(__name__)


class AnswerTooLong(Unavailable):
    """The answer is longer than is read; a part of what was asked for may be short enough."""

    def __init__(self, authority: str, *, ambiguous: bool, status: int, trace_id: str | None) -> None:
        message = f"the answer is longer than {MAX_BODY // 1024} KiB"
        super().__init__(authority, message, ambiguous=ambiguous, status=status, trace_id=trace_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A call that succeeded.

    Attributes:
        result: `result` of the envelope, of any shape.
        info: `result_info` of the envelope, empty if there is none.
        status: HTTP status.
        trace_id: the header `CF-Ray`.
    """

    result: Any
    info: Mapping[str, Any] = field(default_factory=dict)
    status: int
    trace_id: str | None


class Api:
    """The API at one endpoint. One HTTP client for as long as it lives; the credential comes with each call."""

    def __init__(
        self,
        authority: str,
        endpoint: str,
        transport: httpx.AsyncBaseTransport,
        now: Callable[[], datetime],
    ) -> None:
        self._authority = authority
        self._endpoint = endpoint.rstrip("/")
        self._host = urlsplit(endpoint).netloc.lower()
        self._now = now
        self._client = httpx.AsyncClient(
            transport=transport,
            follow_redirects=False,
            trust_env=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "cdn-issuer"},
        )
        # No call may depend on an earlier one.
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str,
        timeouts: CallTimeouts,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Make one call, for which a token of the limits is taken. There is no limit to its time; the caller sets one.

        Raises:
            AuthorityError: of the kind that the answer, or its lack, amounts to. `Unavailable.ambiguous` is only ever
                set for POST, the one method that makes certificates.
        """
        if self._client.is_closed:
            raise Unavailable(self._authority, "this configuration of the authority is no longer in use")
        await timeouts.token()
        clean = Cleaner(token)
        content = None if body is None else msgspec.json.encode(body)
        try:
            async with self._client.stream(
                method,
                f"{self._endpoint}{path}",
                params=query,
                content=content,
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                timeout=httpx.Timeout(
                    connect=timeouts.connect, read=timeouts.read, write=timeouts.read, pool=timeouts.connect
                ),
            ) as response:
                status, headers = response.status_code, response.headers
                raw, unreadable = await _read(response)
                is_too_long = len(raw) > MAX_BODY
        except losses.LOSSES as error:
            raise self._lost(error, method, path, timeouts, clean) from None
        trace_id = clean.trace_id(headers.get("cf-ray", ""))
        if is_too_long:
            raise AnswerTooLong(self._authority, ambiguous=method == "POST", status=status, trace_id=trace_id)
        body_read = Body(unreadable=unreadable) if unreadable else read(raw, headers.get("content-type", ""))
        envelope, unreadable = body_read.envelope, body_read.unreadable
        if envelope is not None and _succeeded(status, envelope):
            info = envelope.get("result_info")
            return Reply(
                result=envelope.get("result"),
                info=info if isinstance(info, dict) else {},
                status=status,
                trace_id=trace_id,
            )
        if 300 <= status < 400:  # noqa: PLR2004 - redirections, RFC 9110 section 15.4
            unreadable = "the endpoint redirects; redirects are not followed"
        refusal = Refusal(
            status=status,
            problems=() if envelope is None else clean.problems(envelope),
            words=clean.words(body_read),
            host=self._host,
            trace_id=trace_id,
            retry_after=retry_after(headers, self._now()),
            unreadable=unreadable,
        )
        raise cloudflare_errors.error(self._authority, refusal, signing=method == "POST")

    async def aclose(self) -> None:
        """Give up the connections; calls under way fail as unavailable."""
        await self._client.aclose()

    def _lost(self, error: Exception, method: str, path: str, timeouts: CallTimeouts, clean: Cleaner) -> Unavailable:
        _log.debug("no answer", method=method, path=path, error=clean.text(repr(error.__cause__ or error)))
        ambiguous = method == "POST" and not losses.never_sent(error)
        what = clean.text(losses.explain(error, self._host, timeouts))
        return Unavailable(self._authority, f"{method} {path}: {what}", ambiguous=ambiguous)


def retry_after(headers: httpx.Headers, now: datetime) -> float | None:
    """Seconds to wait, from `Retry-After` (RFC 9110 section 10.2.3) or `RateLimit` (IETF draft, parameter `t`).

    A date in `Retry-After` is one of the provider's clock, which the answer's own `Date` (section 6.6.1) tells; `now`,
    our clock, counts where there is no `Date` or it is more than `MAX_SKEW` away.
    """
    said = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(said):
        return min(float(said), MAX_RETRY_AFTER)
    if until := _date(said):
        answered = _date(headers.get("date", "").strip())
        if answered is None or abs((answered - now).total_seconds()) > MAX_SKEW:
            answered = now
        return min(max((until - answered).total_seconds(), 0.0), MAX_RETRY_AFTER)
    resets = _RESET_SECONDS.findall(headers.get("ratelimit", ""))
    return min(max(map(float, resets)), MAX_RETRY_AFTER) if resets else None


def _date(text: str) -> datetime | None:
    """A date of HTTP (RFC 9110 section 5.6.7); None if it is none."""
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=date.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


async def _read(response: httpx.Response) -> tuple[bytes, str]:
    """The body, or more than `MAX_BODY` of it, and why it is of no use (empty if it is)."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity"}:
        return b"", "the answer is compressed, which was not asked for"
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_BODY:
            break
    return bytes(body), ""


def _succeeded(status: int, envelope: Mapping[str, Any]) -> bool:
    """Whether it says so, or says nothing and has a result."""
    if not 200 <= status < 300:  # noqa: PLR2004 - the successful ones, RFC 9110 section 15.3
        return False
    success = envelope.get("success")
    return success is True or (success is None and envelope.get("result") is not None)
