"""Whose certificate is whose, as far as this process has been told.

A certificate may be the result of two requests: one with the same key may find it while the answer to the other is
under way. It belongs to both until each is settled with another one.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Owners:
    """Requests by the fingerprint of a certificate, and fingerprints by request.

    Args:
        clock: loop time.
        most: fingerprints, and requests, that are kept; the oldest go first.

    Attributes:
        forgotten: loop time of the last claim that is no longer known; None if all are.
    """

    def __init__(self, *, clock: Callable[[], float], most: int) -> None:
        self.forgotten: float | None = None
        self._clock = clock
        self._most = most
        self._owners: OrderedDict[str, tuple[set[str], float]] = OrderedDict()
        self._claims: OrderedDict[str, set[str]] = OrderedDict()

    def of(self, fingerprint: str) -> set[str]:
        """UIDs of the requests whose result it is."""
        owners, _ = self._owners.get(fingerprint, (set(), 0.0))
        return owners

    def claim(self, uid: str, fingerprint: str) -> None:
        """This certificate is the result of that request."""
        owners, _ = self._owners.pop(fingerprint, (set(), 0.0))
        self._owners[fingerprint] = (owners | {uid}, self._clock())
        while len(self._owners) > self._most:
            _, (_, self.forgotten) = self._owners.popitem(last=False)
        self._claims.setdefault(uid, set()).add(fingerprint)
        while len(self._claims) > self._most:
            self._claims.popitem(last=False)

    def settle(self, uid: str, delivered: str | None) -> None:
        """The request has received that certificate, or none; the others are no longer its own."""
        for fingerprint in self._claims.pop(uid, set()) - {delivered}:
            self.of(fingerprint).discard(uid)
