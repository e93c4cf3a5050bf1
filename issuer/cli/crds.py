"""`cdn-issuer crds`: the CustomResourceDefinitions that this version reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import yaml

from issuer.api import crd
from issuer.api.issuer import GROUP
from issuer.authorities import registry
from issuer.cli.environment import Command

if TYPE_CHECKING:
    from issuer.api.schema import Schema

_HEAD: Final = "# Made from the code by `make crds`, and compared with it by a test. Do not edit.\n"


@click.command("crds", cls=Command, short_help="Print the CustomResourceDefinitions.")
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
      cdn-issuer crds --directory crds
    """
    for definition in crd.definitions(registry.configs()):
        text = yaml_text(definition)
        if directory is None:
            click.echo(f"---\n{text}", nl=False)
        else:
            path = directory / f"{GROUP}_{definition['spec']['names']['plural']}.yaml"
            try:
                directory.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            except OSError as error:
                raise click.FileError(str(path), error.strerror) from None


def yaml_text(definition: Schema) -> str:
    """A definition as YAML, always the same for the same definition."""
    return _HEAD + str(yaml.dump(definition, Dumper=_PlainDumper, sort_keys=False, width=120, allow_unicode=True))


class _PlainDumper(yaml.SafeDumper):
    """Writes repeated values out instead of referring to the first with an anchor."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the library's signature
        return True
