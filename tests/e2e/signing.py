"""CertificateSigningRequests in a test's hands, and the rights that it takes to serve them."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from issuer.controllers.certificatesigningrequests import RULES
from issuer.sandbox import objects
from tests.controlplane.plane import MERGE, ControlPlane
from tests.e2e.controller import ACCOUNT, NAMESPACE, QUICK, Controller
from tests.e2e.delegating import OTHERS
from tests.e2e.world import World, read_condition
from tests.unit.pki.pki_case import key_pem, make_ca

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.kube.rbac import Rule
    from tests.controlplane.plane import Manifest
    from tests.controlplane.proxy import Proxy

PATH: Final = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
LEASE: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/cdn-issuer"
READY: Final = "cdn-issuer.io/Ready"
AUTHORITY: Final = "cdn-issuer.io/Authority"
TIDIED: Final = 90.0
"""Seconds; a round that looks for children comes twice a minute."""
ROLE: Final = "cdn-issuer-certificate-signing-requests"


def grant(plane: ControlPlane, rules: Sequence[Rule] = RULES) -> None:
    """The rights that the chart gives where it is switched on (`tests/chart` compares them), or fewer."""
    rbac = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": ROLE}}
    plane.apply({**role, "rules": [rule.manifest() for rule in rules]})
    binding = {"apiVersion": f"{rbac}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": ROLE}}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}
    plane.apply({**binding, "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": ROLE}, "subjects": [subject]})


class Signing(World):
    """A test's part of it, with CertificateSigningRequests, and a controller behind a proxy."""

    controller: Controller
    link: Proxy

    def ask(self, name: str, signer: str = "", *, csr: bytes = b"", approve: bool = True, **fields: Any) -> str:
        """Make a request for the issuer `web`, or another; returns its name, which is like that of no other test."""
        full = f"{name}.{self.namespace}"
        csr = csr or objects.signing_request([f"{name}.example.com"])
        signer = signer or f"cdnissuers/{self.namespace}.web"
        self.plane.ask("POST", PATH, objects.certificate_signing_request(full, csr, signer=signer, **fields))
        if approve:
            self.judge(full)
        return full

    def judge(self, name: str, type_: str = "Approved", message: str = "by the test") -> None:
        """Approve or deny a request, as an admin."""
        found = self.plane.ask("GET", f"{PATH}/{name}")
        conditions = found.get("status", {}).get("conditions", [])
        conditions.append({"type": type_, "status": "True", "reason": "Test", "message": message})
        self.plane.ask("PATCH", f"{PATH}/{name}/approval", {"status": {"conditions": conditions}}, content_type=MERGE)

    def status(self, name: str) -> Manifest:
        """What has come of a request."""
        found: Manifest = self.plane.ask("GET", f"{PATH}/{name}").get("status", {})
        return found

    def told(self, name: str, type_: str) -> tuple[str, str, str]:
        """Status, reason and message of one of its conditions; empty strings if there is none."""
        status = self.status(name)
        messages = [one.get("message", "") for one in status.get("conditions", []) if one["type"] == type_]
        return (*read_condition({"status": status}, type_), *(messages or [""]))

    async def issued(self, name: str) -> x509.Certificate:
        """The leaf that a request gets."""
        await self.until(lambda: bool(self.status(name).get("certificate")), f"{name} signed")
        return x509.load_pem_x509_certificates(b64decode(self.status(name)["certificate"]))[0]

    async def failed(self, name: str) -> tuple[str, str]:
        """Reason and message, once a request has failed; it has no certificate."""
        await self.until(lambda: self.told(name, "Failed")[0] == "True", f"{name} failed")
        assert "certificate" not in self.status(name)
        _, reason, message = self.told(name, "Failed")
        return reason, message

    def events_of(self, name: str) -> list[str]:
        """Reasons of the events about a request: those of what is in no namespace are in `default`."""
        events = self.plane.ask("GET", self.path("events", namespace="default"))["items"]
        about = ("CertificateSigningRequest", name)
        found = [one for one in events if (one["involvedObject"]["kind"], one["involvedObject"]["name"]) == about]
        return [one["reason"] for one in found]

    def replica(self, name: str, *flags: str, url: str = "") -> Controller:
        """A controller that serves them; not started."""
        flags = (*QUICK, "--certificate-signing-requests", *flags)
        return Controller(self.plane, f"{name}-{self.namespace}", url=url, flags=flags)


def roomy_ca(name: str, namespace: str) -> Manifest:
    """A Secret with a CA that may sign other CAs."""
    ca = make_ca(path_length=1)
    pem = ca.certificate.public_bytes(Encoding.PEM)
    return objects.secret(name, namespace, {"tls.crt": pem, "tls.key": key_pem(ca.signer)})


def ca_csr() -> bytes:
    """The CSR of a CA."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "inner")])
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)


def unreadable(pem: bytes) -> bytes:
    """A certificate with a critical key identifier: RFC 5280, section 4.2.1.2, forbids that, and Go reads none."""
    leaf = x509.load_pem_x509_certificate(pem)
    builder = x509.CertificateBuilder(leaf.issuer, leaf.subject, leaf.public_key(), leaf.serial_number)
    builder = builder.not_valid_before(leaf.not_valid_before_utc).not_valid_after(leaf.not_valid_after_utc)
    for extension in leaf.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    identifier = x509.SubjectKeyIdentifier.from_public_key(leaf.public_key())
    return builder.add_extension(identifier, critical=True).sign(OTHERS.key, hashes.SHA256()).public_bytes(Encoding.PEM)
