"""The roots of the Origin CA that ship with the program: which they are, when they are given, when they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from structlog.testing import capture_logs

from issuer.api.issuer import AuthorityCommon, SecretKeyReference
from issuer.authorities import cloudflare, cloudflare_roots
from issuer.authorities.cloudflare import DEFAULT_ENDPOINT
from issuer.authorities.cloudflare_roots import EndNotice, KnownRoots, shipped
from issuer.pki.certificate import is_self_signed
from issuer.pki.verify import verify
from issuer.sandbox.pki import SmallCA, name
from tests.unit.authorities import cloudflare_case
from tests.unit.authorities.cloudflare_case import NOW, TIMEOUTS, csr, find_all, order, rsa_key, spec, success

if TYPE_CHECKING:
    from collections.abc import Callable

    from issuer.authorities.base import Signed, SigningOrder

ECC = SmallCA.with_ecc(name(O="CloudFlare, Inc.", OU="ECC"), created=NOW - timedelta(days=1))
RSA = SmallCA.with_rsa(name(O="CloudFlare, Inc.", OU="RSA"), created=NOW - timedelta(days=1))
STRANGER = SmallCA.with_ecc(name(O="CloudFlare, Inc.", OU="ECC"), created=NOW - timedelta(days=1))
FINGERPRINTS = [
    "d3c7e85c91707fc0a12abc5d88266747aa4fa8e7b162f633ffb3c9d989947620",
    "aa63697a22764b67b2134ce14cb5690ea336940b93986113f49545917832d80d",
]
"""SHA-256 of the RSA root and of the ECC root, as `openssl x509 -fingerprint -sha256` tells them."""
ENDS = datetime(2029, 8, 15, 17, 0, tzinfo=UTC)


def certificate(order_: SigningOrder, ca: SmallCA, *, key: Any = None) -> bytes:
    key = key or load_der_public_key(order_.csr.public_key)
    leaf = ca.sign(
        key,
        subject=name(CN="CloudFlare Origin Certificate"),
        hostnames=order_.csr.hostnames,
        not_before=NOW - timedelta(minutes=5),
        not_after=NOW + timedelta(days=30),
    )
    return leaf.public_bytes(Encoding.PEM)


def known(*roots: SmallCA, now: Callable[[], datetime] = lambda: NOW) -> KnownRoots:
    return KnownRoots(tuple(root.certificate for root in roots or (RSA, ECC)), now)


def test_the_roots_are_those_that_cloudflare_publishes() -> None:
    assert [root.fingerprint(hashes.SHA256()).hex() for root in shipped()] == FINGERPRINTS
    assert [root.subject.rfc4514_string().split("OU=")[1].split(",")[0] for root in shipped()] == [
        "CloudFlare Origin SSL Certificate Authority",
        "CloudFlare Origin SSL ECC Certificate Authority",
    ]
    for root in shipped():
        assert is_self_signed(root)
        assert root.not_valid_after_utc == ENDS


def test_a_certificate_gets_the_root_that_it_leads_to() -> None:
    wanted = order()
    assert known().met_by(certificate(wanted, ECC), wanted.csr) == ECC.pem
    with_rsa = order(request=csr("www.example.com", key=rsa_key()))
    assert known().met_by(certificate(with_rsa, RSA), with_rsa.csr) == RSA.pem


@pytest.mark.parametrize("text", [b"", b"PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_gets_none(text: bytes) -> None:
    assert known().met_by(text, order().csr) == b""


def test_a_certificate_of_another_key_gets_none() -> None:
    wanted = order()
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert known().met_by(certificate(wanted, ECC, key=other), wanted.csr) == b""


def test_a_certificate_of_another_ca_gets_none_and_is_good_all_the_same() -> None:
    """Cloudflare may replace its CA, even by one of the same name: no good certificate is refused for that."""
    wanted = order()
    chain = certificate(wanted, STRANGER)
    given = known().met_by(chain, wanted.csr)
    assert given == b""
    checked = verify(chain, given, wanted.csr, roots=(), at_least=wanted.duration, now=NOW)
    assert (checked.certificate, checked.ca) == (chain, b"")


def test_a_root_that_has_ended_is_not_given() -> None:
    wanted = order()
    late = ECC.certificate.not_valid_after_utc + timedelta(seconds=1)
    assert known(now=lambda: late).met_by(certificate(wanted, ECC), wanted.csr) == b""


def test_all_that_have_not_ended_are_known() -> None:
    assert known().pem == RSA.pem + ECC.pem
    assert known(now=lambda: ECC.certificate.not_valid_after_utc).pem == b""


async def test_a_session_knows_the_shipped_roots_at_cloudflares_own_endpoint_only() -> None:
    own = cloudflare.build(spec(endpoint=DEFAULT_ENDPOINT), cloudflare_case.context())
    other = cloudflare.build(spec(), cloudflare_case.context())
    assert (await own.session()).roots == KnownRoots(shipped(), lambda: NOW).pem != b""
    assert (await other.session()).roots == b""


async def signed(monkeypatch: pytest.MonkeyPatch, common: AuthorityCommon, endpoint: str) -> tuple[Signed, ...]:
    """What signing gives, and then what a look finds, at an API that signs with `ECC`."""
    monkeypatch.setattr(cloudflare_roots, "shipped", lambda: (RSA.certificate, ECC.certificate))
    wanted = order()
    record = {"id": "abc", "certificate": certificate(wanted, ECC).decode(), "hostnames": ["www.example.com"]}
    routes = cloudflare_case.router(endpoint)
    routes.post("/certificates").mock(return_value=success(record))
    routes.get("/zones").mock(return_value=success([]))
    routes.get("/certificates").mock(return_value=success([record]))
    entry = msgspec.structs.replace(spec(endpoint=endpoint), common=common)
    context = cloudflare_case.context(cloudflare_case.transport(routes))
    session = await cloudflare.build(entry, context).session()
    return await session.sign(wanted, TIMEOUTS), *await find_all(session, wanted, TIMEOUTS)


@pytest.mark.parametrize("endpoint", [DEFAULT_ENDPOINT, DEFAULT_ENDPOINT + "/"])
async def test_what_cloudflare_signs_has_its_root_with_it(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    answers = await signed(monkeypatch, AuthorityCommon(name="edge"), endpoint)
    assert [answer.ca for answer in answers] == [ECC.pem, ECC.pem]


@pytest.mark.parametrize(
    ("common", "endpoint"),
    [
        (AuthorityCommon(name="edge", ca_bundle=STRANGER.pem.decode()), DEFAULT_ENDPOINT),
        (AuthorityCommon(name="edge", ca_bundle_secret_ref=SecretKeyReference(name="x", key="y")), DEFAULT_ENDPOINT),
        (AuthorityCommon(name="edge"), "https://api.cdn.test/client/v4"),
    ],
)
async def test_with_a_bundle_or_at_another_endpoint_no_shipped_root_is_given(
    monkeypatch: pytest.MonkeyPatch, common: AuthorityCommon, endpoint: str
) -> None:
    assert [answer.ca for answer in await signed(monkeypatch, common, endpoint)] == [b"", b""]


@pytest.mark.parametrize(
    ("now", "lines"), [(ENDS - timedelta(days=366), 0), (ENDS - timedelta(days=365), 1), (ENDS + timedelta(days=9), 1)]
)
def test_a_year_before_their_end_a_warning_tells_of_it(now: datetime, lines: int) -> None:
    with capture_logs() as logs:
        EndNotice().look(KnownRoots(shipped(), lambda: now))
    assert [(line["log_level"], line["ends"]) for line in logs] == [("warning", "2029-08-15T17:00:00Z")] * lines


async def test_the_warning_comes_once_a_day_for_all_issuers() -> None:
    day = [ENDS - timedelta(days=300)]
    context = cloudflare_case.context(now=lambda: day[0])
    authorities = [cloudflare.build(spec(endpoint=DEFAULT_ENDPOINT), context) for _ in range(3)]
    with capture_logs() as logs:
        for _ in range(2):
            for authority in authorities:
                await authority.session()
        assert len(logs) == 1
        day[0] += timedelta(days=1)
        await authorities[0].session()
    assert len(logs) == 2
    assert all("set caBundle" in line["event"] for line in logs)
