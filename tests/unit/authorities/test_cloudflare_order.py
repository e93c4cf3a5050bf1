"""What the Origin CA is asked for, and which of its records answers an order."""

from __future__ import annotations

import dataclasses
import ipaddress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from issuer.api.issuer import SecretReference
from issuer.authorities import ca, cloudflare_order
from issuer.authorities.cloudflare_order import VALIDITIES, match, promised, translate, zone_candidates
from issuer.authorities.errors import Unsupported
from issuer.pki.verify import verify
from issuer.sandbox.pki import SmallCA, name
from tests.unit.authorities import cloudflare_case
from tests.unit.authorities.cloudflare_case import NOW, csr, ecdsa_key, order, router, rsa_key

if TYPE_CHECKING:
    from issuer.authorities.base import SigningOrder

CA = SmallCA.with_ecc(name(O="Test"), created=NOW - timedelta(days=1))


def refused(order_: SigningOrder) -> str:
    with pytest.raises(Unsupported) as caught:
        translate(order_, "edge")
    return caught.value.message


def test_the_request_type_names_the_kind_of_key() -> None:
    assert translate(order(request=csr("a.example.com", key=rsa_key())), "edge").request_type == "origin-rsa"
    assert translate(order(request=csr("a.example.com", key=ecdsa_key())), "edge").request_type == "origin-ecc"


def test_an_ed25519_key_is_unsupported() -> None:
    assert "ed25519" in refused(order(request=csr("a.example.com", key=ed25519.Ed25519PrivateKey.generate())))


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        (x509.IPAddress(ipaddress.ip_address("10.0.0.1")), "IP addresses"),
        (x509.RFC822Name("ops@example.com"), "e-mail addresses"),
        (x509.UniformResourceIdentifier("spiffe://example.com/web"), "URIs"),
    ],
)
def test_names_other_than_hostnames_are_unsupported(other: x509.GeneralName, kind: str) -> None:
    assert kind in refused(order(request=csr("a.example.com", others=(other,))))


def test_a_request_without_a_hostname_is_unsupported() -> None:
    assert "has none" in refused(order(request=csr(common_name="Web Server")))


def test_two_hundred_hostnames_are_the_most() -> None:
    many = tuple(f"h{i}.example.com" for i in range(201))
    assert len(translate(order(*many[:200]), "edge").hostnames) == 200
    assert "has 201" in refused(order(*many))


@pytest.mark.parametrize("hostname", ["*.com", "*.*.example.com", "www.*.example.com", "w*.example.com", "localhost"])
def test_hostnames_that_are_never_signed(hostname: str) -> None:
    assert hostname in refused(order(request=_with_names(hostname)))


@pytest.mark.parametrize(
    ("hostnames", "asked"),
    [
        (("www.example.com", "*.example.com"), ("www.example.com", "*.example.com")),
        (("*.a.b.example.com",), ("*.a.b.example.com",)),
        (("WWW.Example.COM",), ("www.example.com",)),
        (("www.example.com", "WWW.example.com", "www.example.com."), ("www.example.com",)),
        (("bücher.example.com",), ("xn--bcher-kva.example.com",)),
        (
            ("*.Bücher.example.com", "xn--bcher-kva.example.com"),
            ("*.xn--bcher-kva.example.com", "xn--bcher-kva.example.com"),
        ),
        (("_acme.example.com",), ("_acme.example.com",)),
    ],
)
def test_hostnames_are_lower_case_punycode_and_asked_for_once(
    hostnames: tuple[str, ...], asked: tuple[str, ...]
) -> None:
    assert translate(order(request=_with_names(*hostnames)), "edge").hostnames == asked


@pytest.mark.parametrize(
    "hostname",
    ["kargo-api.kargo.svc", "web.shop.svc.cluster.local", "printer.local", "git.corp.internal", "nas.home.arpa",
     "web.test", "app.localhost", "x.invalid", "www.example", "abc.onion", "web.alt", "*.shop.svc", "WEB.SVC"],
)  # fmt: skip
def test_a_name_that_no_public_zone_can_hold_is_unsupported(hostname: str) -> None:
    said = refused(order(request=_with_names("www.example.com", hostname)))
    assert said.startswith(f"Cloudflare's Origin CA signs names in public DNS zones only, not {hostname!r}: .")


