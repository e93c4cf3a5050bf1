"""What one pass over an issuer's authorities comes to: a verified certificate, or why there is none.

The controller turns either into a condition. Nothing here is an exception: "nobody could sign just now" is an ordinary
result that the contract has a row for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from issuer.authorities.errors import AuthorityError


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate that has passed verification.

    Attributes:
        authority: name of the one that signed.
        position: its index in the issuer's list; 0 is the first choice.
        certificate: for `status.certificate`, PEM.
        ca: for `status.ca`, PEM; may be empty.
        fingerprint: SHA-256 of the leaf in hex; what `FailoverEngine.settle` wants once it is delivered.
        not_after: end of its life.
        granted: how long it lives.
        requested: how long was asked for.
        passed_over: why each earlier authority of the list did not sign, in the order of the list.
    """

    authority: str
    position: int
    certificate: bytes
    ca: bytes
    fingerprint: str
    not_after: datetime
    granted: timedelta
    requested: timedelta
    passed_over: tuple[AuthorityError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotIssued:
    """Nobody signed.

    Attributes:
        failures: what became of each authority that was looked at, in the order of the list.
        terminal: no later pass can help: the request is refused, or no authority can ever sign such a one.
        retry_in: seconds until one of the authorities may be asked again; 0: at once, after the caller's own backoff.
        attempted: at least one authority had its turn: it was asked, or is known to be unable just now. False if all
            the time went by in our own queues.
    """

    failures: tuple[AuthorityError, ...]
    terminal: bool
    retry_in: float
    attempted: bool
