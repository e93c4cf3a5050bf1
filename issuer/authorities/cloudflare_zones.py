"""Which zone a domain is, as far as it is known: also that there is none, or that the token may not ask."""

from __future__ import annotations

import asyncio
from typing import Final

MOST: Final = 4096
"""Domains that are remembered."""
KEEP_NONE: Final = 300.0
"""Seconds for which it is remembered that a domain is no zone: somebody may just have added it."""


class Zones:
    """Zone ids by account and domain: two tokens may belong to different accounts, which see different zones."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[str, float]] = {}

    def get(self, account: str, domain: str) -> str | None:
        """The zone's id; empty if there is none that the account can see; None if that is not known."""
        zone, until = self._known.get((account, domain), ("", 0.0))
        return zone if zone or asyncio.get_running_loop().time() < until else None

    def put(self, account: str, domain: str, zone: str) -> None:
        """Remember it."""
        self._known.pop((account, domain), None)
        self._known[account, domain] = (zone, asyncio.get_running_loop().time() + KEEP_NONE)
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]
