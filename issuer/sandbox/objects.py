"""Objects to apply in the sandbox: CSRs, certificate requests, issuers and Secrets, as a user would write them."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

Manifest = dict[str, Any]

ISSUER_API: Final = "cdn-issuer.io/v1alpha1"
REQUEST_API: Final = "cert-manager.io/v1"


def signing_request(names: Sequence[str], key: CertificateIssuerPrivateKeyTypes | None = None) -> bytes:
    """A CSR in PEM for DNS names, with a key of its own unless one is given."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    san = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(san, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def certificate_request(
    name: str,
    csr: bytes,
    *,
    namespace: str,
    issuer: str,
    kind: str = "CDNIssuer",
    duration: str = "168h",
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """A CertificateRequest as cert-manager would create it for a Certificate."""
    return {
        "apiVersion": REQUEST_API,
        "kind": "CertificateRequest",
        "metadata": {"name": name, "namespace": namespace, "annotations": dict(annotations or {})},
        "spec": {
            "request": b64encode(csr).decode(),
            "issuerRef": {"group": "cdn-issuer.io", "kind": kind, "name": issuer},
            "duration": duration,
            "usages": ["digital signature", "key encipherment", "server auth"],
        },
    }


def certificate_signing_request(
    name: str,
    csr: bytes,
    *,
    signer: str,
    seconds: int | None = 7 * 24 * 3600,
    usages: Sequence[str] = ("digital signature", "server auth"),
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """A CertificateSigningRequest as a user would create it; `signer` without `.cdn-issuer.io`."""
    domain, _, path = signer.partition("/")
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name, "annotations": dict(annotations or {})},
        "spec": {
            "request": b64encode(csr).decode(),
            "signerName": f"{domain}.cdn-issuer.io/{path}",
            "usages": list(usages),
            **({} if seconds is None else {"expirationSeconds": seconds}),
        },
    }


def issuer(name: str, authorities: Sequence[Manifest], *, namespace: str = "", **spec: object) -> Manifest:
    """A CDNIssuer, or a CDNClusterIssuer where there is no namespace."""
    return {
        "apiVersion": ISSUER_API,
        "kind": "CDNIssuer" if namespace else "CDNClusterIssuer",
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        "spec": {"authorities": list(authorities), **spec},
    }


def namespace(name: str) -> Manifest:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def secret(name: str, namespace: str, data: Mapping[str, bytes]) -> Manifest:
    """A Secret."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": {key: b64encode(value).decode() for key, value in data.items()},
    }


def ca_secret(name: str, namespace: str, common_name: str = "Sandbox Backup CA") -> Manifest:
    """A Secret with a new self-signed CA, for an authority of the kind `ca`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    data = {
        "tls.crt": certificate.public_bytes(serialization.Encoding.PEM),
        "tls.key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    }
    return secret(name, namespace, data)
