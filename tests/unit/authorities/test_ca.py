"""The in-process CA: what it signs, what it will not sign, and what it says of a Secret that is no key pair."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from issuer.api.issuer import AuthorityCommon, AuthoritySpec
from issuer.api.secret import SecretMissingError
from issuer.authorities import ca
from issuer.authorities.base import AuthorityContext, CallTimeouts, SigningOrder
from issuer.authorities.errors import Unauthorized, Unavailable, Unsupported
from issuer.pki import csr as csrs
from issuer.pki.certificate import load_chain, to_pem
from issuer.pki.verify import verify
from tests.unit.pki.pki_case import CA, DAY, NOW, key, key_pem, make_ca, name, parsed, pem, request

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from issuer.pki.csr import SigningRequest

TIMEOUTS = CallTimeouts(connect=1, read=1)
ROOT = make_ca("backup root")


class Secrets:
    """One Secret, or none."""

    def __init__(self, data: Mapping[str, bytes] | None) -> None:
        self.data = data

    async def read(self, namespace: str, name: str, *, fresh: bool = False) -> Mapping[str, bytes]:
        if self.data is None:
            raise SecretMissingError(namespace, name, "does not exist")
        return self.data


def no_transport() -> httpx.AsyncBaseTransport:
    raise AssertionError("an authority without a network asks for none")


def authority(data: Mapping[str, bytes] | None) -> ca.CAAuthority:
    config = msgspec.Raw(b'{"secretRef":{"name":"backup-ca"}}')
    spec = AuthoritySpec(common=AuthorityCommon(name="backup"), kind="ca", config=config)
    context = AuthorityContext(namespace="web", secrets=Secrets(data), transport=no_transport, now=lambda: NOW)
    return ca.build(spec, context)


def secret(of: CA, *above: CA) -> dict[str, bytes]:
    return {"tls.crt": to_pem([of.certificate, *(one.certificate for one in above)]), "tls.key": key_pem(of.signer)}


def order(csr: SigningRequest, *usages: str, days: float = 7) -> SigningOrder:
    return SigningOrder(
        uid="u", namespace="web", name="www-1", created=NOW, csr=csr, duration=timedelta(days=days), usages=usages
    )


async def signed(data: Mapping[str, bytes], asked: SigningOrder) -> tuple[x509.Certificate, ...]:
    session = await authority(data).session()
    answer = await session.sign(asked, TIMEOUTS)
    verify(
        answer.chain,
        answer.ca,
        asked.csr,
        roots=load_chain(answer.ca),
        at_least=min(asked.duration, answer.promised),
        now=NOW,
    )
    return load_chain(answer.chain)


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "ed25519", "rsa2048"])
async def test_every_kind_of_ca_key_signs_what_passes_verification(kind: str) -> None:
    of = make_ca(f"root {kind}", kind=kind)
    leaf, *rest = await signed(secret(of), order(parsed("www.example.com")))
    assert not rest
    leaf.verify_directly_issued_by(of.certificate)


@pytest.mark.parametrize("kind", ["p256", "p384", "ed25519", "rsa2048"])
async def test_every_kind_of_subject_key_is_signed(kind: str) -> None:
    subject_key = key(kind, "subject")
    (leaf,) = await signed(secret(ROOT), order(parsed("www.example.com", signer=subject_key)))
    der = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert leaf.public_key().public_bytes(*der) == subject_key.public_key().public_bytes(*der)


async def test_names_of_every_kind_are_kept_and_critical_where_there_is_no_subject() -> None:
    names = [
        x509.DNSName("www.example.com"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
        x509.RFC822Name("ops@example.com"),
        x509.UniformResourceIdentifier("spiffe://example.com/web"),
    ]
    (leaf,) = await signed(secret(ROOT), order(csrs.parse_pem(pem(request(names)))))
    extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert set(extension.value) == set(names)
    assert extension.critical
    with_subject = csrs.parse_pem(pem(request(names, subject=name("www"))))
    (leaf,) = await signed(secret(ROOT), order(with_subject))
    assert not leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    assert leaf.subject == name("www")


async def test_the_certificate_is_no_ca_and_names_its_key_and_its_issuer() -> None:
    (leaf,) = await signed(secret(ROOT), order(parsed("www.example.com")))
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    assert leaf.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    authority_key = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert authority_key == x509.SubjectKeyIdentifier.from_public_key(ROOT.signer.public_key()).digest
    assert 0 < leaf.serial_number < 2**159


async def test_usages_become_extensions() -> None:
    asked = order(parsed("www.example.com"), "digital signature", "server auth", "client auth")
    (leaf,) = await signed(secret(ROOT), asked)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(extended) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


@pytest.mark.parametrize("usage", ["cert sign", "crl sign", "no such usage"])
def test_usages_of_a_ca_and_unknown_ones_are_unsupported(usage: str) -> None:
    with pytest.raises(Unsupported, match="usage"):
        authority(secret(ROOT)).supports(order(parsed("www.example.com"), usage))


async def test_no_certificate_outlives_its_ca_nor_one_above_it() -> None:
    root = make_ca("short root", end=NOW + 3 * DAY)
    below = root.below("long intermediate", end=NOW + 300 * DAY)
    session = await authority(secret(below, root)).session()
    answer = await session.sign(order(parsed("www.example.com"), days=90), TIMEOUTS)
    assert load_chain(answer.chain)[0].not_valid_after_utc == NOW + 3 * DAY
    assert answer.promised == 3 * DAY


async def test_the_chain_holds_the_intermediate_and_the_ca_the_root() -> None:
    below = ROOT.below("intermediate")
    session = await authority(secret(below, ROOT)).session()
    answer = await session.sign(order(parsed("www.example.com")), TIMEOUTS)
    assert load_chain(answer.chain)[1:] == (below.certificate,)
    assert load_chain(answer.ca) == (ROOT.certificate,)


async def test_the_root_in_ca_crt_is_the_ca_of_what_an_intermediate_signs() -> None:
    """As with cert-manager's CA issuer (SecretTLSKeyPairAndCA), so that who trusts the root goes on trusting."""
    below = ROOT.below("intermediate")
    session = await authority(secret(below) | {"ca.crt": to_pem([ROOT.certificate])}).session()
    asked = order(parsed("www.example.com"))
    answer = await session.sign(asked, TIMEOUTS)
    assert load_chain(answer.chain)[1:] == (below.certificate,)
    assert load_chain(answer.ca) == (ROOT.certificate,)
    checked = verify(answer.chain, answer.ca, asked.csr, roots=(ROOT.certificate,), at_least=asked.duration, now=NOW)
    assert load_chain(checked.ca) == (ROOT.certificate,)


