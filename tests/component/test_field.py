"""What the field sends, on a whole controller: what one authority cannot sign and the next can, and whom to trust."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from issuer.api.request import signer_of
from issuer.pki.certificate import load_chain, to_pem
from issuer.sandbox import objects
from tests.component.harness import QUICK, ended, message, signer_story, two_authorities
from tests.unit.pki.pki_case import key_pem, make_ca

if TYPE_CHECKING:
    from issuer.api.request import CertificateRequest
    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage

UPN = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x11erika@example.com")
UPPER_CASE = [x509.DNSName("WWW.Example.com"), x509.DNSName("www.example.com")]


def csr(names: list[x509.GeneralName], *, ca: bool = False) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "erika")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)


async def asked(stage: Stage, pem: bytes, issuer: str = "web", **spec: Any) -> CertificateRequest:
    """The request for a CSR, once it has ended."""
    manifest = objects.certificate_request("www", pem, namespace=stage.namespace, issuer=issuer)
    manifest["spec"].update(spec)
    await stage.apply(manifest)
    return await ended(stage, "www")


def leaf_of(stage: Stage) -> x509.Certificate:
    (request,) = (one for one in stage.cluster.list("certificaterequests") if one["metadata"]["name"] == "www")
    return load_chain(b64decode(request["status"]["certificate"]))[0]


def ca_of(stage: Stage) -> list[str]:
    """Common names of what is trusted."""
    (request,) = (one for one in stage.cluster.list("certificaterequests") if one["metadata"]["name"] == "www")
    return [root.subject.rfc4514_string() for root in load_chain(b64decode(request["status"]["ca"]))]


def names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


async def test_a_user_principal_name_is_signed_by_the_authority_that_can(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        request = await asked(stage, csr([UPN]))
        assert signer_of(request) == "backup"
        assert "edge: Cloudflare's Origin CA signs no names of other kinds" in signer_story(request)
        assert names_of(leaf_of(stage)) == [UPN]


async def test_the_letters_of_a_name_are_those_that_were_asked_for(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await stage.apply(objects.issuer("web", [stage.backup()], namespace=stage.namespace))
        assert signer_of(await asked(stage, csr(list(UPPER_CASE)))) == "backup"
        assert names_of(leaf_of(stage)) == UPPER_CASE


async def test_the_certificate_of_a_ca_is_signed_only_where_it_is_allowed(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        request = await asked(stage, csr([], ca=True), isCA=True)
        assert request.status.failure_time
        assert "edge: Cloudflare's Origin CA signs no certificates of CAs (spec.isCA)" in message(request)
        assert "backup: it signs no certificates of CAs (spec.isCA) unless ca.allowCA" in message(request)


async def test_the_certificate_of_a_ca_is_signed_where_it_is_allowed(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        backup = stage.backup()
        backup["ca"]["allowCA"] = True
        root = make_ca(start=datetime.now(UTC) - timedelta(days=1), end=datetime.now(UTC) + timedelta(days=3650))
        data = {"tls.crt": to_pem([root.certificate]), "tls.key": key_pem(root.signer)}
        await stage.apply(objects.secret("backup-ca", stage.namespace, data))
        await stage.apply(objects.issuer("web", [stage.edge(**QUICK), backup], namespace=stage.namespace))
        request = await asked(stage, csr([], ca=True), isCA=True)
        assert signer_of(request) == "backup"
        assert leaf_of(stage).extensions.get_extension_for_class(x509.BasicConstraints).value.ca


async def test_the_signers_root_alone_is_trusted_by_default(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        assert signer_of(await asked(stage, csr([x509.DNSName("www.example.com")]))) == "edge"
        assert len(ca_of(stage)) == 1


async def test_all_roots_are_trusted_where_the_issuer_says_so_the_signers_first(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage, trust="All")
        await two_authorities(stage, "signer")
        assert signer_of(await asked(stage, csr([x509.DNSName("www.example.com")]))) == "edge"
        by_edge = ca_of(stage)
        stage.cdn.faults.set("status", status=503)
        await stage.cluster.delete("certificaterequests", stage.namespace, "www")
        assert signer_of(await asked(stage, csr([x509.DNSName("www.example.com")]))) == "backup"
        by_backup = ca_of(stage)
        assert set(by_edge) == set(by_backup)
        assert by_backup[0] == by_edge[-1]
        assert by_backup[0] != by_edge[0]
