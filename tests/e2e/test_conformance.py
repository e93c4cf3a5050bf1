"""What cert-manager's conformance suite for issuers asks of a Certificate's Secret, asked of our authorities."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from issuer.sandbox import objects
from tests.e2e.cas import CA, both_with_one_secret

if TYPE_CHECKING:
    from pathlib import Path

    from tests.controlplane.plane import Manifest
    from tests.e2e.world import World

DEFAULT_DURATION: Final = timedelta(days=90)
FUZZ: Final = timedelta(seconds=30)
"""How much longer than asked for a certificate may live there."""
UPN: Final = "1.3.6.1.4.1.311.20.2.3"

ECDSA: Final = {"algorithm": "ECDSA"}
ED25519: Final = {"algorithm": "Ed25519"}
RSA: Final = {"algorithm": "RSA", "size": 2048}
CASES: Final[dict[str, Manifest]] = {
    "dns": {"dnsNames": ["a.example.com"], "privateKey": RSA},
    "ca": {"dnsNames": ["ca.example.com"], "isCA": True},
    "ecdsa": {"dnsNames": ["a.example.com"], "privateKey": ECDSA},
    "ed25519": {"dnsNames": ["a.example.com"], "privateKey": ED25519},
    "cn": {"commonName": "test-common-name"},
    "other-names": {
        "commonName": "someone",
        "otherNames": [{"oid": UPN, "utf8Value": "upn@domain.test"}, {"oid": UPN, "utf8Value": "upn@domain2.test"}],
        "emailAddresses": ["email@domain.test"],
    },
    "literal-subject": {
        "literalSubject": "CN=*.a.example.com,OU=Long,OU=Bar,OU=Baz,OU=Dept.,O=Corp.",
        "dnsNames": ["*.a.example.com"],
    },
    "cn-ed25519": {"commonName": "test-common-name", "privateKey": ED25519},
    "ip": {"ipAddresses": ["192.0.2.1"]},
    "dns-ip": {"dnsNames": ["a.example.com"], "ipAddresses": ["192.0.2.1", "2001:db8::1"]},
    "email": {"emailAddresses": ["alice@example.com"]},
    "cn-uri": {"commonName": "web", "uris": ["spiffe://cluster.local/ns/sandbox/sa/foo"]},
    "uri": {"uris": ["spiffe://cluster.local/ns/sandbox/sa/foo"]},
    "cn-among-names": {"commonName": "a.example.com", "dnsNames": ["a.example.com", "b.example.com"]},
    "cn-beside-names": {"commonName": "a.example.com", "dnsNames": ["b.example.com"]},
    "duration": {"dnsNames": ["a.example.com"], "duration": "896h"},
    "wildcard": {"dnsNames": ["*.a.example.com"]},
    "wildcard-apex": {"dnsNames": ["*.a.example.com", "a.example.com"]},
    "usages": {
        "dnsNames": ["a.example.com"],
        "usages": ["signing", "data encipherment", "server auth", "client auth"],
    },
    "long": {"dnsNames": [f"{'a' * 63}.example.com"]},
    "upper-case": {"dnsNames": ["dnsName1.co", "dnsName2.ninja"], "ipAddresses": ["8.8.8.8", "1.1.1.1"]},
    "organization": {"commonName": "test.domain.com", "subject": {"organizations": ["test-org"]}},
}


def names_of(leaf: x509.Certificate) -> dict[str, list[str]]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return {}
    return {
        "dnsNames": names.get_values_for_type(x509.DNSName),
        "ipAddresses": [str(one) for one in names.get_values_for_type(x509.IPAddress)],
        "emailAddresses": names.get_values_for_type(x509.RFC822Name),
        "uris": names.get_values_for_type(x509.UniformResourceIdentifier),
        "otherNames": [one.value[2:].decode() for one in names.get_values_for_type(x509.OtherName)],
    }


def problems(spec: Manifest, secret: dict[str, bytes], folder: Path) -> list[str]:
    """What the suite would have against a Secret."""
    leaf = x509.load_pem_x509_certificates(secret["tls.crt"])[0]
    found = []
    for kind, have in names_of(leaf).items():
        asked = [one["utf8Value"] if kind == "otherNames" else one for one in spec.get(kind, [])]
        if sorted(have) != sorted(asked):
            found.append(f"{kind}: {have} in place of {asked}")
    common_names = [str(one.value) for one in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if "literalSubject" in spec:
        subject = ",".join(rdn.rfc4514_string() for rdn in reversed(leaf.subject.rdns))
        if subject != spec["literalSubject"]:
            found.append(f"subject {subject}")
    elif common_names != ([spec["commonName"]] if "commonName" in spec else []):
        found.append(f"common name {common_names}")
    hours = int(spec.get("duration", "2160h").removesuffix("h"))
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    if not timedelta(hours=hours) <= life <= timedelta(hours=hours) + FUZZ:
        found.append(f"it lives for {life}")
    if leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca != spec.get("isCA", False):
        found.append("CA or not")
    root = x509.load_pem_x509_certificate(secret["ca.crt"])
    if root.subject != root.issuer:
        found.append("ca.crt is no root")
    (folder / "ca.crt").write_bytes(secret["ca.crt"])
    (folder / "tls.crt").write_bytes(secret["tls.crt"])
    command = ["openssl", "verify", "-CAfile", "ca.crt", "-untrusted", "tls.crt", "tls.crt"]
    verified = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    return found if verified.returncode == 0 else [*found, verified.stderr]


@pytest.mark.timeout(300)
async def test_every_certificate_of_the_suite_is_signed_by_ca_as_it_asks(world: World, tmp_path: Path) -> None:
    await both_with_one_secret(world, allow_ca=True)
    for name, spec in CASES.items():
        make(world, name, CA, spec)
    secrets = {name: await world.ready(name, timeout=120) for name in CASES}
    assert {name: found for name, secret in secrets.items() if (found := problems(CASES[name], secret, tmp_path))} == {}
    usages = x509.load_pem_x509_certificates(secrets["usages"]["tls.crt"])[0].extensions
    bits = usages.get_extension_for_class(x509.KeyUsage).value
    assert (bits.digital_signature, bits.data_encipherment, bits.key_encipherment) == (True, True, False)


@pytest.mark.parametrize("key", [RSA, ECDSA, ED25519], ids=["rsa", "ecdsa", "ed25519"])
async def test_a_ca_that_cert_manager_issued_signs_and_its_root_is_what_to_trust(
    world: World, key: Manifest, tmp_path: Path
) -> None:
    """A root, an intermediate below it, and one below that, each in the Secret as cert-manager writes it."""
    for name, above in (("root", "selfsigned"), ("first", "root"), ("second", "first")):
        issuer = {"selfSigned": {}} if above == "selfsigned" else {"ca": {"secretName": f"{above}-tls"}}
        theirs = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer"}
        world.plane.apply({**theirs, "metadata": {"name": above, "namespace": world.namespace}, "spec": issuer})
        reference = {"group": "cert-manager.io", "kind": "Issuer", "name": above}
        spec = {"commonName": name, "isCA": True, "privateKey": key, "duration": "4320h"}
        make(world, name, above, {**spec, "issuerRef": reference})
        await world.ready(name, timeout=120)
    root = world.secret("root-tls")["tls.crt"]
    for depth, name in enumerate(("root", "first", "second")):
        ours = {"name": "ca", "ca": {"secretRef": {"name": f"{name}-tls"}}}
        world.plane.apply(objects.issuer(name, [ours], namespace=world.namespace))
        make(world, f"by-{name}", name, CASES["dns"])
        secret = await world.ready(f"by-{name}", timeout=120)
        assert problems(CASES["dns"], secret, tmp_path) == []
        assert secret["ca.crt"] == root
        assert len(x509.load_pem_x509_certificates(secret["tls.crt"])) == 1 + depth


OF_CLOUDFLARE: Final = ("dns", "ecdsa", "wildcard", "wildcard-apex", "long")
"""What it can be asked: it has a common name of its own, and durations of its own."""


async def test_what_the_suite_can_ask_of_cloudflare_is_signed_as_it_asks(world: World, tmp_path: Path) -> None:
    await world.issuer("edge")
    for name in OF_CLOUDFLARE:
        make(world, name, "edge", {**CASES[name], "duration": "720h"})
    for name in OF_CLOUDFLARE:
        secret = await world.ready(name, timeout=120)
        found = problems({**CASES[name], "duration": "720h"}, secret, tmp_path)
        assert [one for one in found if "common name" not in one and "it lives" not in one] == []


def make(world: World, name: str, issuer: str, spec: dict[str, Any]) -> None:
    manifest = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {
            "secretName": f"{name}-tls",
            "issuerRef": {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": issuer},
            **spec,
        },
    }
    world.plane.apply(manifest)
