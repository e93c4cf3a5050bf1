"""`cdn-issuer crds`: the CustomResourceDefinitions that this version reads."""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from issuer.api import crd
from issuer.api.issuer import GROUP
from issuer.authorities import registry


@click.command()
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Write one file for each there instead of printing both.",
)
def crds(directory: Path | None) -> None:
    r"""Print the CustomResourceDefinitions.

    \b
    Examples:
      cdn-issuer crds | kubectl apply -f -
    """
    for definition in crd.definitions(registry.configs()):
        text = yaml_text(definition)
        if directory is None:
            click.echo(f"---\n{text}", nl=False)
        else:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"{GROUP}_{definition['spec']['names']['plural']}.yaml").write_text(text)


def yaml_text(definition: crd.Schema) -> str:
    """A definition as YAML, always the same for the same definition."""
    return str(yaml.dump(definition, Dumper=_PlainDumper, sort_keys=False, width=120, allow_unicode=True))


class _PlainDumper(yaml.SafeDumper):
    """Writes repeated values out instead of referring to the first with an anchor."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the library's signature
        return True
