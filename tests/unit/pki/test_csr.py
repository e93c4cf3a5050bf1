"""What a good CSR is read as, and that each bad one is refused with a message that helps."""

from __future__ import annotations

import base64
import ipaddress
import re
import time
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

from issuer.pki import csr
from issuer.pki.csr import InvalidRequestError
from tests.unit.pki.pki_case import (
    as_pem,
    content,
    dns,
    field,
    key,
    key_pem,
    name,
    parsed,
    pem,
    request,
    resigned,
    tlv,
)


def refusal(request_base64: str) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        csr.parse(request_base64)
    assert caught.value.field == "spec.request"
    assert str(caught.value) == f"spec.request: {caught.value.message}"
    return caught.value.message


def refused(text: bytes) -> str:
    return refusal(field(text))


def test_a_csr_is_read_with_all_its_names() -> None:
    names: list[x509.GeneralName] = [
        *dns("WWW.Example.com", "*.example.com", "www.example.com"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
        x509.IPAddress(ipaddress.ip_address("2001:db8:0::1")),
        x509.RFC822Name("ops@example.com"),
        x509.UniformResourceIdentifier("spiffe://example.com/edge"),
    ]
    read = csr.parse(field(pem(request(names, subject=name("www.example.com", o="Example")))))
    assert read.dns_names == ("www.example.com", "*.example.com")
    assert read.ip_addresses == ("192.0.2.1", "2001:db8::1")
    assert read.email_addresses == ("ops@example.com",)
    assert read.uris == ("spiffe://example.com/edge",)
    assert read.common_name == "www.example.com"
    assert read.subject == name("www.example.com", o="Example")
    assert read.hostnames == ("www.example.com", "*.example.com")


@pytest.mark.parametrize(
    ("kind", "key_type", "size"),
    [
        ("rsa2048", "rsa", 2048),
        ("rsa3072", "rsa", 3072),
        ("p256", "ecdsa", 256),
        ("p384", "ecdsa", 384),
        ("p521", "ecdsa", 521),
        ("ed25519", "ed25519", 256),
    ],
)
def test_the_keys_that_cert_manager_makes_are_known(kind: str, key_type: str, size: int) -> None:
    read = parsed("www.example.com", signer=key(kind))
    assert (read.key_type, read.key_size) == (key_type, size)
    assert read.public_key == key(kind).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_a_common_name_that_is_a_dns_name_is_a_hostname_too() -> None:
    assert parsed("a.example.com", common_name="B.example.com").hostnames == ("a.example.com", "b.example.com")
    assert parsed(common_name="bücher.example").hostnames == ("xn--bcher-kva.example",)


@pytest.mark.parametrize("common_name", ["backend", "Example Root", "10.0.0.1", "ops@example.com", "v1.0", "a..b"])
def test_a_common_name_that_is_something_else_is_no_hostname(common_name: str) -> None:
    assert parsed("a.example.com", common_name=common_name).hostnames == ("a.example.com",)


def test_the_last_of_several_common_names_counts() -> None:
    subject = x509.Name([*name("first.example.com"), *name("last.example.com")])
    assert csr.parse_pem(pem(request(subject=subject))).common_name == "last.example.com"


@pytest.mark.filterwarnings("ignore:Attribute's length:UserWarning")
def test_a_common_name_longer_than_x520_allows_is_read_as_other_issuers_read_it() -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "w" * 70, _validate=False)])
    assert csr.parse_pem(pem(request(subject=subject))).common_name == "w" * 70


def test_text_around_the_block_and_the_older_label_are_taken_and_left_out() -> None:
    plain = pem(request(dns("www.example.com")))
    older = plain.replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST")
    assert csr.parse_pem(b"Certificate Request:\n  Data:\n" + older + b"\nbye\n").pem == plain


def test_base64_with_line_breaks_is_taken() -> None:
    assert csr.parse(base64.encodebytes(pem(request(dns("www.example.com")))).decode()).dns_names


def test_500_names_are_read_as_some_authority_may_sign_them() -> None:
    assert len(parsed(*(f"n{i}.example.com" for i in range(500))).dns_names) == 500


def test_more_than_1000_names_are_refused() -> None:
    flood = pem(request(dns(*(f"n{i}.ex.com" for i in range(1001)))))
    assert refused(flood) == "subjectAltName: 1001 names; more than 1000 are not read"


