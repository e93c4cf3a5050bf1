"""What all parts of the engine work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from datetime import datetime

    from issuer.signing.calls import Verify
    from issuer.signing.ledger import Ledger
    from issuer.signing.observer import Observer
    from issuer.signing.registry import AccountRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineContext:
    """See `FailoverEngine`.

    Attributes:
        registry: the accounts.
        ledger: what may exist.
        observer: hears of calls and changes.
        verify: checks an answer.
        guard: raises if this process may not sign any more.
        now: wall clock, UTC.
        clock: loop time.
        random: for jitter.
    """

    registry: AccountRegistry
    ledger: Ledger
    observer: Observer
    verify: Verify
    guard: Callable[[], None]
    now: Callable[[], datetime]
    clock: Callable[[], float]
    random: random.Random
