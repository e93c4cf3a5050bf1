"""The end of a certificate's life, read by hand, is what the library reads; nonsense is none."""

from __future__ import annotations

import random
from base64 import b64encode
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from issuer.pki import validity
from issuer.pki.certificate import to_pem
from issuer.pki.validity import Chains, not_after

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(ends: datetime, name: str = "www") -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, KEY.public_key(), x509.random_serial_number())
    made = builder.not_valid_before(datetime(1990, 1, 1, tzinfo=UTC)).not_valid_after(ends).sign(KEY, hashes.SHA256())
    return made.public_bytes(Encoding.DER)


@pytest.mark.parametrize("year", [1999, 2026, 2049, 2050, 2099, 9999])
def test_the_end_of_life_is_what_the_certificate_says(year: int) -> None:
    ends = datetime(year, 12, 31, 23, 59, 58, tzinfo=UTC)
    der = certificate(ends, name="x" * 60)
    assert not_after(der) == ends == x509.load_der_x509_certificate(der).not_valid_after_utc


@pytest.mark.parametrize("nonsense", [b"", b"0", b"0\x80", b"0\x84\xff\xff\xff\xff", b"\x04\x02hi", b"0\x000\x00"])
def test_nonsense_has_no_end_of_life(nonsense: bytes) -> None:
    assert not_after(nonsense) is None


def test_whatever_is_broken_in_a_certificate_nothing_is_raised() -> None:
    der, chance = certificate(datetime(2026, 1, 1, tzinfo=UTC)), random.Random(7)
    for _ in range(3000):
        broken = bytearray(der[: chance.randrange(len(der))] if chance.random() < 0.3 else der)
        for _ in range(chance.randrange(1, 4)):
            if broken:
                broken[chance.randrange(min(len(broken), 150))] = chance.randrange(256)
        not_after(bytes(broken))


def year(number: int) -> datetime:
    return datetime(number, 1, 1, tzinfo=UTC)


def encoded(*years: int) -> str:
    """Certificates that end in these years, as a request carries them."""
    return b64encode(to_pem(x509.load_der_x509_certificate(certificate(year(one))) for one in years)).decode()


@pytest.mark.parametrize(
    ("chain", "ca", "ends"),
    [
        ((2027,), (2035,), 2035),
        ((2027, 2030), (2035,), 2030),
        ((2027, 2040, 2033), (2035,), 2033),
        ((2027, 2040), (2035, 2029), 2035),
        ((2027, 2031), (), 2031),
        ((2027,), (), None),
        ((), (), None),
    ],
)
def test_a_chain_ends_with_the_first_ca_above_the_leaf_up_to_its_own_root(
    chain: tuple[int, ...], ca: tuple[int, ...], ends: int | None
) -> None:
    chains = Chains()
    for _ in range(2):
        assert chains.ends(encoded(*chain), encoded(*ca)) == (year(ends) if ends else None)


@pytest.mark.parametrize("nonsense", ["%", "AAA", b64encode(b"\xff-----END CERTIFICATE-----\xff").decode(), "\u00e9"])
def test_a_chain_that_cannot_be_read_has_no_end(nonsense: str) -> None:
    broken = b64encode(b"-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n").decode()
    assert Chains().ends(nonsense, nonsense) is None
    assert Chains().ends(broken, broken) is None
    assert Chains().ends(encoded(2027), nonsense) is None


def test_of_many_chains_the_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validity, "MOST_CHAINS", 3)
    chains, leaf = Chains(), encoded(2027)
    for number in range(2030, 2040):
        assert chains.ends(leaf, encoded(number)) == year(number)
    assert len(chains._known) == 3
