"""Requests that no approver has spoken about: after half a minute the request says which right is missing.

cert-manager's approver approves every request, but its webhook refuses an approval whose author may not `approve` the
signer (cert-manager: `internal/webhook/admission/certificaterequest/approval`). The refusal is in cert-manager's log,
and nowhere else: the request has no condition and no event, and waits for ever. Nothing is written to its status before
an approver has spoken, so an event is the only word that there can be.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from issuer.controllers.memory import issuer_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from issuer.controllers.issuercache import IssuerId
    from issuer.controllers.port import Request

PATIENCE: Final = 30.0
"""Seconds after its creation in which an approver may speak about a request before it is told."""


class ApprovalWatch:
    """Tells once of each request that waits for an approver, and in the log once of each issuer.

    Args:
        tell: called with a request and a message for people; the last argument says whether it is its issuer's first.
    """

    def __init__(self, tell: Callable[[Request, str, bool], None]) -> None:
        self._tell = tell
        self._told: dict[str, IssuerId] = {}
        """UID of each request that was told of, and its issuer."""
        self._waiting: Counter[IssuerId] = Counter()

    def look(self, request: Request, now: datetime) -> float | None:
        """Look at a request that is neither approved nor denied; seconds until it wants to be looked at again, or None.

        Args:
            request: unapproved.
            now: the time.
        """
        uid = request.metadata.uid
        if uid in self._told:
            return None
        waited = (now - (request.metadata.created or now)) / timedelta(seconds=1)
        if waited < PATIENCE:
            return PATIENCE - max(waited, 0.0)
        issuer = issuer_of(request)
        self._told[uid] = issuer
        self._waiting[issuer] += 1
        self._tell(request, _message(request), self._waiting[issuer] == 1)
        return None

    def forget(self, uid: str) -> None:
        """A request has been approved or denied, has ended, or is gone."""
        if (issuer := self._told.pop(uid, None)) is not None:
            self._waiting[issuer] -= 1
            if not self._waiting[issuer]:
                del self._waiting[issuer]


def _message(request: Request) -> str:
    return f"neither approved nor denied for {PATIENCE:.0f} s, so it is not signed: {request.approval_remedy}"
