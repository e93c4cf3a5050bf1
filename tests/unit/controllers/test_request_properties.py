"""What must hold for every request, whatever happens, in whatever order, and whoever fails.

It is the whole request controller, on a clock of its own, with an API server, a cache, an engine and a wall clock that
misbehave (`request_case`), and with invariants that are checked after each step (`request_world`).

How late a request may end, after its deadline and once the API server takes writes again, is the sum of what may lie in
between (`LATE`): its news were lost, so a resync finds it (60 s); the wall clock has jumped past the deadline, so its
next look finds out (60 s); a write was throttled just before (60 s); our own limits held it back until then (40 s); and
it waits twice for others in its lane, each of which has a go or a call that hangs. Where the API server, its watch and
the clock are well it is the time of two attempts, because a late go has one, and of a go that began before its issuer's
deadline was made shorter: it keeps the old one. That is less than the minute in which a look comes without an alarm.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from issuer.cli.run import LOOP_FACTORY
from issuer.controllers.agenda import LATEST
from issuer.controllers.pace import LONGEST_RETRY_AFTER, Pace
from issuer.controllers.requests import RESYNC_EVERY
from tests.unit.controllers.request_case import ATTEMPT, Answer, Go, loop_time, request_key
from tests.unit.controllers.request_world import GO, HANG, ISSUERS, NAMES, World, live, play, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.api.meta import ObjectKey

EXAMPLES = int(os.environ.get("CDN_ISSUER_EXAMPLES", "120"))
"""Sequences that are tried; `CDN_ISSUER_EXAMPLES=2000` tries more."""
HOLD = 40.0
LATE = RESYNC_EVERY + LATEST + LONGEST_RETRY_AFTER + 2 * (GO + HANG) + HOLD
ON_TIME = GO + 2 * ATTEMPT + 1


def answers(*kinds: str) -> st.SearchStrategy[Answer]:
    return st.builds(
        Answer,
        kind=st.sampled_from(kinds),
        seconds=st.sampled_from([0.0, 0.2, 5.0, HANG]),
        applied=st.booleans(),
        retry_after=st.sampled_from([None, 1.0, 30.0, 1000.0]),
    )


WRITES = answers("ok", "hang", "unsent", "500", "throttled", "404", "proxy 404", "conflict")
READS = answers("ok", "hang", "unsent", "500", "throttled", "404", "proxy 404")
GOES = st.builds(
    Go,
    kind=st.sampled_from(["issued", "issued", "down", "refused", "in progress", "defect", "cancelled"]),
    seconds=st.sampled_from([0.0, 0.3, 5.0, GO]),
    retry_in=st.sampled_from([0.0, 3.0, 40.0, 1000.0]),
) | st.builds(Go, kind=st.just("no turn"), seconds=st.sampled_from([0.0, 5.0]), retry_in=st.sampled_from([0.0, HOLD]))
THEN = st.sampled_from([Go(), Go(retry_in=1000.0), Go("issued"), Go("defect", 1.0), Go("down", GO)])
names, issuers = st.sampled_from(NAMES), st.sampled_from(ISSUERS)
deadlines = st.sampled_from([None, 0.0, 10.0, 60.0, 60.0, 600.0, 3600.0])
approved = st.tuples(
    st.just("say"), names, st.sampled_from(["Approved"]), st.sampled_from([0.0, 0.0, 3.0, 50.0, 595.0, 3590.0, 7200.0])
)
times = st.tuples(st.just("time"), st.sampled_from([0.001, 0.5, 9.99, 10.0, 30.0, 59.0, 100.0, 700.0]))
DEEDS = st.one_of(
    st.tuples(st.just("create"), names, issuers),
    approved,
    approved,
    times,
    times,
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("say"), names, st.sampled_from(["Denied", "InvalidRequest"]), st.just(0.0)),
    st.tuples(st.just("label"), names),
    st.tuples(st.just("finish"), names, st.integers(0, 2)),
    st.tuples(st.just("issuer"), issuers, deadlines),
    st.tuples(st.just("recovered"), issuers),
)
FAULTS = st.one_of(
    st.tuples(st.just("clock"), st.sampled_from([-240.0, -30.0, -0.01, 0.01, 30.0, 240.0])),
    st.tuples(st.just("ticking"), st.booleans()),
    st.tuples(st.just("lag"), st.sampled_from([0.0, 0.0, 1.0, 30.0, 90.0])),
    st.lists(WRITES, min_size=1, max_size=6).map(lambda found: ("writes", *found)),
    st.lists(READS, min_size=1, max_size=4).map(lambda found: ("reads", *found)),
)
DEADLINE = 60.0
FIRST: list[tuple[Any, ...]] = [
    ("issuer", "web", DEADLINE),
    ("create", "a", "web"),
    ("create", "b", "web"),
    ("say", "b", "Approved", 0.0),
]
prefixes = st.integers(0, len(FIRST)).map(lambda count: FIRST[:count])
common = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@common
@given(
    first=prefixes,
    before=st.lists(DEEDS, max_size=4),
    then=st.lists(st.one_of(DEEDS, DEEDS, FAULTS), max_size=25),
    writes=st.lists(WRITES, max_size=8),
    reads=st.lists(READS, max_size=4),
    goes=st.lists(GOES, max_size=12),
    last=THEN,
    losses=st.lists(st.sampled_from([False, False, True]), max_size=30),
)
def test_whatever_happens_every_request_ends_once_and_its_end_is_told(
    first: list[Any],
    before: list[Any],
    then: list[Any],
    writes: list[Answer],
    reads: list[Answer],
    goes: list[Go],
    last: Go,
    losses: list[bool],
) -> None:
    async def scenario() -> None:
        world = World(losses=losses, goes=goes, then=last)
        world.server.writes.extend(writes)
        world.server.reads.extend(reads)
        await live(world, first + before, then, LATE)
        event("signed" if world.server.delivered else "nothing signed")

    play(scenario)


EXACT = settings(common, max_examples=max(EXAMPLES // 2, 1))


@EXACT
@given(
    first=prefixes,
    before=st.lists(DEEDS, max_size=4),
    then=st.lists(DEEDS, max_size=20),
    goes=st.lists(GOES.filter(lambda go: go.kind not in ("cancelled", "no turn")), max_size=12),
    last=THEN,
    is_ticking=st.booleans(),
)
def test_where_only_the_authorities_fail_every_request_ends_at_its_deadline(
    first: list[Any], before: list[Any], then: list[Any], goes: list[Go], last: Go, is_ticking: bool
) -> None:
    async def scenario() -> None:
        world = World(goes=goes, then=last)
        world.clock.ticking = is_ticking
        await live(world, first + before, then, ON_TIME)

    play(scenario)


def test_a_result_outlives_a_change_of_its_request_at_the_moment_of_the_write() -> None:
    async def scenario() -> None:
        world = World(goes=[Go("issued")])

        def restrict(key: ObjectKey) -> None:
            world.touch(key.name)
            world.touch(key.name)

        world.server.intercept = restrict
        world.server.writes.append(Answer("conflict"))
        await live(world, [], FIRST, LATE)
        assert world.engine.made == len(world.server.delivered) == 1

    play(scenario)


def test_a_certificate_that_was_written_although_the_answer_said_no_is_told_even_if_its_request_is_gone_then() -> None:
    async def scenario() -> None:
        world = World(goes=[Go("issued")])
        world.server.writes.append(Answer("500", applied=True))
        await live(world, [], [("lag", 30.0), *FIRST, ("time", 30.001), ("delete", "b")], LATE)
        assert len(world.server.delivered) == 1

    play(scenario)


def test_goes_without_time_for_a_call_leave_the_message_what_the_last_call_came_to() -> None:
    async def scenario() -> None:
        world = World(goes=[Go("down")], then=Go("no time"))
        running = asyncio.create_task(world.run())
        await world.start()
        for step in FIRST:
            await world.do(*step)
        await asyncio.sleep(DEADLINE + ATTEMPT)
        ended = world.server.find(request_key("b"))
        assert ended is not None
        assert ended.ready is not None
        assert ended.ready.message == "not signed within the deadline of 1m after approval: edge: HTTP 503"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    play(scenario)


def test_a_defect_at_every_go_delays_no_end_beyond_the_deadline() -> None:
    async def scenario() -> None:
        world = World(then=Go("defect", 1.0))
        running = asyncio.create_task(world.run())
        await world.start()
        for step in FIRST:
            await world.do(*step)
        await asyncio.sleep(DEADLINE - 0.1)
        assert not world.has_ended("b")
        await asyncio.sleep(ATTEMPT)
        assert world.has_ended("b")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    play(scenario)


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, LOOP_FACTORY], ids=["asyncio", "production"])
def test_on_a_real_clock_deadlines_are_met_by_their_alarms_and_ends_written_through_faults(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Nothing but its alarm looks at a request before the minute is over, and every reading of the clock differs."""

    async def scenario() -> None:
        world = World(
            goes=[Go("issued", 0.01) for _ in range(20)], then=Go(retry_in=1000.0), pace=Pace(first_write=0.01)
        )
        world.clock.ticking = True
        world.clock.offset = timedelta(seconds=-loop_time())
        world.server.writes.extend(
            Answer(kind) for kind in ("500", "conflict", "unsent", "proxy 404") for _ in range(5)
        )
        world.server.intercept = lambda key: world.touch(key.name)
        await world.do("issuer", "web", 60.0)
        await world.start()
        running = asyncio.create_task(world.run())
        requests = [f"r-{number}" for number in range(60)]
        for number, name in enumerate(requests):
            await world.do("create", name, "web")
            await world.do("say", name, "Approved", 59.7 - number * 0.0003)
        await until(lambda: all(world.has_ended(name) for name in requests))
        for name in requests:
            await world.do("delete", name)
        await until(lambda: not (world.controller.memory.all() or world.queue._waiting or world.queue._running))
        await world.check()
        world.check_nothing_is_left()
        world.check_fates()
        assert len(world.server.delivered) == 20
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    play(scenario, factory)
