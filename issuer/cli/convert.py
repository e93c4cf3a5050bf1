"""`cdn-issuer convert`: manifests of Cloudflare's origin-ca-issuer, turned into ours.

The input is read as Kubernetes reads it and not as YAML 1.1 would: a date stays the text that it is. The output quotes
what another parser would take for a number. Both matter, since objects pass through with fields of any kind.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import textwrap
from typing import IO, TYPE_CHECKING, Any, Final

import click
import yaml

from issuer.cli.conversion import THEIR_GROUP, Conversion, Converted
from issuer.cli.conversion import convert as converted_from
from issuer.cli.environment import Command

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH: Final = 120
_NUMBER_ELSEWHERE: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|0[obx][0-9a-fA-F_]+"
)
"""Text that YAML 1.2 reads as a number, and PyYAML, which knows 1.1, writes without quotes."""
_AS_TEXT: Final = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"})


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
    documents = [document for stream in streams for document in _read(stream)]
    try:
        result = converted_from(documents)
        texts = [_text(one) for one in result.converted]
    except RecursionError:
        raise click.ClickException("the input is nested too deeply, or an alias in it refers to itself") from None
    _say(result)
    if not texts:
        raise click.ClickException(f"nothing to convert: no object is, or refers to, an issuer of {THEIR_GROUP}")
    click.echo("".join(texts), nl=False)


def _read(file: IO[bytes]) -> Iterator[Any]:
    """The documents of a file.

    Raises:
        click.ClickException: it is no YAML, or cannot be read.
    """
    name = str(getattr(file, "name", "-"))
    name = "standard input" if name in {"-", "<stdin>"} else repr(name)
    try:
        content = file.read()
        if content.lstrip()[:1] == b"{":
            # Faster, and PyYAML does not join the two escapes by which JSON may write a character.
            with contextlib.suppress(ValueError):
                yield json.loads(content)
                return
        yield from yaml.load_all(content, Loader=_TextLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise click.ClickException(f"{name} is no YAML: {where}{error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise click.ClickException(f"{name} is no YAML: {' '.join(str(error).split())[:200]}") from None
    except RecursionError:
        raise click.ClickException(f"{name} is nested too deeply") from None
    except OSError as error:
        raise click.FileError(name, error.strerror) from None


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


class _TextLoader(yaml.SafeLoader):
    """Leaves dates, and a lone `=`, as text."""


class _TextDumper(yaml.SafeDumper):
    """Quotes what only PyYAML takes for text, and writes repeated values out."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the library's signature
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if _NUMBER_ELSEWHERE.fullmatch(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _AS_TEXT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_TextDumper.add_representer(str, _represent_text)
