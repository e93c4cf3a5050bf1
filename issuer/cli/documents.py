"""YAML and JSON documents as a user hands them to a command.

The input is read as Kubernetes reads it and not as YAML 1.1 would: a date stays the text that it is.
"""

from __future__ import annotations

import contextlib
import json
from typing import IO, TYPE_CHECKING, Any, Final

import click
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

_AS_TEXT: Final = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"})


def read(file: IO[bytes], *, secret: bool = False) -> Iterator[Any]:
    """The documents of a file.

    Args:
        file: the file, or standard input.
        secret: it may hold secrets, so nothing of it is quoted: what a parser says may be a part of one.

    Raises:
        click.ClickException: it is no YAML, or cannot be read.
    """
    name = name_of(file)
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
        where = f"line {mark.line + 1}" if mark else ""
        said = "" if secret else str(error.problem or error.context)
        raise click.ClickException(f"{name} is no YAML: {': '.join(filter(None, (where, said)))}") from None
    except (yaml.YAMLError, ValueError) as error:
        said = "it holds characters that YAML may not" if secret else " ".join(str(error).split())[:200]
        raise click.ClickException(f"{name} is no YAML: {said}") from None
    except RecursionError:
        raise click.ClickException(f"{name} is nested too deeply") from None
    except OSError as error:
        raise click.FileError(name, error.strerror) from None


def name_of(file: IO[bytes]) -> str:
    """What a file is called in a message."""
    name = str(getattr(file, "name", "-"))
    return "standard input" if name in {"-", "<stdin>"} else repr(name)


class _TextLoader(yaml.SafeLoader):
    """Leaves dates, and a lone `=`, as text."""


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _AS_TEXT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
