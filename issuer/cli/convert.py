"""`cdn-issuer convert`: manifests of Cloudflare's origin-ca-issuer, turned into ours.

The input is read as Kubernetes reads it (`issuer.cli.documents`). The output quotes what another parser would take for
a number. Both matter, since objects pass through with fields of any kind.
"""

from __future__ import annotations

import re
import sys
import textwrap
from typing import IO, Final

import click
import yaml

from issuer.cli import documents
from issuer.cli.conversion import THEIR_GROUP, Conversion, Converted
from issuer.cli.conversion import convert as converted_from
from issuer.cli.environment import Command

WIDTH: Final = 120
_NUMBER_ELSEWHERE: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|0[obx][0-9a-fA-F_]+"
)
_LINE_BREAKS: Final = re.compile("[\x85\u2028\u2029]")
"""Text that YAML 1.2 reads as a number, and PyYAML, which knows 1.1, writes without quotes."""


@click.command("convert", cls=Command, short_help="Convert manifests of Cloudflare's origin-ca-issuer.")
@click.argument("files", nargs=-1, type=click.File("rb"), metavar="[FILE...|-]")
def convert(files: tuple[IO[bytes], ...]) -> None:
    r"""Convert manifests of Cloudflare's origin-ca-issuer, and print them for `kubectl apply`.

    \b
    Examples:
      cdn-issuer convert issuers.yaml ingress.yaml > converted.yaml
      kubectl get originissuers,certificates,ingresses -A -o yaml | cdn-issuer convert -

    OriginIssuers and ClusterOriginIssuers become CDNIssuers and CDNClusterIssuers of the same name. Certificates, and
    Ingresses, Gateways and whatever else has the annotations of cert-manager, refer to them then. Nothing else is
    printed, so that nothing else is applied. Nothing is changed in a cluster.

    What cannot be carried over, and what will be different, is said above the object and on stderr.
    """
    if not files and sys.stdin.isatty():
        raise click.UsageError("name a file, or - for standard input")
    streams: tuple[IO[bytes], ...] = files or (sys.stdin.buffer,)
    found = [document for stream in streams for document in documents.read(stream)]
    try:
        result = converted_from(found)
        texts = [_text(one) for one in result.converted]
    except RecursionError:
        raise click.ClickException("the input is nested too deeply, or an alias in it refers to itself") from None
    _say(result)
    if not texts:
        raise click.ClickException(f"nothing to convert: no object is, or refers to, an issuer of {THEIR_GROUP}")
    click.echo("".join(texts), nl=False)


def _say(result: Conversion) -> None:
    """One line each, whatever stands in a name."""
    for one in result.converted:
        for warning in one.warnings:
            click.echo(_printable(f"warning: {one.title}: {warning}"), err=True)
    for sentence in result.by_hand:
        click.echo(_printable(f"left out: {sentence}"), err=True)
    if result.unconcerned:
        objects = "object refers" if result.unconcerned == 1 else "objects refer"
        click.echo(f"left out: {result.unconcerned} other {objects} to no issuer of {THEIR_GROUP}", err=True)


def _text(one: Converted) -> str:
    comment = "".join(
        f"# {line}\n"
        for warning in one.warnings
        for line in textwrap.wrap(f"Warning: {_printable(warning)}", WIDTH - 2)
    )
    body = yaml.dump(one.manifest, Dumper=_TextDumper, sort_keys=False, width=WIDTH, allow_unicode=True)
    return f"---\n{comment}{body}"


def _printable(text: str) -> str:
    """No line break may end a comment, or what stood in a manifest would go on as YAML; and none may end a line."""
    return "".join(character if character.isprintable() else " " for character in text)


class _TextDumper(yaml.SafeDumper):
    """Quotes what only PyYAML takes for text, and writes repeated values out."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the library's signature
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if _NUMBER_ELSEWHERE.fullmatch(text) else "|" if "\n" in text else None
    if _LINE_BREAKS.search(text):  # PyYAML folds these, and would read another character
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_TextDumper.add_representer(str, _represent_text)
