"""cert-manager's own CA issuer and one of ours with a `ca` authority, side by side: one may take the other's place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509

from issuer.pki.certificate import to_pem
from issuer.sandbox import objects
from tests.unit.pki.pki_case import key, key_pem, make_ca

if TYPE_CHECKING:
    from tests.e2e.world import World

CA: Final = "ca"
"""What both are called, and their Secret."""


async def both_with_one_secret(world: World, *, allow_ca: bool) -> None:
    """Make both, and wait until they are Ready."""
    now = datetime.now(UTC)
    signer = key("p256", "of both")
    identified = x509.SubjectKeyIdentifier.from_public_key(signer.public_key())
    root = make_ca(
        "Example Root",
        signer=signer,
        start=now - timedelta(days=7),
        end=now + timedelta(days=20 * 365),
        extensions=[(identified, False)],
    )
    pem = to_pem([root.certificate])
    data = {"tls.crt": pem, "tls.key": key_pem(root.signer), "ca.crt": pem}
    world.plane.apply(objects.secret(CA, world.namespace, data))
    theirs = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Issuer",
        "metadata": {"name": CA, "namespace": world.namespace},
        "spec": {"ca": {"secretName": CA}},
    }
    world.plane.apply(theirs)
    ours = {"name": CA, "ca": {"secretRef": {"name": CA}, "allowCA": allow_ca}}
    world.plane.apply(objects.issuer(CA, [ours], namespace=world.namespace))
    await world.until(lambda: world.condition("cdnissuers", CA, "Ready")[0] == "True", f"{CA} Ready")
