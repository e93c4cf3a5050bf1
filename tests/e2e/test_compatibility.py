"""docs/compatibility.md: what each authority signs, asked of all of them, and of cert-manager's own CA issuer.

`CDN_ISSUER_WRITE_DOCS=1 pytest tests/e2e/test_compatibility.py` writes the tables anew.
"""

from __future__ import annotations

import ipaddress
import os
import re
from base64 import b64decode
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from issuer.api.duration import human
from issuer.pki.certificate import load_chain
from issuer.sandbox import objects
from tests.csrs.corpus import samples
from tests.e2e.cas import CA, both_with_one_secret
from tests.e2e.world import read_condition

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.controlplane.plane import Manifest
    from tests.e2e.world import World

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "compatibility.md"
WRITE: Final = os.environ.get("CDN_ISSUER_WRITE_DOCS") == "1"
COLUMNS: Final = {
    "`cloudflare`": {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": "edge"},
    "`ca`": {"group": "cdn-issuer.io", "kind": "CDNIssuer", "name": CA},
    "cert-manager's CA issuer": {"group": "cert-manager.io", "kind": "Issuer", "name": CA},
}
WEEK: Final = "168h"
SERVER: Final = ("digital signature", "key encipherment", "server auth")


def name(**attributes: str) -> x509.Name:
    oids = {"cn": NameOID.COMMON_NAME, "o": NameOID.ORGANIZATION_NAME, "c": NameOID.COUNTRY_NAME}
    return x509.Name([x509.NameAttribute(oids[short], value) for short, value in attributes.items()])


def csr(
    *names: x509.GeneralName, subject: x509.Name | None = None, key: Any = None, hash_: Any = None, **sign: Any
) -> bytes:
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject or x509.Name([]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hash_ or hashes.SHA256()
    return builder.sign(key, algorithm, **sign).public_bytes(Encoding.PEM)


def dns(*names: str) -> list[x509.GeneralName]:
    return [x509.DNSName(each) for each in names]


def sample(words: str) -> bytes:
    """The CSR of the corpus that those words describe."""
    (found,) = [one.pem for one in samples() if words in f"{one.tool}: {one.what}"]
    return found


def for_key(make: Callable[[], Any]) -> Callable[[], bytes]:
    return lambda: csr(*dns("www.example.com"), key=make())


def with_names(*names: x509.GeneralName, **subject: str) -> Callable[[], bytes]:
    return lambda: csr(*names, subject=name(**subject))


UPN = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x11erika@example.com")


@dataclass(frozen=True)
class Row:
    """What is asked for.

    Attributes:
        label: in the table.
        pem: makes the CSR.
        spec: of the request, beside it.
    """

    label: str
    pem: Callable[[], bytes]
    spec: dict[str, Any] = field(default_factory=dict)


def plain(label: str, **spec: Any) -> Row:
    return Row(label, lambda: csr(*dns("www.example.com")), spec)


def used_for(label: str, *usages: str, **spec: Any) -> Row:
    return plain(label, usages=list(usages), **spec)


TABLES: Final[dict[str, list[Row]]] = {
    "Keys": [
        Row("RSA 2048", for_key(lambda: rsa.generate_private_key(65537, 2048))),
        Row("RSA 4096", for_key(lambda: rsa.generate_private_key(65537, 4096))),
        Row("RSA 1024", for_key(lambda: rsa.generate_private_key(65537, 1024))),
        Row("ECDSA P-256", for_key(lambda: ec.generate_private_key(ec.SECP256R1()))),
        Row("ECDSA P-384", for_key(lambda: ec.generate_private_key(ec.SECP384R1()))),
        Row("ECDSA P-521", for_key(lambda: ec.generate_private_key(ec.SECP521R1()))),
        Row("ECDSA secp256k1", for_key(lambda: ec.generate_private_key(ec.SECP256K1()))),
        Row("Ed25519", for_key(ed25519.Ed25519PrivateKey.generate)),
    ],
    "Names": [
        Row("DNS name", with_names(*dns("www.example.com"))),
        Row("wildcard and apex", with_names(*dns("*.example.com", "example.com"))),
        Row("wildcard below a wildcard, `*.*.example.com`", with_names(*dns("*.*.example.com"))),
        Row("upper case", with_names(*dns("WWW.Example.com"))),
        Row("internationalised, `xn--...`", with_names(*dns("xn--bcher-kva.example.com"))),
        Row("200 names", with_names(*dns(*(f"n{number}.example.com" for number in range(200))))),
        Row("201 names", with_names(*dns(*(f"n{number}.example.com" for number in range(201))))),
        Row("single label, `localhost`", with_names(*dns("localhost"))),
        Row("in the cluster, `web.shop.svc`", with_names(*dns("web.shop.svc"))),
        Row("in no zone of the account", with_names(*dns("www.example.org"))),
        Row("IP address", with_names(x509.IPAddress(ipaddress.ip_address("192.0.2.1")))),
        Row("email address", with_names(x509.RFC822Name("ops@example.com"))),
        Row("URI", with_names(x509.UniformResourceIdentifier("spiffe://example.com/web"))),
        Row("UPN (other name)", with_names(UPN)),
        Row("registered ID", with_names(x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")))),
        Row("directory name", with_names(x509.DirectoryName(name(cn="www")))),
        Row("common name alone, a host", with_names(cn="www.example.com")),
        Row("common name alone, no host", with_names(cn="backend")),
        Row("common name that is no host, beside a DNS name", with_names(*dns("www.example.com"), cn="shop.prod")),
        Row("subject with an organization", with_names(*dns("www.example.com"), o="Example", c="DE")),
    ],
    "CSRs": [
        Row("signed with SHA-1", lambda: sample("openssl: rsa sha1")),
        Row("signed with SHA-384", lambda: csr(*dns("www.example.com"), hash_=hashes.SHA384())),
        Row(
            "signed with RSA-PSS",
            lambda: csr(
                *dns("www.example.com"),
                key=rsa.generate_private_key(65537, 2048),
                rsa_padding=padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH),
            ),
        ),
        Row("`*` in a PrintableString (node-forge)", lambda: sample("node-forge: wildcard")),
        Row("T61String with umlauts (old tools)", lambda: sample("old tools: T61String with umlauts")),
        Row("version 2 (certbot, salt)", lambda: sample("certbot, salt: version 1")),
        Row("attributes that are not sorted (routers)", lambda: sample("router: unstructured name and address")),
        Row("defaults written out", lambda: sample("router: extension with a default written out")),
    ],
    "Usages": [
        plain("none named", usages=[]),
        used_for("server and client auth", *SERVER, "client auth"),
        used_for("code signing", "digital signature", "code signing"),
        used_for("data encipherment", "digital signature", "data encipherment", "server auth"),
        used_for("cert sign, of no CA", "digital signature", "cert sign"),
        used_for("CRL sign, of no CA", "digital signature", "crl sign"),
        Row("a CA (`isCA`)", lambda: csr(subject=name(cn="team")), {"isCA": True, "usages": ["cert sign"]}),
    ],
    "Durations": [
        plain("1 hour", duration="1h"),
        plain("7 days", duration=WEEK),
        plain("100 days", duration="2400h"),
        plain("15 years", duration="131400h"),
        plain("16 years", duration="140160h"),
    ],
}


def manifest(number: int, row: Row, issuer: Manifest, name: str, world: World) -> Manifest:
    made: Manifest = objects.certificate_request(name, row.pem(), namespace=world.namespace, issuer="")
    made["spec"] = {**made["spec"], "issuerRef": issuer, "duration": WEEK, "usages": list(SERVER), **row.spec}
    if "usages" not in row.spec and row in TABLES["CSRs"]:
        made["spec"]["usages"] = ["digital signature", "key encipherment"]
    made["metadata"]["labels"] = {"row": str(number)}
    return made


def cell(request: Manifest | None, refusal: str) -> str:
    """What the table says of it."""
    if request is None:
        return f"no: {refusal}"
    if read_condition(request, "Ready")[1] == "Issued":
        leaf = load_chain(b64decode(request["status"]["certificate"]))[0] if readable(request) else None
        wanted = wanted_of(request)
        if leaf is None or abs((leaf.not_valid_after_utc - leaf.not_valid_before_utc) - wanted) < timedelta(hours=1):
            return "yes"
        return (
            f"yes, for {human((leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() // 3600 * 3600)}"
        )
    (message,) = [one["message"] for one in request["status"]["conditions"] if one["type"] == "Ready"]
    return f"no: {shortened(message)}"


def readable(request: Manifest) -> bool:
    """Whether `cryptography` can read what was signed: cert-manager copies subjects that are not DER to the letter."""
    try:
        load_chain(b64decode(request["status"]["certificate"]))
    except ValueError:
        return False
    return True


def wanted_of(request: Manifest) -> timedelta:
    hours = re.fullmatch(r"(\d+)h(?:0m0s)?", request["spec"]["duration"])
    assert hours
    return timedelta(hours=int(hours[1]))


def shortened(message: str) -> str:
    """The reason, without what differs from run to run."""
    text = re.sub(r"^(edge|ca): |spec\.request: | \(HTTP [^)]*\)|, trace [0-9A-Za-z-]+", "", message)
    text = re.sub(r"-----BEGIN.*?(?=\S+: |$)", "", text)
    text = " ".join(text.split())
    return (text if len(text) <= 110 else text[:107] + "...").replace("|", "\\|")


def rendered(cells: dict[tuple[str, str], str]) -> str:
    parts = []
    for title, rows in TABLES.items():
        parts += [f"## {title}\n", "| asked for | " + " | ".join(COLUMNS) + " |", "| --- |" + " --- |" * len(COLUMNS)]
        parts += [
            "| " + " | ".join([row.label, *(cells[row.label, column] for column in COLUMNS)]) + " |" for row in rows
        ]
        parts.append("")
    return "\n".join(parts)


@pytest.mark.timeout(300)
async def test_the_tables_of_the_document_are_what_the_authorities_answer(world: World) -> None:
    await world.issuer("edge")
    await both_with_one_secret(world, allow_ca=True)
    refusals: dict[str, str] = {}
    names: dict[tuple[str, str], str] = {}
    for number, row in enumerate(row for rows in TABLES.values() for row in rows):
        for position, (column, issuer) in enumerate(COLUMNS.items()):
            request = f"r{number}-{position}"
            names[row.label, column] = request
            body = manifest(number, row, issuer, request, world)
            answer = world.plane.call("POST", world.path("certificaterequests"), body)
            if not answer.is_success:
                assert "webhook.cert-manager.io" in answer.text, answer.text
                refusals[request] = "cert-manager's webhook refuses it"

    def have_ended() -> bool:
        return all(read_condition(one, "Ready")[1] in ("Issued", "Failed") for one in world.all("certificaterequests"))

    await world.until(have_ended, "all requests have ended", timeout=200)
    requests = {one["metadata"]["name"]: one for one in world.all("certificaterequests")}
    cells = {key: cell(requests.get(name), refusals.get(name, "")) for key, name in names.items()}
    head, _, _ = DOCUMENT.read_text().partition("## Keys\n")
    wanted = head + rendered(cells)
    if WRITE:
        DOCUMENT.write_text(wanted)
    assert DOCUMENT.read_text() == wanted, "CDN_ISSUER_WRITE_DOCS=1 writes it anew"
