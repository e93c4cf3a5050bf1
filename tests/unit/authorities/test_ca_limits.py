"""What the in-process CA may sign: not for longer than it lives itself, and no name that its constraints forbid."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography import x509

from issuer.api.issuer import AuthorityCommon, AuthoritySpec
from issuer.authorities import ca
from issuer.authorities.base import AuthorityContext, CallTimeouts, SigningOrder
from issuer.authorities.errors import Unavailable, Unsupported
from issuer.pki.certificate import load_chain, to_pem
from tests.unit.pki.pki_case import CA, DAY, NOW, key_pem, make_ca, parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from issuer.authorities.ca import CASession

TIMEOUTS = CallTimeouts(connect=1, read=1)
HOUR = timedelta(hours=1)
YEAR = 365 * DAY
ROOT = make_ca("limits root")


class Secrets:
    """One Secret."""

    def __init__(self, data: Mapping[str, bytes]) -> None:
        self.data = data

    async def read(self, namespace: str, name: str, *, fresh: bool = False) -> Mapping[str, bytes]:
        return self.data


def no_transport() -> httpx.AsyncBaseTransport:
    raise AssertionError("an authority without a network asks for none")


def context(data: Mapping[str, bytes]) -> AuthorityContext:
    return AuthorityContext(namespace="web", secrets=Secrets(data), transport=no_transport, now=lambda: NOW)


async def session(of: CA, *above: CA, roots: bytes = b"", followed: bool = False) -> CASession:
    data = {"tls.crt": to_pem([of.certificate, *(one.certificate for one in above)]), "tls.key": key_pem(of.signer)}
    spec = AuthoritySpec(
        common=AuthorityCommon(name="backup"), kind="ca", config=msgspec.Raw(b'{"secretRef":{"name":"ca"}}')
    )
    return await ca.build(spec, replace(context(data | {"ca.crt": roots}), followed=followed)).session()


def order(*hostnames: str, duration: timedelta = 90 * DAY) -> SigningOrder:
    csr = parsed(*(hostnames or ("www.example.com",)))
    return SigningOrder(uid="u", namespace="web", name="www-1", created=NOW, csr=csr, duration=duration)


def ending(left: timedelta, lifetime: timedelta) -> CA:
    return make_ca("ending", start=NOW + left - lifetime, end=NOW + left)


@pytest.mark.parametrize(
    ("left", "lifetime", "renewal_is_due"),
    [
        (90 * DAY, YEAR, False),
        (91 * DAY, YEAR, False),
        (90 * DAY - timedelta(seconds=1), YEAR, True),
        (3 * DAY, 10 * YEAR, True),
        (HOUR, YEAR, True),
        (89 * DAY, 91 * DAY, False),
        (30 * DAY, 91 * DAY, True),
        (89 * DAY, 90 * DAY, False),
        (30 * DAY, 90 * DAY, False),
        (29 * DAY, 90 * DAY, True),
        (8 * HOUR, 24 * HOUR, False),
        (7 * HOUR, 24 * HOUR, True),
    ],
)
async def test_a_ca_that_should_be_renewed_says_so_when_it_is_checked(
    left: timedelta, lifetime: timedelta, renewal_is_due: bool
) -> None:
    of = await session(ending(left, lifetime))
    if not renewal_is_due:
        await of.check(TIMEOUTS)
        return
    with pytest.raises(Unavailable, match="renew it"):
        await of.check(TIMEOUTS)
    assert (await of.sign(order(), TIMEOUTS)).promised == min(left, 90 * DAY)


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (3 * DAY + HOUR, "ends at 2026-11-05T13:00:00Z (in 3 days), before a usual certificate (90d) would; renew it"),
        (DAY, "ends at 2026-11-03T12:00:00Z (in 1 day), before a usual certificate (90d) would; renew it"),
        (5 * HOUR, "ends at 2026-11-02T17:00:00Z (in 5 hours), before a usual certificate (90d) would; renew it"),
        (HOUR / 2, "ends at 2026-11-02T12:30:00Z (in less than an hour), before a usual certificate"),
    ],
)
async def test_the_message_of_a_check_says_when_the_ca_ends_and_what_to_do(left: timedelta, told: str) -> None:
    with pytest.raises(Unavailable) as caught:
        await (await session(ending(left, YEAR))).check(TIMEOUTS)
    assert f"Secret web/ca: the CA certificate {told}" in caught.value.message


@pytest.mark.parametrize("in_tls_crt", [True, False])
async def test_a_certificate_above_the_ca_that_ends_first_is_named(in_tls_crt: bool) -> None:
    above = make_ca("old root", start=NOW - YEAR, end=NOW + 20 * DAY)
    below = above.below("intermediate")
    of = await (session(below, above) if in_tls_crt else session(below, roots=to_pem([above.certificate])))
    with pytest.raises(Unavailable, match=r"the CA certificate 'CN=old root' above the CA's own ends at 2026-11-22T12"):
        await of.check(TIMEOUTS)
    assert load_chain((await of.sign(order(), TIMEOUTS)).chain)[0].not_valid_after_utc == NOW + 20 * DAY


@pytest.mark.parametrize(
    ("left", "duration", "signed"),
    [
        (45 * DAY, 90 * DAY, True),
        (45 * DAY - timedelta(seconds=1), 90 * DAY, False),
        (2 * HOUR, 90 * DAY, False),
        (2 * HOUR, 4 * HOUR, True),
        (YEAR, 90 * DAY, True),
    ],
)
async def test_a_ca_with_a_follower_leaves_it_what_it_could_give_less_than_half_of(
    left: timedelta, duration: timedelta, signed: bool
) -> None:
    of, asked = ending(left, 2 * YEAR), order(duration=duration)
    assert (await (await session(of)).sign(asked, TIMEOUTS)).promised == min(left, duration)
    followed = await session(of, followed=True)
    if signed:
        assert (await followed.sign(asked, TIMEOUTS)).promised == min(left, duration)
        return
    with pytest.raises(Unsupported, match=r"the CA certificate ends at .*Z, before half of the 90 days") as caught:
        await followed.sign(asked, TIMEOUTS)
    assert caught.value.for_now, "a CA is renewed"


async def test_an_expired_ca_with_a_follower_is_unavailable_and_not_unsupported() -> None:
    """Unsupported would be for good; a CA is renewed."""
    with pytest.raises(Unavailable, match="expired at"):
        await (await session(ending(-DAY, YEAR), followed=True)).sign(order(), TIMEOUTS)


def constrained(*permitted: str, issued_by: CA | None = None) -> CA:
    extension = x509.NameConstraints([x509.DNSName(name) for name in permitted], None)
    return make_ca("constrained", issued_by=issued_by, extensions=[(extension, True)])


async def test_a_name_that_the_constraints_of_the_ca_forbid_is_unsupported() -> None:
    of = await session(constrained("corp.internal"))
    assert (await of.sign(order("www.corp.internal"), TIMEOUTS)).chain
    with pytest.raises(Unsupported) as caught:
        await of.sign(order("www.corp.internal", "a.example.com"), TIMEOUTS)
    assert not caught.value.for_now
    assert caught.value.message == (
        "Secret web/ca: the DNS name 'a.example.com' is outside of what the CA may sign: 'corp.internal' "
        "(name constraints of 'CN=constrained')"
    )


async def test_constraints_of_a_certificate_above_the_ca_count_wherever_it_is_from() -> None:
    above = constrained("corp.internal")
    below = above.below("issuing")
    for of in (await session(below, above), await session(below, roots=to_pem([above.certificate]))):
        with pytest.raises(Unsupported, match=r"name constraints of 'CN=constrained'"):
            await of.sign(order("a.example.com"), TIMEOUTS)
