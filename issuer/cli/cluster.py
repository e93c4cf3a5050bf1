"""What the commands that look at a cluster have in common.

Which cluster, which namespace, how it is shown, and how a failure is told: in one line, with what to do.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec
import yaml

from issuer.cli.parameters import Namespace
from issuer.kube.access import namespace_of
from issuer.kube.client import KubeClient
from issuer.kube.errors import ConfigurationError, ForbiddenError, KubeError, UnauthorizedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from typing import TypeVar

    C = TypeVar("C", bound=Callable[..., Any])

OUTPUTS: Final = ("table", "wide", "json", "yaml", "name")
INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as a shell has it."""
_RESOURCES: Final = {
    "Certificate": "certificate.cert-manager.io",
    "CertificateRequest": "certificaterequest.cert-manager.io",
    "CertificateSigningRequest": "certificatesigningrequest.certificates.k8s.io",
    "CDNIssuer": "cdnissuer.cdn-issuer.io",
    "CDNClusterIssuer": "cdnclusterissuer.cdn-issuer.io",
    "Lease": "lease.coordination.k8s.io",
    "CustomResourceDefinition": "customresourcedefinition.apiextensions.k8s.io",
}
_COLOURS: Final = {"error": "red", "warning": "yellow", "note": "cyan"}


@dataclass(frozen=True, kw_only=True)
class View:
    """Which cluster is looked at, and how.

    Attributes:
        kubeconfig: its path; None for the usual one.
        context: of the kubeconfig; None for the current one.
        namespace: empty for all.
        output: one of `OUTPUTS`.
        debug: let errors through as tracebacks.
    """

    kubeconfig: str | None
    context: str | None
    namespace: str
    output: str
    debug: bool


def cluster_options(command: C) -> C:
    """The options of kubectl that say which cluster, which namespace, and how it is shown."""
    for option in reversed(
        (
            click.option(
                "--namespace",
                "-n",
                type=Namespace(),
                default=None,
                show_default="that of the context",
                help="Look at this namespace.",
            ),
            click.option("--all-namespaces", "-A", is_flag=True, help="Look at all namespaces."),
            click.option(
                "--kubeconfig", type=click.Path(), default=None, show_default="as kubectl", help="Kubeconfig file."
            ),
            click.option("--context", default=None, show_default="the current one", help="Context of the kubeconfig."),
            click.option("--output", "-o", type=click.Choice(OUTPUTS), default="table", help="How it is shown."),
            click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        )
    ):
        command = option(command)
    return command


def view(flags: dict[str, Any]) -> View:
    """The options, as the command was given them.

    Raises:
        click.UsageError: they contradict each other.
        click.ClickException: the namespace is that of a kubeconfig which cannot be read.
    """
    namespace: str | None = flags["namespace"]
    if flags["all_namespaces"]:
        if namespace is not None:
            raise click.UsageError("--namespace and --all-namespaces exclude each other")
        namespace = ""
    if namespace is None:
        try:
            namespace = namespace_of(flags["kubeconfig"], flags["context"])
        except ConfigurationError as error:
            raise click.ClickException(_line(str(error))) from (error if flags["debug"] else None)
    return View(
        kubeconfig=flags["kubeconfig"],
        context=flags["context"],
        namespace=namespace,
        output=flags["output"],
        debug=flags["debug"],
    )


def with_cluster(seen: View, work: Callable[[KubeClient], Coroutine[Any, Any, int]]) -> None:
    """Do something with a client, and end with the exit code that comes of it.

    Raises:
        click.ClickException: the API server could not be asked; one line says why and what to do.
    """

    async def connected() -> int:
        async with await KubeClient.connect(seen.kubeconfig, seen.context) as client:
            return await work(client)

    try:
        code = asyncio.run(connected())
    except (KubeError, ExceptionGroup) as error:
        if seen.debug:
            raise
        raise click.ClickException(told_of(error)) from None
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (BrokenPipeError, click.ClickException):
        raise  # who reads has heard enough, and click ends quietly; or the command has found its words already
    except Exception as error:
        if seen.debug:
            raise
        kind = type(error).__name__
        raise click.ClickException(f"{kind}: {_line(str(error))} (--debug shows where)") from None
    sys.exit(code)


def dump(objects: Sequence[msgspec.Struct], output: str) -> None:
    """Print objects as JSON or YAML, one list."""
    plain = msgspec.to_builtins(objects)
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(plain)).decode())
    else:
        click.echo(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120), nl=False)


def columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines with aligned columns, as kubectl prints them; empty cells are told by a dash."""
    cells = [list(head), *([cell or "-" for cell in row] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(head))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def resource_name(about: str) -> str:
    """An object as `kubectl get -o name` prints it, without its namespace: `certificate.cert-manager.io/www`."""
    kind, _, name = about.partition(" ")
    return f"{_RESOURCES.get(kind, kind.lower())}/{name.rpartition('/')[2]}" if name else kind.lower()


def coloured(severity: str, text: str) -> str:
    """The text in the colour of a severity; click takes it out again where the output is no terminal.

    `NO_COLOR` in the environment, if it is not empty, means no colours anywhere (https://no-color.org).
    """
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=_COLOURS.get(severity))


def _first(error: BaseException) -> BaseException:
    """The first failure of several that were met together."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def told_of(error: BaseException) -> str:
    """A failure in one line, with what to do."""
    error = _first(error)
    text = _line(str(error))
    if isinstance(error, UnauthorizedError):
        return f"the API server refuses your credential ({text}): log in again, or choose another --context"
    if isinstance(error, ForbiddenError):
        return f"a right is missing: {text}"
    if isinstance(error, UnreachableError):
        return f"the API server does not answer ({text}): see whether `kubectl version` gets an answer"
    if isinstance(error, KubeError):
        return text
    return f"{type(error).__name__}: {text} (--debug shows where)"


def _line(text: str) -> str:
    return " ".join(text.split())