@pytest.mark.parametrize(
    "ca_crt",
    [
        b"garbage",
        to_pem([make_ca("a stranger").certificate]),
        to_pem([make_ca("backup root", signer=ROOT.signer, end=NOW - DAY).certificate]),
        to_pem([make_ca("backup root", signer=ROOT.signer, end=NOW + timedelta(minutes=1)).certificate]),
    ],
    ids=["garbage", "a stranger", "expired", "about to expire"],
)
async def test_a_ca_crt_that_is_of_no_use_does_not_hinder_signing(ca_crt: bytes) -> None:
    below = ROOT.below("intermediate")
    session = await authority(secret(below) | {"ca.crt": ca_crt}).session()
    await session.check(TIMEOUTS)
    answer = await session.sign(order(parsed("www.example.com")), TIMEOUTS)
    assert load_chain(answer.ca) == (below.certificate,)
    assert answer.promised == 7 * DAY


async def test_a_ca_crt_that_is_changed_is_read_anew() -> None:
    below = ROOT.below("intermediate")
    secrets = Secrets(secret(below))
    backup = authority(None)
    backup._context = AuthorityContext(namespace="web", secrets=secrets, transport=no_transport, now=lambda: NOW)
    first = await backup.session()
    secrets.data = secret(below) | {"ca.crt": to_pem([ROOT.certificate])}
    second = await backup.session()
    answer = await second.sign(order(parsed("www.example.com")), TIMEOUTS)
    assert load_chain(answer.ca) == (ROOT.certificate,)
    assert second.account == first.account


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [
        (NOW - 9 * DAY, NOW - DAY, "expired at 2026-11-01T12:00:00Z; renew it"),
        (NOW - 9 * DAY, NOW + timedelta(seconds=30), "ends at 2026-11-02T12:00:30Z; renew it"),
        (NOW + DAY, NOW + 9 * DAY, "not valid before"),
    ],
)
async def test_a_ca_out_of_its_time_is_unavailable_to_check_and_to_sign(start: object, end: object, why: str) -> None:
    of = make_ca(f"old {why}", start=start, end=end)  # type: ignore[arg-type]
    session = await authority(secret(of)).session()
    for call in (session.check(TIMEOUTS), session.sign(order(parsed("www.example.com")), TIMEOUTS)):
        with pytest.raises(Unavailable, match=why):
            await call


GOOD = secret(ROOT)
OTHER = secret(make_ca("another root"))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "does not exist"),
        ({}, "tls.crt is missing"),
        ({"tls.crt": GOOD["tls.crt"]}, "tls.key is missing"),
        (GOOD | {"tls.key": b" \n"}, "tls.key is empty"),
        (GOOD | {"tls.crt": b"garbage"}, "tls.crt"),
        (GOOD | {"tls.key": b"garbage"}, "tls.key"),
        (GOOD | {"tls.key": key_pem(ROOT.signer, passphrase="secret")}, "tls.key"),
        (GOOD | {"tls.key": OTHER["tls.key"]}, "tls.key"),
        (secret(make_ca("no ca", is_ca=False)), "tls.crt"),
    ],
    ids=["missing", "empty", "no key", "blank key", "bad crt", "bad key", "passphrase", "other key", "no CA"],
)
async def test_a_secret_that_is_no_key_pair_is_named_with_its_key_and_without_its_content(
    data: dict[str, bytes] | None, why: str
) -> None:
    with pytest.raises(Unauthorized) as caught:
        await authority(data).session()
    assert why in str(caught.value)
    assert "web/backup-ca" in str(caught.value)
    for value in (data or {}).values():
        for line in value.decode().splitlines():
            assert len(line) < 30 or line not in str(caught.value)


async def test_another_key_pair_is_another_account() -> None:
    secrets = Secrets(GOOD)
    backup = authority(None)
    backup._context = AuthorityContext(namespace="web", secrets=secrets, transport=no_transport, now=lambda: NOW)
    first = (await backup.session()).account
    secrets.data = OTHER
    assert (await backup.session()).account != first
    secrets.data = GOOD
    assert (await backup.session()).account == first
