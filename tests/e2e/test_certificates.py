"""From a Certificate to its Secret, with real cert-manager: what a user gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tests.component.rig import POST

if TYPE_CHECKING:
    from tests.controlplane.plane import Manifest
    from tests.e2e.world import World

RSA = {"algorithm": "RSA", "size": 2048}
ECDSA = {"algorithm": "ECDSA", "size": 256}
DUE_SOON = {"duration": "168h", "renewBefore": "167h59m54s"}
"""A duration that the provider offers, so that the renewal is due six seconds after the signature."""
ROUND = 40.0
"""Seconds that one renewal may take on a busy machine, from one revision to the next."""


def public_bytes(key: object) -> bytes:
    assert isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey))
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def certificates_of(secret: dict[str, bytes]) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(secret["tls.crt"])


def key_of(secret: dict[str, bytes]) -> bytes:
    private = load_pem_private_key(secret["tls.key"], None)
    return public_bytes(private.public_key())


def names_of(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


@pytest.mark.parametrize("key", [RSA, ECDSA], ids=["rsa", "ecdsa"])
async def test_a_certificate_becomes_a_secret_whose_key_names_and_root_are_right(world: World, key: Manifest) -> None:
    await world.issuer()
    world.certificate("site", ["www.example.com", "api.example.com"], key=key)
    secret = await world.ready()
    leaf = certificates_of(secret)[0]
    assert public_bytes(leaf.public_key()) == key_of(secret)
    assert isinstance(leaf.public_key(), rsa.RSAPublicKey if key is RSA else ec.EllipticCurvePublicKey)
    assert sorted(names_of(leaf)) == ["api.example.com", "www.example.com"]
    ca = world.cdn.ledger.ca
    root = x509.load_pem_x509_certificate((ca.rsa if key is RSA else ca.ecc).pem)
    assert root in x509.load_pem_x509_certificates(secret["ca.crt"])
    leaf.verify_directly_issued_by(root)
    assert [record.serial for record in world.cdn.certificates.values()] == [leaf.serial_number]
    assert world.cdn.calls[POST] == 1
    assert world.condition("certificaterequests", "site-1", "Ready") == ("True", "Issued")
    assert world.condition("certificaterequests", "site-1", "cdn-issuer.io/Authority") == ("True", "Signed")


async def test_wildcard_and_apex_are_in_one_certificate(world: World) -> None:
    await world.issuer()
    world.certificate("site", ["example.com", "*.example.com"])
    leaf = certificates_of(await world.ready())[0]
    assert sorted(names_of(leaf)) == ["*.example.com", "example.com"]


@pytest.mark.parametrize("policy", ["Always", "Never"])
async def test_three_renewals_in_time_each_signed_once(world: World, policy: str) -> None:
    await world.issuer()
    world.certificate(key={**ECDSA, "rotationPolicy": policy}, revisionHistoryLimit=10, **DUE_SOON)
    keys, serials = [], []
    for revision in (1, 2, 3, 4):
        secret = await world.ready(revision=revision, timeout=ROUND)
        keys.append(key_of(secret))
        serials.append(certificates_of(secret)[0].serial_number)
    assert len(set(serials)) == 4
    assert len(set(keys)) == (4 if policy == "Always" else 1)
    assert set(serials) <= {record.serial for record in world.cdn.certificates.values()}
    await world.signed_once()


async def test_an_authority_in_process_renews_in_time_too(world: World) -> None:
    await world.issuer(edge=False, backup=True)
    world.certificate(duration="1h", renewBefore="59m54s", revisionHistoryLimit=10)
    serials = set()
    for revision in (1, 2, 3, 4):
        secret = await world.ready(revision=revision, timeout=ROUND)
        serials.add(certificates_of(secret)[0].serial_number)
    assert len(serials) == 4


async def test_a_duration_that_the_provider_does_not_offer_makes_no_loop_of_renewals(world: World) -> None:
    await world.issuer()
    world.certificate(duration="1h", renewBefore="59m54s")
    leaf = certificates_of(await world.ready())[0]
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days == 7, "the shortest that it offers"
    await world.stays(lambda: world.is_ready("site") and world.revision("site") == 1, "Ready with revision 1", 12)
    assert world.cdn.calls[POST] == 1


@pytest.mark.parametrize("limit", [1, 2])
async def test_the_history_of_requests_is_kept_as_short_as_asked(world: World, limit: int) -> None:
    await world.issuer(edge=False, backup=True)
    world.certificate(duration="1h", renewBefore="59m54s", revisionHistoryLimit=limit)
    await world.ready(revision=3, timeout=2 * ROUND)
    world.certificate(duration="1h", renewBefore="5m", revisionHistoryLimit=limit)
    await world.until(lambda: not is_issuing(world), "no renewal under way")
    await world.until(lambda: len(requests(world)) == limit, f"{limit} requests left")
    newest = max(int(one["metadata"]["name"].removeprefix("site-")) for one in requests(world))
    assert newest == world.revision("site") >= 3


def requests(world: World) -> list[Manifest]:
    return world.all("certificaterequests")


def is_issuing(world: World) -> bool:
    return world.condition("certificates", "site", "Issuing")[0] == "True"
