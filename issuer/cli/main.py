"""The command `cdn-issuer` and its subcommands."""

from __future__ import annotations

import click

from issuer import __version__
from issuer.cli.crds import crds
from issuer.cli.demo import demo
from issuer.cli.mock_cdn import mock_cdn
from issuer.cli.run import run

CONTEXT = {"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "CDN_ISSUER", "show_default": True}


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="cdn-issuer")
def main() -> None:
    """The external issuer for cert-manager that cannot get stuck.

    Every option can be given as an environment variable: CDN_ISSUER_<COMMAND>_<OPTION>.
    """


for command in (run, demo, mock_cdn, crds):
    main.add_command(command)
