"""Nonsense from people: a clear message on the object it belongs to, an event, and nobody else held up."""

from __future__ import annotations

import ipaddress
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from issuer.api import crd
from issuer.api.request import signer_of
from issuer.authorities import registry
from issuer.sandbox import objects
from tests.component.harness import QUICK, ended, message, one_authority, pending, told, two_authorities, warned_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.cli.stage import Stage
    from tests.component.harness import NewStage


def csr(names: Sequence[x509.GeneralName], key: Any = None) -> bytes:
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    algorithm = None if isinstance(key, ed448.Ed448PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


WWW = [x509.DNSName("www.example.com")]
GOOD = csr(WWW)
FORGED = x509.load_pem_x509_csr(GOOD).public_bytes(Encoding.DER)
FORGED_PEM = (
    b"-----BEGIN CERTIFICATE REQUEST-----\n"
    + b64encode(FORGED[:-4] + bytes(byte ^ 0x55 for byte in FORGED[-4:]))
    + b"\n-----END CERTIFICATE REQUEST-----\n"
)

NEVER: list[tuple[str, str, str]] = [
    ("not PEM", b64encode(b"hello").decode(), "not PEM"),
    ("not a CSR", b64encode(objects.ca_secret("x", "y")["metadata"]["name"].encode() * 9).decode(), "not PEM"),
    ("bad signature", b64encode(FORGED_PEM).decode(), "signature"),
    ("1 MB long", b64encode(GOOD + b"\n" * 1_000_000).decode(), "long"),
    ("unknown key type", b64encode(csr(WWW, ed448.Ed448PrivateKey.generate())).decode(), "key is of the type"),
    ("DSA", b64encode(csr(WWW, dsa.generate_private_key(2048))).decode(), "key is of the type"),
    ("RSA 1024", b64encode(csr(WWW, rsa.generate_private_key(65537, 1024))).decode(), "1024"),
]
ONLY_THE_SECOND: list[tuple[str, bytes, str]] = [
    ("500 names", csr([x509.DNSName(f"n{number}.example.com") for number in range(500)]), "500"),
    ("IP address", csr([*WWW, x509.IPAddress(ipaddress.ip_address("192.0.2.1"))]), "192.0.2.1"),
    ("email address", csr([*WWW, x509.RFC822Name("ops@example.com")]), "ops@example.com"),
    ("internal name", csr([x509.DNSName("kargo-api.kargo.svc")]), ".svc is in no public DNS"),
    ("URI", csr([*WWW, x509.UniformResourceIdentifier("spiffe://example.com/web")]), "spiffe://example.com/web"),
]


@pytest.mark.parametrize(("request_text", "why"), [pytest.param(*case[1:], id=case[0]) for case in NEVER])
async def test_a_broken_csr_fails_at_once_and_holds_up_nobody(request_text: str, why: str, new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        manifest = objects.certificate_request("broken", GOOD, namespace=stage.namespace, issuer="web")
        manifest["spec"]["request"] = request_text
        await stage.apply(manifest)
        await stage.ask("www", "web")
        request = await ended(stage, "broken")
        assert request.status.failure_time
        assert "spec.request" in message(request)
        assert why in message(request)
        await warned_of(stage, "broken", "InvalidRequest", message(request))
        assert signer_of(await ended(stage, "www")) == "edge"


@pytest.mark.parametrize(("pem", "why"), [pytest.param(*case[1:], id=case[0]) for case in ONLY_THE_SECOND])
async def test_what_the_provider_cannot_sign_is_signed_by_another_or_fails_at_once(
    pem: bytes, why: str, new_stage: NewStage
) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        await one_authority(stage)
        for issuer in ("web", "alone"):
            await stage.apply(objects.certificate_request(issuer, pem, namespace=stage.namespace, issuer=issuer))
        assert signer_of(await ended(stage, "web")) == "backup"
        alone = await ended(stage, "alone")
        assert alone.status.failure_time
        assert why in message(alone)
        await warned_of(stage, "alone", "AuthorityUnsupported", message(alone))


@pytest.mark.parametrize(
    ("usages", "missing"),
    [
        (["digital signature", "code signing"], "'code signing'"),
        (["signing", "data encipherment", "server auth", "client auth"], "'data encipherment'"),
    ],
)
async def test_usages_that_the_provider_cannot_give_are_given_by_another_or_named(
    usages: list[str], missing: str, new_stage: NewStage
) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        await one_authority(stage)
        for issuer in ("web", "alone"):
            manifest = objects.certificate_request(issuer, GOOD, namespace=stage.namespace, issuer=issuer)
            manifest["spec"]["usages"] = usages
            await stage.apply(manifest)
        signed = await ended(stage, "web")
        assert signer_of(signed) == "backup"
        leaf = x509.load_pem_x509_certificate(b64decode(signed.status.certificate or ""))
        assert ("code signing" in usages) == any(
            ExtendedKeyUsageOID.CODE_SIGNING in extension.value
            for extension in leaf.extensions
            if isinstance(extension.value, x509.ExtendedKeyUsage)
        )
        alone = await ended(stage, "alone")
        assert alone.status.failure_time
        assert f"only, not for {missing}" in message(alone)
        await warned_of(stage, "alone", "AuthorityUnsupported", message(alone))


@pytest.mark.parametrize("usage", ["cert sign", "crl sign"])
async def test_a_usage_for_cas_is_refused_by_every_authority_alike(usage: str, new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        manifest = objects.certificate_request("leaf", GOOD, namespace=stage.namespace, issuer="web")
        manifest["spec"]["usages"] = ["digital signature", "key encipherment", usage, "server auth"]
        await stage.apply(manifest)
        request = await ended(stage, "leaf")
        assert request.status.failure_time
        for authority in ("edge", "backup"):
            assert f"{authority}: spec.usages: the usage {usage!r} is for CAs only" in message(request)
        assert not stage.cdn.calls["POST /certificates"]


def authorities(stage: Stage) -> dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]]:
    edge = stage.edge(**QUICK)
    cloudflare = edge["cloudflare"]
    return {
        "no authority": ([], {}, "spec.authorities: 1 to 8 are needed"),
        "unknown kind": ([{"name": "x", "vault": {}}], {}, "unknown field 'vault'"),
        "negative duration": ([edge | {"timeouts": {"read": "-5s"}}], {}, "timeouts.read"),
        "years": ([edge], {"deadline": "1y"}, "spec.deadline"),
        "no URL": ([edge | {"cloudflare": cloudflare | {"endpoint": "over there"}}], {}, "endpoint"),
        "a name twice": ([edge, edge], {}, "'edge'"),
    }


async def without_schemas(stage: Stage) -> None:
    """Let the API server take any issuer, as it would under CRDs of another version; ours would refuse these."""
    for definition in crd.definitions(registry.configs()):
        (version,) = definition["spec"]["versions"]
        version["schema"] = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        await stage.apply(definition)


@pytest.mark.parametrize(
    "case", ["no authority", "unknown kind", "negative duration", "years", "no URL", "a name twice"]
)
async def test_a_nonsense_issuer_says_what_is_wrong_and_its_requests_wait(case: str, new_stage: NewStage) -> None:
    async with new_stage() as stage:
        await two_authorities(stage)
        await without_schemas(stage)
        listed, spec, why = authorities(stage)[case]
        await stage.apply(objects.issuer("odd", listed, namespace=stage.namespace, **spec))
        await stage.ask("waits", "odd")
        await stage.ask("www", "web")
        request = await pending(stage, "waits")
        assert why in message(request)
        assert why in await told(stage, "odd", "InvalidSpec")
        ready = stage.cluster.get("cdnissuers", stage.namespace, "odd")["status"]["conditions"][0]
        assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")
        assert why in ready["message"]
        assert signer_of(await ended(stage, "www")) == "edge"
        await stage.apply(objects.issuer("odd", [stage.backup()], namespace=stage.namespace))
        assert signer_of(await ended(stage, "waits")) == "backup"


OTHER_CA = objects.ca_secret("other", "any")["data"]
SECRETS: list[tuple[str, dict[str, str] | None, str]] = [
    ("missing", None, "edge-token"),
    ("without the key", {"tokn": b64encode(b"x").decode()}, "no key 'token'"),
    ("empty token", {"token": ""}, "empty"),
    ("token with a space", {"token": b64encode(b"two words").decode()}, "one word"),
    ("service key", {"token": b64encode(b"v1.0-0123456789abcdef").decode()}, "API token"),
]


@pytest.mark.parametrize(("data", "why"), [pytest.param(*case[1:], id=case[0]) for case in SECRETS])
async def test_a_bad_secret_is_named_and_mending_it_is_enough(
    data: dict[str, str] | None, why: str, new_stage: NewStage
) -> None:
    async with new_stage() as stage:
        edge = stage.edge(**QUICK)
        edge["cloudflare"] |= {"apiTokenSecretRef": {"name": "edge-token", "key": "token"}}
        secret = objects.secret("edge-token", stage.namespace, {})
        if data is not None:
            await stage.apply(secret | {"data": data})
        await stage.apply(objects.issuer("edge", [edge], namespace=stage.namespace))
        await stage.ask("waits", "edge")
        request = await pending(stage, "waits")
        assert why in message(request)
        assert "edge-token" in message(request)
        for value in (data or {}).values():
            assert not value or value not in message(request)
        assert why in await told(stage, "edge", "NoAuthorityAvailable")
        state = "SecretNotFound" if data is None else "Misconfigured"
        await warned_of(stage, "waits", f"Authority{state}", message(request))
        assert f"edge is {state}: " in await told(stage, "edge", "NoAuthorityAvailable")
        (shown,) = stage.cluster.get("cdnissuers", stage.namespace, "edge")["status"]["authorities"]
        assert shown["state"] == state


async def test_a_ca_whose_key_does_not_match_is_named(new_stage: NewStage) -> None:
    async with new_stage() as stage:
        mixed = objects.ca_secret("mixed", stage.namespace)
        mixed["data"]["tls.key"] = OTHER_CA["tls.key"]
        await stage.apply(mixed)
        entry = {"name": "backup", "ca": {"secretRef": {"name": "mixed"}}}
        await stage.apply(objects.issuer("own", [entry], namespace=stage.namespace))
        await stage.ask("waits", "own")
        request = await pending(stage, "waits")
        assert "mixed" in message(request)
        assert "tls.key" in message(request)
        assert "tls.key" in await told(stage, "own", "NoAuthorityAvailable")
