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
    """What happens to a call that is hit."""

    SLOW = "slow"  # `seconds` late; everything else goes on as usual, so it combines with another fault
    HANG = "hang"  # no answer, nothing is done
    HANG_AFTER = "hang-after"  # done, but no answer
    RESET_BEFORE = "reset-before"  # the connection is reset, nothing is done
    RESET_AFTER = "reset-after"  # done, then the connection is reset
    STATUS = "status"  # `status` (5xx, 52x) with a page of HTML; done before that if `done`
    RATE_LIMITED = "rate-limited"  # 429 with `seconds` to wait
    BROKEN_JSON = "broken-json"  # done, then half of an answer
    EMPTY_ERRORS = "empty-errors"  # refused without a reason, with `status` (200 if not given)
    REJECTED = "rejected"  # refused with `code`, `message` and `status` (400 if not given)
    UNAUTHORIZED = "unauthorized"  # the token is refused
    HUGE = "huge"  # done, then a body of `size` bytes
    TRUNCATED = "truncated"  # signed; the certificate in the answer is cut in half
    FOREIGN = "foreign"  # the certificate is for a key of somebody else
    WRONG_NAMES = "wrong-names"  # the certificate is for other hostnames
    EXPIRED = "expired"  # the certificate has run out already


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
        message: the provider's error message (rejected).
        done: whether what was asked for is done before the failing answer (status).
        size: bytes of a huge body.
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
