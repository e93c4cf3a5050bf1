"""What a request has received is remembered, also when the request is gone."""

from __future__ import annotations

from base64 import b64encode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from issuer.api.meta import ObjectMeta
from issuer.api.request import CertificateRequest, RequestStatus
from issuer.api.signingrequest import CertificateSigningRequest, SigningRequestStatus
from issuer.controllers.received import ReceivedCertificates
from issuer.sandbox.pki import SmallCA


def certificates(count: int) -> list[x509.Certificate]:
    name = x509.NameAttribute(NameOID.COMMON_NAME, "CA")
    return [SmallCA.with_ecc(x509.Name([name])).certificate for _ in range(count)]


def fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def request(certificate: str | None) -> CertificateRequest:
    return CertificateRequest(ObjectMeta(name="www", namespace="shop", uid="u"), status=RequestStatus((), certificate))


def encoded(*chain: x509.Certificate) -> str:
    return b64encode(b"".join(one.public_bytes(Encoding.PEM) for one in chain)).decode()


def test_the_leaf_of_what_was_received_is_known_and_not_kept() -> None:
    leaf, above = certificates(2)
    received = ReceivedCertificates()
    assert received.transform(request(encoded(leaf, above))).status.certificate is None
    assert fingerprint(leaf) in received
    assert fingerprint(above) not in received


def test_what_a_signing_request_has_received_is_known_too_and_no_certificate_hears_of_it() -> None:
    (leaf,) = certificates(1)
    heard: list[CertificateRequest] = []
    received = ReceivedCertificates(note=lambda request, _leaf: heard.append(request))
    status = SigningRequestStatus((), encoded(leaf))
    kept = received.transform_signing_request(CertificateSigningRequest(ObjectMeta(name="www", uid="u"), status=status))
    assert kept.is_finished
    assert not kept.status.certificate
    assert fingerprint(leaf) in received
    assert heard == []


@pytest.mark.parametrize("nonsense", [None, "", "%%%", "eA==", b64encode(b"-----BEGIN X-----").decode(), "ä"])
def test_nonsense_is_passed_over(nonsense: str | None) -> None:
    received = ReceivedCertificates()
    received.transform(request(nonsense))
    assert "00" * 32 not in received


def test_beyond_the_most_the_oldest_is_forgotten_and_what_is_seen_again_is_not_old() -> None:
    one, two, three = certificates(3)
    received = ReceivedCertificates(most=2)
    for certificate in (one, two, one, three):
        received.transform(request(encoded(certificate)))
    assert [fingerprint(each) in received for each in (one, two, three)] == [True, False, True]
