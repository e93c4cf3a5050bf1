"""The incident in miniature: a renewal is due while the provider takes calls and answers none.

What all tests of it share: a Certificate that is due a few seconds after each signature, authorities with short
timeouts, the outage itself, and cert-manager with a backoff of seconds where it has an hour.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from issuer.api.meta import parse_time
from issuer.sandbox import objects
from tests.e2e.certmanager import CertManager
from tests.e2e.world import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.controlplane.plane import Manifest
    from tests.e2e.world import Cluster, World

DUE: Final[Manifest] = {"duration": "168h", "renewBefore": "167h59m52s", "revisionHistoryLimit": 10}
"""The renewal is due eight seconds after the signature; no request is cleared away, so that they can be counted."""
RENEWED: Final = 40.0
"""Seconds in which a due renewal has a request, on a busy machine."""
IMPATIENT: Final = {"connect": "1s", "read": "1s", "attempt": "1s", "turn": "3s"}
"""Timeouts of an authority that is given up after a second."""
BREAKER: Final = {"consecutiveFailures": 2, "openFor": "1s", "maxOpenFor": "1s"}


async def add_issuer(
    world: World, name: str = "web", *, backup: bool = False, deadline: str = "10m", **spec: Any
) -> None:
    """A CDNIssuer with the provider as `edge`, impatient, and a CA in process as `backup`; waits until it is Ready."""
    authorities = [world.edge(timeouts=IMPATIENT, circuitBreaker=BREAKER)]
    world.plane.apply(objects.secret("cloudflare", world.namespace, {"token": TOKEN.encode()}))
    if backup:
        world.plane.apply(objects.ca_secret("backup-ca", world.namespace))
        authorities.append({"name": "backup", "ca": {"secretRef": {"name": "backup-ca"}}})
    world.plane.apply(objects.issuer(name, authorities, namespace=world.namespace, deadline=deadline, **spec))
    await world.until(lambda: world.condition("cdnissuers", name, "Ready")[0] == "True", f"{name} Ready")


@contextmanager
def outage(world: World) -> Iterator[None]:
    """The provider hangs on every signature; in the end it is back."""
    fault = world.cdn.faults.set("hang", methods=["POST"], paths=["/certificates"])
    try:
        yield
    finally:
        world.cdn.faults.clear(fault)


@contextmanager
def backoff(cluster: Cluster, seconds: float) -> Iterator[CertManager]:
    """cert-manager waits so long after a failed issuance, however often it fails."""
    cluster.certmanager.stop()
    patient = CertManager(cluster.plane, backoff=(seconds, seconds))
    patient.start()
    try:
        yield patient
    finally:
        patient.stop()
        cluster.certmanager.start()


def serial_of(secret: dict[str, bytes]) -> int:
    """Of the certificate in a Secret."""
    return leaf_of(secret).serial_number


def leaf_of(secret: dict[str, bytes]) -> x509.Certificate:
    """The certificate in a Secret, without its chain."""
    return x509.load_pem_x509_certificates(secret["tls.crt"])[0]


def key_of(secret: dict[str, bytes]) -> bytes:
    """DER of the public key that belongs to the private key in a Secret, as the mock files certificates by it."""
    private = load_pem_private_key(secret["tls.key"], None)
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def fits(secret: dict[str, bytes]) -> bool:
    """Whether the certificate in a Secret belongs to the key beside it."""
    certified = leaf_of(secret).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return certified == key_of(secret)


def requests_by_uid(world: World) -> dict[str, str]:
    """The UIDs and names of the requests that there are."""
    return {one["metadata"]["uid"]: one["metadata"]["name"] for one in world.all("certificaterequests")}


def seconds_between(earlier: str, later: str) -> float:
    """From one time to another, as Kubernetes writes them: in whole seconds."""
    first, second = parse_time(earlier), parse_time(later)
    assert first is not None
    assert second is not None
    return (second - first).total_seconds()


def message_of(request: Manifest, type_: str = "Ready") -> str:
    """What a condition of a request says to people."""
    conditions: list[dict[str, Any]] = request["status"]["conditions"]
    return str(next(one["message"] for one in conditions if one["type"] == type_))


def attempts(world: World, name: str = "site") -> int:
    """How many issuances of a Certificate have failed since the last one that did not."""
    certificate = world.get("certificates", name) or {}
    return int(certificate.get("status", {}).get("failedIssuanceAttempts", 0))
