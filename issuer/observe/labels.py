"""How many issuers and authorities the metrics tell apart, whatever users name.

Each name is a set of series for as long as this process lives, so there is an end to it: what comes after that is
counted as `(others)`, which no object of Kubernetes can be called. That it has come to this is counted, and logged
once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from issuer.observe.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ISSUERS: Final = 5000
"""Issuers that are told apart, of those that have called an authority, which only an issuer that exists can."""
MAX_NAMED: Final = 500
"""Issuers that are told apart, of those that were only named: a request may name one that does not exist, so users
could make any number. They take no place from those that exist."""
MAX_AUTHORITIES: Final = 1000
"""Names of authorities that are told apart; most issuers share a few."""
THE_REST: Final = "(others)"
"""The name of all beyond that."""

Issuer = tuple[str, str, str]
"""Kind, namespace and name."""

log = get_logger(__name__)


class BoundedLabels:
    """The values of the labels of issuers and authorities.

    Args:
        cut: called with the name of the label for each sample that was counted under `(others)`.
    """

    def __init__(self, cut: Callable[[str], None]) -> None:
        self._cut = cut
        self._issuers: set[Issuer] = set()
        self._named: set[Issuer] = set()
        self._authorities: set[str] = set()
        self._told: set[str] = set()

    def issuer(self, kind: str, namespace: str, name: str, *, exists: bool) -> Issuer:
        """The labels of an issuer, or those of the rest. One that was only named before may turn out to exist."""
        labels = (kind, namespace, name)
        if labels in self._issuers:
            return labels
        if exists and len(self._issuers) < MAX_ISSUERS:
            self._named.discard(labels)
            self._issuers.add(labels)
            return labels
        if labels in self._named or (not exists and len(self._named) < MAX_NAMED):
            self._named.add(labels)
            return labels
        self._tell("issuer")
        return ("", "", THE_REST)

    def authority(self, name: str) -> str:
        """The label of an authority, or that of the rest."""
        if name in self._authorities:
            return name
        if len(self._authorities) < MAX_AUTHORITIES:
            self._authorities.add(name)
            return name
        self._tell("authority")
        return THE_REST

    def forget(self, issuer: Issuer) -> None:
        """It is gone; another one may have its place."""
        self._issuers.discard(issuer)
        self._named.discard(issuer)

    def _tell(self, label: str) -> None:
        self._cut(label)
        if label not in self._told:
            self._told.add(label)
            log.warning("metrics are cut: more names than are told apart", label=label, counted_as=THE_REST)
