"""What comes with a certificate on the whole controller: the root in `ca.crt`, and what is otherwise than asked for."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from issuer.api.request import signer_of
from issuer.authorities import cloudflare, cloudflare_roots
from issuer.sandbox import objects
from issuer.sandbox.cdn import OriginCA
from tests.component.harness import QUICK, ended, message, told

if TYPE_CHECKING:
    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage


def roots(ca: OriginCA) -> tuple[x509.Certificate, ...]:
    return tuple(x509.load_pem_x509_certificates(ca.roots_pem.encode()))


async def bare(stage: Stage, **fields: str) -> None:
    """An issuer at the CDN that configures no roots, or those that are given."""
    edge = stage.edge(**QUICK)
    del edge["caBundle"]
    await stage.apply(objects.issuer("web", [edge | fields], namespace=stage.namespace))


def ca_of(stage: Stage, name: str) -> bytes:
    """`status.ca` of a request."""
    return b64decode(stage.cluster.get("certificaterequests", stage.namespace, name)["status"].get("ca", ""))


async def test_without_configured_roots_the_shipped_one_is_given_at_cloudflares_own_endpoint(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_stage() as stage:
        monkeypatch.setattr(cloudflare, "DEFAULT_ENDPOINT", stage.cdn.endpoint)
        monkeypatch.setattr(cloudflare_roots, "shipped", lambda: roots(stage.cdn.ledger.ca))
        await bare(stage)
        await stage.ask("www", "web")
        assert signer_of(await ended(stage, "www")) == "edge"
        assert ca_of(stage, "www") == stage.cdn.ledger.ca.ecc.pem


async def test_a_provider_whose_ca_is_not_the_shipped_one_is_not_refused_for_that(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_stage() as stage:
        monkeypatch.setattr(cloudflare, "DEFAULT_ENDPOINT", stage.cdn.endpoint)
        monkeypatch.setattr(cloudflare_roots, "shipped", lambda: roots(OriginCA()))
        await bare(stage)
        await stage.ask("www", "web")
        assert signer_of(await ended(stage, "www")) == "edge"
        assert not ca_of(stage, "www")


async def test_a_bundle_takes_the_place_of_the_shipped_roots(
    new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_stage() as stage:
        monkeypatch.setattr(cloudflare, "DEFAULT_ENDPOINT", stage.cdn.endpoint)
        monkeypatch.setattr(cloudflare_roots, "shipped", lambda: roots(OriginCA()))
        await bare(stage, caBundle=stage.cdn.roots_pem)
        await stage.ask("www", "web")
        await ended(stage, "www")
        assert ca_of(stage, "www") == stage.cdn.ledger.ca.ecc.pem


async def test_at_another_endpoint_there_is_no_root_unless_one_is_configured(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await bare(stage)
        await stage.ask("www", "web")
        await ended(stage, "www")
        assert not ca_of(stage, "www")


def csr(common_name: str, organization: str = "") -> bytes:
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        subject.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    san = x509.SubjectAlternativeName([x509.DNSName("www.example.com")])
    builder = (
        x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject)).add_extension(san, critical=False)
    )
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("pem", "asked"),
    [
        pytest.param(csr("shop.prod"), "CN=shop.prod", id="another common name"),
        pytest.param(csr("www.example.com", "Muster"), "O=Muster,CN=www.example.com", id="an organization"),
    ],
)
async def test_a_subject_that_the_provider_replaces_is_told(pem: bytes, asked: str, new_stage: NewStage) -> None:
    async with new_stage() as stage:
        for name, authority in (("edge", stage.edge(**QUICK)), ("backup", stage.backup())):
            await stage.apply(objects.issuer(name, [authority], namespace=stage.namespace))
            await stage.apply(objects.certificate_request(name, pem, namespace=stage.namespace, issuer=name))
        replaced = message(await ended(stage, "edge"))
        assert "; its subject is 'CN=CloudFlare Origin Certificate,OU=" in replaced
        assert replaced.endswith(f", where {asked!r} was asked for")
        assert replaced in await told(stage, "edge", "CertificateIssued")
        assert "subject" not in message(await ended(stage, "backup"))


async def test_a_common_name_that_is_one_of_the_names_is_no_news(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await stage.apply(objects.issuer("web", [stage.edge(**QUICK)], namespace=stage.namespace))
        pem = csr("www.example.com")
        await stage.apply(objects.certificate_request("www", pem, namespace=stage.namespace, issuer="web"))
        assert "subject" not in message(await ended(stage, "www"))
