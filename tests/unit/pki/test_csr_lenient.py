"""CSRs as tools write them: what is not DER to the letter, and what cert-manager's CA issuer signs all the same.

The first ones are those of reports; their names, keys and addresses were replaced. The others are written byte by byte.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from issuer.pki import csr, lenient
from issuer.pki.certificate import matches
from issuer.pki.csr import InvalidRequestError
from issuer.pki.issue import issue
from issuer.pki.keypair import KeyPair
from issuer.pki.usages import extensions
from tests.unit.pki.pki_case import LIFE, NOW, as_pem, content, dns, key, make_ca, name, request, resigned, tlv

if TYPE_CHECKING:
    from issuer.pki.csr import SigningRequest

REPORTED = {
    "signed with SHA-1": (
        "MIIBAzCBqwIBADAbMRkwFwYDVQQDDBBzaG9wLmV4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEPZjoZ8vhkE/+/mezWn03"
        "Idn/MGcgEdjzLsVjBl7DsD+cGSiUiMODugzclmNZnTO924Dr/C7sSDeTkjhvJEsH9qAuMCwGCSqGSIb3DQEJDjEfMB0wGwYDVR0RBBQwEoIQ"
        "c2hvcC5leGFtcGxlLmNvbTAJBgcqhkjOPQQBA0gAMEUCIQCmcqi4fGgkaePzrlYjzx+J29mpEQR/ciB+Jl16RV12awIgXaGakUxsrFVASvme"
        "z4jz6H7ZbS3TysYcxU3X8wz0Xy0="
    ),
    "a * in a PrintableString": (
        "MIIBCzCBsgIBADAYMRYwFAYDVQQDEw0qLmV4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEPZjoZ8vhkE/+/mezWn03Idn/"
        "MGcgEdjzLsVjBl7DsD+cGSiUiMODugzclmNZnTO924Dr/C7sSDeTkjhvJEsH9qA4MDYGCSqGSIb3DQEJDjEpMCcwJQYDVR0RBB4wHIINKi5l"
        "eGFtcGxlLmNvbYILZXhhbXBsZS5jb20wCgYIKoZIzj0EAwIDSAAwRQIhAKABcTxf1yxE4rsD8civ9MkU7OkK+2lOdV5oU3Jbgy5qAiB3f0b8"
        "vwz/Um+IkYGv50pF3IIKZhcf7ScNPgyibndlnQ=="
    ),
    "version 2": (
        "MIIBBTCBqwIBAjAbMRkwFwYDVQQDDBBzaG9wLmV4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEPZjoZ8vhkE/+/mezWn03"
        "Idn/MGcgEdjzLsVjBl7DsD+cGSiUiMODugzclmNZnTO924Dr/C7sSDeTkjhvJEsH9qAuMCwGCSqGSIb3DQEJDjEfMB0wGwYDVR0RBBQwEoIQ"
        "c2hvcC5leGFtcGxlLmNvbTAKBggqhkjOPQQDAgNJADBGAiEAqnH8j8l4fGd16+HkO2BQPwWP12756pbngcnamKf7M5oCIQCSpFbBhy9wcrsg"
        "pwNkFFKkzpUK7I46tzhIkU430KOCwg=="
    ),
    "attributes that are not sorted": (
        "MIIBGjCBwgIBADAbMRkwFwYDVQQDDBBzaG9wLmV4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEPZjoZ8vhkE/+/mezWn03"
        "Idn/MGcgEdjzLsVjBl7DsD+cGSiUiMODugzclmNZnTO924Dr/C7sSDeTkjhvJEsH9qBFMCwGCSqGSIb3DQEJDjEfMB0wGwYDVR0RBBQwEoIQ"
        "c2hvcC5leGFtcGxlLmNvbTAVBgkqhkiG9w0BCQcxCBMGZ2VoZWltMAoGCCqGSM49BAMCA0cAMEQCIH5nm4BJ4gB4ZitKWSxe508LxFJUZl4P"
        "N/zFY9Jkgp/2AiAyE+Bmei3izICT7vfiq6RLl59vfyb+ad5ZM3uM5897zA=="
    ),
    "a user principal name": (
        "MIIBCjCBsQIBADAQMQ4wDAYDVQQDDAVlcmlrYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABD2Y6GfL4ZBP/v5ns1p9NyHZ/zBnIBHY8y7F"
        "YwZew7A/nBkolIjDg7oM3JZjWZ0zvduA6/wu7Eg3k5I4byRLB/agPzA9BgkqhkiG9w0BCQ4xMDAuMCwGA1UdEQQlMCOgIQYKKwYBBAGCNxQC"
        "A6ATDBFlcmlrYUBleGFtcGxlLmNvbTAKBggqhkjOPQQDAgNIADBFAiEAnRpjnckAu10ZfBF+0r3sxCY4NllGp/+0c00g1KPnqcECIH6OGAgP"
        "rD2I1itklgaQPPtyAdLbcCDqeLfsqF3yDrbU"
    ),
    "upper case": (
        "MIHrMIGSAgEAMAAwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ9mOhny+GQT/7+Z7NafTch2f8wZyAR2PMuxWMGXsOwP5wZKJSIw4O6DNyW"
        "Y1mdM73bgOv8LuxIN5OSOG8kSwf2oDAwLgYJKoZIhvcNAQkOMSEwHzAdBgNVHREBAf8EEzARgg9XV1cuRXhhbXBsZS5DT00wCgYIKoZIzj0E"
        "AwIDSAAwRQIgLD7yqk7MSxjgVjTLAnVRkY/+gJDGrJOpPyqhE8Bi3OsCIQChW8L0c+DVANjFbppi3TFXfd0U2+/S1w9ciFyy5M7aiA=="
    ),
    "a common name that is no host": (
        "MIH+MIGkAgEAMBQxEjAQBgNVBAMMCXNob3AucHJvZDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABD2Y6GfL4ZBP/v5ns1p9NyHZ/zBnIBHY"
        "8y7FYwZew7A/nBkolIjDg7oM3JZjWZ0zvduA6/wu7Eg3k5I4byRLB/agLjAsBgkqhkiG9w0BCQ4xHzAdMBsGA1UdEQQUMBKCEHNob3AuZXhh"
        "bXBsZS5jb20wCgYIKoZIzj0EAwIDSQAwRgIhANmV0wQkn54cVwTGc8mG81uyAfpugRs9DDvKDokVsrI+AiEAnJ8TLIhYd43kysYu7k4+BVnk"
        "BC5Oi3FdnnhiIAiHDkw="
    ),
}
"""DER in base64."""

ROOT = make_ca()


def read(der: bytes) -> SigningRequest:
    return csr.parse_pem(as_pem(der))


def signed_for(asked: SigningRequest) -> x509.Certificate:
    pair = KeyPair((ROOT.certificate,), ROOT.signer)
    leaf = issue(pair, asked, extensions((), asked.key_type), not_before=NOW, not_after=NOW + LIFE)
    assert matches(asked, leaf)
    return leaf


def names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


def refusal(der: bytes) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        read(der)
    assert "ParseError" not in caught.value.message
    assert "Traceback" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("reported", REPORTED.values(), ids=REPORTED)
def test_what_was_reported_is_signed_with_the_names_that_it_asks_for(reported: str) -> None:
    der = base64.b64decode(reported)
    asked = read(der)
    assert asked.san is not None
    assert names_of(signed_for(asked)) == list(asked.san)
    assert base64.b64decode(b"".join(asked.pem.splitlines()[1:-1])) == der


def test_the_letter_case_of_names_is_kept() -> None:
    leaf = signed_for(read(base64.b64decode(REPORTED["upper case"])))
    assert names_of(leaf) == dns("WWW.Example.COM")


def test_a_user_principal_name_is_kept_byte_for_byte() -> None:
    leaf = signed_for(read(base64.b64decode(REPORTED["a user principal name"])))
    upn = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x11erika@example.com")
    assert names_of(leaf) == [upn]


OID = {"cn": "0603550403", "o": "060355040a", "c": "0603550406", "email": "06092a864886f70d010901"}
EXTENSION_REQUEST = bytes.fromhex("06092a864886f70d01090e")
MICROSOFT_REQUEST = bytes.fromhex("060a2b06010401823702010e")
PUBLIC_KEY = key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
SAN = tlv(0x30, tlv(0x82, b"www.example.com"))


def attribute(which: str, tag: int, value: bytes) -> bytes:
    return tlv(0x31, tlv(0x30, bytes.fromhex(OID[which]) + tlv(tag, value)))


def extension(oid: str, value: bytes, critical: bytes = b"") -> bytes:
    return tlv(0x30, bytes.fromhex(oid) + critical + tlv(0x04, value))


def requested(*listed: bytes, by: bytes = EXTENSION_REQUEST) -> bytes:
    return tlv(0x30, by + tlv(0x31, tlv(0x30, b"".join(listed))))


def built(
    *subject: bytes, attributes: bytes | None = None, version: bytes = b"\x02\x01\x00", public_key: bytes = PUBLIC_KEY
) -> bytes:
    """A CSR of these parts, with a good signature."""
    if attributes is None:
        attributes = tlv(0xA0, requested(extension("0603551d11", SAN)))
    return resigned(tlv(0x30, version + tlv(0x30, b"".join(subject)) + public_key + attributes))


@pytest.mark.parametrize(
    ("which", "tag", "value", "text"),
    [
        ("cn", 0x13, b"*.example.com", "*.example.com"),
        ("o", 0x13, b"Muster & Sohn", "Muster & Sohn"),
        ("o", 0x13, b"a_b@example", "a_b@example"),
        ("o", 0x13, "Müller".encode("latin-1"), "Müller"),
        ("o", 0x14, b"Muster GmbH", "Muster GmbH"),
        ("o", 0x14, "Müller & Söhne".encode("latin-1"), "Müller & Söhne"),
        ("o", 0x1E, "Müller".encode("utf-16-be"), "Müller"),
        ("o", 0x1C, "Müller".encode("utf-32-be"), "Müller"),
        ("o", 0x0C, "Müller".encode(), "Müller"),
        ("o", 0x12, b"12 34", "12 34"),
        ("o", 0x1B, b"Muster", "Muster"),
        ("email", 0x16, b"ops@example.com", "ops@example.com"),
        ("email", 0x13, b"ops@example.com", "ops@example.com"),
        ("c", 0x13, b"DE", "DE"),
        ("c", 0x0C, b"de", "de"),
    ],
)
def test_a_subject_in_any_type_of_string_is_signed_with_the_text_that_it_means(
    which: str, tag: int, value: bytes, text: str
) -> None:
    asked = read(built(attribute(which, tag, value)))
    assert [each.value for each in signed_for(asked).subject] == [text]
    assert [each.value for each in asked.subject] == [text]


@pytest.mark.parametrize("version", [b"\x02\x01\x01", b"\x02\x01\x02", b"\x02\x02\x01\x00"])
def test_the_version_says_nothing(version: bytes) -> None:
    assert read(built(attribute("cn", 0x0C, b"x"), version=version)).dns_names == ("www.example.com",)


ODD_EXTENSIONS = {
    "critical FALSE": extension("0603551d11", SAN, b"\x01\x01\x00"),
    "critical TRUE as 1": extension("0603551d11", SAN, b"\x01\x01\x01"),
}


@pytest.mark.parametrize("odd", ODD_EXTENSIONS.values(), ids=ODD_EXTENSIONS)
def test_a_default_that_is_written_out_changes_nothing(odd: bytes) -> None:
    assert names_of(signed_for(read(built(attributes=tlv(0xA0, requested(odd)))))) == dns("www.example.com")


def test_a_default_in_basic_constraints_changes_nothing() -> None:
    constraints = extension("0603551d13", tlv(0x30, b"\x01\x01\x00"), b"\x01\x01\xff")
    asked = read(built(attributes=tlv(0xA0, requested(constraints, extension("0603551d11", SAN)))))
    assert not asked.is_ca
    assert names_of(signed_for(asked)) == dns("www.example.com")


UNKNOWN_ATTRIBUTES = {
    "challenge password": tlv(0x30, bytes.fromhex("06092a864886f70d010907") + tlv(0x31, tlv(0x13, b"hush"))),
    "without a value": tlv(0x30, bytes.fromhex("06042a030405") + tlv(0x31, b"")),
    "Windows version": tlv(0x30, bytes.fromhex("060a2b0601040182370d0203") + tlv(0x31, tlv(0x16, b"10.0.20348.2"))),
}


@pytest.mark.parametrize("unknown", UNKNOWN_ATTRIBUTES.values(), ids=UNKNOWN_ATTRIBUTES)
@pytest.mark.parametrize("first", [True, False])
def test_attributes_that_nobody_reads_may_stand_anywhere(unknown: bytes, first: bool) -> None:
    both = [unknown, requested(extension("0603551d11", SAN))]
    asked = read(built(attributes=tlv(0xA0, b"".join(both if first else both[::-1]))))
    assert names_of(signed_for(asked)) == dns("www.example.com")


def test_attributes_may_be_left_out() -> None:
    assert read(built(attribute("cn", 0x0C, b"www.example.com"), attributes=b"")).hostnames == ("www.example.com",)
    assert read(built(attribute("cn", 0x0C, b"www.example.com"), attributes=b"\xa0\x00")).san is None


OTHER_SAN = tlv(0x30, tlv(0x82, b"hidden.example.com"))


@pytest.mark.parametrize("first", [True, False])
def test_names_that_go_does_not_see_are_not_signed(first: bool) -> None:
    """An approver that is written in Go has approved the CSR without them."""
    hidden = requested(extension("0603551d11", OTHER_SAN), by=MICROSOFT_REQUEST)
    assert x509.load_der_x509_csr(built(attributes=tlv(0xA0, hidden))).extensions, "cryptography reads them"
    alone = read(built(attribute("cn", 0x0C, b"www.example.com"), attributes=tlv(0xA0, hidden)))
    assert alone.san is None
    both = [hidden, requested(extension("0603551d11", SAN))]
    asked = read(built(attributes=tlv(0xA0, b"".join(both if first else both[::-1]))))
    assert names_of(signed_for(asked)) == dns("www.example.com")


def test_of_an_attribute_the_first_value_counts() -> None:
    values = tlv(0x30, extension("0603551d11", SAN)) + tlv(0x30, extension("0603551d11", OTHER_SAN))
    asked = read(built(attributes=tlv(0xA0, tlv(0x30, EXTENSION_REQUEST + tlv(0x31, values)))))
    assert asked.dns_names == ("www.example.com",)


def test_names_in_a_second_attribute_of_extensions_are_seen_as_go_sees_them() -> None:
    constraints = extension("0603551d13", tlv(0x30, b""))
    both = sorted([requested(constraints), requested(extension("0603551d11", SAN))])
    assert read(built(attributes=tlv(0xA0, b"".join(both)))).dns_names == ("www.example.com",)


def test_several_attributes_of_extensions_are_read_together() -> None:
    usage = extension("0603551d0f", bytes.fromhex("030205a0"), b"\x01\x01\x00")
    both = requested(usage) + requested(extension("0603551d11", SAN))
    assert read(built(attributes=tlv(0xA0, both))).dns_names == ("www.example.com",)


def test_an_extension_that_nobody_reads_may_hold_nonsense() -> None:
    usage = extension("0603551d0f", b"nonsense")
    asked = read(built(attributes=tlv(0xA0, requested(usage, extension("0603551d11", SAN)))))
    assert asked.dns_names == ("www.example.com",)


def test_lengths_may_be_longer_than_needed() -> None:
    subject = content(tlv(0x30, attribute("cn", 0x0C, b"x")))
    long_form = bytes([0x30, 0x82]) + len(subject).to_bytes(2, "big") + subject
    info = tlv(0x30, b"\x02\x01\x00" + long_form + PUBLIC_KEY + tlv(0xA0, requested(extension("0603551d11", SAN))))
    assert read(resigned(info)).common_name == "x"


def test_order_and_several_values_of_a_subject_are_kept() -> None:
    pair = tlv(
        0x31,
        tlv(0x30, bytes.fromhex(OID["cn"]) + tlv(0x0C, b"a")) + tlv(0x30, bytes.fromhex(OID["o"]) + tlv(0x0C, b"b")),
    )
    asked = read(built(attribute("o", 0x0C, b"Corp"), pair, attribute("o", 0x13, b"A*"), attribute("c", 0x13, b"DE")))
    leaf = signed_for(asked)
    assert [[each.value for each in rdn] for rdn in leaf.subject.rdns] == [["Corp"], ["a", "b"], ["A*"], ["DE"]]


REFUSED = {
    "nonsense": (b"no asn.1 at all", "is no certificate request of PKCS #10 (RFC 2986)"),
    "a certificate": (ROOT.certificate.public_bytes(Encoding.DER), "is no certificate request of PKCS #10 (RFC 2986)"),
    "a subject of numbers": (
        built(attribute("o", 0x02, b"\x05")),
        "the subject of the CSR: the organization is no text that can be read; write it as a UTF8String",
    ),
    "a subject that is no UTF-8": (
        built(attribute("cn", 0x0C, b"\xff\xfe")),
        "the subject of the CSR: the common name is no text that can be read; write it as a UTF8String",
    ),
    "a subject that says the same twice": (
        built(tlv(0x31, 2 * tlv(0x30, bytes.fromhex(OID["o"]) + tlv(0x13, b"*")))),
        "the subject of the CSR: a part of it is empty, or says the same twice",
    ),
    "a subject with an empty part": (
        built(attribute("o", 0x13, b"*"), tlv(0x31, b"")),
        "the subject of the CSR: a part of it is empty, or says the same twice",
    ),
    "a key that is none": (
        built(public_key=tlv(0x30, b"")),
        "the CSR's key does not decode (SubjectPublicKeyInfo, RFC 5280, section 4.1.2.7)",
    ),
    "a key of an unknown type, and a subject that is not DER": (
        built(
            attribute("o", 0x13, b"*"), public_key=tlv(0x30, tlv(0x30, bytes.fromhex("06032a0304")) + tlv(3, bytes(33)))
        ),
        "the CSR's key is of a type that is not supported",
    ),
    "an attribute of endless name": (
        built(tlv(0x31, tlv(0x30, tlv(0x06, b"\x55" * 90) + tlv(0x02, b"\x05")))),
        "the subject of the CSR: the attribute 2.5.85.85.85.85.85.85.85.85.85.85.85.85.85",
    ),
    "half a BMP character": (
        built(attribute("o", 0x1E, b"\x00")),
        "the subject of the CSR: the organization is no text that can be read",
    ),
    "a name that is not ASCII": (
        built(attributes=tlv(0xA0, requested(extension("0603551d11", tlv(0x30, tlv(0x82, "bücher.de".encode())))))),
        "subjectAltName: the DNS name 'bücher.de' holds characters that are not ASCII; write it in punycode (xn--...)",
    ),
    "an IP address of 3 bytes": (
        built(attributes=tlv(0xA0, requested(extension("0603551d11", tlv(0x30, tlv(0x87, b"abc")))))),
        "subjectAltName: an IP address is neither 4 nor 16 bytes long",
    ),
    "an X.400 address": (
        built(attributes=tlv(0xA0, requested(extension("0603551d11", tlv(0x30, tlv(0xA3, b"")))))),
        "subjectAltName: names of the kind X.400 address are not supported",
    ),
    "a name of no kind": (
        built(attributes=tlv(0xA0, requested(extension("0603551d11", tlv(0x30, tlv(0x89, b"")))))),
        "subjectAltName: a name of an unknown kind (tag 0x89)",
    ),
    "no list of names": (
        built(attributes=tlv(0xA0, requested(extension("0603551d11", b"nonsense")))),
        "subjectAltName: is no list of names",
    ),
    "constraints that are none": (
        built(attributes=tlv(0xA0, requested(extension("0603551d13", b"nonsense")))),
        "basicConstraints: is not of the form CA and path length",
    ),
    "extensions that are none": (
        built(attributes=tlv(0xA0, tlv(0x30, EXTENSION_REQUEST + tlv(0x31, tlv(0x04, b"x"))))),
        "the extensions that the CSR asks for cannot be read",
    ),
    "a large one": (
        built(*(attribute("o", 0x13, b"*") for _ in range(1500))),
        "the CSR is not DER to the letter, and more than 16384 bytes of such a one are not read",
    ),
}


@pytest.mark.parametrize(("der", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_with_the_part_that_is_wrong(der: bytes, problem: str) -> None:
    assert refusal(der).startswith(problem)


def signed_with(algorithm: str, signature: bytes, info: bytes) -> bytes:
    return tlv(0x30, info + tlv(0x30, bytes.fromhex(algorithm)) + tlv(0x03, b"\x00" + signature))


RSA_INFO = tlv(
    0x30,
    b"\x02\x01\x00\x30\x00"
    + key("rsa2048").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    + tlv(0xA0, requested(extension("0603551d11", SAN))),
)
EC_INFO = tlv(0x30, b"\x02\x01\x00\x30\x00" + PUBLIC_KEY + tlv(0xA0, requested(extension("0603551d11", SAN))))


def by_rsa(algorithm: str, hash_: Any) -> bytes:
    return signed_with(algorithm, key("rsa2048").sign(RSA_INFO, padding.PKCS1v15(), hash_), RSA_INFO)


def test_a_csr_that_is_signed_with_sha_1_is_signed_as_cert_manager_signs_it() -> None:
    assert read(by_rsa("06092a864886f70d0101050500", hashes.SHA1())).key_type == "rsa"
    by_ec = signed_with("06072a8648ce3d0401", key().sign(EC_INFO, ec.ECDSA(hashes.SHA1())), EC_INFO)
    assert read(by_ec).key_type == "ecdsa"


def test_a_csr_that_is_signed_with_md5_is_refused_for_that() -> None:
    der = by_rsa("06092a864886f70d0101040500", hashes.SHA256())
    assert refusal(der) == "the CSR is signed with MD5, which proves nothing any more; sign it with SHA-256"


def test_a_csr_that_is_signed_in_an_unknown_way_is_told_in_which() -> None:
    der = by_rsa("06042a030405", hashes.SHA256())
    assert refusal(der).startswith("the CSR is signed with an algorithm that is not known here (1.2.3.4.5)")


@pytest.mark.parametrize("name_of_hash", ["SHA256", "SHA384", "SHA512"])
def test_a_csr_that_is_signed_with_pss_is_signed(name_of_hash: str) -> None:
    hash_ = getattr(hashes, name_of_hash)()
    signer: rsa.RSAPrivateKey = key("rsa2048")
    pss = padding.PSS(padding.MGF1(hash_), padding.PSS.DIGEST_LENGTH)
    builder = x509.CertificateSigningRequestBuilder().subject_name(name("www.example.com"))
    assert read(builder.sign(signer, hash_, rsa_padding=pss).public_bytes(Encoding.DER)).key_type == "rsa"


@pytest.mark.parametrize("version", [b"\x02\x01\x00", b"\x02\x01\x02"])
def test_the_signature_counts_over_the_bytes_that_were_sent(version: bytes) -> None:
    der = bytearray(built(attribute("cn", 0x0C, b"www.example.com"), version=version))
    at = der.index(b"www.example.com")
    der[at] ^= 1
    assert refusal(bytes(der)) == "the CSR's signature is not by its own key"


def test_a_signature_by_another_key_is_refused() -> None:
    other = key("p256", "other").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    der = built(attribute("o", 0x13, b"*"), public_key=other)
    assert refusal(der) == "the CSR's signature is not by its own key"


def test_what_is_written_anew_is_der_and_holds_the_same() -> None:
    der = request(dns("www.example.com"), subject=name("x", o="y", c="DE")).public_bytes(Encoding.DER)
    anew = lenient.rewrite(der, ValueError)
    assert anew.der == der
    assert anew.signed == x509.load_der_x509_csr(der).tbs_certrequest_bytes


def test_an_attribute_without_text_is_kept() -> None:
    der = built(tlv(0x31, tlv(0x30, bytes.fromhex("060355042d") + tlv(0x03, b"\x00\x07"))), version=b"\x02\x01\x02")
    assert read(der).subject.get_attributes_for_oid(NameOID.X500_UNIQUE_IDENTIFIER)[0].value == b"\x00\x07"
