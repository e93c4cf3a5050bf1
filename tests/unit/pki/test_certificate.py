"""Certificates in PEM, as users and providers write them."""

from __future__ import annotations

import base64
import ipaddress

import pytest
from cryptography import x509

from issuer.pki.certificate import (
    MAX_BUNDLE,
    InvalidCertificateError,
    is_self_signed,
    load_bundle,
    load_chain,
    replaced_subject,
    to_pem,
)
from issuer.pki.csr import parse_pem
from tests.unit.pki.pki_case import as_pem, dns, key, key_pem, make_ca, name, pem, request

ROOT = make_ca()
SUB = ROOT.below("sub")
BOTH = (SUB.certificate, ROOT.certificate)


def test_a_chain_keeps_its_order_and_loses_the_text_around() -> None:
    text = b"subject=CN = sub\r\n" + to_pem(BOTH).replace(b"\n", b"\r\n") + b"# end\r\n"
    assert load_chain(text) == BOTH
    assert to_pem(load_chain(text)) == to_pem(BOTH)


def test_a_bundle_is_pem_or_base64_of_pem() -> None:
    text = to_pem(BOTH)
    assert load_bundle(text) == load_bundle(text.decode()) == BOTH
    assert load_bundle(base64.b64encode(text)) == load_bundle(base64.encodebytes(text).decode()) == BOTH


def test_a_certificate_that_is_twice_in_a_bundle_counts_once() -> None:
    assert load_bundle(to_pem((*BOTH, *BOTH))) == BOTH


@pytest.mark.parametrize("text", ["", " ", "hello", "Ü", "%%%", base64.b64encode(b"no PEM").decode()])
def test_a_bundle_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(InvalidCertificateError):
        load_bundle(text)


def test_a_private_key_in_a_bundle_is_refused_and_not_shown() -> None:
    private = key_pem(key())
    with pytest.raises(InvalidCertificateError, match="holds a PRIVATE KEY") as caught:
        load_bundle(to_pem(BOTH) + private)
    assert private.splitlines()[1].decode() not in str(caught.value)


def test_a_broken_certificate_among_good_ones_is_refused() -> None:
    with pytest.raises(InvalidCertificateError, match="a certificate does not decode"):
        load_chain(to_pem(BOTH) + as_pem(b"\x30\x03\x02\x01\x01", b"CERTIFICATE"))


def test_a_cut_certificate_is_refused() -> None:
    with pytest.raises(InvalidCertificateError, match="begins and does not end"):
        load_chain(to_pem(BOTH)[:-40])


def test_a_flood_is_refused() -> None:
    with pytest.raises(InvalidCertificateError, match="more than 1048576 are not read"):
        load_chain(b"x" * (MAX_BUNDLE + 1))
    with pytest.raises(InvalidCertificateError, match="more than 1048576 are not read"):
        load_bundle("x" * (2 * MAX_BUNDLE + 1))


def test_only_a_certificate_signed_with_its_own_key_is_self_signed() -> None:
    assert is_self_signed(ROOT.certificate)
    assert not is_self_signed(SUB.certificate)
    namesake = make_ca("root", issued_by=ROOT, signer=key("p256", "other"))
    assert namesake.certificate.subject == namesake.certificate.issuer
    assert not is_self_signed(namesake.certificate)


GIVEN = name("CloudFlare Origin Certificate", o="CloudFlare, Inc.", ou="CloudFlare Origin CA")
SHOWN = "CN=CloudFlare Origin Certificate,OU=CloudFlare Origin CA,O=CloudFlare\\, Inc."


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (name("shop.prod"), "CN=shop.prod"),
        (name(o="Example Ltd"), "O=Example Ltd"),
        (name("www.example.com", o="Example Ltd", ou="Shop"), "CN=www.example.com,OU=Shop,O=Example Ltd"),
    ],
)
def test_a_subject_that_was_replaced_is_told_with_the_one_in_its_place(asked: x509.Name, shown: str) -> None:
    csr = parse_pem(pem(request(dns("www.example.com"), subject=asked)))
    assert replaced_subject(csr, ROOT.leaf(names=dns("www.example.com"), subject=GIVEN)) == (shown, SHOWN)


@pytest.mark.parametrize(
    "asked", [name(), name("www.example.com"), name("WWW.Example.com"), name("*.example.com"), name("192.0.2.1")]
)
def test_a_common_name_that_is_one_of_the_names_is_not_missed(asked: x509.Name) -> None:
    names = [*dns("www.example.com", "*.example.com"), x509.IPAddress(ipaddress.ip_address("192.0.2.1"))]
    csr = parse_pem(pem(request(names, subject=asked)))
    assert replaced_subject(csr, ROOT.leaf(names=names, subject=GIVEN)) is None


def test_a_common_name_that_became_the_only_name_is_not_missed() -> None:
    csr = parse_pem(pem(request([], subject=name("www.example.com"))))
    assert replaced_subject(csr, ROOT.leaf(names=dns("www.example.com"), subject=GIVEN)) is None


def test_a_subject_that_was_kept_is_not_told() -> None:
    asked = name("shop.prod", o="Example Ltd")
    csr = parse_pem(pem(request(dns("www.example.com"), subject=asked)))
    assert replaced_subject(csr, ROOT.leaf(names=dns("www.example.com"), subject=asked)) is None
