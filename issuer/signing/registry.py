"""The registry: which authority of which issuer uses which account.

An authority learns its account only when its credential has been read, and may change it with each rotation of a
Secret. Here is kept who uses what, so that an account knows whose limits apply, and an issuer's status can be told
without asking anybody. Nothing has to be signed off: a new plan replaces the states of the old one, and what has not
been used for an hour is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography import x509

from issuer.signing.account import Account
from issuer.signing.observer import AccountUser

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from datetime import datetime

    from issuer.authorities.errors import AuthorityError
    from issuer.signing.failures import Untrusted
    from issuer.signing.observer import Observer
    from issuer.signing.plan import IssuerPlan, PlannedAuthority

FORGET_AFTER: Final = 3600.0
"""Seconds without use after which a state or an account is forgotten. Issuers are checked every few minutes."""
_TIDY_EVERY: Final = 60.0
_MOST_UNTRUSTED: Final = 1000

Roots = tuple[x509.Certificate, ...]


@dataclass(slots=True, eq=False)
class AuthorityState:
    """One authority of one issuer.

    Attributes:
        planned: the authority.
        account: the one it used last; None before its credential was read for the first time.
        error: why the credential or the roots could not be read the last time; None if they could.
        untrusted: why what it signed last meets none of the issuer's roots; None if it does.
        untrusted_for: requests for which that was so, with the roots of then.
        roots: those that were read last for `spec.trust: All`.
        kind: of the issuer; empty until a plan names it, like the next.
        issuer: `namespace/name` of it, or `name`.
        used: loop time.
    """

    planned: PlannedAuthority
    account: Account | None = None
    error: AuthorityError | None = None
    untrusted: Untrusted | None = None
    untrusted_for: dict[str, Roots] = field(default_factory=dict)
    roots: Roots = ()
    kind: str = ""
    issuer: str = ""
    used: float = field(default=0.0)

    @property
    def name(self) -> str:
        """Its name in the issuer."""
        return self.planned.name

    @property
    def user(self) -> AccountUser:
        """As the user of its account."""
        return AccountUser(self.name, self.kind, self.issuer)

    @property
    def full_name(self) -> tuple[str, str, str]:
        """Kind and key of the issuer, and its name in that."""
        return self.kind, self.issuer, self.name

    def distrust(self, uid: str, roots: Roots, error: Untrusted) -> None:
        """What it signed for this request meets none of these roots."""
        self.untrusted = error
        self.untrusted_for[uid] = roots
        if len(self.untrusted_for) > _MOST_UNTRUSTED:
            del self.untrusted_for[next(iter(self.untrusted_for))]

    def is_untrusted(self, uid: str, roots: Roots) -> bool:
        """Whether that was so with the roots as they are; another certificate would be as wrong."""
        return self.untrusted_for.get(uid, None) == roots and bool(roots)


class AccountRegistry:
    """All authorities and all accounts."""

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
        self._states: dict[int, AuthorityState] = {}
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

    def state(self, planned: PlannedAuthority) -> AuthorityState:
        """The state of an authority object. The state keeps the object alive, so its id stays its own."""
        state = self._states.get(id(planned.authority))
        if state is None:
            state = self._states[id(planned.authority)] = AuthorityState(planned)
        elif state.planned is not planned:
            state.planned = planned
            if state.account is not None:
                self._configure(state.account)
        state.used = self._clock()
        return state

    def states(self, plan: IssuerPlan) -> tuple[AuthorityState, ...]:
        """The states of a plan, in its order; states of a former plan of the same issuer are given up."""
        found = []
        for planned in plan.authorities:
            state = self.state(planned)
            state.kind, state.issuer = plan.kind, str(plan.key)
            self._name(state.full_name, id(planned.authority))
            found.append(state)
        self._tidy()
        return tuple(found)

    def current(self, state: AuthorityState) -> AuthorityState:
        """The authority that goes by that name in that issuer now; the given one if none does."""
        return self._states.get(self._named.get(state.full_name, 0), state)

    def without_credential(self) -> list[AuthorityState]:
        """Those that are to sign and cannot: one for each refused credential, and all whose Secrets cannot be read."""
        found: dict[object, AuthorityState] = {}
        for state in self._states.values():
            account = state.account
            if not state.planned.is_active:
                continue
            if state.error is not None:
                found[state] = state
            elif account is not None and account.is_refused:
                found.setdefault(account, state)
        return list(found.values())

    def users(self, account: str) -> set[tuple[str, str]]:
        """Kind and key of each issuer one of whose authorities uses the account of that name."""
        states = ((name, self._states.get(id_)) for name, id_ in self._named.items())
        return {name[:2] for name, state in states if state and state.account and state.account.name == account}

    def take(self, state: AuthorityState, account_name: str) -> Account:
        """The authority's credential belongs to this account."""
        account = self.account(account_name)
        account.user = state.user
        if state.account is not account:
            left, state.account = state.account, account
            self._configure(account)
            self._observer.account(account.name, account.user, account.breaker.state)
            if left is not None:
                self._configure(left)
                if left.is_refused:
                    # What waits for a good credential tries the new one now.
                    self._observer.recovered(account.name)
        return account

    def readable(self, state: AuthorityState) -> None:
        """Everything that the authority needs from the cluster could be read."""
        before, state.error = state.error, None
        if before is not None and state.account is not None:
            self._observer.recovered(state.account.name)

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
        state = self._states.pop(id_, None)
        if state is not None and state.account is not None:
            self._configure(state.account)

    def _configure(self, account: Account) -> None:
        specs = [state.planned.common for state in self._states.values() if state.account is account]
        if specs:
            account.configure(specs)

    def _tidy(self) -> None:
        now = self._clock()
        if now - self._tidied < _TIDY_EVERY:
            return
        self._tidied = now
        old = now - FORGET_AFTER
        for id_ in [id_ for id_, state in self._states.items() if state.used < old]:
            self._leave(id_)
        self._named = {name: id_ for name, id_ in self._named.items() if id_ in self._states}
        taken = {state.account.name for state in self._states.values() if state.account}
        for name, account in list(self._accounts.items()):
            if name not in taken and account.used < old and account.idle:
                del self._accounts[name]
                self._observer.forgotten(name)
