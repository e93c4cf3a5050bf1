"""`cdn-issuer manifests`: all that a cluster needs of us, for who has no Helm and no checkout.

The CRDs come out of the code, as `crds` has them. The rest is the chart's, rendered when this version was made
(`make chart`) and shipped beside this module; a namespace and an image are put in where the chart would put them.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Final

import click

from issuer import __version__
from issuer.api import crd
from issuer.authorities import registry
from issuer.cli.crds import yaml_text
from issuer.cli.environment import Command
from issuer.cli.parameters import Namespace

SYSTEM: Final = "cdn-issuer-system"
"""The namespace in the file for a whole cluster."""
PLACEHOLDER: Final = "my-namespace"
"""The namespace in the file for one namespace."""
CERT_MANAGER: Final = "cert-manager"
_IMAGE: Final = re.compile(r'(?m)^( *image: )"cdn-issuer:[^"]*"$')
_REFERENCE: Final = re.compile(r"[a-zA-Z0-9][\w./:@-]{0,511}", re.ASCII)
"""What an image's name consists of; nothing that means anything in YAML."""


@click.command("manifests", cls=Command, short_help="Print what to apply to install the controller.")
@click.option(
    "--namespace", "-n", type=Namespace(), default=None, show_default=SYSTEM, help="Where the controller runs."
)
@click.option("--image", default=f"cdn-issuer:{__version__}", help="The image of your registry.")
@click.option("--single-namespace", is_flag=True, help="Serve that namespace alone, without rights elsewhere.")
@click.option(
    "--cert-manager-namespace",
    type=Namespace(),
    default=CERT_MANAGER,
    help="Where cert-manager runs, whose ServiceAccount cert-manager is to approve.",
)
@click.option("--crds/--no-crds", "with_crds", default=True, help="Print the CustomResourceDefinitions too.")
def manifests(
    namespace: str | None,
    image: str,
    single_namespace: bool,  # noqa: FBT001 - click's
    cert_manager_namespace: str,
    with_crds: bool,  # noqa: FBT001
) -> None:
    r"""Print what to apply to install the controller of this version: CRDs, rights, Deployment and Service.

    \b
    Examples:
      cdn-issuer manifests --image REGISTRY/cdn-issuer:TAG | kubectl apply --server-side -f -
      cdn-issuer manifests --single-namespace -n shop --image REGISTRY/cdn-issuer:TAG > shop.yaml

    It is what the Helm chart makes of its own values; for anything else use the chart. No cluster is asked.
    """
    if _REFERENCE.fullmatch(image) is None:
        raise click.UsageError(
            f"--image: {image!r} is no name of an image, such as registry.example.com/cdn-issuer:1.0"
        )
    if single_namespace and namespace is None:
        raise click.UsageError("--single-namespace: say which one it serves with --namespace")
    if with_crds:
        for definition in crd.definitions(registry.configs()):
            click.echo(f"---\n{yaml_text(definition)}", nl=False)
    click.echo(rendered(namespace or SYSTEM, image, cert_manager_namespace, single=single_namespace), nl=False)
    if "/" not in image:
        click.echo(f"warning: the image is {image}, of no registry: name yours with --image", err=True)


def rendered(namespace: str, image: str, cert_manager_namespace: str, *, single: bool) -> str:
    """The manifests but for the CRDs."""
    file = "namespace.yaml" if single else "cluster.yaml"
    text = (resources.files("issuer.cli") / "manifests" / file).read_text(encoding="utf-8")
    text = _IMAGE.sub(rf'\g<1>"{image}"', text)
    # Theirs first: a namespace of ours may be called as theirs is.
    approver = re.compile(rf"(?m)^( *- kind: ServiceAccount\n +name: cert-manager\n +namespace: ){CERT_MANAGER}$")
    text = approver.sub(rf"\g<1>{cert_manager_namespace}", text)
    ours = PLACEHOLDER if single else SYSTEM
    return re.sub(rf"(?<![\w.-]){ours}(?![\w.-])", namespace, text)
