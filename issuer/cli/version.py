"""`cdn-issuer version`."""

from __future__ import annotations

import platform

import click
import msgspec

from issuer import __version__
from issuer.api.issuer import GROUP, VERSION
from issuer.cli.environment import Command


@click.command("version", cls=Command, short_help="Print the version.")
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", help="How it is shown.")
def version(output: str) -> None:
    r"""Print the version of this program, and of the API that it reads and writes.

    \b
    Examples:
      cdn-issuer version
      kubectl cdn-issuer version -o json

    No cluster is asked; `cdn-issuer doctor` says whether what is installed there is of the same version.
    """
    told = {"version": __version__, "api": f"{GROUP}/{VERSION}", "python": platform.python_version()}
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(told)).decode())
    else:
        click.echo(f"cdn-issuer {told['version']} ({told['api']}, Python {told['python']})")
