"""The faults of the mock CDN: which calls they hit, how many, and how they are switched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any

import aiohttp
import msgspec
import pytest
from click.testing import CliRunner

from issuer.cli.main import main
from issuer.sandbox.cdn import Fault, FaultKind, Faults, MockCDN
from issuer.sandbox.cdn.faults import MEANINGS

SIGN = ("POST", "/certificates")
LIST = ("GET", "/certificates")


def test_without_faults_nothing_is_hit() -> None:
    assert Faults().strike(*SIGN) == (0.0, None)


def test_a_fault_hits_all_calls_until_it_is_cleared() -> None:
    faults = Faults()
    faults.set("hang")
    for call in (SIGN, LIST, ("GET", "/zones")):
        _, fault = faults.strike(*call)
        assert fault is not None
        assert fault.kind is FaultKind.HANG
    faults.clear()
    assert faults.strike(*SIGN) == (0.0, None)
    assert faults.hits == {FaultKind.HANG: 3}


def test_a_counted_fault_hits_that_many_calls() -> None:
    faults = Faults()
    faults.set("status", status=502, count=2)
    hit = [faults.strike(*SIGN)[1] is not None for _ in range(4)]
    assert hit == [True, True, False, False]
    assert faults.active == ()


def test_a_fault_with_nothing_left_hits_nothing() -> None:
    faults = Faults()
    faults.set("hang", count=0)
    assert faults.strike(*SIGN) == (0.0, None)


def test_a_share_hits_that_share_and_the_same_calls_each_time() -> None:
    def run(seed: int) -> list[bool]:
        faults = Faults(Random(seed))
        faults.set("hang", share=0.3)
        return [faults.strike(*SIGN)[1] is not None for _ in range(1000)]

    assert 250 < sum(run(1)) < 350
    assert run(1) == run(1) != run(2)


def test_a_fault_can_be_limited_to_methods_and_paths() -> None:
    faults = Faults()
    faults.set("hang", methods=["GET"], paths=["/certificates", "/user"])
    hit = [
        faults.strike(*call)[1] is not None for call in (SIGN, LIST, ("GET", "/user/tokens/verify"), ("GET", "/zones"))
    ]
    assert hit == [False, True, True, False]


@pytest.mark.parametrize("kind", ["truncated", "foreign", "wrong-names", "expired"])
def test_a_fault_of_the_certificate_hits_only_the_call_that_signs(kind: str) -> None:
    faults = Faults()
    faults.set(kind)
    assert faults.strike(*LIST)[1] is None
    assert faults.strike("GET", "/user/tokens/verify")[1] is None
    assert faults.strike(*SIGN)[1] is not None


def test_slowness_adds_to_the_first_other_fault_and_spares_the_rest() -> None:
    faults = Faults()
    faults.set("slow", seconds=2)
    faults.set("rejected", count=1)
    faults.set("unauthorized", count=1)
    faults.set("slow", seconds=3)
    delay, fault = faults.strike(*SIGN)
    assert (delay, fault and fault.kind) == (5.0, FaultKind.REJECTED)
    assert [left.kind for left in faults.active] == ["slow", "unauthorized", "slow"]


def test_one_fault_can_be_cleared_among_others() -> None:
    faults = Faults()
    first = faults.set("hang")
    faults.set("status")
    faults.clear(first)
    faults.clear(first)
    assert [fault.kind for fault in faults.active] == [FaultKind.STATUS]


@pytest.mark.parametrize("settings", [{"share": 2}, {"count": -1}, {"sekonds": 1}, {"seconds": "soon"}])
def test_a_fault_that_does_not_exist_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        Faults().set("hang", **settings)
    with pytest.raises(msgspec.ValidationError):
        Faults().set("no-such-kind")


async def test_the_knobs_turn_over_http() -> None:
    async with MockCDN() as cdn, aiohttp.ClientSession() as http:

        async def admin(method: str, path: str, json: object = None) -> tuple[int, object]:
            async with http.request(method, f"{cdn.url}/admin{path}", json=json) as response:
                return response.status, await response.json()

        assert await admin("GET", "/faults") == (200, [])
        assert await admin("PUT", "/faults", {"kind": "hang", "share": 0.5}) == (200, [{"kind": "hang", "share": 0.5}])
        assert await admin("POST", "/faults", {"kind": "slow", "seconds": 3.0}) == (
            200,
            [{"kind": "hang", "share": 0.5}, {"kind": "slow", "seconds": 3.0}],
        )
        assert cdn.faults.active == (Fault(kind=FaultKind.HANG, share=0.5), Fault(kind=FaultKind.SLOW, seconds=3.0))
        assert await admin("PUT", "/faults", [{"kind": "huge"}]) == (200, [{"kind": "huge"}])
        status, answer = await admin("PUT", "/faults", {"kind": "nonsense"})
        assert (status, "nonsense" in str(answer)) == (400, True)
        assert isinstance(answer, dict)
        assert answer["error"].endswith(f"`$.kind`; the kinds of fault are {', '.join(FaultKind)}")
        assert await admin("DELETE", "/faults") == (200, [])

        assert await admin("PUT", "/tokens", {"token": "sandbox-token", "status": "deleted"}) == (200, {})
        assert not cdn.tokens
        assert await admin("PUT", "/tokens", {"token": "new"}) == (200, {})
        assert cdn.tokens["new"].status == "active"
        assert (await admin("PUT", "/zones", {"domain": "example.org"}))[1] == {"id": cdn.zones["example.org"]}
        assert await admin("PUT", "/latency", {"seconds": 0.05}) == (200, {})
        assert cdn.latency == 0.05
        assert (await admin("GET", "/state"))[1] == {"calls": {}, "hits": {}, "duplicates": 0, "certificates": []}
        assert (await admin("GET", "/nowhere"))[0] == 404
        async with http.get(f"{cdn.url}/admin/roots") as response:
            assert await response.text() == cdn.roots_pem


def test_every_kind_of_fault_is_told_in_the_help() -> None:
    told = CliRunner().invoke(main, ["mock-cdn", "--help"], terminal_width=100).output
    assert MEANINGS.keys() == set(FaultKind)
    for kind, meaning in MEANINGS.items():
        assert f"  {kind:<13} {meaning}" in told


TLD = "You cannot use this API for this TLD"


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "body"),
    [
        ({"kind": "error-field", "message": TLD}, 401, "application/json", {"error": TLD, "errors": []}),
        ({"kind": "error-field", "message": TLD, "status": 400}, 400, "application/json", {"error": TLD}),
        ({"kind": "plain-text", "message": "Authorization failed"}, 403, "text/plain", "Authorization failed"),
        ({"kind": "plain-text", "message": "slow down", "status": 200}, 200, "text/plain", "slow down"),
        ({"kind": "status", "status": 403}, 403, "text/html", "<!DOCTYPE html>"),
        *(
            (
                {"kind": "rejected", "code": code, "message": "x", "status": status},
                status,
                "application/json",
                {"errors": [{"code": code, "message": "x"}]},
            )
            for code in (971, 1101, 9103, 9106, 10001, 10013)
            for status in (200, 400, 403)
        ),
    ],
)
async def test_refusals_of_every_shape_are_played_and_nothing_is_signed(
    fault: dict[str, Any], status: int, content_type: str, body: str | dict[str, Any]
) -> None:
    async with MockCDN() as cdn, aiohttp.ClientSession() as http:
        cdn.faults.set(**fault)
        async with http.post(f"{cdn.endpoint}/certificates") as response:
            assert (response.status, response.content_type) == (status, content_type)
            if isinstance(body, dict):
                said = await response.json()
                assert said["success"] is False
                assert body.items() <= said.items()
            else:
                assert (await response.text()).startswith(body)
        assert not cdn.certificates


@pytest.mark.parametrize("skew", [0, -3600, 7200])
async def test_a_wait_until_a_date_is_one_of_the_providers_clock(skew: float) -> None:
    now = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
    async with MockCDN(now=lambda: now) as cdn, aiohttp.ClientSession() as http:
        cdn.faults.set("rate-limited", seconds=90, skew=skew)
        async with http.get(f"{cdn.endpoint}/zones") as response:
            (date,) = response.headers.getall("Date")
            until = response.headers["Retry-After"]
    assert parsedate_to_datetime(date) == now + timedelta(seconds=skew)
    assert parsedate_to_datetime(until) == now + timedelta(seconds=skew + 90)
