"""The calls of a session: sign, find, revoke, check."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from issuer.authorities.base import CallTimeouts
from issuer.authorities.errors import AuthorityError, Rejected, Unauthorized, Unavailable, Unsupported
from issuer.sandbox.pki import SmallCA, name
from tests.unit.authorities.cloudflare_case import (
    NOW,
    TIMEOUTS,
    TOKEN,
    ZONE,
    csr,
    find_all,
    order,
    refusal,
    router,
    session,
    success,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.authorities.base import SigningOrder

CA = SmallCA.with_ecc(name(O="Test"), created=NOW - timedelta(days=1))


def record(order_: SigningOrder, id_: str, *, age: timedelta = timedelta(minutes=5)) -> dict[str, Any]:
    key = load_der_public_key(order_.csr.public_key)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    leaf = CA.sign(
        key,
        subject=name(CN="x"),
        hostnames=order_.csr.hostnames,
        not_before=NOW - age,
        not_after=NOW + timedelta(days=30),
    )
    pem = leaf.public_bytes(Encoding.PEM).decode()
    return {"id": id_, "certificate": pem, "hostnames": list(order_.csr.hostnames)}


async def test_sign_sends_the_order_in_the_providers_terms() -> None:
    routes = router()
    answer = success({"id": "abc", "certificate": "PEM", "expires_on": "2026-11-09 12:00:00 +0000 UTC"})
    route = routes.post("/certificates").mock(return_value=answer)
    wanted = order("www.example.com", "*.example.com", duration=timedelta(days=20))
    signed = await (await session(routes)).sign(wanted, TIMEOUTS)
    assert msgspec.json.decode(route.calls.last.request.content) == {
        "csr": wanted.csr.pem.decode(),
        "hostnames": ["www.example.com", "*.example.com"],
        "request_type": "origin-ecc",
        "requested_validity": 30,
    }
    assert route.calls.last.request.headers["authorization"] == f"Bearer {TOKEN}"
    assert (signed.chain, signed.handle, signed.ca, signed.promised) == (b"PEM", "abc", b"", timedelta(days=20))


async def test_what_is_unsupported_is_never_sent() -> None:
    routes = router()
    route = routes.route().mock(return_value=success({}))
    with pytest.raises(Unsupported):
        await (await session(routes)).sign(order(request=csr(common_name="Web Server")), TIMEOUTS)
    assert not route.called


@pytest.mark.parametrize(
    "result", [None, {}, [], "PEM", {"certificate": ""}, {"certificate": " \n"}, {"certificate": 7}]
)
async def test_a_success_without_a_certificate_is_unavailable_and_ambiguous(result: Any) -> None:
    routes = router()
    answer = httpx.Response(200, json={"success": True, "result": result}, headers={"CF-Ray": "8f-FRA"})
    routes.post("/certificates").mock(return_value=answer)
    with pytest.raises(Unavailable) as caught:
        await (await session(routes)).sign(order(), TIMEOUTS)
    assert caught.value.ambiguous
    assert caught.value.trace_id == "8f-FRA"


async def test_an_answer_without_an_id_is_a_certificate_all_the_same() -> None:
    routes = router()
    routes.post("/certificates").mock(return_value=success({"certificate": "PEM"}))
    assert (await (await session(routes)).sign(order(), TIMEOUTS)).handle == ""


async def test_each_call_takes_a_token_of_our_limits() -> None:
    taken = []

    async def token() -> None:
        taken.append(len(routes.calls))

    routes = router()
    routes.post("/certificates").mock(return_value=success({"certificate": "PEM"}))
    routes.get("/certificates").mock(side_effect=pages(others(120)))
    routes.delete("/certificates/abc").mock(return_value=success({"id": "abc"}))
    routes.get("/user/tokens/verify").mock(return_value=success({"status": "active"}))
    opened, timeouts = await session(routes, zoneID=ZONE), CallTimeouts(connect=1.0, read=1.0, token=token)
    await opened.sign(order(), timeouts)
    await find_all(opened, order(), timeouts)
    await opened.revoke("abc", timeouts)
    await opened.check(timeouts)
    assert taken == [0, 1, 2, 3, 4, 5], "one before each call"
    assert len(routes.calls) == 6


def pages(records: list[dict[str, Any]], *, say_total: bool = True) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        page, size = int(request.url.params["page"]), int(request.url.params["per_page"])
        shown = records[(page - 1) * size : page * size]
        if not say_total:
            return success(shown)
        return success(shown, page=page, per_page=size, total_count=len(records), total_pages=-(-len(records) // size))

    return answer


def others(count: int) -> list[dict[str, Any]]:
    return [{"id": f"o{i}", "certificate": "x", "hostnames": ["other.example.com"]} for i in range(count)]


async def test_find_returns_the_answers_to_the_order() -> None:
    wanted = order()
    records = [record(wanted, "old"), *others(3), record(wanted, "new", age=timedelta(0))]
    routes = router()
    route = routes.get("/certificates").mock(side_effect=pages(records))
    found = await find_all(await session(routes, zoneID=ZONE), wanted, TIMEOUTS)
    assert [signed.handle for signed in found] == ["old", "new"]
    assert found[1].chain == records[-1]["certificate"].encode()
    assert found[0].promised == wanted.duration
    assert route.calls.last.request.url.params["zone_id"] == ZONE


@pytest.mark.parametrize("say_total", [True, False])
@pytest.mark.parametrize("position", [0, 49, 50, 119])
async def test_find_turns_the_pages(position: int, say_total: bool) -> None:
    wanted = order()
    records = others(120)
    records[position] = record(wanted, "mine")
    routes = router()
    route = routes.get("/certificates").mock(side_effect=pages(records, say_total=say_total))
    found = await find_all(await session(routes, zoneID=ZONE), wanted, TIMEOUTS)
    assert [signed.handle for signed in found] == ["mine"]
    assert route.call_count == 3


@pytest.mark.parametrize("position", [0, 7999])
async def test_find_reads_a_bounded_number_of_pages_from_both_ends(position: int) -> None:
    wanted = order()
    records = others(8000)
    records[position] = record(wanted, "mine")
    routes = router()
    route = routes.get("/certificates").mock(side_effect=pages(records))
    found = await find_all(await session(routes, zoneID=ZONE), wanted, TIMEOUTS)
    assert [signed.handle for signed in found] == ["mine"]
    assert route.call_count == 40


@pytest.mark.parametrize(
    "info",
    [
        {"total_pages": 10**15},
        {"total_count": 10**15},
        {"total_pages": -5},
        {"total_pages": "x"},
        {"total_pages": True},
        {"total_count": -3},
    ],
)
async def test_find_is_not_led_astray_by_a_nonsensical_number_of_pages(info: dict[str, Any]) -> None:
    routes = router()
    route = routes.get("/certificates").mock(return_value=success(others(50), **info))
    assert await find_all(await session(routes, zoneID=ZONE), order(), TIMEOUTS) == ()
    assert route.call_count <= 40


async def test_the_zone_is_found_by_the_hostname_and_remembered() -> None:
    zones = router()
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["name"])
        return success([{"id": ZONE, "name": "example.com"}] if asked[-1] == "example.com" else [])

    zones.get("/zones").mock(side_effect=answer)
    listed = zones.get("/certificates").mock(return_value=success([]))
    origin = await session(zones)
    await find_all(origin, order("*.a.example.com"), TIMEOUTS)
    assert asked == ["a.example.com", "example.com"]
    assert listed.calls.last.request.url.params["zone_id"] == ZONE
    await find_all(origin, order("example.com"), TIMEOUTS)
    assert asked == ["a.example.com", "example.com"]


@pytest.mark.parametrize(
    "answer",
    [
        refusal(403, (10000, "Authentication error")),
        refusal(400, (4711, "no")),
        success([]),
        success(None),
        success([None, {"id": 7, "name": "example.com"}, {"id": ZONE, "name": "other.example"}]),
    ],
)
async def test_without_a_zone_all_certificates_are_looked_at(answer: httpx.Response) -> None:
    """A token that may sign needs no permission to read zones, so that it may not is no reason to doubt it."""
    wanted = order("www.example.com")
    routes = router()
    routes.get("/zones").mock(return_value=answer)
    listed = routes.get("/certificates").mock(side_effect=pages([record(wanted, "mine")]))
    found = await find_all(await session(routes), wanted, TIMEOUTS)
    assert [signed.handle for signed in found] == ["mine"]
    assert "zone_id" not in listed.calls.last.request.url.params


async def test_a_look_that_fails_says_so_and_is_not_ambiguous() -> None:
    routes = router()
    routes.get("/certificates").mock(side_effect=httpx.ReadTimeout(""))
    with pytest.raises(Unavailable) as caught:
        await find_all(await session(routes, zoneID=ZONE), order(), TIMEOUTS)
    assert not caught.value.ambiguous


async def test_revoke_deletes_the_certificate() -> None:
    routes = router()
    route = routes.delete("/certificates/abc").mock(return_value=success({"id": "abc"}))
    await (await session(routes)).revoke("abc", TIMEOUTS)
    assert route.called


@pytest.mark.parametrize(
    "answer",
    [
        refusal(404, (1101, "unknown")),
        refusal(404, (7003, "Could not route")),
        refusal(404),
        httpx.Response(404, text="<html>not found</html>"),
        refusal(410, (4711, "gone")),
        refusal(400, (4711, "This certificate is already revoked")),
        refusal(400, (4711, "Certificate has already been revoked")),
    ],
)
async def test_revoking_what_is_gone_already_is_no_error(answer: httpx.Response) -> None:
    routes = router()
    routes.delete("/certificates/abc").mock(return_value=answer)
    await (await session(routes)).revoke("abc", TIMEOUTS)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refusal(400, (4711, "no")), Rejected),
        (refusal(403, (10000, "no")), Unauthorized),
        (httpx.Response(503, text="<html>"), Unavailable),
    ],
)
async def test_a_revocation_that_fails_says_so(answer: httpx.Response, expected: type[AuthorityError]) -> None:
    routes = router()
    routes.delete("/certificates/abc").mock(return_value=answer)
    with pytest.raises(expected):
        await (await session(routes)).revoke("abc", TIMEOUTS)


@pytest.mark.parametrize("handle", ["", "../zones/1", "a/b", "a?b", "a b"])
async def test_a_handle_that_is_no_id_reaches_no_other_path(handle: str) -> None:
    routes = router()
    route = routes.route().mock(return_value=success({}))
    with pytest.raises(Rejected):
        await (await session(routes)).revoke(handle, TIMEOUTS)
    assert not route.called


async def check(verify: httpx.Response, listing: httpx.Response | None = None, **config: Any) -> list[str]:
    routes = router()
    routes.get("/user/tokens/verify").mock(return_value=verify)
    if listing is not None:
        routes.get("/certificates").mock(return_value=listing)
    await (await session(routes, **config)).check(TIMEOUTS)
    return [str(call.request.url.query, "ascii") for call in routes.calls]


@pytest.mark.parametrize("result", [{"id": "1", "status": "active"}, {"id": "1"}, {"status": []}, None, [], "active"])
async def test_a_token_that_verifies_is_good(result: Any) -> None:
    assert await check(httpx.Response(200, json={"success": True, "result": result})) == [""]


@pytest.mark.parametrize("status", ["disabled", "expired"])
async def test_a_token_that_is_over_is_unauthorized_with_the_word(status: str) -> None:
    with pytest.raises(Unauthorized, match=f"the API token is {status}"):
        await check(success({"id": "1", "status": status}))


async def test_a_token_that_only_verify_refuses_is_good() -> None:
    """Tokens that an account owns are unknown to `/user/tokens/verify`."""
    assert await check(refusal(401, (1000, "Invalid API Token")), success([])) == ["", "page=1&per_page=5"]
    queries = await check(refusal(401, (1000, "Invalid API Token")), success([]), zoneID=ZONE)
    assert queries[1] == f"page=1&per_page=5&zone_id={ZONE}"
    await check(refusal(401, (1000, "Invalid API Token")), refusal(400, (4711, "zone_id is needed")))


async def test_a_token_that_verify_and_the_list_refuse_is_unauthorized() -> None:
    with pytest.raises(Unauthorized, match="Invalid access token"):
        await check(refusal(401, (1000, "Invalid API Token")), refusal(403, (9109, "Invalid access token")))


async def test_a_check_that_gets_no_answer_says_nothing_about_the_token() -> None:
    with pytest.raises(Unavailable):
        await check(httpx.Response(503, text="<html>"))
    with pytest.raises(Unavailable):
        await check(refusal(401, (1000, "Invalid API Token")), httpx.Response(503, text="<html>"))
