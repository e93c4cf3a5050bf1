from __future__ import annotations

import asyncio

import pytest

from issuer.signing.limits import Limits, LimitSettings, Priority, SentAwayError
from tests.unit.signing.signing_case import clock

pytestmark = pytest.mark.looptime
LONG = 10_000.0


def limits(rate: float = 10.0, burst: int = 2, in_flight: int = 100) -> Limits:
    return Limits(LimitSettings(rate, burst, in_flight), clock=clock)


async def take(bucket: Limits, times: list[float], *, hold: float = 0.0) -> None:
    slot = await bucket.acquire(LONG)
    times.append(round(clock(), 3))
    await asyncio.sleep(hold)
    slot.release()


async def test_a_burst_goes_out_at_once_and_the_rest_at_the_rate() -> None:
    bucket, times = limits(rate=10, burst=2), list[float]()
    await asyncio.gather(*(take(bucket, times) for _ in range(5)))
    assert times == pytest.approx([0, 0, 0.1, 0.2, 0.3], abs=0.01)


async def test_tokens_are_saved_up_to_the_burst_only() -> None:
    bucket, times = limits(rate=10, burst=2), list[float]()
    await asyncio.sleep(100)
    await asyncio.gather(*(take(bucket, times) for _ in range(3)))
    assert times == pytest.approx([100, 100, 100.1], abs=0.01)


async def test_no_more_than_the_limit_are_under_way() -> None:
    bucket, times = limits(rate=1000, burst=1000, in_flight=2), list[float]()
    await asyncio.gather(*(take(bucket, times, hold=5) for _ in range(5)))
    assert times == pytest.approx([0, 0, 5, 5, 10], abs=0.01)
    assert bucket.in_flight == 0


async def test_the_first_to_come_is_the_first_to_go() -> None:
    bucket, served = limits(rate=10, burst=1), list[int]()

    async def one(number: int) -> None:
        slot = await bucket.acquire(LONG)
        served.append(number)
        slot.release()

    await asyncio.gather(*(one(number) for number in range(6)))
    assert served == list(range(6))


async def test_the_wait_ends_with_the_time_given() -> None:
    bucket = limits(rate=0.1, burst=1)
    (await bucket.acquire(LONG)).release()
    with pytest.raises(TimeoutError):
        await bucket.acquire(clock() + 3)
    assert clock() == pytest.approx(3, abs=0.01)
    assert bucket.waiting == 0


async def test_a_time_that_is_over_still_gets_what_is_free() -> None:
    slot = await limits().acquire(clock() - 1)
    slot.release()


async def test_who_is_cancelled_in_the_queue_holds_nobody_up() -> None:
    bucket = limits(rate=1000, burst=1000, in_flight=1)
    held = await bucket.acquire(LONG)
    first = asyncio.create_task(bucket.acquire(LONG))
    second = asyncio.create_task(bucket.acquire(LONG))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    held.release()
    (await second).release()
    assert bucket.in_flight == 0


async def test_who_is_cancelled_just_as_its_turn_comes_gives_its_place_back() -> None:
    bucket = limits(rate=1000, burst=1000, in_flight=1)
    held = await bucket.acquire(LONG)
    waiter = asyncio.create_task(bucket.acquire(LONG))
    await asyncio.sleep(0)
    held.release()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert bucket.in_flight == 0


async def test_everybody_in_the_queue_can_be_sent_away_at_once() -> None:
    bucket = limits(rate=1000, burst=1000, in_flight=1)
    held = await bucket.acquire(LONG)
    waiters = [asyncio.create_task(bucket.acquire(LONG)) for _ in range(3)]
    await asyncio.sleep(0)
    bucket.send_away()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(result) for result in results] == [SentAwayError] * 3
    held.release()
    (await bucket.acquire(LONG)).release()


async def test_wider_limits_reach_those_who_wait() -> None:
    bucket, times = limits(rate=0.01, burst=1), list[float]()
    (await bucket.acquire(LONG)).release()
    waiting = asyncio.create_task(take(bucket, times))
    await asyncio.sleep(1)
    bucket.settings = LimitSettings(rate=1, burst=1, in_flight=1)
    await waiting
    assert times == pytest.approx([1.99], abs=0.02)


async def test_a_slot_that_was_not_used_gives_its_token_back() -> None:
    bucket, times = limits(rate=0.01, burst=1), list[float]()
    (await bucket.acquire(LONG)).release(unused=True)
    await take(bucket, times)
    assert times == [0]


async def test_each_further_call_on_a_slot_takes_a_token_and_no_place() -> None:
    bucket = limits(rate=1, burst=1, in_flight=1)
    slot, times = await bucket.acquire(LONG), []
    for _ in range(3):
        await slot.token(LONG)
        times.append(round(clock(), 3))
    assert times == pytest.approx([0, 1, 2], abs=0.01)


async def test_signing_goes_before_checks_looks_and_clean_up_and_starves_none_of_them() -> None:
    bucket, order = limits(rate=1, burst=1), list[str]()
    await bucket.acquire(LONG)

    async def queue(priority: Priority) -> None:
        await bucket.acquire(LONG, priority)
        order.append(priority.name[0])

    wanted = [Priority.CLEAN_UP, Priority.LOOK, Priority.CHECK, *[Priority.SIGN] * 8]
    await asyncio.gather(*(queue(priority) for priority in wanted))
    assert "".join(order) == "SSSCSSSLSSC"


async def test_a_look_that_holds_the_last_place_gets_its_tokens_beside_a_crowd() -> None:
    bucket = limits(rate=1, burst=1, in_flight=1)
    slot = await bucket.acquire(LONG)
    crowd = [asyncio.create_task(take(bucket, [])) for _ in range(20)]
    await slot.token(LONG)
    await slot.token(LONG)
    assert clock() == pytest.approx(1, abs=0.01)
    slot.release()
    await asyncio.gather(*crowd)


async def test_who_holds_a_place_gets_its_token_before_those_who_need_one() -> None:
    """Else all places could be held by those who wait behind somebody who waits for a place."""
    bucket = limits(rate=10, burst=2, in_flight=2)
    slots = [await bucket.acquire(LONG) for _ in range(2)]
    crowd = [asyncio.create_task(take(bucket, [])) for _ in range(5)]
    await asyncio.sleep(0)
    for slot in slots:
        await slot.token(LONG)
        await slot.prepay(LONG)
        slot.release()
    await asyncio.gather(*crowd)
    assert clock() < 1


async def test_who_waits_for_a_token_of_a_slot_is_not_sent_away() -> None:
    bucket = limits(rate=1, burst=1)
    slot = await bucket.acquire(LONG)
    await slot.token(LONG)
    waiting = asyncio.create_task(slot.token(LONG))
    await asyncio.sleep(0)
    bucket.send_away()
    await waiting
