"""What `demo --serve` offers to paste: two certificate requests, with an outage of the provider between them.

The CSRs are made afresh and lie in manifests beside the kubeconfig, because a CSR is nothing to type. Each command
works as it stands in a terminal in which the first line, the `export`, was pasted. The last step shows what a request
is made of, for those who want their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import yaml

from issuer.sandbox import objects
from issuer.sandbox.cluster.cluster import NAMESPACE

if TYPE_CHECKING:
    from pathlib import Path

    from issuer.cli.stage import Stage

ISSUER: Final = "web"
REQUESTS: Final = ("first", "second")
OWN: Final = "own"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it is for, and the commands."""

    purpose: str
    commands: tuple[str, ...]


def steps(stage: Stage, directory: Path) -> list[Step]:
    """Write the kubeconfig and the manifests into a directory, and say what can be done with them."""
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(stage.cluster.kubeconfig())
    first, second = (_manifest(directory, name) for name in REQUESTS)
    faults = f"{stage.cdn.url}/admin/faults"
    return [
        Step("in another terminal, let kubectl talk to the sandbox", (f"export KUBECONFIG={kubeconfig}",)),
        Step(
            "ask for a certificate: the provider signs",
            (
                f"kubectl apply -f {first}",
                _wait(REQUESTS[0]),
                f"kubectl -n {NAMESPACE} get cdnissuer/{ISSUER} certificaterequest/{REQUESTS[0]}",
            ),
        ),
        Step("break the provider: its API hangs", (f"""curl -sS -X PUT {faults} -d '[{{"kind":"hang"}}]'""",)),
        Step(
            "ask for another one: the backup signs, and the request says why",
            (
                f"kubectl apply -f {second}",
                _wait(REQUESTS[1]),
                f"kubectl -n {NAMESPACE} describe certificaterequest {REQUESTS[1]}",
            ),
        ),
        Step("heal the provider", (f"curl -sS -X DELETE {faults}",)),
        Step(
            "ask for one with a key and a CSR of your own; with cert-manager, a Certificate does this",
            (_own(directory), _wait(OWN), f"kubectl -n {NAMESPACE} get certificaterequest {OWN}"),
        ),
    ]


def _own(directory: Path) -> str:
    """A request as one would write it, around what openssl makes."""
    curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    return f"""\
openssl req -new {curve} -subj / -addext subjectAltName=DNS:{OWN}.example.com \\
  -keyout {directory}/{OWN}.key -out {directory}/{OWN}.csr 2>/dev/null
kubectl apply -f - <<END
apiVersion: cert-manager.io/v1
kind: CertificateRequest
metadata: {{name: {OWN}, namespace: {NAMESPACE}}}
spec:
  issuerRef: {{group: cdn-issuer.io, kind: CDNIssuer, name: {ISSUER}}}
  request: $(base64 < {directory}/{OWN}.csr | tr -d '\\n')
END"""


def _wait(name: str) -> str:
    return f"kubectl -n {NAMESPACE} wait --for=condition=Ready certificaterequest/{name}"


def _manifest(directory: Path, name: str) -> Path:
    csr = objects.signing_request([f"{name}.example.com"])
    path = directory / f"{name}.yaml"
    request = objects.certificate_request(name, csr, namespace=NAMESPACE, issuer=ISSUER)
    path.write_text(yaml.safe_dump(request, sort_keys=False))
    return path
