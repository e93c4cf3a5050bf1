"""What is made of the chart, and of the code for it: CRDs, plain manifests, the table of its values.

    crds/                          the one source of the CRDs, made from the code by `make crds`
    deploy/chart/files/crds/       copies, because a chart holds all of its files
    deploy/manifests/cluster.yaml  the chart with its own values, for `kubectl apply -f`
    deploy/manifests/namespace.yaml  the same for one namespace
    issuer/cli/manifests/          both without the CRDs, which the program has in itself, for `cdn-issuer manifests`
    deploy/rbac.yaml               of cluster.yaml, what is about rights
    deploy/chart/README.md         a table of values.yaml, whose comments are the text

`make chart` writes them, and a test compares them with what would be written.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.chart.helm import CHART
from tests.controlplane.plane import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chart.helm import Helm

DEPLOY: Final = ROOT / "deploy"
SYSTEM: Final = "cdn-issuer-system"
PLACEHOLDER: Final = "my-namespace"
RIGHTS: Final = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
HELMS_OWN: Final = re.compile(r"(?m)^ *(app\.kubernetes\.io/managed-by|helm\.sh/chart): .*\n")
NAMESPACE: Final = """\
---
apiVersion: v1
kind: Namespace
metadata:
  name: {name}
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""
CLUSTER_HEAD: Final = """\
# cdn-issuer for the whole cluster. Made from deploy/chart by `make chart`; do not edit.
# cert-manager is expected in the namespace cert-manager. The image is `cdn-issuer`: name the one of your registry with
#   kubectl -n cdn-issuer-system set image deployment/cdn-issuer cdn-issuer=REGISTRY/cdn-issuer:TAG
"""
NAMESPACE_HEAD: Final = f"""\
# cdn-issuer for one namespace, in which it runs too. Made from deploy/chart by `make chart`; do not edit.
#   sed 's/{PLACEHOLDER}/shop/g' deploy/manifests/namespace.yaml | kubectl apply -f -
# It reads no Secret elsewhere. CRDs and the right of cert-manager's approver are the cluster's all the same.
"""
SHIPPED: Final = ROOT / "issuer" / "cli" / "manifests"
SHIPPED_HEAD: Final = """\
# What `cdn-issuer manifests` prints beside the CRDs. Made from deploy/chart by `make chart`; do not edit.
"""
RIGHTS_HEAD: Final = """\
# What the controller may do, and what cert-manager's approver may do for it: the part of manifests/cluster.yaml about
# rights, for who runs the controller otherwise. Made from deploy/chart by `make chart`; do not edit.
"""
README_HEAD: Final = """\
# Chart of cdn-issuer

<!-- Made from values.yaml by `make chart`. Do not edit. -->

```console
helm install cdn-issuer deploy/chart --namespace cdn-issuer-system --create-namespace \\
  --set image.repository=REGISTRY/cdn-issuer
```

Needs Kubernetes 1.25 or newer and cert-manager. Tested with Helm 3.22 and 4.3.

- **Scopes.** The whole cluster. `scope.namespaces` serves some namespaces, with a Role in each and no right to
  read Secrets elsewhere; `scope.clusterIssuers: false` leaves out CDNClusterIssuers. With both, the controller has no
  cluster-wide right.
- **Two releases** share nothing but the CRDs, which one installs (`crds.enabled`). Each has a Lease of
  its own, named after it, so their scopes must not overlap: both would ask an authority for each certificate.
- **Issuers from values** need their CRDs before: give `issuers` at an upgrade, or install the CRDs first.
- **Uninstalling** leaves the CRDs, and so the issuers, unless `crds.keep` is false.

| value | default | what it is |
| --- | --- | --- |
"""


def files(helm: Helm) -> dict[Path, str]:
    """Each file that is made, with its content. The CRDs of the chart have to be right before the rest can be."""
    cluster = manifests(helm, SYSTEM)
    namespace = manifests(
        helm, PLACEHOLDER, "--set", f"scope.namespaces={{{PLACEHOLDER}}}", "--set", "scope.clusterIssuers=false"
    )
    rights = "".join(one for one in _documents(cluster) if yaml.safe_load(one)["kind"] in RIGHTS)
    shipped = {"cluster": NAMESPACE.format(name=SYSTEM) + cluster}
    shipped["namespace"] = NAMESPACE.format(name=PLACEHOLDER) + namespace
    return {
        **crds(),
        **{SHIPPED / f"{scope}.yaml": SHIPPED_HEAD + _without_crds(text) for scope, text in shipped.items()},
        DEPLOY / "manifests" / "cluster.yaml": CLUSTER_HEAD + NAMESPACE.format(name=SYSTEM) + cluster,
        DEPLOY / "manifests" / "namespace.yaml": NAMESPACE_HEAD + NAMESPACE.format(name=PLACEHOLDER) + namespace,
        DEPLOY / "rbac.yaml": RIGHTS_HEAD + rights,
        CHART / "README.md": README_HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows()),
    }


def crds() -> dict[Path, str]:
    """The chart's copies of the CRDs."""
    return {CHART / "files" / "crds" / path.name: path.read_text() for path in sorted((ROOT / "crds").glob("*.yaml"))}


def manifests(helm: Helm, namespace: str, *arguments: str) -> str:
    """The chart as plain manifests: without the labels that are Helm's, and blank lines."""
    text = helm.template("--set", "crds.keep=false", *arguments, namespace=namespace)
    text = HELMS_OWN.sub("", text)
    return "".join(f"{line}\n" for line in text.splitlines() if line.strip() and not line.startswith("# Source: "))


def rows() -> Iterator[tuple[str, str, str]]:
    """The values with a comment: name, default, and the comment."""
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        content = line.strip()
        if content.startswith("# "):
            comment.append(content.removeprefix("# "))
            continue
        if comment and (found := re.match(r"( *)([A-Za-z_]+):", line)):
            path = [*path[: len(found[1]) // 2], found[2]]
            default = json.dumps(_value(values, path)).replace("|", "\\|")
            yield f"`{'.'.join(path)}`", f"`{default}`", " ".join(comment).replace("|", "\\|")
        elif found := re.match(r"( *)([A-Za-z_]+):", line):
            path = [*path[: len(found[1]) // 2], found[2]]
        comment = []


def _value(values: Any, path: list[str]) -> Any:
    for key in path:
        values = values[key]
    return values


def _without_crds(text: str) -> str:
    return "".join(one for one in _documents(text) if yaml.safe_load(one)["kind"] != "CustomResourceDefinition")


def _documents(text: str) -> list[str]:
    return [f"---\n{one}" for one in re.split(r"(?m)^---\n", text) if one.strip()]