@pytest.mark.parametrize("usage", ["data encipherment", "code signing", "email protection", "any", "crl sign"])
def test_a_usage_that_its_certificates_do_not_have_is_unsupported_and_named(usage: str) -> None:
    said = refused(dataclasses.replace(order(), usages=("digital signature", usage, "server auth")))
    assert said.startswith("spec.usages: ")
    assert repr(usage) in said


def test_all_usages_that_are_missing_are_named_and_those_that_are_given() -> None:
    wanted = ("digital signature", "data encipherment", "code signing")
    assert refused(dataclasses.replace(order(), usages=wanted)) == (
        "spec.usages: Cloudflare's Origin CA signs for 'digital signature', 'signing', 'key encipherment', "
        "'server auth', 'client auth' only, not for 'data encipherment', 'code signing'"
    )


@pytest.mark.parametrize(
    "wanted", [(), ("signing",), ("client auth",), ("digital signature", "key encipherment", "server auth")]
)
def test_usages_that_its_certificates_have_are_signed(wanted: tuple[str, ...]) -> None:
    assert translate(dataclasses.replace(order(), usages=wanted), "edge") == translate(order(), "edge")


@pytest.mark.parametrize("usage", ["cert sign", "crl sign"])
async def test_a_usage_for_cas_gets_one_verdict_from_every_authority(usage: str) -> None:
    wanted = dataclasses.replace(order(), usages=("digital signature", "key encipherment", usage, "server auth"))
    said = []
    for origin in (
        cloudflare_case.authority(httpx.MockTransport(router().async_handler)),
        ca.CAAuthority("backup", ca.Config(secret_ref=SecretReference(name="backup-ca")), cloudflare_case.context()),
    ):
        with pytest.raises(Unsupported) as caught:
            origin.supports(wanted)
        said.append((caught.value.message, caught.value.for_now))
    assert said == [(f"spec.usages: the usage {usage!r} is for CAs only", False)] * 2


def test_a_name_that_is_no_idn_is_unsupported() -> None:
    assert "internationalised" in refused(order(request=_with_names("-ü-.example")))


@pytest.mark.parametrize("common_name", ["shop.prod", "b.example.com", "a.example.com", "shop", "Shop v1.2"])
def test_the_common_name_is_not_asked_for_beside_alternative_names(common_name: str) -> None:
    request = csr("a.example.com", "*.example.com", common_name=common_name)
    assert translate(order(request=request), "edge").hostnames == ("a.example.com", "*.example.com")


def test_the_common_name_is_asked_for_where_there_are_no_alternative_names() -> None:
    assert translate(order(request=csr(common_name="B.example.com")), "edge").hostnames == ("b.example.com",)


def test_what_is_found_and_verified_without_the_common_name_answers_the_order() -> None:
    wanted = order(request=csr("a.example.com", common_name="shop.prod"))
    answer = record(wanted, "a.example.com")
    assert matches(answer, wanted)
    checked = verify(answer["certificate"].encode(), b"", wanted.csr, roots=(), at_least=wanted.duration, now=NOW)
    assert checked.certificate.decode() == answer["certificate"]


@pytest.mark.parametrize(
    ("duration", "days"),
    [
        (timedelta(hours=1), 7),
        (timedelta(days=7), 7),
        (timedelta(days=7, seconds=1), 30),
        (timedelta(days=90), 90),
        (timedelta(days=91), 365),
        (timedelta(days=366), 730),
        (timedelta(days=1000), 1095),
        (timedelta(days=1096), 5475),
        (timedelta(days=5475), 5475),
    ],
)
def test_the_smallest_validity_that_covers_the_duration_is_asked_for(duration: timedelta, days: int) -> None:
    assert translate(order(duration=duration), "edge").validity == days
    assert days in VALIDITIES


