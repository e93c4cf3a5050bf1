"""Names that are written differently and mean the same."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509

from issuer.pki import certificate
from issuer.pki.names import NOT_PUBLIC, Names, comparable_dns, comparable_email, comparable_ip, not_public
from tests.unit.pki.pki_case import dns, make_ca, parsed

ROOT = make_ca()


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("WWW.Example.COM", "www.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("☃️ nothing..like it", "☃️ nothing..like it"),
    ],
)
def test_dns_names_are_compared_in_lower_case_and_in_punycode(written: str, compared: str) -> None:
    assert comparable_dns(written) == compared


def test_ip_addresses_are_compared_as_addresses() -> None:
    assert comparable_ip("2001:DB8:0:0::1") == comparable_ip("2001:db8::1")
    assert comparable_ip("::ffff:192.0.2.1") == "192.0.2.1"
    assert comparable_ip("192.0.2.0/24") == "192.0.2.0/24"


def test_the_domain_of_an_email_address_knows_no_case_and_the_rest_does() -> None:
    assert comparable_email("Ops@Example.com") == "Ops@example.com"


def test_a_mapped_address_in_the_certificate_is_the_one_asked_for() -> None:
    """Go writes an IPv4 address that was mapped into IPv6 back as IPv4."""
    mapped = Names.of([x509.IPAddress(ipaddress.ip_address("::ffff:192.0.2.1"))])
    assert mapped == Names.of([x509.IPAddress(ipaddress.ip_address("192.0.2.1"))])


def test_names_of_other_kinds_are_kept_apart() -> None:
    names = Names.of([x509.DirectoryName(x509.Name([]))])
    assert names.others == {"directoryName "}
    assert names
    assert not Names()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"\x0c\x05erika", "UTF8:erika"),
        (b"\x16\x05_ldap", "IA5:_ldap"),
        (b"\x0c\x02\xff\xfe", "0c02fffe"),
        (b"\x0c\x02\xfe\xff", "0c02feff"),
        (b"\x0c\x02a\n", "0c02610a"),
        (b"\x02\x01\x05", "020105"),
        (b"", ""),
    ],
)
def test_two_other_names_are_the_same_only_if_their_bytes_are(value: bytes, shown: str) -> None:
    name = x509.OtherName(x509.ObjectIdentifier("1.2.3"), value)
    assert Names.of([name]).others == {f"otherName 1.2.3 {shown}"}


def test_a_wildcard_covers_nothing_but_itself() -> None:
    assert Names.of(dns("a.example.com")) - Names.of(dns("*.example.com")) == ("a.example.com",)


def test_a_certificate_matches_by_key_and_names() -> None:
    csr = parsed("a.example.com", "b.example.com")
    assert certificate.matches(csr, ROOT.leaf(names=dns("B.example.com", "a.example.com")))
    assert not certificate.matches(csr, ROOT.leaf(names=dns("a.example.com")))
    assert not certificate.matches(csr, ROOT.leaf(names=dns("a.example.com", "b.example.com", "c.example.com")))
    assert not certificate.matches(csr, ROOT.leaf(ROOT.signer.public_key(), dns("a.example.com", "b.example.com")))


def test_a_certificate_may_name_the_common_name_too() -> None:
    csr = parsed("a.example.com", common_name="cn.example.com")
    assert certificate.matches(csr, ROOT.leaf(names=dns("a.example.com")))
    assert certificate.matches(csr, ROOT.leaf(names=dns("a.example.com", "cn.example.com")))


@pytest.mark.parametrize("top", NOT_PUBLIC)
def test_a_name_under_a_reserved_top_level_domain_is_in_no_public_zone(top: str) -> None:
    for name in (f"www.{top}", f"*.www.{top}", f"WWW.{top.upper()}.", f"bücher.{top}"):
        assert not_public(name) == f".{top} is in no public DNS ({NOT_PUBLIC[top]})"


@pytest.mark.parametrize("name", ["web.cluster.local", "nas.home.arpa", "1.2.0.192.in-addr.arpa", "web.shop.svc"])
def test_a_name_under_a_reserved_domain_of_more_labels_is_in_no_public_zone(name: str) -> None:
    assert not_public(name)


@pytest.mark.parametrize("name", ["localhost", "web", "*.com", "web."])
def test_a_single_label_is_in_no_public_zone(name: str) -> None:
    assert not_public(name) == "it has no domain"


@pytest.mark.parametrize(
    "name", ["www.example.com", "example.net", "www.test.com", "local.de", "svc.io", "*.internal.example.org", "a.svcs"]
)
def test_any_other_name_may_be_in_a_public_zone(name: str) -> None:
    assert not_public(name) is None
