"""The key pair of a CA, as Secrets hold it: all its forms, and everything that makes it unfit."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from issuer.pki import pem
from issuer.pki.certificate import to_pem
from issuer.pki.keypair import InvalidKeyPairError, KeyPair, load
from tests.unit.pki.pki_case import (
    CA,
    DAY,
    NOW,
    as_pem,
    key,
    key_pem,
    key_usage,
    make_ca,
    pss_certificate,
    pss_key_pem,
)

ROOT = make_ca("root")
SUB = ROOT.below("sub")
ISSUING = SUB.below("issuing")


def crt(*cas: CA) -> bytes:
    return to_pem(ca.certificate for ca in cas)


def problem(certificate: bytes, private: bytes) -> str:
    with pytest.raises(InvalidKeyPairError) as caught:
        load(certificate, private)
    assert str(caught.value) == f"{caught.value.part}: {caught.value.message}"
    for line in private.decode("ascii", "replace").splitlines():
        assert len(line) < 30 or line not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "p521", "ed25519"])
def test_every_kind_of_key_is_read_from_pkcs8(kind: str) -> None:
    ca = make_ca(f"root {kind}", kind=kind)
    pair = load(crt(ca), key_pem(ca.signer))
    assert pair.certificate == pair.anchor == ca.certificate
    assert pair.is_slow == (kind == "rsa2048")


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_the_older_forms_of_rsa_and_ecdsa_keys_are_read(kind: str) -> None:
    ca = make_ca(f"root {kind}", kind=kind)
    assert load(crt(ca), key_pem(ca.signer, "traditional")).chain == (ca.certificate,)


def test_parameters_before_an_ec_key_are_passed_over() -> None:
    """`openssl ecparam -genkey` writes them."""
    parameters = as_pem(bytes.fromhex("06082a8648ce3d030107"), b"EC PARAMETERS")
    assert load(crt(ROOT), parameters + key_pem(ROOT.signer, "traditional")).chain


def test_the_chain_is_put_in_order_and_ends_at_the_root() -> None:
    pair = load(crt(ISSUING, ROOT, SUB), key_pem(ISSUING.signer))
    assert pair.chain == (ISSUING.certificate, SUB.certificate, ROOT.certificate)
    assert pair.intermediates == (ISSUING.certificate, SUB.certificate)
    assert pair.anchor == ROOT.certificate


def test_without_the_root_the_highest_certificate_is_the_anchor() -> None:
    pair = load(crt(ISSUING, SUB), key_pem(ISSUING.signer))
    assert pair.intermediates == (ISSUING.certificate, SUB.certificate)
    assert pair.anchor == SUB.certificate


def test_a_certificate_that_is_there_twice_does_no_harm() -> None:
    assert load(crt(SUB, ROOT, ROOT, SUB), key_pem(SUB.signer)).chain == (SUB.certificate, ROOT.certificate)


def test_the_pair_lives_as_long_as_all_of_its_chain() -> None:
    short = make_ca("short", start=NOW - DAY, end=NOW + DAY)
    below = short.below("below", start=NOW - timedelta(hours=1))
    pair = load(crt(below, short), key_pem(below.signer))
    assert (pair.begins, pair.ends) == (NOW - timedelta(hours=1), NOW + DAY)


def test_a_representation_holds_no_key() -> None:
    assert "key=" not in repr(KeyPair((ROOT.certificate,), ROOT.signer))


def test_a_key_of_something_else_does_not_match() -> None:
    assert problem(crt(ROOT), key_pem(key())) == "tls.key: is not the key of the first certificate in tls.crt"


def test_the_key_of_a_later_certificate_does_not_match() -> None:
    assert "first certificate" in problem(crt(ROOT, SUB), key_pem(SUB.signer))


def test_garbage_in_the_certificate_is_told_of_the_certificate() -> None:
    assert problem(b"garbage", key_pem(ROOT.signer)) == "tls.crt: no certificate in PEM"
    assert problem(key_pem(ROOT.signer), key_pem(ROOT.signer)).startswith("tls.crt: holds a PRIVATE KEY")


@pytest.mark.parametrize(
    ("private", "said"),
    [
        (b"garbage", "holds 0 private keys"),
        (b"\x00\xff", "holds 0 private keys"),
        (crt(ROOT), "holds 0 private keys"),
        (key_pem(ROOT.signer) * 2, "holds 2 private keys"),
        (key_pem(ROOT.signer)[:-30], "is broken PEM"),
        (as_pem(b"\x30\x00", b"PRIVATE KEY"), "does not decode as a private key"),
        (key_pem(ROOT.signer, passphrase="x"), "is encrypted"),
        (key_pem(key("rsa2048"), "traditional", passphrase="x"), "is encrypted"),
        (key_pem(key("rsa1024")), "is RSA of 1024 bits"),
        (key_pem(key("secp256k1")), "is ECDSA on secp256k1"),
        (key_pem(key("ed448")), "is of a kind that cannot be used"),
        (key_pem(key("dsa")), "is of a kind that cannot be used"),
    ],
)
def test_a_key_that_cannot_be_used_is_told_of_the_key(private: bytes, said: str) -> None:
    assert problem(crt(ROOT), private).startswith(f"tls.key: {said}")


def test_a_parsers_words_about_a_private_key_are_not_passed_on() -> None:
    assert problem(crt(ROOT), as_pem(b"\x30\x00", b"PRIVATE KEY")) == "tls.key: does not decode as a private key"


def test_a_certificate_of_no_ca_is_refused() -> None:
    leaf = make_ca("leaf", issued_by=ROOT, is_ca=False)
    assert "'CN=leaf' is not the certificate of a CA" in problem(crt(leaf), key_pem(leaf.signer))


def test_a_ca_that_may_not_sign_certificates_is_refused() -> None:
    mute = make_ca("mute", extensions=[(key_usage(cert_sign=False), True)])
    assert "'CN=mute' may not sign certificates" in problem(crt(mute), key_pem(mute.signer))


def test_a_ca_that_the_one_above_it_does_not_allow_is_refused() -> None:
    narrow = ROOT.below("narrow", path_length=0)
    below = narrow.below("below")
    assert "'CN=narrow' allows 0 CAs below it, and there are 1" in problem(crt(below, narrow), key_pem(below.signer))
    assert load(crt(narrow, ROOT), key_pem(narrow.signer)).anchor == ROOT.certificate


def test_certificates_that_do_not_belong_to_the_chain_are_refused() -> None:
    assert "do not form one chain" in problem(crt(SUB, make_ca("stranger")), key_pem(SUB.signer))


def test_an_expired_ca_is_read_as_it_is_renewed_in_place() -> None:
    expired = make_ca("expired", start=NOW - 9 * DAY, end=NOW - DAY)
    assert load(crt(expired), key_pem(expired.signer)).ends == NOW - DAY


def test_pem_blocks_are_cut_out_by_label() -> None:
    private = key_pem(ec.generate_private_key(ec.SECP256R1()), "traditional")
    assert [block.label for block in pem.blocks(crt(ROOT) + b"text" + private)] == ["CERTIFICATE", "EC PRIVATE KEY"]


def test_a_namesake_with_another_key_is_not_taken_for_the_one_above() -> None:
    namesake = make_ca("root", signer=key("p256", "namesake"))
    assert "do not form one chain" in problem(crt(SUB, namesake), key_pem(SUB.signer))
    assert load(crt(SUB, ROOT), key_pem(SUB.signer)).anchor == ROOT.certificate


HOUR = timedelta(hours=1)


def test_the_root_in_ca_crt_goes_on_top_of_the_chain() -> None:
    """A Secret as cert-manager writes it for an intermediate CA."""
    pair = load(crt(SUB), key_pem(SUB.signer), crt(ROOT))
    assert pair.chain == (SUB.certificate, ROOT.certificate)
    assert pair.anchor == ROOT.certificate
    assert pair.intermediates == (SUB.certificate,)


def test_a_ca_crt_that_holds_the_way_up_is_followed_to_the_root_whatever_its_order() -> None:
    pair = load(crt(ISSUING), key_pem(ISSUING.signer), crt(make_ca("stranger"), ROOT, SUB))
    assert pair.chain == (ISSUING.certificate, SUB.certificate, ROOT.certificate)
    assert pair.intermediates == (ISSUING.certificate, SUB.certificate)


def test_a_ca_crt_without_the_root_is_the_anchor_and_stays_in_the_chain() -> None:
    pair = load(crt(ISSUING), key_pem(ISSUING.signer), crt(SUB))
    assert pair.anchor == SUB.certificate
    assert pair.intermediates == (ISSUING.certificate, SUB.certificate)


def test_of_several_certificates_of_the_root_the_self_signed_one_that_lives_longest_is_taken() -> None:
    crossed = make_ca("root", issued_by=make_ca("elder root"), signer=ROOT.signer, end=NOW + 9000 * DAY)
    older = make_ca("root", end=NOW + 30 * DAY, signer=ROOT.signer)
    pair = load(crt(SUB), key_pem(SUB.signer), crt(older, crossed, ROOT))
    assert pair.chain == (SUB.certificate, ROOT.certificate)


NAMESAKE = make_ca("root", signer=key("p256", "namesake"))
NO_CA = make_ca("root", signer=ROOT.signer, is_ca=False)
MUTE = make_ca("root", signer=ROOT.signer, extensions=[(key_usage(cert_sign=False), True)])


@pytest.mark.parametrize(
    "roots",
    [
        b"",
        b" \n",
        b"garbage",
        b"\x00\xff",
        crt(ROOT)[:-30],
        as_pem(b"\x30\x00", b"CERTIFICATE"),
        key_pem(ROOT.signer),
        crt(make_ca("stranger")),
        crt(SUB),
        crt(NAMESAKE),
        crt(NO_CA),
        crt(MUTE),
        b"x" * 2_000_000,
    ],
    ids=[
        "empty",
        "blank",
        "text",
        "bytes",
        "cut",
        "no certificate",
        "a key",
        "a stranger",
        "itself",
        "a namesake with another key",
        "no CA",
        "may not sign certificates",
        "huge",
    ],
)
def test_a_ca_crt_that_does_not_fit_is_passed_over(roots: bytes) -> None:
    pair = load(crt(SUB), key_pem(SUB.signer), roots)
    assert pair.chain == (SUB.certificate,)
    assert pair.hints == 0


def test_a_ca_crt_that_allows_no_ca_below_it_does_not_fit_on_a_longer_chain() -> None:
    root = make_ca("narrow root", path_length=0)
    below = root.below("below")
    issuing = below.below("issuing")
    assert load(crt(below), key_pem(below.signer), crt(root)).anchor == below.certificate
    assert load(crt(issuing, below), key_pem(issuing.signer), crt(root)).anchor == below.certificate


def test_a_ca_crt_on_a_chain_that_has_its_root_changes_nothing() -> None:
    again = make_ca("root", signer=ROOT.signer, end=NOW + 9000 * DAY)
    for tls_crt, signer in ((crt(ROOT), ROOT.signer), (crt(SUB, ROOT), SUB.signer)):
        assert load(tls_crt, key_pem(signer), crt(again)).anchor == ROOT.certificate


@pytest.mark.parametrize(
    ("start", "end", "used"),
    [
        (NOW - DAY, NOW + DAY, True),
        (NOW - 9 * DAY, NOW - DAY, False),
        (NOW - 9 * DAY, NOW + HOUR / 2, False),
        (NOW + DAY, NOW + 9 * DAY, False),
    ],
)
def test_a_root_from_ca_crt_counts_only_while_it_is_valid(start: datetime, end: datetime, used: bool) -> None:
    root = make_ca("passing root", start=start, end=end)
    below = root.below("below")
    pair = load(crt(below), key_pem(below.signer), crt(root)).at(NOW, NOW + HOUR)
    assert (pair.anchor == root.certificate) is used
    assert (pair.ends == end) is used


def test_a_root_from_tls_crt_counts_even_when_it_has_expired() -> None:
    root = make_ca("expired root", end=NOW - DAY)
    below = root.below("below")
    pair = load(crt(below, root), key_pem(below.signer), crt(root))
    assert pair.at(NOW, NOW + HOUR) == pair
    assert pair.ends == NOW - DAY


PSS_OID = x509.ObjectIdentifier("1.2.840.113549.1.1.10")
PSS = make_ca("pss", kind="rsa2048", signer=key("rsa2048", "pss"))


def test_a_private_key_for_rsa_pss_is_refused() -> None:
    assert problem(crt(PSS), pss_key_pem(PSS.signer)).startswith("tls.key: is for RSA-PSS only")


def test_a_certificate_for_an_rsa_pss_key_is_refused() -> None:
    certificate = pss_certificate(make_ca("pss", issued_by=ROOT, signer=PSS.signer), ROOT.signer)
    for private in (pss_key_pem(PSS.signer), key_pem(PSS.signer), key_pem(PSS.signer, "traditional")):
        said = problem(certificate, private)
        assert said.startswith("tls.crt: the key of its first certificate is for RSA-PSS only")
        assert "use one for plain RSA" in said


def test_an_oid_of_rsa_pss_elsewhere_does_no_harm() -> None:
    ca = make_ca(
        "pss", kind="rsa2048", extensions=[(x509.CertificatePolicies([x509.PolicyInformation(PSS_OID, None)]), False)]
    )
    assert load(crt(ca), key_pem(ca.signer)).chain == (ca.certificate,)
