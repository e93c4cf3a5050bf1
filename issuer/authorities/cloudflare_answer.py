"""What an answer of the Cloudflare API says, fit to be shown: its envelope, the reasons in it, the words around it.

The envelope is documented as `{success, errors: [{code, message}], messages, result}`. A refusal has also been seen
with `errors` empty and the reason in `error`, and what stands before the API (a gateway, a proxy) answers in other
shapes or in plain text. All of it is read here; what it means is decided in `cloudflare_errors`.

Nothing is trusted: every text is cut, cleaned of control characters and searched for the token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from issuer.authorities.cloudflare_errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_TEXT: Final = 300
"""Characters that are kept of one text of the provider."""

MAX_PROBLEMS: Final = 5
"""Entries of `errors` that are looked at."""

REDACTED: Final = "[token]"

_CONTROL: Final = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_TRACE_ID: Final = re.compile(r"[^0-9A-Za-z-]+")
# Markup is for browsers, PEM for machines, and half of a JSON text holds whatever was in the whole one.
_NO_WORDS: Final = re.compile(r"\A[\s\ufeff]*[\[{\"]|<[!/?a-z]|-----BEGIN", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\W\d_]{2}")
_REASONS_ELSEWHERE: Final = ("error", "message", "messages", "errors")


@dataclass(frozen=True, slots=True)
class Body:
    """What a body is.

    Attributes:
        envelope: the JSON object; None if it is none.
        words: what a body says that is plain text; not cleaned yet.
        unreadable: why there is no envelope; empty if there is one.
    """

    envelope: dict[str, Any] | None = None
    words: str = ""
    unreadable: str = ""


def read(body: bytes, content_type: str) -> Body:
    """Read a body; `content_type` is the header."""
    if not body:
        return Body(unreadable="the answer is empty")
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Body(words=_plain(body, content_type), unreadable="the answer is not JSON")
    if isinstance(decoded, dict):
        return Body(envelope=decoded)
    words = decoded if isinstance(decoded, str) else ""
    return Body(words=words, unreadable="the answer is JSON, but not the API's envelope")


def _plain(body: bytes, content_type: str) -> str:
    """The text of a body that was written for people; empty if it was not."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return ""
    if "html" in content_type.lower() or _NO_WORDS.search(text) or not _WORD.search(text):
        return ""
    return text


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

    def problems(self, envelope: Mapping[str, Any]) -> tuple[Problem, ...]:
        """The entries of `errors`, which are documented as objects with `code` and `message`.

        Where there are none, what a refusal of the API says in `error`.
        """
        found = self._told(envelope.get("errors"))
        if not found and envelope.get("success") is False:
            found = self._told(_listed(envelope.get("error")))
        return found

    def words(self, body: Body) -> str:
        """What it says apart from `problems`: a reason in another place of the envelope, or plain text."""
        if body.envelope is None:
            return self.text(body.words)
        for key in _REASONS_ELSEWHERE:
            told = self._told(_listed(body.envelope.get(key)))
            if said := "; ".join(dict.fromkeys(one.message for one in told if one.message)):
                return said
        return ""

    def _told(self, entries: Any) -> tuple[Problem, ...]:
        return tuple(found for found in self._problems(entries) if found.code or found.message)

    def _problems(self, entries: Any, depth: int = 0) -> Iterator[Problem]:
        for entry in entries[:MAX_PROBLEMS] if isinstance(entries, list) else ():
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


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (str, dict)) else value
