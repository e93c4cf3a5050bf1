"""What this process knows of the requests that are not over, beyond their objects, by UID.

A request is *open* from the moment that an approver has spoken about it until its end is written and settled. A name is
no key: cert-manager uses names again. That one has ended is remembered for a while (`ENDED`), because the cache may go
on showing it unfinished; that alone never keeps a request from being looked at for good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from issuer.api.meta import ObjectKey  # noqa: TC001 - a field of a NamedTuple is evaluated
from issuer.controllers.issuercache import issuer_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from issuer.controllers.decision import Fail, Issue, Pend
    from issuer.controllers.issuercache import IssuerId
    from issuer.controllers.port import Request
    from issuer.signing.plan import Issued, NotIssued

ENDED: Final = 60.0
"""Seconds that a cache may lag behind the end of a request before the API server itself is asked."""


class RequestId(NamedTuple):
    """A request and no other that has, had or will have its name."""

    key: ObjectKey
    uid: str

    def __str__(self) -> str:
        return str(self.key)


@dataclass(slots=True)
class RequestState:
    """One open request.

    Attributes:
        request: as it was last seen.
        seen: when that was for the first time.
        had_turn: its authorities were asked at least once.
        turns: goes at its authorities.
        turn_due: loop time before which they are not asked again.
        only: what the last go was restricted to, see `Sign.only`.
        last: what came of the last go that failed.
        issued: signed and not delivered yet.
        verdict: the end, decided and not yet written.
        pending: why it waits, decided and not yet written.
        why: what the last written Pending condition was about.
        writes: consecutive failed writes.
        write_due: loop time before which `pending` is not written again.
        perhaps_written: a write of the verdict may have reached the API server.
        is_writing: a write of the verdict is under way.
    """

    request: Request
    seen: datetime
    had_turn: bool = False
    turns: int = 0
    turn_due: float = -math.inf
    only: frozenset[str] | None = None
    last: NotIssued | None = None
    issued: Issued | None = None
    verdict: Fail | Issue | None = None
    pending: Pend | None = None
    why: str | None = None
    writes: int = 0
    write_due: float = -math.inf
    perhaps_written: bool = False
    is_writing: bool = False

    @property
    def id(self) -> RequestId:
        """Which request."""
        return identify(self.request)

    @property
    def writes_next(self) -> bool:
        """Whether the next thing to do is a write rather than a go at the authorities."""
        return self.verdict is not None or (self.pending is not None and self.write_due <= self.turn_due)


class RequestMemory:
    """All open requests, how many wait for an approver, and what has just ended.

    Args:
        clock: loop time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: dict[str, RequestState] = {}
        self._unapproved: dict[str, ObjectKey] = {}
        self._ended: dict[str, float] = {}

    @property
    def unapproved(self) -> int:
        """How many no approver has spoken about that should have by now.

        Those in no namespace are CertificateSigningRequests: people approve them, and take their time.
        """
        return sum(bool(key.namespace) for key in self._unapproved.values())

    def all(self) -> list[RequestState]:
        """Every open request."""
        return list(self._open.values())

    def waiting(self) -> list[RequestId]:
        """Every request that no approver has spoken about."""
        return [RequestId(key, uid) for uid, key in self._unapproved.items()]

    def get(self, uid: str) -> RequestState | None:
        """An open request."""
        return self._open.get(uid)

    def note(self, request: Request, now: datetime) -> RequestState | None:
        """Take note of an unfinished request as it is now; its state, if an approver has spoken about it."""
        uid = request.metadata.uid
        if not (request.is_approved or request.is_denied or request.is_invalid):
            self._unapproved[uid] = request.metadata.key
            return self._open.get(uid)
        self._unapproved.pop(uid, None)
        state = self._open.get(uid)
        if state is None:
            if uid in self._ended:
                return None
            state = self._open[uid] = RequestState(request, now)
        state.request = request
        return state

    def close(self, uid: str, *, lasting: bool) -> None:
        """It is over; `lasting`: its object may still show it unfinished for a while."""
        self._open.pop(uid, None)
        self._unapproved.pop(uid, None)
        if lasting:
            self._ended[uid] = self._clock() + ENDED
        else:
            self._ended.pop(uid, None)

    def ended_until(self, uid: str) -> float | None:
        """Until which loop time it counts as ended whatever its object says; None if it does not."""
        return self._ended.get(uid)


def identify(request: Request) -> RequestId:
    """Which request an object is."""
    return RequestId(request.metadata.key, request.metadata.uid)


def issuer_of(request: Request) -> IssuerId:
    """The issuer that a request names."""
    return issuer_id(request.issuer_ref, request.issuer_namespace)
