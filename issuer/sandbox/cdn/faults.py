"""What goes wrong at the mock provider, and how often.

A fault is a value: what happens, to which calls, and to how many of them. Which calls of a share are hit comes from a
random generator that is passed in, so that a run can be repeated.
"""

from __future__ import annotations

import itertools
import random
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    from collections.abc import Iterable


class FaultKind(StrEnum):
    """What happens to a call that is hit; `MEANINGS` tells each."""

    SLOW = "slow"
    HANG = "hang"
    HANG_AFTER = "hang-after"
    RESET_BEFORE = "reset-before"
    RESET_AFTER = "reset-after"
    STATUS = "status"
    RATE_LIMITED = "rate-limited"
    BROKEN_JSON = "broken-json"
    EMPTY_ERRORS = "empty-errors"
    ERROR_FIELD = "error-field"
    PLAIN_TEXT = "plain-text"
    REJECTED = "rejected"
    UNAUTHORIZED = "unauthorized"
    HUGE = "huge"
    TRUNCATED = "truncated"
    FOREIGN = "foreign"
    WRONG_NAMES = "wrong-names"
    EXPIRED = "expired"


MEANINGS: Final[dict[FaultKind, str]] = {
    FaultKind.SLOW: "`seconds` late; all else goes on, so it combines with another fault",
    FaultKind.HANG: "no answer, nothing is done",
    FaultKind.HANG_AFTER: "done, but no answer",
    FaultKind.RESET_BEFORE: "the connection is reset, nothing is done",
    FaultKind.RESET_AFTER: "done, then the connection is reset",
    FaultKind.STATUS: "`status` (503) with a page of HTML; done before that if `done`",
    FaultKind.RATE_LIMITED: "429 with `seconds` to wait; as a date if `skew` is given",
    FaultKind.BROKEN_JSON: "done, then half of an answer",
    FaultKind.EMPTY_ERRORS: "refused with `status` (200) and no reason",
    FaultKind.ERROR_FIELD: "refused with `status` (401), `message` in `error`, `errors` empty",
    FaultKind.PLAIN_TEXT: "refused with `status` (403) and `message` as plain text",
    FaultKind.REJECTED: "refused with `status` (400), `code` (1010) and `message`",
    FaultKind.UNAUTHORIZED: "the token is refused, with `status` (403) and code 10000",
    FaultKind.HUGE: "done, then a body of `size` bytes",
    FaultKind.TRUNCATED: "signed; the certificate in the answer is cut in half",
    FaultKind.FOREIGN: "the certificate is for a key of somebody else",
    FaultKind.WRONG_NAMES: "the certificate is for other hostnames",
    FaultKind.EXPIRED: "the certificate has run out already",
}
"""What each kind does; names in backquotes are fields of a `Fault`, with what they are unless given."""

SIGNING_ONLY: Final = frozenset({FaultKind.TRUNCATED, FaultKind.FOREIGN, FaultKind.WRONG_NAMES, FaultKind.EXPIRED})
"""Faults of a certificate: they hit only the call that signs."""

SIGN_METHOD: Final = "POST"
SIGN_PATH: Final = "/certificates"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One fault.

    Attributes:
        kind: what happens.
        share: the share of matching calls that are hit, 0 to 1.
        count: how many calls are hit before it is over; None: all, until it is cleared.
        methods: HTTP methods it is limited to; empty: all.
        paths: beginnings of paths (without `/client/v4`) it is limited to; empty: all.
        seconds: how late (slow), or what Retry-After says (rate-limited).
        status: HTTP status; 0: the usual one of the kind.
        code: the provider's error code (rejected).
        message: the provider's error message (rejected, error-field, plain-text).
        done: whether what was asked for is done before the failing answer (status).
        size: bytes of a huge body.
        skew: seconds by which the provider's clock is ahead; if given, Retry-After is a date of that clock, and the
            answer's Date tells it (rate-limited).
    """

    kind: FaultKind
    share: Annotated[float, Meta(ge=0, le=1)] = 1.0
    count: Annotated[int, Meta(ge=0)] | None = None
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    seconds: Annotated[float, Meta(ge=0)] = 1.0
    status: int = 0
    code: int = 1010
    message: str = "Failed to validate requested hostname"
    done: bool = False
    size: Annotated[int, Meta(ge=0)] = 100 * 1000 * 1000
    skew: float | None = None

    def concerns(self, method: str, path: str) -> bool:
        """Whether it can hit such a call."""
        if self.kind in SIGNING_ONLY and (method, path) != (SIGN_METHOD, SIGN_PATH):
            return False
        return (not self.methods or method in self.methods) and (
            not self.paths or any(path.startswith(prefix) for prefix in self.paths)
        )


class Faults:
    """The faults that are switched on, in the order in which they were."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._random = rng or random.Random(0)
        self._ids = itertools.count(1)
        self._active: dict[int, Fault] = {}
        self.hits: dict[FaultKind, int] = {}
        """How many calls each kind has hit."""

    def set(self, kind: FaultKind | str, **settings: Any) -> int:
        """Switch a fault on: `faults.set("slow", seconds=5, share=0.3)`. The id is for `clear`.

        Raises:
            msgspec.ValidationError: such a fault does not exist.
        """
        kind = kind.value if isinstance(kind, FaultKind) else kind
        return self.add(msgspec.convert({"kind": kind, **settings}, Fault))

    def add(self, fault: Fault) -> int:
        """Switch a fault on, beside those that are."""
        id_ = next(self._ids)
        self._active[id_] = fault
        return id_

    def replace(self, faults: Iterable[Fault]) -> None:
        """Switch these on, and all others off."""
        self._active = {next(self._ids): fault for fault in faults}

    def clear(self, id_: int | None = None) -> None:
        """Switch one off, or all. Calls that hang already go on hanging until their client gives up."""
        if id_ is None:
            self._active.clear()
        else:
            self._active.pop(id_, None)

    @property
    def active(self) -> tuple[Fault, ...]:
        """What is switched on; `count` is what is left of it."""
        return tuple(self._active.values())

    def strike(self, method: str, path: str) -> tuple[float, Fault | None]:
        """What happens to this call: seconds of delay, and the first other fault that hits it."""
        if not self._active:
            return 0.0, None
        delay, struck = 0.0, None
        for id_, fault in tuple(self._active.items()):
            slow = fault.kind is FaultKind.SLOW
            if (struck is not None and not slow) or not fault.concerns(method, path):
                continue
            if fault.share < 1.0 and self._random.random() >= fault.share:
                continue
            if not self._spend(id_, fault):
                continue
            self.hits[fault.kind] = self.hits.get(fault.kind, 0) + 1
            if slow:
                delay += fault.seconds
            else:
                struck = fault
        return delay, struck

    def _spend(self, id_: int, fault: Fault) -> bool:
        if fault.count is None:
            return True
        if fault.count <= 1:
            del self._active[id_]
        else:
            self._active[id_] = msgspec.structs.replace(fault, count=fault.count - 1)
        return fault.count > 0