def test_what_is_not_base64_is_refused() -> None:
    assert refusal("%%% not base64 %%%") == "is not base64"
    assert refusal("Ö") == "is not base64"


@pytest.mark.parametrize("text", [b"", b"hello", b"\x00\xff" * 20, b"-----BEGIN -----"])
def test_what_is_not_pem_is_refused(text: bytes) -> None:
    assert refused(text) == "is not PEM"


def test_a_block_that_does_not_end_is_refused() -> None:
    assert "is not PEM" in refused(pem(request(dns("www.example.com")))[:-20])


def test_a_block_of_something_else_is_refused_and_named() -> None:
    assert "RSA PRIVATE KEY" in refused(key_pem(key("rsa2048"), "traditional"))


def test_a_csr_with_a_private_key_beside_it_is_refused() -> None:
    assert "PRIVATE KEY" in refused(pem(request(dns("www.example.com"))) + key_pem(key()))


def test_two_csrs_are_refused() -> None:
    assert refused(pem(request(dns("www.example.com"))) * 2) == "holds 2 CSRs; exactly one is needed"


def test_a_block_without_a_csr_in_it_is_refused() -> None:
    noise = base64.b64encode(b"no asn.1 at all")
    text = b"-----BEGIN CERTIFICATE REQUEST-----\n" + noise + b"\n-----END CERTIFICATE REQUEST-----\n"
    assert refused(text).startswith("is no certificate request of PKCS #10 (RFC 2986)")


def test_one_megabyte_is_refused_before_it_is_read() -> None:
    started = time.process_time()
    message = refused(b"-----BEGIN CERTIFICATE REQUEST-----\n" * 30_000)
    assert "more than 65536 bytes is not read" in message
    assert len(message) < 200
    assert time.process_time() - started < 1


def test_a_csr_just_above_the_limit_is_refused() -> None:
    assert "is not read" in refused(b"x" * (csr.MAX_PEM + 1))


def test_a_bad_signature_is_refused() -> None:
    der = bytearray(request(dns("www.example.com")).public_bytes(Encoding.DER))
    at = der.index(b"www.example.com")
    der[at : at + 3] = b"xxx"
    forged = base64.b64encode(bytes(der))
    text = b"-----BEGIN CERTIFICATE REQUEST-----\n" + forged + b"\n-----END CERTIFICATE REQUEST-----\n"
    assert refused(text) == "the CSR's signature is not by its own key"


@pytest.mark.parametrize(
    ("kind", "named"),
    [("dsa", "DSA"), ("ed448", "Ed448"), ("secp256k1", "secp256k1"), ("rsa1024", "RSA of 1024 bits")],
)
def test_unknown_and_weak_keys_are_refused_with_what_can_be_used(kind: str, named: str) -> None:
    message = refused(pem(request(dns("www.example.com"), signer=key(kind))))
    assert named in message
    assert "use RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519" in message


def with_other_key(spki: bytes) -> bytes:
    """A CSR whose key was replaced, so that its signature cannot be right."""
    own = key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    info = request(dns("www.example.com")).tbs_certrequest_bytes
    return as_pem(resigned(tlv(0x30, content(info).replace(own, spki))))


X25519_SPKI = bytes.fromhex("302a300506032b656e032100") + bytes(range(32))
UNHEARD_OF_SPKI = tlv(0x30, tlv(0x30, bytes.fromhex("06032a0304")) + tlv(0x03, b"\x00" + bytes(32)))


def test_a_key_that_can_sign_nothing_is_refused() -> None:
    assert "X25519" in refused(with_other_key(X25519_SPKI))


def test_a_key_nobody_has_heard_of_is_refused() -> None:
    assert "of a type that is not supported" in refused(with_other_key(UNHEARD_OF_SPKI))


def test_an_rsa_exponent_that_go_cannot_read_is_refused() -> None:
    modulus = key("rsa2048").public_key().public_numbers().n
    huge = rsa.RSAPublicNumbers(2**33 + 1, modulus).public_key()
    spki = huge.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert "public exponent" in refused(with_other_key(spki))


def test_what_the_csr_says_of_a_ca_must_be_what_the_request_says() -> None:
    for_ca = request(dns("www.example.com"), extensions=[(x509.BasicConstraints(ca=True, path_length=0), True)])
    assert refused(pem(for_ca)).startswith("basicConstraints: the CSR asks for the certificate of a CA (CA:TRUE)")
    assert csr.parse_pem(pem(for_ca), is_ca=True).is_ca
    for_leaf = request(dns("www.example.com"), extensions=[(x509.BasicConstraints(ca=False, path_length=None), True)])
    assert not csr.parse_pem(pem(for_leaf)).is_ca
    with pytest.raises(InvalidRequestError, match="CA:FALSE"):
        csr.parse_pem(pem(for_leaf), is_ca=True)
    assert csr.parse_pem(pem(request(dns("www.example.com"))), is_ca=True).is_ca


