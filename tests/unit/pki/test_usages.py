"""cert-manager's names of usages, and what they become."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from issuer.pki.usages import UnsupportedUsageError, extensions, outside

if TYPE_CHECKING:
    from cryptography import x509

    from issuer.pki.csr import KeyType

# pkg/apis/certmanager/v1/types.go lists them all; `cert sign` and `crl sign` are for CAs.
KEY_USAGES = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
}
PURPOSES = {
    "any": "2.5.29.37.0",
    "server auth": "1.3.6.1.5.5.7.3.1",
    "client auth": "1.3.6.1.5.5.7.3.2",
    "code signing": "1.3.6.1.5.5.7.3.3",
    "email protection": "1.3.6.1.5.5.7.3.4",
    "s/mime": "1.3.6.1.5.5.7.3.4",
    "ipsec end system": "1.3.6.1.5.5.7.3.5",
    "ipsec tunnel": "1.3.6.1.5.5.7.3.6",
    "ipsec user": "1.3.6.1.5.5.7.3.7",
    "timestamping": "1.3.6.1.5.5.7.3.8",
    "ocsp signing": "1.3.6.1.5.5.7.3.9",
    "microsoft sgc": "1.3.6.1.4.1.311.10.3.3",
    "netscape sgc": "2.16.840.1.113730.4.1",
}
BITS = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")


def bits(usage: x509.KeyUsage | None) -> set[str]:
    assert usage is not None
    return {bit for bit in (*BITS, "key_cert_sign") if getattr(usage, bit)}


@pytest.mark.parametrize(("usage", "bit"), KEY_USAGES.items())
def test_a_key_usage_becomes_its_bit_and_no_purpose(usage: str, bit: str) -> None:
    made = extensions([usage], "rsa")
    assert bits(made.key_usage) == {bit}
    assert made.extended_key_usage is None


@pytest.mark.parametrize(("usage", "oid"), PURPOSES.items())
def test_a_purpose_becomes_its_identifier_and_no_bit(usage: str, oid: str) -> None:
    made = extensions([usage], "rsa")
    assert made.key_usage is None
    assert made.extended_key_usage is not None
    assert [purpose.dotted_string for purpose in made.extended_key_usage] == [oid]


def test_two_names_of_one_purpose_make_one_purpose() -> None:
    made = extensions(["s/mime", "email protection", "s/mime"], "rsa")
    assert made.extended_key_usage is not None
    assert len(made.extended_key_usage) == 1


def test_without_usages_an_rsa_key_gets_cert_managers_default() -> None:
    assert bits(extensions([], "rsa").key_usage) == {"digital_signature", "key_encipherment"}


@pytest.mark.parametrize("key_type", ["ecdsa", "ed25519"])
def test_without_usages_a_key_that_cannot_encipher_only_signs(key_type: KeyType) -> None:
    assert bits(extensions([], key_type).key_usage) == {"digital_signature"}


def test_what_was_asked_for_by_name_is_kept_for_every_key() -> None:
    made = extensions(["digital signature", "key encipherment", "server auth"], "ecdsa")
    assert bits(made.key_usage) == {"digital_signature", "key_encipherment"}


@pytest.mark.parametrize(
    ("usages", "problem"),
    [
        (["server auth", "Server Auth"], "unknown usage 'Server Auth'"),
        (["x" * 500], "unknown usage"),
        (["cert sign"], "the usage 'cert sign' is for CAs only"),
        (["digital signature", "crl sign"], "the usage 'crl sign' is for CAs only"),
        (["encipher only"], "mean nothing without 'key agreement'"),
        (["decipher only", "digital signature"], "mean nothing without 'key agreement'"),
    ],
)
def test_usages_that_cannot_be_signed_are_refused_by_name(usages: list[str], problem: str) -> None:
    with pytest.raises(UnsupportedUsageError, match=problem) as caught:
        extensions(usages, "rsa")
    assert len(str(caught.value)) < 200


def test_usages_outside_of_what_is_given_are_told_once_and_in_their_order() -> None:
    wanted = ["server auth", "code signing", "cert sign", "code signing"]
    assert outside(wanted, {"server auth"}) == ("code signing", "cert sign")
    assert outside(wanted[:1], {"server auth"}) == outside([], ()) == ()


def test_encipher_only_goes_with_key_agreement() -> None:
    usage = extensions(["encipher only", "key agreement"], "ecdsa").key_usage
    assert usage is not None
    assert usage.encipher_only
    assert not usage.decipher_only
