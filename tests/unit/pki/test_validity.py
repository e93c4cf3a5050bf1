"""The end of a certificate's life, read by hand, is what the library reads; nonsense is none."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from issuer.pki.validity import not_after

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
