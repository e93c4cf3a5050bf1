"""An answer of an authority counts only if it is the certificate that was asked for."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from issuer.pki import csr as csrs
from issuer.pki.certificate import to_pem
from issuer.pki.verify import MAX_ANSWER, Verified, WrongCertificateError, verify
from tests.unit.pki.pki_case import DAY, LIFE, NOW, dns, key, make_ca, name, parsed, pem, request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.pki.csr import SigningRequest

ROOT = make_ca()
CSR = parsed("www.example.com", "*.example.com")
NAMES = dns("www.example.com", "*.example.com")
MINUTE = timedelta(minutes=1)


def checked(
    *leaf: x509.Certificate,
    csr: SigningRequest = CSR,
    roots: Sequence[x509.Certificate] = (),
    ca: bytes = b"",
    at_least: timedelta = LIFE,
) -> Verified:
    return verify(to_pem(leaf), ca, csr, roots=roots, at_least=at_least, now=NOW)


def problem(
    *leaf: x509.Certificate,
    csr: SigningRequest = CSR,
    roots: Sequence[x509.Certificate] = (),
    at_least: timedelta = LIFE,
) -> str:
    with pytest.raises(WrongCertificateError) as caught:
        checked(*leaf, csr=csr, roots=roots, at_least=at_least)
    return str(caught.value)


def test_the_certificate_that_was_asked_for_is_right() -> None:
    leaf = ROOT.leaf(names=NAMES)
    verified = checked(leaf)
    assert verified.certificate == to_pem([leaf])
    assert verified.ca == b""
    assert (verified.not_before, verified.not_after) == (NOW, NOW + LIFE)
    assert verified.serial == 4711
    assert verified.fingerprint == leaf.fingerprint(hashes.SHA256()).hex()


def test_the_leaf_of_the_origin_ca_is_right_with_its_own_subject_and_usages() -> None:
    """facts/origin-ca-api.md: a fixed subject, and no intermediate."""
    origin = make_ca("CloudFlare Origin SSL ECC Certificate Authority")
    subject = name("CloudFlare Origin Certificate", o="CloudFlare, Inc.", ou="CloudFlare Origin CA")
    usage = x509.ExtendedKeyUsage(
        [x509.ObjectIdentifier("1.3.6.1.5.5.7.3.2"), x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1")]
    )
    csr = parsed("www.example.com", common_name="cn.example.com")
    leaf = origin.leaf(names=dns("www.example.com", "cn.example.com"), subject=subject, extensions=[(usage, False)])
    assert checked(leaf, csr=csr, roots=[origin.certificate]).ca == to_pem([origin.certificate])


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "p521", "ed25519"])
def test_cas_with_every_kind_of_key_are_met(kind: str) -> None:
    root = make_ca(f"root {kind}", kind=kind)
    csr = parsed("www.example.com", signer=key(kind))
    leaf = root.leaf(key(kind).public_key(), dns("www.example.com"))
    assert checked(leaf, csr=csr, roots=[root.certificate]).certificate


def test_another_key_is_wrong() -> None:
    assert "another key" in problem(ROOT.leaf(key("p256", "another").public_key(), NAMES))


def test_a_missing_name_is_wrong() -> None:
    assert problem(ROOT.leaf(names=dns("www.example.com"))) == "the certificate lacks '*.example.com'"
    assert "lacks" in problem(ROOT.leaf())


def test_a_wildcard_does_not_stand_for_a_name_that_was_asked_for() -> None:
    csr = parsed("www.example.com")
    assert "lacks 'www.example.com'" in problem(ROOT.leaf(names=dns("*.example.com")), csr=csr)


@pytest.mark.parametrize(
    "extra",
    [
        x509.DNSName("evil.example.net"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
        x509.RFC822Name("root@example.com"),
        x509.UniformResourceIdentifier("spiffe://example.com/admin"),
        x509.DirectoryName(name("root")),
    ],
)
def test_a_name_that_nobody_asked_for_is_wrong(extra: x509.GeneralName) -> None:
    assert "which nobody asked for" in problem(ROOT.leaf(names=[*NAMES, extra]))


def test_a_flood_of_wrong_names_makes_no_flood_of_words() -> None:
    flood = dns(*(f"n{i}.example.net" for i in range(300)))
    assert "and 295 more" in problem(ROOT.leaf(names=[*NAMES, *flood]))


def test_names_of_every_kind_are_compared_by_what_they_mean() -> None:
    asked: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address("::ffff:192.0.2.1")),
        x509.RFC822Name("ops@EXAMPLE.com"),
        x509.UniformResourceIdentifier("spiffe://example.com/edge"),
    ]
    answered: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
        x509.RFC822Name("ops@example.com"),
        x509.UniformResourceIdentifier("spiffe://example.com/edge"),
        x509.DNSName("WWW.example.com"),
    ]
    csr = csrs.parse_pem(pem(request([*dns("www.Example.com"), *asked])))
    assert checked(ROOT.leaf(names=answered), csr=csr).certificate


def test_a_request_without_a_san_is_covered_by_its_common_name() -> None:
    csr = parsed(common_name="www.example.com")
    assert checked(ROOT.leaf(names=dns("www.example.com")), csr=csr).certificate
    assert checked(ROOT.leaf(subject=name("www.example.com")), csr=csr).certificate
    assert "lacks 'www.example.com'" in problem(ROOT.leaf(), csr=csr)


def test_the_certificate_of_a_ca_is_wrong() -> None:
    leaf = ROOT.leaf(names=NAMES, extensions=[(x509.BasicConstraints(ca=True, path_length=None), True)])
    assert "one of a CA" in problem(leaf)


def test_an_expired_certificate_is_wrong() -> None:
    assert "expired" in problem(ROOT.leaf(names=NAMES, start=NOW - 2 * DAY, end=NOW - DAY))


def test_a_certificate_may_begin_five_minutes_from_now_and_no_later() -> None:
    assert checked(ROOT.leaf(names=NAMES, start=NOW + 5 * MINUTE)).certificate
    assert "not valid before" in problem(ROOT.leaf(names=NAMES, start=NOW + 6 * MINUTE))


def test_a_certificate_may_live_a_hundredth_shorter_than_asked_and_no_less() -> None:
    assert checked(ROOT.leaf(names=NAMES, end=NOW + LIFE * 0.99)).certificate
    assert "sooner than 90 days" in problem(ROOT.leaf(names=NAMES, end=NOW + LIFE * 0.99 - MINUTE))


def test_a_certificate_of_one_hour_may_live_five_minutes_shorter() -> None:
    hour = 60 * MINUTE
    assert checked(ROOT.leaf(names=NAMES, end=NOW + 55 * MINUTE), at_least=hour).certificate
    assert "sooner" in problem(ROOT.leaf(names=NAMES, end=NOW + 54 * MINUTE), at_least=hour)


@pytest.mark.parametrize("answer", [b"", b"<html>521</html>", to_pem([ROOT.leaf(names=NAMES)])[:300]])
def test_an_answer_that_is_no_certificate_is_wrong(answer: bytes) -> None:
    with pytest.raises(WrongCertificateError, match="the answer is no certificate"):
        verify(answer, b"", CSR, roots=(), at_least=LIFE, now=NOW)


def test_an_answer_that_is_too_long_is_wrong() -> None:
    with pytest.raises(WrongCertificateError, match="bytes long"):
        verify(b"x" * (MAX_ANSWER + 1), b"", CSR, roots=(), at_least=LIFE, now=NOW)


def test_a_certificate_that_cert_manager_would_not_read_is_wrong() -> None:
    long = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(30_000))
    assert "cert-manager reads no certificate longer" in problem(ROOT.leaf(names=NAMES, extensions=[(long, False)]))


def test_a_chain_that_cert_manager_would_not_read_is_wrong() -> None:
    padding = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(24_000))
    cas = [ROOT]
    for i in range(3):
        cas.append(cas[-1].below(f"sub {i}", extensions=[(padding, False)]))
    chain = [ca.certificate for ca in reversed(cas[1:])]
    assert checked(cas[2].leaf(names=NAMES), *chain[1:]).certificate
    assert "no chain longer than" in problem(cas[3].leaf(names=NAMES), *chain)
