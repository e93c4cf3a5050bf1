"""Which authority of which issuer uses which account.

An authority learns its account only when its credential has been read, and may change it with each rotation of a
Secret. Here is kept who sits where, so that an account knows whose limits apply, and an issuer's status can be told
without asking anybody. Nothing has to be signed off: a new plan replaces the seats of the old one, and what has not
been used for an hour is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from issuer.signing.account import Account

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from datetime import datetime

    from issuer.authorities.errors import AuthorityError
    from issuer.signing.observer import Observer
    from issuer.signing.plan import IssuerPlan, PlannedAuthority

FORGET_AFTER: Final = 3600.0
"""Seconds without use after which a seat or an account is forgotten. Issuers are checked every few minutes."""
_TIDY_EVERY: Final = 60.0


@dataclass(slots=True)
class Seat:
    """One authority of one issuer.

    Attributes:
        planned: the authority.
        account: the one it used last; None before its credential was read for the first time.
        error: why the credential could not be read the last time; None if it could.
        issuer: for metrics; empty until a plan names it.
        used: loop time.
    """

    planned: PlannedAuthority
    account: Account | None = None
    error: AuthorityError | None = None
    issuer: str = ""
    used: float = field(default=0.0)


class Seats:
    """All seats and all accounts."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        random: random.Random,
        observer: Observer,
    ) -> None:
        self._clock = clock
        self._now = now
        self._random = random
        self._observer = observer
        self._seats: dict[int, Seat] = {}
        self._named: dict[tuple[str, str, str], int] = {}
        self._accounts: dict[str, Account] = {}
        self._tidied = 0.0

    def account(self, name: str) -> Account:
        """The account of that name; a new one if it is not known."""
        account = self._accounts.get(name)
        if account is None:
            account = Account(name, clock=self._clock, now=self._now, random=self._random, observer=self._observer)
            self._accounts[name] = account
        account.used = self._clock()
        return account

    def seat(self, planned: PlannedAuthority) -> Seat:
        """The seat of an authority object. The seat keeps the object alive, so its id stays its own."""
        seat = self._seats.get(id(planned.authority))
        if seat is None:
            seat = self._seats[id(planned.authority)] = Seat(planned)
        elif seat.planned is not planned:
            seat.planned = planned
            if seat.account is not None:
                self._configure(seat.account)
        seat.used = self._clock()
        return seat

    def seats(self, plan: IssuerPlan) -> tuple[Seat, ...]:
        """The seats of a plan, in its order; seats of a former plan of the same issuer are given up."""
        found = []
        for planned in plan.authorities:
            seat = self.seat(planned)
            seat.issuer = str(plan.key)
            self._name((plan.kind, seat.issuer, planned.name), id(planned.authority))
            found.append(seat)
        self._tidy()
        return tuple(found)

    def current(self, plan: tuple[str, str], planned: PlannedAuthority) -> PlannedAuthority:
        """The authority that goes by that name in that issuer (kind and key) now; the given one if none does."""
        seat = self._seats.get(self._named.get((*plan, planned.name), 0))
        return seat.planned if seat else planned

    def users(self, account: str) -> set[tuple[str, str]]:
        """Kind and key of each issuer one of whose authorities uses the account of that name."""
        seats = ((name, self._seats.get(id_)) for name, id_ in self._named.items())
        return {name[:2] for name, seat in seats if seat and seat.account and seat.account.name == account}

    def take(self, seat: Seat, account_name: str) -> Account:
        """The authority's credential belongs to this account."""
        account = self.account(account_name)
        account.authority = seat.planned.name
        if seat.account is not account:
            left, seat.account = seat.account, account
            self._configure(account)
            self._observer.account(account.name, account.authority, account.breaker.state)
            if left is not None:
                self._configure(left)
                account.awaited = account.awaited or left.refusal is not None
        return account

    def readable(self, seat: Seat, account: Account) -> None:
        """Everything that the authority needs from the cluster could be read."""
        before, seat.error = seat.error, None
        if before is not None:
            self._observer.recovered(account.name)

    def forget(self, plan: IssuerPlan) -> None:
        """The issuer is gone."""
        for planned in plan.authorities:
            self._named.pop((plan.kind, str(plan.key), planned.name), None)
            self._leave(id(planned.authority))

    def _name(self, name: tuple[str, str, str], id_: int) -> None:
        before = self._named.get(name)
        if before == id_:
            return
        self._named[name] = id_
        if before is not None:
            self._leave(before)

    def _leave(self, id_: int) -> None:
        seat = self._seats.pop(id_, None)
        if seat is not None and seat.account is not None:
            self._configure(seat.account)

    def _configure(self, account: Account) -> None:
        specs = [seat.planned.common for seat in self._seats.values() if seat.account is account]
        if specs:
            account.configure(specs)

    def _tidy(self) -> None:
        now = self._clock()
        if now - self._tidied < _TIDY_EVERY:
            return
        self._tidied = now
        old = now - FORGET_AFTER
        for id_ in [id_ for id_, seat in self._seats.items() if seat.used < old]:
            self._leave(id_)
        self._named = {name: id_ for name, id_ in self._named.items() if id_ in self._seats}
        taken = {seat.account.name for seat in self._seats.values() if seat.account}
        for name, account in list(self._accounts.items()):
            if name not in taken and account.used < old and account.idle:
                del self._accounts[name]
                self._observer.forgotten(name)
