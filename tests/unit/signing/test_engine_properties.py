"""What must hold over any sequence of faults, with many requests at a time, on a clock of its own for each example."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import looptime
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from issuer.signing.breaker import BreakerState
from issuer.signing.plan import Issued
from tests.unit.signing.signing_case import (
    START,
    Call,
    FakeAuthority,
    Heard,
    Provider,
    Step,
    clock,
    common,
    engine,
    now,
    order,
    plan_of,
    planned,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from issuer.authorities.base import SigningOrder
    from issuer.signing.engine import FailoverEngine
    from issuer.signing.observer import BreakerChange
    from issuer.signing.plan import IssuerPlan

OPEN_FOR = 20.0
ATTEMPT = 8.0
EPSILON = 0.01
RATE = 2
BURST = 3
FAULTS = [
    "ok",
    "slow_answer",
    "hang",
    "hang_signed",
    "reset",
    "reset_signed",
    "refused",
    "http500",
    "limited",
    "unauthorized",
    "rejected",
    "wrong",
    "crash",
]
FIND_FAULTS = ["ok", "hang", "http500", "limited", "unauthorized"]
DOWN = {"hang", "hang_signed", "reset", "reset_signed", "refused", "http500", "wrong", "crash"}


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=lambda: looptime.new_event_loop(start=0)) as runner, capture_logs():
        runner.run(work)
    asyncio.set_event_loop(None)


def steps(faults: list[str]) -> st.SearchStrategy[Step]:
    return st.builds(
        Step,
        fault=st.sampled_from(faults),
        after=st.sampled_from([0.01, 0.5, 3.0, 7.0]),
        retry_after=st.sampled_from([None, 0.5, 5.0, 60.0]),
        late=st.sampled_from([1.0, 7.9, 30.0, 100.0]),
    )


@dataclass
class Request:
    uid: str
    arrives: float
    lives: float
    key: int
    suspect: bool = False
    former: bool = False
    gone_after: float | None = None
    lost_write: bool = False
    deadline: float = 0.0
    delivered: str | None = None
    returns: list[float] = field(default_factory=list)


def requests(shared_keys: bool) -> st.SearchStrategy[list[Request]]:
    one = st.builds(
        Request,
        uid=st.just(""),
        arrives=st.sampled_from([0.0, 0.0, 0.3, 5.0, 30.0, 90.0]),
        lives=st.sampled_from([1.0, 9.0, 60.0, 300.0]),
        key=st.integers(0, 1 if shared_keys else 0),
        suspect=st.booleans(),
        former=st.booleans(),
        gone_after=st.sampled_from([None, None, None, 0.2, 4.0, 20.0]),
        lost_write=st.sampled_from([False, False, False, True]),
    )
    return st.lists(one, min_size=1, max_size=6)


class Guardian(Heard):
    """Watches what goes out at one provider against what the breaker says."""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, BreakerState] = {}
        self.since: dict[str, float] = {}
        self.under_way: list[Call] = []
        self.faults: list[str] = []

    def breaker(self, change: BreakerChange) -> None:
        self.states[change.account] = change.state
        self.since[change.account] = clock()

    def begins(self, call: Call) -> None:
        state = self.states.get(call.account, BreakerState.CLOSED)
        if state is BreakerState.OPEN:
            self.faults.append(f"{call.kind} went out at {call.begun} while the breaker was open")
        if state is BreakerState.HALF_OPEN and any(
            other.account == call.account and other.begun >= self.since[call.account] for other in self.under_way
        ):
            self.faults.append(f"a second call went out at {call.begun} beside the probe")
        self.under_way.append(call)

    def ends(self, call: Call) -> None:
        self.under_way.remove(call)


class World:
    """Two providers with faults, an engine, and as much of a controller as is needed."""

    def __init__(self, edge: list[Step], backup: list[Step], finds: list[Step], in_flight: int) -> None:
        self.heard = Guardian()
        self.providers = [Provider("edge").will(*edge).will_find(*finds), Provider("backup").will(*backup)]
        for provider in self.providers:
            provider.begins, provider.ends = self.heard.begins, self.heard.ends
        self.authorities = [FakeAuthority(one, one.name, account=f"{one.name}/1") for one in self.providers]
        self.received: set[str] = set()
        self.shares_keys = False
        self.engine: FailoverEngine = engine(self.heard, received=self.received.__contains__)
        spec = common(
            attempt=f"{ATTEMPT:g}s",
            turn="30s",
            failures=2,
            open_for=f"{OPEN_FOR:g}s",
            in_flight=in_flight,
            rate=RATE,
            burst=BURST,
        )
        self.plan: IssuerPlan = plan_of(*(planned(authority, spec) for authority in self.authorities))

    async def play(self, all_requests: list[Request], *, shared_keys: bool) -> None:
        self.shares_keys = shared_keys
        for number, request in enumerate(all_requests):
            request.uid = f"uid-{number}"
            if request.former:
                request.arrives = 0.0
                made = self.providers[0].make(self.order(request, shared_keys=shared_keys, uid=f"former-{number}"))
                if not request.suspect:
                    self.received.add(made.fingerprint)
        sweeper = asyncio.create_task(self.sweep_for_ever())
        await asyncio.gather(*(self.live(request, shared_keys=shared_keys) for request in all_requests))
        sweeper.cancel()
        await asyncio.gather(sweeper, return_exceptions=True)
        await self.recover()

    def order(self, request: Request, *, shared_keys: bool, uid: str = "") -> SigningOrder:
        key = f"key-{request.key}" if shared_keys else f"key of {request.uid}"
        return order(uid or request.uid, key=key.encode(), created=START if request.suspect else now())

    async def live(self, request: Request, *, shared_keys: bool) -> None:
        await asyncio.sleep(request.arrives)
        request.deadline = clock() + request.lives
        work = asyncio.create_task(self.issue(request, self.order(request, shared_keys=shared_keys)))
        if request.gone_after is not None:
            await asyncio.wait([work], timeout=request.gone_after)
            work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        self.engine.settle(request.uid, request.delivered)

    async def issue(self, request: Request, wanted: SigningOrder) -> None:
        if request.suspect:
            self.engine.suspect(request.uid)
        while clock() < request.deadline:
            outcome = await self.engine.sign(wanted, self.plan, deadline=request.deadline)
            request.returns.append(clock())
            if isinstance(outcome, Issued):
                request.delivered = None if request.lost_write else outcome.fingerprint
                return
            if outcome.terminal:
                return
            assert outcome.retry_in >= 0
            await asyncio.sleep(max(outcome.retry_in, 1.0))

    async def sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(15)
            await self.engine.clean_up()

    async def recover(self) -> None:
        """The providers are well again and somebody signs, until nothing is left to clear up."""
        for provider in self.providers:
            provider.steps.clear()
            provider.find_steps.clear()
        for round_ in range(40):
            await asyncio.sleep(310)
            for authority in self.authorities:
                uid = f"later-{authority.name}-{round_}"
                outcome = await self.engine.sign(
                    order(uid), self.plan, deadline=clock() + 100, only=frozenset({authority.name})
                )
                self.engine.settle(uid, outcome.fingerprint if isinstance(outcome, Issued) else None)
            await self.engine.clean_up()
            if not self.engine.orphans:
                return
        raise AssertionError(f"{self.engine.orphans} orphans are never cleared up")

    def check(self, all_requests: list[Request]) -> None:
        assert self.heard.faults == []
        delivered = {request.delivered for request in all_requests}
        looks_failed = any(call.kind == "find" and call.fault != "ok" for one in self.providers for call in one.calls)
        blind = {request.uid for request in all_requests if request.suspect} if looks_failed else set()
        if self.shares_keys and any(request.suspect for request in all_requests):
            blind |= {request.uid for request in all_requests}
        for request in all_requests:
            assert all(when <= request.deadline + EPSILON for when in request.returns)
            spent = 0.0
            for provider in self.providers:
                for call in provider.calls:
                    if call.kind == "sign" and call.uid == request.uid:
                        assert call.ended is not None
                        assert call.ended <= request.deadline + EPSILON
                        spent += call.ended - call.begun
            assert spent <= request.lives + EPSILON
        ours = [
            certificate
            for provider in self.providers
            for certificate in provider.certificates
            if certificate.uid.startswith("uid-")
        ]
        for certificate in ours:
            if certificate.fingerprint in delivered:
                assert not certificate.revoked, f"{certificate.handle} was delivered and is revoked"
            else:
                assert certificate.revoked or certificate.uid in blind, f"{certificate.handle} is nobody's and is live"
        for provider in self.providers:
            formers = [certificate for certificate in provider.certificates if certificate.uid.startswith("former-")]
            assert not any(certificate.revoked for certificate in formers), "what another process made is revoked"
            for index, since in enumerate(provider.wire):
                within = [when for when in provider.wire[index:] if when <= since + 10]
                assert len(within) <= BURST + RATE * 10 + 1, f"{len(within)} calls in 10 s"
        event("delivered" if delivered - {None} else "nothing delivered")


EXAMPLES = int(os.environ.get("CDN_ISSUER_EXAMPLES", "120"))
"""Sequences of faults that are tried. More find more: `CDN_ISSUER_EXAMPLES=2000 make test`."""

common_settings = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
fault_lists = st.lists(steps(FAULTS), max_size=14)
find_lists = st.lists(steps(FIND_FAULTS), max_size=6)


@common_settings
@given(
    edge=fault_lists,
    backup=fault_lists,
    finds=find_lists,
    wanted=requests(False),
    in_flight=st.sampled_from([1, 2, 10]),
)
def test_every_request_ends_in_time_and_leaves_at_most_its_own_certificate(
    edge: list[Step], backup: list[Step], finds: list[Step], wanted: list[Request], in_flight: int
) -> None:
    async def story() -> None:
        world = World(edge, backup, finds, in_flight)
        await world.play(wanted, shared_keys=False)
        world.check(wanted)

    run(story())


@common_settings
@given(
    edge=fault_lists, backup=fault_lists, finds=find_lists, wanted=requests(True), in_flight=st.sampled_from([1, 10])
)
def test_requests_that_share_a_key_never_lose_a_certificate_to_one_another(
    edge: list[Step], backup: list[Step], finds: list[Step], wanted: list[Request], in_flight: int
) -> None:
    async def story() -> None:
        world = World(edge, backup, finds, in_flight)
        await world.play(wanted, shared_keys=True)
        world.check(wanted)

    run(story())


class Model:
    """The breaker as the provider sees it, one call after the other, without knowing our breaker."""

    def __init__(self, failures: int) -> None:
        self.allowed = failures
        self.count = 0
        self.quiet_until = 0.0
        self.quiet_for = OPEN_FOR
        self.probing = False
        self.probe: Call | None = None
        self.wrong: set[str] = set()
        self.faults: list[str] = []

    def begins(self, call: Call) -> None:
        if call.kind == "find" and self.probe and (call.uid, call.begun) == (self.probe.uid, self.probe.ended):
            return  # the look for what a failed probe may have made is a part of the probe
        if call.begun < self.quiet_until - EPSILON:
            self.faults.append(f"{call.kind} at {call.begun}, quiet until {self.quiet_until}")

    def ends(self, call: Call) -> None:
        if call.kind != "sign":
            return
        assert call.ended is not None
        if call.fault == "cancelled" and call.ended - call.begun < ATTEMPT / 4:
            return
        self.probe = call if self.probing else None
        is_repeated = call.step == "wrong" and call.uid in self.wrong
        if call.step == "wrong":
            self.wrong.add(call.uid)
        if call.step in DOWN and not is_repeated:
            self.count += 1
            if self.probing:
                self.quiet_for *= 2
            if self.probing or self.count >= self.allowed:
                self.quiet_until = call.ended + min(self.quiet_for, 300.0)
                self.probing = True
        elif call.step == "rejected" and not self.probing:
            self.count = 0
        elif call.step in {"ok", "slow_answer"}:
            self.wrong.clear()
            self.count, self.probing, self.quiet_for = 0, False, OPEN_FOR


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    faults=st.lists(steps(FAULTS), max_size=30),
    failures=st.integers(1, 4),
    pauses=st.lists(st.integers(0, 60), min_size=1),
)
def test_seen_from_the_provider_it_is_left_alone_after_failures_but_for_single_probes(
    faults: list[Step], failures: int, pauses: list[int]
) -> None:
    async def story() -> None:
        model = Model(failures)
        provider = Provider("edge", begins=model.begins, ends=model.ends).will(*faults)
        machine = engine()
        spec = common(attempt="8s", turn="40s", failures=failures, open_for=f"{OPEN_FOR:g}s")
        plan = plan_of(planned(FakeAuthority(provider), spec))
        for number in range(3 * len(faults)):
            await machine.sign(order(f"u{number}"), plan, deadline=clock() + 1000)
            await asyncio.sleep(pauses[number % len(pauses)])
        assert model.faults == []

    run(story())
