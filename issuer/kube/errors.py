"""What can go wrong between this program and the Kubernetes API.

    KubeError
    ├── ApiError             the API server answered, and the answer is no
    │   ├── InvalidError         400 or 422: what was sent makes no sense to it
    │   ├── UnauthorizedError    401: our credential is refused
    │   ├── ForbiddenError       403: RBAC does not allow it
    │   ├── NotFoundError        404
    │   ├── ConflictError        409: the object has changed since it was read
    │   │   └── AlreadyExistsError   409 on a create
    │   ├── GoneError            410: the resourceVersion is too old, list again
    │   ├── ThrottledError       429: `retry_after` seconds, if it said so
    │   └── ServerError          5xx, with a Kubernetes Status or with a proxy's HTML
    ├── UnreachableError     no usable answer: no connection, a timeout, a broken answer
    ├── ConfigurationError   no way to reach any API server: kubeconfig, in-cluster files, credentials
    └── LeaseLostError       this process leads no more, so it must not write

Both an HTTP answer and an ERROR event of a watch end here. Nobody further up looks at status codes or at texts.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_MESSAGE: Final = 500
"""Characters of an error's message that are kept; a proxy's error page is cut."""


class KubeError(Exception):
    """Any failure of a call to the Kubernetes API."""


class ApiError(KubeError):
    """The API server answered with an error.

    Attributes:
        status: HTTP status, or the code of the Status object in an ERROR event.
        reason: Kubernetes' reason (`Conflict`, `Expired`, ...); empty if the answer was no Status object.
        message: for a person, at most `MAX_MESSAGE` characters.
        name: of the object that the answer is about; empty if it names none, as the 404 of a proxy does.
        retry_after: seconds to wait before the next call, if the server said so.
    """

    def __init__(
        self, status: int, reason: str, message: str, *, name: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(status, reason, message)
        self.status = status
        self.reason = reason
        self.message = message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"
        self.name = name
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"HTTP {self.status}{f' {self.reason}' if self.reason else ''}: {self.message}"


class InvalidError(ApiError):
    """400 or 422: the request itself is refused, and would be refused again."""


class UnauthorizedError(ApiError):
    """401: the credential is refused."""


class ForbiddenError(ApiError):
    """403: RBAC, or an admission rule, does not allow it."""


class NotFoundError(ApiError):
    """404: no such object, or no such resource."""


class ConflictError(ApiError):
    """409: the object has changed since it was read."""


class AlreadyExistsError(ConflictError):
    """409 on a create: there is an object of that name."""


class GoneError(ApiError):
    """410: the resourceVersion or the continue token is too old."""


class ThrottledError(ApiError):
    """429: too many calls; `retry_after` may say how long to wait."""


class ServerError(ApiError):
    """5xx: the API server, or something in front of it, is in trouble."""


class UnreachableError(KubeError):
    """There was no usable answer.

    Attributes:
        sent: the call may have reached the server, so a write may have happened.
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class ConfigurationError(KubeError):
    """There is no usable configuration: kubeconfig, in-cluster files or credentials."""


class LeaseLostError(KubeError):
    """Another replica may be leading by now; nothing may be written any more."""


class _Details(msgspec.Struct, rename="camel"):
    name: str = ""
    retry_after_seconds: float | None = None


class _Status(msgspec.Struct):
    """The part of meta/v1 Status that is read."""

    kind: str = ""
    message: str = ""
    reason: str = ""
    code: int = 0
    details: _Details | None = None


_BY_STATUS: Final[dict[int, type[ApiError]]] = {
    400: InvalidError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: InvalidError,
    429: ThrottledError,
}
_BY_REASON: Final[dict[str, type[ApiError]]] = {
    "AlreadyExists": AlreadyExistsError,
    "Expired": GoneError,
    "Gone": GoneError,
}
_STATUS_DECODER: Final = msgspec.json.Decoder(_Status)


def error_from(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> ApiError:
    """The error that an answer means.

    Args:
        status: the HTTP status; 0 if the body is the Status object of an ERROR event, whose own code counts then.
        body: a Status object if all is well; HTML, text or nothing when something in between answered.
        headers: of the answer; `Retry-After` in seconds is read (the API server never sends a date).
    """
    said = _status_object(body)
    retry_after = _seconds((headers or {}).get("Retry-After"))
    if said is None:
        return _class_of(status, "")(status, "", _plain_text(body) or "no explanation", retry_after=retry_after)
    if retry_after is None and said.details is not None:
        retry_after = said.details.retry_after_seconds
    code = status or said.code or 500
    return _class_of(code, said.reason)(
        code,
        said.reason,
        said.message or said.reason or "no explanation",
        name=said.details.name if said.details is not None else "",
        retry_after=retry_after,
    )


def _class_of(status: int, reason: str) -> type[ApiError]:
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    return _BY_STATUS.get(status) or (ServerError if status >= 500 else ApiError)  # noqa: PLR2004 - HTTP's own border


def _status_object(body: bytes) -> _Status | None:
    try:
        status = _STATUS_DECODER.decode(body)
    except msgspec.DecodeError:
        return None
    return status if status.kind == "Status" else None


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _plain_text(body: bytes) -> str:
    """A line for a person out of HTML or text that no API server wrote."""
    text = body[: 8 * MAX_MESSAGE].decode("utf-8", "replace")
    text = re.sub(r"(?is)<(style|script)\b.*?(</\1>|$)", " ", text)
    return " ".join(html.unescape(re.sub(r"<[^>]*(>|$)", " ", text)).split())
