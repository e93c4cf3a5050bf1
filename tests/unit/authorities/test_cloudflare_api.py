"""One call over the wire: what is sent, what is read, and what is said when it fails."""

from __future__ import annotations

import gzip
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest

from issuer.authorities.base import CallTimeouts
from issuer.authorities.cloudflare_api import MAX_BODY, MAX_RETRY_AFTER, Api, retry_after
from issuer.authorities.errors import RateLimited, Unauthorized, Unavailable
from tests.unit.authorities.cloudflare_case import (
    ENDPOINT,
    NOW,
    TIMEOUTS,
    TOKEN,
    call,
    failure,
    refusal,
    router,
    success,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def test_a_call_carries_the_token_and_asks_for_no_compression() -> None:
    routes = router()
    route = routes.post("/certificates").mock(return_value=success({"id": "1"}))
    api = Api("edge", ENDPOINT + "/", httpx.MockTransport(routes.async_handler), lambda: NOW)
    timeouts = CallTimeouts(connect=2.0, read=3.0)
    reply = await api.call("POST", "/certificates", token=TOKEN, timeouts=timeouts, body={"a": 1})
    await api.aclose()
    request = route.calls.last.request
    assert reply.result == {"id": "1"}
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["accept-encoding"] == "identity"
    assert request.content == b'{"a":1}'
    assert request.extensions["timeout"] == {"connect": 2.0, "read": 3.0, "write": 3.0, "pool": 2.0}


@pytest.mark.parametrize(
    "envelope",
    [
        {"success": True, "errors": [], "messages": [], "result": {"id": "1"}},
        {"success": True, "errors": [], "messages": ["a string"], "result": {"id": "1"}},
        {"success": True, "messages": [{"code": 1, "message": "an object"}], "result": {"id": "1"}},
        {"success": True, "errors": None, "messages": None, "result": {"id": "1"}, "result_info": None},
        {"result": {"id": "1"}},
    ],
)
async def test_a_success_is_read_leniently(envelope: dict[str, Any]) -> None:
    reply = await call(httpx.Response(200, json=envelope, headers={"CF-Ray": "8a-FRA"}))
    assert (reply.result, reply.info, reply.trace_id) == ({"id": "1"}, {}, "8a-FRA")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json={"success": False, "errors": [], "result": {"id": "1"}}),
        httpx.Response(200, json={"success": True, "result": None}, headers={"content-encoding": "br"}),
        httpx.Response(200, json={"errors": []}),
        httpx.Response(200, json={"success": "yes", "result": 1}),
        httpx.Response(200, json=["success"]),
        httpx.Response(200, text=""),
        httpx.Response(200, text="<html>hello</html>"),
        httpx.Response(200, content=b'{"success": true, "result": {"certificate": "-----BEG'),
        httpx.Response(200, content=b"[" * 100_000),
        httpx.Response(200, content=b'{"result": "\xff\xfe"}'),
        httpx.Response(301, headers={"location": "https://elsewhere.test/"}),
        httpx.Response(502, text="<html>bad gateway</html>"),
    ],
)
async def test_a_broken_answer_to_a_post_is_unavailable_and_ambiguous(answer: httpx.Response) -> None:
    error = await failure(answer)
    assert isinstance(error, Unavailable)
    assert error.ambiguous
    assert error.status == answer.status_code


async def test_a_broken_answer_to_a_get_is_not_ambiguous() -> None:
    error = await failure(httpx.Response(200, text="nonsense"), "GET")
    assert isinstance(error, Unavailable)
    assert not error.ambiguous


async def test_a_redirect_is_not_followed_and_named() -> None:
    routes = router()
    elsewhere = routes.route(url="https://elsewhere.test/").mock(return_value=success({}))
    routes.post("/certificates").mock(return_value=httpx.Response(307, headers={"location": "https://elsewhere.test/"}))
    api = Api("edge", ENDPOINT, httpx.MockTransport(routes.async_handler), lambda: NOW)
    with pytest.raises(Unavailable, match="redirects are not followed"):
        await api.call("POST", "/certificates", token=TOKEN, timeouts=TIMEOUTS)
    await api.aclose()
    assert not elsewhere.called


