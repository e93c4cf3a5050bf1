"""`cdn-issuer check`: whether every certificate has enough time left, for cron and CI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from issuer.api.duration import human
from issuer.cli.cluster import cluster_options, coloured, columns, dump, resource_name, view, with_cluster
from issuer.cli.environment import Command
from issuer.cli.parameters import Days
from issuer.inspection import overview
from issuer.inspection.findings import ERROR
from issuer.inspection.reader import Reader, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from issuer.inspection.overview import CertificateLine
    from issuer.kube.client import KubeClient


@click.command("check", cls=Command, short_help="Fail if a certificate ends soon.")
@cluster_options
@click.option("--fail-under", type=Days(), default="14d", help="Time that has to be left of each certificate.")
def check(fail_under: float, **flags: Any) -> None:
    r"""Fail if a certificate of ours has less than some time left.

    \b
    Examples:
      cdn-issuer check -A                         14 days, everywhere
      cdn-issuer check -n shop --fail-under 36h   one namespace
      cdn-issuer check -A -o json                 those that fail, as a list

    Looked at are Certificates whose issuer is a CDNIssuer or CDNClusterIssuer. One that was never issued fails. The
    exit code is 0 if none fails, 1 if one does or if they cannot be read, 2 for wrong usage.
    """
    seen = view(flags)

    async def work(client: KubeClient) -> int:
        snapshot = await Reader(client).read(Target("check", seen.namespace))
        for finding in snapshot.obstacles:
            click.echo(f"{coloured(finding.severity, finding.severity)}: {finding.sentence}", err=True)
        lines = overview.certificates(snapshot.certificates, snapshot.now)
        under = [line for line in lines if line.is_under(fail_under)]
        _show(under, seen.output)
        unread = any(finding.is_error for finding in snapshot.obstacles)
        if not unread:
            _count(under, len(lines), fail_under, err=seen.output in ("json", "yaml", "name"))
        return int(bool(under) or unread)

    with_cluster(seen, work)


def _show(under: Sequence[CertificateLine], output: str) -> None:
    if output in ("json", "yaml"):
        dump(under, output)
    elif output == "name":
        for line in under:
            click.echo(resource_name(line.object))
    elif under:
        head = ["CERTIFICATE", "LEFT", "ENDS", "READY"]
        rows = [[line.object.partition(" ")[2], _left(line), line.ends or "never issued", line.ready] for line in under]
        first, *rest = columns(head, rows)
        click.echo(first)
        for text in rest:
            click.echo(coloured(ERROR, text))


def _left(line: CertificateLine) -> str:
    if line.left is None:
        return ""
    return human(line.left) if line.left > 0 else f"ended {human(-line.left)} ago"


def _count(under: Sequence[CertificateLine], total: int, fail_under: float, *, err: bool) -> None:
    if not total:
        click.echo("no certificates of ours", err=err)
    elif under:
        have = "has" if len(under) == 1 else "have"
        click.echo(f"{len(under)} of {total} certificates {have} less than {human(fail_under)} left", err=err)
    else:
        all_of = "the certificate has" if total == 1 else f"all {total} certificates have"
        click.echo(f"{all_of} {human(fail_under)} or more left", err=err)
