"""An issuer built on issuer-lib, as most external issuers are, before one of cert-manager's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from issuer.api.request import AUTHORITY_CONDITION
from tests.e2e.delegating import ca_issuer, child, children, issued_by, issuer_of, stand_for
from tests.e2e.issuerlib import CA, GROUP, KINDS, IssuerLib, add_issuer
from tests.e2e.outage import fits, message_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.world import Cluster, World

WAIT = 60.0
SHORT = "4s"
"""The turn of one that does not end."""


@pytest.fixture(scope="module")
def issuerlib(cluster: Cluster) -> Iterator[IssuerLib]:
    """The issuer, running."""
    issuer = IssuerLib(cluster.plane)
    issuer.start()
    yield issuer
    issuer.server.stop()


async def install(world: World, *, turn: str = "30s", kind: str = "TestIssuer") -> str:
    """The CDNIssuer `web`: an issuer of that kind, and cert-manager's CA issuer after it; returns the former's name."""
    name = f"first-{world.namespace}"
    await add_issuer(world, name, kind=kind)
    ca_issuer(world, "second")
    await issuer_of(world, stand_for(name, turn=turn, group=GROUP, kind=kind), stand_for("second"))
    return name


def told(world: World, request: str = "site-1") -> str:
    """Which authority signed, and what was wrong with those before it."""
    return message_of(world.get("certificaterequests", request) or {}, AUTHORITY_CONDITION)


@pytest.mark.parametrize("kind", KINDS)
async def test_it_signs_while_it_is_well(world: World, issuerlib: IssuerLib, kind: str) -> None:
    del issuerlib
    name = await install(world, kind=kind)
    world.certificate()
    secret = await world.ready(timeout=WAIT)
    assert issued_by(secret) == CA
    assert fits(secret)
    assert x509.load_pem_x509_certificate(secret["ca.crt"]).subject.rfc4514_string() == f"CN={CA}"
    assert told(world) == f"{name} signed"


async def test_where_it_hangs_the_next_one_signs_and_it_is_asked_again_once_it_is_back(
    world: World, issuerlib: IssuerLib
) -> None:
    await install(world, turn="8s")
    issuerlib.server.freeze()
    try:
        world.certificate()
        assert issued_by(await world.ready(timeout=WAIT)) == "second"
        assert "has not ended within 8s" in told(world)
    finally:
        issuerlib.server.thaw()
    world.certificate("later")
    assert issued_by(await world.ready("later", timeout=WAIT)) == CA
    assert len(children(world)) == 2, "what it was asked while it hung is gone"


async def test_where_it_hangs_for_less_than_its_turn_it_signs(world: World, issuerlib: IssuerLib) -> None:
    name = await install(world, turn="1m")
    issuerlib.server.freeze()
    try:
        world.certificate()
        await child(world)
        await world.until(lambda: "InProgress" in told(world), "it says that it waits")
    finally:
        issuerlib.server.thaw()
    assert issued_by(await world.ready(timeout=WAIT)) == CA
    assert told(world) == f"{name} signed"


async def test_what_it_fails_for_good_is_signed_by_the_next_one_which_tells_why(
    world: World, issuerlib: IssuerLib
) -> None:
    del issuerlib
    await install(world)
    world.certificate(dns_names=["permanent.example.com"])
    assert issued_by(await world.ready(timeout=WAIT)) == "second"
    assert "no such name is signed here" in told(world)
    assert len(children(world)) == 1, "the one that has failed is gone"


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ("pending", "somebody has to look at it"),
        ("retried", "try again later"),
        ("issuer", "Waiting for issuer to become ready"),
    ],
)
async def test_what_never_ends_there_is_signed_by_the_next_one(
    world: World, issuerlib: IssuerLib, label: str, says: str
) -> None:
    del issuerlib
    await install(world, turn=SHORT)
    world.certificate(dns_names=[f"{label}.example.com"])
    assert issued_by(await world.ready(timeout=WAIT)) == "second"
    assert says in told(world)