async def test_no_more_of_a_body_is_read_than_the_limit() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 65536
            yield b"a" * 65536

    error = await failure(httpx.Response(200, content=endless()))
    assert "longer than 1024 KiB" in error.message
    assert read <= MAX_BODY + 65536


async def test_a_body_of_just_the_limit_is_read() -> None:
    frame = b'{"success":true,"result":"%s"}'
    filler = b"a" * (MAX_BODY - len(frame) + 2)
    reply = await call(httpx.Response(200, content=frame % filler))
    assert len(reply.result) == len(filler)


async def test_a_compressed_answer_is_not_unpacked() -> None:
    bomb = gzip.compress(b'{"success": true, "result": "' + b"a" * 10_000_000 + b'"}')

    async def body() -> AsyncIterator[bytes]:
        yield bomb

    error = await failure(httpx.Response(200, content=body(), headers={"content-encoding": "gzip"}))
    assert "compressed" in error.message


async def test_the_status_counts_even_if_the_body_is_of_no_use() -> None:
    compressed = {"content-encoding": "gzip", "retry-after": "9"}
    limited = await failure(httpx.Response(429, stream=httpx.ByteStream(b"x"), headers=compressed))
    assert isinstance(limited, RateLimited)
    assert limited.retry_after == 9.0
    assert isinstance(await failure(httpx.Response(403, text="<html>forbidden</html>")), Unauthorized)
    assert isinstance(await failure(httpx.Response(400, text="<html>bad request</html>")), Unavailable)


@pytest.mark.parametrize(
    ("error", "never_sent"),
    [
        (httpx.ConnectError("refused"), True),
        (httpx.ConnectTimeout("slow"), True),
        (httpx.PoolTimeout("full"), True),
        (httpx.ReadTimeout("slow"), False),
        (httpx.WriteTimeout("slow"), False),
        (httpx.ReadError("reset"), False),
        (httpx.WriteError("reset"), False),
        (httpx.CloseError("reset"), False),
        (httpx.RemoteProtocolError("garbage"), False),
        (httpx.DecodingError("garbage"), False),
        (aiohttp.ClientPayloadError("half"), False),
        (ConnectionResetError("reset"), False),
        (RuntimeError("Session is closed"), False),
        (ValueError("Cannot combine AUTHORIZATION header with AUTH argument"), False),
    ],
)
async def test_a_lost_call_says_whether_it_was_sent(error: Exception, never_sent: bool) -> None:
    lost = await failure(error)
    assert isinstance(lost, Unavailable)
    assert lost.ambiguous is not never_sent
    looked = await failure(error, "GET")
    assert isinstance(looked, Unavailable)
    assert not looked.ambiguous


