"""Other issuers of the cluster as authorities of ours: cert-manager's own, and one of a kind that the tests play."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from issuer.sandbox import objects
from issuer.sandbox.pki import SmallCA, name
from tests.controlplane.plane import MERGE
from tests.e2e.certmanager import ACCOUNT, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.controlplane.plane import ControlPlane, Manifest
    from tests.e2e.world import World

LABEL: Final = "cdn-issuer.io/authority"
TURN: Final = "8s"
"""How long a child has, unless a test says otherwise."""
OTHER: Final = {"group": "other.example.com", "kind": "OtherIssuer"}
"""The kind of issuer that the tests play: nobody answers its requests but they."""
OTHERS: Final = SmallCA.with_ecc(name(CN="Other CA"))
"""What it signs with."""


UNAPPROVED: Final = {"group": "unapproved.example.com", "kind": "OtherIssuer"}
"""The same, of which cert-manager's approver may approve nothing."""


def install_other(plane: ControlPlane, ref: Mapping[str, str] = OTHER, *, approved: bool = True) -> None:
    """Make that kind, and let cert-manager's approver approve its requests if so."""
    group, kind = ref["group"], ref["kind"]
    plural = f"{kind.lower()}s"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema, "subresources": {"status": {}}}
    plane.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
                "versions": [version],
            },
        }
    )
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": f"approve-{plural}.{group}"}}
    rule = {"apiGroups": ["cert-manager.io"], "resources": ["signers"], "verbs": ["approve"]}
    read = {"apiGroups": [group], "resources": [plural], "verbs": ["get", "list"]}
    named = {**rule, "resourceNames": [f"{plural}.{group}/*"]}
    subjects = [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}]
    plane.apply({**rbac, "kind": "ClusterRole", "rules": [named, read] if approved else [read]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"approve-{plural}.{group}"}
    plane.apply({**rbac, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": subjects})


def other_issuer(world: World, called: str, *, ready: bool | None = None, why: str = "") -> None:
    """One of that kind; `ready`: what it says of itself, None: nothing."""
    metadata = {"name": called, "namespace": world.namespace}
    world.plane.apply({"apiVersion": f"{OTHER['group']}/v1", "kind": OTHER["kind"], "metadata": metadata})
    if ready is not None:
        path = f"/apis/{OTHER['group']}/v1/namespaces/{world.namespace}/otherissuers/{called}/status"
        condition = {
            "type": "Ready",
            "status": str(ready),
            "reason": "Told",
            "message": why,
            "lastTransitionTime": now(),
        }
        world.plane.ask("PATCH", path, {"status": {"conditions": [condition]}}, content_type=MERGE)


def ca_issuer(world: World, called: str, *, namespace: str = "") -> None:
    """cert-manager's CA issuer, with a CA of its own."""
    where = namespace or world.namespace
    world.plane.apply(objects.ca_secret(f"{called}-ca", where, common_name=called))
    cert_manager_issuer(world, called, {"ca": {"secretName": f"{called}-ca"}}, namespace=where)


def cert_manager_issuer(world: World, called: str, spec: Manifest, *, namespace: str = "") -> None:
    """An Issuer of cert-manager's."""
    metadata = {"name": called, "namespace": namespace or world.namespace}
    world.plane.apply({"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": metadata, "spec": spec})


def stand_for(called: str, *, turn: str = TURN, **ref: str) -> Manifest:
    """An authority that stands for an issuer, and is called as it is."""
    return {"name": called, "issuerRef": {"name": called, **ref}, "timeouts": {"turn": turn, "attempt": "5s"}}


async def issuer_of(world: World, *authorities: Manifest, ready: str = "True", **spec: Any) -> None:
    """A CDNIssuer `web` with these authorities."""
    world.plane.apply(objects.issuer("web", authorities, namespace=world.namespace, **spec))
    await world.until(lambda: world.condition("cdnissuers", "web", "Ready")[0] == ready, f"web Ready={ready}")


def children(world: World, *, namespace: str = "") -> list[Manifest]:
    """The requests that were made on behalf of others."""
    return [
        one
        for one in world.all("certificaterequests", namespace=namespace)
        if LABEL in one["metadata"].get("labels", {})
    ]


async def child(world: World, *, but: Sequence[str] = ()) -> Manifest:
    """The child that there is, once it is approved.

    Args:
        world: where.
        but: UIDs of former ones.
    """

    def found() -> list[Manifest]:
        return [one for one in children(world) if one["metadata"]["uid"] not in but and _is(one, "Approved")]

    await world.until(lambda: bool(found()), "an approved child")
    return found()[0]


def sign(request: Manifest, *, names: Sequence[str] = (), key: Any = None) -> bytes:
    """What the other issuer makes of a request, PEM; with other names, or another key, if so."""
    csr = x509.load_pem_x509_csr(b64decode(request["spec"]["request"]))
    san = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    start = datetime.now(UTC) - timedelta(minutes=1)
    leaf = OTHERS.sign(
        key or csr.public_key(),
        subject=csr.subject,
        hostnames=names or san.get_values_for_type(x509.DNSName),
        not_before=start,
        not_after=start + timedelta(days=90),
    )
    return leaf.public_bytes(Encoding.PEM)


def say(world: World, request: Manifest, condition: Manifest, **status: Any) -> None:
    """Write a condition, and what goes with it."""
    meta = request["metadata"]
    latest = world.get("certificaterequests", meta["name"], namespace=meta["namespace"]) or request
    others = [one for one in latest.get("status", {}).get("conditions", []) if one["type"] != condition["type"]]
    conditions = [*others, {**condition, "lastTransitionTime": now()}]
    path = f"{world.path('certificaterequests', meta['name'], namespace=meta['namespace'])}/status"
    world.plane.ask("PATCH", path, {"status": {"conditions": conditions, **status}}, content_type=MERGE)


def answer(world: World, request: Manifest, certificate: bytes) -> None:
    """The other issuer has signed."""
    status = {"certificate": b64encode(certificate).decode(), "ca": b64encode(OTHERS.pem).decode()}
    say(world, request, {"type": "Ready", "status": "True", "reason": "Issued", "message": "signed"}, **status)


def fail(world: World, request: Manifest, message: str) -> None:
    """The other issuer has failed."""
    say(world, request, {"type": "Ready", "status": "False", "reason": "Failed", "message": message}, failureTime=now())


def issued_by(secret: dict[str, bytes]) -> str:
    """Common name of who signed the certificate in a Secret."""
    leaf = x509.load_pem_x509_certificates(secret["tls.crt"])[0]
    return str(leaf.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def now() -> str:
    """As Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is(request: Manifest, type_: str) -> bool:
    conditions = request.get("status", {}).get("conditions", [])
    return any(one["type"] == type_ and one["status"] == "True" for one in conditions)
