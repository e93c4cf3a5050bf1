"""Whatever the bytes are, the pki room answers with a value or with its own errors. Nothing else, ever.

Mutated DER seldom gets past the signature, so the deeper layers are reached by signing nonsense properly: extensions
with arbitrary content, subjects with arbitrary text, whole infos with bytes changed.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID
from hypothesis import example, given, settings
from hypothesis import strategies as st

from issuer.pki import certificate, csr, verify
from issuer.pki.certificate import InvalidCertificateError
from issuer.pki.csr import InvalidRequestError, SigningRequest
from issuer.pki.foreign import parsing
from issuer.pki.issue import issue
from issuer.pki.keypair import InvalidKeyPairError, KeyPair, load
from issuer.pki.usages import extensions
from issuer.pki.verify import WrongCertificateError
from tests.unit.pki.pki_case import (
    CA,
    DAY,
    LIFE,
    NOW,
    as_pem,
    dns,
    key,
    key_pem,
    make_ca,
    name,
    parsed,
    pem,
    request,
    resigned,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = make_ca()
CSR = parsed("www.example.com", common_name="www.example.com")
LEAF = ROOT.leaf(names=dns("www.example.com"))
CHAIN = certificate.to_pem([LEAF, ROOT.certificate])
FULL_REQUEST = request(
    dns("www.example.com"),
    subject=name("www.example.com", o="Example"),
    extensions=[(x509.BasicConstraints(ca=False, path_length=None), True)],
)

thorough = settings(deadline=None, max_examples=300)
edits = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=6)
cuts = st.one_of(st.none(), st.integers(0, 2000))
OIDS = (
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    ExtensionOID.NAME_CONSTRAINTS,
)
odd_general_name = st.builds(
    lambda tag, value: bytes([tag, len(value)]) + value, st.integers(0, 255), st.binary(max_size=20)
)
odd_san = st.lists(odd_general_name, max_size=4).map(
    lambda names: b"\x30" + bytes([len(b"".join(names))]) + b"".join(names)
)
values = st.one_of(st.binary(max_size=60), odd_san)


def mutated(original: bytes, changes: Sequence[tuple[int, int]], cut: int | None) -> bytes:
    copy = bytearray(original)
    for at, value in changes:
        copy[at % len(copy)] = value
    return bytes(copy[:cut])


def parse_whatever(text: bytes) -> SigningRequest | None:
    try:
        return csr.parse_pem(text)
    except InvalidRequestError as error:
        assert len(str(error)) < 500  # noqa: PT017 - either outcome is right
        return None


def verify_whatever(chain: bytes, roots: Sequence[x509.Certificate] = (), ca: bytes = b"") -> verify.Verified | None:
    try:
        return verify.verify(chain, ca, CSR, roots=roots, at_least=LIFE, now=NOW)
    except WrongCertificateError as error:
        assert len(str(error)) < 1000  # noqa: PT017 - either outcome is right
        return None


def sign_and_verify(read: SigningRequest) -> None:
    """Whatever was taken for a good CSR can be signed, and what is signed for it is found to be right."""
    pair = KeyPair((ROOT.certificate,), ROOT.signer)
    try:
        leaf = issue(pair, read, extensions((), read.key_type), not_before=NOW, not_after=NOW + LIFE)
    except InvalidRequestError:
        return
    verify.verify(certificate.to_pem([leaf]), b"", read, roots=[ROOT.certificate], at_least=LIFE, now=NOW)
    assert certificate.matches(read, leaf)


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200).map(lambda raw: base64.b64encode(raw).decode())))
@thorough
def test_any_text_in_a_request_is_a_csr_or_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        csr.parse(text)


@given(edits, cuts)
@thorough
def test_a_damaged_pem_is_a_csr_or_refused(changes: list[tuple[int, int]], cut: int | None) -> None:
    parse_whatever(mutated(pem(FULL_REQUEST), changes, cut))


@given(edits, cuts)
@thorough
def test_a_damaged_csr_is_a_csr_or_refused(changes: list[tuple[int, int]], cut: int | None) -> None:
    parse_whatever(as_pem(mutated(FULL_REQUEST.public_bytes(Encoding.DER), changes, cut)))


@given(edits, cuts)
@thorough
def test_a_damaged_csr_with_a_good_signature_is_signed_right_or_refused(
    changes: list[tuple[int, int]], cut: int | None
) -> None:
    if read := parse_whatever(as_pem(resigned(mutated(FULL_REQUEST.tbs_certrequest_bytes, changes, cut)))):
        sign_and_verify(read)


@given(st.sampled_from(OIDS), values, st.booleans())
@example(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x00", False)
@example(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x04\x82\x02\xff\xfe", False)
@example(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x0a\x87\x08\xc0\x00\x02\x00\xff\xff\xff\x00", False)
@example(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x02\xa3\x00", False)
@thorough
def test_a_csr_with_any_extension_is_signed_right_or_refused(
    oid: x509.ObjectIdentifier, value: bytes, critical: bool
) -> None:
    odd = request(subject=name("www.example.com"), extensions=[(x509.UnrecognizedExtension(oid, value), critical)])
    if read := parse_whatever(pem(odd)):
        sign_and_verify(read)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([NameOID.COMMON_NAME, NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME]),
            st.text(min_size=1, max_size=80),
        ),
        min_size=1,
        max_size=4,
    )
)
@pytest.mark.filterwarnings("ignore:Attribute's length:UserWarning")
@thorough
def test_a_csr_with_any_subject_is_signed_right_or_refused(attributes: list[tuple[x509.ObjectIdentifier, str]]) -> None:
    try:
        subject = x509.Name([x509.NameAttribute(oid, text, _validate=False) for oid, text in attributes])
        odd = request(subject=subject)
    except (ValueError, TypeError):
        return
    if read := parse_whatever(pem(odd)):
        sign_and_verify(read)


@given(st.binary(max_size=300))
@thorough
def test_any_bytes_are_certificates_or_refused(text: bytes) -> None:
    with pytest.raises(InvalidCertificateError):
        certificate.load_bundle(text)
    assert verify_whatever(text) is None


@given(edits, cuts)
@thorough
def test_a_damaged_answer_is_right_or_wrong(changes: list[tuple[int, int]], cut: int | None) -> None:
    damaged = mutated(CHAIN, changes, cut)
    verify_whatever(damaged)
    verify_whatever(damaged, roots=[ROOT.certificate])
    verify_whatever(CHAIN, ca=damaged)


@given(edits, cuts)
@thorough
def test_a_damaged_certificate_is_never_right_where_roots_are_configured(
    changes: list[tuple[int, int]], cut: int | None
) -> None:
    original = LEAF.public_bytes(Encoding.DER)
    der = mutated(original, changes, cut)
    verify_whatever(as_pem(der, b"CERTIFICATE"))
    verified = verify_whatever(as_pem(der, b"CERTIFICATE"), roots=[ROOT.certificate])
    assert verified is None or der == original or verified.serial == LEAF.serial_number


@given(st.sampled_from(OIDS), values, st.booleans())
@thorough
def test_a_certificate_with_any_extension_is_right_or_wrong(
    oid: x509.ObjectIdentifier, value: bytes, critical: bool
) -> None:
    odd = (x509.UnrecognizedExtension(oid, value), critical)
    leaf = ROOT.leaf(names=() if oid == OIDS[0] else dns("www.example.com"), extensions=[odd])
    verify_whatever(certificate.to_pem([leaf]))
    verify_whatever(certificate.to_pem([leaf]), roots=[ROOT.certificate])
    certificate.matches(CSR, leaf)


@given(st.sampled_from(OIDS[2:]), values, st.booleans())
@thorough
def test_a_ca_with_any_extension_makes_a_chain_or_does_not(
    oid: x509.ObjectIdentifier, value: bytes, critical: bool
) -> None:
    odd: CA = make_ca("odd", issued_by=ROOT, extensions=[(x509.UnrecognizedExtension(oid, value), critical)])
    chain = certificate.to_pem([odd.leaf(names=dns("www.example.com")), odd.certificate])
    verify_whatever(chain)
    verify_whatever(chain, roots=[ROOT.certificate])
    try:
        load(certificate.to_pem([odd.certificate]), key_pem(odd.signer))
    except InvalidKeyPairError as error:
        assert "PRIVATE" not in str(error)  # noqa: PT017 - either outcome is right


@given(edits, cuts, st.booleans())
@thorough
def test_a_damaged_key_pair_is_one_or_refused(changes: list[tuple[int, int]], cut: int | None, in_key: bool) -> None:
    crt, private = certificate.to_pem([ROOT.certificate]), key_pem(ROOT.signer)
    damaged = mutated(private if in_key else crt, changes, cut)
    try:
        load(crt if in_key else damaged, damaged if in_key else private)
    except InvalidKeyPairError as error:
        assert len(str(error)) < 500  # noqa: PT017 - either outcome is right


class PanicException(BaseException):
    """What pyo3 raises where Rust panics; the real class cannot be imported."""


@pytest.mark.parametrize(
    "thrown", [PanicException("index out of bounds"), KeyError("x"), RecursionError(), ValueError()]
)
def test_a_parser_that_panics_is_a_parser_that_refuses(thrown: BaseException) -> None:
    with (
        pytest.raises(InvalidCertificateError, match="it does not decode"),
        parsing(InvalidCertificateError, "it does not decode"),
    ):
        raise thrown


@pytest.mark.parametrize("thrown", [KeyboardInterrupt(), SystemExit(), asyncio.CancelledError(), MemoryError()])
def test_what_is_not_about_the_bytes_passes_the_edge(thrown: BaseException) -> None:
    with pytest.raises(type(thrown)), parsing(InvalidCertificateError, "it does not decode"):
        raise thrown


def test_the_words_of_a_parser_are_not_shown() -> None:
    with pytest.raises(InvalidCertificateError, match=r"^bad$"), parsing(InvalidCertificateError, "bad"):
        raise ValueError("ParseError { kind: InvalidValue }")


def test_the_certificate_of_the_fuzzed_answer_is_right_when_it_is_left_alone() -> None:
    assert verify_whatever(CHAIN, roots=[ROOT.certificate])
    assert LEAF.not_valid_after_utc - NOW == 90 * DAY
    assert key() is not ROOT.signer
