"""`cdn-issuer status`: issuers, their authorities and requests, at a glance or again and again."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from issuer.api.duration import human
from issuer.api.meta import parse_time
from issuer.cli.cluster import cluster_options, coloured, columns, dump, resource_name, told_of, view, with_cluster
from issuer.cli.environment import Command
from issuer.inspection import overview
from issuer.inspection.reader import Reader, Target
from issuer.kube.errors import KubeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from issuer.inspection.overview import AuthorityLine, IssuerLine
    from issuer.inspection.snapshot import Snapshot
    from issuer.kube.client import KubeClient

EVERY: Final = 2.0
"""Seconds between two looks."""
_SEVERITY: Final = {"True": "", "False": "error", "Available": "", "Untested": "note", "Unknown": "note"}
"""How a state is coloured; any other is a warning."""


@click.command("status", cls=Command, short_help="Show issuers, authorities and requests.")
@cluster_options
@click.option("--watch", "-w", is_flag=True, help="Look again every two seconds, until interrupted.")
def status(watch: bool, **flags: Any) -> None:  # noqa: FBT001 - click's
    r"""Show issuers, their authorities and their requests.

    \b
    Examples:
      cdn-issuer status                 the namespace of the context, and all CDNClusterIssuers
      cdn-issuer status -A --watch      everywhere, again and again
      cdn-issuer status -A -o json      for another program

    CertificateSigningRequests are in no namespace: they count with -A, for their issuers and in a line of their own.
    Of each authority it shows the state, when it last signed and last failed, and with -o wide what is wrong with it.
    """
    seen = view(flags)
    target = Target("overview", seen.namespace)

    async def work(client: KubeClient) -> int:
        reader = Reader(client)
        while True:
            try:
                snapshot = await reader.read(target)
            except (KubeError, ExceptionGroup) as error:
                if not watch:
                    raise
                click.echo(f"{datetime.now(UTC):%H:%M:%S} {told_of(error)}", err=True)
            else:
                if watch and sys.stdout.isatty():
                    click.clear()
                _show(snapshot, seen.output)
                if not watch:
                    return int(any(finding.is_error for finding in snapshot.obstacles))
                click.echo()
            await asyncio.sleep(EVERY)

    with_cluster(seen, work)


def _show(snapshot: Snapshot, output: str) -> None:
    lines = overview.issuers(snapshot)
    if output in ("json", "yaml"):
        dump(lines, output)
    elif output == "name":
        for line in lines:
            click.echo(resource_name(line.object))
    else:
        _tables(lines, snapshot, wide=output == "wide")
    for finding in snapshot.obstacles:
        click.echo(f"{coloured(finding.severity, finding.severity)}: {finding.sentence}", err=True)


def _tables(lines: Sequence[IssuerLine], snapshot: Snapshot, *, wide: bool) -> None:
    if not lines:
        click.echo(f"no issuers in {f'namespace {snapshot.namespace}' if snapshot.namespace else 'the cluster'}")
    else:
        head = ["ISSUER", "READY", "REASON", "SINCE", "ACTIVE", "WAITING", "FAILED", *(["MESSAGE"] if wide else [])]
        rows = [
            [
                line.object,
                line.ready,
                line.reason,
                _ago(line.since, snapshot.now),
                line.active,
                str(line.requests.get("waiting", 0) + line.requests.get("unapproved", 0)),
                str(line.requests.get("failed", 0) + line.requests.get("denied", 0)),
                *([line.message] if wide else []),
            ]
            for line in lines
        ]
        _print(head, rows, column=1)
        click.echo()
        head = ["ISSUER", "AUTHORITY", "STATE", "SIGNED", "FAILED", *(["REHEARSED", "LAST ERROR"] if wide else [])]
        rows = [
            [
                line.object,
                one.name,
                one.state,
                _ago(one.last_success_time, snapshot.now),
                _ago(one.last_failure_time, snapshot.now),
                *([_rehearsed(one, snapshot.now), one.message] if wide else []),
            ]
            for line in lines
            for one in line.authorities
        ]
        _print(head, rows, column=2)
        click.echo()
    click.echo(f"requests: {_states(overview.requests(snapshot))}")
    if snapshot.signing_requests:
        click.echo(f"CertificateSigningRequests: {_states(overview.signing_requests(snapshot))}")


def _states(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counted.items())


def _print(head: Sequence[str], rows: Sequence[Sequence[str]], *, column: int) -> None:
    """A table in which the line is coloured by what stands in one column."""
    first, *rest = columns(head, rows)
    click.echo(first)
    for row, line in zip(rows, rest, strict=True):
        click.echo(coloured(_SEVERITY.get(row[column], "warning"), line))


def _rehearsed(authority: AuthorityLine, now: datetime) -> str:
    last = authority.last_rehearsal
    return f"{last.result} {_ago(last.time, now)}" if last else ""


def _ago(when: str | None, now: datetime) -> str:
    parsed = parse_time(when)
    return f"{human(max(1.0, (now - parsed).total_seconds()))} ago" if parsed else ""
