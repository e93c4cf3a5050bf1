"""The wire of the Cloudflare API: one call, one answer, and all that can go wrong as an `AuthorityError`.

What comes back is not trusted. The body is read up to a limit and never unpacked (a compressed answer of a few
kilobytes can become gigabytes), redirects are not followed (they would carry the token elsewhere), every text is cut,
cleaned of control characters and searched for the token before it may reach a condition or a log.

The transport is `httpx_aiohttp`'s, whose mapping of exceptions cannot be taken at its word: a connection that is lost
after the request was sent arrives as `httpx.ConnectTimeout`, just as one that never came up. The difference decides
whether a certificate may exist, so the cause underneath is looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import httpx
import msgspec

from issuer.api.duration import human
from issuer.authorities import cloudflare_errors
from issuer.authorities.cloudflare_errors import Problem, Refusal
from issuer.authorities.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from issuer.authorities.base import CallTimeouts

MAX_BODY: Final = 1024 * 1024
"""Bytes of an answer that are read. A page of 50 certificates with 200 names each is about half of that."""

MAX_TEXT: Final = 300
"""Characters that are kept of one text of the provider."""

MAX_PROBLEMS: Final = 5
"""Entries of `errors` that are looked at."""

MAX_RETRY_AFTER: Final = 86400.0
"""Seconds; a provider that asks for more is not believed."""

REDACTED: Final = "[token]"

_CONTROL: Final = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_TRACE_ID: Final = re.compile(r"[^0-9A-Za-z-]+")
_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_RESET_SECONDS: Final = re.compile(r";\s*t=([0-9]{1,9})")

_LOSSES: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    aiohttp.ClientError,
    OSError,
    # From the transport, undocumented: its session was closed, or a .netrc competes with our credential.
    RuntimeError,
    ValueError,
)
_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_NEVER_SENT_CAUSES: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)


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
        except _LOSSES as error:
            raise self._lost(error, method, path, timeouts, clean) from None
        trace_id = clean.trace_id(headers.get("cf-ray", ""))
        if is_too_long:
            raise AnswerTooLong(self._authority, ambiguous=method == "POST", status=status, trace_id=trace_id)
        envelope, unreadable = (None, unreadable) if unreadable else _decode(raw)
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
            problems=() if envelope is None else clean.problems(envelope.get("errors")),
            trace_id=trace_id,
            retry_after=retry_after(headers, self._now()),
            unreadable=unreadable,
        )
        raise cloudflare_errors.error(self._authority, refusal, signing=method == "POST")

    async def aclose(self) -> None:
        """Give up the connections; calls under way fail as unavailable."""
        await self._client.aclose()

    def _lost(self, error: Exception, method: str, path: str, timeouts: CallTimeouts, clean: Cleaner) -> Unavailable:
        cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
        what = clean.text(str(cause)) or type(cause).__name__
        if never_sent(error):
            if isinstance(cause, (httpx.TimeoutException, TimeoutError)):
                what = f"no connection within {human(timeouts.connect)}"
            return Unavailable(self._authority, f"{method} {path}: could not connect: {what}")
        if isinstance(cause, (httpx.ReadTimeout, TimeoutError)):
            what = f"no answer within {human(timeouts.read)}"
        elif not isinstance(cause, (RuntimeError, ValueError)):
            what = f"the connection was lost before the answer: {what}"
        return Unavailable(self._authority, f"{method} {path}: {what}", ambiguous=method == "POST")


class Cleaner:
    """Makes texts of the provider fit to be shown: short, one line, printable, and without the token."""

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        self._token = token

    def text(self, value: str) -> str:
        """A message."""
        # The token first: cutting could leave half of it.
        short = _CONTROL.sub(" ", value.replace(self._token, REDACTED)[: MAX_TEXT * 20]).strip()
        return short if len(short) <= MAX_TEXT else short[: MAX_TEXT - 1] + "…"

    def trace_id(self, value: str) -> str | None:
        """A trace id: letters, digits and hyphens."""
        return _TRACE_ID.sub("", self.text(value))[:64] or None

    def problems(self, errors: Any) -> tuple[Problem, ...]:
        """The entries of `errors`, which are documented as objects with `code` and `message`."""
        return tuple(found for found in self._problems(errors) if found.code or found.message)

    def _problems(self, errors: Any, depth: int = 0) -> Iterator[Problem]:
        for entry in errors[:MAX_PROBLEMS] if isinstance(errors, list) else ():
            if isinstance(entry, str):
                yield Problem("", self.text(entry))
            elif isinstance(entry, dict):
                code, message = entry.get("code"), entry.get("message")
                number = str(code) if isinstance(code, (int, str)) and not isinstance(code, bool) else ""
                yield Problem(self.text(number)[:40], self.text(message) if isinstance(message, str) else "")
                # An error chain explains the entry it belongs to; its codes are no verdicts of their own.
                if not depth:
                    for cause in self._problems(entry.get("error_chain"), depth + 1):
                        yield Problem(self.text(number)[:40], cause.message)


def never_sent(error: Exception) -> bool:
    """Whether the request certainly did not reach the provider."""
    cause = error.__cause__
    if isinstance(error, aiohttp.ClientError):
        cause = error
    if isinstance(cause, aiohttp.ClientError):
        return isinstance(cause, _NEVER_SENT_CAUSES)
    return isinstance(error, _NEVER_SENT)


def retry_after(headers: httpx.Headers, now: datetime) -> float | None:
    """Seconds to wait, from `Retry-After` (RFC 9110 section 10.2.3) or `RateLimit` (IETF draft, parameter `t`)."""
    said = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(said):
        return min(float(said), MAX_RETRY_AFTER)
    if said:
        try:
            date = parsedate_to_datetime(said)
            seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
        except (ValueError, TypeError, OverflowError):
            pass
        else:
            return min(max(seconds, 0.0), MAX_RETRY_AFTER)
    resets = _RESET_SECONDS.findall(headers.get("ratelimit", ""))
    return min(max(map(float, resets)), MAX_RETRY_AFTER) if resets else None


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


def _decode(body: bytes) -> tuple[dict[str, Any] | None, str]:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None, "the answer is not JSON" if body else "the answer is empty"
    if not isinstance(decoded, dict):
        return None, "the answer is JSON, but not the API's envelope"
    return decoded, ""


def _succeeded(status: int, envelope: Mapping[str, Any]) -> bool:
    """Whether it says so, or says nothing and has a result."""
    if not 200 <= status < 300:  # noqa: PLR2004 - the successful ones, RFC 9110 section 15.3
        return False
    success = envelope.get("success")
    return success is True or (success is None and envelope.get("result") is not None)
