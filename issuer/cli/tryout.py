"""What `demo --serve` offers to paste: two certificate requests, with an outage of the provider between them.

The CSRs are made afresh and lie in manifests beside the kubeconfig, because a CSR is nothing to type. Each step is one
line of shell that works as it stands in a terminal in which the first line, the `export`, was pasted.
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
    ]


def _wait(name: str) -> str:
    return f"kubectl -n {NAMESPACE} wait --for=condition=Ready certificaterequest/{name}"


def _manifest(directory: Path, name: str) -> Path:
    csr = objects.signing_request([f"{name}.example.com"])
    path = directory / f"{name}.yaml"
    request = objects.certificate_request(name, csr, namespace=NAMESPACE, issuer=ISSUER)
    path.write_text(yaml.safe_dump(request, sort_keys=False))
    return path
