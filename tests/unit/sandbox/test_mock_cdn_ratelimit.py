"""The provider's limit on calls."""

from __future__ import annotations

import aiohttp

from issuer.sandbox.cdn import MockCDN, RateLimit
from issuer.sandbox.cdn.ratelimit import Meter


def test_the_limit_is_twelve_hundred_calls_in_five_minutes() -> None:
    meter = Meter(RateLimit())
    assert all(meter.admit(float(i % 300)) for i in range(1200))
    assert not meter.admit(299.0)


def test_one_call_too_many_blocks_everything_for_a_while() -> None:
    meter = Meter(RateLimit(calls=2, window=10.0, block=60.0))
    assert [meter.admit(0.0), meter.admit(1.0), meter.admit(2.0)] == [True, True, False]
    assert not meter.admit(61.9)
    assert meter.admit(62.0)


def test_a_new_window_counts_from_nothing() -> None:
    meter = Meter(RateLimit(calls=2, window=10.0))
    assert [meter.admit(0.0), meter.admit(9.0), meter.admit(10.0), meter.admit(11.0)] == [True] * 4


def test_the_headers_say_what_is_left_and_for_how_long() -> None:
    meter = Meter(RateLimit(calls=2, window=10.0, block=60.0))
    meter.admit(0.0)
    assert meter.headers(4.0) == {"Ratelimit": '"default";r=1;t=6', "Ratelimit-Policy": '"default";q=2;w=10'}
    meter.admit(4.0)
    meter.admit(5.0)
    assert meter.headers(5.0)["Ratelimit"] == '"default";r=0;t=60'
    assert meter.headers(35.0)["Retry-After"] == "30"


async def test_the_mock_answers_429_with_the_headers_once_it_is_overdrawn() -> None:
    limit = RateLimit(calls=1, window=300.0, block=300.0)
    headers = {"Authorization": "Bearer sandbox-token"}
    async with (
        MockCDN(rate_limit=limit, monotonic=lambda: 7.0) as cdn,
        aiohttp.ClientSession(headers=headers) as http,
    ):
        async with http.get(f"{cdn.endpoint}/zones") as response:
            assert response.status == 200
            assert response.headers["Ratelimit"] == '"default";r=0;t=300'
        async with http.get(f"{cdn.endpoint}/zones") as response:
            assert response.status == 429
            assert response.headers["Retry-After"] == "300"
            assert response.headers["CF-Ray"]
            assert not (await response.json())["success"]
