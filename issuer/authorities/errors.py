"""What can go wrong at a certificate authority: the only thing that decides on retry and on failover.

    AuthorityError
    ├── Unavailable     down, slow, broken or lying; asking again may help. `ambiguous`: it may have signed all the same
    │   └── IssuerUnusable  it stands for another issuer, which is not there or not ready
    ├── RateLimited     too many calls; `retry_after` seconds, if it said so
    ├── Unauthorized    our credential is missing or refused; this authority cannot sign until somebody fixes it
    ├── Rejected        this request is refused, and would be refused again
    ├── Unsupported     this authority cannot sign such a request, or not for long enough; another one of the list may
    │   └── UnavailableHere it cannot in this namespace, just now
    └── InProgress      no failure: it has accepted the request and is not finished; ask again later

Every module that talks to an authority maps what it sees to one of them; nobody further up looks at HTTP statuses
or at texts. A text in one of them is shown to users (conditions, events, logs), so it never holds a secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final, Literal

if TYPE_CHECKING:
    from datetime import datetime

MAX_MESSAGE: Final = 500
"""Characters of a provider's message that are kept; the rest of a flood is cut."""
MOST_NAMES: Final = 3
"""Names of a certificate that a message lists; a certificate may have a hundred."""


class AuthorityError(Exception):
    """An authority did not sign.

    Attributes:
        authority: its name in the issuer.
        message: what it said, or what happened, in words for a person.
        status: HTTP status of the answer, if there was one.
        code: the provider's own code, if it gave one.
        trace_id: what the provider's support asks for (Cloudflare: `CF-Ray`).
        cause: which of the kinds above it is, as `spec.failover.on` uses it; a more special class has that of its kind.
        reason: what events and the state of the authority call it: the cause, or a narrower word for it.
    """

    cause: ClassVar[str] = "Unavailable"

    def __init__(
        self,
        authority: str,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(authority, message)
        self.authority = authority
        self.message = message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"
        self.status = status
        self.code = code
        self.trace_id = trace_id

    @property
    def http(self) -> str:
        """`HTTP 503`; empty if there was no answer, or the message says so itself."""
        named = f"HTTP {self.status}" if self.status else ""
        return "" if named in self.message else named

    @property
    def reason(self) -> str:
        """The cause, or a narrower word for it."""
        return self.cause

    @property
    def detail(self) -> str:
        """The message with what a provider's support asks for, without the authority's name."""
        return self._detailed(self.message)

    def _detailed(self, message: str) -> str:
        details = [
            text
            for text in (
                self.http,
                f"code {self.code}" if self.code else "",
                f"trace {self.trace_id}" if self.trace_id else "",
            )
            if text
        ]
        return message + (f" ({', '.join(details)})" if details else "")

    @property
    def final_detail(self) -> str:
        """As `detail`, for a request that has ended: without a word on when the next attempt is."""
        return self.detail

    @property
    def final(self) -> str:
        """As `str`, for a request that has ended; the same for the same cause, whoever met it."""
        return f"{self.authority}: {self.final_detail}"

    def __str__(self) -> str:
        return f"{self.authority}: {self.detail}"


class Unavailable(AuthorityError):  # noqa: N818 - the field's own word for it, as in httpx and grpc
    """It is down, slow, broken or lying. Asking again, or asking another one, may help.

    Attributes:
        ambiguous: the call was sent and its outcome is unknown: a certificate may exist.
        again: asking once more in the same turn may help.
        counts: it speaks against the authority as a whole, so a circuit breaker counts it.
    """

    cause = "Unavailable"

    def __init__(
        self,
        authority: str,
        message: str,
        *,
        ambiguous: bool = False,
        again: bool = True,
        counts: bool = True,
        status: int | None = None,
        code: str | None = None,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(authority, message, status=status, code=code, trace_id=trace_id)
        self.ambiguous = ambiguous
        self.again = again
        self.counts = counts


class IssuerUnusable(Unavailable):
    """Not asked: the issuer that it stands for is not there, or says itself that it cannot sign.

    Attributes:
        state: IssuerNotFound or IssuerNotReady, the state of the authority.
    """

    def __init__(self, authority: str, message: str, *, state: Literal["IssuerNotFound", "IssuerNotReady"]) -> None:
        super().__init__(authority, message, again=False)
        self.state = state

    @property
    def reason(self) -> Literal["IssuerNotFound", "IssuerNotReady"]:
        """Its state, and the reason of events."""
        return self.state


class RateLimited(AuthorityError):  # noqa: N818
    """It wants fewer calls.

    Attributes:
        retry_after: seconds to wait, if it said so.
    """

    cause = "RateLimited"

    def __init__(
        self,
        authority: str,
        message: str,
        *,
        retry_after: float | None = None,
        status: int | None = None,
        code: str | None = None,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(authority, message, status=status, code=code, trace_id=trace_id)
        self.retry_after = retry_after


class Unauthorized(AuthorityError):  # noqa: N818
    """Our credential is missing, incomplete or refused."""

    cause = "Unauthorized"


class Rejected(AuthorityError):  # noqa: N818
    """This request is refused and would be refused again.

    Attributes:
        asked_for: names of the certificate that was asked for, where a person should be told; empty otherwise.
    """

    cause = "Rejected"
    asked_for: tuple[str, ...] = ()

    @property
    def detail(self) -> str:
        """As of any failure, with the first names that were asked for, unless the provider's words hold one already."""
        said = self.message.lower()
        if not self.asked_for or any(_is_word(name.lower(), said) for name in self.asked_for):
            return self._detailed(self.message)
        names = ", ".join(self.asked_for[:MOST_NAMES])
        more = f" and {left} more" if (left := len(self.asked_for) - MOST_NAMES) > 0 else ""
        return self._detailed(f"{self.message.rstrip(' .')}: {names}{more}")


class Unsupported(AuthorityError):  # noqa: N818
    """This authority cannot sign such a request.

    Attributes:
        for_now: that may change without the request or the issuer changing.
    """

    cause = "Unsupported"

    def __init__(
        self,
        authority: str,
        message: str,
        *,
        for_now: bool = False,
        status: int | None = None,
        code: str | None = None,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(authority, message, status=status, code=code, trace_id=trace_id)
        self.for_now = for_now


class UnavailableHere(Unsupported):
    """It cannot sign in this request's namespace at the moment, which says nothing about any other namespace.

    So it is no failure of the authority as a whole: no breaker counts it, and the next authority is asked in any case.
    """

    cause = "Unavailable"

    def __init__(self, authority: str, message: str) -> None:
        super().__init__(authority, message, for_now=True)


class InProgress(AuthorityError):  # noqa: N818
    """It has accepted the request and has not signed yet. Asked again with the same order, it goes on where it was.

    What it has begun, it finds again by the order's UID, so that a restart loses nothing.

    Attributes:
        since: when it accepted the request, UTC. Longer than `timeouts.turn` nobody waits for it.
        look_again_in: seconds until it is worth asking again; what it waits for may wake the request sooner.
    """

    cause = "InProgress"

    def __init__(
        self, authority: str, message: str, *, since: datetime, look_again_in: float, code: str | None = None
    ) -> None:
        super().__init__(authority, message, code=code)
        self.since = since
        self.look_again_in = look_again_in


class NotSentError(Exception):
    """This process may call no authority any more, so a call was not sent. It says nothing about the authority.

    Attributes:
        reason: what said so.
    """

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _is_word(name: str, text: str) -> bool:
    """Whether a text holds a name, and not only a longer one that it is a part of."""
    return re.search(rf"(?<![\w.*-]){re.escape(name)}(?![\w-]|\.\w)", text) is not None
