"""The queue: one run for what waits, never two at once for a key, lanes apart, nothing lost."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from issuer.kube.queue import BEGUN_AT_ONCE, NEW, RETRY, SHARE, TryAgainError, WorkQueue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.unit.kube.log_case import Lines


pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


class Work:
    """A handler that notes when each key begins and ends; `takes` seconds each."""

    def __init__(self, takes: float = 0.0) -> None:
        self.takes = takes
        self.begun: list[tuple[float, str]] = []
        self.ended: list[tuple[float, str]] = []
        self.fails: dict[str, int] = {}

    async def __call__(self, key: str) -> None:
        self.begun.append((round(now(), 3), key))
        await asyncio.sleep(self.takes)
        if self.fails.get(key, 0):
            self.fails[key] -= 1
            raise RuntimeError("bug")
        self.ended.append((round(now(), 3), key))

    @property
    def keys(self) -> list[str]:
        return [key for _, key in self.begun]


@asynccontextmanager
async def running(
    queue: WorkQueue[str], handler: Callable[[str], Awaitable[None]], per_lane: int = 1
) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run(handler, per_lane=per_lane))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def queue_of(**options: Any) -> WorkQueue[str]:
    return WorkQueue(random=random.Random(1), **options)


async def test_a_key_added_twice_is_handled_once() -> None:
    queue, work = queue_of(), Work()
    queue.add("a")
    queue.add("a")
    async with running(queue, work):
        await asyncio.sleep(1)
    assert work.keys == ["a"]


async def test_a_key_added_while_it_is_handled_is_handled_again_afterwards() -> None:
    queue, work = queue_of(), Work(takes=1)
    async with running(queue, work, per_lane=5):
        queue.add("a")
        await asyncio.sleep(0.5)
        queue.add("a")
        queue.add("a")
        assert queue.running == 1
        await asyncio.sleep(5)
    assert work.begun == [(0, "a"), (1, "a")]


async def test_new_keys_go_before_retried_ones_and_each_kind_in_its_order() -> None:
    queue, work = queue_of(), Work(takes=0.1)
    for key in ("r1", "r2"):
        queue.add(key, priority=RETRY)
    for key in ("n1", "n2"):
        queue.add(key, priority=NEW)
    queue.add("n1", priority=RETRY)
    async with running(queue, work):
        await asyncio.sleep(1)
    assert work.keys == ["n1", "n2", "r1", "r2"]


async def test_a_retried_key_that_becomes_new_goes_first() -> None:
    queue, work = queue_of(), Work()
    for key in ("r1", "r2"):
        queue.add(key, priority=RETRY)
    queue.add("r2", priority=NEW)
    async with running(queue, work):
        await asyncio.sleep(1)
    assert work.keys == ["r2", "r1"]


async def test_a_key_that_is_added_again_and_again_keeps_its_place() -> None:
    queue, work = queue_of(), Work(takes=0.1)
    async with running(queue, work):
        for key in ("first", "a", "b", "c"):
            queue.add(key)
        queue.add("a")
        await asyncio.sleep(1)
    assert work.keys == ["first", "a", "b", "c"]


async def test_a_flood_of_new_keys_does_not_hold_a_retried_one_back_for_ever() -> None:
    queue, work = queue_of(patience=30.0), Work(takes=1)
    async with running(queue, work):
        queue.add("busy")
        queue.add("retried", priority=RETRY)
        for i in range(100):
            queue.add(f"new{i}")
        await asyncio.sleep(29)
        assert "retried" not in work.keys
        await asyncio.sleep(2 + SHARE)
        assert "retried" in work.keys


async def test_a_crowd_of_retried_keys_leaves_new_ones_most_of_the_places() -> None:
    queue, work = queue_of(patience=1.0), Work(takes=1)
    async with running(queue, work):
        queue.add("busy")
        for i in range(100):
            queue.add(f"retried{i}", priority=RETRY)
        await asyncio.sleep(10.5)
        for i in range(9):
            queue.add(f"new{i}")
        await asyncio.sleep(12)
    later = work.keys[11:23]
    assert sum(key.startswith("new") for key in later) == 9
    assert sum(key.startswith("retried") for key in later) == 3


async def test_a_delayed_key_waits_for_its_time_and_the_earliest_delay_wins() -> None:
    queue, work = queue_of(), Work()
    async with running(queue, work):
        queue.add_after("a", 10)
        queue.add_after("a", 5)
        queue.add_after("a", 20)
        queue.add_after("b", 7)
        assert (queue.depth, queue.delayed) == (0, 2)
        await asyncio.sleep(60)
    assert work.begun == [(5, "a"), (7, "b")]


async def test_a_key_that_is_due_now_absorbs_the_delay_it_had() -> None:
    queue, work = queue_of(), Work()
    async with running(queue, work):
        queue.add_after("a", 10)
        await asyncio.sleep(2)
        queue.add("a")
        await asyncio.sleep(60)
    assert work.begun == [(2, "a")]


async def test_a_handler_can_plan_its_own_next_run() -> None:
    queue, times = queue_of(), []

    async def handler(key: str) -> None:
        times.append(round(now(), 3))
        if len(times) < 3:
            queue.add_after(key, 60)

    async with running(queue, handler):
        queue.add("a")
        await asyncio.sleep(1000)
    assert times == [0, 60, 120]


async def test_a_delay_that_ends_while_the_key_is_handled_is_not_lost() -> None:
    queue, work = queue_of(), Work(takes=10)
    async with running(queue, work, per_lane=9):
        queue.add("a")
        await asyncio.sleep(1)
        queue.add_after("a", 2)
        await asyncio.sleep(60)
    assert work.begun == [(0, "a"), (10, "a")]


async def test_lanes_do_not_wait_for_one_another() -> None:
    queue = queue_of()
    done: list[str] = []

    async def handler(key: str) -> None:
        await asyncio.sleep(1e6 if key.startswith("slow") else 1)
        done.append(key)

    async with running(queue, handler, per_lane=2):
        for i in range(50):
            queue.add(f"slow{i}", lane="slow")
        for i in range(4):
            queue.add(f"quick{i}", lane="quick")
        await asyncio.sleep(2.1)
        assert sorted(done) == ["quick0", "quick1", "quick2", "quick3"]
        assert (queue.running, queue.depth) == (2, 48)


async def test_no_more_than_per_lane_handlers_run_in_a_lane() -> None:
    queue, work = queue_of(), Work(takes=1)
    most = 0
    async with running(queue, work, per_lane=3):
        for i in range(10):
            queue.add(str(i), lane="x")
        for _ in range(40):
            most = max(most, queue.running)
            await asyncio.sleep(0.1)
    assert most == 3
    assert work.ended[-1][0] == 4


async def test_a_key_added_to_another_lane_moves_there() -> None:
    queue, work = queue_of(), Work(takes=10)
    async with running(queue, work):
        queue.add("busy", lane="one")
        queue.add("a", lane="one")
        await asyncio.sleep(1)
        assert work.keys == ["busy"]
        queue.add("a", lane="two")
        await asyncio.sleep(0.1)
        assert work.keys == ["busy", "a"]
        await asyncio.sleep(60)
    assert work.keys == ["busy", "a"]


async def test_a_delayed_key_moves_lanes_without_losing_its_time() -> None:
    queue, work = queue_of(), Work(takes=10)
    async with running(queue, work):
        queue.add("busy", lane="one")
        queue.add_after("a", 2, lane="one")
        queue.add_after("a", 5, lane="two")
        await asyncio.sleep(60)
    assert work.begun == [(0, "busy"), (2, "a")]


async def test_a_key_that_moves_while_it_is_handled_runs_in_the_new_lane_next() -> None:
    queue, work = queue_of(), Work(takes=10)
    async with running(queue, work):
        queue.add("a", lane="one")
        queue.add("b", lane="two")
        await asyncio.sleep(5)
        queue.add("a", lane="two")
        queue.add("c", lane="one")
        await asyncio.sleep(60)
    # At 10 s both lanes have room again, in no particular order.
    assert sorted(work.begun) == [(0, "a"), (0, "b"), (10, "a"), (10, "c")]


async def test_a_lane_is_forgotten_when_it_is_empty() -> None:
    queue, work = queue_of(), Work(takes=1)
    async with running(queue, work):
        for i in range(100):
            queue.add(str(i), lane=str(i))
        queue.add_after("later", 100, lane="later")
        assert queue.lanes == 100
        await asyncio.sleep(2)
        assert queue.lanes == 0


async def test_a_handler_that_fails_is_logged_with_its_key_and_tried_again_later_and_later(
    lines: Lines,
) -> None:
    queue, work = queue_of(min_backoff=1.0, max_backoff=4.0), Work()
    work.fails["a"] = 5
    async with running(queue, work):
        queue.add("a", lane="x")
        await asyncio.sleep(60)
        queue.add("a")
        await asyncio.sleep(1)
    times = [at for at, _ in work.begun]
    gaps = [later - earlier for earlier, later in pairwise(times[:6])]
    for gap, (low, high) in zip(gaps, [(0.5, 1), (1, 2), (2, 4), (2, 4), (2, 4)], strict=True):
        assert low <= round(gap, 2) <= high
    assert len(work.ended) == 2
    assert [(line["event"], line["key"]) for line in lines] == [("handling failed", "a")] * 5


async def test_a_handler_that_has_said_itself_what_is_wrong_is_tried_again_without_another_line(lines: Lines) -> None:
    queue, times = queue_of(min_backoff=1.0, max_backoff=4.0), list[float]()

    async def refuse(_: str) -> None:
        times.append(asyncio.get_running_loop().time())
        raise TryAgainError

    queue.add("a")
    task = asyncio.create_task(queue.run(refuse, per_lane=1))
    await asyncio.sleep(30)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(times) >= 7
    assert all(0.5 <= round(later - earlier, 2) <= 4 for earlier, later in pairwise(times))
    assert lines == []


async def test_the_backoff_starts_anew_after_a_success() -> None:
    queue, work = queue_of(min_backoff=1.0, max_backoff=1000.0), Work()
    work.fails["a"] = 6
    async with running(queue, work):
        queue.add("a")
        await asyncio.sleep(1000)
        work.fails["a"] = 1
        queue.add("a")
        await asyncio.sleep(2)
    assert len(work.ended) == 2


async def test_depth_and_oldest_wait_tell_of_due_keys_only() -> None:
    queue, work = queue_of(), Work(takes=100)
    assert (queue.depth, queue.oldest_wait) == (0, 0.0)
    async with running(queue, work):
        for key in ("a", "b", "c"):
            queue.add(key)
        queue.add_after("d", 1000)
        await asyncio.sleep(10)
        assert (queue.depth, queue.running, queue.delayed) == (2, 1, 1)
        assert queue.oldest_wait == pytest.approx(10, abs=0.01)


async def test_drain_lets_running_handlers_end_and_takes_no_more() -> None:
    queue, work = queue_of(), Work(takes=5)
    task = asyncio.create_task(queue.run(work, per_lane=1))
    queue.add("a")
    queue.add("b")
    queue.add_after("c", 1)
    await asyncio.sleep(1)
    await queue.drain(10)
    await task
    assert work.ended == [(5, "a")]
    queue.add("d")
    await asyncio.sleep(20)
    assert work.keys == ["a"]


async def test_drain_cancels_what_takes_too_long_and_keeps_its_key() -> None:
    queue, work = queue_of(), Work(takes=100)
    task = asyncio.create_task(queue.run(work, per_lane=1))
    queue.add("a")
    await asyncio.sleep(1)
    await queue.drain(10)
    await task
    assert round(now()) == 11
    assert (work.ended, queue.running) == ([], 0)
    again = Work()
    async with running(queue, again):
        await asyncio.sleep(5)
    assert again.keys == ["a"]


async def test_a_queue_whose_run_is_cancelled_cancels_its_handlers() -> None:
    queue, work = queue_of(), Work(takes=100)
    async with running(queue, work):
        queue.add("a")
        await asyncio.sleep(1)
    assert queue.running == 0
    assert round(now()) == 1


async def test_a_handler_that_cancels_itself_by_mistake_loses_no_key() -> None:
    queue, calls = queue_of(), 0

    async def handler(_: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise asyncio.CancelledError

    async with running(queue, handler):
        queue.add("a")
        await asyncio.sleep(5)
    assert calls == 2


async def test_ten_thousand_keys_cost_no_task_each_and_little_time() -> None:
    queue, work = queue_of(), Work(takes=1)
    began = time.perf_counter()
    async with running(queue, work, per_lane=10):
        for i in range(10_000):
            queue.add_after(str(i), 100 + i % 7, lane=str(i % 10))
        for _ in range(20):
            for i in range(1000):
                queue.add_after(str(i), 50, lane=str(i % 10))
        assert len(asyncio.all_tasks()) < 5
        assert queue.delayed == 10_000
        await asyncio.sleep(1000)
        assert len(work.ended) == 10_000
    assert time.perf_counter() - began < 10  # a quadratic queue takes minutes


async def test_a_crowd_that_is_due_at_once_leaves_the_loop_to_others_in_between() -> None:
    queue, work = WorkQueue[str](), Work(takes=1e6)
    async with running(queue, work, per_lane=1000):
        for number in range(10 * BEGUN_AT_ONCE):
            queue.add(str(number), lane=f"lane {number % 3}")
        begun = []
        while len(work.begun) < 10 * BEGUN_AT_ONCE:
            begun.append(len(work.begun))
            await asyncio.sleep(0)
        assert max(later - earlier for earlier, later in pairwise(begun)) <= BEGUN_AT_ONCE


async def test_a_lane_with_a_crowd_holds_no_other_lane_back() -> None:
    queue, work = WorkQueue[str](), Work(takes=1e6)
    async with running(queue, work, per_lane=1000):
        for number in range(10 * BEGUN_AT_ONCE):
            queue.add(str(number), lane="crowd")
        for lane in ("b", "c"):
            queue.add(lane, lane=lane)
        for _ in range(3):
            await asyncio.sleep(0)
        assert {"b", "c"} <= set(work.keys)
        assert len(work.begun) <= 3 * BEGUN_AT_ONCE


async def test_entries_that_count_no_more_do_not_pile_up() -> None:
    queue, work = queue_of(), Work()
    async with running(queue, work):
        queue.add_after("first", 100)
        for _ in range(5000):
            queue.add_after("a", 3600)
            queue.add("a")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert len(queue._delayed) < 200


KEYS = st.sampled_from(["a", "b", "c", "d"])
LANES = st.sampled_from(["", "x", "y"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS, LANES, st.sampled_from([NEW, RETRY])),
        st.tuples(st.just("after"), KEYS, LANES, st.integers(0, 5)),
        st.tuples(st.just("wait"), st.integers(0, 4)),
        st.tuples(st.just("fail"), KEYS),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, takes=st.lists(st.integers(0, 6), min_size=1, max_size=10), per_lane=st.integers(1, 3))
def test_whatever_is_added_no_key_runs_twice_at_once_and_nothing_is_lost(
    steps: list[tuple[Any, ...]], takes: list[int], per_lane: int
) -> None:
    """After each add there is a run that begins at or after the time asked for at the latest once all is quiet."""

    async def play() -> None:
        queue = queue_of(min_backoff=0.5, max_backoff=2.0)
        handling: set[str] = set()
        lane_of: dict[str, str] = {}
        begun: dict[str, float] = {}
        asked: dict[str, float] = {}
        failing: set[str] = set()
        durations = iter(takes * 1000)

        async def handler(key: str) -> None:
            assert key not in handling, "two handlers for one key"
            handling.add(key)
            begun[key] = now()
            try:
                await asyncio.sleep(next(durations))
                if key in failing:
                    failing.discard(key)
                    asked[key] = now()
                    raise RuntimeError("bug")
            finally:
                handling.discard(key)

        async with running(queue, handler, per_lane):
            for step in steps:
                match step:
                    case ("add", key, lane, priority):
                        asked[key], lane_of[key] = now(), lane
                        queue.add(key, lane=lane, priority=priority)
                    case ("after", key, lane, delay):
                        asked[key], lane_of[key] = now(), lane
                        queue.add_after(key, delay, lane=lane)
                    case ("fail", key):
                        failing.add(key)
                    case ("wait", seconds):
                        await asyncio.sleep(seconds)
                assert queue.running <= 3 * per_lane
            await asyncio.sleep(1000)
            assert (queue.depth, queue.delayed, queue.running, queue.lanes) == (0, 0, 0, 0)
            for key, when in asked.items():
                assert begun[key] >= when, "an add was lost"

    loop = looptime.new_event_loop(_enabled=True)
    try:
        loop.run_until_complete(play())
    finally:
        loop.close()
