"""The way from the leaf to the configured roots, and how the answer is written for cert-manager."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from issuer.pki.certificate import load_chain, to_pem
from issuer.pki.path import MAX_DEPTH, MAX_SIGNATURES, Search
from issuer.pki.verify import Verified, WrongCertificateError, verify
from tests.unit.pki.pki_case import CA, DAY, LIFE, NOW, dns, key, key_usage, make_ca, parsed

if TYPE_CHECKING:
    from cryptography import x509

CSR = parsed("www.example.com")
NAMES = dns("www.example.com")
ROOT = make_ca("root")
SUB = ROOT.below("sub")
ISSUING = SUB.below("issuing")
STRANGER = make_ca("stranger")
LEAF = ISSUING.leaf(names=NAMES)


def checked(*chain: x509.Certificate, roots: tuple[CA, ...] = (), ca: bytes = b"") -> Verified:
    configured = [root.certificate for root in roots]
    return verify(to_pem(chain), ca, CSR, roots=configured, at_least=LIFE, now=NOW)


def problem(*chain: x509.Certificate, roots: tuple[CA, ...] = (ROOT,)) -> str:
    with pytest.raises(WrongCertificateError) as caught:
        checked(*chain, roots=roots)
    return str(caught.value)


def test_the_chain_is_put_in_order_and_the_root_apart() -> None:
    ordered = to_pem([LEAF, ISSUING.certificate, SUB.certificate])
    verified = checked(ROOT.certificate, SUB.certificate, LEAF, ISSUING.certificate, roots=(STRANGER, ROOT))
    assert verified.certificate == ordered
    assert verified.ca == to_pem([ROOT.certificate])


def test_without_configured_roots_the_chain_goes_as_far_as_the_answer() -> None:
    ordered = to_pem([LEAF, ISSUING.certificate, SUB.certificate])
    assert checked(LEAF, SUB.certificate, ISSUING.certificate, ROOT.certificate).certificate == ordered
    assert checked(LEAF, ISSUING.certificate).certificate == to_pem([LEAF, ISSUING.certificate])
    assert checked(LEAF).certificate == to_pem([LEAF])


def test_the_ca_of_the_answer_is_passed_on_where_no_roots_are_configured() -> None:
    text = b"root:\n" + to_pem([ROOT.certificate, ROOT.certificate])
    assert checked(LEAF, ISSUING.certificate, ca=text).ca == to_pem([ROOT.certificate])


def test_the_ca_of_the_answer_is_not_trusted_where_roots_are_configured() -> None:
    with pytest.raises(WrongCertificateError, match="does not chain up"):
        checked(LEAF, ISSUING.certificate, SUB.certificate, roots=(STRANGER,), ca=to_pem([ROOT.certificate]))


def test_a_ca_in_the_answer_that_is_no_certificate_is_wrong() -> None:
    with pytest.raises(WrongCertificateError):
        checked(LEAF, ca=b"not a certificate")


def test_certificates_that_do_not_belong_to_the_chain_are_left_out() -> None:
    verified = checked(LEAF, STRANGER.certificate, ISSUING.certificate, SUB.certificate, roots=(ROOT,))
    assert STRANGER.certificate not in load_chain(verified.certificate)


def test_a_certificate_that_is_twice_in_the_answer_is_once_in_the_chain() -> None:
    verified = checked(LEAF, LEAF, ISSUING.certificate, ISSUING.certificate, SUB.certificate, roots=(ROOT,))
    assert verified.certificate == to_pem([LEAF, ISSUING.certificate, SUB.certificate])


def test_a_chain_with_a_hole_does_not_meet_the_root() -> None:
    assert "does not chain up to the configured roots" in problem(LEAF, ISSUING.certificate)


def test_a_chain_to_another_root_is_wrong() -> None:
    assert "does not chain up" in problem(LEAF, ISSUING.certificate, SUB.certificate, roots=(STRANGER,))


def test_a_root_of_the_same_name_with_another_key_is_not_met() -> None:
    namesake = make_ca("root", signer=key("p256", "namesake"))
    message = problem(LEAF, ISSUING.certificate, SUB.certificate, ROOT.certificate, roots=(namesake,))
    assert "has the issuer's name, but its key did not sign" in message


def test_an_intermediate_can_be_configured_as_root() -> None:
    verified = checked(LEAF, ISSUING.certificate, roots=(SUB,))
    assert verified.ca == to_pem([SUB.certificate])
    assert verified.certificate == to_pem([LEAF, ISSUING.certificate])


def test_all_the_configured_roots_that_are_met_become_the_ca() -> None:
    """A root whose certificate was renewed with the same key: verifiers may have either."""
    renewed = make_ca("root", signer=ROOT.signer, end=NOW + 9000 * DAY)
    verified = checked(LEAF, ISSUING.certificate, SUB.certificate, roots=(ROOT, STRANGER, renewed))
    assert verified.ca == to_pem([ROOT.certificate, renewed.certificate])


def test_a_cross_signed_intermediate_leads_to_whichever_root_is_configured() -> None:
    other = make_ca("other root")
    crossed = make_ca("sub", issued_by=other, signer=SUB.signer)
    chain = (LEAF, ISSUING.certificate, SUB.certificate, crossed.certificate)
    assert checked(*chain, roots=(other,)).certificate == to_pem([LEAF, ISSUING.certificate, crossed.certificate])
    assert checked(*chain, roots=(ROOT,)).certificate == to_pem([LEAF, ISSUING.certificate, SUB.certificate])


def test_an_expired_intermediate_is_wrong() -> None:
    expired = ROOT.below("expired", start=NOW - 9 * DAY, end=NOW - DAY)
    message = problem(expired.leaf(names=NAMES), expired.certificate)
    assert "'CN=expired' expired on 2026-11-01" in message
    assert "is broken" in problem(expired.leaf(names=NAMES), expired.certificate, roots=())


def test_an_expired_root_is_wrong() -> None:
    expired = make_ca("old root", start=NOW - 9 * DAY, end=NOW - DAY)
    assert "expired" in problem(expired.leaf(names=NAMES), roots=(expired,))


def test_an_intermediate_of_tomorrow_is_wrong() -> None:
    future = ROOT.below("future", start=NOW + DAY)
    assert "not valid before" in problem(future.leaf(names=NAMES), future.certificate)


def test_an_issuer_that_is_no_ca_is_wrong() -> None:
    """Else every customer of a CA could sign for every name."""
    customer = ROOT.below("customer", is_ca=False)
    assert "is not the certificate of a CA" in problem(customer.leaf(names=NAMES), customer.certificate)
    bare = CA(ROOT.leaf(key("p256", "bare").public_key()), key("p256", "bare"))
    assert "is not the certificate of a CA" in problem(bare.leaf(names=NAMES), bare.certificate)


def test_an_issuer_that_may_not_sign_certificates_is_wrong() -> None:
    mute = ROOT.below("mute", extensions=[(key_usage(cert_sign=False), True)])
    assert "may not sign certificates" in problem(mute.leaf(names=NAMES), mute.certificate)
    able = ROOT.below("able", extensions=[(key_usage(cert_sign=True), True)])
    assert checked(able.leaf(names=NAMES), able.certificate, roots=(ROOT,)).certificate


def test_the_length_of_the_path_is_respected() -> None:
    narrow = ROOT.below("narrow", path_length=0)
    below = narrow.below("below narrow")
    assert checked(narrow.leaf(names=NAMES), narrow.certificate, roots=(ROOT,)).certificate
    assert "allows 0 CAs below it" in problem(below.leaf(names=NAMES), below.certificate, narrow.certificate)


def test_a_self_signed_leaf_counts_where_no_roots_are_configured() -> None:
    """cert-manager's SelfSigned issuer, as a child request would reach it."""
    own = CA(ROOT.certificate, key())
    leaf = make_ca("own", signer=own.signer, is_ca=False, end=NOW + LIFE).certificate
    csr = parsed(common_name="own")
    verified = verify(to_pem([leaf]), to_pem([leaf]), csr, roots=(), at_least=LIFE, now=NOW)
    assert verified.certificate == verified.ca == to_pem([leaf])
    with pytest.raises(WrongCertificateError, match="does not chain up"):
        verify(to_pem([leaf]), b"", csr, roots=[ROOT.certificate], at_least=LIFE, now=NOW)


def test_a_ladder_without_an_end_is_not_climbed() -> None:
    rung, rungs = ROOT, []
    for i in range(MAX_DEPTH + 2):
        rung = rung.below(f"rung {i}")
        rungs.append(rung.certificate)
    assert "does not chain up" in problem(rung.leaf(names=NAMES), *rungs)


def test_a_flood_of_look_alikes_costs_a_bounded_number_of_signatures() -> None:
    signer = key("p256", "look-alike")
    flood = [make_ca("issuing", signer=signer).certificate for _ in range(150)]
    search = Search(pool=flood, roots=[ROOT.certificate], now=NOW)
    started = time.process_time()
    assert list(search.ways(LEAF)) == []
    assert len(search.dead_ends) == MAX_SIGNATURES
    assert time.process_time() - started < 1


def test_a_loop_of_cross_signed_cas_ends() -> None:
    left = make_ca("left", issued_by=make_ca("right"))
    right = make_ca("right", issued_by=make_ca("left"))
    leaf = left.leaf(names=NAMES)
    assert checked(leaf, left.certificate, right.certificate).certificate
    assert "does not chain up" in problem(leaf, left.certificate, right.certificate)
