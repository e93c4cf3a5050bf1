"""An entry of the ledger: what is known of one request at one account, and what follows from its times.

The ledger says what each of them means, and who changes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from issuer.authorities.base import SigningOrder
    from issuer.signing.registry import AuthorityState


@dataclass(slots=True, eq=False)
class Entry:
    """What one request may have left, or has left, at one account.

    Attributes:
        order: what was asked for.
        authority: who was asked.
        account: at which account.
        noted: loop time of the last news.
        first_sent: when the first call whose answer was lost was sent, UTC; None: none was lost.
        sent: loop time at which the last such call was sent.
        lost: loop time at which its answer was given up.
        over: loop time from which on the provider has certainly finished it.
        looked: loop time at which the last look that answered began.
        made: handles of certificates that exist for certain, with the fingerprint of the leaf ("" if unreadable).
        before: handles of certificates that existed before the first call was sent.
        is_blind: nobody knows those, and a former process may have made some.
        failures: consecutive ones of cleaning up.
        due: loop time before which it is not tried again.
    """

    order: SigningOrder
    authority: AuthorityState
    account: str
    noted: float
    first_sent: datetime | None = None
    sent: float = float("-inf")
    lost: float = float("-inf")
    over: float = float("-inf")
    looked: float = float("-inf")
    made: dict[str, str] = field(default_factory=dict)
    before: set[str] = field(default_factory=set)
    is_blind: bool = False
    failures: int = 0
    due: float = float("-inf")

    @property
    def was_looked_for(self) -> bool:
        """A look has answered since the last answer was lost."""
        return self.looked >= self.lost

    @property
    def is_open(self) -> bool:
        """An answer was lost, and the provider may have signed after the last look."""
        return self.first_sent is not None and self.looked < self.over

    def is_at(self, authority: AuthorityState, account: str) -> bool:
        """The same account; or the same authority, whose credential was replaced."""
        return self.account == account or self.authority.full_name == authority.full_name

    @property
    def fields(self) -> dict[str, str]:
        """Which request, and at which authority of which issuer, for the log."""
        return {"namespace": self.order.namespace, "name": self.order.name, **self.authority.user.fields}
