"""cert-manager's CA issuer as the yardstick: what it signs of two hundred CSRs, our `ca` signs, and signs the same.

Both have the same Secret, and sign in the same cluster.
"""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtensionOID

from issuer.sandbox import objects
from tests.csrs.corpus import samples
from tests.csrs.usages import asked_for
from tests.e2e.cas import CA, both_with_one_secret
from tests.e2e.world import read_condition

if TYPE_CHECKING:
    from tests.controlplane.plane import Manifest
    from tests.csrs.corpus import Sample
    from tests.e2e.world import World

SAME = (
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
)

BITS = {
    "80": (True, bytes.fromhex("03020780")),
    "a0": (True, bytes.fromhex("030205a0")),
    "a4": (True, bytes.fromhex("030202a4")),
    "84": (True, bytes.fromhex("03020284")),
}
DEFAULT_WITHOUT_RSA = {BITS["a0"]: BITS["80"], BITS["a4"]: BITS["84"]}
"""Key encipherment, of cert-manager's default usages, is left out where the key cannot encipher (RFC 8813, section 3);
of the CA's too."""


def request_for(sample: Sample, world: World, *, ours: bool) -> Manifest:
    name = f"{'ours' if ours else 'theirs'}-{sample.number}"
    manifest: Manifest = objects.certificate_request(name, sample.pem, namespace=world.namespace, issuer=CA)
    manifest["spec"]["usages"] = asked_for(sample.pem)
    manifest["spec"]["isCA"] = sample.is_ca
    if not ours:
        manifest["spec"]["issuerRef"] = {"group": "cert-manager.io", "kind": "Issuer", "name": CA}
    return manifest


def is_refused(answer: httpx.Response) -> bool:
    """Whether cert-manager's webhook has let nobody sign it."""
    return answer.status_code == httpx.codes.FORBIDDEN and "webhook.cert-manager.io" in answer.text


def has_ended(request: Manifest) -> bool:
    return read_condition(request, "Ready")[1] in ("Issued", "Failed", "Denied")


def certificate_of(request: Manifest) -> x509.Certificate:
    return x509.load_pem_x509_certificate(b64decode(request["status"]["certificate"]))


def described(certificate: x509.Certificate) -> dict[str, Any]:
    """All that should be the same, whoever of the two signed."""
    extensions = {one.oid: (one.critical, one.value.public_bytes()) for one in certificate.extensions}
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "key": certificate.public_key(),
        "time": certificate.not_valid_after_utc - certificate.not_valid_before_utc,
        **{oid._name: extensions.get(oid) for oid in SAME},
    }


@pytest.mark.timeout(300)
async def test_what_cert_managers_ca_issuer_signs_ours_signs_and_signs_the_same(world: World) -> None:
    await both_with_one_secret(world, allow_ca=True)
    for sample in samples():
        for is_ours in (False, True):
            answer = world.plane.call(
                "POST", world.path("certificaterequests"), request_for(sample, world, ours=is_ours)
            )
            assert answer.is_success or is_refused(answer), f"{sample}: {answer.text}"
    await world.until(
        lambda: all(map(has_ended, world.all("certificaterequests"))), "all requests have ended", timeout=240
    )
    requests = {one["metadata"]["name"]: one for one in world.all("certificaterequests")}
    odd, signed = [], 0
    for sample in samples():
        theirs, ours = requests.get(f"theirs-{sample.number}", {}), requests.get(f"ours-{sample.number}", {})
        if read_condition(theirs, "Ready")[1] != "Issued":
            continue
        signed += 1
        if read_condition(ours, "Ready")[1] != "Issued":
            odd.append(f"{sample}: {ours['status']['conditions']}")
            continue
        assert ours["status"]["ca"] == theirs["status"]["ca"]
        if differs := differences(theirs, ours, by_default=not asked_for(sample.pem)):
            odd.append(f"{sample}: {differs}")
    assert odd == []
    assert signed > 180


def differences(theirs: Manifest, ours: Manifest, *, by_default: bool) -> list[str]:
    """What of two certificates is not the same; `by_default`: the request names no usages.

    cert-manager copies the bytes of a subject that is not DER to the letter; `cryptography` cannot read such a one.
    """
    other = described(certificate_of(ours))
    try:
        one = described(certificate_of(theirs))
    except ValueError:
        return []
    if by_default and not isinstance(certificate_of(ours).public_key(), rsa.RSAPublicKey):
        one["keyUsage"] = DEFAULT_WITHOUT_RSA.get(one["keyUsage"], one["keyUsage"])
    return [f"{what}: {one[what]} by cert-manager, {other[what]} here" for what in one if one[what] != other[what]]
