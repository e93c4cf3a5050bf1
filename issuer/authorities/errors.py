"""What can go wrong at a certificate authority: the only thing that decides on retry and on failover.

    AuthorityError
    ├── Unavailable     down, slow, broken or lying; asking again may help. `ambiguous`: it may have signed all the same
    ├── RateLimited     too many calls; `retry_after` seconds, if it said so
    ├── Unauthorized    our credential is missing or refused; this authority cannot sign until somebody mends it
    ├── Rejected        this request is refused, and would be refused again
    └── Unsupported     this authority cannot sign such a request, or not for long enough; another one of the list may

Every module that talks to an authority maps what it sees to one of the five; nobody further up looks at HTTP statuses
or at texts. A text in one of them is shown to users (conditions, events, logs), so it never holds a secret.
"""

from __future__ import annotations

from typing import Final

MAX_MESSAGE: Final = 500
"""Characters of a provider's message that are kept; the rest of a flood is cut."""


class AuthorityError(Exception):
    """An authority did not sign.

    Attributes:
        authority: its name in the issuer.
        message: what it said, or what happened, in words for a person.
        status: HTTP status of the answer, if there was one.
        code: the provider's own code, if it gave one.
        trace_id: what the provider's support asks for (Cloudflare: `CF-Ray`).
    """

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
    def cause(self) -> str:
        """The name of the class, as `spec.failover.on` uses it and, in lower case, the metrics."""
        return type(self).__name__

    @property
    def told(self) -> str:
        """The message with what a provider's support asks for, without the authority's name."""
        details = [
            text
            for text in (
                f"HTTP {self.status}" if self.status else "",
                f"code {self.code}" if self.code else "",
                f"trace {self.trace_id}" if self.trace_id else "",
            )
            if text
        ]
        return self.message + (f" ({', '.join(details)})" if details else "")

    def __str__(self) -> str:
        return f"{self.authority}: {self.told}"


class Unavailable(AuthorityError):  # noqa: N818 - the field's own word for it, as in httpx and grpc
    """It is down, slow, broken or lying. Asking again, or asking another one, may help.

    Attributes:
        ambiguous: the call was sent and its outcome is unknown: a certificate may exist.
    """

    def __init__(
        self,
        authority: str,
        message: str,
        *,
        ambiguous: bool = False,
        status: int | None = None,
        code: str | None = None,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(authority, message, status=status, code=code, trace_id=trace_id)
        self.ambiguous = ambiguous


class RateLimited(AuthorityError):  # noqa: N818
    """It wants fewer calls.

    Attributes:
        retry_after: seconds to wait, if it said so.
    """

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


class Rejected(AuthorityError):  # noqa: N818
    """This request is refused and would be refused again."""


class Unsupported(AuthorityError):  # noqa: N818
    """An authority of this kind can never sign such a request."""


class NotSentError(Exception):
    """This process may call no authority any more, so a call was not sent. It says nothing about the authority.

    Attributes:
        reason: what said so.
    """

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason
