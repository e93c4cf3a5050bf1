"""The command `cdn-issuer` and its subcommands.

A subcommand is imported when it is called: the controller in a pod has no use for the sandbox's modules in its memory.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

import click
from click.shell_completion import ShellComplete

from issuer import __version__

_DEFAULT: Final = 0
_NO_FILES: Final = 4
"""What cobra is to do besides what it is given: names of files, or nothing (`ShellCompDirective`)."""
COMMANDS: Final = {
    "run": "issuer.cli.run:run",
    "demo": "issuer.cli.demo:demo",
    "mock-cdn": "issuer.cli.mock_cdn:mock_cdn",
    "crds": "issuer.cli.crds:crds",
    "manifests": "issuer.cli.installation:manifests",
    "convert": "issuer.cli.convert:convert",
    "status": "issuer.cli.status:status",
    "doctor": "issuer.cli.doctor:doctor",
    "check": "issuer.cli.check:check",
    "cleanup": "issuer.cli.cleanup:cleanup",
    "renew": "issuer.cli.renew:renew",
    "sign": "issuer.cli.sign:sign",
    "retry": "issuer.cli.retry:retry",
    "rehearse": "issuer.cli.rehearse:rehearse",
    "version": "issuer.cli.version:version",
}


class LazyGroup(click.Group):
    """Imports a subcommand when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Their names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """One of them, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=LazyGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "show_default": True,
    },
)
@click.version_option(__version__, prog_name="cdn-issuer")
def main() -> None:
    """The external issuer for cert-manager that cannot get stuck.

    Every option of a command can be given as an environment variable: CDN_ISSUER_<COMMAND>_<OPTION>. Lists have commas
    there. A variable that belongs to no option of the command is refused.
    """


def plugin() -> None:
    """The same program as `kubectl cdn-issuer`: kubectl finds it as `kubectl-cdn_issuer`."""
    main(prog_name="kubectl cdn-issuer")


def complete() -> None:
    """Completion of `kubectl cdn-issuer`: kubectl calls it as `kubectl_complete-cdn_issuer`, with the words so far.

    It prints a completion a line, a tab before its description, and in the last line what cobra is to do besides
    (kubectl: `pkg/cmd/plugin/plugin_completion.go`).
    """
    *words, unfinished = sys.argv[1:] or [""]
    found = ShellComplete(main, {}, "kubectl cdn-issuer", "").get_completions(words, unfinished)
    for item in found:
        if item.type == "plain":
            click.echo(f"{item.value}\t{' '.join(item.help.split())}" if item.help else item.value)
    is_path = any(item.type in ("file", "dir") for item in found)
    click.echo(f":{_DEFAULT if is_path else _NO_FILES}")