def test_name_constraints_are_read_for_a_ca_alone() -> None:
    constraints = x509.NameConstraints([x509.DNSName("example.com")], None)
    asked = pem(request(dns("ca.example.com"), extensions=[(constraints, True)]))
    assert csr.parse_pem(asked, is_ca=True).name_constraints == constraints
    assert csr.parse_pem(asked).name_constraints is None


def test_a_request_that_names_nothing_is_refused() -> None:
    assert "names nothing" in refused(pem(request()))


def test_names_of_the_rare_kinds_are_kept_and_told_apart() -> None:
    others = [
        x509.DirectoryName(name("x")),
        x509.RegisteredID(ObjectIdentifier("1.2.3")),
        x509.OtherName(ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x11erika@example.com"),
        x509.OtherName(ObjectIdentifier("1.2.4"), b"\x02\x01\x07"),
    ]
    read = csr.parse_pem(pem(request([*dns("www.example.com"), *others])))
    assert set(read.others) == {
        "directoryName CN=x",
        "registeredID 1.2.3",
        "otherName 1.3.6.1.4.1.311.20.2.3 UTF8:erika@example.com",
        "otherName 1.2.4 020107",
    }
    assert read.names.others == set(read.others)
    assert read.san is not None
    assert list(read.san) == [*dns("www.example.com"), *others]


@pytest.mark.parametrize(
    ("odd", "problem"),
    [
        ("", "is empty"),
        ("*.", "ends with a dot"),
        ("www.example.com.", "ends with a dot"),
        ("a..example.com", "has a label"),
        (".example.com", "has a label"),
        ("-a.example.com", "has a label"),
        ("a b.example.com", "has a label"),
        ("a\x00.example.com", "has a label"),
        ("a\n.example.com", "has a label"),
        ("www.example.com\n", "has a label"),
        (f"{'a' * 64}.example.com", "has a label"),
        ("w*.example.com", "has a *"),
        ("a.*.example.com", "has a *"),
        ("*.*.example.com", "has a *"),
        ("*", "has a *"),
        (f"{'a.' * 127}com", "is longer than 253"),
        ("192.0.2.1", "ends with a number"),
    ],
)
def test_odd_dns_names_are_refused(odd: str, problem: str) -> None:
    message = refused(pem(request(dns(odd))))
    assert message.startswith("subjectAltName: the DNS name")
    assert problem in message


@pytest.mark.parametrize("good", ["localhost", "_acme.example.com", "*.example.com", "xn--bcher-kva.example", "1.a"])
def test_unusual_dns_names_are_taken(good: str) -> None:
    assert parsed(good).dns_names == (good,)


@pytest.mark.parametrize("odd", ["", "nobody", "a@", "@b", "a b@example.com"])
def test_odd_email_addresses_are_refused(odd: str) -> None:
    assert "is no email address" in refused(pem(request([x509.RFC822Name._init_without_validation(odd)])))


@pytest.mark.parametrize("odd", ["", "no-scheme", "//host", "http://a b", "a:\n"])
def test_odd_uris_are_refused(odd: str) -> None:
    uri = x509.UniformResourceIdentifier._init_without_validation(odd)
    assert "is no absolute URI" in refused(pem(request([uri])))


def test_a_network_is_no_ip_address() -> None:
    network: Any = x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))
    assert re.search(r"is a network|does not decode", refused(pem(request([network]))))


def test_the_same_extension_twice_is_refused() -> None:
    another = x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.16"), b"\x30\x00")
    info = request(dns("a.example.com"), extensions=[(another, False)]).tbs_certrequest_bytes
    doubled = info.replace(bytes.fromhex("0603551d10"), bytes.fromhex("0603551d11"))
    assert refused(as_pem(resigned(doubled))) == "the CSR asks for the extension 2.5.29.17 twice; once is allowed"


def test_a_representation_holds_neither_the_csr_nor_the_key() -> None:
    assert "BEGIN" not in repr(parsed("www.example.com"))
    assert "public_key" not in repr(parsed("www.example.com"))
