"""The agenda: a key that is not over has a next look within a minute, and one at its deadline, whatever happens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from issuer.cli.run import LOOP_FACTORY
from issuer.controllers.agenda import LATEST, OVER, Agenda, Result
from issuer.kube.queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

LANE = "web"
KEYS = "abc"


def now() -> float:
    return asyncio.get_running_loop().time()


class LossyQueue(WorkQueue[str]):
    """A queue that a defect of ours makes forget."""

    def lose(self, key: str) -> None:
        if (waiting := self._waiting.get(key)) is not None:
            self._forget(key, waiting)


@dataclass
class Work:
    """A controller whose looks come to what the test says, and are noted."""

    agenda: Agenda[str]
    results: dict[str, list[float | None]] = field(default_factory=dict)
    """For each key seconds until the next look, None if the look raises; afterwards a look wants no other soon."""
    looks: dict[str, list[float]] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)
    takes: float = 0.0

    async def reconcile(self, key: str) -> Result:
        self.looks.setdefault(key, []).append(now())
        await asyncio.sleep(self.takes)
        if key in self.over:
            return OVER
        delay = self.results[key].pop() if self.results.get(key) else 1e9
        if delay is None:
            raise RuntimeError("bug")
        return Result(look_again_at=now() + delay, lane=LANE)

    def last_look(self, key: str) -> float:
        return self.looks.get(key, [float("-inf")])[-1]


def play(scenario: Callable[[LossyQueue, Work], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario on a clock of its own, with an agenda at work."""

    async def run() -> None:
        queue = LossyQueue(max_backoff=30.0)
        agenda = Agenda(queue)
        work = Work(agenda)
        running = asyncio.create_task(agenda.run(work.reconcile, per_lane=1))
        await asyncio.sleep(0)
        try:
            await scenario(queue, work)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(run())


def test_a_result_can_ask_for_no_look_later_than_in_a_minute() -> None:
    async def scenario(_: LossyQueue, work: Work) -> None:
        work.agenda.changed("a", LANE)
        await asyncio.sleep(3.5 * LATEST)
        assert [round(at, 3) for at in work.looks["a"]] == [0, LATEST, 2 * LATEST, 3 * LATEST]

    play(scenario)


def test_a_key_that_is_over_is_looked_at_no_more_and_its_alarm_is_silent() -> None:
    async def scenario(_: LossyQueue, work: Work) -> None:
        work.over.add("a")
        work.agenda.expect("a", LANE, now() + 5)
        work.agenda.changed("a", LANE)
        await asyncio.sleep(200)
        assert len(work.looks["a"]) == 1

    play(scenario)


def test_a_deadline_is_met_although_the_lane_is_full_and_others_ask_for_looks_meanwhile() -> None:
    async def scenario(_: LossyQueue, work: Work) -> None:
        work.takes = 1000.0
        work.agenda.changed("busy", LANE)
        await asyncio.sleep(1)
        work.agenda.expect("a", LANE, now() + 5)
        work.agenda.changed("a", LANE)
        await asyncio.sleep(4)
        assert "a" not in work.looks
        work.agenda.wake("a", LANE)
        await asyncio.sleep(1)
        work.agenda.wake("a", LANE)
        await asyncio.sleep(1)
        assert len(work.looks["a"]) == 1

    play(scenario)


def test_an_alarm_that_rang_too_early_rings_again() -> None:
    async def scenario(_: LossyQueue, work: Work) -> None:
        work.agenda.expect("a", LANE, now() + 5)
        await asyncio.sleep(5)
        assert len(work.looks["a"]) == 1
        work.agenda.expect("a", LANE, now() + 0.0005)
        await asyncio.sleep(1)
        assert len(work.looks["a"]) == 2

    play(scenario)


def test_a_deadline_that_moves_takes_its_alarm_along() -> None:
    async def scenario(_: LossyQueue, work: Work) -> None:
        work.agenda.expect("a", LANE, now() + 5)
        work.agenda.expect("a", LANE, now() + 50)
        await asyncio.sleep(49)
        assert "a" not in work.looks
        await asyncio.sleep(2)
        assert len(work.looks["a"]) == 1

    play(scenario)


def test_what_a_defect_has_lost_is_healed_once_and_counted() -> None:
    async def scenario(queue: LossyQueue, work: Work) -> None:
        work.agenda.changed("a", LANE)
        await asyncio.sleep(1)
        assert not work.agenda.heal("a", LANE, None)
        queue.lose("a")
        assert work.agenda.heal("a", LANE, None)
        assert not work.agenda.heal("a", LANE, None)
        assert work.agenda.heal("a", LANE, now() + 10)
        await asyncio.sleep(11)
        assert len(work.looks["a"]) == 3

    play(scenario)


DELAYS = st.floats(0, 500)
EVENTS = st.one_of(
    st.tuples(st.sampled_from(["changed", "wake", "lose", "over"]), st.sampled_from(KEYS)),
    st.tuples(st.just("expect"), st.sampled_from(KEYS), st.floats(0, 300)),
    st.tuples(st.just("time"), DELAYS),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(EVENTS, max_size=30),
    st.fixed_dictionaries({key: st.lists(st.none() | DELAYS, max_size=6) for key in KEYS}),
)
def test_whatever_happens_every_open_key_is_looked_at_within_a_minute_and_at_its_deadline(
    events: list[tuple[Any, ...]], results: dict[str, list[float | None]]
) -> None:
    async def scenario(queue: LossyQueue, work: Work) -> None:
        work.results = results
        deadlines: dict[str, float] = {}
        for kind, *args in events:
            match kind:
                case "changed":
                    work.agenda.changed(args[0], LANE)
                case "wake":
                    work.agenda.wake(args[0], LANE)
                case "lose":
                    queue.lose(args[0])
                case "over":
                    work.over.add(args[0])
                case "expect":
                    deadlines[args[0]] = now() + args[1]
                    work.agenda.expect(args[0], LANE, deadlines[args[0]])
                case "time":
                    await asyncio.sleep(args[0])
        await asyncio.sleep(0)
        ended, work.over = work.over, set()
        for key in KEYS:
            deadline = deadlines.get(key)
            work.agenda.heal(key, LANE, deadline if deadline is not None and deadline > now() else None)
            assert not work.agenda.heal(key, LANE, None)
        began = now()
        await asyncio.sleep(LATEST + 0.01)
        assert all(work.last_look(key) >= began for key in KEYS)
        await asyncio.sleep(300)
        for key, deadline in deadlines.items():
            assert (key in ended and deadline <= began) or any(abs(at - deadline) < 0.01 for at in work.looks[key])

    play(scenario)


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, LOOP_FACTORY], ids=["asyncio", "production"])
def test_deadlines_a_fraction_of_a_millisecond_apart_are_all_met(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """A look that finds its deadline still to come expects it again, as the controller does; no look is planned."""

    async def scenario() -> None:
        agenda: Agenda[int] = Agenda(WorkQueue())
        deadlines = {key: now() + 0.05 + key * 0.0003 for key in range(500)}
        met: set[int] = set()
        all_met = asyncio.Event()

        async def reconcile(key: int) -> Result:
            if now() < deadlines[key]:
                agenda.expect(key, LANE, deadlines[key])
                return Result(look_again_at=float("inf"), lane=LANE)
            met.add(key)
            if len(met) == len(deadlines):
                all_met.set()
            return OVER

        running = asyncio.create_task(agenda.run(reconcile, per_lane=4))
        for key, deadline in deadlines.items():
            agenda.expect(key, LANE, deadline)
        async with asyncio.timeout(20):
            await all_met.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scenario())
