"""The mock CDN behaves as the provider's API is known to behave."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from issuer.sandbox.cdn import MockCDN, OriginCA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
BEARER = {"Authorization": "Bearer sandbox-token"}


@cache
def origin_ca() -> OriginCA:
    return OriginCA()


@cache
def key(kind: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


def order(*hostnames: str, kind: str = "ecc", **changes: Any) -> dict[str, Any]:
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key(kind), hashes.SHA256())
    return {
        "csr": csr.public_bytes(Encoding.PEM).decode(),
        "hostnames": hostnames or ("www.example.com",),
        "request_type": f"origin-{kind}",
        "requested_validity": 7,
        **changes,
    }


class Caller:
    """Speaks to the mock as any HTTP client would."""

    def __init__(self, cdn: MockCDN, http: aiohttp.ClientSession) -> None:
        self.cdn = cdn
        self._http = http
        self.headers: dict[str, str] = {}

    async def __call__(
        self, method: str, path: str, json: Any = None, *, headers: dict[str, str] = BEARER
    ) -> tuple[int, Any]:
        async with self._http.request(method, self.cdn.endpoint + path, json=json, headers=headers) as response:
            self.headers = dict(response.headers)
            return response.status, await response.json()


@contextlib.asynccontextmanager
async def mock(**settings: Any) -> AsyncIterator[Caller]:
    async with MockCDN(ca=origin_ca(), now=lambda: NOW, **settings) as cdn, aiohttp.ClientSession() as http:
        yield Caller(cdn, http)


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
async def test_it_signs_as_the_origin_ca_does(kind: str) -> None:
    async with mock() as call:
        status, envelope = await call("POST", "/certificates", order("www.example.com", "*.example.com", kind=kind))
        assert (status, envelope["success"], envelope["errors"]) == (200, True, [])
        result = envelope["result"]
        leaf = x509.load_pem_x509_certificate(result["certificate"].encode())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        root = (origin_ca().rsa if kind == "rsa" else origin_ca().ecc).certificate
        leaf.verify_directly_issued_by(root)
        assert (
            leaf.subject.rfc4514_string()
            == "CN=CloudFlare Origin Certificate,OU=CloudFlare Origin CA,O=CloudFlare\\, Inc."
        )
        assert names.get_values_for_type(x509.DNSName) == ["www.example.com", "*.example.com"]
        assert leaf.public_key() == key(kind).public_key()
        assert leaf.not_valid_before_utc == NOW - timedelta(minutes=5)
        assert leaf.not_valid_after_utc == NOW + timedelta(days=7)
        assert result["expires_on"] == "2026-11-09 12:00:00 +0000 UTC"
        assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_the_roots_are_two_and_bear_the_providers_names() -> None:
    roots = x509.load_pem_x509_certificates(origin_ca().roots_pem.encode())
    units = [root.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)[0].value for root in roots]
    assert units == ["CloudFlare Origin SSL ECC Certificate Authority", "CloudFlare Origin SSL Certificate Authority"]


async def test_asking_twice_makes_two_certificates() -> None:
    async with mock() as call:
        body = order()
        for _ in range(2):
            await call("POST", "/certificates", body)
        public_key = key("ecc").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert len(call.cdn.live(public_key)) == 2
        assert call.cdn.ledger.duplicates() == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (order("www.example.net"), 400, 1010),
        (order("*.com"), 400, 1010),
        (order("www.*.example.com"), 400, 1010),
        (order(*(f"h{i}.example.com" for i in range(201))), 400, 1107),
        (order(requested_validity=8), 400, 1104),
        (order(request_type="origin-rsa"), 400, 1106),
        (order(request_type="keyless-certificate"), 400, 1106),
        (order(csr="nonsense"), 400, 1105),
        ({"csr": "x"}, 400, 6007),
        ([], 400, 6007),
    ],
)
async def test_what_the_provider_would_not_sign_is_refused(body: Any, status: int, code: int) -> None:
    async with mock() as call:
        answered, envelope = await call("POST", "/certificates", body)
        assert (answered, envelope["success"], envelope["errors"][0]["code"]) == (status, False, code)
        assert not call.cdn.certificates


async def test_certificates_are_listed_by_zone_and_page() -> None:
    async with mock(zones=("example.com", "example.net")) as call:
        for i in range(7):
            await call("POST", "/certificates", order(f"h{i}.example.com"))
        await call("POST", "/certificates", order("www.example.net"))
        zone = call.cdn.zones["example.com"]
        _, first = await call("GET", f"/certificates?zone_id={zone}&page=1&per_page=5")
        _, second = await call("GET", f"/certificates?zone_id={zone}&page=2&per_page=5")
        info = {"page": 1, "per_page": 5, "count": 5, "total_count": 7, "total_pages": 2}
        assert first["result_info"] == info
        seen = {hostname for record in first["result"] + second["result"] for hostname in record["hostnames"]}
        assert seen == {f"h{i}.example.com" for i in range(7)}
        assert (await call("GET", "/certificates?per_page=51"))[0] == 400
        assert (await call("GET", "/certificates?page=x"))[0] == 400


async def test_a_certificate_can_be_read_and_revoked_once() -> None:
    async with mock() as call:
        _, envelope = await call("POST", "/certificates", order())
        id_ = envelope["result"]["id"]
        assert (await call("GET", f"/certificates/{id_}"))[1]["result"]["id"] == id_
        assert (await call("DELETE", f"/certificates/{id_}"))[0] == 200
        assert call.cdn.certificates[id_].revoked
        status, again = await call("DELETE", f"/certificates/{id_}")
        assert (status, again["errors"][0]["message"]) == (400, "This certificate is already revoked")
        assert (await call("GET", "/certificates"))[1]["result"] == []
        assert (await call("DELETE", "/certificates/unknown"))[0] == 404


async def test_credentials_are_refused_as_the_provider_refuses_them() -> None:
    async with mock() as call:

        async def code(path: str, headers: dict[str, str]) -> tuple[int, int]:
            status, envelope = await call("GET", path, headers=headers)
            return status, envelope["errors"][0]["code"]

        assert await code("/certificates", {}) == (400, 6003)
        assert await code("/certificates", {"X-Auth-User-Service-Key": "v1.0-abc"}) == (400, 6003)
        assert await code("/certificates", {"Authorization": "Bearer nobody"}) == (403, 9109)
        call.cdn.tokens["sandbox-token"].edits_certificates = False
        assert await code("/certificates", BEARER) == (403, 1016)
        call.cdn.tokens["sandbox-token"].reads_zones = False
        assert await code("/zones", BEARER) == (403, 10000)
        call.cdn.tokens["sandbox-token"].account_owned = True
        assert await code("/user/tokens/verify", BEARER) == (401, 1000)
        call.cdn.tokens["sandbox-token"].status = "disabled"
        assert await code("/certificates", BEARER) == (403, 10000)


async def test_a_token_verifies_with_its_status() -> None:
    async with mock() as call:
        for status in ("active", "disabled", "expired"):
            call.cdn.tokens["sandbox-token"].status = status
            assert (await call("GET", "/user/tokens/verify"))[1]["result"]["status"] == status


async def test_zones_are_found_by_name() -> None:
    async with mock(zones=("example.com", "example.net")) as call:
        _, envelope = await call("GET", "/zones?name=example.net")
        assert envelope["result"] == [{"id": call.cdn.zones["example.net"], "name": "example.net", "status": "active"}]
        assert (await call("GET", "/zones?name=example.org"))[1]["result"] == []
        assert len((await call("GET", "/zones"))[1]["result"]) == 2


async def test_every_answer_has_a_trace_id_of_its_own_and_calls_are_counted() -> None:
    async with mock() as call:
        rays = set()
        for path in ("/zones", "/certificates/abc", "/certificates/def", "/nowhere"):
            await call("GET", path)
            rays.add(call.headers["CF-Ray"])
        assert len(rays) == 4
        assert call.cdn.calls == {"GET /zones": 1, "GET /certificates/{id}": 2, "GET /nowhere": 1}


async def test_the_api_is_at_the_root_too() -> None:
    async with (
        mock() as call,
        aiohttp.ClientSession() as http,
        http.get(call.cdn.url + "/zones", headers=BEARER) as got,
    ):
        assert got.status == 200


async def test_a_call_that_hangs_is_forgotten_when_its_client_gives_up() -> None:
    async with mock() as call:
        call.cdn.faults.set("hang")
        hanging = asyncio.create_task(call("GET", "/zones"))
        await call.cdn.until(lambda: call.cdn.hanging == 1)
        hanging.cancel()
        async with asyncio.timeout(5):
            await call.cdn.until(lambda: call.cdn.hanging == 0)


async def test_a_mock_that_is_stopped_lets_go_of_what_hangs_and_signs_nothing_more() -> None:
    async with mock(latency=0.05) as call:
        late = asyncio.create_task(call("POST", "/certificates", order()))
        await call.cdn.until(lambda: call.cdn.calls.total() == 1)
        call.cdn.latency = 0.0
        call.cdn.faults.set("hang")
        hanging = asyncio.create_task(call("GET", "/zones"))
        await call.cdn.until(lambda: call.cdn.hanging == 1)
        await call.cdn.stop()
        for lost in (late, hanging):
            with pytest.raises(aiohttp.ClientError):
                await lost
        await asyncio.sleep(0.06)
        assert not call.cdn.certificates


async def test_it_can_be_stopped_and_started_again_with_what_it_knows() -> None:
    async with mock() as call:
        await call("POST", "/certificates", order())
        await call.cdn.stop()
        await call.cdn.start()
        assert len((await call("GET", "/certificates"))[1]["result"]) == 1
