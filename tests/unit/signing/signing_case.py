"""A provider that keeps records and does as it is told, and builders for everything around it.

Certificates are short texts here; `verify` and `identify` are fakes that read them. Real cryptography is tested in
test_engine_real_certificate.py and in the tests of issuer.pki.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509

from issuer.api.duration import Duration
from issuer.api.issuer import AuthorityCommon, CircuitBreaker, Limits, Retry, Timeouts
from issuer.api.meta import ObjectKey
from issuer.authorities.base import CallTimeouts, Signed, SigningOrder
from issuer.authorities.errors import (
    AuthorityError,
    RateLimited,
    Rejected,
    Unauthorized,
    Unavailable,
    UnavailableHere,
    Unsupported,
)
from issuer.pki.csr import SigningRequest
from issuer.pki.verify import Verified, WrongCertificateError
from issuer.signing.engine import FailoverEngine
from issuer.signing.observer import AccountUser, BreakerChange, NullObserver
from issuer.signing.plan import IssuerPlan, PlannedAuthority

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    from issuer.signing.breaker import BreakerState
    from issuer.signing.calls import Verify

START = datetime(2026, 1, 1, tzinfo=UTC)
ALL_CAUSES = frozenset({"Unavailable", "RateLimited", "Unauthorized"})


def clock() -> float:
    return asyncio.get_running_loop().time()


def now() -> datetime:
    return START + timedelta(seconds=clock())


@dataclass
class Step:
    """What the provider does with one call.

    Attributes:
        fault: see `Provider.answer`.
        after: seconds until the answer.
        retry_after: of a rate limit.
        late: seconds after the call's begin at which a call that hangs signs all the same.
    """

    fault: str = "ok"
    after: float = 0.1
    retry_after: float | None = None
    late: float = 0.0


@dataclass
class Certificate:
    handle: str
    uid: str
    public_key: bytes
    made: datetime
    good: bool = True
    revoked: bool = False

    @property
    def fingerprint(self) -> str:
        return f"leaf-of-{self.handle}"

    @property
    def chain(self) -> bytes:
        return f"{'good' if self.good else 'wrong'}|{self.fingerprint}|{self.made.isoformat()}".encode()


@dataclass
class Call:
    kind: str
    uid: str
    begun: float
    account: str
    timeouts: CallTimeouts
    fault: str = ""
    step: str = ""
    ended: float | None = None


@dataclass
class Provider:
    """Steps are taken one for each `sign`; when they run out, `default` goes on for ever. The same for `find`."""

    name: str = "edge"
    steps: deque[Step] = field(default_factory=deque)
    default: Step = field(default_factory=Step)
    find_steps: deque[Step] = field(default_factory=deque)
    find_default: Step = field(default_factory=lambda: Step(after=0.05))
    check_step: Step = field(default_factory=lambda: Step(after=0.05))
    calls: list[Call] = field(default_factory=list)
    certificates: list[Certificate] = field(default_factory=list)
    wire: list[float] = field(default_factory=list)
    calls_of_a_look: int = 1
    stalls_after: int | None = None
    unsupported: Unsupported | None = None
    begins: Callable[[Call], None] = field(default=lambda _: None)
    ends: Callable[[Call], None] = field(default=lambda _: None)

    def will(self, *steps: Step | str) -> Provider:
        self.steps.extend(Step(step) if isinstance(step, str) else step for step in steps)
        return self

    def will_find(self, *steps: Step | str) -> Provider:
        self.find_steps.extend(Step(step) if isinstance(step, str) else step for step in steps)
        return self

    def made(self, uid: str) -> list[Certificate]:
        return [certificate for certificate in self.certificates if certificate.uid == uid]

    def live(self, uid: str) -> list[Certificate]:
        return [certificate for certificate in self.made(uid) if not certificate.revoked]

    def count(self, kind: str) -> int:
        return sum(call.kind == kind for call in self.calls)

    def make(self, order: SigningOrder, *, good: bool = True) -> Certificate:
        handle = f"{self.name}-{len(self.certificates) + 1}"
        certificate = Certificate(handle, order.uid, order.csr.public_key, now(), good)
        self.certificates.append(certificate)
        return certificate

    async def call(self, kind: str, account: str, uid: str, timeouts: CallTimeouts, work: Any) -> Any:
        call = Call(kind, uid, clock(), account, timeouts)
        self.wire.append(clock())
        self.calls.append(call)
        self.begins(call)
        call.fault = "cancelled"
        try:
            answer = await work(call)
            call.fault = "ok"
        except Exception as error:
            call.fault = type(error).__name__
            raise
        else:
            return answer
        finally:
            call.ended = clock()
            self.ends(call)

    async def answer(self, step: Step, order: SigningOrder) -> Signed:
        """ok, slow_answer, hang, hang_signed, reset, reset_signed, refused, http500, limited, unauthorized, rejected,
        unsupported, wrong, crash."""
        if step.fault.startswith("hang"):
            if step.fault == "hang_signed":
                asyncio.get_running_loop().call_later(step.late, lambda: self.make(order))
            await asyncio.Event().wait()
        if step.fault == "slow_answer":
            certificate = self.make(order)
            await asyncio.sleep(step.after)
            return signed(certificate)
        await asyncio.sleep(step.after)
        if step.fault == "reset_signed":
            self.make(order)
        raise_fault(self.name, step)
        certificate = self.make(order, good=step.fault != "wrong")
        return signed(certificate)


def raise_fault(name: str, step: Step) -> None:
    """Raise the error that a step stands for, if it is one."""
    faults: dict[str, Callable[[], Exception]] = {
        "reset": lambda: Unavailable(name, "connection reset", ambiguous=True),
        "reset_signed": lambda: Unavailable(name, "connection reset", ambiguous=True),
        "refused": lambda: Unavailable(name, "connection refused"),
        "http500": lambda: Unavailable(name, "server error", ambiguous=True, status=500),
        "its own": lambda: Unavailable(name, "no such names", again=False, counts=False),
        "limited": lambda: RateLimited(name, "too many calls", retry_after=step.retry_after, status=429),
        "unauthorized": lambda: Unauthorized(name, "authentication error", status=403, code="10000"),
        "rejected": lambda: Rejected(name, "hostname not in the zone", status=400, code="1010"),
        "unsupported": lambda: Unsupported(name, "not here"),
        "not here": lambda: UnavailableHere(name, "no such issuer in this namespace"),
        "crash": lambda: KeyError("a fault in our own module"),
    }
    make = faults.get(step.fault)
    if make:
        error = make()
        raise error


def signed(certificate: Certificate) -> Signed:
    return Signed(chain=certificate.chain, handle=certificate.handle, promised=timedelta(days=7))


@dataclass
class FakeSession:
    provider: Provider
    account: str
    remembers: bool = True
    roots: bytes = b""

    async def sign(self, order: SigningOrder, timeouts: CallTimeouts) -> Signed:
        provider = self.provider
        if provider.unsupported:
            raise provider.unsupported
        step = provider.steps.popleft() if provider.steps else provider.default

        async def work(call: Call) -> Signed:
            call.step = step.fault
            return await provider.answer(step, order)

        await timeouts.token()
        answer: Signed = await provider.call("sign", self.account, order.uid, timeouts, work)
        return answer if self.remembers else dataclasses.replace(answer, handle="")

    async def find(self, order: SigningOrder, timeouts: CallTimeouts, *, since: float) -> AsyncGenerator[Signed, None]:
        provider = self.provider
        step = provider.find_steps.popleft() if provider.find_steps else provider.find_default

        async def work(call: Call) -> tuple[Signed, ...]:
            if step.fault == "hang":
                await asyncio.Event().wait()
            await asyncio.sleep(step.after)
            raise_fault(provider.name, step)
            same = [
                certificate
                for certificate in provider.certificates
                if certificate.public_key == order.csr.public_key
                and not certificate.revoked
                and certificate.made >= order.created
            ]
            return tuple(signed(certificate) for certificate in reversed(same))

        await timeouts.token()
        for _ in range(provider.calls_of_a_look - 1):
            provider.wire.append(clock())
            await timeouts.token()
        answer: tuple[Signed, ...] = await provider.call("find", self.account, order.uid, timeouts, work)
        for number, one in enumerate(answer, 1):
            yield one
            if number == provider.stalls_after:
                await asyncio.Event().wait()

    async def revoke(self, handle: str, timeouts: CallTimeouts) -> None:
        async def work(call: Call) -> None:
            await asyncio.sleep(0.05)
            for certificate in self.provider.certificates:
                if certificate.handle == handle:
                    certificate.revoked = True

        await timeouts.token()
        await self.provider.call("revoke", self.account, handle, timeouts, work)

    async def check(self, timeouts: CallTimeouts) -> None:
        async def work(call: Call) -> None:
            await asyncio.sleep(self.provider.check_step.after)
            raise_fault(self.provider.name, self.provider.check_step)

        await timeouts.token()
        await self.provider.call("check", self.account, "", timeouts, work)


@dataclass
class FakeAuthority:
    provider: Provider
    name: str = "edge"
    remembers: bool = True
    is_remote: bool = True
    account: str = "edge/token-1"
    fresh_account: str | None = None
    unsupported: bool = False
    session_error: AuthorityError | None = None
    fresh_reads: int = 0

    def supports(self, order: SigningOrder) -> None:
        if self.unsupported:
            raise Unsupported(self.name, "IP addresses are not possible here")

    async def session(self, *, fresh: bool = False) -> FakeSession:
        if fresh:
            self.fresh_reads += 1
            if self.fresh_account:
                self.account = self.fresh_account
        if self.session_error:
            raise self.session_error
        return FakeSession(self.provider, self.account, self.remembers)

    async def aclose(self) -> None:
        return


@dataclass
class Heard(NullObserver):
    """An observer that keeps what it hears."""

    attempts: list[tuple[str, str, str, str]] = field(default_factory=list)
    breakers: list[tuple[str, BreakerState]] = field(default_factory=list)
    failovers: list[tuple[str, str, str, str]] = field(default_factory=list)
    recoveries: list[str] = field(default_factory=list)
    proofs: list[str] = field(default_factory=list)
    failing_accounts: list[str] = field(default_factory=list)
    changes: list[BreakerChange] = field(default_factory=list)
    accounts: dict[str, str] = field(default_factory=dict)
    retries: list[tuple[str, str, str]] = field(default_factory=list)
    waits: list[tuple[str, str, str, float]] = field(default_factory=list)
    adoptions: list[tuple[str, str]] = field(default_factory=list)
    orphans: list[tuple[str, str, str]] = field(default_factory=list)

    def retry(self, issuer: str, authority: str, cause: str) -> None:
        self.retries.append((issuer, authority, cause))

    def waited(self, issuer: str, authority: str, limit: str, seconds: float) -> None:
        self.waits.append((issuer, authority, limit, seconds))

    def adopted(self, issuer: str, authority: str) -> None:
        self.adoptions.append((issuer, authority))

    def orphan(self, issuer: str, authority: str, outcome: str) -> None:
        self.orphans.append((issuer, authority, outcome))

    def attempt(self, issuer: str, authority: str, call: str, result: str, seconds: float) -> None:
        self.attempts.append((issuer, authority, call, result))

    def breaker(self, change: BreakerChange) -> None:
        self.changes.append(change)
        self.breakers.append((change.account, change.state))

    def failover(self, issuer: str, from_: str, to: str, cause: str) -> None:
        self.failovers.append((issuer, from_, to, cause))

    def account(self, account: str, user: AccountUser, state: BreakerState) -> None:
        self.accounts[account] = f"{user.authority} {state}"

    def forgotten(self, account: str) -> None:
        del self.accounts[account]

    def refused(self, account: str) -> None:
        pass

    def proven(self, account: str) -> None:
        self.proofs.append(account)

    def failing(self, account: str) -> None:
        self.failing_accounts.append(account)

    def recovered(self, account: str) -> None:
        self.recoveries.append(account)


async def no_roots() -> tuple[x509.Certificate, ...]:
    return ()


def common(
    name: str = "edge",
    *,
    attempt: str = "10s",
    turn: str = "60s",
    attempts: int = 3,
    backoff: tuple[str, str] = ("500ms", "20s"),
    failures: int = 3,
    open_for: str = "30s",
    max_open_for: str = "5m",
    rate: float = 1000.0,
    burst: int = 1000,
    in_flight: int = 1000,
) -> AuthorityCommon:
    return AuthorityCommon(
        name=name,
        timeouts=Timeouts(
            connect=Duration("5s"), read=Duration(attempt), attempt=Duration(attempt), turn=Duration(turn)
        ),
        retry=Retry(attempts=attempts, min_backoff=Duration(backoff[0]), max_backoff=Duration(backoff[1])),
        circuit_breaker=CircuitBreaker(
            consecutive_failures=failures, open_for=Duration(open_for), max_open_for=Duration(max_open_for)
        ),
        limits=Limits(requests_per_second=rate, burst=burst, in_flight=in_flight),
    )


def planned(authority: FakeAuthority, spec: AuthorityCommon | None = None) -> PlannedAuthority:
    return PlannedAuthority(authority, spec or common(authority.name), no_roots)


def plan_of(
    *authorities: PlannedAuthority | FakeAuthority,
    failover_on: Iterable[str] = ALL_CAUSES,
    name: str = "cdn",
    deadline: float = 3600.0,
) -> IssuerPlan:
    entries = tuple(one if isinstance(one, PlannedAuthority) else planned(one) for one in authorities)
    return IssuerPlan(ObjectKey("shop", name), "CDNIssuer", entries, frozenset(failover_on), deadline)


def order(uid: str = "uid-1", *, key: bytes | None = None, created: datetime = START) -> SigningOrder:
    csr = SigningRequest(
        pem=b"",
        key_type="ecdsa",
        key_size=256,
        public_key=key or f"key of {uid}".encode(),
        common_name=None,
        dns_names=("shop.example.com",),
        ip_addresses=(),
        email_addresses=(),
        uris=(),
        subject=x509.Name([]),
    )
    return SigningOrder(
        uid=uid, namespace="shop", name=f"request-{uid}", created=created, csr=csr, duration=timedelta(days=7)
    )


def fake_verify(
    answer_chain: bytes,
    answer_ca: bytes,
    csr: SigningRequest,
    *,
    roots: Sequence[x509.Certificate],
    at_least: timedelta,
    now: datetime,
) -> Verified:
    kind, fingerprint, _ = answer_chain.decode().split("|")
    if kind != "good":
        raise WrongCertificateError("it has another key")
    return Verified(
        certificate=answer_chain,
        ca=answer_ca,
        not_before=now,
        not_after=now + timedelta(days=7),
        serial=1,
        fingerprint=fingerprint,
    )


def fake_identify(chain: bytes) -> tuple[str, datetime] | None:
    _, fingerprint, made = chain.decode().split("|")
    return fingerprint, datetime.fromisoformat(made)


def engine(
    observer: NullObserver | None = None,
    *,
    guard: Callable[[], None] = lambda: None,
    seed: int = 1,
    verify: Verify | None = None,
    received: Callable[[str], bool] = lambda _: False,
) -> FailoverEngine:
    return FailoverEngine(
        now=now,
        random=random.Random(seed),
        guard=guard,
        observer=observer or NullObserver(),
        received=received,
        verify=verify or fake_verify,
        identify=fake_identify,
    )
