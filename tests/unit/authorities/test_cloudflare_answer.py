"""What an answer says: the reason, wherever it stands, as one short line."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from issuer.authorities.errors import Rejected, Unauthorized, Unavailable
from tests.unit.authorities.cloudflare_case import failure, refusal


async def test_texts_of_the_provider_are_one_short_line() -> None:
    error = await failure(refusal(400, (1010, "no\r\n\x1b[31m\u2028\x00such " + "zone " * 10_000)))
    assert error.message.startswith("no [31m such zone zone")
    assert error.message.isprintable()
    assert len(error.message) <= 500


@pytest.mark.parametrize(
    "errors",
    [None, 7, "nope", {}, [None], [7], [[]], [{}], [{"code": None, "message": None}], [{"code": True}], [{"code": {}}]],
)
async def test_errors_of_any_shape_are_no_reason_at_all(errors: Any) -> None:
    error = await failure(httpx.Response(400, json={"success": False, "errors": errors}))
    assert isinstance(error, Unavailable)
    assert error.code is None


CHECK = "Check that the Secret holds an API token that is active, not expired and not limited to other addresses"
TLD = "You cannot use this API for this TLD"


@pytest.mark.parametrize(
    "envelope",
    [
        {"success": False, "error": TLD, "errors": []},
        {"success": False, "error": {"code": 4711, "message": TLD}, "errors": []},
        {"success": False, "error": [{"message": TLD}], "errors": None},
        {"success": False, "error": [TLD]},
        {"success": False, "errors": [{}], "messages": [TLD]},
        {"success": False, "errors": TLD},
        {"message": TLD},
        {"messages": {"message": TLD}},
        {"error": TLD},
    ],
)
async def test_a_reason_in_another_place_than_errors_is_told(envelope: dict[str, Any]) -> None:
    error = await failure(httpx.Response(401, json=envelope))
    assert isinstance(error, Unauthorized)
    assert error.message == f"{TLD}. {CHECK}"


async def test_what_the_api_says_in_error_is_a_verdict_and_what_something_before_it_says_is_none() -> None:
    assert isinstance(await failure(httpx.Response(400, json={"success": False, "error": TLD})), Rejected)
    for passing in ({"error": TLD}, {"success": False, "message": TLD}, {"success": False, "messages": [TLD]}):
        error = await failure(httpx.Response(400, json=passing))
        assert isinstance(error, Unavailable)
        assert error.message == TLD
    coded = await failure(httpx.Response(400, json={"success": False, "error": {"code": 9103, "message": "x"}}))
    assert (type(coded), coded.code) == (Unauthorized, "9103")


async def test_errors_come_before_a_reason_in_another_place() -> None:
    envelope = {"success": False, "errors": [{"code": 1010, "message": "no zone"}], "error": "x", "messages": ["y"]}
    error = await failure(httpx.Response(400, json=envelope))
    assert isinstance(error, Rejected)
    assert error.message.startswith("no zone. ")


@pytest.mark.parametrize(
    ("status", "body", "shown"),
    [
        (403, b"Authorization failed\r\n", f"Authorization failed. {CHECK}"),
        (403, b'"Authorization failed"', f"Authorization failed. {CHECK}"),
        (400, b"error code: 1020\x00", "error code: 1020"),
        (400, b"x" * 1000, "x" * 299 + "…"),
        (502, b"upstream connect error", "HTTP 502 from api.cdn.test: upstream connect error"),
        (400, b"<html>Bad</html>", "the answer is not JSON"),
        (400, b"\n <!DOCTYPE html>Bad", "the answer is not JSON"),
        (400, b"Oops <b>Bad</b>", "the answer is not JSON"),
        (400, b'{"success": false, "errors": [{"code', "the answer is not JSON"),
        (400, b'"half of a text', "the answer is not JSON"),
        (400, b"-----BEGIN CERTIFICATE-----", "the answer is not JSON"),
        (400, b"\xff\xfe broken", "the answer is not JSON"),
        (400, b"0", "the answer is JSON, but not the API's envelope"),
        (400, b"-", "the answer is not JSON"),
        (502, b"<html>Bad gateway</html>", "HTTP 502 from api.cdn.test"),
        (503, b"", "HTTP 503 from api.cdn.test"),
    ],
)
async def test_the_words_of_a_plain_body_are_shown_and_those_of_a_page_are_not(
    status: int, body: bytes, shown: str
) -> None:
    error = await failure(httpx.Response(status, content=body))
    assert error.message == shown


async def test_what_calls_itself_a_page_is_not_shown() -> None:
    html = {"content-type": "text/html; charset=UTF-8"}
    error = await failure(httpx.Response(502, content=b"upstream connect error", headers=html))
    assert error.message == "HTTP 502 from api.cdn.test"


async def test_a_plain_body_names_the_status_and_the_trace() -> None:
    error = await failure(httpx.Response(403, text="Authorization failed", headers={"CF-Ray": "8f-FRA"}))
    assert str(error).endswith(" (HTTP 403, trace 8f-FRA)")
    gone = await failure(httpx.Response(503, text="<html>", headers={"CF-Ray": "8f-FRA"}))
    assert str(gone) == "edge: HTTP 503 from api.cdn.test (trace 8f-FRA)"


async def test_the_reason_under_a_reason_is_told() -> None:
    chain = [{"code": 6111, "message": "Invalid format for Authorization header"}]
    error = await failure(refusal(400, {"code": 6003, "message": "Invalid request headers", "error_chain": chain}))
    assert isinstance(error, Unauthorized)
    assert error.code == "6003"
    assert "Invalid request headers; Invalid format for Authorization header" in error.message


async def test_a_code_is_a_number_or_a_text() -> None:
    assert isinstance(await failure(refusal(400, ("1010", "no"))), Rejected)
    assert isinstance(await failure(refusal(400, (1100, "database"))), Unavailable)
