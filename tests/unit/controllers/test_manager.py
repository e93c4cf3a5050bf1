"""The manager with controllers that the test makes: who starts when, what goes on, and how it ends."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
from structlog.testing import capture_logs

from issuer.controllers.manager import Chore, Controller, Manager, StoppingError
from issuer.kube.rbac import Rule
from issuer.kube.resource import Resource
from issuer.observe import families
from issuer.observe.metrics import Measure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from issuer.kube.events import EventRecorder
    from issuer.kube.informer import Informer
    from issuer.kube.lease import LeaderElector

pytestmark = pytest.mark.looptime

READ = Rule(("example.org",), ("things",), ("get",))


class Cache:
    """An informer that is filled when the test says so."""

    def __init__(self, story: list[str], plural: str) -> None:
        self.resource = Resource("example.org", "v1", plural)
        self.synced = asyncio.Event()
        self.resource_missing = False
        self.last_contact = self.last_attempt = asyncio.get_running_loop().time()
        self.runs = 0
        self._story = story

    async def run(self) -> None:
        self.runs += 1
        await asyncio.Event().wait()

    def items(self) -> list[str]:
        return ["a", "b"]

    async def refresh(self) -> None:
        self._story.append(f"refresh {self.resource.plural}")

    def is_stuck(self, now: float) -> bool:
        return now - self.last_attempt > 700


class Events:
    def __init__(self, story: list[str]) -> None:
        self._story = story

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def drain(self, _: float) -> None:
        self._story.append("events")


class Elector:
    """Holds the Lease from the beginning."""

    def __init__(self, story: list[str]) -> None:
        self.forbidden = ""
        self._story = story

    async def lead(self, work: Any) -> None:
        await work()

    async def release(self) -> None:
        self._story.append("release")

    def check(self) -> None:
        pass


@dataclass
class Told:
    """A controller that tells what happens to it; it drains in `takes` seconds and has `left` writes to do."""

    name: str
    story: list[str]
    informers: Sequence[Informer[Any]] = ()
    fresh: Sequence[Informer[Any]] = ()
    chores: Sequence[Chore] = ()
    rules: Sequence[Rule] = (READ,)
    takes: float = 0.0
    left: int = 0
    depth: int = 3
    drained: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        self.story.append(f"start {self.name}")

    async def run(self) -> None:
        self.story.append(f"run {self.name}")
        await self.drained.wait()

    async def drain(self, grace: float) -> None:
        await asyncio.sleep(min(self.takes, grace))
        self.story.append(f"drained {self.name}")
        self.drained.set()

    async def flush(self) -> bool:
        self.left -= 1
        if self.left == 0:
            self.story.append(f"flushed {self.name}")
        return self.left > 0

    def measures(self) -> Iterable[Measure]:
        return (Measure(families.QUEUE_DEPTH, 7, (self.name,)),)


class Case:
    def __init__(self, *, leader_election: bool = True, grace: float = 10.0) -> None:
        self.story: list[str] = []
        elector = cast("LeaderElector", Elector(self.story)) if leader_election else None
        self.manager = Manager(elector, cast("EventRecorder", Events(self.story)), grace=grace)
        self.stop = asyncio.Event()

    def cache(self, plural: str = "things") -> Any:
        return Cache(self.story, plural)

    def controller(self, name: str, **fields: Any) -> Controller:
        told = Told(name, self.story, **fields)
        self.manager.add(told)
        return told

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.manager.run(self.stop))
        await asyncio.sleep(1)
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_controllers_start_in_order_once_all_caches_are_filled_and_the_needed_ones_are_fresh() -> None:
    case = Case()
    shared, other = case.cache(), case.cache("others")
    case.controller("a", informers=(shared,))
    case.controller("b", informers=(shared, other), fresh=(other,))
    async with case.running():
        shared.synced.set()
        await asyncio.sleep(1)
        assert (case.story, case.manager.unready()) == ([], "the cache of others.example.org is not filled yet")
        other.synced.set()
        await asyncio.sleep(1)
        assert case.story == ["refresh others", "start a", "start b", "run a", "run b"]
        assert case.manager.is_leading
        assert (shared.runs, other.runs) == (1, 1)


async def test_that_the_caches_are_filled_is_said_once_with_how_much_is_in_them() -> None:
    case = Case()
    things, others = case.cache("things"), case.cache("others")
    case.controller("one", informers=(things, others))
    with capture_logs() as lines:
        async with case.running():
            things.synced.set()
            await asyncio.sleep(1)
            assert lines == []
            others.synced.set()
            await asyncio.sleep(1)
    objects = {str(things.resource): 2, str(others.resource): 2}
    assert lines == [{"event": "caches filled", "log_level": "info", "objects": objects}]


async def test_without_a_lease_nothing_is_taken_over_so_nothing_is_listed_anew() -> None:
    case = Case(leader_election=False)
    cache = case.cache()
    cache.synced.set()
    case.controller("a", informers=(cache,), fresh=(cache,))
    async with case.running():
        assert case.story == ["start a", "run a"]


async def test_a_chore_is_done_every_so_often_and_a_defect_in_it_ends_nothing() -> None:
    done: list[float] = []

    async def chore() -> None:
        done.append(round(asyncio.get_running_loop().time()))
        raise RuntimeError("bug")

    case = Case()
    case.controller("a", chores=(Chore("tidy", chore, 10.0),))
    async with case.running() as task:
        await asyncio.sleep(35)
        assert done == [10, 20, 30]
        assert not task.done()


async def test_a_stop_flushes_beside_the_drains_and_gives_the_lease_up_last() -> None:
    case = Case()
    case.controller("slow", takes=5.0)
    case.controller("writes", left=3)
    async with case.running() as task:
        case.story.clear()
        case.stop.set()
        await task
        assert case.story == ["drained writes", "flushed writes", "drained slow", "events", "release"]
        with pytest.raises(StoppingError):
            case.manager.may_call()
        case.manager.may_write()


async def test_a_stop_takes_no_longer_than_its_grace() -> None:
    case = Case(grace=2.0)
    case.controller("never done", takes=1e6, left=10**6)
    async with case.running() as task:
        began = asyncio.get_running_loop().time()
        case.stop.set()
        await task
        assert asyncio.get_running_loop().time() - began == pytest.approx(2.0, abs=0.2)
        assert case.story[-2:] == ["events", "release"]


async def test_a_controller_that_breaks_ends_the_program() -> None:
    class Broken(Told):
        async def run(self) -> None:
            raise RuntimeError("bug")

    case = Case()
    case.manager.add(Broken("broken", case.story))
    with pytest.raises(ExceptionGroup):
        await case.manager.run(case.stop)
    assert not case.manager.is_leading


async def test_a_replica_that_may_not_have_the_lease_is_not_ready_and_says_why() -> None:
    case = Case(leader_election=True)
    assert case.manager.unready() is None
    cast("Elector", case.manager._elector).forbidden = "no right to get leases"
    assert case.manager.unready() == "the Lease cannot be had: no right to get leases"


async def test_health_and_counts_are_those_of_all_controllers() -> None:
    case = Case()
    cache = case.cache()
    case.controller("a", informers=(cache,))
    case.controller("b", informers=(cache,), rules=(READ, Rule(("",), ("secrets",), ("get",))))
    snapshot = case.manager.snapshot()
    assert [measure.labels for measure in snapshot.measures] == [("a",), ("b",)]
    assert snapshot.queue_depth == {"a": 3, "b": 3}
    assert snapshot.watch_silence_seconds == {"things.example.org": 0.0}
    assert [rule.resources for rule in case.manager.rules()] == [("things",), ("secrets",), ("events",)]
    assert case.manager.trouble() is None
    cache.last_attempt -= 701
    assert "the watch of things.example.org is stuck" in str(case.manager.trouble())
    cache.resource_missing = True
    assert case.manager.unready() == "the API server knows no things.example.org; install the CRDs of example.org"
