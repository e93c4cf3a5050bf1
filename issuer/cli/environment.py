"""Options from the environment: one variable for each option, named after it, and nothing passed over.

The variable of `cdn-issuer run --lease-name` is `CDN_ISSUER_RUN_LEASE_NAME`. Click by itself would name it after the
parameter of the function, would pass over a variable that it does not know, and would take an empty one for none. A
controller that was to serve one namespace would then serve them all, and nobody would be told. So a variable with a
command's prefix that belongs to no option of it, or is empty, ends the command with a usage error.

An option may have an alias, as other controllers call it. It is for the command line alone and no option of its own, so
that help and messages show one name.
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "CDN_ISSUER"


class Command(click.Command):
    """A command whose options have variables named `CDN_ISSUER_<COMMAND>_<OPTION>`; `--help` shows them.

    Args:
        name: of the command.
        aliases: other names of options, each with the name it stands for.
        settings: as of `click.Command`.
    """

    def __init__(self, name: str, *, aliases: Mapping[str, str] | None = None, **settings: Any) -> None:
        super().__init__(name, **settings)
        self._aliases = aliases or {}
        # In a raw docstring, as the linter wants it, the mark of click for "keep these lines" is two characters.
        self.help = self.help and self.help.replace("\\b\n", "\b\n")
        self._prefix = f"{PREFIX}_{_upper(name)}_"
        self._options = [parameter for parameter in self.params if isinstance(parameter, click.Option)]
        for option in self._options:
            option.envvar = self._prefix + _upper(_long_name(option))
            option.show_envvar = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line and the environment.

        Raises:
            click.UsageError: for a variable with this command's prefix that is empty or belongs to no option.
        """
        rest = super().parse_args(ctx, [self._without_alias(arg) for arg in args])
        if not ctx.resilient_parsing:
            self._refuse_what_is_not_read(ctx, os.environ)
        return rest

    def _without_alias(self, argument: str) -> str:
        name, equals, value = argument.partition("=")
        return self._aliases.get(name, name) + equals + value

    def _refuse_what_is_not_read(self, ctx: click.Context, environment: Mapping[str, str]) -> None:
        known = [str(option.envvar) for option in self._options]
        aliases = {self._prefix + _upper(alias): self._prefix + _upper(name) for alias, name in self._aliases.items()}
        for variable in sorted(name for name in environment if name.startswith(self._prefix)):
            if variable not in known:
                (close,) = difflib.get_close_matches(variable, known, n=1, cutoff=0.0)
                nearest = aliases.get(variable, close)
                raise click.UsageError(
                    f"the environment variable {variable} belongs to no option of this command; "
                    f"the nearest is {nearest}",
                    ctx,
                )
            if not environment[variable].strip():
                raise click.UsageError(
                    f"the environment variable {variable} is empty; give it a value or leave it out", ctx
                )


def _long_name(option: click.Option) -> str:
    return max(option.opts, key=len)


def _upper(name: str) -> str:
    return name.lstrip("-").replace("-", "_").upper()
