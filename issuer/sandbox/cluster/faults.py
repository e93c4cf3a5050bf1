"""What goes wrong at the sandbox's API server, and to which calls."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from issuer.sandbox.cluster import errors
from issuer.sandbox.cluster.errors import StatusError

if TYPE_CHECKING:
    from collections.abc import Callable

FaultKind = Literal["conflict", "race", "gone", "throttle", "error", "hang", "cut", "latency"]


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault.

    Attributes:
        kind: `conflict` 409, `race` somebody else writes to the object just before, so that a write of an older version
            gets a real 409, `gone` 410, `throttle` 429, `error` an error with `status`, `hang` no answer, `cut` the
            connection is closed, `latency` only late.
        method: HTTP method it is limited to; empty: all.
        path_contains: part of the path it is limited to.
        count: calls that are hit before it is over; None: all, until it is removed.
        seconds: how late (latency), or what Retry-After says (throttle).
        status: of `error`.
        after: what was asked for is done first; only its answer is lost.
    """

    kind: FaultKind
    method: str = ""
    path_contains: str = ""
    count: int | None = None
    seconds: float = 1.0
    status: int = 500
    after: bool = False
    hits: int = field(default=0, init=False)

    def concerns(self, method: str, path: str) -> bool:
        """Whether it hits such a call."""
        if self.method and self.method != method:
            return False
        return self.path_contains in path and (self.count is None or self.hits < self.count)


class Faults:
    """The faults that are switched on."""

    def __init__(self) -> None:
        self._active: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Switch one on; it counts its `hits`."""
        self._active.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Switch one off."""
        self._active.remove(fault)

    def clear(self) -> None:
        """Switch all off."""
        self._active.clear()

    def strike(self, method: str, path: str) -> Fault | None:
        """The first fault that hits this call, and is counted for it."""
        for fault in self._active:
            if fault.concerns(method, path):
                fault.hits += 1
                return fault
        return None


async def inflict(
    fault: Fault, *, hanging: asyncio.Event, touch: Callable[[int], None], transport: asyncio.BaseTransport | None
) -> None:
    """Do what a fault says to one call; whoever calls it answers the call as usual afterwards, if it returns.

    Args:
        fault: what to do.
        hanging: set when the server stops, which ends the calls that hang.
        touch: writes to the object of the call, as somebody else would; it is given a number.
        transport: of the caller's connection.

    Raises:
        StatusError: it is an answer.
        ConnectionResetError: it is none.
    """
    match fault.kind:
        case "latency":
            await asyncio.sleep(fault.seconds)
        case "conflict":
            raise StatusError(409, "Conflict", "the object has been modified (a fault)")
        case "race":
            touch(fault.hits)
        case "gone":
            raise errors.expired("too old resource version (a fault)")
        case "throttle":
            headers = {"Retry-After": f"{fault.seconds:.0f}"}
            raise StatusError(429, "TooManyRequests", "too many requests (a fault)", headers=headers)
        case "error":
            raise StatusError(fault.status, "InternalError", "an error on the server (a fault)")
        case "hang":
            await hanging.wait()
            raise ConnectionResetError
        case "cut":
            if isinstance(transport, asyncio.Transport):
                transport.abort()
            raise ConnectionResetError
