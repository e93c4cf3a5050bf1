"""The in-process CA in the place of cert-manager's CA issuer: the same Secrets, the same chain, and CAs below it."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from issuer.api.issuer import AuthorityCommon, AuthoritySpec
from issuer.authorities import ca
from issuer.authorities.base import AuthorityContext, CallTimeouts, SigningOrder
from issuer.authorities.errors import Unauthorized, Unsupported
from issuer.pki import csr as csrs
from issuer.pki.certificate import load_chain, to_pem
from issuer.pki.verify import Verified, WrongCertificateError, verify
from tests.unit.pki.pki_case import CA, DAY, NOW, as_pem, dns, key, key_pem, make_ca, name, pem, request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import httpx

    from issuer.pki.csr import SigningRequest

TIMEOUTS = CallTimeouts(connect=1, read=1)
KINDS = ("rsa2048", "p256", "p384", "p521", "ed25519")


class Secrets:
    """One Secret."""

    def __init__(self, data: Mapping[str, bytes]) -> None:
        self.data = data

    async def read(self, namespace: str, name: str, *, fresh: bool = False) -> Mapping[str, bytes]:
        return self.data


def no_transport() -> httpx.AsyncBaseTransport:
    raise AssertionError("an authority without a network asks for none")


def authority(data: Mapping[str, bytes], config: bytes = b'{"secretRef":{"name":"ca"}}') -> ca.CAAuthority:
    spec = AuthoritySpec(common=AuthorityCommon(name="backup"), kind="ca", config=msgspec.Raw(config))
    context = AuthorityContext(namespace="web", secrets=Secrets(data), transport=no_transport, now=lambda: NOW)
    return ca.build(spec, context)


def order(csr: SigningRequest | None = None, *usages: str) -> SigningOrder:
    csr = csr or csrs.parse_pem(pem(request(dns("www.example.com"), subject=name("www.example.com"))))
    return SigningOrder(
        uid="u", namespace="web", name="www-1", created=NOW, csr=csr, duration=timedelta(days=7), usages=usages
    )


async def signed(data: Mapping[str, bytes], asked: SigningOrder | None = None, *, allow_ca: bool = False) -> Verified:
    """What the authority signs and the verification makes of it, as in the engine."""
    asked = asked or order()
    config = b'{"secretRef":{"name":"ca"},"allowCA":true}' if allow_ca else b'{"secretRef":{"name":"ca"}}'
    made = authority(data, config)
    made.supports(asked)
    answer = await (await made.session()).sign(asked, TIMEOUTS)
    return verify(answer.chain, answer.ca, asked.csr, roots=(), at_least=asked.duration, now=NOW)


def secret(of: CA, *between: CA, root: CA | None) -> dict[str, bytes]:
    """As cert-manager writes the Secret of a Certificate with isCA.

    `tls.crt` is the certificate and those between it and the root, `ca.crt` the root; a self-signed one is its own.
    """
    chain = to_pem([of.certificate, *(one.certificate for one in between)])
    return {"tls.crt": chain, "tls.key": key_pem(of.signer), "ca.crt": to_pem([(root or of).certificate])}


def secrets(kind: str, above: str) -> dict[str, dict[str, bytes]]:
    root = make_ca(f"root of {kind} by {above}", kind=above)
    first = root.below(f"first {kind} by {above}", kind=kind)
    second = first.below(f"second {kind} by {above}", kind=kind)
    own = make_ca(f"own {kind}", kind=kind)
    return {
        "root": secret(own, root=None),
        "intermediate": secret(first, root=root),
        "two intermediates": secret(second, first, root=root),
    }


def openssl_verifies(issued: Verified, folder: Path) -> str:
    """What OpenSSL has against it; empty: nothing."""
    (folder / "ca.crt").write_bytes(issued.ca)
    (folder / "tls.crt").write_bytes(issued.certificate)
    at = str(int((NOW + timedelta(hours=1)).timestamp()))
    command = ["openssl", "verify", "-attime", at, "-CAfile", "ca.crt", "-untrusted", "tls.crt", "tls.crt"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    return ran.stderr if ran.returncode else ""


@pytest.mark.parametrize("depth", ["root", "intermediate", "two intermediates"])
@pytest.mark.parametrize("above", ["rsa2048", "p256", "ed25519"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_signed_with_a_secret_of_cert_manager_verifies_against_its_ca_crt(
    kind: str, above: str, depth: str, tmp_path: Path
) -> None:
    data = secrets(kind, above)[depth]
    issued = await signed(data)
    assert issued.ca == data["ca.crt"]
    assert openssl_verifies(issued, tmp_path) == ""
    assert len(load_chain(issued.certificate)) == 1 + ("root", "intermediate", "two intermediates").index(depth)


ROOT = make_ca("root", path_length=1)
BELOW = ROOT.below("intermediate", path_length=0)


def ca_request(**options: object) -> SigningRequest:
    asked = pem(request(subject=name("team ca"), signer=key("p256", "team"), **options))  # type: ignore[arg-type]
    return csrs.parse_pem(asked, is_ca=True)


async def test_a_ca_is_signed_only_where_it_is_allowed() -> None:
    with pytest.raises(Unsupported, match=r"signs no certificates of CAs \(spec\.isCA\) unless ca\.allowCA"):
        await signed(secret(ROOT, root=None), order(ca_request()))


async def test_a_ca_that_is_allowed_can_sign_itself() -> None:
    issued = await signed(secret(ROOT, root=None), order(ca_request()), allow_ca=True)
    (certificate,) = load_chain(issued.certificate)
    extensions = certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=None)
    assert extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    below = CA(certificate, key("p256", "team"))
    again = await signed({"tls.crt": issued.certificate, "tls.key": key_pem(below.signer), "ca.crt": issued.ca})
    assert again.ca == issued.ca
    assert len(load_chain(again.certificate)) == 2


async def test_name_constraints_that_are_asked_for_are_in_the_certificate_of_a_ca() -> None:
    constraints = x509.NameConstraints([x509.DNSName("team.example.com")], None)
    asked = order(ca_request(extensions=[(constraints, True)]))
    (certificate,) = load_chain((await signed(secret(ROOT, root=None), asked, allow_ca=True)).certificate)
    assert certificate.extensions.get_extension_for_class(x509.NameConstraints).value == constraints


async def test_a_path_length_that_is_used_up_allows_no_further_ca() -> None:
    with pytest.raises(Unsupported, match=r"'CN=intermediate' allows 0 CAs below it, and there are 1"):
        await signed(secret(BELOW, root=ROOT), order(ca_request()), allow_ca=True)


async def test_a_leaf_may_be_signed_where_a_ca_may_not() -> None:
    assert (await signed(secret(BELOW, root=ROOT), allow_ca=True)).ca == to_pem([ROOT.certificate])


async def test_a_leaf_in_place_of_the_ca_that_was_asked_for_is_wrong() -> None:
    leaf = ROOT.leaf(key("p256", "team").public_key(), subject=name("team ca"))
    with pytest.raises(WrongCertificateError, match="is not one of a CA, which was asked for"):
        verify(to_pem([leaf]), b"", ca_request(), roots=(), at_least=DAY, now=NOW)


REFUSED = {
    "encrypted": ({"tls.key": key_pem(ROOT.signer, passphrase="hush")}, "key tls.key: is encrypted"),
    "encrypted, the older form": (
        {"tls.key": key_pem(ROOT.signer, "traditional", passphrase="hush")},
        "key tls.key: is encrypted",
    ),
    "a path that is too long": (
        {
            "tls.crt": to_pem([BELOW.below("third").certificate, BELOW.certificate, ROOT.certificate]),
            "tls.key": key_pem(key("p256", "ca third")),
        },
        "'CN=intermediate' allows 0 CAs below it, and there are 1",
    ),
}


@pytest.mark.parametrize(("data", "problem"), REFUSED.values(), ids=REFUSED)
async def test_a_secret_that_no_ca_can_sign_with_is_refused_with_the_reason(
    data: Mapping[str, bytes], problem: str
) -> None:
    with pytest.raises(Unauthorized) as caught:
        await authority({"tls.crt": to_pem([ROOT.certificate])} | dict(data)).session()
    assert problem in str(caught.value)


async def test_a_negative_serial_number_is_the_reason_why_a_ca_is_refused() -> None:
    """Go's crypto/x509 reads none, so nobody in a cluster could use what is signed."""
    der = ROOT.certificate.public_bytes(Encoding.DER)
    at = der.index(ROOT.certificate.serial_number.to_bytes(20, "big"))
    negative = der[:at] + bytes([der[at] | 0x80]) + der[at + 1 :]
    with pytest.raises(Unauthorized, match=r"key tls\.crt: the serial number of a certificate is negative"):
        await authority({"tls.crt": as_pem(negative, b"CERTIFICATE"), "tls.key": key_pem(ROOT.signer)}).session()


async def test_the_word_encrypted_around_a_key_does_not_make_it_encrypted() -> None:
    """As in the bag attributes that openssl pkcs12 writes."""
    attributes = b"Bag Attributes\n    friendlyName: ENCRYPTED backups\nKey Attributes: <No Attributes>\n"
    data = secret(ROOT, root=None)
    assert (await signed(data | {"tls.key": attributes + data["tls.key"]})).ca == data["ca.crt"]