@pytest.mark.parametrize(
    ("cause", "never_sent"),
    [
        (aiohttp.ServerDisconnectedError("gone"), False),
        (aiohttp.ClientOSError(104, "reset"), False),
        (aiohttp.SocketTimeoutError("slow"), False),
        (aiohttp.ConnectionTimeoutError("slow"), True),
    ],
)
async def test_the_cause_counts_and_not_what_the_transport_makes_of_it(cause: Exception, never_sent: bool) -> None:
    """httpx_aiohttp reports a connection that was lost after the request as a connect timeout."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("so it says") from cause

    api = Api("edge", ENDPOINT, httpx.MockTransport(handler), lambda: NOW)
    with pytest.raises(Unavailable) as caught:
        await api.call("POST", "/certificates", token=TOKEN, timeouts=TIMEOUTS)
    await api.aclose()
    assert caught.value.ambiguous is not never_sent


async def test_a_timeout_says_how_long_was_waited_and_not_for_headers() -> None:
    error = await failure(httpx.ReadTimeout(""))
    assert error.message == "POST /certificates: no answer within 1s"


async def test_a_closed_api_is_unavailable_without_a_call() -> None:
    api = Api("edge", ENDPOINT, httpx.MockTransport(router().async_handler), lambda: NOW)
    await api.aclose()
    with pytest.raises(Unavailable) as caught:
        await api.call("POST", "/certificates", token=TOKEN, timeouts=TIMEOUTS)
    assert not caught.value.ambiguous


async def test_the_token_shows_in_no_error_even_if_the_provider_echoes_it() -> None:
    answers: list[httpx.Response | Exception] = [
        refusal(403, (9109, f"Invalid token {TOKEN}!")),
        refusal(400, (TOKEN, "code"), headers={"CF-Ray": TOKEN}),
        refusal(400, {"code": 6003, "message": "headers", "error_chain": [{"code": 1, "message": f"Bearer {TOKEN}"}]}),
        refusal(400, f"text {TOKEN}"),
        refusal(400, (1010, "x" * 290 + TOKEN)),
        refusal(400, (1010, " " * 5990 + TOKEN)),
        httpx.RemoteProtocolError(f"Illegal header value b'Bearer {TOKEN}'"),
        httpx.Response(500, text=TOKEN),
        httpx.Response(403, text=f"The token {TOKEN} is refused"),
        httpx.Response(401, json={"success": False, "error": f"Bearer {TOKEN}"}),
        httpx.Response(401, json={"messages": [f"Bearer {TOKEN}"]}),
    ]
    for answer in answers:
        error = await failure(answer)
        shown = f"{error} {error!r} {error.args} {error.code} {error.trace_id} {error.__cause__}"
        assert TOKEN[:8] not in shown


async def test_every_error_quotes_the_trace_id() -> None:
    for answer in (
        refusal(400, (1010, "no"), headers={"CF-Ray": "8f2a-FRA"}),
        refusal(429, headers={"CF-Ray": "8f2a-FRA"}),
        refusal(403, (10000, "no"), headers={"CF-Ray": "8f2a-FRA"}),
        httpx.Response(522, text="<html>", headers={"CF-Ray": "8f2a-FRA"}),
    ):
        assert "trace 8f2a-FRA" in str(await failure(answer))


async def test_a_call_leaves_no_cookie_for_the_next_one() -> None:
    routes = router()
    answer = httpx.Response(200, json={"success": True, "result": {}}, headers={"set-cookie": "__cf_bm=1; path=/"})
    route = routes.route().mock(return_value=answer)
    api = Api("edge", ENDPOINT, httpx.MockTransport(routes.async_handler), lambda: NOW)
    for _ in range(2):
        await api.call("GET", "/zones", token=TOKEN, timeouts=TIMEOUTS)
    await api.aclose()
    assert "cookie" not in route.calls.last.request.headers


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "99999999999999999999"}, None),
        ({"retry-after": "999999999"}, MAX_RETRY_AFTER),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90.0),
        ({"retry-after": format_datetime(NOW - timedelta(seconds=90), usegmt=True)}, 0.0),
        ({"retry-after": "Fri, 31 Dec 9998 23:59:59 GMT"}, MAX_RETRY_AFTER),
        ({"ratelimit": '"default";r=0;t=42'}, 42.0),
        ({"ratelimit": '"burst";r=0;t=3, "default";r=10;t=250'}, 250.0),
        ({"ratelimit": "nonsense"}, None),
        ({"retry-after": "5", "ratelimit": '"default";r=0;t=42'}, 5.0),
    ],
)
def test_the_wait_is_read_from_the_headers(headers: dict[str, str], seconds: float | None) -> None:
    found = retry_after(httpx.Headers(headers), NOW)
    assert found == seconds


def http_date(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("until", "answered", "seconds"),
    [
        (http_date(90), http_date(0), 90.0),
        (http_date(3690), http_date(3600), 90.0),
        (http_date(-3510), http_date(-3600), 90.0),
        (http_date(-3700), http_date(-3600), 0.0),
        (http_date(90), "", 90.0),
        (http_date(90), "yesterday", 90.0),
        (http_date(90), "Fri, 31 Dec 9998 23:59:59 GMT", 90.0),
        (http_date(90), http_date(-86400 - 1), 90.0),
        (http_date(90 - 86400), http_date(-86400), 90.0),
        (http_date(86400 * 3), http_date(86400), MAX_RETRY_AFTER),
        ("120", http_date(3600), 120.0),
    ],
)
def test_a_date_to_wait_for_is_one_of_the_providers_clock(until: str, answered: str, seconds: float) -> None:
    headers = httpx.Headers({"retry-after": until, **({"date": answered} if answered else {})})
    assert retry_after(headers, NOW) == seconds