def test_a_longer_duration_than_the_provider_signs_for_is_unsupported() -> None:
    assert "5475 days" in refused(order(duration=timedelta(days=5475, seconds=1)))


def test_what_is_promised_is_never_longer_than_what_was_wanted() -> None:
    assert promised(order(duration=timedelta(days=20)), 30) == timedelta(days=20)
    assert promised(order(duration=timedelta(days=40)), 30) == timedelta(days=30)


def test_a_zone_is_looked_for_from_the_hostname_upwards_and_never_among_tlds() -> None:
    assert zone_candidates("*.a.example.com") == ("a.example.com", "example.com")
    assert zone_candidates("example.com") == ("example.com",)


def record(
    order_: SigningOrder, *hostnames: str, age: timedelta = timedelta(minutes=5), **changes: Any
) -> dict[str, Any]:
    key = load_der_public_key(order_.csr.public_key)
    assert isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey))
    certificate = CA.sign(
        key,
        subject=name(CN="x"),
        hostnames=hostnames or order_.csr.hostnames,
        not_before=order_.created - age,
        not_after=order_.created + timedelta(days=30),
    )
    pem = certificate.public_bytes(Encoding.PEM).decode()
    return {"id": "1", "certificate": pem, "hostnames": list(hostnames or order_.csr.hostnames), **changes}


def matches(record_: Any, order_: SigningOrder) -> bool:
    return match(record_, order_, translate(order_, "edge").hostnames) is not None


def test_a_record_with_the_key_and_the_names_of_the_order_is_its_answer() -> None:
    wanted = order("a.example.com", "*.example.com")
    assert matches(record(wanted), wanted)
    assert matches(record(wanted, "*.example.com", "a.example.com"), wanted)
    assert matches(record(wanted, hostnames=None), wanted)
    assert matches(record(wanted, hostnames=["A.example.com", "*.EXAMPLE.com"]), wanted)


def test_a_record_of_another_key_is_not() -> None:
    wanted = order(request=csr("a.example.com", key=ecdsa_key("another")))
    assert not matches(record(order("a.example.com")), wanted)


def test_a_record_with_other_names_is_not() -> None:
    wanted = order("a.example.com")
    assert not matches(record(wanted, "a.example.com", "b.example.com"), wanted)
    # What the record says of itself is not believed: the certificate counts.
    assert not matches(record(wanted, "b.example.com", hostnames=["a.example.com"]), wanted)
    assert not matches(record(wanted, hostnames=["b.example.com"]), wanted)


def test_a_record_that_is_older_than_the_request_is_not() -> None:
    wanted = order("a.example.com")
    assert matches(record(wanted, age=cloudflare_order.CLOCK_SKEW), wanted)
    assert not matches(record(wanted, age=cloudflare_order.CLOCK_SKEW + timedelta(seconds=1)), wanted)


def test_a_revoked_record_is_not() -> None:
    wanted = order("a.example.com")
    assert not matches(record(wanted, revoked_at="2026-11-02T12:00:00Z"), wanted)


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        7,
        [],
        {},
        {"id": 7, "certificate": "x"},
        {"id": "", "certificate": "x"},
        {"id": "1"},
        {"id": "1", "certificate": "no PEM"},
        {"id": "1", "certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
        {"id": "1", "certificate": "\ud800"},
        {"id": "1", "certificate": "x", "hostnames": [None, 7]},
    ],
)
def test_a_record_that_is_nonsense_is_passed_over(nonsense: Any) -> None:
    assert not matches(nonsense, order())


def test_a_certificate_without_names_is_passed_over() -> None:
    pem = CA.pem.decode()
    assert not matches({"id": "1", "certificate": pem}, order())


def _with_names(*hostnames: str) -> Any:
    """A CSR that names these, as nothing that checks CSRs would let through."""
    return dataclasses.replace(csr("placeholder.example.com"), dns_names=hostnames, common_name=None)
