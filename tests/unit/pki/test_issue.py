"""The profile of the certificates that are made here (RFC 5280, section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from issuer.pki.csr import InvalidRequestError
from issuer.pki.issue import issue
from issuer.pki.keypair import KeyPair
from issuer.pki.usages import UsageExtensions, extensions
from tests.unit.pki.pki_case import CA, LIFE, NOW, make_ca, parsed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes

ROOT = make_ca("root")


def made(of: CA = ROOT, usages: UsageExtensions | None = None) -> x509.Certificate:
    pair = KeyPair((of.certificate,), of.signer)
    usages = usages or extensions((), "ecdsa")
    return issue(pair, parsed("www.example.com"), usages, not_before=NOW, not_after=NOW + LIFE)


def authority_key(certificate: x509.Certificate) -> bytes | None:
    return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier


def test_the_cas_own_key_identifier_is_used_where_it_has_one() -> None:
    """Section 4.2.1.1; some CAs made theirs in another way than the usual hash."""
    assert (
        authority_key(made(make_ca("own", extensions=[(x509.SubjectKeyIdentifier(b"own way"), False)]))) == b"own way"
    )


def test_a_ca_without_one_is_identified_by_the_hash_of_its_key() -> None:
    assert authority_key(made()) == x509.SubjectKeyIdentifier.from_public_key(ROOT.signer.public_key()).digest


@pytest.mark.parametrize(
    ("kind", "hash_"),
    [("rsa2048", "sha256"), ("p256", "sha256"), ("p384", "sha384"), ("p521", "sha512"), ("ed25519", None)],
)
def test_the_hash_is_as_strong_as_the_key_of_the_ca(kind: str, hash_: str | None) -> None:
    used: hashes.HashAlgorithm | None = made(make_ca(f"root {kind}", kind=kind)).signature_hash_algorithm
    assert (used.name if used else None) == hash_


def test_only_key_usages_or_only_purposes_leave_the_other_extension_out() -> None:
    only_purpose = made(usages=extensions(["server auth"], "ecdsa"))
    assert x509.KeyUsage.oid not in {extension.oid for extension in only_purpose.extensions}
    assert not only_purpose.extensions.get_extension_for_class(x509.ExtendedKeyUsage).critical
    only_key = made(usages=extensions(["digital signature"], "ecdsa"))
    assert x509.ExtendedKeyUsage.oid not in {extension.oid for extension in only_key.extensions}
    assert only_key.extensions.get_extension_for_class(x509.KeyUsage).critical


def test_what_cannot_be_written_is_told_of_the_request() -> None:
    pair = KeyPair((ROOT.certificate,), ROOT.signer)
    with pytest.raises(InvalidRequestError, match=r"spec\.request: what it holds cannot be put into a certificate"):
        issue(pair, parsed("a.example"), extensions((), "ecdsa"), not_before=NOW + LIFE, not_after=NOW)
