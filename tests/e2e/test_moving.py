"""Moving from origin-ca-issuer, as docs/moving-from-origin-ca-issuer.md says: with what `cdn-issuer convert` printed.

Nobody plays origin-ca-issuer but for the one certificate that it signed before: a changed `issuerRef` alone has to make
cert-manager issue anew, with the old certificate in its Secret until the new one is there.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import yaml
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from issuer.cli.conversion import THEIR_GROUP
from issuer.cli.main import main
from tests.component.rig import PATIENT
from tests.controlplane.plane import MERGE
from tests.e2e.world import TOKEN

if TYPE_CHECKING:
    from tests.e2e.world import World


async def test_a_converted_certificate_is_issued_anew_by_the_converted_issuer_without_any_further_step(
    world: World,
) -> None:
    theirs = manifests(world.namespace)
    world.plane.apply(theirs[1])
    await world.until(lambda: world.get("certificaterequests", "web-1") is not None, "a request")
    sign_as_the_old_issuer(world, "web-1")
    before = await world.ready("web")
    ours = converted(theirs)
    assert [one["kind"] for one in ours] == ["CDNIssuer", "Certificate"]
    (authority,) = ours[0]["spec"]["authorities"]
    authority["cloudflare"]["endpoint"] = world.cdn.endpoint
    authority |= {"caBundle": world.cdn.roots_pem, **PATIENT}
    world.plane.apply({"kind": "Secret", "apiVersion": "v1", **service_key(world.namespace)})
    world.plane.apply(ours[0])
    await world.until(lambda: world.condition("cdnissuers", "prod-issuer", "Ready")[0] == "True", "the issuer is Ready")
    world.cdn.faults.set("status", status=503, methods=["POST"])
    world.plane.apply(ours[1])
    await world.until(
        lambda: world.condition("certificates", "web", "Ready") == ("False", "IncorrectIssuer"), "not Ready meanwhile"
    )
    await world.request_with("Pending", "web-2")
    assert world.secret("web-tls") == before, "what serves traffic stays"
    world.cdn.faults.clear()
    after = await world.ready("web", revision=2)
    assert world.condition("certificaterequests", "web-2", "cdn-issuer.io/Authority") == ("True", "Signed")
    assert after["tls.crt"] != before["tls.crt"]
    assert x509.load_pem_x509_certificate(after["tls.crt"]).serial_number in {
        record.serial for record in world.cdn.certificates.values()
    }
    assert len(world.cdn.certificates) == 1


def manifests(namespace: str) -> list[Any]:
    group = THEIR_GROUP
    issuer = {
        "apiVersion": f"{group}/v1",
        "kind": "OriginIssuer",
        "metadata": {"name": "prod-issuer", "namespace": namespace},
        "spec": {"requestType": "OriginECC", "auth": {"serviceKeyRef": {"name": "service-key", "key": "key"}}},
    }
    certificate = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "secretName": "web-tls",
            "dnsNames": ["web.example.com"],
            "revisionHistoryLimit": 2,
            "privateKey": {"algorithm": "ECDSA", "size": 256},
            "issuerRef": {"group": group, "kind": "OriginIssuer", "name": "prod-issuer"},
        },
    }
    return [issuer, certificate]


def converted(theirs: list[Any]) -> list[Any]:
    result = CliRunner().invoke(main, ["convert", "-"], input=yaml.safe_dump_all(theirs))
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))


def service_key(namespace: str) -> dict[str, Any]:
    """The Secret of the old issuer, with a token in it by now."""
    return {
        "metadata": {"name": "service-key", "namespace": namespace},
        "data": {"key": base64.b64encode(TOKEN.encode()).decode()},
    }


def sign_as_the_old_issuer(world: World, name: str) -> None:
    """Sign a request with a CA of nobody's, for 90 days."""
    request = world.get("certificaterequests", name)
    assert request is not None
    csr = x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))
    now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
    names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "the old one")]))
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=90))
        .add_extension(names.value, critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate = base64.b64encode(leaf.public_bytes(serialization.Encoding.PEM)).decode()
    ready = {"type": "Ready", "status": "True", "reason": "Issued", "message": "signed"}
    kept = request.get("status", {}).get("conditions", [])
    body = {
        "status": {
            "certificate": certificate,
            "conditions": [*kept, {**ready, "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ")}],
        }
    }
    world.plane.ask("PATCH", f"{world.path('certificaterequests', name)}/status", body, content_type=MERGE)
