"""Certificates by signer and days left, and renewals that do not come through."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec.structs import replace

from issuer.api import request as api
from issuer.api.condition import FALSE, READY, TRUE, Condition
from issuer.api.meta import ObjectKey, ObjectMeta, format_time
from issuer.api.request import CertificateRequest, IssuerRef, RequestSpec, RequestStatus
from issuer.controllers import certificates as module
from issuer.controllers.certificates import CertificateCensus
from issuer.observe import families

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())


@lru_cache
def leaf(days: float) -> bytes:
    """A certificate with so many days left."""
    builder = x509.CertificateBuilder(x509.Name([]), x509.Name([]), KEY.public_key(), 1)
    ends = NOW + timedelta(days=days)
    signed = builder.not_valid_before(NOW - timedelta(days=400)).not_valid_after(ends).sign(KEY, hashes.SHA256())
    return signed.public_bytes(Encoding.DER)


def request(name: str, reason: str, *, certificate: str = "www", day: int = 0) -> CertificateRequest:
    """A request of a Certificate, made so many days before now: Issued, Failed, Pending or Denied."""
    conditions = [Condition(api.APPROVED, TRUE)] if reason != "Denied" else []
    conditions.append(Condition(READY, TRUE if reason == "Issued" else FALSE, reason))
    if reason == "Issued":
        conditions.append(Condition(api.AUTHORITY_CONDITION, TRUE, "Signed", "edge signed"))
    meta = ObjectMeta(
        name=name,
        namespace="shop",
        uid=f"uid-{name}",
        creation_timestamp=format_time(NOW - timedelta(days=day)),
        annotations={api.CERTIFICATE_NAME_ANNOTATION: certificate} if certificate else {},
    )
    ref = IssuerRef("web", "CDNIssuer", "cdn-issuer.io")
    return CertificateRequest(meta, RequestSpec(ref), RequestStatus(tuple(conditions)))


class Cluster:
    """A census, and what is in the cache."""

    def __init__(self) -> None:
        self.there: set[tuple[ObjectKey, str]] = set()
        self.census = CertificateCensus(lambda key, uid: (key, uid) in self.there, lambda: NOW)

    def show(self, shown: CertificateRequest, days: float | None = None) -> None:
        self.there.add((shown.metadata.key, shown.metadata.uid))
        self.census.note(shown, None if days is None else leaf(days))

    def remove(self, gone: CertificateRequest) -> None:
        self.there.discard((gone.metadata.key, gone.metadata.uid))

    async def by_days(self) -> dict[str, float]:
        await self.census.count()
        counted = [one for one in self.census.measures() if one.family is families.CERTIFICATES]
        assert {one.labels[:4] for one in counted} <= {("CDNIssuer", "shop", "web", "edge")}
        return {one.labels[4]: one.value for one in counted}

    async def failing(self) -> dict[tuple[str, ...], float]:
        await self.census.count()
        return {one.labels: one.value for one in self.census.measures() if one.family is families.FAILING_RENEWAL}


@pytest.mark.parametrize(
    ("days", "bucket"),
    [
        (-1, "expired"),
        (0.5, "0"),
        (1.5, "1"),
        (6.9, "3"),
        (8, "7"),
        (29, "14"),
        (30.5, "30"),
        (90.5, "90"),
        (5000, "90"),
    ],
)
async def test_a_certificate_counts_at_the_most_whole_days_that_it_has_left(days: float, bucket: str) -> None:
    cluster = Cluster()
    cluster.show(request("www-1", "Issued"), days)
    assert await cluster.by_days() == {bucket: 1}


async def test_only_the_newest_certificate_of_a_certificate_counts_in_whatever_order_they_come() -> None:
    cluster = Cluster()
    for name, days in (("www-2", 2), ("www-3", 85), ("www-1", 1.5)):
        cluster.show(request(name, "Issued"), days)
    cluster.show(request("mail-1", "Issued", certificate="mail"), 2)
    cluster.show(request("by-hand", "Issued", certificate=""), 2)
    assert await cluster.by_days() == {"30": 1, "1": 2}


async def test_a_request_that_is_gone_no_longer_counts_and_is_forgotten() -> None:
    cluster = Cluster()
    first = request("www-1", "Issued")
    cluster.show(first, 10)
    cluster.remove(first)
    assert await cluster.by_days() == {}
    assert not cluster.census._records


@pytest.mark.parametrize("reason", ["Failed", "Pending"])
@pytest.mark.parametrize("newest_first", [False, True])
async def test_a_renewal_that_waits_or_has_failed_is_told_with_the_time_that_is_left(
    reason: str, newest_first: bool
) -> None:
    cluster = Cluster()
    shown = [(request("www-1", "Issued", day=60), 2.0), (request("www-2", reason, day=1), None)]
    for one, days in reversed(shown) if newest_first else shown:
        cluster.show(one, days)
    assert await cluster.failing() == {("CDNIssuer", "shop", "web"): 2 * 86400}


async def test_a_renewal_still_fails_when_the_request_of_the_present_certificate_is_deleted() -> None:
    cluster = Cluster()
    first = request("www-1", "Issued", day=60)
    cluster.show(first, 2)
    cluster.show(request("www-2", "Failed", day=1))
    cluster.remove(first)
    assert list((await cluster.failing()).values()) == [2 * 86400]


async def test_of_several_the_first_to_expire_is_told() -> None:
    cluster = Cluster()
    for number, days in enumerate((9, 2, 5)):
        cluster.show(request(f"a-{number}", "Issued", certificate=f"c{number}", day=60), days)
        cluster.show(request(f"b-{number}", "Failed", certificate=f"c{number}", day=1))
    assert list((await cluster.failing()).values()) == [2 * 86400]


async def test_a_failure_of_before_the_newest_certificate_is_no_failing_renewal() -> None:
    cluster = Cluster()
    cluster.show(request("www-1", "Failed", day=3))
    cluster.show(request("www-2", "Issued", day=2), 80)
    assert await cluster.failing() == {}


async def test_it_is_over_when_the_renewal_comes_through_is_denied_or_is_gone() -> None:
    for end in ("Issued", "gone"):
        cluster = Cluster()
        cluster.show(request("www-1", "Issued", day=60), 2)
        cluster.show(request("www-2", "Pending", day=1))
        assert await cluster.failing()
        if end == "Issued":
            cluster.show(request("www-2", "Issued", day=1), 90)
        else:
            cluster.remove(request("www-2", "Pending"))
        assert await cluster.failing() == {}


async def test_a_first_request_and_a_denied_one_are_no_renewals() -> None:
    cluster = Cluster()
    cluster.show(request("www-1", "Pending"))
    cluster.show(request("mail-1", "Issued", certificate="mail", day=9), 9)
    cluster.show(request("mail-2", "Denied", certificate="mail"))
    assert await cluster.failing() == {}


async def test_beyond_the_most_the_oldest_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    cluster = Cluster()
    for number in range(5):
        cluster.show(request(f"r-{number}", "Issued", certificate=f"c{number}"), 10)
    assert await cluster.by_days() == {"7": 3}


async def test_what_is_no_certificate_is_passed_over() -> None:
    cluster = Cluster()
    cluster.census.note(request("www-1", "Issued"), b"nonsense")
    assert await cluster.by_days() == {}


def test_the_chain_of_the_newest_certificate_is_known_to_who_asks() -> None:
    def encoded(days: float) -> str:
        pem = x509.load_der_x509_certificate(leaf(days)).public_bytes(Encoding.PEM)
        return b64encode(pem).decode()

    cluster = Cluster()
    for name, days, root in (("www-1", 10, 20), ("www-2", 90, 400), ("www-0", 5, 7)):
        shown = request(name, "Issued")
        status = replace(shown.status, certificate=encoded(days), ca=encoded(root))
        cluster.show(replace(shown, status=status), days)
    held = cluster.census.held_of(ObjectKey("shop", "www"))
    assert held is not None
    assert (held.expires, held.above) == (NOW + timedelta(days=90), NOW + timedelta(days=400))
    assert cluster.census.held_of(ObjectKey("shop", "other")) is None
