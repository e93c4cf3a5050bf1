"""Two ACME servers that stand in for one another, with cert-manager's own ACME issuer and no CDN at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from cryptography import x509

from issuer.api.request import AUTHORITY_CONDITION
from tests.e2e.delegating import children, issuer_of, stand_for
from tests.e2e.outage import fits, message_of
from tests.e2e.pebble import Pebble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.collector import Collector
    from tests.e2e.world import Cluster, World

WAIT = 60.0
TURN = "12s"
"""Many times what an order takes, and more than twice what cert-manager waits after a conflict."""
ACME = "/apis/acme.cert-manager.io/v1"
BLOCKED = "blocked.example.com"


@pytest.fixture(scope="module")
def pebbles(cluster: Cluster) -> Iterator[tuple[Pebble, Pebble]]:
    """Two ACME servers; the first makes no order for `BLOCKED`."""
    both = Pebble(cluster.plane, "pebble-1", refuses=[BLOCKED]), Pebble(cluster.plane, "pebble-2")
    try:
        for pebble in both:
            pebble.start()
        yield both
    finally:
        for pebble in both:
            pebble.server.kill()


@pytest_asyncio.fixture
async def acme(world: World, pebbles: tuple[Pebble, Pebble], collector: Collector) -> tuple[Pebble, Pebble]:
    """The CDNIssuer `web`: first the one, then the other; and what clears away the orders of a child that is gone."""
    del collector
    for name, pebble in zip(("first", "second"), pebbles, strict=True):
        await pebble.issuer(world, name)
    await issuer_of(world, stand_for("first", turn=TURN), stand_for("second", turn="1m"))
    return pebbles


def is_from(pebble: Pebble, secret: dict[str, bytes]) -> bool:
    """Whether what is in a Secret belongs together, and was signed by this server."""
    leaf, *chain = x509.load_pem_x509_certificates(secret["tls.crt"])
    if chain != [pebble.intermediate()]:
        return False
    leaf.verify_directly_issued_by(chain[0])
    chain[0].verify_directly_issued_by(pebble.root())
    return fits(secret)


def orders(world: World) -> list[dict[str, Any]]:
    """Those that cert-manager has placed."""
    found: list[dict[str, Any]] = world.plane.ask("GET", f"{ACME}/namespaces/{world.namespace}/orders")["items"]
    return found


def told(world: World, request: str = "site-1") -> str:
    """Which authority signed, and what was wrong with those before it."""
    return message_of(world.get("certificaterequests", request) or {}, AUTHORITY_CONDITION)


async def test_the_first_signs_while_it_is_well(world: World, acme: tuple[Pebble, Pebble]) -> None:
    first, _ = acme
    world.certificate(dns_names=["site.example.com", "www.example.com"])
    secret = await world.ready(timeout=WAIT)
    assert is_from(first, secret)
    leaf = x509.load_pem_x509_certificates(secret["tls.crt"])[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert sorted(names.get_values_for_type(x509.DNSName)) == ["site.example.com", "www.example.com"]
    (child,) = children(world)
    (order,) = orders(world)
    assert order["metadata"]["ownerReferences"][0]["uid"] == child["metadata"]["uid"]


async def test_one_that_hangs_is_given_up_and_asked_again_once_it_is_back(
    world: World, acme: tuple[Pebble, Pebble]
) -> None:
    first, second = acme
    first.server.freeze()
    try:
        world.certificate()
        assert is_from(second, await world.ready(timeout=WAIT))
        assert f"has not ended within {TURN}" in told(world)
        assert len(children(world)) == 1
        await world.until(lambda: len(orders(world)) == 1, "the order of the child that was given up is gone")
    finally:
        first.server.thaw()
    world.certificate("later")
    assert is_from(first, await world.ready("later", timeout=WAIT))


async def test_a_name_that_the_first_refuses_is_signed_by_the_second(world: World, acme: tuple[Pebble, Pebble]) -> None:
    _, second = acme
    world.certificate(dns_names=[BLOCKED])
    assert is_from(second, await world.ready(timeout=WAIT))
    assert "rejectedIdentifier" in told(world)


async def test_one_that_is_gone_is_given_up_and_so_is_one_that_has_lost_our_account(
    world: World, acme: tuple[Pebble, Pebble]
) -> None:
    first, second = acme
    first.server.kill()
    try:
        world.certificate()
        assert is_from(second, await world.ready(timeout=WAIT))
    finally:
        first.start()
    world.certificate("unknown")
    assert is_from(second, await world.ready("unknown", timeout=WAIT))
    assert 'order is in "errored" state: Failed to create Order' in told(world, "unknown-1")
    await first.issuer(world, "first", email="ops@site.test")
    world.certificate("known")
    assert is_from(first, await world.ready("known", timeout=WAIT))
