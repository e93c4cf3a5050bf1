"""The real request controller in a world that misbehaves (`request_case`), and what must hold in it at every moment."""

from __future__ import annotations

import asyncio
import random
from base64 import b64encode
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import looptime
from structlog.testing import capture_logs

from issuer.api.meta import format_micro_time
from issuer.api.request import AUTHORITIES_ANNOTATION
from issuer.authorities.base import AuthorityContext
from issuer.controllers.agenda import LATEST, Result
from issuer.controllers.caches import RequestCaches
from issuer.controllers.certificaterequests import CertificateRequests
from issuer.controllers.decision import DEFAULT_DEADLINE, LATE_ISSUER
from issuer.controllers.issuercache import IssuerCache
from issuer.controllers.memory import ENDED, RequestId, RequestState, identify
from issuer.controllers.pace import Pace
from issuer.controllers.requests import RESYNC_EVERY, RequestController
from issuer.controllers.topics import AccountRecovered, IssuerChanged, Topics
from issuer.kube.queue import WorkQueue
from tests.unit.controllers.request_case import (
    Cache,
    Clock,
    Engine,
    Go,
    Issuers,
    RequestReporter,
    Server,
    Writer,
    certificate,
    is_decided_on,
    issuer_id,
    loop_time,
    request_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from issuer.api.request import CertificateRequest


NAMES, ISSUERS = ["a", "b", "c"], ["web", "api"]
PER_LANE = 2
GO, HANG = 29.0, 20.0
EPSILON = 0.05
DOWN, PACE = Go(), Pace()
HOT = 50
"""Looks at the same request at one moment that are a loop without end."""


class Watched(RequestController):
    """The real one, that looks at nothing again and again without letting time pass."""

    looks: Counter[tuple[RequestId, float]]

    async def reconcile(self, id_: RequestId) -> Result:
        look = (id_, loop_time())
        self.looks[look] += 1
        if self.looks[look] >= HOT:
            await asyncio.sleep(1)
        return await super().reconcile(id_)


@dataclass
class World:
    """One controller and all that happens to it."""

    losses: Sequence[bool] = ()
    goes: Sequence[Go] = ()
    then: Go = DOWN
    pace: Pace = PACE
    clock: Clock = field(default_factory=Clock)
    is_running: bool = False
    disturbed: float = 0.0
    """Loop time since which alarms may stand elsewhere than they should, until their request is looked at again."""

    def __post_init__(self) -> None:
        self.cache = Cache()
        self.server = Server(self.cache, self.losses)
        self.server.intercept = self.interrupt
        self.engine = Engine(self.clock, self.server, deque(self.goes), self.then)
        self.issuers = Issuers()
        self.queue: WorkQueue[RequestId] = WorkQueue(random=random.Random(1))
        self.topics = Topics()
        self.reporter = RequestReporter()
        context = AuthorityContext(namespace="", secrets=cast("Any", None), transport=cast("Any", None), now=self.clock)
        self.book = IssuerCache({"CDNIssuer": self.issuers.objects.get}, context, "cert-manager")
        self.controller = Watched(
            requests=RequestCaches(self.cache),
            book=self.book,
            engine=cast("Any", self.engine),
            queue=self.queue,
            topics=self.topics,
            writer=Writer(cast("Any", self.server), [CertificateRequests()], self.clock),
            reporter=cast("Any", self.reporter),
            now=self.clock,
            random=random.Random(1),
            pace=self.pace,
            per_issuer=PER_LANE,
        )
        self.controller.looks = Counter()

    async def start(self) -> None:
        await self.controller.start()
        self.cache.passed_over()
        self.is_running = True

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.controller.run())
            group.create_task(self.resync())

    async def resync(self) -> None:
        while True:
            await asyncio.sleep(RESYNC_EVERY)
            await self.controller.triggers.resync()
            self.cache.passed_over()

    async def do(self, kind: str, *args: Any) -> None:
        """One thing that somebody else does."""
        match kind, args:
            case "time", (seconds,):
                await self.pass_time(seconds)
            case "create", (name, issuer):
                self.server.delete(request_key(name))
                self.server.create(name, issuer)
            case "delete", (name,):
                self.server.delete(request_key(name))
            case "say", (name, type_, ago):
                self.say(name, type_, ago)
            case "label", (name,):
                self.touch(name)
            case "finish", (name, number):
                self.finish(name, number)
            case "issuer", (name, deadline):
                self.change_issuer(name, deadline)
            case "recovered", (name,):
                self.topics.publish(AccountRecovered(name))
            case _:
                self.disturb(kind, *args)

    def disturb(self, kind: str, *args: Any) -> None:
        """Something goes wrong, or is well again."""
        match kind, args:
            case "clock", (seconds,):
                self.clock.offset += timedelta(seconds=seconds)
                self.disturbed = loop_time()
            case "ticking", (is_ticking,):
                self.clock.ticking = is_ticking
            case "lag", (seconds,):
                self.server.lag = seconds
            case "writes", answers:
                self.server.writes.extend(answers)
            case "reads", answers:
                self.server.reads.extend(answers)
            case _:
                raise AssertionError(kind)

    async def pass_time(self, seconds: float) -> None:
        """Pass time, and look at the invariants every so often."""
        end = loop_time() + seconds
        while (left := end - loop_time()) > 1e-4:
            await asyncio.sleep(min(left, 17.0))
            await self.check()

    def say(self, name: str, type_: str, ago: float = 0.0) -> None:
        """An approver, or a policy, says something about a request, or takes it back."""
        if (raw := self.server.objects.get(request_key(name))) is not None:
            when = format_micro_time(self.clock() - timedelta(seconds=ago))
            condition = {"type": type_, "status": "True", "lastTransitionTime": when}
            others = [one for one in raw["status"]["conditions"] if one["type"] != type_]
            if len(others) == len(raw["status"]["conditions"]):
                raw["status"]["conditions"] = [*others, condition]
                self.server.save(raw)

    def touch(self, name: str) -> None:
        """Somebody changes an annotation: now one that is nothing to us, now the one that we decide on."""
        if (raw := self.server.objects.get(request_key(name))) is not None:
            version = self.server.version
            annotation = {"touched": str(version)} if version % 2 else {AUTHORITIES_ANNOTATION: "edge"}
            raw["metadata"]["annotations"] = annotation
            self.server.save(raw)

    def finish(self, name: str, number: int) -> None:
        """Somebody else ends a request: Failed, or issued with a certificate of theirs."""
        request, raw = self.server.find(request_key(name)), self.server.objects.get(request_key(name))
        if request is None or raw is None or request.is_finished:
            return
        uid = request.metadata.uid
        ready: dict[str, Any] = {"type": "Ready", "status": "False", "reason": "Failed"}
        if number:
            ready = {"type": "Ready", "status": "True", "reason": "Issued"}
            pem, self.server.delivered[uid] = certificate(-number)
            raw["status"]["certificate"] = b64encode(pem).decode()
            self.server.by_others.add(uid)
        others = [one for one in raw["status"]["conditions"] if one["type"] != "Ready"]
        raw["status"]["conditions"] = [*others, ready]
        self.server.save(raw)

    def interrupt(self, key: Any) -> None:
        """Somebody writes at the moment of our own write."""
        self.say(key.name, "Denied") if self.server.version % 3 == 0 else self.touch(key.name)

    def change_issuer(self, name: str, deadline: float | None) -> None:
        """Its deadline changes; 0: it is deleted; None: it becomes nonsense."""
        if deadline == 0:
            self.issuers.objects.pop(issuer_id(name).key, None)
            self.book.drop(issuer_id(name))
        else:
            self.issuers.put(name, deadline)
            self.book.find(issuer_id(name))
        if self.server.losses and self.server.losses.popleft():
            self.disturbed = loop_time()
        else:
            self.topics.publish(IssuerChanged(issuer_id(name)))

    async def check(self) -> None:
        """The invariants that hold at every moment."""
        for _ in range(20):
            await asyncio.sleep(0)
        assert self.server.faults + self.engine.faults + self.reporter.faults == []
        assert max(self.controller.looks.values(), default=0) < HOT, self.controller.looks.most_common(1)
        if not self.is_running:
            return
        for request in self.cache.items():
            if request.metadata.uid in self.cache.told and not request.is_finished and is_decided_on(request):
                self.check_looks(request)

    def check_looks(self, request: CertificateRequest) -> None:
        id_, now = identify(request), loop_time()
        assert id_ in self.queue, f"nobody will look at {id_.uid}"
        waiting, state = self.queue._waiting.get(id_), self.controller.memory.get(id_.uid)
        assert id_ in self.queue._running or (waiting and waiting.due <= now + LATEST + EPSILON), f"{id_.uid} waits"
        if state is None or state.verdict is not None or not is_signed_for(request):
            assert state is not None or self.controller.memory.ended_until(id_.uid), f"{id_.uid} is not known"
            return
        deadline = self.clock.loop_time_of(self.clock()) + self.left(state)
        if deadline > now + EPSILON and now - self.disturbed > LATEST + GO + HANG:
            at, _ = self.controller._agenda._alarms.get(id_, (None, None))
            assert at is not None, f"{id_.uid} has no alarm"
            assert abs(at - deadline) < EPSILON, f"the alarm of {id_.uid} is at {at}, and its deadline at {deadline}"

    def left(self, state: RequestState) -> float:
        """Seconds until a request has to end, after all that is known."""
        name, approved = state.request.issuer_ref.name, state.request.approved_at
        assert approved is not None
        deadline = approved + timedelta(seconds=self.issuers.deadlines.get(name, DEFAULT_DEADLINE))
        entry = self.book.find(issuer_id(name))
        if (entry is None or entry.plan is None) and state.seen >= deadline:
            deadline = state.seen + LATE_ISSUER
        return (deadline - self.clock()) / timedelta(seconds=1)

    async def finish_all(self, late: float) -> None:
        """The API server and the clock are well from now on: everything ends in time, and nothing is left."""
        self.server.writes.clear()
        self.server.reads.clear()
        self.server.losses.clear()
        self.server.lag, self.clock.ticking = 0.0, False
        # Our own limits let everybody through by now: who never had a turn waits for one, also after its deadline.
        self.engine.goes = deque(go for go in self.engine.goes if go.kind != "no turn")
        began = loop_time()
        while requests := self.unfinished():
            for request in requests:
                end = max(began, loop_time() + self.left_of(request)) + late
                assert loop_time() < end, f"{request.metadata.uid} should have ended by {end}"
            await self.pass_time(late / 4)
        for name in NAMES:
            self.server.delete(request_key(name))
        await self.pass_time(late + 2 * ENDED)
        self.check_nothing_is_left()
        self.check_fates()

    def has_ended(self, name: str) -> bool:
        found = self.server.find(request_key(name))
        return found is not None and found.is_finished

    def unfinished(self) -> list[CertificateRequest]:
        found = [self.server.find(request_key(name)) for name in NAMES]
        return [one for one in found if one is not None and not one.is_finished and is_decided_on(one)]

    def left_of(self, request: CertificateRequest) -> float:
        """Seconds until it has to end; none, if it is denied, or the controller has to hear of it first."""
        state = self.controller.memory.get(request.metadata.uid)
        return 0.0 if state is None or not is_signed_for(request) else self.left(state)

    def check_nothing_is_left(self) -> None:
        memory, agenda, triggers = self.controller.memory, self.controller._agenda, self.controller.triggers
        assert (memory._open, memory._unapproved, memory._ended) == ({}, {}, {})
        assert (agenda._alarms, agenda._rung, triggers._woken) == ({}, set(), {})
        assert (self.queue._waiting, self.queue._running, self.queue._lanes) == ({}, {}, {})
        assert self.queue._backoffs == {}
        assert self.controller._approvals._told == {}

    def check_fates(self) -> None:
        assert self.engine.signed == {}
        assert self.engine.asked <= set(self.engine.fates), "the end of a request was never told"
        for uid, fingerprint in self.engine.fates.items():
            got = self.server.delivered.get(uid)
            if got is not None and uid not in self.server.by_others:
                assert fingerprint == got, f"{uid} has got {got}, and {fingerprint} was told"
            elif fingerprint != got:
                assert fingerprint in {None, *self.server.perhaps.get(uid, ())}


def is_signed_for(request: CertificateRequest) -> bool:
    return request.is_approved and not (request.is_denied or request.is_invalid)


async def until(condition: Callable[[], bool]) -> None:
    """Wait on a real clock for what has to come long before the next minute."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what it waits for tells nobody
            await asyncio.sleep(0.01)


def play(scenario: Callable[[], Coroutine[Any, Any, None]], factory: Callable[[], Any] | None = None) -> None:
    with (
        asyncio.Runner(loop_factory=factory or (lambda: looptime.new_event_loop(start=0))) as runner,
        capture_logs(),
    ):
        runner.run(scenario())
    asyncio.set_event_loop(None)


async def live(world: World, before: Sequence[tuple[Any, ...]], then: Sequence[tuple[Any, ...]], late: float) -> None:
    for step in before:
        await world.do(*step)
    await world.start()
    running = asyncio.create_task(world.run())
    try:
        for step in then:
            await world.do(*step)
            await world.check()
        await world.finish_all(late)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
